"""The kit finds the hop that breaks a law, and lets pass those that keep them all."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit import hops
from streamkit.core.stage import Hop
from streamkit.testing import HOP_LAWS, check_stage
from streamkit.testing import running as checks

EVENTS: list[sk.Event] = [
    sk.TextDelta("one tw"),
    sk.TextDelta("o "),
    sk.TextDelta("other", 1),
    sk.Usage(1, 2, 3),
    sk.TextDelta("three"),
    sk.Finish("stop"),
    sk.StreamEnd("completed", saw_done=True),
]


async def shout(delta: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(delta.text.upper(), delta.index)


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * number


async def unchanged(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in items:
        yield item


def choice(event: object) -> int | None:
    return getattr(event, "index", None)


def by_choice(items: list[Any]) -> object:
    return [[item for item in items if choice(item) == index] for index in (0, 1, None)]


# A hop as a third party would write one, and what can be wrong with it


Pump = Callable[[AsyncIterator[Any], Any], Any]


async def put_all(items: AsyncIterator[Any], put: Any) -> None:
    async for item in items:
        await put(item)


class Queue(AsyncIterator[Any]):
    """Items of a pump, which stores its failure."""

    def __init__(self, items: AsyncIterable[Any], pump: Pump, size: float) -> None:
        self._items, self._pump = aiter(items), pump
        self._put, self._received = anyio.create_memory_object_stream[Any](size)
        self.failure: Exception | None = None

    async def work(self) -> None:
        async with self._put:
            try:
                await self._pump(self._items, self._put.send)
            except Exception as error:
                self.failure = error

    async def __anext__(self) -> Any:
        try:
            return await self._received.receive()
        except anyio.EndOfStream:
            if self.failure:
                raise self.failure from None
            raise StopAsyncIteration from None

    def close(self) -> None:
        self._received.close()


@asynccontextmanager
async def running(queue: Queue) -> AsyncGenerator[AsyncIterable[Any], None]:
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(queue.work)
        try:
            yield queue
        except Exception as error:
            failure = error  # a task group would wrap it
        finally:
            group.cancel_scope.cancel()
            queue.close()
    if failure:
        raise failure


def pumped(items: AsyncIterable[Any], pump: Pump, size: float = 4) -> Any:
    return running(Queue(items, pump, size))


@dataclass
class Good(Hop[Any, Any]):
    def join(self, items: AsyncIterable[Any]) -> Any:
        return pumped(items, put_all)


@dataclass
class LeaksATask(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        @asynccontextmanager
        async def context() -> AsyncGenerator[AsyncIterable[Any], None]:
            left.append(asyncio.create_task(asyncio.sleep(3600)))
            async with pumped(items, put_all) as queue:
                yield queue

        return context()


left: list[Any] = []


@dataclass
class LosesItems(Good):
    """It drops the items that wait when the source fails."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        class Lossy(Queue):
            async def __anext__(self) -> Any:
                if self.failure:
                    raise self.failure
                return await super().__anext__()

        return running(Lossy(items, put_all, 64))


@dataclass
class SwallowsCancellation(Good):
    """Its task does not end when the block is left."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            try:
                await put_all(items, put)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep_forever()

        return pumped(items, pump)


@dataclass
class EndsWhenCancelled(Good):
    """To its consumer a cancellation is the end."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        class Ending(Queue):
            async def __anext__(self) -> Any:
                try:
                    return await super().__anext__()
                except anyio.get_cancelled_exc_class():
                    raise StopAsyncIteration from None

        return running(Ending(items, put_all, 4))


