"""A running pipeline: one consumer, `cancel`, the order of closing, and end reasons."""

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk
from streamkit.core import reading
from streamkit.core.stage import parts

CANCELLED = sk.StreamEnd("cancelled")


class Broken(Exception):
    """The error raised here."""


class Script(sk.Source[Any]):
    """Return the bursts and raise the exceptions among them, then wait forever if `endless`. Keeps a log of its calls."""

    def __init__(self, *bursts: "list[Any] | Exception", endless: bool = False, log: list[str] | None = None) -> None:
        self.bursts: Iterator[list[Any] | Exception] = iter(bursts)
        self.endless = endless
        self.log: list[str] = [] if log is None else log

    async def open(self) -> None:
        self.log.append("open")

    async def read(self) -> Sequence[Any]:
        await anyio.lowlevel.checkpoint()
        burst = next(self.bursts, None)
        if isinstance(burst, Exception):
            raise burst
        if burst is None and self.endless:
            await anyio.sleep_forever()
        self.log.append(f"read {burst}")
        return burst or []

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append("close")


@dataclass
class Same(sk.Stage[Any, Any]):
    def feed(self, item: Any) -> Iterable[Any]:
        yield item


@dataclass
class AsyncSame(sk.AsyncStage[Any, Any]):
    async def feed(self, item: Any) -> Iterable[Any]:
        await anyio.lowlevel.checkpoint()
        return [item]


@dataclass
class Gate(sk.AsyncStage[Any, Any]):
    """Pass each item through once the gate is open for it. `entered` records the received items."""

    gates: tuple[anyio.Event, ...]
    entered: tuple[list[Any], ...] = ()
    count: int = field(default=0, init=False)

    async def feed(self, item: Any) -> Iterable[Any]:
        for entered in self.entered:
            entered.append(item)
        gate = self.gates[self.count]
        self.count += 1
        await gate.wait()
        return [item]


PIPELINES: dict[str, Any] = {"sync": Same(), "async": AsyncSame(), "both": Same() | AsyncSame() | Same()}
every_pipeline = pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())


# Opening and reading


@pytest.mark.anyio
async def test_nothing_is_opened_before_the_first_read() -> None:
    source = Script([1])

    stream = source | Same()
    items = aiter(stream)

    assert source.log == []
    assert await anext(items) == 1
    assert source.log == ["open", "read [1]"]
    await stream.aclose()


@pytest.mark.anyio
async def test_async_with_opens_and_does_not_read() -> None:
    source = Script([1])

    async with source | Same():
        assert source.log == ["open"]

    assert source.log == ["open", "close"]


@pytest.mark.anyio
async def test_a_stream_that_is_read_already_may_be_entered() -> None:
    source = Script([1], [2])
    stream = source | Same()
    items = aiter(stream)

    seen = [await anext(items)]
    async with stream:
        seen += [item async for item in items]

    assert seen == [1, 2]
    assert source.log.count("open") == 1


@every_pipeline
@pytest.mark.anyio
async def test_the_source_is_read_only_when_all_that_came_was_consumed(pipeline: Any) -> None:
    source = Script([1, 2], [3])
    seen: list[tuple[Any, int]] = []

    async for item in source | pipeline:
        seen.append((item, sum(entry.startswith("read") for entry in source.log)))

    assert seen == [(1, 1), (2, 1), (3, 2)]


@pytest.mark.anyio
async def test_a_source_is_used_once() -> None:
    source = Script([1])
    assert [item async for item in source | Same()] == [1]

    again = source | Same()
    for _ in range(2):
        with pytest.raises(sk.PipelineError, match="this source was already opened; create a new one"):
            await anext(again)
    with pytest.raises(sk.PipelineError, match="this source was already opened"):
        await (source | Same()).__aenter__()

    assert source.log == ["open", "read [1]", "read None", "close"]


