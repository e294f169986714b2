"""Incremental JSON parser: the value so far is available at any time, and no text is parsed twice.

The grammar is exactly that of RFC 8259: no comments, no trailing commas, no NaN. Where the RFC leaves behaviour open, the parser
follows Python's `json`: the last of several equal names wins, integers are exact, and a float that is too large is infinite.
Unlike there, a lone surrogate becomes U+FFFD, so that every string can be encoded.
"""

import re
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, UnsetType

from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.events import Json

MAX_CHARS = 16 * 1024 * 1024
MAX_DEPTH = 200
MAX_NUMBER_CHARS = 4300
"""Python's own limit for the digits of an `int` (`sys.get_int_max_str_digits`)."""

Unfinished: TypeAlias = Literal["keep", "drop"]

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HALVES = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"[-+.0-9eE]+")
# The state machine of a number. States: -, 0, other digits (1), point, fraction (f), e, its sign (+), exponent (x).
_NUMBER_STEPS: dict[str, dict[str, str]] = {
    "": {"-": "-", "0": "0", **dict.fromkeys("123456789", "1")},
    "-": {"0": "0", **dict.fromkeys("123456789", "1")},
    "0": {".": ".", "e": "e", "E": "e"},
    "1": {".": ".", "e": "e", "E": "e", **dict.fromkeys("0123456789", "1")},
    ".": dict.fromkeys("0123456789", "f"),
    "f": {"e": "e", "E": "e", **dict.fromkeys("0123456789", "f")},
    "e": {"+": "+", "-": "+", **dict.fromkeys("0123456789", "x")},
    "+": dict.fromkeys("0123456789", "x"),
    "x": dict.fromkeys("0123456789", "x"),
}
_WHOLE_NUMBER = ("0", "1", "f", "x")
_EXPECTED = {
    "value": "a value",
    "first value": "a value or ']'",
    "first name": "a name in quotes or '}'",
    "name": "a name in quotes",
    "colon": "':'",
    "more": "',' or the end of the array or object",
    "end": "nothing more",
}


