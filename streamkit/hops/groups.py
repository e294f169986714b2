"""Split a stream into substreams by a key of its items, each with its own consumer or its own pipeline."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Hashable
from functools import partial, reduce
from typing import Any, Generic, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from streamkit.core.ends import less_complete
from streamkit.core.stage import Step
from streamkit.core.stream import Stream
from streamkit.errors import QueueOverflow
from streamkit.events import StreamEnd
from streamkit.hops.channel import Branch, Output, Overflow, Readable, at_least_one, check_overflow, pump, reading
from streamkit.hops.context import block, hop
from streamkit.hops.keys import check_functions
from streamkit.hops.tasks import beside

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@block
async def group_by(
    items: Readable[T],
    key: Callable[[T], K],
    *,
    size: int = 16,
    groups: int = 64,
    overflow: Overflow = "wait",
) -> AsyncGenerator["Groups[K, T]", None]:
    """Split a stream into substreams: `async for group in groups`, each a `Group` with the items of one `key`, in order.

    A group is emitted with its first item, and ends when `items` end. A `StreamEnd` has no key and is passed to every group. An
    error of `items` is raised by each group, and by `groups`, after the items before it.

    At most `size` items of a group are buffered for its consumer; `overflow` decides what happens when a consumer is further
    behind, as in `tee`. With `wait`, reading then stops for all groups, so consume all groups concurrently, or call `aclose` on
    unwanted ones, whose further items are discarded. More than `groups` different keys raise `QueueOverflow`.

    One task reads. Leaving the block closes `items`.
    """
    at_least_one(size=size, number_of_groups=groups)
    check_functions(key=key)
    check_overflow(overflow)
    iterator, unclosed = reading(items), list[Exception]()
    found = Groups[K, T](key, size, groups, overflow)
    branches = cast("tuple[Branch[T]]", (found,))  # it receives items and emits groups
    async with beside(partial(pump, iterator, branches, unclosed), unclosed=unclosed, left=[found.leave]):
        yield found


class Group(Branch[T], Generic[K, T]):
    """The items of one key. Created by `group_by`."""

    def __init__(self, key: K, size: int, overflow: Overflow) -> None:
        super().__init__(size, overflow)
        self.key = key
        """The key of all items of this group."""


class Groups(Branch[Group[K, T]], Generic[K, T]):
    """The groups, each emitted with its first item. Created by `group_by`."""

    def __init__(self, key: Callable[[T], K], size: int, groups: int, overflow: Overflow) -> None:
        super().__init__(groups)
        self._key = key
        self._each = (size, overflow)
        self._most = groups
        self._by_key: dict[K, Group[K, T]] = {}
        self.end: StreamEnd | None = None
        """The end of the input, once it has arrived."""

    @property
    def keys(self) -> list[K]:
        """The keys so far, in order of their first items."""
        return list(self._by_key)

    async def aclose(self) -> None:
        """Close all groups and their input; buffered items are discarded."""
        for group in self._by_key.values():
            await group.aclose()
        await super().aclose()

    def give(self, item: Any) -> None:
        if isinstance(item, StreamEnd):
            self.end = item
            for group in self._by_key.values():
                group.give(item)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # streams end with one
            return
        key = self._key(item)
        if key not in self._by_key:
            if len(self._by_key) >= self._most:
                raise QueueOverflow(f"expected at most {self._most} groups, found another key")
            self._by_key[key] = Group[K, T](key, *self._each)
            super().give(self._by_key[key])
        self._by_key[key].give(item)

    @property
    def full(self) -> bool:
        return any(group.full for group in self._by_key.values())

    async def room(self) -> None:
        for group in self._by_key.values():
            await group.room()

    def finish(self, error: Exception | None = None) -> None:
        super().finish(error)
        for group in self._by_key.values():
            group.finish(error)


@hop
async def through_groups(
    items: AsyncIterable[T], key: Callable[[T], Hashable], pipeline: Step[Any, Any], *, size: int, groups: int
) -> AsyncGenerator["Regrouped[Any]", None]:
    """Run each group through its own copy of the pipeline, concurrently. The implementation of `GroupBy`."""
    async with group_by(items, key, size=size, groups=groups) as found:
        output = Regrouped[Any](found, pipeline, size)
        async with beside(output.work):
            yield output


class Regrouped(Output[T], Generic[T]):
    """The results of all groups, in order of arrival. Created by `GroupBy`."""

    def __init__(self, groups: Groups[Any, Any], pipeline: Step[Any, Any], size: int) -> None:
        super().__init__()
        self._groups = groups
        self._pipeline = pipeline
        self._size = size
        self._ends: dict[Hashable, StreamEnd] = {}

    async def aclose(self) -> None:
        await self._groups.aclose()
        await super().aclose()

    async def run(self, group: TaskGroup) -> None:
        try:
            async for each in self._groups:
                group.start_soon(self._run_group, each)
        except Exception as error:
            self._failure = error  # each group raises it too, after its own items

    def last(self) -> "tuple[Any, ...]":
        # In the order of the groups, because the order in which they end depends on the scheduler.
        ends = [self._ends[key] for key in self._groups.keys if key in self._ends]
        end = reduce(less_complete, ends, None) if ends else self._groups.end
        return () if self._failure or end is None else (end,)

    async def _run_group(self, group: Group[Any, Any]) -> None:
        try:
            # Items with the key `None` bypass the pipeline.
            if group.key is None:
                await self._pass(group, group.key)
                return
            async with self._pipeline.open(group) as stream:
                await self._pass(stream, group.key)
        except Exception as error:
            # An error of the input is raised once all groups have reached it.
            if error is not self._groups.failure:
                self.fail(error)
        finally:
            with anyio.CancelScope(shield=True):
                await group.aclose()

    async def _pass(self, items: "Stream[Any] | Group[Any, Any]", key: Hashable) -> None:
        async for item in items:
            if isinstance(item, StreamEnd):
                self._ends[key] = item
            else:
                await self.room(self._size)
                self.put(item)
