"""Convert the arguments of a call that Vertex AI streams value by value into JSON text.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#PartialArg: each piece has a JSON path (RFC 9535)
such as `$.foo.bar[0].data`, and a string, which may continue in the next piece, a number, a Boolean or a null. A path without a
value is an empty object; a path that ends with `[]` is a complete array.
"""

import re
from typing import Any

import msgspec

from streamkit.dialects.fields import text
from streamkit.errors import ProtocolError
from streamkit.sse.json_text import NOT_JSON

_STEP = re.compile(
    r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]"""  # .name [0] ['name'] ["name"]
)
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class _JsonLevel(msgspec.Struct):
    # An open object or array: its name or index in its parent, and the names and number of its values so far.
    step: str | int | None
    is_array: bool
    names: dict[str, None] = {}
    count: int = 0


class PartialArguments(msgspec.Struct):
    """Pieces in, JSON text out. The text returned so far is always a prefix of the whole."""

    levels: list[_JsonLevel] = []
    # The path of the string that the next piece may continue.
    string: list[str | int] | None = None

    def piece(self, one: dict[str, Any]) -> str:
        """Return the JSON that a piece adds. A path to a complete value, or an invalid path, raises `ProtocolError`."""
        path = text(one.get("jsonPath")) or ""
        ends_array, steps = path.endswith("[]"), _steps(path.removesuffix("[]"))
        if not steps:
            return ""
        field = next((name for name in _VALUES if name in one), None)
        value = None if field in (None, "nullValue") else one[field]
        if isinstance(value, str) and steps == self.string:
            return _inside(value)
        if field is None:
            return self._without_value(steps, ends_array, one.get("willContinue") is True)
        begin = self._go_to(steps[:-1], isinstance(steps[-1], int)) + self._enter(steps[-1])
        if isinstance(value, str):
            self.string = steps
            return f'{begin}"{_inside(value)}'
        return begin + msgspec.json.encode(value).decode()

    def end(self) -> str:
        """Return the text that closes the JSON."""
        return self._leave(0)

    def _without_value(self, steps: list[str | int], ends_array: bool, continues: bool) -> str:
        # The end of a string or an array, an empty container, or a value that follows in a later piece.
        if continues or steps == self.string or self._has(steps):
            return ""
        return self._go_to(steps, ends_array)

    def _has(self, steps: list[str | int]) -> bool:
        open = [level.step for level in self.levels[1 : len(steps) + 1]]
        if open[: len(steps)] == steps:
            return True
        if open[: len(steps) - 1] != steps[:-1] or len(self.levels) < len(steps):
            return False
        level, last = self.levels[len(steps) - 1], steps[-1]
        return last < level.count if isinstance(last, int) else last in level.names

    def _go_to(self, steps: list[str | int], is_array: bool) -> str:
        """Close the containers outside this path, and open those along it."""
        common = 0
        while common < min(len(steps), len(self.levels) - 1) and self.levels[common + 1].step == steps[common]:
            common += 1
        out = self._leave(common + 1)
        if not self.levels:
            out += self._open(None, (bool(steps) and isinstance(steps[0], int)) or (not steps and is_array))
        for at in range(common, len(steps)):
            inner = steps[at + 1] if at + 1 < len(steps) else None
            out += self._enter(steps[at]) + self._open(steps[at], is_array if inner is None else isinstance(inner, int))
        if self.levels[-1].is_array != is_array:
            raise ProtocolError("expected a name in an object or an index in an array in the path of an argument")
        return out

    def _open(self, step: str | int | None, is_array: bool) -> str:
        self.levels.append(_JsonLevel(step, is_array))
        return "[" if is_array else "{"

    def _enter(self, step: str | int) -> str:
        level = self.levels[-1]
        known = step in level.names if isinstance(step, str) else step != level.count
        if known or level.is_array == isinstance(step, str):
            raise ProtocolError(
                "expected the next argument of a call, found the path of a complete value or one that can't follow"
            )
        comma = "," if level.count else ""
        level.count += 1
        if isinstance(step, int):
            return comma
        level.names[step] = None
        return f'{comma}"{_inside(step)}":'

    def _leave(self, depth: int) -> str:
        out = "" if self.string is None else '"'
        self.string = None
        while len(self.levels) > depth:
            out += "]" if self.levels.pop().is_array else "}"
        return out


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if not path.startswith("$") or found is None:
            raise ProtocolError(
                f"expected a JSON path to an argument, as $.name[0]; found {len(path)} characters of another form"
            )
        name, number, single, double = found.groups()
        steps.append(int(number) if number is not None else name or _unquoted(single, double))
        at = found.end()
    return steps


def _unquoted(single: str | None, double: str | None) -> str:
    # RFC 9535, 2.3.1.1: the escapes of JSON, and an escape for the enclosing quote.
    inside = double if single is None else single.replace("\\'", "'").replace('"', '\\"')
    try:
        return msgspec.json.decode(f'"{inside or ""}"', type=str)
    except NOT_JSON as error:
        raise ProtocolError(f"expected the name of an argument in a JSON path: {error}") from None


def _inside(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]
