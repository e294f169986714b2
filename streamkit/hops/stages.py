"""Hops as stages for `|`: each applies a function of this package to the stream left of it."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

from streamkit.core.engine import with_inner
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import AsyncStage, Hop, Stage, Step
from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.events import Event
from streamkit.hops.channel import at_least_one, check_classes
from streamkit.hops.concurrent_map import Of, OnError, Plan, backoff, concurrent_map
from streamkit.hops.groups import through_groups
from streamkit.hops.keys import check_functions
from streamkit.hops.latest import latest
from streamkit.hops.pace import check_rate, rate_limit
from streamkit.hops.tee import check_generator, from_generator, prefetch

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Event)
Item = TypeVar("Item")
Result = TypeVar("Result")


def one(item: object) -> float:
    """Return 1.0, the default cost of an item for `RateLimit`."""
    return 1.0


class _Shown(ReadsAsWritten):
    room = "hops"


@dataclass(repr=False)
class Prefetch(_Shown, Hop[A, A]):
    """Read in a separate task, at most `size` items ahead of the following stages: `hops.prefetch` as a stage."""

    size: int = 1
    passes_others = True

    def __post_init__(self) -> None:
        at_least_one(size=self.size)

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[A]]:
        return prefetch(items, size=self.size)


@dataclass(repr=False)
class FromGenerator(_Shown, Hop[A, B]):
    """Run an async generator function over the items in a separate task: `hops.from_generator` as a stage.

    `function` receives the iterator of the items; at most `size` results are read ahead.
    """

    function: Callable[[AsyncIterator[A]], AsyncIterator[B]]
    size: int = 1

    def __post_init__(self) -> None:
        check_generator(self.function, self.size)

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[B]]:
        return from_generator(self.function, items, size=self.size)


@dataclass(repr=False)
class GroupBy(_Shown, Hop[A, B]):
    """Group the items by their `key`, and run each group through its own copy of `pipeline`, concurrently.

    Items of one key keep their order; those of different keys are emitted as they are ready. An item with the key `None` bypasses
    the pipeline. Every copy receives the `StreamEnd`; a single one is emitted, as the last item: the first that is not a success,
    or else the first that is not `completed`. The first failure cancels the other groups.

    At most `size` items are buffered per group, and at most `size` results of all groups. More than `groups` different keys raise
    `QueueOverflow`. `hops.group_by` gives access to the substreams.
    """

    key: Callable[[A], Hashable]
    pipeline: Stage[A, B] | AsyncStage[A, B]
    size: int = 16
    groups: int = 64

    def __post_init__(self) -> None:
        at_least_one(size=self.size, number_of_groups=self.groups)
        check_functions(key=self.key)
        if not isinstance(cast(object, self.pipeline), Step):
            raise PipelineError(f"expected a stage or a pipeline for the groups, found {kind_of(self.pipeline)}")
        self.completes = any(stage.completes for stage in with_inner([self.pipeline]))

    def inner(self) -> Iterable[Step[Any, Any]]:
        return (self.pipeline,)

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[B]]:
        return through_groups(items, self.key, self.pipeline, size=self.size, groups=self.groups)


@dataclass(repr=False)
class Latest(_Shown, Hop[A, B]):
    """Call a function with each item, and cancel the call for the item before: `hops.latest` as a stage.

    The options are those of `latest`.
    """

    function: Callable[[Any], Any]
    of: Of | None = None
    size: int = 16

    def __post_init__(self) -> None:
        at_least_one(size=self.size)
        check_classes(self.of)
        if not callable(cast(object, self.function)):
            raise PipelineError(f"expected a function, found {kind_of(self.function)}")

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[B]]:
        return cast(
            "AbstractAsyncContextManager[AsyncIterable[B]]", latest(items, self.function, of=self.of, size=self.size)
        )


@dataclass(repr=False)
class RateLimit(_Shown, Hop[A, A]):
    """Limit the rate of items: `hops.rate_limit` as a stage.

    Items with a total `cost` of `per_second` are released per second, after an initial `burst`. At most `size` items are read
    ahead.
    """

    per_second: float
    burst: float = 1
    cost: Callable[[A], float] = one
    size: int = 16

    def __post_init__(self) -> None:
        check_rate(self.per_second, self.burst, self.cost, self.size)

    def join(self, items: AsyncIterable[A]) -> AbstractAsyncContextManager[AsyncIterable[A]]:
        return rate_limit(items, per_second=self.per_second, burst=self.burst, cost=self.cost, size=self.size)


@dataclass(init=False, repr=False)
class ConcurrentMap(_Shown, Hop[A, B]):
    """Call an async function with several items at a time: `hops.concurrent_map` as a stage.

    The options are those of `concurrent_map`.
    """

    function: Callable[[Any], Awaitable[Any]]
    concurrency: int = 8
    ordered: bool = True
    of: Of | None = None
    on_error: OnError = "raise"
    attempts: int = 3
    wait: Callable[[int], float] = backoff
    ahead: int = 64

    # If the function takes a class of events, the other events stay in the stream; otherwise it is called with all items.
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
