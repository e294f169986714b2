"""Law 3: any exit from `async with` closes the source before control returns, and no resources are left."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk

pytestmark = pytest.mark.usefixtures("nothing_left")


@dataclass
class Same(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        yield item


@dataclass
class AsyncSame(sk.AsyncStage[int, int]):
    async def feed(self, item: int) -> Iterable[int]:
        await anyio.lowlevel.checkpoint()
        return [item]


class Numbers(sk.Source[int]):
    """Return 1, 2, 3 in one burst, then wait forever or end. `close` takes some time."""

    def __init__(self, *, endless: bool = False) -> None:
        self.bursts: list[list[int]] = [[1, 2, 3]]
        self.endless = endless
        self.is_open = False
        self.closed = anyio.Event()

    async def open(self) -> None:
        self.is_open = True

    async def read(self) -> Sequence[int]:
        await anyio.lowlevel.checkpoint()
        if self.endless and not self.bursts:
            await anyio.sleep_forever()
        return self.bursts.pop() if self.bursts else ()

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.is_open = False
        self.closed.set()


class Mistake(Exception):
    """An exception of the consumer."""


PIPELINES = [Same() | Same(), Same() | AsyncSame() | Same(), AsyncSame()]
every_pipeline = pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
Any_ = sk.Stage[int, int] | sk.AsyncStage[int, int]


@every_pipeline
@pytest.mark.anyio
async def test_the_end_closes_the_source_before_control_returns(pipeline: Any_) -> None:
    source = Numbers()
    tasks = anyio.get_running_tasks()

    async with source | pipeline as stream:
        items = [item async for item in stream]
        assert not source.is_open

    assert items == [1, 2, 3]
    assert anyio.get_running_tasks() == tasks


@every_pipeline
@pytest.mark.anyio
async def test_break_closes_the_source_before_control_returns(pipeline: Any_) -> None:
    source = Numbers()
    tasks = anyio.get_running_tasks()

    async with source | pipeline as stream:
        async for _ in stream:
            break
        assert source.is_open

    assert not source.is_open
    assert anyio.get_running_tasks() == tasks


@every_pipeline
@pytest.mark.anyio
async def test_an_error_of_the_consumer_closes_the_source_before_it_is_seen(pipeline: Any_) -> None:
    source = Numbers()

    async def consume() -> None:
        async with source | pipeline as stream:
            async for _ in stream:
                raise Mistake

    with pytest.raises(Mistake):
        await consume()
    assert not source.is_open


@every_pipeline
@pytest.mark.anyio
async def test_cancellation_in_the_body_closes_the_source_before_the_scope_ends(pipeline: Any_) -> None:
    source = Numbers()

    with anyio.CancelScope() as scope:
        async with source | pipeline as stream:
            async for _ in stream:
                scope.cancel()
                await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert not source.is_open


@every_pipeline
@pytest.mark.anyio
async def test_cancellation_during_a_read_closes_the_source_before_the_scope_ends(pipeline: Any_) -> None:
    source = Numbers(endless=True)
    seen: list[object] = []

    async def consume() -> None:
        with scope:
            async with source | pipeline as stream:
                async for item in stream:
                    seen.append(item)
        seen.append(f"open: {source.is_open}")

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        scope.cancel()

    assert seen == [1, 2, 3, "open: False"]


@every_pipeline
@pytest.mark.anyio
async def test_a_timeout_closes_the_source_before_it_is_raised(pipeline: Any_) -> None:
    source = Numbers(endless=True)

    async def consume() -> None:
        with anyio.fail_after(0):
            async with source | pipeline as stream:
                async for _ in stream:
                    pass

    with pytest.raises(TimeoutError):
        await consume()
    assert not source.is_open


@pytest.mark.anyio
async def test_a_source_that_fails_to_open_is_closed() -> None:
    class Unreachable(Numbers):
        async def open(self) -> None:
            await super().open()
            raise sk.errors.ConnectFailed("no")

    source = Unreachable()

    with pytest.raises(sk.errors.ConnectFailed):
        await (source | Same()).__aenter__()

    assert not source.is_open


@pytest.mark.anyio
async def test_a_source_whose_opening_is_cancelled_is_closed() -> None:
    class Slow(Numbers):
        async def open(self) -> None:
            await super().open()
            await anyio.sleep_forever()

    source = Slow()

    with anyio.move_on_after(0):
        await (source | Same()).__aenter__()

    assert not source.is_open


@pytest.mark.anyio
async def test_iterating_to_the_end_closes_the_source_without_async_with() -> None:
    source = Numbers()

    assert [item async for item in source | Same()] == [1, 2, 3]

    assert not source.is_open


@pytest.mark.anyio
async def test_leaving_while_another_task_reads_ends_that_and_closes_the_source() -> None:
    source = Numbers(endless=True)
    seen: list[object] = []

    async def consume(stream: sk.Stream[int]) -> None:
        async for item in stream:
            seen.append(item)

    async with anyio.create_task_group() as group:
        async with source | Same() as stream:
            group.start_soon(consume, stream)
            await wait_all_tasks_blocked()
        assert not source.is_open

    assert seen == [1, 2, 3, sk.StreamEnd("cancelled")]


@pytest.mark.anyio
async def test_leaving_while_another_task_reads_an_async_generator_closes_that() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            await anyio.sleep_forever()
            yield 1
        finally:
            closed.append(True)

    async def consume(stream: sk.Stream[int]) -> None:
        async for _ in stream:
            pass

    async with anyio.create_task_group() as group:
        async with numbers() | Same() as stream:
            group.start_soon(consume, stream)
            await wait_all_tasks_blocked()
        assert closed == [True]


@pytest.mark.anyio
async def test_a_stream_joined_one_stage_at_a_time_closes_its_source_too() -> None:
    source = Numbers()

    async with source | Same() | Same() | AsyncSame() as stream:
        async for _ in stream:
            break

    assert not source.is_open


# Without `async with`


async def warned_of(source: Numbers, pipeline: Any_) -> list[str]:
    """Break out of an iteration, wait until the source is closed, and return the warnings emitted meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async for _ in source | pipeline:
            break
        gc.collect()
        with anyio.fail_after(5):
            await source.closed.wait()
        gc.collect()
        await wait_all_tasks_blocked()
    return [warning.category.__name__ for warning in caught]


