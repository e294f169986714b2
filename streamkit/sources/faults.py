"""Faults of a response body in transit, as functions over its timed pieces.

    streamkit.replay("answer.jsonl", faults=[Pause(200, seconds=5), Cut(800)])

A fault is any function from pieces to pieces. Nothing here waits: a delayed piece has a later time, and a piece that never
arrives has the time infinity. Positions are byte offsets in the fault's input; a fault after the end does nothing.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from streamkit.core.options import NamedOptions
from streamkit.errors import Disconnected, PipelineError
from streamkit.sources.recording import Piece

Fault: TypeAlias = Callable[[Iterator[Piece]], Iterator[Piece]]
GARBAGE = b"\x00\xff\xfe{garbage"
"""Neither text nor JSON, and without a line end: it corrupts the line that it is inserted into."""


@dataclass(frozen=True)
class Cut(NamedOptions):
    """Break the connection (`Disconnected`); a `clean` cut ends the body as if it were complete."""

    after_bytes: int
    """Byte offset in the body."""
    clean: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        tape = Tape(pieces)
        yield from tape.take(self.after_bytes)
        if tape.position == self.after_bytes and not self.clean:
            raise Disconnected(f"the connection broke after {self.after_bytes} bytes")


@dataclass(frozen=True)
class Pause(NamedOptions):
    """Delay everything after that offset, the end included, by `seconds`; `None` is forever."""

    after_bytes: int
    """Byte offset in the body."""
    seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)
        _expect(self, "seconds", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        late = math.inf if self.seconds is None else self.seconds
        tape = Tape(pieces)
        yield from tape.take(self.after_bytes)
        if tape.position == self.after_bytes:
            # An empty piece with a time: there may be no data left, only the delayed end.
            yield tape.at + late, b""
        for at, data in tape.rest():
            yield at + late, data


@dataclass(frozen=True)
class Garbage(NamedOptions):
    """Insert bytes that the server did not send."""

    after_bytes: int
    """Byte offset in the body."""
    data: bytes = GARBAGE
    """The bytes to insert."""

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        tape = Tape(pieces)
        yield from tape.take(self.after_bytes)
        if tape.position == self.after_bytes:
            yield tape.at, self.data
        yield from tape.rest()


@dataclass(frozen=True)
class Duplicate(NamedOptions):
    """Repeat the last `length` bytes before that offset."""

    after_bytes: int
    """Byte offset in the body."""
    length: int

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)
        _expect(self, "length", 1)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        tape = Tape(pieces)
        twice: list[bytes] = []
        yield from tape.take(max(0, self.after_bytes - self.length))
        for at, data in tape.take(min(self.length, self.after_bytes)):
            twice.append(data)
            yield at, data
        if tape.position == self.after_bytes:
            yield tape.at, b"".join(twice)
        yield from tape.rest()


@dataclass(frozen=True)
class Drip(NamedOptions):
    """Split the body into pieces of at most `bytes_per_piece`, each at least `seconds` after the one before."""

    bytes_per_piece: int
    seconds: float

    def __post_init__(self) -> None:
        _expect(self, "bytes_per_piece", 1)
        _expect(self, "seconds", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        now = -math.inf
        for at, data in pieces:
            if not data:
                yield max(at, now), data
            for start in range(0, len(data), self.bytes_per_piece):
                now = max(at, now + self.seconds)
                yield now, data[start : start + self.bytes_per_piece]


class Tape:
    """Reads pieces up to any byte offset. `position` is the number of bytes read, `at` the time of the last piece."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self.position = 0
        self.at = 0.0
        self._pieces = pieces
        self._left: bytes = b""

    def take(self, count: int) -> Iterator[Piece]:
        """Yield the next `count` bytes; fewer only at the end of the body."""
        end = self.position + count
        while self.position < end:
            if not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self.at, self._left = piece
            taken, self._left = self._left[: end - self.position], self._left[end - self.position :]
            self.position += len(taken)
            yield self.at, taken

    def rest(self) -> Iterator[Piece]:
        """Yield the rest of the body."""
        if self._left:
            yield self.at, self._left
        yield from self._pieces


def _expect(fault: object, name: str, least: int) -> None:
    value = getattr(fault, name)
    if value is not None and not value >= least:
        raise PipelineError(f"{type(fault).__name__}: expected {name} of at least {least}, found {value!r}")
