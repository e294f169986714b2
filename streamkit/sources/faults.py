"""Faults of a response body in transit, as functions over its timed pieces.

    streamkit.replay("answer.jsonl", faults=[Stall(200, seconds=5), Cut(800)])

A fault is any function from pieces to pieces. Nothing here waits: a piece that is late has a later time, and one that never
comes has the time infinity. Places are counted in bytes of what the fault is given; a fault behind the end does nothing.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from streamkit.errors import Disconnected, PipelineError
from streamkit.sources.recording import Piece

Fault: TypeAlias = Callable[[Iterator[Piece]], Iterator[Piece]]
GARBAGE = b"\x00\xff\xfe{garbage"
"""Neither text nor JSON, and without a line end: it spoils the line that it falls into."""


@dataclass(frozen=True)
class Cut:
    """The connection breaks (`Disconnected`); a `clean` cut ends the body as if it were complete."""

    after_bytes: int
    """Where, in bytes of the body."""
    clean: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        tape = Tape(pieces)
        yield from tape.take(self.after_bytes)
        if tape.position == self.after_bytes and not self.clean:
            raise Disconnected(f"the connection broke after {self.after_bytes} bytes")


@dataclass(frozen=True)
class Pause:
    """Everything after that place comes `seconds` later, and the end too; `None` is for ever."""

    after_bytes: int
    """Where, in bytes of the body."""
    seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _expect(self, "after_bytes", 0)
        _expect(self, "seconds", 0)

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        late = math.inf if self.seconds is None else self.seconds
        tape = Tape(pieces)
        yield from tape.take(self.after_bytes)
        if tape.position == self.after_bytes:
            # A moment, for what is late may be the end alone.
            yield tape.at + late, b""
        for at, data in tape.rest():
            yield at + late, data


@dataclass(frozen=True)
class Garbage:
    """Insert bytes that were not sent."""

    after_bytes: int
    """Where, in bytes of the body."""
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
class Duplicate:
    """The last `length` bytes before that place come twice."""

    after_bytes: int
    """Where, in bytes of the body."""
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
class Drip:
    """Every piece comes in drops of `bytes_per_piece`, each `seconds` after the one before, or when it came if that is later."""

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
    """Pieces that can be read up to any byte. `position` is the number of bytes read, `at` the time of the last piece."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self.position = 0
        self.at = 0.0
        self._pieces = pieces
        self._left: bytes = b""

    def take(self, count: int) -> Iterator[Piece]:
        """The next `count` bytes; fewer only where the body ends."""
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
        """All that is left."""
        if self._left:
            yield self.at, self._left
        yield from self._pieces


def _expect(fault: object, name: str, least: int) -> None:
    value = getattr(fault, name)
    if value is not None and not value >= least:
        raise PipelineError(f"{type(fault).__name__}: expected {name} of at least {least}, found {value!r}")
