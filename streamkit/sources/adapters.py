"""Other sources of bytes: responses of other clients, SDKs' streams, files, standard input.

None of those libraries is imported here. An object is known by what it can do, so that httpx and httpx2, or an SDK's next
version, are the same to it.
"""

import io
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import anyio

from streamkit.core.source import CLIENTS, Source, adapters
from streamkit.core.wrong_input import attribute, kind_of
from streamkit.errors import Disconnected, PipelineError, RecordingError
from streamkit.plugins.config_files import name_of, reason_of
from streamkit.sources.content_type import HEAD_BYTES, Sniffer, is_readable, of_headers, unreadable
from streamkit.sources.files import Handle

PIECE_BYTES = 64 * 1024
HEAD_SECONDS = 2.0
"""How long to wait for the head of a body that can't be read."""
_NAME = "the response of another client"
_READ = "found {}, which was read or closed already: make a new one for each stream"


def adapt(value: Any) -> Source[bytes] | None:
    """The object as a source of bytes; `None` if it is none of those that this module knows.

    One that can't be read, or not any more, raises `PipelineError`.
    """
    # An SDK's stream (openai.AsyncStream, anthropic.AsyncStream) holds the response that it would decode itself; so does
    # what its `with_raw_response` and `with_streaming_response` give.
    for answer in (value, attribute(value, "response"), attribute(value, "http_response")):
        if callable(attribute(answer, "aiter_bytes")):
            return _of_httpx(answer, value)
    if callable(attribute(attribute(value, "content"), "readany")):
        return _of_aiohttp(value)
    if isinstance(value, Path):
        return File(value)
    if isinstance(value, io.IOBase):
        return _of_file(cast("IO[Any]", value))
    return None


def _of_httpx(answer: Any, value: Any) -> Source[bytes]:
    stream, body = attribute(answer, "stream"), attribute(answer, "content")
    media_type = of_headers(attribute(answer, "headers"))
    if hasattr(stream, "__iter__") and not hasattr(stream, "__aiter__"):
        # Of a synchronous client. What it has read already is at hand.
        if isinstance(body, bytes):
            return Pieces(_once(body), lambda: None, media_type)
        raise PipelineError(
            f"found {kind_of(value)}, which is of a synchronous client: use the asynchronous one, "
            "or pipeline.run(response.iter_bytes())"
        )
    if body is None and (attribute(answer, "is_stream_consumed") or attribute(answer, "is_closed")):
        raise PipelineError(_READ.format(kind_of(value)))
    close = value.close if hasattr(value, "__aiter__") else answer.aclose
    return Pieces(answer.aiter_bytes().__aiter__(), close, media_type)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _of_aiohttp(response: Any) -> Source[bytes]:
    content = response.content
    read = content.at_eof() and attribute(content, "total_bytes")
    if read or (attribute(response, "closed") and content.exception() is not None):
        raise PipelineError(_READ.format(kind_of(response)))
    return Pieces(content.iter_any().__aiter__(), response.release, of_headers(attribute(response, "headers")))


def _of_file(file: IO[Any]) -> Source[bytes]:
    if file.closed:
        raise PipelineError("found a file that is closed: give its path, or an open one")
    if not file.readable():
        raise PipelineError("found a file that was opened for writing: open it with 'rb'")
    return File(file)


class Pieces(Source[bytes]):
    """The body of another client's answer. Its errors are raised as `Disconnected`; closing the stream closes the answer.

    A `media_type` that is neither an event stream's nor JSON's raises `ContentTypeError` with the head of the body.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], close: Callable[[], Awaitable[None] | None], media_type: str = ""
    ) -> None:
        self._pieces = pieces
        self._close = close
        self._media_type = media_type
        self._sniffer = Sniffer(media_type, _NAME)
        self._bytes = 0

    async def open(self) -> None:
        if not is_readable(self._media_type):
            raise unreadable(_NAME, self._media_type, await self._head())

    async def _head(self) -> bytes:
        head = b""
        with anyio.move_on_after(HEAD_SECONDS), suppress(Disconnected):
            while len(head) < HEAD_BYTES and (pieces := await self.read()):
                head += pieces[0]
        return head

    async def read(self) -> Sequence[bytes]:
        try:
            piece = await self._pieces.__anext__()
        except StopAsyncIteration:
            return ()
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in CLIENTS:
                raise
            raise Disconnected(f"the connection broke after {self._bytes} bytes: {type(error).__name__}") from error
        self._bytes += len(piece)
        self._sniffer.look(piece)
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
        with _reading(self._path):
            await self._handle.run(self._look)

    def _look(self, file: Any) -> bytes:
        self.timed = _is_live(file)
        return b""

    async def read(self) -> Sequence[bytes]:
        # Of a terminal or a pipe a read waits; when the stream is cancelled it is left to itself.
        with _reading(self._path):
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


@contextmanager
def _reading(path: Path | None) -> Generator[None, None, None]:
    try:
        yield
    # Also of a name that no file can have, and of an open file that is closed meanwhile.
    except (OSError, ValueError) as error:
        raise RecordingError(f"{name_of(path) if path else 'the file'} can't be read: {reason_of(error)}") from error


adapters.append(adapt)
