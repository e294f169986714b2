"""A streamed JSON array: its elements, each as soon as it is complete."""

import re
from typing import Literal

import msgspec

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BEGINNING = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*([^ \t\r\n])")
_OUTSIDE = re.compile(rb'["{}\[\]]')
_EXPECTED = {
    "first": "an object or ']' after the start of a JSON array",
    "next": "an object after a comma in a JSON array",
    "separator": "',' or ']' after an element of a JSON array",
    "array": "nothing or another array after a JSON array",
}
_IN_STRING = re.compile(rb'["\\]')


class JsonArray(msgspec.Struct):
    """The bytes of a JSON array of objects, received in pieces. Each byte is processed once.

    Google sends a streamed answer in this format without `alt=sse`.
    (https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent)
    """

    lead: bytes | None = b""
    """The bytes received before it is known whether an object follows; `None` afterwards."""
    pieces: list[bytes] = []
    """The pieces of the incomplete element."""
    size: int = 0
    depth: int = 0
    in_string: bool = False
    escaped: bool = False
    follows: Literal["first", "next", "separator", "array"] = "first"
    """The tokens that may follow, outside of an element."""
    broken: bool = False
    """Whether something else followed."""

    @property
    def closed(self) -> bool:
        """Whether the array has ended. Another one may follow, as in a file with one on each line."""
        return self.follows == "array"

    @property
    def expected(self) -> str:
        """The expected tokens, for an error message."""
        return _EXPECTED[self.follows]

    def feed(self, text: bytes) -> list[bytes] | None:
        """The elements that this piece completes; `None` if the array does not contain objects, with its bytes in `lead`."""
        if self.lead is not None:
            self.lead += text
            begins = _BEGINNING.match(self.lead)
            if begins is None:
                self.lead = self.lead.strip(b" \t\r\n")
                return []
            if begins[1] != b"{":
                return None
            text, self.lead = self.lead[begins.start(1) :], None
        whole: list[bytes] = []
        at = 0
        while at < len(text) and not self.broken:
            at = self._inside(text, at, whole) if self.depth else self._between(text, at)
        return whole

    def _between(self, text: bytes, at: int) -> int:
        found = _BLANKS.match(text, at)
        at = found.end() if found else at
        match text[at : at + 1], self.follows:
            case b"", _:
                return at
            case b"{", "first" | "next":
                self.depth = self.size = 1
                self.pieces.append(b"{")
                self.follows = "separator"
            case b",", "separator":
                self.follows = "next"
            case b"]", "first" | "separator":
                self.follows = "array"
            case b"[", "array":
                self.follows = "first"
            case _:
                self.broken = True
        return at + 1

    def _inside(self, text: bytes, start: int, whole: list[bytes]) -> int:
        at = start + self.escaped
        self.escaped = False
        while self.depth and (found := (_IN_STRING if self.in_string else _OUTSIDE).search(text, at)):
            at = found.end()
            self._step(found[0])
            if self.escaped and at < len(text):
                self.escaped, at = False, at + 1
        end = len(text) if self.depth else at
        self.pieces.append(text[start:end])
        self.size += end - start
        if not self.depth:
            whole.append(b"".join(self.pieces))
            self.pieces, self.size = [], 0
        return end

    def _step(self, mark: bytes) -> None:
        match mark:
            case b"\\":
                self.escaped = True
            case b'"':
                self.in_string = not self.in_string
            case b"{" | b"[":
                self.depth += 1
            case _:
                self.depth -= 1
