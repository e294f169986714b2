"""Hops as stages, composed by `|`: each is one of the functions of this room, over what stands left of it."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Hop
from streamkit.events import Event
from streamkit.hops.channel import at_least_one
from streamkit.hops.concurrent_map import Of, OnError, Plan, backoff, concurrent_map
from streamkit.hops.pace import rate_limit
from streamkit.hops.tee import from_generator, prefetch

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Event)
Item = TypeVar("Item")
Result = TypeVar("Result")


def one(item: object) -> float:
    """Return the default size of an item in a queue bounded by size."""
    return 1.0


class _Shown(ReadsAsWritten):
    room = "hops"


@dataclass(repr=False)
class Prefetch(_Shown, Hop[A, A]):
    """Read in a task of its own, at most `size` items ahead of the stages behind it: `hops.prefetch` as a stage."""

    size: int = 1
    passes_others = True

    def __post_init__(self) -> None:
        at_least_one(size=self.size)

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[A]]:
        return prefetch(items, size=self.size)


@dataclass(repr=False)
class FromGenerator(_Shown, Hop[A, B]):
    """Run an async generator function over the items, in a task of its own: `hops.from_generator` as a stage.

    `function` takes the iterator of the items; at most `size` results are read ahead.
    """

    function: Callable[[AsyncIterator[A]], AsyncIterator[B]]
    size: int = 1

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[B]]:
        return from_generator(self.function, items, size=self.size)


@dataclass(repr=False)
class RateLimit(_Shown, Hop[A, A]):
    """Give items at most so fast: `hops.rate_limit` as a stage.

    `per_second` of what `cost` says of an item are released, after the first `burst` of it at once. At most `size` items are
    read ahead.
    """

    per_second: float
    burst: float = 1
    cost: Callable[[A], float] = one
    size: int = 16

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[A]]:
        return rate_limit(items, per_second=self.per_second, burst=self.burst, cost=self.cost, size=self.size)


@dataclass(init=False, repr=False)
class ConcurrentMap(_Shown, Hop[A, B]):
    """Call an async function with several items at a time: `hops.concurrent_map` as a stage.

    `function` and all other options are those of `concurrent_map`.
    """

    function: Callable[[Any], Awaitable[Any]]
    concurrency: int = 8
    ordered: bool = True
    of: Of | None = None
    on_error: OnError = "raise"
    attempts: int = 3
    wait: Callable[[int], float] = backoff
    ahead: int = 64

    # A function of some kind of event leaves the others in the stream; one of other items is given all of them.
    @overload
    def __init__(
        self: "ConcurrentMap[Event, Event]",
        function: Callable[[E], Awaitable[Event]],
        concurrency: int = 8,
        ordered: bool = True,
        *,
        of: Of | None = None,
        on_error: OnError = "raise",
        attempts: int = 3,
        wait: Callable[[int], float] = backoff,
        ahead: int = 64,
    ) -> None: ...
    @overload
    def __init__(
        self: "ConcurrentMap[Event, Event | Result]",
        function: Callable[[E], Awaitable[Result]],
        concurrency: int = 8,
        ordered: bool = True,
        *,
        of: Of | None = None,
        on_error: OnError = "raise",
        attempts: int = 3,
        wait: Callable[[int], float] = backoff,
        ahead: int = 64,
    ) -> None: ...
    @overload
    def __init__(
        self: "ConcurrentMap[Item, Result]",
        function: Callable[[Item], Awaitable[Result]],
        concurrency: int = 8,
        ordered: bool = True,
        *,
        of: Of | None = None,
        on_error: OnError = "raise",
        attempts: int = 3,
        wait: Callable[[int], float] = backoff,
        ahead: int = 64,
    ) -> None: ...
    def __init__(
        self,
        function: Callable[[Any], Awaitable[Any]],
        concurrency: int = 8,
        ordered: bool = True,
        *,
        of: Of | None = None,
        on_error: OnError = "raise",
        attempts: int = 3,
        wait: Callable[[int], float] = backoff,
        ahead: int = 64,
    ) -> None:
        Plan(function, concurrency, ordered, of, on_error, attempts, wait, ahead).check()
        self.function, self.concurrency, self.ordered, self.of = function, concurrency, ordered, of
        self.on_error, self.attempts, self.wait, self.ahead = on_error, attempts, wait, ahead

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[B]]:
        mapped = concurrent_map(
            items,
            self.function,
            concurrency=self.concurrency,
            ordered=self.ordered,
            of=self.of,
            on_error=self.on_error,
            attempts=self.attempts,
            wait=self.wait,
            ahead=self.ahead,
        )
        return cast("AbstractAsyncContextManager[AsyncIterable[B]]", mapped)
