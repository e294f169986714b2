"""Other sources of bytes: responses of other clients, SDK streams, files, standard input.

None of those libraries is imported here. Objects are recognized by their attributes (duck typing), so httpx and httpx2, or
another version of an SDK, are handled alike.
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
"""Maximum time to read the head of a body that an error quotes."""
_NAME = "the response of another client"
_READ = "found {}, which was read or closed already: make a new one for each stream"


def adapt(value: Any) -> Source[bytes] | None:
    """Return the object as a source of bytes; `None` if this module does not recognize it.

    An object that can't be read, or was already read or closed, raises `PipelineError`.
    """
    # The streams of SDKs (openai.AsyncStream, anthropic.AsyncStream) and the results of `with_raw_response` and
    # `with_streaming_response` expose the underlying httpx response.
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
        # The response of a synchronous client: usable only if its body is already in memory.
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
    """The response body of another client. The client's errors are raised as `Disconnected`; closing the stream closes the
    response.

    A `media_type` that is neither an event stream nor JSON raises `ContentTypeError` with the head of the body.
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
        # Only an empty sequence means the end; an empty piece does not.
        return (piece,)

    async def close(self) -> None:
        if (closing := self._close()) is not None:
            await closing


class File(Source[bytes]):
    """A file, read in a worker thread. A file given by its path is opened and closed here; an open file stays open.

    Reads from a pipe or a terminal have arrival times (`timed`); a file on disk or in memory has none.
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
        # A read from a terminal or a pipe can block; if the stream is cancelled, the thread is abandoned.
        with _reading(self._path):
            piece = await self._handle.run(_read)
        return (piece,) if piece else ()

    async def close(self) -> None:
        if self._path:
            self._handle.close()


def _read(file: Any) -> bytes:
    file = getattr(file, "buffer", file)
    # `read1` returns the available data; `read` would wait until the buffer is full.
    data = file.read1(PIECE_BYTES) if hasattr(file, "read1") else file.read(PIECE_BYTES)
    return data.encode() if isinstance(data, str) else bytes(data or b"")


def _is_live(file: Any) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, AttributeError):
        # A file in memory has no descriptor.
        return False


@contextmanager
def _reading(path: Path | None) -> Generator[None, None, None]:
    try:
        yield
    # ValueError: a path with a null byte, or an open file that was closed during the read.
    except (OSError, ValueError) as error:
        raise RecordingError(f"{name_of(path) if path else 'the file'} can't be read: {reason_of(error)}") from error


adapters.append(adapt)
