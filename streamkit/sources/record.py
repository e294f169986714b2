"""Record a source: pass its data on unchanged, and write it to a file that `replay` reads."""

import math
from collections.abc import AsyncIterable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from streamkit.core.source import Source, as_source
from streamkit.errors import PipelineError, RecordingError
from streamkit.sources.recording import End, cleaned, end_line, head_line, piece_line

_METADATA: dict[str, type] = {"method": str, "url": object, "status": int, "headers": Mapping}


def record(
    source: Source[bytes] | AsyncIterable[bytes] | Iterable[bytes],
    path: str | PathLike[str],
    *,
    keep_headers: Collection[str] = (),
    about: Mapping[str, object] | None = None,
) -> "RecordingSource":
    """Read from `source` and write each piece with its arrival time to the file at `path`, which is overwritten.

    The first line of the file holds the source's `method`, `url`, `status` and `headers`; the entries of `about` extend or
    override them. The request body is recorded only if `about` contains it. A URL is written without its query and user part.
    The value of a header whose name suggests a key, a cookie or an account is redacted, unless the name is in `keep_headers`.

    Each piece is written before it is returned, so a crash loses nothing that was received. If the file can't be created,
    `RecordingError` is raised before the source is opened; if it can't be written later, after everything that was read is
    delivered.
    """
    return RecordingSource(source, Path(path), tuple(keep_headers), about or {})


class RecordingSource(Source[bytes]):
    """A source that is recorded. Created by `record`. Its clock and retries are those of `source`."""

    def __init__(
        self,
        source: Source[bytes] | AsyncIterable[bytes] | Iterable[bytes],
        path: Path,
        keep_headers: Collection[str],
        about: Mapping[str, object],
    ) -> None:
        self.source = cast(Source[bytes], as_source(source))
        self.deadlines = self.source.deadlines
        self._given = source
        self._path = path
        self._keep_headers = keep_headers
        # A copy. It also raises here, not in the middle of a stream, for a value that can't be encoded as JSON.
        self._about: dict[str, Any] = msgspec.to_builtins(cleaned(about, keep_headers), str_keys=True)
        self._file: IO[bytes] | None = None
        self._failure: RecordingError | None = None
        self._opened_at: float | None = None
        self._begun = False  # the first line is written
        self._ended = False  # the last line is written

    def __repr__(self) -> str:
        return f"<{self.source!r} recorded to {self._path.name}>"

    def now(self) -> float:
        return self.source.now()

    async def open(self) -> None:
        if self._opened_at is None:
            self._start()
        try:
            await self.source.open()
        except Exception as error:
            self._end("error", error)
            raise
        self.timed = self.source.timed
        self._write(b"")

    async def read(self) -> Sequence[bytes]:
        self._raise_failure()
        try:
            pieces = await self.source.read()
        except Exception as error:
            self._end("error", error)
            raise
        if pieces:
            self._write(b"".join(self._lines(pieces)))
        else:
            self._end("eof")
        return pieces

    async def again(self, error: Exception) -> bool:
        if not await self.source.again(error):
            return False
        # Nothing of the failed attempt was released, so the recording starts over with the next attempt.
        self._erase()
        return True

    @property
    def undrained(self) -> bool:
        return self.source.undrained

    async def drain(self) -> None:
        await self.source.drain()

    async def close(self) -> None:
        try:
            await self.source.close()
        finally:
            self._end("closed")
            self._release()
        self._raise_failure()

    def _start(self) -> None:
        if self.source.used:
            raise PipelineError("this source was opened before; make a new one for each recording")
        self.source.used = True
        # The file is opened first, so that no paid request is sent if it can't be recorded.
        with self._disk():
            self._file = self._new_file()
        self._raise_failure()
        self._opened_at = self.now()

    def _new_file(self) -> IO[bytes]:
        return self._path.open("wb")

    def _elapsed(self) -> float:
        return self.now() - (self._opened_at or 0.0)

    def _lines(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        at = self._elapsed()
        for piece in pieces:
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise PipelineError(f"expected pieces of bytes to record, found {type(piece).__name__}")
            yield piece_line(at, bytes(piece))

    def _end(self, end: End, error: Exception | None = None) -> None:
        if not self._ended:
            self._write(end_line(self._elapsed(), end, type(error).__name__ if error else None))
            self._ended = True

    # Blocking writes in the event loop, each flushed to the operating system: 2 µs per read while the page cache has room. A
    # worker thread (`anyio.open_file`) takes 300 µs and would delay every piece.
    def _write(self, lines: bytes) -> None:
        if self._file:
            with self._disk():
                self._file.write(lines if self._begun else self._head() + lines)
                self._file.flush()
                self._begun = True

    def _head(self) -> bytes:
        given = {name: getattr(self._given, name, None) for name in _METADATA}
        facts = {
            name: value for name, value in given.items() if value is not None and isinstance(value, _METADATA[name])
        }
        timed = {} if self.source.timed else {"timed": False}
        return head_line(cleaned(facts, self._keep_headers) | self._about | timed)

    def _erase(self) -> None:
        if self._file:
            with self._disk():
                self._file.seek(0)
                self._file.truncate()
            self._begun = self._ended = False

    def _release(self) -> None:
        file, self._file = self._file, None
        if file:
            with self._disk():
                file.close()

    @contextmanager
    def _disk(self) -> Generator[None, None, None]:
        # The failure is raised later, after everything that was read is delivered; until then nothing more is written.
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._failure = RecordingError(f"{self._path}: the recording can't be written: {reason}")
            self._failure.__cause__ = error
            file, self._file = self._file, None
            # Closing flushes the unwritten data again, which may fail again.
            with suppress(OSError):
                if file:
                    file.close()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            raise failure


class MemoryRecording(RecordingSource):
    """A source that is recorded in memory, up to `max_bytes`; a longer recording is discarded."""

    def __init__(
        self, source: Source[bytes] | AsyncIterable[bytes] | Iterable[bytes], *, max_bytes: float = math.inf
    ) -> None:
        super().__init__(source, Path("memory"), (), {})
        self._max_bytes = max_bytes
        self._memory = BytesIO()

    def content(self) -> bytes | None:
        """End the recording and return it, for a complete body; `None` if it is longer than `max_bytes`."""
        self._end("eof")
        return self._memory.getvalue() or None

    def _new_file(self) -> IO[bytes]:
        return self._memory

    def _write(self, lines: bytes) -> None:
        super()._write(lines)
        if self._file and self._memory.tell() > self._max_bytes:
            self._file = None
            self._memory = BytesIO()

    def _release(self) -> None:
        self._file = None  # the buffer is kept for `content`
