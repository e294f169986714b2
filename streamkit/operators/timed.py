"""Limit the rate of items.

A stage has no clock and no task: it receives the time with each burst. An item that is due is released with the next burst or at
the end, and all items of one burst have the same time. The result depends only on the arrival times.
These stages drop items. Use them for states (snapshots, counts, progress), not for deltas, which must all be delivered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage
from streamkit.operators.each import check_seconds, ending

A = TypeVar("A")


@dataclass(repr=False)
class Debounce(ReadsAsWritten, Stage[A, A]):
    """Emit the last item before each pause of at least `seconds`, and the last item of the stream."""

    seconds: float
    _waiting: list[A] = field(default_factory=list[A], init=False, repr=False)
    _at: float = field(default=0.0, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds)

    def buffers(self) -> Iterable[Buffer]:
        return (Buffer(stage_name(self), len(self._waiting), "items", f"released after a pause of {self.seconds:g} s"),)

    def tick(self, now: float) -> None:
        self._now = now

    def feed(self, item: A) -> Iterable[A]:
        if end := ending(item):
            return (*self.flush(), *end)
        due = self.flush() if self._now - self._at >= self.seconds else ()
        self._waiting, self._at = [item], self._now
        return due

    def flush(self) -> Iterable[A]:
        waiting, self._waiting = self._waiting, []
        return waiting


@dataclass(repr=False)
class Throttle(ReadsAsWritten, Stage[A, A]):
    """Emit at most one item every `seconds`: the first immediately, then the newest since, and the last item of the stream."""

    seconds: float
    _waiting: list[A] = field(default_factory=list[A], init=False, repr=False)
    _at: float | None = field(default=None, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds)

    def buffers(self) -> Iterable[Buffer]:
        return (
            Buffer(stage_name(self), len(self._waiting), "items", f"at most one is released every {self.seconds:g} s"),
        )

    def tick(self, now: float) -> None:
        self._now = now

    def feed(self, item: A) -> Iterable[A]:
        return self.feed_all([item])

    def feed_all(self, items: list[A]) -> Iterable[A]:
        for item in items:
            if end := ending(item):
                yield from (*self.flush(), *end)
                continue
            if self._waiting and self._due():
                yield from self._release()
            self._waiting = [item]
            if self._due():
                yield from self._release()

    def flush(self) -> Iterable[A]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _due(self) -> bool:
        return self._at is None or self._now - self._at >= self.seconds

    def _release(self) -> Iterable[A]:
        self._at = self._now
        return self.flush()
