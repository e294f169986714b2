"""Ways to read a stream: as a whole, without async, and in which context."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit import ops

END = sk.StreamEnd("completed", True)
EVENTS = [sk.TextDelta("Hello"), sk.TextDelta("other", 1), sk.TextDelta(", world"), sk.Finish("stop"), END]
who: ContextVar[str] = ContextVar("who", default="nobody")


class Script(sk.Source[Any]):
    """Return the bursts, then raise an error or wait forever. Records whether it was closed."""

    def __init__(self, *bursts: list[Any], error: Exception | None = None, endless: bool = False) -> None:
        self.bursts = iter(bursts)
        self.error = error
        self.endless = endless
        self.opened = self.closed = False
        self.reading = threading.Event()

    async def open(self) -> None:
        self.opened = True

    async def read(self) -> Sequence[Any]:
        await anyio.lowlevel.checkpoint()
        burst = next(self.bursts, None)
        if burst is None and self.error:
            raise self.error
        if burst is None and self.endless:
            self.reading.set()
            await anyio.sleep_forever()
        return burst or []

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed = True


@dataclass
class WhoFeeds(sk.Stage[Any, str]):
    def feed(self, item: Any) -> Iterable[str]:
        return (f"{item} {who.get()}",)

    def flush(self) -> Iterable[str]:
        return (f"flushed {who.get()}",)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "portal" in thread.name]


# As a whole


@pytest.mark.anyio
async def test_text_is_that_of_one_choice() -> None:
    assert await sk.ops.Coalesce().open(EVENTS).text() == "Hello, world"
    assert await sk.ops.Coalesce().open(EVENTS).text(1) == "other"
    assert await sk.ops.Coalesce().open(EVENTS).text(2) == ""


@pytest.mark.anyio
async def test_collect_gives_all_items_and_closes_the_source() -> None:
    source = Script(EVENTS)
    stream = source | sk.Accumulate()

    *events, completion, end = await stream.collect()

    assert [*events, end] == EVENTS
    assert isinstance(completion, sk.Completion)
    assert (stream.end, source.closed) == (END, True)


@pytest.mark.anyio
async def test_final_is_the_last_completion() -> None:
    async with sk.Accumulate().open(EVENTS) as stream:
        completion = await stream.final()

    assert (completion.text, completion.end) == ("Hello, world", "completed")


@pytest.mark.anyio
async def test_what_can_t_give_what_is_asked_for_says_so_before_anything_is_opened() -> None:
    source = Script(["data: x"])

    with pytest.raises(sk.PipelineError, match="add Accumulate"):
        await (source | sk.Parse() | sk.Extract()).final()
    with pytest.raises(sk.PipelineError, match="this one gives ServerSentEvent"):
        await (source | sk.Parse()).text()

    assert not source.opened


@pytest.mark.anyio
async def test_a_branch_may_make_the_completion() -> None:
    stage: Any = ops.Switch(lambda event: "all", {"all": sk.Accumulate()})

    assert (await stage.open(EVENTS).final()).text == "Hello, world"


@pytest.mark.anyio
async def test_a_completion_that_is_dropped_on_the_way_is_told() -> None:
    with pytest.raises(sk.PipelineError, match="drops it"):
        await (sk.Accumulate() | ops.Select(sk.TextDelta)).open(EVENTS).final()


@pytest.mark.parametrize("ask", ["text", "collect", "final"])
@pytest.mark.anyio
async def test_the_streams_error_is_raised_and_what_came_is_in_the_snapshot(ask: str) -> None:
    source = Script([sk.TextDelta("half")], error=sk.errors.Disconnected("gone"))
    stream = source | sk.Accumulate()

    with pytest.raises(sk.errors.Disconnected):
        await getattr(stream, ask)()

    assert stream.stage(sk.Accumulate).snapshot.text == "half"
    assert (stream.end, source.closed) == (sk.StreamEnd("truncated"), True)


@pytest.mark.anyio
async def test_a_cancelled_stream_has_its_text_but_no_final() -> None:
    for ask, outcome in (("text", "half"), ("final", sk.errors.StreamInterrupted)):
        stream = Script([sk.TextDelta("half")], endless=True) | sk.Accumulate()
        async with anyio.create_task_group() as group:

            async def cancel(stream: sk.Stream[Any] = stream) -> None:
                await anyio.wait_all_tasks_blocked()
                stream.cancel()

            group.start_soon(cancel)
            if isinstance(outcome, str):
                assert await getattr(stream, ask)() == outcome
            else:
                with pytest.raises(outcome):
                    await getattr(stream, ask)()
        assert stream.end == sk.StreamEnd("cancelled")


@pytest.mark.anyio
async def test_a_stage_sees_the_context_of_the_consumer() -> None:
    seen: list[object] = []
    async with WhoFeeds().open(iter(["a", "b"])) as stream:
        for name in ("Ann", "Bob", "Cem"):
            who.set(name)
            seen.append(await anext(stream))

    assert seen == ["a Ann", "b Bob", "flushed Cem"]


# Without async

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@backends
def test_a_loop_reads_all_and_nothing_is_left(backend: Any) -> None:
    source = Script(EVENTS)

    events = list(sk.hops.sync(source | ops.Coalesce(), backend=backend))

    assert events == EVENTS
    assert (source.closed, threads()) == (True, [])


@backends
def test_leaving_the_block_by_a_break_closes_the_stream_before_control_returns(backend: Any) -> None:
    source = Script(EVENTS[:1], endless=True)

    with sk.hops.sync(source | ops.Coalesce(), backend=backend) as events:
        for event in events:
            assert event == sk.TextDelta("Hello")
            break

    assert (source.closed, threads(), events.end) == (True, [], sk.StreamEnd("cancelled"))
    assert list(events) == []


def test_leaving_the_block_by_an_error_closes_too_and_the_error_is_the_one_raised() -> None:
    source = Script(EVENTS[:1], endless=True)

    with pytest.raises(KeyError), sk.hops.sync(source | ops.Coalesce()) as events:
        next(events)
        raise KeyError

    assert (source.closed, threads()) == (True, [])


def test_the_streams_error_comes_after_what_came_before_it_and_again() -> None:
    source = Script(EVENTS[:1], error=sk.errors.Disconnected("gone"))
    events = sk.hops.sync(source | ops.Coalesce())

    assert next(events) == sk.TextDelta("Hello")
    for _ in range(2):
        with pytest.raises(sk.errors.Disconnected):
            next(events)

    assert (source.closed, threads(), events.end) == (True, [], sk.StreamEnd("truncated"))


def test_a_bridge_that_is_dropped_closes_and_warns_once() -> None:
    source = Script(EVENTS[:1], endless=True)

    def leave_early() -> None:
        for _ in sk.hops.sync(source | ops.Coalesce()):
            break
        gc.collect()

    with pytest.warns(ResourceWarning, match="use `with`") as warned:
        leave_early()

    assert (source.closed, threads(), len(warned)) == (True, [], 1)


def test_the_whole_is_read_without_async_too() -> None:
    assert sk.hops.sync(Script(EVENTS) | sk.Accumulate()).text() == "Hello, world"
    assert sk.hops.sync(Script(EVENTS) | sk.Accumulate()).final().text == "Hello, world"
    assert sk.hops.sync(Script(EVENTS) | ops.Coalesce()).collect() == EVENTS
    with sk.hops.sync(Script(EVENTS) | sk.Accumulate()) as events:
        next(events)
        assert events.stage(sk.Accumulate).snapshot.text == "Hello, world"
    assert threads() == []


def test_stages_see_the_context_of_the_caller() -> None:
    with sk.hops.sync(Script(["a"], ["b"]) | WhoFeeds()) as items:
        seen: list[object] = []
        for name in ("Ann", "Bob", "Cem"):
            token = who.set(name)
            seen.append(next(items))
            who.reset(token)

    assert seen == ["a Ann", "b Bob", "flushed Cem"]


@pytest.mark.anyio
async def test_it_works_inside_a_running_loop() -> None:
    with sk.hops.sync(Script(EVENTS) | sk.Accumulate()) as events:
        assert events.text() == "Hello, world"


def test_it_is_cancelled_from_another_thread() -> None:
    source = Script(EVENTS[:1], endless=True)
    with sk.hops.sync(source | ops.Coalesce()) as events:

        def cancel() -> None:
            source.reading.wait(5)
            events.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        assert list(events) == [sk.TextDelta("Hello"), sk.StreamEnd("cancelled")]
        canceller.join()

    assert source.closed


def test_a_cancelled_bridge_that_has_not_begun_gives_only_its_end() -> None:
    events = sk.hops.sync(Script(EVENTS) | ops.Coalesce())
    events.cancel()

    assert list(events) == [sk.StreamEnd("cancelled")]


def test_closed_is_closed() -> None:
    events = sk.hops.sync(Script(EVENTS) | sk.Accumulate())
    events.close()
    events.close()

    assert list(events) == []
    with pytest.raises(sk.PipelineError, match="this stream is closed"):
        events.text()


def test_a_source_that_can_t_be_opened_leaves_no_thread() -> None:
    class Refused(Script):
        async def open(self) -> None:
            raise sk.errors.ConnectFailed("refused")

    with pytest.raises(sk.errors.ConnectFailed), sk.hops.sync(Refused() | ops.Coalesce()):
        pass

    assert threads() == []


def test_only_a_stream_can_be_bridged() -> None:
    with pytest.raises(
        sk.PipelineError, match=r"sync takes a stream \(source \| pipeline\), found an object of type list"
    ):
        sk.hops.sync([])  # type: ignore[arg-type]


def test_a_script_that_ends_in_mid_stream_ends() -> None:
    code = """
import streamkit as sk
events = sk.hops.sync(sk.ops.Coalesce().open(iter([sk.TextDelta("a"), sk.TextDelta("b")])))
print(next(events).text)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )

    assert (done.stdout, done.stderr, done.returncode) == ("a\n", "", 0)
