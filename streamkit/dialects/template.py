"""The short cut for chunks that differ in one string alone, which most chunks of an answer do.

If one chunk is `head + literal + tail`, and `literal` is the inside of the JSON string that holds the text, then every
other payload `head + x + tail` is the same chunk with another text, whatever `x` is, as long as `x` is the inside of one
JSON string. That is checked by looking at `x` alone, which is several times cheaper than decoding the chunk.
"""

import re
from typing import Any, TypeAlias, cast

import msgspec

from streamkit.events import Event, ReasoningDelta, TextDelta, ToolCallDelta

Path: TypeAlias = tuple[str | int, ...]
Piece: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta

_LITERAL = re.compile(r'"(?:content|text|reasoning_content|reasoning|arguments)": ?"((?:[^"\\]|\\.)*)"')
_PROBE = "probe"
_PLACES: dict[Path, type[Piece]] = {
    ("choices", 0, "delta", "content"): TextDelta,
    ("choices", 0, "text"): TextDelta,
    ("choices", 0, "delta", "reasoning_content"): ReasoningDelta,
    ("choices", 0, "delta", "reasoning"): ReasoningDelta,
    ("choices", 0, "delta", "tool_calls", 0, "function", "arguments"): ToolCallDelta,
}
_string = msgspec.json.Decoder(str).decode


class Template:
    """What stands before and after the string, and what a chunk that fits says. A caller that could use it sets `used`."""

    def __init__(self) -> None:
        self.head = self.tail = "\0"  # no payload begins so
        self.kind: type[TextDelta] | type[ReasoningDelta] | None = TextDelta  # None: a piece of a tool call
        self.index = 0
        self.tool_index = 0
        self.id: str | None = None  # of a call, as its name and type, each empty or not there
        self.name: str | None = None
        self.type: str | None = None
        self.used = False
        self._wait = self._patience = 1

    def forget(self) -> None:
        """Have no model, because a chunk that fits the one there was may now say more."""
        self.head = self.tail = "\0"

    def consider(self, payload: str, event: Event) -> None:
        """Perhaps learn from a chunk that did not fit, and that said only `event`.

        Where no two chunks are alike, learning becomes rare.
        """
        if self.used:
            self._wait = self._patience = 1
        self._wait -= 1
        if self._wait <= 0 and isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
            self._patience = min(self._patience * 2, 1024)
            self._wait = self._patience
            self._learn(payload, event)

    def _learn(self, payload: str, event: Piece) -> None:
        chunk = msgspec.json.decode(payload)
        said = event.arguments if isinstance(event, ToolCallDelta) else event.text
        for found in _LITERAL.finditer(payload):
            # Of two choices in one chunk, one may have said nothing.
            if unescape(found[1]) != said:
                continue
            head, tail = payload[: found.start(1)], payload[found.end(1) :]
            place = _only_difference(chunk, msgspec.json.decode(head + _PROBE + tail))
            if place is None or _PLACES.get(place) is not type(event) or not _fits(chunk, place, event):
                continue
            self.head, self.tail, self.index, self.used = head, tail, event.index, False
            if isinstance(event, ToolCallDelta):
                self.kind, self.tool_index = None, event.tool_index
                self.id, self.name, self.type = event.id, event.name, event.type
            else:
                self.kind = type(event)
            return


def unescape(literal: str) -> str:
    """The text that the inside of a JSON string stands for; empty if it is not the inside of exactly one string."""
    try:
        return _string(f'"{literal}"')
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ""


def _fits(chunk: Any, place: Path, event: Piece) -> bool:
    choice = chunk["choices"][0]
    match place[2:]:
        case ("text",):  # read only where there is no message
            return choice.get("delta") is None and choice.get("message") is None
        case ("delta", "reasoning"):  # read only where there is no `reasoning_content`
            return not choice["delta"].get("reasoning_content")
        case ("delta", "tool_calls", *_) if isinstance(event, ToolCallDelta):
            # It can be told again from its string alone if it has nothing else, and says itself which call it is.
            numbered = isinstance(choice["delta"]["tool_calls"][0].get("index"), int)
            return numbered and not (event.id or event.name or event.type)
        case _:
            return True


def _only_difference(one: Any, other: Any) -> Path | None:
    """The path to the one place where two JSON values differ; `None` if there is none, or more than one."""
    if isinstance(one, dict) and isinstance(other, dict):
        mapping, others = cast(dict[str, Any], one), cast(dict[str, Any], other)
        if list(mapping) != list(others):
            return None
        pairs: list[tuple[str | int, Any, Any]] = [(key, value, others[key]) for key, value in mapping.items()]
    elif isinstance(one, list) and isinstance(other, list):
        items, more = cast(list[Any], one), cast(list[Any], other)
        if len(items) != len(more):
            return None
        pairs = [(at, a, b) for at, (a, b) in enumerate(zip(items, more, strict=True))]
    else:
        return ()
    differing = [(key, a, b) for key, a, b in pairs if a != b]
    if len(differing) != 1:
        return None
    key, a, b = differing[0]
    below = _only_difference(a, b)
    return None if below is None else (key, *below)