class PartialJson:
    """Parse JSON in pieces, cut anywhere.

    `strings` and `numbers` select whether `value` includes an incomplete string or number. By default an incomplete string is
    kept, and an incomplete number, whose first digits are a different number, is dropped. `true`, `false` and `null` are included
    when they are complete. Text that can't be JSON raises `ProtocolError` at the first wrong character, and again for every later
    piece. A text longer than `max_chars`, nesting deeper than `max_depth` and a number longer than 4,300 characters raise
    `LimitExceeded`.

    The total time of all `feed` calls is linear in the length of the text, however it is cut.
    """

    def __init__(
        self,
        *,
        strings: Unfinished = "keep",
        numbers: Unfinished = "drop",
        max_chars: int = MAX_CHARS,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self.strings: Unfinished = strings
        self.numbers: Unfinished = numbers
        self.max_chars = max_chars
        self.max_depth = max_depth
        self._pieces: list[str] = []
        self._chars = 0
        self._failure: ProtocolError | None = None
        self._expects = "value"
        self._root: Json | UnsetType = UNSET
        self._open: list[list[Json] | dict[str, Json]] = []
        self._names: list[str] = []  # for each open object, the name of the current member
        # The incomplete token: its kind (`string`, `number` or `word`), its text so far, and pieces not joined to it yet.
        self._token = ""
        self._text = ""
        self._more: list[str] = []
        self._rest = ""  # an incomplete escape, or the state of a number

    def feed(self, text: str) -> None:
        """Parse the next piece."""
        if self._failure:
            raise self._failure
        self._pieces.append(text)
        try:
            self._read(text)
        except ProtocolError as error:
            self._failure = error
            raise
        self._chars += len(text)

    @property
    def chars(self) -> int:
        """The length of the text received so far."""
        return self._chars

    @property
    def text(self) -> str:
        """The text received so far, verbatim."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def complete(self) -> bool:
        """Whether the text so far is a complete JSON document; only white space may follow, or the rest of a number."""
        if self._failure:
            return False
        return self._root is not UNSET or (self._token == "number" and not self._open and self._rest in _WHOLE_NUMBER)

    @property
    def value(self) -> "Json | UnsetType":
        """The value so far, `UNSET` if there is none yet. Later pieces do not change it; do not modify it.

        Each access copies the arrays and objects that are still open (one reference per item), and the text added to the
        incomplete string since the last access. If the previous value is still referenced, the whole string is copied. Arrays and
        objects that are complete are shared by all values.
        """
        if self._root is not UNSET:
            return self._root
        found: Json | UnsetType = self._unfinished()
        names = iter(reversed(self._names))
        for container in reversed(self._open):
            if isinstance(container, list):
                found = container.copy() if found is UNSET else [*container, found]
            else:
                name = next(names)
                found = container.copy() if found is UNSET else {**container, name: found}
        return found

    def state(self) -> Any:
        """The state as plain data, for `restore`."""
        limits = {"max_chars": self.max_chars, "max_depth": self.max_depth}
        return {"text": self.text, "strings": self.strings, "numbers": self.numbers, **limits}

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on an object that has parsed nothing yet. Parses the stored text again."""
        self.strings, self.numbers = state["strings"], state["numbers"]
        self.max_chars, self.max_depth = state["max_chars"], state["max_depth"]
        # If the text is invalid, the next `feed` raises again.
        with suppress(ProtocolError):
            self.feed(state["text"])

    def _read(self, text: str) -> None:
        if self._chars + len(text) > self.max_chars:
            raise LimitExceeded(f"expected at most {self.max_chars} characters of JSON (max_chars), found more")
        at, end = 0, len(text)
        while at < end:
            match self._token:
                case "string":
                    at = self._string(text, at)
                case "number":
                    at = self._number(text, at)
                case "word":
                    at = self._word(text, at)
                case _:
                    at = _end(_SPACE.match(text, at))
                    if at < end:
                        self._begin(text[at], at)
                        # The first character of a number or word belongs to the token.
                        at += self._token not in ("number", "word")

    def _begin(self, char: str, at: int) -> None:
        match self._expects, char:
            case (("value" | "first value" | "name" | "first name"), '"'):
                self._token = "string"
            case (("value" | "first value"), "[" | "{"):
                self._enter(char, at)
            case (("value" | "first value"), "t" | "f" | "n"):
                self._token = "word"
            case (("value" | "first value"), _) if char in _NUMBER_STEPS[""]:
                self._token = "number"
            case (("first value" | "more"), "]") if isinstance(self._open[-1], list):
                self._put(self._open.pop())
            case (("first name" | "more"), "}") if isinstance(self._open[-1], dict):
                closed = self._open.pop()
                self._names.pop()
                self._put(closed)
            case "colon", ":":
                self._expects = "value"
            case "more", ",":
                self._expects = "value" if isinstance(self._open[-1], list) else "name"
            case _:
                raise self._unexpected(char, at, _EXPECTED[self._expects])

    def _enter(self, char: str, at: int) -> None:
        if len(self._open) == self.max_depth:
            raise LimitExceeded(
                f"character {self._chars + at + 1} of the JSON: expected at most {self.max_depth} arrays and objects "
                "nested in each other (max_depth), found more"
            )
        if char == "[":
            self._open.append([])
            self._expects = "first value"
        else:
            self._open.append({})
            self._names.append("")
            self._expects = "first name"

    def _put(self, value: Json) -> None:
        if not self._open:
            self._root, self._expects = value, "end"
        elif isinstance(container := self._open[-1], list):
            container.append(value)
            self._expects = "more"
        else:
            container[self._names[-1]] = value
            self._expects = "more"

    # Strings

    def _string(self, text: str, at: int) -> int:
        if self._rest:
            return self._escape(text, at)
        stop = _end(_PLAIN.match(text, at))
        if stop > at:
            self._more.append(_whole(text[at:stop]))
        if stop == len(text):
            return stop
        if text[stop] == '"':
            self._end_string()
        elif text[stop] == "\\":
            return self._escape(text, stop)
        else:
            raise self._unexpected(text[stop], stop, "the rest of a string, in which it must be escaped")
        return stop + 1

    def _escape(self, text: str, at: int) -> int:
        # The window holds at most two escapes, those of a surrogate pair.
        begun = len(self._rest)
        window = self._rest + text[at : at + 12]
        first = _ESCAPE.match(window)
        if first is None:
            return self._cut_escape(window, 0, begun, text, at)
        stop, code = first.end(), _code(first[0])
        if code is None:
            self._more.append(_LETTERS.get(window[1], window[1]))
        elif 0xD800 <= code < 0xDC00:
            if second := _ESCAPE.match(window, stop):
                low = _code(second[0])
                if low is not None and 0xDC00 <= low < 0xE000:
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    stop = second.end()
            elif _ESCAPE_BEGUN.fullmatch(window, stop) or stop == len(window):
                self._rest = window
                return at + len(window) - begun
            self._more.append(_whole(chr(code)))
        else:
            self._more.append(_whole(chr(code)))
        self._rest = ""
        # An escape after a lone surrogate may have begun in an earlier piece.
        if stop < begun:
            self._rest = window[stop:begun]
            return at
        return at + stop - begun

    def _cut_escape(self, window: str, start: int, begun: int, text: str, at: int) -> int:
        if _ESCAPE_BEGUN.fullmatch(window, start):
            self._rest = window
            return at + len(window) - begun
        wrong = at + _end(_ESCAPE_BEGUN.match(window)) - begun
        raise self._unexpected(text[wrong], wrong, "an escape of JSON")

    def _gather(self) -> str:
        # CPython appends to a string in place while there is no other reference to it (unicode_concatenate), so reading the
        # value after each piece costs only the new text.
        if self._more:
            text, self._text = self._text, ""
            text += "".join(self._more)
            self._text = text
            self._more.clear()
        return self._text

    def _end_string(self) -> None:
        text = self._gather()
        self._token = self._text = ""
        if self._expects in ("name", "first name"):
            self._names[-1] = text
            self._expects = "colon"
        else:
            self._put(text)

    # Numbers and words

    def _number(self, text: str, at: int) -> int:
        found = _NUMBER.match(text, at)
        if found is None:
            if self._rest not in _WHOLE_NUMBER:
                raise self._unexpected(text[at], at, "the rest of a number")
            value = self._as_number()
            self._token = self._text = self._rest = ""
            self._put(value)
            return at
        for offset, char in enumerate(found[0]):
            step = _NUMBER_STEPS[self._rest].get(char)
            if step is None:
                raise self._unexpected(char, at + offset, "the rest of a number")
            self._rest = step
        self._text += found[0]
        if len(self._text) > MAX_NUMBER_CHARS:
            raise LimitExceeded(
                f"character {self._chars + found.end()} of the JSON: expected at most {MAX_NUMBER_CHARS} characters in a "
                "number, found more"
            )
        return found.end()

    def _as_number(self) -> int | float:
        return int(self._text) if self._rest in ("0", "1") else float(self._text)

    def _word(self, text: str, at: int) -> int:
        for position in range(at, len(text)):
            known = self._text + text[position]
            if known in _WORDS:
                self._token = self._text = ""
                self._put(_WORDS[known])
                return position + 1
            if not any(word.startswith(known) for word in _WORDS):
                raise self._unexpected(text[position], position, "true, false or null")
            self._text = known
        return len(text)

    def _unfinished(self) -> "Json | UnsetType":
        naming = self._expects in ("name", "first name")
        if self._token == "string" and self.strings == "keep" and not naming:
            return self._gather()
        # A number outside of any array or object may be complete.
        if self._token == "number" and self._rest in _WHOLE_NUMBER and (self.numbers == "keep" or not self._open):
            return self._as_number()
        return UNSET

    def _unexpected(self, char: str, at: int, expected: str) -> ProtocolError:
        # Only the punctuation of JSON is shown, since any other character is text of the answer.
        shown = repr(char) if char in '{}[]:,"' else "a control character" if char < " " else "another character"
        return ProtocolError(f"character {self._chars + at + 1} of the JSON: expected {expected}, found {shown}")


def _end(found: re.Match[str] | None) -> int:
    assert found is not None  # the patterns also match the empty string
    return found.end()


def _code(escape: str) -> int | None:
    return int(escape[2:], 16) if escape[1] == "u" else None


def _whole(text: str) -> str:
    return text if text.isascii() else _HALVES.sub("\ufffd", text)
