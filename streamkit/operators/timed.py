"""Fewer items, by time.

A stage has no clock and no task: it receives the time with each burst. What is due is released with the next burst, or at the
end, and all items of one burst came at one time. So these depend on when items come, and on nothing else.
They drop items, and are made for states (snapshots, counts, progress), not for deltas, of which every one is needed.
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
    """The last item before each silence of `seconds`, and the last of all."""

    seconds: float
    _waiting: list[A] = field(default_factory=list[A], init=False, repr=False)
    _at: float = field(default=0.0, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds)

    def buffers(self) -> Iterable[Buffer]:
        return (
            Buffer(stage_name(self), len(self._waiting), "items", f"released after a silence of {self.seconds:g} s"),
        )

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
    """At most one item every `seconds`: the first at once, then the newest of those that came meanwhile, and the last."""

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