@pytest.mark.anyio
async def test_a_closed_stream_is_not_opened_again() -> None:
    source = Script([1])
    stream = source | Same()
    async with stream:
        pass

    with pytest.raises(sk.PipelineError, match="this stream is closed"):
        await stream.__aenter__()
    assert await anext(stream, "nothing") == "nothing"
    assert source.log == ["open", "close"]


@pytest.mark.anyio
async def test_a_stream_that_was_closed_before_it_was_opened_never_opens() -> None:
    source = Script([1])
    stream = source | Same()

    await stream.aclose()

    assert await anext(stream, "nothing") == "nothing"
    with pytest.raises(sk.PipelineError, match="this stream is closed"):
        await stream.__aenter__()
    assert source.log == []
    assert stream.end == CANCELLED


@pytest.mark.anyio
async def test_further_stages_may_be_joined_until_the_stream_is_open() -> None:
    stream = Script([1]) | Same()
    longer = stream | AsyncSame() | Same()

    assert [item async for item in longer] == [1]
    with pytest.raises(sk.PipelineError, match="open already: compose all stages before"):
        longer | Same()


def test_a_stage_joined_to_a_stream_is_checked_as_in_a_pipeline() -> None:
    stream = sk.replay("x.sse") | sk.Parse()

    with pytest.raises(sk.PipelineError, match=r"Parse \| Lines"):
        stream | sk.sse.Lines()  # type: ignore[operator]
    with pytest.raises(sk.PipelineError, match=r"write Extract\(\)"):
        stream | sk.Extract  # type: ignore[operator]


@pytest.mark.anyio
async def test_a_stream_over_a_stream_closes_both() -> None:
    source = Script([1, 2], endless=True)
    inner = source | Same()

    async with Same().open(inner) as outer:
        assert await anext(outer) == 1

    assert source.log[-1] == "close"
    assert inner.end == CANCELLED


@pytest.mark.anyio
async def test_an_async_generator_is_closed_with_the_stream() -> None:
    log: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await anyio.lowlevel.checkpoint()
            log.append("closed")

    async with numbers() | Same() as stream:
        assert await anext(stream) == 1
        assert log == []

    assert log == ["closed"]


@pytest.mark.anyio
async def test_a_generator_is_closed_with_the_stream() -> None:
    log: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.append("closed")

    generator = numbers()
    async with generator | Same() as stream:
        assert await anext(stream) == 1

    assert log == ["closed"]


@pytest.mark.anyio
async def test_a_list_can_be_cancelled_in_the_middle() -> None:
    seen: list[int] = []

    with anyio.CancelScope() as scope:
        async for item in list(range(100)) | Same():
            seen.append(item)
            if item == 10:
                scope.cancel()

    assert scope.cancelled_caught
    assert 10 < len(seen) < 100


# One consumer


@pytest.mark.anyio
async def test_a_second_consumer_is_refused_and_told_of_tee() -> None:
    stream = Script([1, 2]) | Same()
    items = aiter(stream)
    assert await anext(items) == 1

    with pytest.raises(
        sk.PipelineError, match=r"already has a consumer; .*Accumulate\(\).*final\(\).*aiter\(stream\).*tee"
    ):
        aiter(stream)
    assert [item async for item in items] == [2]


@pytest.mark.anyio
async def test_two_tasks_cannot_wait_for_one_streams_next_item() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    stream = receive | Same()
    seen: list[object] = []

    async def wait() -> None:
        seen.append(await anext(stream))

    async with send, anyio.create_task_group() as group:
        group.start_soon(wait)
        await wait_all_tasks_blocked()
        with pytest.raises(sk.PipelineError, match=r"another task is waiting .* one consumer, .*tee"):
            await anext(stream)
        await send.send(1)

    assert seen == [1]
    assert [item async for item in stream] == []
    assert stream.end == sk.StreamEnd("completed")


# Cancel


