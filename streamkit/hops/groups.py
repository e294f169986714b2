"""One stream as several, by a key of its items: substreams for consumers of their own, or each through a pipeline of its own."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial, reduce
from typing import Any, Generic, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from streamkit.core.ends import less_complete
from streamkit.core.stage import Step
from streamkit.core.stream import Stream
from streamkit.errors import QueueOverflow
from streamkit.events import StreamEnd
from streamkit.hops.channel import Branch, Output, Overflow, Readable, at_least_one, pump, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@asynccontextmanager
async def group_by(
    items: Readable[T],
    key: Callable[[T], K],
    *,
    size: int = 16,
    groups: int = 64,
    overflow: Overflow = "wait",
) -> AsyncGenerator["Groups[K, T]", None]:
    """Divide a stream into substreams: `async for group in groups`, each a `Group` with the items of one `key`, in their order.

    A group comes with its first item, and ends where `items` end; a `StreamEnd` is given to every group, and an error of `items`
    is raised by each, and by `groups`, after the items before it. A `StreamEnd` has no key.

    At most `size` items of a group wait for its consumer; `overflow` decides what one that is further behind means, as in `tee`:
    with `wait` nothing more is read for any group, so consume all groups at the same time, or `aclose` those that are not
    wanted, whose further items are then discarded. More than `groups` different keys raise `QueueOverflow`.

    One task reads. Leaving the block closes `items`.
    """
    at_least_one(size=size, number_of_groups=groups)
    iterator, unclosed = reading(items), list[Exception]()
    found = Groups[K, T](key, size, groups, overflow)
    branches = cast("tuple[Branch[T]]", (found,))  # it takes items, and gives groups
    async with beside(partial(pump, iterator, branches, unclosed), unclosed=unclosed):
        yield found


class Group(Branch[T], Generic[K, T]):
    """The items of one key. Made by `group_by`."""

    def __init__(self, key: K, size: int, overflow: Overflow) -> None:
        super().__init__(size, overflow)
        self.key = key
        """The key that all items of this group have."""


class Groups(Branch[Group[K, T]], Generic[K, T]):
    """The groups, each as soon as its first item is there. Made by `group_by`."""

    def __init__(self, key: Callable[[T], K], size: int, groups: int, overflow: Overflow) -> None:
        super().__init__(groups)
        self._key = key
        self._each = (size, overflow)
        self._most = groups
        self._by_key: dict[K, Group[K, T]] = {}
        self.end: StreamEnd | None = None
        """The end of what is read, once it has come."""

    @property
    def keys(self) -> list[K]:
        """The keys so far, in the order of their first items."""
        return list(self._by_key)

    async def aclose(self) -> None:
        """Close all groups, and what they are read from; buffered items are discarded."""
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
    """Run each group through a pipeline of its own, all at the same time; what `GroupBy` does."""
    async with group_by(items, key, size=size, groups=groups) as found:
        output = Regrouped[Any](found, pipeline, size)
        async with beside(output.work):
            yield output


class Regrouped(Output[T], Generic[T]):
    """The results of all groups, as they come. Made by `GroupBy`."""

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
            self._failure = error  # the groups raise it too, each after its own items

    def last(self) -> "tuple[Any, ...]":
        # In the order of the groups, since the scheduler decides which one ends first.
        ends = [self._ends[key] for key in self._groups.keys if key in self._ends]
        end = reduce(less_complete, ends, None) if ends else self._groups.end
        return () if self._failure or end is None else (end,)

    async def _run_group(self, group: Group[Any, Any]) -> None:
        try:
            # A `None` for a key says that the item belongs to no group.
            if group.key is None:
                await self._pass(group, group.key)
                return
            async with self._pipeline.open(group) as stream:
                await self._pass(stream, group.key)
        except Exception as error:
            # An error of what is read is raised when the other groups have come to it as well.
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
