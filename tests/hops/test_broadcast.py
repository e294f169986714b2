"""One stream for many consumers: slow ones, late ones, and ones that leave."""

from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk
from streamkit.hops import Branch, broadcast, from_generator, tee

pytestmark = pytest.mark.anyio


async def numbers(count: int, gate: anyio.Event | None = None) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number
    if gate:
        await gate.wait()
        yield count


async def rest(branch: Branch[int]) -> list[int]:
    return [item async for item in branch]


@pytest.mark.parametrize(
    ("overflow", "found", "dropped"),
    [("drop_oldest", [7, 8, 9], 7), ("drop_newest", [0, 1, 2], 7), ("wait", list(range(10)), 0)],
)
async def test_who_is_too_far_behind_loses_what_was_agreed(overflow: str, found: list[int], dropped: int) -> None:
    async with tee(numbers(10), 1, size=3, overflow=overflow) as (branch,):  # type: ignore[arg-type]
        await wait_all_tasks_blocked()
        assert await rest(branch) == found
        assert branch.dropped == dropped


async def test_who_asked_for_an_error_gets_it_after_what_there_was() -> None:
    async with tee(numbers(10), 2, size=3, overflow="error") as (slow, other):
        await wait_all_tasks_blocked()
        seen: list[int] = []
        with pytest.raises(sk.errors.QueueOverflow, match="fell behind by more than the 3 items allowed"):
            async for item in slow:
                seen.append(item)
        assert seen == [0, 1, 2]
        await other.aclose()


async def test_the_end_of_an_answer_is_never_dropped() -> None:
    async def answer() -> AsyncIterator[sk.Event]:
        for text in "abcdef":
            yield sk.TextDelta(text)
        yield sk.StreamEnd("completed")

    async with tee(answer(), 1, size=2, overflow="drop_newest") as (branch,):
        await wait_all_tasks_blocked()
        assert [event async for event in branch] == [sk.TextDelta("a"), sk.TextDelta("b"), sk.StreamEnd("completed")]


async def test_who_comes_late_gets_what_was_before_and_who_comes_after_the_end_gets_all() -> None:
    gate = anyio.Event()
    async with broadcast(numbers(3, gate)) as hub:
        early = hub.subscribe()
        await wait_all_tasks_blocked()
        late = hub.subscribe()
        assert [await anext(late) for _ in range(3)] == [0, 1, 2]
        gate.set()
        assert await rest(early) == [0, 1, 2, 3]
        assert await rest(late) == [3]
        assert await rest(hub.subscribe()) == [0, 1, 2, 3]
        assert hub.consumers == 0


async def test_what_is_no_longer_kept_is_counted_as_missed() -> None:
    async with broadcast(numbers(10), history=4) as hub:
        await wait_all_tasks_blocked()
        late = hub.subscribe()
        assert await rest(late) == [6, 7, 8, 9]
        assert late.dropped == 6


async def test_who_leaves_is_forgotten_and_the_reading_goes_on() -> None:
    gate = anyio.Event()
    async with broadcast(numbers(3, gate)) as hub:
        leaver, stayer = hub.subscribe(), hub.subscribe()
        await leaver.aclose()
        gate.set()
        assert await rest(stayer) == [0, 1, 2, 3]
        assert await rest(leaver) == []


async def test_an_error_comes_to_everybody_also_to_who_comes_later() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise LookupError("gone")

    async with broadcast(failing()) as hub:
        await wait_all_tasks_blocked()
        for branch in (hub.subscribe(), hub.subscribe()):
            assert await anext(branch) == 1
            with pytest.raises(LookupError, match="gone"):
                await anext(branch)


async def test_leaving_the_block_closes_the_source() -> None:
    closed: list[bool] = []

    async def endless() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async with broadcast(endless()) as hub:
        assert await anext(hub.subscribe()) == 1
    assert closed == [True]


async def test_an_async_generator_function_is_a_step() -> None:
    closed: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append("source")

    async def squares(items: AsyncIterator[int]) -> AsyncIterator[int]:
        try:
            async for item in items:
                yield item * item
        finally:
            closed.append("generator")

    async with from_generator(squares, source()) as items:
        assert [await anext(items) for _ in range(4)] == [0, 1, 4, 9]
        assert closed == []
    assert closed == ["generator", "source"]


async def test_a_timeout_of_the_consumers_does_not_reach_into_the_generator() -> None:
    gate = anyio.Event()

    async def patient(items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            await gate.wait()
            yield item

    async with from_generator(patient, numbers(2)) as items:
        with anyio.move_on_after(0.001) as waited:
            await anext(items)
        assert waited.cancelled_caught
        gate.set()
        assert [item async for item in items] == [0, 1]