@every_pipeline
@pytest.mark.anyio
async def test_cancel_wakes_a_consumer_that_waits_and_closes_the_source_before_the_last_item(pipeline: Any) -> None:
    source = Script([1, 2], endless=True)
    seen: list[object] = []

    async def consume() -> None:
        async for item in stream:
            seen.append((item, source.log[-1]))

    stream = source | pipeline
    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        assert seen == [(1, "read [1, 2]"), (2, "read [1, 2]")]
        stream.cancel()

    assert seen[2:] == [(CANCELLED, "close")]
    assert stream.end == CANCELLED


@pytest.mark.anyio
async def test_cancel_does_not_cancel_the_consumers_task() -> None:
    stream = Script(endless=True) | Same()
    seen: list[object] = []

    async def consume() -> None:
        async with stream:
            seen.extend([item async for item in stream])
            await anyio.lowlevel.checkpoint()
            seen.append("went on")

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        stream.cancel()

    assert seen == [CANCELLED, "went on"]


@every_pipeline
@pytest.mark.anyio
async def test_cancel_before_opening_opens_nothing(pipeline: Any) -> None:
    source = Script([1])
    stream = source | pipeline

    stream.cancel()

    assert [item async for item in stream] == [CANCELLED]
    assert source.log == []


@pytest.mark.anyio
async def test_cancel_before_async_with_opens_nothing() -> None:
    source = Script([1])
    stream = source | Same()

    stream.cancel()

    async with stream:
        assert [item async for item in stream] == [CANCELLED]
    assert source.log == []


@pytest.mark.parametrize("entering", [True, False], ids=["async with", "async for"])
@pytest.mark.anyio
async def test_cancel_while_the_source_opens(entering: bool) -> None:
    class Slow(Script):
        async def open(self) -> None:
            await super().open()
            await anyio.sleep_forever()

    source = Slow()
    stream = source | Same()
    seen: list[object] = []

    async def consume() -> None:
        if entering:
            async with stream:
                seen.extend([item async for item in stream])
        else:
            seen.extend([item async for item in stream])

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        stream.cancel()

    assert seen == [CANCELLED]
    assert source.log == ["open", "close"]


@pytest.mark.anyio
async def test_cancel_twice_is_cancel_once() -> None:
    source = Script([1], endless=True)
    stream = source | Same()
    assert await anext(stream) == 1

    stream.cancel()
    stream.cancel()

    assert [item async for item in stream] == [CANCELLED]
    stream.cancel()
    assert await anext(stream, "nothing") == "nothing"
    assert source.log == ["open", "read [1]", "close"]


@pytest.mark.anyio
async def test_cancel_after_the_end_changes_nothing() -> None:
    stream = Script([1]) | Same()
    assert [item async for item in stream] == [1]

    stream.cancel()

    assert stream.end == sk.StreamEnd("completed")
    assert await anext(stream, "nothing") == "nothing"


@pytest.mark.anyio
async def test_cancel_once_the_last_event_is_there_changes_nothing() -> None:
    stream = Script([sk.TextDelta("a"), sk.StreamEnd("length")]) | Same()
    assert await anext(stream) == sk.TextDelta("a")
    assert await anext(stream) == sk.StreamEnd("length")

    stream.cancel()

    assert await anext(stream, "nothing") == "nothing"
    assert stream.end == sk.StreamEnd("length")


@pytest.mark.anyio
async def test_what_was_produced_before_cancel_is_delivered_before_the_end() -> None:
    stream = Script([1, 2, 3], [4]) | Same()
    seen: list[object] = []

    async for item in stream:
        seen.append(item)
        stream.cancel()

    assert seen == [1, 2, 3, CANCELLED]


@pytest.mark.anyio
async def test_cancel_during_the_feed_of_an_async_stage() -> None:
    source = Script([1, 2, 3], endless=True)
    opened, shut = anyio.Event(), anyio.Event()
    opened.set()
    stream = source | (Same() | Gate((opened, shut)) | Same())
    seen: list[object] = []

    async def consume() -> None:
        async for item in stream:
            seen.append((item, source.log[-1]))

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        stream.cancel()

    assert seen == [(1, "read [1, 2, 3]"), (CANCELLED, "close")]


