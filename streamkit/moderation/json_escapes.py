"""JSON that is still arriving, with the escapes of its strings decoded.

A phrase that is forbidden may be written `\\u0041`, `\\n` or `\\"` in the arguments of a call, and be split within that. Rules
search the document with the escapes of its strings decoded, all else as it is written. What they forbid is removed from the
document again value by value, so that it stays JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

_MARK = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_SCALAR = re.compile(r'[^\s,:{}\[\]"]+')
_ESCAPES = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}  # RFC 8259, section 7
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_UNIT = re.compile(r"\\u([0-9a-fA-F]{4})")
_LOW = re.compile(r"\\?|\\u|\\u[dD]|\\u[dD][c-fC-F][0-9a-fA-F]{0,2}")
_LONE = "\ufffd"


class Segment(NamedTuple):
    """A piece of the document: `text` is decoded, `length` is how many characters it has in the document."""

    text: str
    length: int
    inside: bool
    """Whether it is inside of a string, its quotes not counted."""


class Unescaped:
    """Decodes a document in pieces. What is no JSON is returned as it is; half a surrogate pair is U+FFFD."""

    def __init__(self) -> None:
        self._inside = False
        self._depth = 0
        self._begun = False
        self._pending = ""  # the beginning of an escape

    @property
    def complete(self) -> bool:
        """Whether an object or array has begun, and ended."""
        return self._begun and self._depth <= 0 and not self._inside

    def feed(self, piece: str, *, final: bool = False) -> str:
        """Take more of the document, and return what is decoded, as far as that is certain."""
        if self._inside and not self._pending and not _IN_STRING.search(piece):
            return piece
        return "".join(segment.text for segment in self.segments(piece, final=final))

    def segments(self, piece: str, *, final: bool = False) -> Iterator[Segment]:
        """The same as adjacent segments."""
        text, at = self._pending + piece, 0
        self._pending = ""
        segment: Segment | None
        while at < len(text):
            if not self._inside:
                segment = self._outside(text, at)
            elif text[at] == "\\":
                segment = _escape(text, at, final)
                if segment is None:
                    self._pending = text[at:]
                    return
            else:
                segment = self._string(text, at)
            yield segment
            at += segment.length

    def _outside(self, text: str, at: int) -> Segment:
        mark = _MARK.search(text, at)
        end = mark.end() if mark else len(text)
        match mark and mark[0]:
            case '"':
                self._inside = True
            case "{" | "[":
                self._begun = True
                self._depth += 1
            case "}" | "]":
                self._depth -= 1
            case _:
                pass
        return Segment(text[at:end], end - at, False)

    def _string(self, text: str, at: int) -> Segment:
        if text[at] == '"':
            self._inside = False
            return Segment('"', 1, False)
        mark = _IN_STRING.search(text, at)
        end = mark.start() if mark else len(text)
        return Segment(text[at:end], end - at, True)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return [self._inside, self._depth, self._begun, self._pending]

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self._inside, self._depth, self._begun, self._pending = state


def _escape(text: str, at: int, final: bool) -> Segment | None:
    # `None` while more text may be part of it.
    if at + 1 == len(text):
        return Segment("\\", 1, True) if final else None
    if text[at + 1] != "u":
        known = _ESCAPES.get(text[at + 1])
        return Segment("\\", 1, True) if known is None else Segment(known, 2, True)
    unit = _UNIT.match(text, at)
    if unit is None:
        digits = _HEX.match(text, at + 2)
        cut = digits is not None and digits.end() == len(text)
        return None if cut and not final else Segment("\\", 1, True)
    code = int(unit[1], 16)
    if not 0xD800 <= code < 0xE000:
        return Segment(chr(code), 6, True)
    return _pair(text, at, code, final)


def _pair(text: str, at: int, high: int, final: bool) -> Segment | None:
    second = _UNIT.match(text, at + 6)
    low = int(second[1], 16) if second else 0
    if high < 0xDC00 and 0xDC00 <= low < 0xE000:
        return Segment(chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00), 12, True)
    if high < 0xDC00 and second is None and not final and _LOW.fullmatch(text, at + 6):
        return None
    return Segment(_LONE, 6, True)


class _Value(NamedTuple):
    # A string's inside, or a number or a word. The first two count in the decoded document, the others in the document.
    start: int
    end: int
    places: list[int]
    string: bool


def replace(document: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """The document with other text in place of some spans, in order and apart, of the decoded document. JSON stays JSON.

    A span may reach over several values and what stands between them: the first of them gets the text that is put in, what
    belongs to the others goes, and the structure stays. A number or a word (`true`) that a span touches becomes a string.
    """
    values, first = list(_values(document)), 0
    found: list[tuple[int, int, str]] = []
    for start, end, replacement in edits:
        put = json.dumps(replacement)[1:-1]
        while first < len(values) and values[first].end <= start:
            first += 1
        for value in islice(values, first, None):
            if value.start >= end:
                break
            low, high = max(start, value.start), min(end, value.end)
            if low >= high:
                continue
            if value.string:
                found.append((value.places[low - value.start], value.places[high - value.start], put))
            elif not found or found[-1][0] != value.places[0]:
                found.append((value.places[0], value.places[-1], f'"{put}"'))
            put = ""
    parts, at = list[str](), 0
    for begin, stop, put in found:
        parts += document[at:begin], put
        at = stop
    return "".join([*parts, document[at:]])


def _values(document: str) -> Iterator[_Value]:
    decoded = at = begun = 0
    places: list[int] = []
    for segment in Unescaped().segments(document, final=True):
        if segment.inside:
            if not places:
                begun = decoded
            plain = len(segment.text) == segment.length
            places += range(at, at + segment.length) if plain else [at]
        else:
            if places:
                yield _Value(begun, decoded, [*places, at], True)
                places = []
            for scalar in _SCALAR.finditer(segment.text):
                start, end = scalar.span()
                yield _Value(decoded + start, decoded + end, [*range(at + start, at + end + 1)], False)
        decoded, at = decoded + len(segment.text), at + segment.length
    if places:
        yield _Value(begun, decoded, [*places, at], True)
