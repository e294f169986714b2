"""Whatever else bytes come from: answers of other clients, SDKs' streams, files, standard input.

None of those libraries is imported here. An object is known by what it can do, so that httpx and httpx2, or an SDK's next
version, are the same to it.
"""

import io
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from streamkit.errors import Disconnected
from streamkit.source import Source, adapters
from streamkit.sources.files import Handle

PIECE_BYTES = 64 * 1024
_CLIENTS = ("aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3")


def adapt(value: Any) -> Source[bytes] | None:
    """The object as a source of bytes; `None` if it is none of those that this module knows."""
    # An SDK's stream (openai.AsyncStream, anthropic.AsyncStream) holds the answer that it would decode itself.
    answer = getattr(value, "response", value)
    if callable(getattr(answer, "aiter_bytes", None)):
        return Pieces(answer.aiter_bytes().__aiter__(), answer.aclose if answer is value else value.close)
    content = getattr(value, "content", None)
    if callable(getattr(content, "readany", None)):
        return Pieces(cast(Any, content).iter_any().__aiter__(), value.release)
    if isinstance(value, Path):
        return File(value)
    if isinstance(value, io.IOBase):
        return File(cast("IO[Any]", value))
    return None


class Pieces(Source[bytes]):
    """The body of another client's answer. Its errors are raised as `Disconnected`; closing the stream closes the answer."""

    def __init__(self, pieces: AsyncIterator[bytes], close: Callable[[], Awaitable[None] | None]) -> None:
        self._pieces = pieces
        self._close = close
        self._bytes = 0

    async def read(self) -> Sequence[bytes]:
        try:
            piece = await self._pieces.__anext__()
        except StopAsyncIteration:
            return ()
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _CLIENTS:
                raise
            raise Disconnected(f"the connection broke after {self._bytes} bytes: {type(error).__name__}") from error
        self._bytes += len(piece)
        # An empty piece is not the end; only an empty burst is.
        return (piece,)

    async def close(self) -> None:
        if (closing := self._close()) is not None:
            await closing


class File(Source[bytes]):
    """A file by its path, which is opened and closed, or an open one, which stays open; read in a worker thread.

    A pipe or a terminal has times of arrival, a file on a disk or in memory has none.
    """

    def __init__(self, file: Path | IO[Any]) -> None:
        self._path = file if isinstance(file, Path) else None
        self._handle = Handle[bytes](partial(file.open, "rb") if isinstance(file, Path) else lambda: file)

    def __repr__(self) -> str:
        return f"<file {self._path.name}>" if self._path else "<open file>"

    async def open(self) -> None:
        await self._handle.run(self._look)

    def _look(self, file: Any) -> bytes:
        self.timed = _is_live(file)
        return b""

    async def read(self) -> Sequence[bytes]:
        # Of a terminal or a pipe a read waits; when the stream is cancelled it is left to itself.
        piece = await self._handle.run(_read)
        return (piece,) if piece else ()

    async def close(self) -> None:
        if self._path:
            self._handle.close()


def _read(file: Any) -> bytes:
    file = getattr(file, "buffer", file)
    # `read1` gives what is there; `read` would wait for all of a buffer.
    data = file.read1(PIECE_BYTES) if hasattr(file, "read1") else file.read(PIECE_BYTES)
    return data.encode() if isinstance(data, str) else bytes(data or b"")


def _is_live(file: Any) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, AttributeError):
        # It is in memory, and has no descriptor.
        return False


adapters.append(adapt)
