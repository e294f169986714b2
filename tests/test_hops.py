"""The hops: what runs in a task of its own ends with the block, and loses nothing on its way."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.hops import prefetch, until

pytestmark = pytest.mark.anyio


@dataclass
class Numbers:
    """An async generator that tells how far it is; `gate` lets it go on."""

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
    numbers = Numbers(3, sk.ProtocolError("line 9"))
    seen: list[int] = []
    async with prefetch(numbers(), size=10) as items:
        await wait_all_tasks_blocked()
        with pytest.raises(sk.ProtocolError, match="line 9"):
            async for item in items:
                seen.append(item)
        with pytest.raises(sk.ProtocolError, match="line 9"):
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
