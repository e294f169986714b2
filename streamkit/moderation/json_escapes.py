"""JSON that is still arriving, with the escapes of its strings decoded.

A phrase that is forbidden may be written `\\u0041`, `\\n` or `\\"` in the arguments of a call, and be split within that. Rules
search the document with the escapes of its strings decoded, all else as it is written. What they forbid is removed from the
document again value by value, so that it stays JSON.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from io import SEEK_END, StringIO
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
        self.complete = False
        """Whether an object or array has begun, and ended."""
        self._inside = False
        self._depth = 0
        self._pending = ""  # the beginning of an escape

    def document(self, piece: str) -> tuple[str, int]:
        """Take more of the document as far as to its end. Returns what is decoded, and how much of the piece was taken."""
        if self._inside and not self._pending and not _IN_STRING.search(piece):
            return piece, len(piece)
        if self._depth > piece.count("}") + piece.count("]"):
            return self.feed(piece), len(piece)
        at, decoded = -len(self._pending), list[str]()
        for segment in self.segments(piece):
            decoded.append(segment.text)
            at += segment.length
            if self.complete:
                return "".join(decoded), at
        return "".join(decoded), len(piece)

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
                self._depth += 1
            case "}" | "]" if self._depth:
                self._depth -= 1
                self.complete = not self._depth
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
        return [self.complete, self._inside, self._depth, self._pending]

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self.complete, self._inside, self._depth, self._pending = state


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


class _Value:
    # A string's inside, or a number or a word. It begins and ends there in the decoded document, and stops there in the
    # document; `starts` and `ats` say where in both the pieces of it begin that are written as they are, or one escape.
    __slots__ = ("ats", "end", "start", "starts", "stop", "string")

    def __init__(self, start: int, at: int, *, string: bool) -> None:
        self.start = self.end = start
        self.stop = at
        self.starts: list[int] = []
        self.ats: list[int] = []
        self.string = string

    def place(self, decoded: int) -> int:
        """Where that position is in the document."""
        if decoded == self.end:
            return self.stop
        piece = bisect_right(self.starts, decoded) - 1
        return self.ats[piece] + decoded - self.starts[piece]


class Decoded:
    """A document that is decoded piece by piece, so that its text can be read, and replaced."""

    def __init__(self) -> None:
        self._unescaped = Unescaped()
        self._text = StringIO(newline="")
        self._values: list[_Value] = []
        self._length = self._at = 0

    def feed(self, piece: str, *, final: bool = False) -> None:
        """Take more of the document."""
        for segment in self._unescaped.segments(piece, final=final):
            self._text.write(segment.text)
            if segment.inside:
                self._add(0, len(segment.text), segment.length, string=True)
            else:
                for scalar in _SCALAR.finditer(segment.text):
                    self._add(*scalar.span(), scalar.end(), string=False)
            self._length += len(segment.text)
            self._at += segment.length

    def _add(self, first: int, end: int, stop: int, *, string: bool) -> None:
        start, at = self._length + first, self._at + first
        if not self._values or self._values[-1].end != start or self._values[-1].string is not string:
            self._values.append(_Value(start, at, string=string))
        value = self._values[-1]
        value.starts.append(start)
        value.ats.append(at)
        value.end, value.stop = self._length + end, self._at + stop

    def span(self, start: int, end: int) -> str:
        """A part of the decoded document."""
        return _span(self._text, start, end)

    def located(self, edits: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        """Return edits of the document for those of the decoded document, which are in order and apart. JSON stays JSON.

        A span may reach over several values and what stands between them: the first of them gets the text that is put in,
        what belongs to the others goes, and the structure stays. A number or a word (`true`) that a span touches becomes a
        string.
        """
        values, first = self._values, 0
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
                    found.append((value.place(low), value.place(high), put))
                elif not found or found[-1][0] != value.ats[0]:
                    found.append((value.ats[0], value.stop, f'"{put}"'))
                put = ""
        return found


class Verbatim:
    """The same for text that is no JSON."""

    def __init__(self) -> None:
        self._text = StringIO(newline="")

    def feed(self, piece: str, *, final: bool = False) -> None:
        """Take more text."""
        self._text.write(piece)

    def span(self, start: int, end: int) -> str:
        """A part of the text."""
        return _span(self._text, start, end)

    def located(self, edits: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        """Return the edits unchanged, as a list."""
        return list(edits)


def replace(document: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Return a whole document with other text in place of some spans of the decoded document."""
    decoded = Decoded()
    decoded.feed(document, final=True)
    return spliced(document, decoded.located(edits))


def _span(text: StringIO, start: int, end: int) -> str:
    text.seek(start)
    found = text.read(end - start)
    text.seek(0, SEEK_END)
    return found


def spliced(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Return the text with other text in place of some spans, which are in order and apart."""
    parts, at = list[str](), 0
    for start, end, put in edits:
        parts += text[at:start], put
        at = end
    return "".join([*parts, text[at:]])
