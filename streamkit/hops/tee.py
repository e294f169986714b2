"""One stream for one or several consumers in other tasks."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Generic, TypeVar

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.hops.channel import (
    Branch,
    Overflow,
    Readable,
    at_least_one,
    check_overflow,
    close,
    entered,
    pump,
    reading,
)
from streamkit.hops.context import block, hop
from streamkit.hops.tasks import beside
from streamkit.operators.each import check_number

T = TypeVar("T")
U = TypeVar("U")


@hop
async def prefetch(items: Readable[T], *, size: int = 1) -> AsyncGenerator[Branch[T], None]:
    """Read in a separate task, at most `size` items ahead of the consumer.

    Unlike a read of the stream itself, a read of this iterator may be cancelled, for example by a timeout, and repeated without
    losing an item. An error of `items` is raised after the items before it, and again by every further read. Leaving the block
    closes `items`; an error of closing is raised unless another error is.
    """
    async with tee(items, 1, size=size) as (ahead,):
        yield ahead


@block
async def tee(
    items: Readable[T], consumers: int = 2, *, size: int = 16, overflow: Overflow = "wait"
) -> AsyncGenerator[tuple[Branch[T], ...], None]:
    """Pass all items to each of several `consumers`. One task reads, at most `size` items ahead of the slowest.

    `overflow`: `wait` applies back-pressure, so nothing is dropped and the queues stay bounded. With `drop_oldest`, `drop_newest`
    or `error`, a consumer that is `size` items behind loses its oldest or newest items, or gets a `QueueOverflow`. A `StreamEnd`
    is never dropped. `Branch.waiting` is the number of buffered items, `Branch.dropped` the number of dropped ones. A consumer
    that stops early must call `aclose` on its branch, or it blocks the others; when all have, reading stops. Otherwise like
    `prefetch`.
    """
    at_least_one(size=size, consumers=consumers)
    check_overflow(overflow)
    iterator, unclosed = reading(items), list[Exception]()
    branches = tuple(Branch[T](size, overflow) for _ in range(consumers))
    async with beside(
        partial(pump, iterator, branches, unclosed), unclosed=unclosed, left=[branch.leave for branch in branches]
    ):
        yield branches


@block
async def broadcast(
    items: Readable[T], *, size: int = 64, overflow: Overflow = "error", history: int = 10_000
) -> AsyncGenerator["Broadcast[T]", None]:
    """Read once for any number of consumers: each calls `subscribe`, at any time, and first receives the earlier items.

    Reading continues without consumers. The last `history` items are kept for late consumers. A consumer that subscribes after
    more than `history` items misses the oldest ones; `Branch.dropped` counts them. `size` and `overflow` are those of `tee`, for
    the items after the subscription.
    """
    at_least_one(size=size)
    check_overflow(overflow)
    check_number("history", history, 0)
    iterator, unclosed = reading(items), list[Exception]()
    hub = Broadcast[T](size, overflow, history)
    async with beside(partial(pump, iterator, (hub,), unclosed), unclosed=unclosed, left=[hub.leave]):
        yield hub


class Broadcast(Branch[T], Generic[T]):
    """The stream to subscribe to. Created by `broadcast`. Consumers read their branches, not this object."""

    def __init__(self, size: int, overflow: Overflow, history: int) -> None:
        super().__init__(history, "drop_oldest")
        self._each = (size, overflow)
        self._history: deque[T] = deque(maxlen=history)
        self._passed = 0
        self._branches: list[Branch[T]] = []

    def subscribe(self) -> Branch[T]:
        """Return a branch with all kept items and all further ones. Call its `aclose` when the consumer stops."""
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
        """Number of current consumers."""
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
    """Run an async generator function over `items` in a separate task, at most `size` items ahead of the consumer.

    In a separate task, a timeout inside the generator can't cancel the consumer, and a timeout of the consumer can't cancel the
    generator (PEP 789). Leaving the block closes the generator and then `items`.
    """
    check_generator(function, size)
    unclosed: list[Exception] = []
    iterator = reading(items)
    try:
        async with entered(iterator) as given, prefetch(function(given), size=size) as ahead:
            yield ahead
    finally:
        await close(iterator, unclosed)
    if unclosed:
        raise unclosed[0]


def check_generator(function: object, size: int) -> None:
    """Raise `PipelineError` for invalid options of `from_generator`."""
    if not callable(function):
        raise PipelineError(f"expected an async generator function, found {kind_of(function)}")
    at_least_one(size=size)
