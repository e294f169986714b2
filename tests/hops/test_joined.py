"""Hops composed with `|`: one `async with`, in which their tasks start and end."""

import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import hops, ops
from streamkit.core.stage import Hop
from tests.kit import Same

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed", True)
EVENTS = [sk.TextDelta("Hello"), sk.ReasoningDelta("hm"), sk.TextDelta(", world"), sk.Finish("stop"), END]


class Script(sk.Source[Any]):
    """Returns bursts, then raises an error or blocks forever. Records the number of reads, and whether it was closed."""

    def __init__(self, *bursts: list[Any], error: Exception | None = None, endless: bool = False) -> None:
        self.bursts = iter(bursts)
        self.error = error
        self.endless = endless
        self.reads = 0
        self.opened = self.closed = False

    async def open(self) -> None:
        self.opened = True

    async def read(self) -> Sequence[Any]:
        await checkpoint()
        burst = next(self.bursts, None)
        self.reads += 1
        if burst is None and self.error:
            raise self.error
        if burst is None and self.endless:
            await anyio.sleep_forever()
        return burst or []

    async def close(self) -> None:
        await checkpoint()
        self.closed = True


def script(**options: Any) -> Script:
    return Script(*[[event] for event in EVENTS], **options)


async def shout(delta: sk.TextDelta) -> sk.TextDelta:
    await checkpoint()
    return sk.TextDelta(delta.text.upper())


SHOUTED = [sk.TextDelta("HELLO"), EVENTS[1], sk.TextDelta(", WORLD"), *EVENTS[3:]]


async def all_of(stream: Any) -> list[Any]:
    async with stream as items:
        return [item async for item in items]


# A hop is accepted wherever a stage is


@pytest.mark.parametrize(
    "compose",
    [
        lambda source: source | hops.Prefetch() | Same(),
        lambda source: source | Same() | hops.Prefetch(),
        lambda source: source | hops.Prefetch(),
        lambda source: source | Same() | hops.Prefetch(64) | Same() | hops.Prefetch(2) | Same(),
        lambda source: source | hops.Prefetch() | hops.Prefetch(),
        lambda source: source | (Same() | hops.Prefetch() | Same()),
        lambda source: (Same() | (hops.Prefetch() | Same())).open(source),
        lambda source: hops.prefetch(source | Same()) | Same(),
        lambda source: hops.race(source | Same()) | hops.Prefetch() | Same(),
        lambda source: hops.merge(source | Same()) | Same(),
        lambda source: hops.rate_limit(source | Same(), per_second=1e9) | Same(),
        lambda source: hops.deadlines(source | Same(), total=60) | Same(),
        lambda source: source | Same() | hops.RateLimit(1e9) | Same(),
    ],
)
async def test_the_events_are_those_without_a_hop_and_the_source_is_closed(compose: Any) -> None:
    source = script()
    stream = compose(source)

    assert await all_of(stream) == EVENTS

    assert source.closed
    assert stream.end == END


async def test_a_concurrent_map_between_stages() -> None:
    stream = script() | Same() | hops.Prefetch(64) | hops.ConcurrentMap(shout) | sk.Accumulate()

    async with stream as events:
        *found, completion, end = [event async for event in events]

    assert [*found, end] == SHOUTED
    assert isinstance(completion, sk.Completion)
    assert completion.text == "HELLO, WORLD"