@every_pipeline
@pytest.mark.anyio
async def test_an_abandoned_stream_closes_its_source_and_warns_once(pipeline: Any_) -> None:
    source = Numbers()

    assert await warned_of(source, pipeline) == ["ResourceWarning"]

    assert not source.is_open


@pytest.mark.anyio
async def test_an_abandoned_stream_closes_its_async_stages() -> None:
    closed: list[str] = []

    @dataclass
    class Remote(sk.AsyncStage[int, int]):
        async def feed(self, item: int) -> Iterable[int]:
            return [item]

        async def close(self) -> None:
            await anyio.lowlevel.checkpoint()
            closed.append("stage")

    assert await warned_of(Numbers(), Remote()) == ["ResourceWarning"]
    assert closed == ["stage"]


@pytest.mark.anyio
async def test_a_stream_that_was_never_read_leaves_nothing_to_close_and_does_not_warn() -> None:
    source = Numbers()

    source | Same()
    gc.collect()

    assert not source.is_open
    assert not source.used


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_consumer_that_is_dropped_in_mid_read_is_not_said_to_have_ignored_its_end() -> None:
    # As happens when an event loop is destroyed with pending tasks.
    source = Numbers(endless=True)
    stream = source | Same()
    items = aiter(stream)
    assert [await anext(items) for _ in range(3)] == [1, 2, 3]
    reading = anext(items).__await__()
    next(reading)

    reading.close()

    assert stream.end == sk.StreamEnd("cancelled")
    with pytest.raises(sk.errors.StreamInterrupted):
        await anext(items)
    with pytest.warns(ResourceWarning, match="dropped before its end"):  # noqa: PT031 -- the dropped object is a local variable
        del stream, items, reading
        gc.collect()
    await source.closed.wait()


def test_an_event_loop_that_ends_closes_what_was_abandoned_in_it() -> None:
    source: list[Numbers] = []
    kept: list[object] = []

    async def main() -> None:
        source.append(Numbers())
        kept.append(aiter(source[0] | Same()))
        assert await anext(kept[0]) == 1  # type: ignore[call-overload]

    anyio.run(main)

    assert not source[0].is_open
    with pytest.warns(ResourceWarning, match="dropped before its end"):
        kept.clear()


@pytest.mark.anyio
async def test_a_thousand_streams_left_in_every_way_leave_no_objects() -> None:
    def streams() -> int:
        gc.collect()
        return sum(isinstance(thing, sk.Stream) for thing in gc.get_objects())

    before = streams()

    for number in range(1000):
        with anyio.CancelScope() as scope:
            async with Numbers() | Same() | AsyncSame() as stream:
                async for _ in stream:
                    if number % 3 == 0:
                        break
                    if number % 3 == 1:
                        scope.cancel()

    del stream
    assert streams() == before
