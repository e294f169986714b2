"""One stream for consumers in other tasks."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

from streamkit.hops.channel import Branch, Overflow, Readable, at_least_one, close, entered, pump, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

T = TypeVar("T")
U = TypeVar("U")


@hop
async def prefetch(items: Readable[T], *, size: int = 1) -> AsyncGenerator[Branch[T], None]:
    """Read in a task of its own, at most `size` items ahead of the consumer.

    Unlike a stream's own, a read of the iterator that this gives may be cancelled, by a timeout for example, and asked
    again: no item is lost. An error of `items` is raised after the items before it, and again whenever it is asked.
    Leaving the block closes `items`; if that fails and nothing else has, it raises.
    """
    async with tee(items, 1, size=size) as (ahead,):
        yield ahead


@asynccontextmanager
async def tee(
    items: Readable[T], consumers: int = 2, *, size: int = 16, overflow: Overflow = "wait"
) -> AsyncGenerator[tuple[Branch[T], ...], None]:
    """Give all items to each of several `consumers`, by one task that reads at most `size` items ahead of the slowest.

    `overflow`: `wait` for the slowest, so that nothing is dropped and nothing grows; or let one that is `size` items behind
    lose its oldest items, the newest ones, or get an error (`QueueOverflow`). A `StreamEnd` is never dropped.
    `Branch.waiting` is how far each is behind, `Branch.dropped` how much it missed. A consumer that stops early calls its
    branch's `aclose`, or it would hold the others up; when all have, the reading stops. For the rest as `prefetch`.
    """
    at_least_one(size=size, consumers=consumers)
    iterator, unclosed = reading(items), list[Exception]()
    branches = tuple(Branch[T](size, overflow) for _ in range(consumers))
    async with beside(partial(pump, iterator, branches, unclosed), unclosed=unclosed):
        yield branches


@asynccontextmanager
async def broadcast(
    items: Readable[T], *, size: int = 64, overflow: Overflow = "error", history: int = 10_000
) -> AsyncGenerator["Broadcast[T]", None]:
    """Read once for consumers that come and go: each calls `subscribe`, at any time, and gets what it missed first.

    It keeps reading without consumers. The last `history` items are kept for late consumers; who comes when more have passed
    finds the first of them missing (`Branch.dropped`). `size` and `overflow` are those of `tee`, for the items that come
    after a consumer has.
    """
    at_least_one(size=size)
    iterator, unclosed = reading(items), list[Exception]()
    hub = Broadcast[T](size, overflow, history)
    async with beside(partial(pump, iterator, (hub,), unclosed), unclosed=unclosed):
        yield hub


class Broadcast(Branch[T], Generic[T]):
    """Made by `broadcast`. Its own queue is the history; consumers read their branches."""

    def __init__(self, size: int, overflow: Overflow, history: int) -> None:
        super().__init__(history, "drop_oldest")
        self._each = (size, overflow)
        self._history: deque[T] = deque(maxlen=history)
        self._passed = 0
        self._branches: list[Branch[T]] = []

    def subscribe(self) -> Branch[T]:
        """A branch with all that is kept and all that comes. `aclose` it when its consumer leaves."""
        size, overflow = self._each
        branch = Branch[T](max(size, len(self._history)), overflow)
        branch.dropped = self._passed - len(self._history)
        for item in self._history:
            branch.give(item)
        if self._finished:
            branch.finish(self._error)
        else:
            self._branches.append(branch)
        return branch

    @property
    def consumers(self) -> int:
        """How many read now."""
        return len(self._branches)

    def give(self, item: T) -> None:
        self._history.append(item)
        self._passed += 1
        self._branches = [branch for branch in self._branches if not branch.closed]
        for branch in self._branches:
            branch.give(item)

    @property
    def full(self) -> bool:
        return any(branch.full for branch in self._branches)

    async def room(self) -> None:
        for branch in self._branches:
            await branch.room()

    def finish(self, error: Exception | None = None) -> None:
        super().finish(error)
        for branch in self._branches:
            branch.finish(error)
        self._branches = []


@hop
async def from_generator(
    function: Callable[[AsyncIterator[T]], AsyncIterator[U]], items: Readable[T], *, size: int = 1
) -> AsyncGenerator[Branch[U], None]:
    """Run an async generator function over `items`, in a task of its own, at most `size` items ahead of the consumer.

    There a timeout inside the generator cannot cancel the consumer, nor one of the consumer's the generator (PEP 789).
    Leaving the block closes the generator and then `items`.
    """
    unclosed: list[Exception] = []
    iterator = reading(items)
    try:
        async with entered(iterator) as given, prefetch(function(given), size=size) as ahead:
            yield ahead
    finally:
        await close(iterator, unclosed)
    if unclosed:
        raise unclosed[0]