@dataclass
class Unbounded(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        return pumped(items, put_all, float("inf"))


@dataclass
class Reverses(Good):
    """It gives pairs the wrong way round."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            held: list[Any] = []
            async for item in items:
                held.insert(0, item)
                if len(held) == 2 or isinstance(item, sk.StreamEnd):
                    for each in sorted(held, key=lambda item: isinstance(item, sk.StreamEnd)):
                        await put(each)
                    held = []

        return pumped(items, pump)


@dataclass
class AsTheyAreReady(Good):
    """It calls a function for each item, some of which take longer."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        async def late(item: Any, put: Any) -> None:
            for _ in range(30 if item == sk.TextDelta("one tw") else 0):
                await anyio.lowlevel.checkpoint()
            await put(type(item)(item.text, item.index) if isinstance(item, sk.TextDelta) else item)

        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            end: list[Any] = []
            async with anyio.create_task_group() as group:
                async for item in items:
                    if isinstance(item, sk.StreamEnd):
                        end.append(item)
                    else:
                        group.start_soon(late, item, put)
            for item in end:
                await put(item)

        return pumped(items, pump, 1)


@dataclass
class LosesTheEnd(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            async for item in items:
                if not isinstance(item, sk.StreamEnd):
                    await put(item)

        return pumped(items, pump)


@dataclass
class WrapsErrors(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            try:
                await put_all(items, put)
            except Exception as error:
                raise RuntimeError("reading failed") from error

        return pumped(items, pump)


@dataclass
class SwallowsErrors(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            try:
                await put_all(items, put)
            except Exception:
                await put(sk.StreamEnd("completed"))

        return pumped(items, pump)


@dataclass
class GroupsErrors(Good):
    """The usual slip: a task group that the failure of a task passes through."""

    def join(self, items: AsyncIterable[Any]) -> Any:
        @asynccontextmanager
        async def context() -> AsyncGenerator[AsyncIterable[Any], None]:
            send, receive = anyio.create_memory_object_stream[Any](4)

            async def work() -> None:
                await put_all(aiter(items), send.send)
                send.close()

            async with send, receive, anyio.create_task_group() as group:
                group.start_soon(work)
                yield receive
                group.cancel_scope.cancel()

        return context()


@dataclass
class SharesState(Good):
    """Its counter is one for all runs."""

    seen: dict[str, int] = field(default_factory=dict[str, int])

    def fresh(self) -> "SharesState":
        return self

    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            async for item in items:
                self.seen["items"] = self.seen.get("items", 0) + 1
                if self.seen["items"] == 1 or not isinstance(item, sk.Usage):
                    await put(item)

        self.seen.setdefault("runs", 0)
        self.seen["runs"] += 1
        return pumped(items, pump if self.seen["runs"] % 2 else put_all)


@dataclass
class Hangs(Good):
    def join(self, items: AsyncIterable[Any]) -> Any:
        async def pump(items: AsyncIterator[Any], put: Any) -> None:
            await put_all(items, put)
            await anyio.sleep_forever()

        return pumped(items, pump)


@pytest.mark.parametrize(
    ("candidate", "items", "skip"),
    [
        (Good(), EVENTS, ()),
        (Good(), [1, 2, 3], ()),
        (hops.Prefetch(), EVENTS, ()),
        (hops.Prefetch(64), [b"ab", b"c"], ()),
        (hops.RateLimit(1e9), EVENTS, ()),
        (hops.FromGenerator(unchanged), EVENTS, ()),
        (hops.ConcurrentMap(shout), EVENTS, ()),
        (hops.ConcurrentMap(double, 2), [1, 2, 3, 4, 5], ()),
        (hops.ConcurrentMap(shout, ordered=False, on_error="skip"), EVENTS, ("order",)),
        (hops.Latest(shout), EVENTS, ("order", "unknown_events", "source_failure")),
        (sk.Accumulate() | hops.Prefetch(3) | sk.Emit(), EVENTS, ("unknown_events", "end")),
    ],
    ids=repr,
)
def test_a_good_hop_keeps_all_the_laws(candidate: Any, items: list[Any], skip: Iterable[str]) -> None:
    check_stage(candidate, items, skip=tuple(skip), ahead=100)


def test_what_must_be_the_same_for_groups_can_be_said() -> None:
    check_stage(hops.GroupBy(choice, hops.Prefetch()), EVENTS, read=by_choice, ahead=100)


@pytest.mark.parametrize(
    ("candidate", "law", "message"),
    [
        (LeaksATask(), "end", "1 tasks were left behind"),
        (LosesTheEnd(), "end", "expected one StreamEnd"),
        (Unbounded(), "bounds", "expected at most 100"),
        (LosesItems(), "source_failure", "came while the source waited, but not before its error"),
        (WrapsErrors(), "source_failure", "expected the source's own error, found RuntimeError"),
        (GroupsErrors(), "source_failure", "raised ExceptionGroup"),
        (SwallowsErrors(), "source_failure", "expected the source's own error, found None"),
        (EndsWhenCancelled(), "cancellation", "expected StreamEnd('cancelled') last"),
        (Reverses(), "order", "order: of what passes unchanged, it gives"),
        (AsTheyAreReady(), "order", "gives"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Hop) else "",
)
def test_a_hop_that_breaks_a_law_is_found(candidate: Hop[Any, Any], law: str, message: str) -> None:
    others = [name for name in HOP_LAWS if name != law]

    with pytest.raises(AssertionError) as caught:
        check_stage(candidate, EVENTS, skip=others, ahead=100)

    assert str(caught.value).startswith(law.replace("_", " "))
    assert message in str(caught.value)
    with pytest.raises(AssertionError):
        check_stage(candidate, EVENTS, ahead=100)


def test_a_hop_whose_runs_share_state_is_found() -> None:
    with pytest.raises(AssertionError, match="a second run"):
        check_stage(SharesState(), EVENTS, skip=[name for name in HOP_LAWS if name != "fresh_state"])


@pytest.mark.parametrize(("candidate", "law"), [(Hangs(), "end"), (SwallowsCancellation(), "early_exit")])
def test_a_hop_that_never_ends_fails_its_test(
    candidate: Hop[Any, Any], law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "HANGS", 0.3)

    with pytest.raises(AssertionError, match=r"has not ended after 0\.3 s"):
        check_stage(candidate, EVENTS, skip=[name for name in HOP_LAWS if name != law])


def test_a_law_of_stages_is_none_of_hops() -> None:
    with pytest.raises(sk.PipelineError, match=r"skip: expected names of end, bounds, .*; found checkpoints"):
        check_stage(Good(), EVENTS, skip={"checkpoints"})
