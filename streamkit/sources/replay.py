"""A recording as a source: the same pieces, at the recorded pace or at once.

A recording is a file of JSON lines. The first says what it is, `{"streamkit": "recording/1"}`, and may hold more about the
request; each further line is one piece: `{"t": seconds since the opening, "text": …}`, or `"b64"` instead of `"text"` where
the piece is not valid UTF-8 by itself. Any other file is taken as the body itself, in one piece.
"""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec

from streamkit.errors import ProtocolError
from streamkit.source import Source

_MARK = b'{"streamkit":'


class _Piece(msgspec.Struct):
    t: float
    text: str | None = None
    b64: str | None = None

    def data(self) -> bytes:
        return b64decode(self.b64) if self.b64 is not None else (self.text or "").encode()


_decode = msgspec.json.Decoder(_Piece).decode


def replay(path: str | PathLike[str], *, pace: float | None = None) -> "Replay":
    """Replay a recording: at `pace` times its speed (1 as recorded), or without waiting.

    Its clock is the recording's in either case, so that timings come out as they were. A line that is no piece raises
    `ProtocolError`, after the pieces before it.
    """
    return Replay(Path(path), pace)


class Replay(Source[bytes]):
    """A recorded body. Made by `replay`."""

    def __init__(self, path: Path, pace: float | None) -> None:
        self._path = path
        self._pace = pace
        self._pieces: Iterator[tuple[float, bytes]] = iter(())
        self._now = 0.0

    def __repr__(self) -> str:
        return f"<replay of {self._path.name}>"

    def now(self) -> float:
        return self._now

    async def open(self) -> None:
        self._pieces = _pieces(await anyio.Path(self._path).read_bytes())

    async def read(self) -> Sequence[bytes]:
        for at, data in self._pieces:
            if self._pace:
                await anyio.sleep(max(0.0, at - self._now) / self._pace)
            else:
                await anyio.lowlevel.checkpoint()
            self._now = at
            if data:
                return (data,)
        return ()


def _pieces(content: bytes) -> Iterator[tuple[float, bytes]]:
    if not content.replace(b" ", b"", 1).startswith(_MARK):
        yield 0.0, content
        return
    for number, line in enumerate(content.split(b"\n")[1:], 2):
        if line.strip():
            try:
                piece = _decode(line)
            except msgspec.DecodeError as error:
                raise ProtocolError(f"line {number}: expected a recorded piece: {error}", line=number) from error
            yield piece.t, piece.data()