@pytest.mark.anyio
async def test_a_stage_may_cancel_the_stream_that_it_is_in() -> None:
    streams: list[sk.Stream[Any]] = []

    @sk.stage
    def enough(item: int) -> int:
        if item == 2:
            streams[0].cancel()
        return item

    streams.append(Script([1], [2], [3]) | enough)

    assert [item async for item in streams[0]] == [1, 2, CANCELLED]


@pytest.mark.anyio
@pytest.mark.parametrize("last", [1, 2])
async def test_an_async_stage_that_cancels_its_stream_leaves_no_cancellation_behind(last: int) -> None:
    streams: list[sk.Stream[Any]] = []

    @sk.stage
    async def enough(item: int) -> int:
        if item == last:
            streams[0].cancel()
        return item

    streams.append(Script([1], [2], [3]) | enough)

    assert [item async for item in streams[0]] == [*range(1, last + 1), CANCELLED]
    await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_an_async_stage_that_cancels_its_stream_and_fails_leaves_no_cancellation_behind() -> None:
    streams: list[sk.Stream[Any]] = []

    @sk.stage
    async def wrong(item: int) -> int:
        streams[0].cancel()
        raise ValueError("wrong")

    streams.append(Script([1]) | wrong)

    with pytest.raises(ValueError, match="wrong"):
        await streams[0].collect()
    await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_a_source_that_reads_its_own_stream_is_told_that_it_has_one_consumer() -> None:
    streams: list[sk.Stream[Any]] = []

    class Inward(sk.Source[int]):
        def __init__(self) -> None:
            self.count = 0

        async def read(self) -> list[int]:
            self.count += 1
            return [self.count if self.count < 3 else await anext(streams[0])]

    streams.append(Inward() | Same())

    with pytest.raises(sk.errors.PipelineError, match="another task is waiting"):
        await streams[0].collect()


@pytest.mark.anyio
async def test_cancel_while_an_async_stage_flushes_ends_the_wait() -> None:
    @dataclass
    class Stuck(AsyncSame):
        async def flush(self) -> Iterable[Any]:
            await anyio.sleep_forever()
            raise AssertionError

    stream = Script([sk.StreamEnd("length")]) | Stuck()
    seen: list[object] = []

    async def consume() -> None:
        seen.extend([item async for item in stream])

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        stream.cancel()

    assert seen == [sk.StreamEnd("length"), CANCELLED]
    assert stream.end == CANCELLED


# Latency


@pytest.mark.anyio
async def test_an_async_stage_delivers_each_result_before_it_takes_the_next_item() -> None:
    gates = [anyio.Event() for _ in range(3)]
    entered: list[int] = []
    seen: list[object] = []
    stream = Script([1, 2, 3]) | (Same() | Gate(tuple(gates), (entered,)) | Same())

    async def consume() -> None:
        async for item in stream:
            seen.append(item)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        for number in range(3):
            await wait_all_tasks_blocked()
            assert seen == [1, 2, 3][:number]
            assert entered == [1, 2, 3][: number + 1]
            gates[number].set()

    assert seen == [1, 2, 3]


@pytest.mark.anyio
async def test_each_item_goes_through_all_async_stages_before_the_next_one_begins() -> None:
    log: list[str] = []

    @sk.stage
    async def first(item: int) -> int:
        log.append(f"first {item}")
        return item

    @sk.stage
    async def second(item: int) -> int:
        log.append(f"second {item}")
        return item

    async for item in Script([1, 2]) | (first | Same() | second):
        log.append(f"seen {item}")

    assert log == ["first 1", "second 1", "seen 1", "first 2", "second 2", "seen 2"]


# Done


@dataclass
class Until(sk.Stage[int, int]):
    last: int

    def feed(self, item: int) -> Iterable[int]:
        if not self.done:
            yield item
        self.done = self.done or item == self.last

    def flush(self) -> Iterable[int]:
        yield -1