async def test_an_async_generator_function_between_stages() -> None:
    async def loud(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for event in events:
            yield await shout(event) if isinstance(event, sk.TextDelta) else event

    assert await all_of(script() | hops.FromGenerator(loud) | Same()) == SHOUTED


async def test_one_pipeline_with_a_hop_serves_many_streams() -> None:
    pipeline = Same() | hops.Prefetch(2) | hops.ConcurrentMap(shout) | sk.Accumulate()
    texts: list[str] = []

    async def read() -> None:
        texts.append(await (script() | pipeline).text())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(read)

    assert texts == ["HELLO, WORLD"] * 5


async def test_the_first_of_two_with_content_is_emitted() -> None:
    silent, answering = Script(endless=True), script()

    async with hops.race(silent | Same(), answering | Same()) | sk.Emit() as chunks:
        body = b"".join([chunk.payload async for chunk in chunks if isinstance(chunk, sk.sse.ServerSentEvent)])

    assert b"Hello" in body
    assert (silent.closed, answering.closed) == (True, True)


async def test_whole_reads_enter_the_stream_themselves() -> None:
    pipeline = Same() | hops.Prefetch() | sk.Accumulate()

    assert await (script() | pipeline).text() == "Hello, world"
    assert (await (script() | pipeline).final()).text == "Hello, world"
    assert await (script() | pipeline).usage() is None
    assert len(await (script() | pipeline).collect()) == len(EVENTS) + 1
    async with script() | pipeline as stream:
        assert await stream.text() == "Hello, world"


async def test_views_of_a_stream_with_a_hop() -> None:
    async with script() | hops.Prefetch() | hops.ConcurrentMap(shout) | ops.Coalesce() as stream:
        assert [text async for text in stream.texts()] == ["HELLO", ", WORLD"]


async def test_without_async_with_nothing_is_opened() -> None:
    source = script()

    with pytest.raises(sk.PipelineError, match="this stream has a hop, Prefetch, whose tasks need a block"):
        async for _ in source | Same() | hops.Prefetch() | Same():
            pass

    assert not source.opened


async def test_stages_before_and_behind_a_hop_are_found_and_named_as_written() -> None:
    @sk.stage
    def fail(event: sk.Finish) -> sk.Finish:
        raise ValueError("no")

    async with script() | sk.Accumulate() | hops.Prefetch() | ops.Coalesce() as stream:
        assert [event async for event in stream]
        assert stream.stage(sk.Accumulate).snapshot.text == "Hello, world"
        assert isinstance(stream.stage(ops.Coalesce), ops.Coalesce)
    for pipeline, place in (
        (Same() | fail | hops.Prefetch() | Same(), "in stage 2 of 4: "),
        (Same() | hops.Prefetch() | Same() | fail, "in stage 4 of 4: "),
    ):
        with pytest.raises(ValueError, match="no") as caught:
            await all_of(script() | pipeline)
        assert [note for note in caught.value.__notes__ if note.startswith(place)]


async def test_deadlines_of_the_source_hold_before_a_hop() -> None:
    source = Script([sk.TextDelta("a")], endless=True)
    source.deadlines = sk.core.Deadlines(idle_content=0.01)
    seen: list[Any] = []

    with pytest.raises(sk.errors.DeadlineExceeded):
        async with source | Same() | hops.Prefetch() | Same() as events:
            async for event in events:
                seen.append(event)

    assert (seen, source.closed) == ([sk.TextDelta("a")], True)


# Failures and ends


async def test_what_came_before_an_error_is_delivered_before_the_error() -> None:
    source = Script([sk.TextDelta("a")], [sk.TextDelta("b")], error=sk.errors.Disconnected("gone"))
    seen: list[Any] = []

    async with source | Same() | hops.Prefetch(64) | Same() as events:
        with pytest.raises(sk.errors.Disconnected):
            async for event in events:
                seen.append(event)
        with pytest.raises(sk.errors.Disconnected):
            await anext(events)
        assert source.closed

    assert seen == [sk.TextDelta("a"), sk.TextDelta("b")]


async def test_an_error_of_the_consumer_is_raised_as_it_is_and_closes_everything() -> None:
    source = script(endless=True)

    with pytest.raises(KeyError):
        async with source | Same() | hops.Prefetch() | hops.Prefetch() | Same() as events:
            async for _ in events:
                raise KeyError

    assert source.closed


async def test_leaving_early_closes_the_source_before_control_returns() -> None:
    source = script(endless=True)

    async with source | Same() | hops.Prefetch() | hops.ConcurrentMap(shout) | Same() as events:
        async for _ in events:
            break

    assert source.closed
    assert events.end == sk.StreamEnd("cancelled")


async def test_a_stage_that_is_done_closes_the_source_at_once() -> None:
    source = script(endless=True)

    async with source | Same() | hops.Prefetch() | ops.Take(1) as events:
        assert [event async for event in events][:1] == EVENTS[:1]
        assert source.closed


async def test_cancel_wakes_the_consumer_and_closes_the_source_before_the_last_item() -> None:
    calls: list[str] = []

    async def forever(event: sk.TextDelta) -> sk.TextDelta:
        try:
            await anyio.sleep_forever()
        finally:
            calls.append("cancelled")
        return event

    source = script(endless=True)
    async with source | Same() | hops.Prefetch() | hops.ConcurrentMap(forever) | Same() as events:
        async with anyio.create_task_group() as group:

            async def consume() -> None:
                assert await anext(events) == sk.StreamEnd("cancelled")
                assert source.closed
                assert calls == ["cancelled", "cancelled"]

            group.start_soon(consume)
            await wait_all_tasks_blocked()
            events.cancel()


async def test_a_consumer_that_is_cancelled_leaves_nothing_behind() -> None:
    source = script(endless=True)

    with anyio.CancelScope() as scope:
        async with source | Same() | hops.Prefetch() | Same() as events:
            async for _ in events:
                scope.cancel()

    assert (scope.cancelled_caught, source.closed) == (True, True)


async def test_the_source_is_read_no_further_than_the_hop_s_size() -> None:
    source = Script(*[[number] for number in range(100)])

    async with source | Same() | hops.Prefetch(5) | Same() as items:
        await anext(items)
        await wait_all_tasks_blocked()
        assert source.reads <= 11  # the buffered items, and those passed on in one read
        assert [item async for item in items] == list(range(1, 100))


async def test_an_error_of_opening_is_raised_and_leaves_nothing() -> None:
    class Refused(Script):
        async def open(self) -> None:
            raise sk.errors.ConnectFailed("refused")

    with pytest.raises(sk.errors.ConnectFailed):
        await all_of(Refused() | Same() | hops.Prefetch() | Same())


# Rejected compositions


@dataclass
class Wraps(sk.AsyncStage[Any, Any]):
    stage: Any

    def inner(self) -> Iterable[Any]:
        return (self.stage,)

    async def feed(self, item: Any) -> Iterable[Any]:
        return (item,)


async def unchanged(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for event in events:
        yield event


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: hops.RateLimit(0), "finite and more than 0, found 0 and 1"),
    (lambda: hops.RateLimit(1, -1), "finite and more than 0, found 1 and -1"),
    (lambda: hops.RateLimit(float("nan")), "finite and more than 0, found nan and 1"),
    (lambda: hops.RateLimit(float("inf")), "finite and more than 0, found inf and 1"),
    (lambda: hops.RateLimit(True), "finite and more than 0, found True and 1"),
    (lambda: hops.RateLimit("1"), "finite and more than 0, found '1' and 1"),  # type: ignore[arg-type]
    (lambda: hops.RateLimit(1, cost=1), "cost: expected a function of an item"),  # type: ignore[arg-type]
    (lambda: hops.RateLimit(1, size=0), "a size of 1 or more, found 0"),
    (lambda: hops.FromGenerator(unchanged, 0), "a size of 1 or more, found 0"),
    (lambda: hops.FromGenerator(1), "an async generator function, found an object of type int"),  # type: ignore[arg-type]
    (lambda: hops.Prefetch(0), "a size of 1 or more, found 0"),
    (lambda: hops.GroupBy(1, Same()), "key: expected a function"),  # type: ignore[arg-type]
    (lambda: hops.GroupBy(str, Same(), size=0), "a size of 1 or more, found 0"),
    (lambda: hops.GroupBy(str, Same(), groups=0), "a number_of_groups of 1 or more, found 0"),
    (lambda: hops.Latest(shout, of="text"), "of: expected a class, or a tuple of them"),  # type: ignore[arg-type]
    (lambda: hops.Latest(shout, size=0), "a size of 1 or more, found 0"),
    (lambda: hops.Latest(1), "expected a function, found an object of type int"),  # type: ignore[arg-type]
    (lambda: hops.Threaded(Same(), -1), "over: expected a whole number of 0 or more, found -1"),
    (lambda: hops.ConcurrentMap(shout, 0), "a concurrency of 1 or more, found 0"),
    (lambda: hops.ConcurrentMap(shout, ahead=0), "a number_ahead of 1 or more, found 0"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_options_of_a_hop_are_refused_when_it_is_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        make()


async def test_a_hop_has_no_place_inside_of_a_stage() -> None:
    with pytest.raises(sk.PipelineError, match="Prefetch is a task boundary and runs only in a stream"):
        script() | Wraps(Same() | hops.Prefetch() | Same())  # pyright: ignore[reportUnusedExpression]
    with pytest.raises(sk.PipelineError, match="Prefetch is a task boundary"):
        await hops.Prefetch().feed(1)


async def test_a_stream_with_a_hop_has_no_checkpoint() -> None:
    async with script() | Same() | hops.Prefetch() as events:
        with pytest.raises(sk.PipelineError, match="a stream with a hop has no checkpoint"):
            events.checkpoint()
    with pytest.raises(sk.PipelineError, match="a stream with a hop has no checkpoint"):
        (Same() | hops.Prefetch()).open(script(), checkpoint={})


async def test_what_gives_several_streams_is_none() -> None:
    with pytest.raises(sk.PipelineError, match="found an object of type EnteredOnce"):
        hops.tee(script() | Same()) | Same()  # type: ignore[operator] # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


async def test_moderation_is_still_checked_over_the_whole_pipeline() -> None:
    with pytest.raises(sk.PipelineError, match="put Moderate first"):
        sk.Accumulate() | hops.Prefetch() | sk.Moderate(sk.Rule("a", ("b",)))


async def test_a_hop_of_one_s_own() -> None:
    @dataclass
    class Doubled(Hop[Any, Any]):
        opened: list[str] = field(default_factory=list[str])

        def join(self, items: Any) -> Any:
            return hops.from_generator(self.double, items)

        async def double(self, items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
            async for item in items:
                yield item
                yield item

    assert await all_of([1, 2] | Same() | Doubled() | Same()) == [1, 1, 2, 2]


async def test_it_is_shown_as_it_is_written() -> None:
    pipeline = Same() | hops.Prefetch(64) | hops.ConcurrentMap(shout, 4)

    assert repr(pipeline) == (
        "Same() | hops.Prefetch(size=64) | "
        "hops.ConcurrentMap(function=ops.named('tests.hops.test_joined:shout'), concurrency=4)"
    )


async def test_a_hop_can_be_pickled_and_copied() -> None:
    pipeline = hops.Prefetch(64) | hops.ConcurrentMap(shout, 4) | sk.Accumulate()

    assert repr(pickle.loads(pickle.dumps(pipeline))) == repr(pipeline) == repr(pipeline.fresh())
    assert await (script() | pickle.loads(pickle.dumps(pipeline))).text() == "HELLO, WORLD"


@dataclass
class Halves(sk.Stage[Any, Any]):
    """Returns two items for each input item, so that bursts grow."""

    def feed(self, item: Any) -> Iterable[Any]:
        return (item, item)


async def test_bursts_of_any_size_keep_their_order() -> None:
    source = Script(list(range(50)), list(range(50, 60)), [60])

    found = await all_of(source | Halves() | hops.Prefetch(7) | Halves() | hops.Prefetch(1) | Same())

    assert found == [number for number in range(61) for _ in range(4)]


# Without an `async with` of the caller


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_with_a_hop_is_read_without_async(backend: Any) -> None:
    source = script()

    assert list(hops.sync(source | Same() | hops.ConcurrentMap(shout) | Same(), backend=backend)) == SHOUTED
    assert source.closed
    with hops.sync(script(endless=True) | Same() | hops.Prefetch() | Same(), backend=backend) as events:
        assert next(events) == EVENTS[0]
    assert hops.sync(script() | hops.Prefetch() | sk.Accumulate(), backend=backend).final().text == "Hello, world"


async def test_fallback_refuses_a_stream_with_a_hop_and_stands_before_one() -> None:
    with pytest.raises(sk.PipelineError, match="put the hop behind it"):
        await (hops.fallback(script() | Same() | hops.Prefetch()) | Same()).collect()

    assert await (hops.fallback(script() | Same()) | hops.Prefetch() | ops.Coalesce()).text() == "Hello, world"


async def test_a_pipeline_file_may_name_a_hop() -> None:
    pipeline: Any = sk.pipelines.loads(
        """
        [[stage]]
        use = "Coalesce"

        [[stage]]
        use = "Prefetch"
        size = 64

        [[stage]]
        use = "ConcurrentMap"
        function = { named = "tests.hops.test_joined:shout" }
        concurrency = 4
        """
    )

    assert await (script() | pipeline | ops.Coalesce()).text() == "HELLO, WORLD"


CONTEXTS: dict[str, Callable[[], Any]] = {
    "prefetch": lambda: hops.prefetch(Script([1]) | Same()),
    "race": lambda: hops.race(Script([1]) | Same()),
    "tee": lambda: hops.tee(Script([1]) | Same()),
    "broadcast": lambda: hops.broadcast(Script([1]) | Same()),
    "group_by": lambda: hops.group_by(Script([1]) | Same(), abs),
    "shared": lambda: hops.shared(abs, lambda _: Script([1])),
}


@pytest.mark.parametrize(("name", "make"), CONTEXTS.items(), ids=CONTEXTS)
async def test_a_hop_is_entered_once_and_says_so(name: str, make: Callable[[], Any]) -> None:
    context = make()
    async with context:
        pass

    with pytest.raises(sk.PipelineError, match=rf"hops\.{name}\(…\) was entered before: call hops\.{name} for each"):
        await context.__aenter__()
