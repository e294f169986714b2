"""Limit and group items by number. A `StreamEnd` is not counted; it passes through and is always last."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, get_args

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.events import Event, StreamEnd
from streamkit.operators.each import check_function, check_number, check_seconds, ending

A = TypeVar("A")
_EVENTS = get_args(Event)


@dataclass(repr=False)
class Take(ReadsAsWritten, Stage[A, A]):
    """Emit the first `count` items, then close the source.

    Events then end with `StreamEnd("cancelled")`, as after `cancel()`, because the answer is incomplete.
    """

    count: int
    _taken: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("count", self.count)

    def feed(self, item: A) -> Iterable[A]:
        if self.done:
            return ()
        if end := ending(item):
            return end
        self._taken += 1
        self.done = self._taken >= self.count
        return (item, *_left(item)) if self.done else (item,)


@dataclass(repr=False)
class TakeUntil(ReadsAsWritten, Stage[A, A]):
    """Emit the items before the first one for which `predicate` is true, with `inclusive` also that one; then close the source.

    Events then end with `StreamEnd("cancelled")`, as with `Take`.
    """

    predicate: Callable[[A], object]
    inclusive: bool = False

    def __post_init__(self) -> None:
        check_function(self, self.predicate)

    def feed(self, item: A) -> Iterable[A]:
        if self.done:
            return ()
        if (end := ending(item)) or not self.predicate(item):
            return end or (item,)
        self.done = True
        return (item, *_left(item)) if self.inclusive else _left(item)


@dataclass(repr=False)
class Skip(ReadsAsWritten, Stage[A, A]):
    """Drop the first `count` items."""

    count: int
    _skipped: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("count", self.count, least=0)

    def feed(self, item: A) -> Iterable[A]:
        if self._skipped >= self.count or isinstance(item, StreamEnd):
            return (item,)
        self._skipped += 1
        return ()


@dataclass(repr=False)
class Batch(ReadsAsWritten, Stage[A, list[A]]):
    """Group items into lists: of `size` items, or of the items within `seconds` of the first, or whichever is reached first.

    The stage receives the source's time with each burst: an expired batch is released with the next burst or at the end. The last
    list may be shorter; no list is empty. With `seconds` the lists depend on the arrival times.
    """

    size: int | None = None
    seconds: float | None = None
    _items: list[A] = field(default_factory=list[A], init=False, repr=False)
    _since: float = field(default=0.0, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size is None and self.seconds is None:
            raise PipelineError("Batch needs a size, or seconds, or both")
        if self.size is not None:
            check_number("size", self.size)
        if self.seconds is not None:
            check_seconds("seconds", self.seconds)

    @property
    def held(self) -> int:
        """The number of buffered items."""
        return len(self._items)

    def buffers(self) -> Iterable[Buffer]:
        wanted = [f"{self.size} items"] if self.size is not None else []
        wanted += [f"{self.seconds:g} s"] if self.seconds is not None else []
        return (Buffer(stage_name(self), self.held, "items", f"a list is released after {' or '.join(wanted)}"),)

    def tick(self, now: float) -> None:
        self._now = now

    def feed(self, item: A) -> Iterable[list[A]]:
        if end := ending(item):
            return (*self.flush(), *end)
        over = self.seconds is not None and self._items and self._now - self._since >= self.seconds
        due = self.flush() if over else ()
        if not self._items:
            self._since = self._now
        self._items.append(item)
        return (*due, *self.flush()) if len(self._items) == self.size else due

    def flush(self) -> Iterable[list[A]]:
        items, self._items = self._items, []
        return (items,) if items else ()


@dataclass(repr=False)
class SlidingWindow(ReadsAsWritten, Stage[A, list[A]]):
    """Emit a list of the last `size` items, after every `step` items. With fewer than `size` items nothing is emitted."""

    size: int
    step: int = 1
    _items: list[A] = field(default_factory=list[A], init=False, repr=False)
    _missing: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("size", self.size)
        check_number("step", self.step)
        self._missing = self.size

    def feed(self, item: A) -> Iterable[list[A]]:
        if end := ending(item):
            return end
        self._items = [*self._items[-(self.size - 1) :], item] if self.size > 1 else [item]
        self._missing -= 1
        if self._missing:
            return ()
        self._missing = self.step
        return (self._items.copy(),)


def _left(item: A) -> tuple[A, ...]:
    # Only a stream of events has a `StreamEnd`.
    return cast("tuple[Any, ...]", (StreamEnd("cancelled"),)) if isinstance(item, _EVENTS) else ()
