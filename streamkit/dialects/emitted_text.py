"""Track the text emitted so far, so that a whole text that follows its deltas adds only the missing rest.

Several formats send a text in deltas and then once more as a whole. A server may leave the last deltas out, or all of them: then
the whole has more, and the rest of it is emitted. Where it says something else, what was streamed stands: a consumer has it
already, and nothing is emitted twice.

An answer that is passed on takes no memory, so that of a text only its length and a checksum are known.
"""

import zlib

import msgspec

from streamkit.dialects.surrogates import mended
from streamkit.sse.json_text import NOT_JSON

MOST_PIECES = 64


class EmittedText(msgspec.Struct):
    """A text that was emitted. What is appended to `pieces` was; `trim` keeps the list short."""

    pieces: list[str] = []
    length: int = 0
    checksum: int = 0

    def add(self, piece: str) -> None:
        """More was emitted."""
        self.pieces.append(piece)
        if len(self.pieces) > MOST_PIECES:
            self._settle()

    def extend(self, pieces: list[str]) -> None:
        """Several pieces were emitted."""
        self.pieces += pieces
        if len(self.pieces) > MOST_PIECES:
            self._settle()

    def trim(self) -> None:
        """Keep the memory bounded, where `pieces` was appended to."""
        self._settle()

    def rest(self, whole: str) -> str | None:
        """Return the part of the whole text that was not emitted yet; `None` if the two differ."""
        self._settle()
        whole = mended(whole)
        if len(whole) < self.length:
            return ""
        return whole[self.length :] if _checksum(whole[: self.length]) == self.checksum else None

    def equals(self, whole: str) -> bool:
        """Whether it is this text."""
        self._settle()
        return len(whole) == self.length and _checksum(whole) == self.checksum

    @property
    def total(self) -> int:
        """Its length."""
        self._settle()
        return self.length

    @property
    def is_empty(self) -> bool:
        """Whether nothing was emitted."""
        return not (self.length or self.pieces)

    def _settle(self) -> None:
        if self.pieces:
            text = mended("".join(self.pieces))
            self.pieces.clear()
            if "\ud800" <= text[-1:] < "\udc00":
                # Its other half comes with the next piece.
                self.pieces.append(text[-1])
                text = text[:-1]
            self.length += len(text)
            self.checksum = _checksum(text, self.checksum)


def is_json(text: str) -> bool:
    """Whether the text is a document of JSON."""
    try:
        msgspec.json.decode(text)
    except NOT_JSON:
        return False
    return True


def _checksum(text: str, before: int = 0) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), before)
