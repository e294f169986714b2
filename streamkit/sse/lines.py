"""Split bytes into lines. Only CR, LF and CRLF end a line. (WHATWG HTML, 9.2.5)"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from streamkit.core.stage import Stage, cut_short
from streamkit.errors import LimitExceeded, ProtocolError

Piece: TypeAlias = bytes | bytearray | memoryview | str
MAX_LINE_BYTES = 16 * 1024 * 1024


class UnfinishedLine(str):
    """The last line of a body, if it has no line end."""


@dataclass
class Lines(Stage[Piece, str]):
    """Split pieces of a body, cut anywhere, into lines without their line ends.

    The bytes are decoded as UTF-8, and one leading byte order mark is dropped (WHATWG 9.2.6). `errors`: malformed bytes become
    U+FFFD (`replace`, as in the standard), raise `ProtocolError` after the lines before them (`strict`), or become lone
    surrogates from which the bytes can be restored (`surrogateescape`). A line is emitted as soon as its line end has arrived;
    an incomplete last line is an `UnfinishedLine`. A line longer than `max_line_bytes` raises `LimitExceeded`, after the lines
    before it.
    """

    max_line_bytes: int = MAX_LINE_BYTES
    errors: Literal["replace", "strict", "surrogateescape"] = "replace"
    _line: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _after_cr: bool = field(default=False, init=False, repr=False)
    _at_start: bool = field(default=True, init=False, repr=False)
    _offset: int = field(default=0, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)

    def feed(self, item: Piece) -> Iterable[str]:
        return self.feed_all([item])

    def feed_all(self, items: list[Piece]) -> Iterable[str]:
        lines: list[str] = []
        for item in items:
            # A lone surrogate in a `str` is treated like the malformed bytes that encode it.
            # `memoryview` rejects an `int`, of which `bytes` would make that many zero bytes.
            piece = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else bytes(memoryview(item))
            try:
                self._split(piece, lines)
            except ProtocolError as error:
                return cut_short(lines, error)
        return lines

    def flush(self) -> Iterable[str]:
        if not self._line:
            return
        line = bytes(self._line)
        self._line.clear()
        try:
            text = self._decode(line)
        except UnicodeDecodeError as error:
            raise self._malformed(error.start) from None
        if text:
            yield UnfinishedLine(text)

    def _split(self, piece: bytes, lines: list[str]) -> None:
        # A CR ended its line immediately; an LF at the start of the next piece belongs to the same line end.
        if self._after_cr and piece:
            self._after_cr = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
                self._offset += 1
        # `rfind` reads each byte of a piece once, and the buffer is only appended to: linear for any cuts. (Law 7)
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if end:
            self._after_cr = piece.endswith(b"\r")
            block = bytes(self._line) + piece[:end] if self._line else piece[:end]
            self._line = bytearray(piece[end:])
            if len(block) > self.max_line_bytes:
                self._check_each(block, lines)
            self._add_lines(block, lines)
        else:
            self._line += piece
        if len(self._line) > self.max_line_bytes:
            raise self._too_long()

    def _add_lines(self, block: bytes, lines: list[str]) -> None:
        try:
            text = self._decode(block)
        except UnicodeDecodeError as error:
            start = max(block.rfind(b"\n", 0, error.start), block.rfind(b"\r", 0, error.start)) + 1
            if start:
                self._add_lines(block[:start], lines)
            raise self._malformed(error.start - start) from None
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        found = text.split("\n")
        found.pop()
        self._offset += len(block)
        self._count += len(found)
        lines += found

    def _decode(self, block: bytes) -> str:
        text = block.decode("utf-8", self.errors)
        if self._at_start:
            self._at_start = False
            return text.removeprefix("\ufeff")
        return text

    def _malformed(self, at: int) -> ProtocolError:
        offset = self._offset + at
        return ProtocolError(
            f"line {self._count + 1}, at byte {offset}: expected UTF-8, found invalid bytes",
            line=self._count + 1,
            offset=offset,
        )

    def _check_each(self, block: bytes, lines: list[str]) -> None:
        # Called only for blocks longer than the limit, so this check of every line is rare.
        for line in block.splitlines(keepends=True):
            if len(line.rstrip(b"\r\n")) > self.max_line_bytes:
                start = block.index(line)
                self._add_lines(block[:start], lines)
                raise self._too_long()

    def _too_long(self) -> LimitExceeded:
        return LimitExceeded(
            f"line {self._count + 1}, at byte {self._offset}: expected at most {self.max_line_bytes} bytes in a line "
            "(max_line_bytes), found more",
            line=self._count + 1,
            offset=self._offset,
        )
