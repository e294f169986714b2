"""A recording as a source: replay its pieces at the recorded pace or without waiting, optionally re-split and with faults."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import IO, TypeAlias, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from streamkit.core.source import Source
from streamkit.errors import Disconnected, PipelineError, ProtocolError, RecordingError
from streamkit.plugins.config_files import as_path, name_of, reason_of
from streamkit.sources.content_type import Sniffer, is_readable, of_headers, unreadable
from streamkit.sources.faults import Cut, Duplicate, Fault, Garbage
from streamkit.sources.recording import Piece, is_timed, read_recording, recorded_headers, unzipped

LONGEST_WAIT = 3600.0
"""Maximum wait for a piece in seconds, whatever time the file has for it; only a `Pause` without `seconds` waits forever."""
Cutting: TypeAlias = int | Callable[[bytes], Iterable[bytes]]


def replay(
    path: str | PathLike[str] | IO[bytes],
    *,
    pace: float | None = None,
    cut: Cutting | None = None,
    faults: Iterable[Fault] = (),
) -> "Replay":
    """Replay a recording: at `pace` times its speed (1 as recorded, but no wait of more than an hour), or without waiting.

    The source's clock is that of the recording in both cases, so timings are reproduced. A file that is not a recording is
    read as a plain body: one piece, without arrival times. An invalid line raises `ProtocolError`, and a recorded error
    `Disconnected`, each after the pieces before it. A recorded content type that is neither an event stream nor JSON raises
    `ContentTypeError`.

    `cut`: re-split the body, into pieces of this length or by a function from the whole body to its pieces; each piece arrives
    at the time of its last byte. `faults`: from `streamkit.sources.faults`, applied in order after `cut`; a fault that takes
    time gives a body without times a clock that starts at 0.

    A gzip file, detected by its first bytes, is decompressed. `path` may also be an open binary file, such as
    `sys.stdin.buffer`: all of it is read when the stream is opened, and it stays open.

    A file that can't be read raises `RecordingError` when the stream is opened, and a gzip file of more than 256 MiB
    `LimitExceeded`.
    """
    if pace is not None and not pace > 0:
        raise PipelineError(f"pace: expected more than 0, or None for no waiting; found {pace!r}")
    if isinstance(cut, int) and cut < 1:
        raise PipelineError(f"cut: expected pieces of at least 1 byte, found {cut!r}")
    file = cast("IO[bytes]", path) if hasattr(path, "read") else as_path(path)
    return Replay(file, pace, cut, tuple(faults))


class Recorded(Source[bytes]):
    """A recorded body in memory: one piece per read, without waiting, on the recording's clock.

    `name` names it in messages. Raises the errors of `replay`.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        self._pieces: Iterator[Piece] = iter(())
        self._now = 0.0
        self._sniffer = Sniffer("", "")

    def __repr__(self) -> str:
        return f"<replay of {self._name}>"

    def now(self) -> float:
        return self._now

    async def open(self) -> None:
        self.timed = is_timed(self._content)
        self._check(self._content)
        self._pieces = read_recording(self._content)

    def _check(self, content: bytes) -> None:
        found = of_headers(recorded_headers(content))
        if not is_readable(found):
            raise unreadable(repr(self), found, _first_bytes(content))
        self._sniffer = Sniffer(found, repr(self))

    async def read(self) -> Sequence[bytes]:
        for at, data in self._pieces:
            self._now = max(self._now, at)
            if data:
                self._sniffer.look(data)
                return (data,)
        return ()


def _first_bytes(content: bytes) -> bytes:
    # `record` writes no piece for a body that it did not read because of its content type: the recorded error is then the first.
    with suppress(Disconnected, ProtocolError):
        return next((data for _, data in read_recording(content) if data), b"")
    return b""


class Replay(Recorded):
    """A recorded body. Created by `replay`."""

    def __init__(
        self, file: Path | IO[bytes], pace: float | None, cut: Cutting | None, faults: tuple[Fault, ...]
    ) -> None:
        self._read_all = file.read_bytes if isinstance(file, Path) else file.read
        self._shown = name_of(file) if isinstance(file, Path) else "the file"
        super().__init__(b"", file.name if isinstance(file, Path) else "an open file")
        self._pace = pace
        self._cut = cut
        self._faults = faults
        self.timed = not all(isinstance(fault, Cut | Duplicate | Garbage) for fault in faults)

    async def open(self) -> None:
        content = await self._read_file()
        self.timed = self.timed or is_timed(content)
        self._check(content)
        pieces = read_recording(content)
        if self._cut is not None:
            pieces = recut(pieces, self._cut)
        for fault in self._faults:
            pieces = fault(pieces)
        self._pieces = pieces

    async def _read_file(self) -> bytes:
        try:
            # The thread opens, reads and closes the file, so a cancellation need not wait for it.
            return await anyio.to_thread.run_sync(lambda: unzipped(self._read_all()), abandon_on_cancel=True)
        except RecordingError as error:
            raise RecordingError(f"{self._shown} can't be read: {error}") from error
        except (OSError, ValueError) as error:
            raise RecordingError(f"{self._shown} can't be read: {reason_of(error)}") from error

    async def read(self) -> Sequence[bytes]:
        for at, data in self._pieces:
            await self._wait_until(at)
            if data:
                self._sniffer.look(data)
                return (data,)
        return ()

    async def _wait_until(self, at: float) -> None:
        if at == math.inf:
            await anyio.sleep_forever()
        elif self._pace:
            await anyio.sleep(min(LONGEST_WAIT, max(0.0, at - self._now) / self._pace))
        else:
            await anyio.lowlevel.checkpoint()
        self._now = max(self._now, at)


def recut(pieces: Iterable[Piece], cut: Cutting) -> Iterator[Piece]:
    """Split the body again, by `cut`, as `replay` does.

    Each piece arrives at the time of its last byte. An error that ends the input is raised after the pieces.
    """
    came: list[Piece] = []
    failure: Exception | None = None
    try:
        for piece in pieces:
            came.append(piece)
    except (Disconnected, ProtocolError) as error:
        failure = error
    body = b"".join(data for _, data in came)
    yield from _with_times(_cut(body, cut), came)
    if failure:
        raise failure


def _cut(body: bytes, cut: Cutting) -> Iterator[bytes]:
    if isinstance(cut, int):
        yield from (body[start : start + cut] for start in range(0, len(body), cut))
        return
    position = 0
    for piece in cut(body):
        if not body.startswith(piece, position):
            raise PipelineError(f"cut: expected pieces of the body, found another one at byte {position}")
        position += len(piece)
        yield piece
    if position < len(body):
        raise PipelineError(f"cut: expected pieces of all {len(body)} bytes, found only {position}")


def _with_times(pieces: Iterable[bytes], came: Iterable[Piece]) -> Iterator[Piece]:
    arrivals = iter(came)
    at, arrived, position = 0.0, 0, 0
    for piece in pieces:
        position += len(piece)
        while arrived < position:
            at, data = next(arrivals)
            arrived += len(data)
        yield at, piece
    # Empty pieces after the last byte, such as the end.
    yield from arrivals
