"""Prefetch and tee: their task ends with the block, and no item is lost."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.hops import broadcast, group_by, merge, prefetch, tee, until
from tests.kit import settled

pytestmark = pytest.mark.anyio


@dataclass
class Numbers:
    """An async generator that records its progress; `gate` lets it continue."""

    count: int = 3
    error: Exception | None = None
    given: list[int] = field(default_factory=list)
    closed: bool = False
    gate: anyio.Event | None = None

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                self.given.append(number)
                yield number
            if self.gate:
                await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            await checkpoint()  # closing may wait
            self.closed = True


HOPS: dict[str, Callable[[AsyncIterator[int]], Any]] = {
    "prefetch": lambda items: prefetch(items, size=2),
    "tee": lambda items: tee(items, 1, size=2),
    "broadcast": lambda items: broadcast(items),
    "merge": lambda items: merge(items, size=2),
    "group_by": lambda items: group_by(items, lambda number: number),
}


@pytest.mark.parametrize("name", HOPS)
async def test_a_read_after_the_block_was_left_neither_waits_nor_ends_as_if_complete(name: str) -> None:
    numbers, found = Numbers(2, gate=anyio.Event()), list[Any]()
    async with HOPS[name](numbers()) as given:
        await settled()
    ahead = {"tee": lambda: given[0], "broadcast": lambda: given.subscribe()}.get(name, lambda: given)()
    with pytest.raises(sk.errors.StreamInterrupted, match="left before its input had ended"):
        while True:
            found.append(await anext(ahead))
    assert len(found) == 2


async def test_every_item_comes_in_order_and_then_the_end() -> None:
    async with prefetch(Numbers(100)()) as items:
        assert [item async for item in items] == list(range(100))
        with pytest.raises(StopAsyncIteration):
            await anext(items)


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_no_more_than_size_items_are_read_ahead(size: int) -> None:
    numbers = Numbers(100)
    async with prefetch(numbers(), size=size) as items:
        await wait_all_tasks_blocked()
        assert len(numbers.given) == size
        await anext(items)
        await wait_all_tasks_blocked()
        assert len(numbers.given) == 1 + size


async def test_an_error_comes_after_the_items_before_it_and_again_when_asked_again() -> None:
    numbers = Numbers(3, sk.errors.ProtocolError("line 9"))
    seen: list[int] = []
    async with prefetch(numbers(), size=10) as items:
        await wait_all_tasks_blocked()
        with pytest.raises(sk.errors.ProtocolError, match="line 9"):
            async for item in items:
                seen.append(item)
        with pytest.raises(sk.errors.ProtocolError, match="line 9"):
            await anext(items)
    assert seen == [0, 1, 2]
    assert numbers.closed


async def test_a_read_that_was_cancelled_can_be_asked_again_and_no_item_is_lost() -> None:
    numbers = Numbers(3, gate=anyio.Event())
    async with prefetch(numbers()) as items:
        assert [await anext(items) for _ in range(3)] == [0, 1, 2]
        with anyio.move_on_after(0.001) as waited:
            await anext(items)
        assert waited.cancelled_caught
        assert numbers.gate
        numbers.gate.set()
        assert [item async for item in items] == []


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("first", ["item", "cancellation"])
async def test_an_item_that_comes_with_the_cancellation_is_not_lost(first: str, steps: int) -> None:
    gate, scope, seen = anyio.Event(), anyio.CancelScope(), list[int]()

    async def late() -> AsyncIterator[int]:
        await gate.wait()
        yield 7

    async def consume(items: AsyncIterator[int]) -> None:
        with scope:
            seen.append(await anext(items))
        seen.extend([item async for item in items])

    async with prefetch(late()) as items, anyio.create_task_group() as group:
        group.start_soon(consume, items)
        await wait_all_tasks_blocked()
        doing = [gate.set, scope.cancel]
        doing.pop(0 if first == "item" else 1)()
        for _ in range(steps):
            await checkpoint()
        doing.pop()()
    assert seen == [7]


@pytest.mark.parametrize("ending", ["the end", "break", "error", "cancellation"])
async def test_leaving_the_block_closes_what_was_read_before_control_returns(ending: str) -> None:
    numbers = Numbers(3, gate=None if ending == "the end" else anyio.Event())
    with anyio.CancelScope() as scope:
        try:
            async with prefetch(numbers()) as items:
                async for _ in items:
                    match ending:
                        case "break":
                            break
                        case "error":
                            raise LookupError("mine")
                        case "cancellation":
                            scope.cancel()
                            await checkpoint()
        except LookupError as error:
            assert error.args == ("mine",)  # noqa: PT017 # as it was raised, and in no group
        finally:
            assert numbers.closed


async def test_a_stream_is_closed_too_and_in_a_cancelled_block_nothing_is_opened() -> None:
    class Endless(sk.Source[str]):
        closed = False

        async def read(self) -> list[str]:
            await anyio.sleep_forever()
            return []

        async def close(self) -> None:
            await checkpoint()
            self.closed = True

    source = Endless()
    stream = source | sk.Parse()
    async with prefetch(stream):
        await wait_all_tasks_blocked()
    assert source.closed
    assert stream.end == sk.StreamEnd("cancelled")

    numbers = Numbers()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with prefetch(numbers()) as items:
            await anext(items)
    assert numbers.given == []


async def test_an_error_while_closing_is_raised_if_nothing_else_is() -> None:
    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise LookupError("stuck")

    with pytest.raises(LookupError, match="stuck"):
        async with prefetch(stubborn()) as items:
            await anext(items)
    with pytest.raises(ValueError, match="mine"):
        async with prefetch(stubborn()) as items:
            await anext(items)
            raise ValueError("mine")


async def test_what_can_not_be_iterated_and_a_size_of_none_are_refused_at_once() -> None:
    with pytest.raises(sk.PipelineError, match="expected a size of 1 or more, found 0"):
        async with prefetch(Numbers()(), size=0):
            pass
    wrong: Any = "drop"
    for hop in (tee, broadcast):
        with pytest.raises(sk.PipelineError, match=r"overflow: expected one of wait, .*, error, found 'drop'"):
            async with hop(Numbers()(), overflow=wrong):
                pass
    with pytest.raises(sk.PipelineError, match="history: expected a whole number of 0 or more, found -1"):
        async with broadcast(Numbers()(), history=-1):
            pass
    stream = sk.Parse().open([])
    async with stream:
        aiter(stream)
        with pytest.raises(sk.PipelineError, match="already has a consumer"):
            async with prefetch(stream):
                pass


async def test_until_cancels_the_block_when_it_is_done() -> None:
    gone = anyio.Event()
    async with until(gone.wait):
        gone.set()
        await anyio.sleep_forever()


async def test_until_is_cancelled_when_the_block_is_left() -> None:
    left = False

    async def watch() -> None:
        nonlocal left
        try:
            await anyio.sleep_forever()
        finally:
            left = True

    with pytest.raises(LookupError):
        async with until(watch):
            await wait_all_tasks_blocked()
            raise LookupError
    assert left


async def test_an_error_of_what_until_waits_for_is_raised_as_it_is() -> None:
    async def broken() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        async with until(broken):
            await anyio.sleep_forever()


async def test_every_branch_of_a_tee_has_all_the_items() -> None:
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    found: dict[int, list[str]] = {0: [], 1: [], 2: []}

    async def read(number: int, branch: AsyncIterator[str]) -> None:
        async for letter in branch:
            found[number].append(letter)

    async with tee(letters(), 3, size=1) as branches, anyio.create_task_group() as tasks:
        for number, branch in enumerate(branches):
            tasks.start_soon(read, number, branch)
    assert found == {0: ["a", "b", "c"], 1: ["a", "b", "c"], 2: ["a", "b", "c"]}


async def test_a_tee_waits_for_its_slowest_branch_and_tells_how_far_each_is_behind() -> None:
    read: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    async with tee(numbers(), size=4) as (fast, slow):
        for expected in range(3):
            assert await anext(fast) == expected
        await wait_all_tasks_blocked()
        assert (fast.waiting, slow.waiting) == (1, 4)
        assert read == [0, 1, 2, 3]


async def test_a_branch_that_is_closed_holds_nobody_up_and_without_any_the_reading_stops() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    async with tee(numbers(), size=1) as (one, other):
        await other.aclose()
        assert [await anext(one) for _ in range(20)] == list(range(20))
        assert closed == []
        await one.aclose()
        await wait_all_tasks_blocked()
        assert closed == [True]


async def test_an_error_comes_to_every_branch_after_the_items_before_it() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    async with tee(failing()) as branches:
        for branch in branches:
            assert await anext(branch) == 1
            for _ in range(2):
                with pytest.raises(ValueError, match=r"^no more$"):
                    await anext(branch)


async def test_a_stream_that_has_a_consumer_can_be_read_by_two_through_a_tee() -> None:
    pieces = [b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n', b"data: [DONE]\n\n"]
    stream = sk.Parse().open(pieces) | sk.Extract()
    async with tee(stream) as (one, other):
        first, second = [event async for event in one], [event async for event in other]
    assert first == second == [sk.TextDelta("Hi"), sk.StreamEnd("completed", True, (0,))]
    assert stream.end == first[-1]
