"""Track the text emitted so far, so that a whole text that follows its deltas adds only the missing rest.

Several formats send a text in deltas and then again as a whole. A server may leave out the last deltas, or all of them; then
the rest of the whole text is emitted. If the whole text differs, the streamed text stands: the consumer already has it, and
nothing is emitted twice.

Only the length and a checksum of a text are stored, so that a long answer takes no memory.
"""

import zlib

import msgspec

from streamkit.dialects.surrogates import mended
from streamkit.sse.json_text import NOT_JSON

MOST_PIECES = 64


class EmittedText(msgspec.Struct):
    """The length and checksum of emitted text. Append emitted text to `pieces`, and call `trim` to keep that list short."""

    pieces: list[str] = []
    length: int = 0
    checksum: int = 0

    def add(self, piece: str) -> None:
        """Record one emitted piece."""
        self.pieces.append(piece)
        if len(self.pieces) > MOST_PIECES:
            self._settle()

    def extend(self, pieces: list[str]) -> None:
        """Record several emitted pieces."""
        self.pieces += pieces
        if len(self.pieces) > MOST_PIECES:
            self._settle()

    def trim(self) -> None:
        """Fold `pieces` into the checksum. Call it now and then if you append to `pieces` directly."""
        self._settle()

    def rest(self, whole: str) -> str | None:
        """Return the part of the whole text that was not emitted yet; `None` if the whole differs from the emitted text."""
        self._settle()
        whole = mended(whole)
        if len(whole) < self.length:
            return ""
        return whole[self.length :] if _checksum(whole[: self.length]) == self.checksum else None

    def equals(self, whole: str) -> bool:
        """Whether the emitted text is exactly this one."""
        self._settle()
        return len(whole) == self.length and _checksum(whole) == self.checksum

    @property
    def total(self) -> int:
        """The length in characters."""
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
                # The low surrogate is in the next piece.
                self.pieces.append(text[-1])
                text = text[:-1]
            self.length += len(text)
            self.checksum = _checksum(text, self.checksum)


def is_json(text: str) -> bool:
    """Whether the text is valid JSON."""
    try:
        msgspec.json.decode(text)
    except NOT_JSON:
        return False
    return True


def _checksum(text: str, before: int = 0) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), before)
