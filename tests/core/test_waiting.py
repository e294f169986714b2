"""Ending a wait: `stream.cancel()` together with other cancellations of the same task, in the same iteration of the loop."""

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.core.waiting import FutureWaker
from tests.kit import Same

CANCELLED = sk.StreamEnd("cancelled")


class Silent(sk.Source[int]):
    """A source that waits forever and opens its own cancel scope in each read, as sources with timeouts do."""

    def __init__(self, *, scoped: bool = False) -> None:
        self.closed = False
        self.reading = anyio.Event()
        self._scoped = scoped

    async def read(self) -> Sequence[int]:
        self.reading.set()
        if self._scoped:
            with anyio.move_on_after(60):
                await anyio.sleep_forever()
        await anyio.sleep_forever()
        return [1]

    async def close(self) -> None:
        await checkpoint()
        self.closed = True


scoped = pytest.mark.parametrize("own_scope", [False, True], ids=["plain", "with a scope of its own"])


async def consume(stream: sk.Stream[Any], seen: list[Any]) -> None:
    async with stream:
        async for item in stream:
            seen.append(item)


@scoped
@pytest.mark.asyncio
@pytest.mark.parametrize("stream_first", [True, False])
async def test_a_cancelled_task_is_cancelled_though_its_stream_was_too(stream_first: bool, own_scope: bool) -> None:
    source, seen = Silent(scoped=own_scope), list[Any]()
    stream = source | Same()
    task = asyncio.create_task(consume(stream, seen))
    await source.reading.wait()

    for cancel in (stream.cancel, task.cancel) if stream_first else (task.cancel, stream.cancel):
        cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert source.closed


@scoped
@pytest.mark.asyncio
async def test_a_timeout_around_the_consumer_passes_though_its_stream_is_cancelled_in_the_same_turn(
    own_scope: bool,
) -> None:
    source, seen = Silent(scoped=own_scope), list[Any]()
    stream = source | Same()
    timeout = asyncio.timeout(None)

    async def main() -> str:
        try:
            async with timeout:
                await consume(stream, seen)
        except TimeoutError:
            return "timed out"
        return "went on"

    task = asyncio.create_task(main())
    await source.reading.wait()
    timeout.reschedule(0)  # in the next iteration of the loop
    asyncio.get_running_loop().call_soon(stream.cancel)

    assert await task == "timed out"
    assert task.cancelling() == 0
    assert source.closed


@scoped
@pytest.mark.anyio
@pytest.mark.parametrize("stream_first", [True, False])
async def test_a_cancelled_scope_around_the_consumer_is_cancelled_though_its_stream_was_too(
    stream_first: bool, own_scope: bool
) -> None:
    source, seen, after = Silent(scoped=own_scope), list[Any](), list[str]()
    stream = source | Same()
    scope = anyio.CancelScope()

    async def main() -> None:
        with scope:
            await consume(stream, seen)
            after.append("went on in the scope")
        await checkpoint()
        after.append("after it")

    async with anyio.create_task_group() as group:
        group.start_soon(main)
        await source.reading.wait()
        for cancel in (stream.cancel, scope.cancel) if stream_first else (scope.cancel, stream.cancel):
            cancel()

    assert scope.cancelled_caught
    assert after == ["after it"]
    assert source.closed


@scoped
@pytest.mark.anyio
async def test_cancel_alone_ends_the_stream_and_nothing_else(own_scope: bool) -> None:
    source, seen = Silent(scoped=own_scope), list[Any]()
    stream = source | Same()

    async with anyio.create_task_group() as group:
        group.start_soon(consume, stream, seen)
        await source.reading.wait()
        stream.cancel()
        stream.cancel()

    assert seen == [CANCELLED]
    assert source.closed


@pytest.mark.asyncio
async def test_a_task_that_was_woken_in_the_same_turn_keeps_no_cancellation() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()

    class Queued(sk.Source[int]):
        async def read(self) -> Sequence[int]:
            return [await queue.get()]

    stream, seen = Queued() | Same(), list[Any]()

    async def main() -> int:
        await consume(stream, seen)
        for _ in range(3):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.create_task(main())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    queue.put_nowait(1)  # wakes the task …
    stream.cancel()  # … which has not run yet

    assert await task == 0
    assert seen[-1] == CANCELLED


@pytest.mark.anyio
async def test_a_source_that_cancels_its_stream_while_it_is_read_is_ended_at_its_wait_and_closed() -> None:
    log: list[str] = []

    async def items() -> Any:
        try:
            yield 1
            stream.cancel()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            log.append("closed")

    stream = items() | Same()
    assert [item async for item in stream] == [1, CANCELLED]
    assert log == ["closed"]


@pytest.mark.asyncio
async def test_work_that_refuses_to_end_is_waited_for_and_leaves_no_request_behind() -> None:
    class Stubborn(sk.Source[int]):
        async def read(self) -> Sequence[int]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return [7]
            return []

    stream, seen = Stubborn() | Same(), list[Any]()
    task = asyncio.create_task(consume(stream, seen))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stream.cancel()
    await task

    assert seen == [7, CANCELLED] or seen == [CANCELLED]
    assert task.cancelling() == 0


@pytest.mark.asyncio
async def test_many_tasks_are_woken_in_their_order_some_in_each_turn_of_the_loop() -> None:
    waker, woken = FutureWaker(), list[int]()

    async def wait(number: int) -> None:
        await waker.wait()
        woken.append(number)
        if number == 0:
            await waker.wait()  # for the next one
            woken.append(-1)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(number)) for number in range(250)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        waker.set()
        turns = list[int]()
        while len(woken) < 249:
            await asyncio.sleep(0)
            turns.append(len(woken))
        assert woken == [0, *range(2, 250)]
        assert turns == [99, 199, 249]
        waker.set()
    assert woken[-1] == -1


@pytest.mark.asyncio
async def test_a_second_wake_while_tasks_are_still_being_woken_loses_none() -> None:
    waker, woken = FutureWaker(), 0

    async def wait() -> None:
        nonlocal woken
        for _ in range(2):
            await waker.wait()
            woken += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(250):
            group.create_task(wait())
        await asyncio.sleep(0)
        waker.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waker.set()  # the first hundred wait again; the others have not been woken yet
        while woken < 350:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
        assert woken == 350
        waker.set()
    assert woken == 500
