"""Law 5: `flush` runs at the natural end only, and an interrupted run never ends as if it were complete."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk


class Broken(Exception):
    """The error that the stages of this module raise."""


@dataclass
class Marks(sk.Stage[int, int | str]):
    """Pass items through, and emit a marker in `flush`."""

    log: tuple[list[str], ...] = ()

    def feed(self, item: int) -> Iterable[int | str]:
        yield item

    def flush(self) -> Iterable[int | str]:
        for log in self.log:
            log.append("flush")
        yield "flushed"


@dataclass
class AsyncMarks(sk.AsyncStage[int, int | str]):
    log: tuple[list[str], ...] = ()

    async def feed(self, item: int) -> Iterable[int | str]:
        return [item]

    async def flush(self) -> Iterable[int | str]:
        for log in self.log:
            log.append("flush")
        return ["flushed"]


@dataclass
class FailAt(sk.Stage[int, int]):
    at: int
    error: type[Exception] = Broken

    def feed(self, item: int) -> Iterable[int]:
        if item == self.at:
            raise self.error
        yield item


@dataclass
class AsyncFailAt(sk.AsyncStage[int, int]):
    at: int
    error: type[Exception] = Broken

    async def feed(self, item: int) -> Iterable[int]:
        if item == self.at:
            raise self.error
        return [item]


async def numbers(*items: int | Exception) -> AsyncIterator[int]:
    """Yield the items or raise an exception among them, then wait forever."""
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item
    await anyio.sleep_forever()


async def read(stream: sk.Stream[Any], seen: list[object]) -> None:
    async for item in stream:
        seen.append(item)


class Raises(sk.Source[int]):
    """A source that fails at its second read."""

    def __init__(self, error: Exception) -> None:
        self.bursts: Iterator[list[int] | Exception] = iter([[1], error])

    async def read(self) -> Sequence[int]:
        burst = next(self.bursts, [])
        if isinstance(burst, Exception):
            raise burst
        return burst


marks = pytest.mark.parametrize("marking", [Marks, AsyncMarks])


# Flush


@marks
@pytest.mark.anyio
async def test_flush_runs_once_at_the_natural_end(marking: type[Marks | AsyncMarks]) -> None:
    log: list[str] = []
    stream = marking((log,)).open([1, 2])

    assert [item async for item in stream] == [1, 2, "flushed"]
    assert await anext(stream, "end") == "end"
    assert log == ["flush"]


@marks
@pytest.mark.parametrize("failing", [FailAt(2), AsyncFailAt(2)], ids=repr)
@pytest.mark.parametrize("before", [True, False], ids=["failure before", "failure after"])
@pytest.mark.anyio
async def test_flush_does_not_run_after_a_failure(
    marking: type[Marks | AsyncMarks], failing: FailAt | AsyncFailAt, before: bool
) -> None:
    log: list[str] = []
    pipeline = failing | marking((log,)) if before else marking((log,)) | failing

    with pytest.raises(Broken):
        await read(pipeline.open([1, 2, 3]), [])
    assert log == []


@marks
@pytest.mark.anyio
async def test_flush_does_not_run_after_break(marking: type[Marks | AsyncMarks]) -> None:
    log: list[str] = []

    async with [1, 2] | marking((log,)) as stream:
        async for _ in stream:
            break

    assert log == []


@marks
@pytest.mark.anyio
async def test_flush_does_not_run_after_cancel(marking: type[Marks | AsyncMarks]) -> None:
    log: list[str] = []
    stream = marking((log,)).open(iter([1, 2]))
    seen: list[object] = []

    async for item in stream:
        seen.append(item)
        stream.cancel()

    assert seen == [1, sk.StreamEnd("cancelled")]
    assert log == []


@marks
@pytest.mark.anyio
async def test_flush_does_not_run_after_a_cancelled_read(marking: type[Marks | AsyncMarks]) -> None:
    log: list[str] = []

    with anyio.move_on_after(0):
        async for _ in numbers() | marking((log,)):
            pass

    assert log == []


def test_run_does_not_flush_after_a_failure() -> None:
    log: list[str] = []
    run = (Marks((log,)) | FailAt(2) | Marks((log,))).run([1, 2])

    assert next(run) == 1
    with pytest.raises(Broken):
        next(run)
    assert log == []


@pytest.mark.anyio
async def test_a_flush_after_one_that_failed_does_not_run() -> None:
    log: list[str] = []

    @dataclass
    class BadFlush(Marks):
        def flush(self) -> Iterable[int | str]:
            raise Broken

    with pytest.raises(Broken):
        await read([1] | (BadFlush() | Marks((log,)) | AsyncMarks((log,)) | Marks((log,))), [])
    assert log == []


# Requests after a failure


@pytest.mark.parametrize(
    "pipeline", [Marks(), AsyncMarks(), Marks() | AsyncMarks() | Marks()], ids=["sync", "async", "both"]
)
@pytest.mark.anyio
async def test_a_cancelled_read_poisons_the_run(
    pipeline: sk.Stage[int, int | str] | sk.AsyncStage[int, int | str],
) -> None:
    stream = numbers(1) | pipeline
    items = aiter(stream)
    assert await anext(items) == 1

    with anyio.move_on_after(0) as timeout:
        await anext(items)

    assert timeout.cancelled_caught
    for _ in range(3):
        with pytest.raises(sk.errors.StreamInterrupted, match="cancelled from outside"):
            await anext(items)
    assert stream.end == sk.StreamEnd("cancelled")


@pytest.mark.anyio
async def test_a_cancelled_stage_poisons_the_run() -> None:
    @dataclass
    class Remote(sk.AsyncStage[int, int]):
        async def feed(self, item: int) -> Iterable[int]:
            await anyio.lowlevel.checkpoint()
            return [item]

    items = aiter([1, 2] | Remote())

    with anyio.move_on_after(0):
        await anext(items)

    with pytest.raises(sk.errors.StreamInterrupted):
        await anext(items)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_asyncios_own_timeout_poisons_the_run_too() -> None:
    items = aiter(numbers(1) | Marks())
    assert await anext(items) == 1

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(items)
    with pytest.raises(sk.errors.StreamInterrupted):
        async with asyncio.timeout(0):
            await anext(items)


@pytest.mark.anyio
async def test_a_cancelled_consumer_is_cancelled_and_another_one_hears_that_the_run_was_interrupted() -> None:
    items = aiter(numbers() | Marks())
    seen: list[str] = []

    async def consume() -> None:
        try:
            await anext(items)
        except anyio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert seen == ["cancelled"]
    with pytest.raises(sk.errors.StreamInterrupted):
        await anext(items)


@pytest.mark.parametrize(
    "stream",
    [
        lambda: [1, 2] | FailAt(2),
        lambda: [1, 2] | AsyncFailAt(2),
        lambda: [1, 2] | (FailAt(2) | AsyncMarks() | Marks()),
        lambda: numbers(1, Broken()) | Marks(),
    ],
    ids=["stage", "async stage", "stage further up", "source"],
)
@pytest.mark.anyio
async def test_after_a_failure_a_stream_says_the_same_when_asked_again(stream: Callable[[], sk.Stream[int]]) -> None:
    opened = stream()
    items = aiter(opened)
    assert await anext(items) == 1

    with pytest.raises(Broken) as first:
        await anext(items)
    for _ in range(3):
        with pytest.raises(Broken) as again:
            await anext(items)
        assert again.value is first.value
    assert opened.end == sk.StreamEnd("error")


def test_after_a_failure_run_says_the_same_when_asked_again() -> None:
    run = FailAt(2).run([1, 2, 3])
    assert next(run) == 1

    with pytest.raises(Broken) as first:
        next(run)
    with pytest.raises(Broken) as again:
        next(run)
    assert again.value is first.value


def test_a_run_that_was_interrupted_says_so_when_asked_again() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    run = Marks().run(items())
    assert next(run) == 1

    with pytest.raises(KeyboardInterrupt):
        next(run)
    with pytest.raises(sk.errors.StreamInterrupted, match="KeyboardInterrupt"):
        next(run)


# Exceptions that `async for` would treat as the end


@pytest.mark.parametrize(
    "stream",
    [
        lambda: [1, 2, 3] | FailAt(2, StopAsyncIteration),
        lambda: [1, 2, 3] | AsyncFailAt(2, StopAsyncIteration),
        lambda: [1, 2, 3] | (FailAt(2, StopAsyncIteration) | AsyncMarks()),
        lambda: [1, 2, 3] | FailAt(2, StopIteration),
        lambda: [1, 2, 3] | AsyncFailAt(2, StopIteration),
        lambda: Raises(StopAsyncIteration()) | Marks(),
    ],
    ids=["stage", "async stage", "further up", "sync", "sync in async", "source"],
)
@pytest.mark.anyio
async def test_a_stray_stop_iteration_is_not_the_end(stream: Callable[[], sk.Stream[int]]) -> None:
    opened = stream()
    seen: list[object] = []

    with pytest.raises(RuntimeError, match=r"Stop(Async)?Iteration"):
        await read(opened, seen)
    assert seen == [1]
    assert opened.end == sk.StreamEnd("error")
    with pytest.raises(RuntimeError, match=r"Stop(Async)?Iteration"):
        await anext(opened)


def test_a_stray_stop_iteration_is_not_the_end_of_run() -> None:
    run = FailAt(2, StopIteration).run([1, 2, 3])

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(run)


# Without the terminal event


def event(content: str, finish: str | None = None) -> str:
    reason = f'"{finish}"' if finish else "null"
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":{reason}}}]}}\n\n'


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (event("a") + event("b", "stop") + "data: [DONE]\n\n", "completed"),
        (event("a") + event("b", "stop"), "completed"),
        (event("a") + "data: [DONE]\n\n", "completed"),
        (event("a") + event("b", "length") + "data: [DONE]\n\n", "length"),
        (event("a") + event("b", "a word of tomorrow") + "data: [DONE]\n\n", "unknown"),
        ("data: [DONE]\n\n", "truncated"),
        (event("a"), "truncated"),
        (event("a") + event("b", "stop")[:-10], "truncated"),
        ("", "truncated"),
        (": keep-alive\n\n", "truncated"),
    ],
    ids=[
        "all",
        "no [DONE]",
        "no finish reason",
        "length",
        "unknown",
        "only [DONE]",
        "cut off",
        "cut in an event",
        "nothing",
        "comments only",
    ],
)
@pytest.mark.anyio
async def test_a_stream_without_its_terminal_event_is_truncated(body: str, end: sk.events.EndReason) -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()
    stream = pipeline.open([body.encode()])

    events = [event async for event in stream]

    assert isinstance(events[-1], sk.StreamEnd)
    assert events[-1].reason == end
    assert stream.end == events[-1]
    assert isinstance(events[-2], sk.Completion)
    assert events[-2].end == end
    assert list(pipeline.run([body.encode()])) == events


@pytest.mark.anyio
async def test_an_end_that_came_from_elsewhere_is_this_streams_end() -> None:
    # Events extracted by another worker.
    stream = [sk.TextDelta("a"), sk.StreamEnd("truncated")] | sk.Accumulate()

    events = [event async for event in stream]

    assert stream.end == events[-1] == sk.StreamEnd("truncated")


@pytest.mark.anyio
async def test_a_failure_after_the_terminal_event_is_the_end_all_the_same() -> None:
    @dataclass
    class BadFlush(sk.Stage[sk.Event, sk.Event]):
        held: list[sk.Event] = field(default_factory=list, init=False)

        def feed(self, item: sk.Event) -> Iterable[sk.Event]:
            yield item

        def flush(self) -> Iterable[sk.Event]:
            raise Broken

    body = (event("a", "stop") + "data: [DONE]\n\n").encode()
    stream = (sk.Parse() | sk.Extract() | BadFlush()).open([body])
    seen: list[object] = []

    with pytest.raises(Broken):
        await read(stream, seen)
    assert seen[-1] == sk.StreamEnd("completed", saw_done=True)
    assert stream.end == sk.StreamEnd("error")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'data: {"choices": [{"index": 0, "delta": {"content": "Half"}}]}\n\n', "truncated"),
        (b'data: {"choices": [{"index": 0, "delta": {"content": "the secret"}}]}\n\ndata: [DONE]\n\n', "moderated"),
        (b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n', "length"),
        (b'data: {"choices": [{"index": 0, "delta": {"content": "All"}}]}\n\ndata: [DONE]\n\n', "completed"),
    ],
    ids=["truncated", "moderated", "length", "completed"],
)
@pytest.mark.parametrize("waits", [False, True], ids=["fused", "with an async stage"])
async def test_the_end_is_told_also_behind_a_stage_that_writes_the_answer_out(
    body: bytes, reason: str, waits: bool
) -> None:
    @sk.stage
    async def wait(event: sk.TextDelta) -> sk.TextDelta:
        await anyio.lowlevel.checkpoint()
        return event

    read = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("secret", ("secret",), action="block"))
    stream = (read | wait | sk.Emit()).open([body]) if waits else (read | sk.Emit()).open([body])

    items = [item async for item in stream]

    assert not any(isinstance(item, sk.StreamEnd) for item in items)
    assert stream.end is not None
    assert stream.end.reason == reason