@dataclass
class AsyncUntil(sk.AsyncStage[int, int]):
    last: int

    async def feed(self, item: int) -> Iterable[int]:
        self.done = item == self.last
        return [item]

    async def flush(self) -> Iterable[int]:
        return [-1]


@dataclass
class Ends(sk.Stage[int, int]):
    mark: int

    def feed(self, item: int) -> Iterable[int]:
        yield item

    def flush(self) -> Iterable[int]:
        yield self.mark


@dataclass
class AsyncEnds(sk.AsyncStage[int, int]):
    mark: int

    async def feed(self, item: int) -> Iterable[int]:
        return [item]

    async def flush(self) -> Iterable[int]:
        return [self.mark]


DONE: dict[str, Any] = {
    "sync": Ends(-10) | Until(2) | Ends(-20),
    "async before": AsyncEnds(-10) | Until(2) | Ends(-20),
    "async after": Ends(-10) | Until(2) | AsyncEnds(-20),
    "async all round": AsyncEnds(-10) | Until(2) | AsyncEnds(-20),
    "async": Ends(-10) | AsyncUntil(2) | Ends(-20),
    "all async": AsyncEnds(-10) | AsyncUntil(2) | AsyncEnds(-20),
}


@pytest.mark.parametrize("bursts", [[[1, 2, 3, 4]], [[1], [2], [3]], [[1, 2], [3]]], ids=str)
@pytest.mark.parametrize("pipeline", DONE.values(), ids=DONE.keys())
@pytest.mark.anyio
async def test_done_closes_the_source_and_flushes_what_is_after_it_only(pipeline: Any, bursts: list[list[int]]) -> None:
    source = Script(*bursts, endless=True)
    closed_when: list[bool] = []
    seen: list[int] = []

    async for item in source | pipeline:
        seen.append(item)
        closed_when.append("close" in source.log)

    assert seen == [1, 2, -1, -20]
    assert closed_when[-2:] == [True, True]
    assert "read [3]" not in source.log


@pytest.mark.anyio
async def test_the_end_behind_its_marker_is_delivered_before_the_source_is_drained_and_closed() -> None:
    source = Script([b"data: [DONE]\n\n"], endless=True)

    async for event in source | (sk.Parse() | sk.Extract()):
        assert event == sk.StreamEnd("truncated", saw_done=True)
        assert source.log[-1] == "close"


@pytest.mark.anyio
async def test_a_failure_of_the_source_behind_the_end_is_never_met() -> None:
    stream = Script([1, 2], Broken()) | Until(2)

    assert [item async for item in stream] == [1, 2, -1]
    assert stream.end == sk.StreamEnd("completed")


@pytest.mark.anyio
async def test_a_failure_behind_the_end_that_a_stage_has_set_is_not_raised() -> None:
    @sk.stage
    def fail(item: int) -> int:
        if item == 3:
            raise Broken
        return item

    assert [item async for item in Script([1, 2, 3]) | (fail | AsyncUntil(2) | AsyncSame())] == [1, 2, -1]
    assert [item async for item in Script([1, 2, 3]) | (fail | AsyncSame() | Until(2))] == [1, 2, -1]
    assert [item async for item in Script([1, 2, 3]) | (fail | Until(2) | AsyncSame())] == [1, 2, -1]


@pytest.mark.anyio
async def test_what_came_before_is_delivered_though_the_source_fails_to_close() -> None:
    class BadClose(Script):
        async def close(self) -> None:
            self.log.append("close")
            if self.log.count("close") == 1:
                raise Broken("close")

    stream = BadClose([1, 2], endless=True) | (Until(2) | AsyncSame())

    assert [await anext(stream), await anext(stream), await anext(stream)] == [1, 2, -1]
    for _ in range(2):
        with pytest.raises(Broken, match="close"):
            await anext(stream)


