"""Bytes into lines: CR, LF and CRLF end a line and nothing else does. (WHATWG HTML, 9.2.5)"""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, TypeAlias

from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.stage import Joinable, Stage, cut_short

Piece: TypeAlias = bytes | bytearray | memoryview | str
MAX_LINE_BYTES = 16 * 1024 * 1024
BOM = "\ufeff".encode()
_ENDS_OF_LINES = re.compile(rb"\r\n|\r|\n")
_ENDS_OF_PARTS = re.compile(rb"\r\n|\r|\n|(?<=})")


class UnfinishedLine(str):
    """The last line of a body that ends without a line end."""


class LinePart(str):
    """The beginning of a line whose end was not received yet; what follows it belongs to the same line."""


@dataclass
class Lines(Stage[Piece, str]):
    """Split pieces of a body, cut anywhere, into lines without their ends.

    The bytes are decoded as UTF-8, and one leading byte order mark is dropped (WHATWG 9.2.6). `errors`: malformed bytes
    become U+FFFD (`replace`, as the standard has it), raise `ProtocolError` after the lines before them (`strict`), or become
    lone surrogates from which the bytes can be had again (`surrogateescape`). A line is given as soon as the byte that ends
    it is there; what the end of the body cuts off comes as an `UnfinishedLine`. A line longer than `max_line_bytes` raises
    `LimitExceeded`, after the lines before it.

    Before a `Parse`, a body that begins with `[` does not wait for the end of a line, since an array of JSON is often a single
    one: what was received up to a `}` is passed on as a `LinePart`.
    """

    max_line_bytes: int = MAX_LINE_BYTES
    errors: Literal["replace", "strict", "surrogateescape"] = "replace"
    _line: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _after_cr: bool = field(default=False, init=False, repr=False)
    _at_start: bool = field(default=True, init=False, repr=False)
    _offset: int = field(default=0, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)
    # Whether the next stage takes parts of lines; whether this is an array, `None` while that is not known.
    _in_parts: bool = field(default=False, init=False, repr=False, compare=False, metadata={"state": False})
    _array: bool | None = field(default=None, init=False, repr=False)
    _searched: int = field(default=0, init=False, repr=False)  # bytes of the line without a `}`

    def before(self, following: Joinable[Any, Any]) -> "Lines":
        if not getattr(following, "takes_parts", False):
            return self
        fitted = copy.copy(self)
        fitted._in_parts = True
        return fitted

    def fresh(self) -> "Lines":
        fresh = super().fresh()
        fresh._in_parts = self._in_parts
        return fresh

    def feed(self, item: Piece) -> Iterable[str]:
        return self.feed_all([item])

    def feed_all(self, items: list[Piece]) -> Iterable[str]:
        lines: list[str] = []
        for item in items:
            # A lone surrogate in a `str` has no UTF-8; it is malformed as its bytes would be.
            # By way of a view, since `bytes` of a number is so many zeros.
            piece = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else bytes(memoryview(item))
            if self._in_parts and self._array is None:
                self._array = self._begins_array(piece)
            try:
                self._split(piece, lines)
                if self._array:
                    self._give_part(lines)
                if len(self._line) > self.max_line_bytes:
                    raise self._too_long()
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
        # A CR ended its line at once; an LF that follows belongs to it, though another piece brought it.
        if self._after_cr and piece:
            self._after_cr = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
                self._offset += 1
        # `rfind` looks at each byte of a piece once, and what is kept is only ever appended to: linear for any cuts. (Law 7)
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if end:
            self._after_cr = piece.endswith(b"\r")
            block = bytes(self._line) + piece[:end] if self._line else piece[:end]
            self._line, self._searched = bytearray(piece[end:]), 0
            if len(block) > self.max_line_bytes:
                self._check_each(block, lines)
            self._give(block, lines)
        else:
            self._line += piece

    def _give_part(self, lines: list[str]) -> None:
        end = self._line.rfind(b"}", self._searched) + 1
        self._searched = len(self._line) - end
        if end:
            part = bytes(self._line[:end])
            del self._line[:end]
            if len(part) > self.max_line_bytes:
                self._check_each(part, lines)
            self._give_start(part, lines)

    def _give_start(self, part: bytes, lines: list[str]) -> None:
        try:
            lines.append(LinePart(self._decode(part)))
        except UnicodeDecodeError as error:
            raise self._malformed(error.start) from None
        self._offset += len(part)

    def _begins_array(self, piece: bytes) -> bool | None:
        # Until that is known the line is white space, perhaps with a byte order mark before it.
        begun = bytes(self._line if len(self._line) < 4 else b"") + piece
        if BOM.startswith(begun):  # or a part of one
            return None
        begun = begun.removeprefix(BOM).lstrip(b" \t\r\n")
        return begun.startswith(b"[") if begun else None

    def _give(self, block: bytes, lines: list[str]) -> None:
        try:
            text = self._decode(block)
        except UnicodeDecodeError as error:
            start = max(block.rfind(b"\n", 0, error.start), block.rfind(b"\r", 0, error.start)) + 1
            if start:
                self._give(block[:start], lines)
            raise self._malformed(error.start - start) from None
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        given = text.split("\n")
        given.pop()
        self._offset += len(block)
        self._count += len(given)
        lines += given

    def _decode(self, block: bytes) -> str:
        text = block.decode("utf-8", self.errors)
        if self._at_start:
            self._at_start = False
            return text.removeprefix("\ufeff")
        return text

    def _malformed(self, at: int) -> ProtocolError:
        offset = self._offset + at
        return ProtocolError(
            f"line {self._count + 1}, at byte {offset}: expected UTF-8, found bytes that are not",
            line=self._count + 1,
            offset=offset,
        )

    def _check_each(self, block: bytes, lines: list[str]) -> None:
        # Only blocks longer than the limit come here, so that looking at every line costs nothing in general. An array is one
        # line or many; in it the limit is that of a part, and its elements have one of their own.
        ends = _ENDS_OF_PARTS if self._array else _ENDS_OF_LINES
        start = 0
        for end in chain(ends.finditer(block), [None]):
            if (end.start() if end else len(block)) - start > self.max_line_bytes:
                self._give_before(block[:start], lines)
                raise self._too_long()
            start = end.end() if end else start

    def _give_before(self, block: bytes, lines: list[str]) -> None:
        whole = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        self._give(block[:whole], lines)
        if part := block[whole:]:
            self._give_start(part, lines)

    def _too_long(self) -> LimitExceeded:
        return LimitExceeded(
            f"line {self._count + 1}, at byte {self._offset}: expected at most {self.max_line_bytes} bytes in a line "
            "(max_line_bytes), found more",
            line=self._count + 1,
            offset=self._offset,
        )