# Closing stages


@dataclass
class Remote(sk.AsyncStage[Any, Any]):
    """Log the call of `close`, which may fail or hang."""

    name: str
    log: tuple[list[str], ...]
    fails: bool = False
    hangs: bool = False
    fails_at: Any = None

    async def feed(self, item: Any) -> Iterable[Any]:
        await anyio.lowlevel.checkpoint()
        if item == self.fails_at:
            raise Broken(f"feed {self.name}")
        return [item]

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log[0].append(f"close {self.name}")
        if self.hangs:
            await anyio.sleep_forever()
        if self.fails:
            raise Broken(f"close {self.name}")


async def by_end(stream: sk.Stream[Any]) -> None:
    async for _ in stream:
        pass


async def by_break(stream: sk.Stream[Any]) -> None:
    async for _ in stream:
        break


async def by_error(stream: sk.Stream[Any]) -> None:
    with pytest.raises(ArithmeticError):
        async with stream:
            raise ArithmeticError


async def by_cancel(stream: sk.Stream[Any]) -> None:
    stream.cancel()
    async for _ in stream:
        pass


async def by_cancellation(stream: sk.Stream[Any]) -> None:
    with anyio.move_on_after(0):
        async with stream:
            await by_end(stream)


@pytest.mark.parametrize("leave", [by_end, by_break, by_error, by_cancel, by_cancellation])
@pytest.mark.anyio
async def test_async_stages_are_closed_at_every_kind_of_end_in_reverse_order(
    leave: Callable[[sk.Stream[Any]], Any],
) -> None:
    log: list[str] = []
    stream = Script([1], log=log) | (Remote("a", (log,)) | Same() | Remote("b", (log,)) | Remote("c", (log,)))

    if leave in (by_error, by_cancellation):
        await leave(stream)
    else:
        async with stream:
            await leave(stream)

    assert [entry for entry in log if "close" in entry] == ["close c", "close b", "close a", "close"]


@pytest.mark.parametrize(
    "pipeline", [Remote("a", ([],), fails_at=1), Remote("a", ([],)) | Remote("b", ([],), fails_at=1)]
)
@pytest.mark.anyio
async def test_async_stages_are_closed_after_a_failure(pipeline: Any) -> None:
    log: list[str] = parts(pipeline)[0].log[0]
    log.clear()

    with pytest.raises(Broken, match="feed"):
        await by_end(Script([1]) | pipeline)

    assert log == ["close a"]


@pytest.mark.anyio
async def test_one_failure_to_close_is_raised_as_it_is_and_the_others_are_closed() -> None:
    log: list[str] = []
    stream = Script([1], log=log) | (Remote("a", (log,)) | Remote("b", (log,), fails=True))

    with pytest.raises(Broken, match="close b"):
        async with stream:
            pass

    assert log == ["open", "close b", "close a", "close"]


@pytest.mark.anyio
async def test_several_failures_to_close_are_raised_as_a_group() -> None:
    log: list[str] = []
    stream = Script([1], log=log) | (Remote("a", (log,), fails=True) | Remote("b", (log,), fails=True))

    with pytest.raises(ExceptionGroup, match="closing the stream failed") as caught:
        async with stream:
            pass

    assert [str(error) for error in caught.value.exceptions] == ["close b", "close a"]
    assert log == ["open", "close b", "close a", "close"]


@pytest.mark.anyio
async def test_a_failure_to_close_does_not_hide_the_consumers_error() -> None:
    stream = Script([1]) | Remote("a", ([],), fails=True)

    with pytest.raises(ArithmeticError) as caught:
        async with stream:
            raise ArithmeticError

    assert caught.value.__notes__ == ["and closing the stream failed: Broken: close a"]


@pytest.mark.anyio
async def test_a_failure_to_close_at_the_natural_end_is_raised_after_all_items_and_again() -> None:
    stream = Script([1]) | Remote("a", ([],), fails=True)
    assert await anext(stream) == 1

    for _ in range(2):
        with pytest.raises(Broken, match="close a"):
            await anext(stream)
    assert stream.end == sk.StreamEnd("error")


@pytest.mark.anyio
async def test_a_failure_to_close_after_cancel_is_raised_and_again() -> None:
    stream = Script([1], endless=True) | Remote("a", ([],), fails=True)
    assert await anext(stream) == 1
    stream.cancel()

    for _ in range(2):
        with pytest.raises(Broken, match="close a"):
            await anext(stream)


@pytest.mark.anyio
async def test_a_stage_that_hangs_in_closing_does_not_keep_the_source_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CLOSE_SECONDS", 0.01)
    log: list[str] = []
    stream = Script([1], log=log) | (Remote("a", (log,)) | Remote("b", (log,), hangs=True))

    async with stream:
        pass

    assert log == ["open", "close b", "close a", "close"]


@pytest.mark.anyio
async def test_aclose_twice_closes_once() -> None:
    source = Script([1])
    stream = source | Same()
    assert await anext(stream) == 1

    await stream.aclose()
    await stream.aclose()

    assert source.log.count("close") == 1


# Failures name the stage


@pytest.mark.anyio
async def test_an_exception_carries_a_note_that_names_its_stage() -> None:
    @sk.stage
    def fail(item: int) -> int:
        raise Broken

    @sk.stage
    async def fail_later(item: int) -> int:
        raise Broken

    for pipeline, note in (
        (Same() | fail | Same(), "in stage 2 of 3: fail"),
        (Same() | fail_later, "in stage 2 of 2: fail_later"),
        (Same() | Remote("a", ([],), fails_at=1), "in stage 2 of 2: Remote"),
    ):
        with pytest.raises(Broken) as caught:
            await by_end(Script([1]) | pipeline)
        assert caught.value.__notes__ == [note]


# The stages of a run


@pytest.mark.anyio
async def test_the_stages_of_a_run_can_be_read_while_it_runs() -> None:
    accumulate = sk.Accumulate()
    stream = [sk.TextDelta("a"), sk.TextDelta("b")] | (accumulate | AsyncSame())
    assert stream.stage(sk.Accumulate).snapshot.text == ""

    async for _ in stream:
        pass

    assert stream.stage(sk.Accumulate).snapshot.text == "ab"
    assert accumulate.snapshot.text == ""
    with pytest.raises(sk.PipelineError, match="there is no Count in this pipeline"):
        stream.stage(sk.Count)


@pytest.mark.anyio
async def test_a_snapshot_survives_every_end() -> None:
    stream = Script([sk.TextDelta("a")], Broken()) | sk.Accumulate()

    with pytest.raises(Broken):
        await by_end(stream)

    assert stream.stage(sk.Accumulate).snapshot.text == "a"


@pytest.mark.parametrize("first", [sk.Parse(), Same() | sk.Parse()], ids=["Parse first", "Parse later"])
@pytest.mark.anyio
async def test_the_stage_that_splits_bytes_is_there_only_for_bytes_and_a_pipeline_of_lines(first: Any) -> None:
    stream = first.open(["data: a", ""])

    assert [event.data async for event in stream] == ["a"]
    with pytest.raises(sk.PipelineError, match="there is no Lines"):
        stream.stage(sk.sse.Lines)


# End reasons


async def with_break(stream: sk.Stream[Any]) -> None:
    async with stream:
        await by_break(stream)


END: dict[str, tuple[Callable[[], sk.Stream[Any]], Callable[[sk.Stream[Any]], Any], str]] = {
    "the end": (lambda: Script([1]) | Same(), by_end, "completed"),
    "an event that says so": (lambda: Script([sk.StreamEnd("tool_calls")]) | Same(), by_end, "tool_calls"),
    "the last of two": (
        lambda: Script([sk.StreamEnd("length")], [1, sk.StreamEnd("content_filter")]) | AsyncSame(),
        by_end,
        "content_filter",
    ),
    "said in flush": (lambda: Script([]) | (sk.Parse() | sk.Extract() | AsyncSame()), by_end, "truncated"),
    "moderated": (
        lambda: Script([sk.TextDelta("a b c")]) | sk.Moderate(sk.Rule("x", ("b",), action="block")),
        by_end,
        "moderated",
    ),
    "break": (lambda: Script([1, 2]) | Same(), with_break, "cancelled"),
    "break before the last event was seen": (
        lambda: Script([sk.TextDelta("a"), sk.StreamEnd("completed")]) | Same(),
        with_break,
        "cancelled",
    ),
    "break at the last event": (lambda: Script([sk.StreamEnd("length")]) | Same(), with_break, "length"),
    "cancel": (lambda: Script([1]) | Same(), by_cancel, "cancelled"),
    "cancellation": (lambda: Script([1]) | Same(), by_cancellation, "cancelled"),
    "an error of the consumer": (lambda: Script([1]) | Same(), by_error, "cancelled"),
}


@pytest.mark.parametrize(("make", "leave", "reason"), END.values(), ids=END.keys())
@pytest.mark.anyio
async def test_end_says_why(
    make: Callable[[], sk.Stream[Any]], leave: Callable[[sk.Stream[Any]], Any], reason: str
) -> None:
    stream = make()
    assert stream.end is None

    await leave(stream)

    assert stream.end is not None
    assert stream.end.reason == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (sk.errors.LimitExceeded("long"), "limit"),
        (sk.ProviderError("no"), "provider_error"),
        (sk.errors.DeadlineExceeded("late"), "timeout"),
        (sk.errors.Disconnected("gone"), "truncated"),
        (sk.StatusError("no", status=500), "error"),
        (sk.errors.ProtocolError("odd"), "error"),
        (ZeroDivisionError(), "error"),
    ],
    ids=repr,
)
@pytest.mark.anyio
async def test_end_after_a_failure_is_what_the_error_says(error: Exception, reason: sk.events.EndReason) -> None:
    @sk.stage
    def fail(item: int) -> int:
        raise error

    for stream in (Script(error) | Same(), Script([1]) | fail, Script([1]) | (AsyncSame() | fail | AsyncSame())):
        with pytest.raises(type(error)):
            await by_end(stream)
        assert stream.end == sk.StreamEnd(reason)


@pytest.mark.anyio
async def test_end_is_none_until_the_consumer_has_seen_all() -> None:
    events = [sk.TextDelta("a"), sk.TextDelta("b"), sk.StreamEnd("completed")]
    stream = Script(events) | Same()

    async with stream:
        seen = [(await anext(stream), stream.end) for _ in events]

    assert seen == [(events[0], None), (events[1], None), (events[2], events[2])]


@dataclass
class Closing(AsyncSame):
    """Record the exception that is handled while `close` is called."""

    seen: list[type[BaseException] | None]

    def fresh(self) -> "Closing":
        return self

    async def close(self) -> None:
        self.seen.append(type(error) if (error := sys.exception()) else None)


@pytest.mark.anyio
@pytest.mark.parametrize("entered", [True, False], ids=["async with", "iterated"])
async def test_a_stage_that_is_closed_finds_the_failure_that_ends_the_run(entered: bool) -> None:
    seen: list[type[BaseException] | None] = []
    for script in (Script([1]), Script([1], Broken())):
        stream = Closing(seen).open(script)
        try:
            if entered:
                async with stream as items:
                    assert [item async for item in items] == [1]
            else:
                assert [item async for item in stream] == [1]
        except Broken:
            pass

    assert seen == [None, Broken]


@pytest.mark.anyio
async def test_a_source_without_a_pipeline_says_what_is_missing() -> None:
    with pytest.raises(sk.PipelineError, match=r"write `async with source \| stage as events`"):
        async with sk.feed("http://127.0.0.1:9"):
            pass
