"""The testing kit beside the laws: scripted sources, a virtual clock, a check for leaks, strategies, fixtures."""

import asyncio
import importlib
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Accumulate, Completion, Event, Extract, Parse, Stage, StreamEnd, TextDelta, Timing, stage
from streamkit.sse import Lines
from streamkit.testing import HANG, Scripted, VirtualClock, Wait, no_leaks, strategies


@stage
def pass_on(item: Any) -> list[Any]:
    return [item]


@pytest.mark.anyio
async def test_a_scripted_source_gives_what_the_steps_say() -> None:
    called: list[str] = []
    source = Scripted[Any](1, [2, 3], [], lambda: called.append("here"), 4, ValueError("broken"), 5)
    found: list[Any] = []

    with pytest.raises(ValueError, match="broken"):
        async for item in pass_on.open(source):
            found.append(item)

    assert found == [1, 2, 3, 4]
    assert called == ["here"]
    assert (source.opened, source.closed, source.left) == (1, 1, [5])


@pytest.mark.anyio
async def test_time_passes_on_the_scripts_clock_alone() -> None:
    source = Scripted[Event](Wait(0.5), TextDelta("a"), Wait(2), TextDelta("b"), StreamEnd("completed"))
    async with Timing().open(source) as stream:
        events = [event async for event in stream]

    assert stream.stage(Timing).timings.deltas == (0.5, 2.5)
    assert events[-1] == StreamEnd("completed")


@pytest.mark.anyio
async def test_what_hangs_ends_when_it_is_cancelled() -> None:
    source = Scripted[Any](1)
    stream = pass_on.open(source)
    source.left += [stream.cancel, HANG]

    assert [item async for item in stream] == [1, StreamEnd("cancelled")]
    assert source.closed == 1


def test_a_virtual_clock_moves_when_it_is_told_to(virtual_clock: VirtualClock) -> None:
    assert virtual_clock() == 0.0
    virtual_clock.advance(1.5)
    assert virtual_clock() == 1.5


def test_nothing_left_is_no_complaint(nothing_is_left: None) -> None:
    assert list(pass_on.run([1])) == [1]


@pytest.mark.asyncio
async def test_a_task_that_is_left_is_named() -> None:
    task = None
    with pytest.raises(AssertionError, match="left behind: a task: stray"):
        with no_leaks():
            task = asyncio.create_task(asyncio.Event().wait(), name="stray")
    assert task is not None
    task.cancel()


def test_an_open_file_that_is_left_is_counted() -> None:
    files: list[Any] = []
    with pytest.raises(AssertionError, match="left behind: open files: 1"):
        with no_leaks():
            files.append(open(__file__, "rb"))  # noqa: SIM115
    files[0].close()


def test_what_is_dropped_with_a_complaint_is_reported() -> None:
    class Complains:
        def __del__(self) -> None:
            raise RuntimeError("lost")

    with pytest.raises(AssertionError, match="lost in a finalizer: RuntimeError: lost"):
        with no_leaks():
            Complains()


@pytest.mark.asyncio
async def test_a_stream_that_is_dropped_is_reported() -> None:
    with pytest.raises(AssertionError, match="ResourceWarning: a stream was dropped before its end"):
        with no_leaks():
            stream = pass_on.open([1, 2, 3])
            assert await anext(stream) == 1
            del stream


PIPELINE: Stage[bytes, Event] = Lines() | Parse() | Extract() | Accumulate()


@settings(max_examples=50, deadline=None, database=None)
@given(st.data())
def test_the_strategies_give_bodies_that_say_what_they_tell(data: st.DataObject) -> None:
    text, body = data.draw(strategies.chat_bodies())
    events = list(PIPELINE.run(data.draw(strategies.cuts(body))))

    (completion,) = [event for event in events if isinstance(event, Completion)]
    assert completion.text == text
    assert completion.end == "completed"


@settings(max_examples=50, deadline=None, database=None)
@given(strategies.answers())
def test_the_strategies_give_answers_that_end_once(events: list[Event]) -> None:
    assert [event for event in events if isinstance(event, StreamEnd)] == events[-1:]
    assert all(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("module", "missing", "message"),
    [
        (
            "streamkit.sinks.starlette",
            "starlette.background",
            "streamkit.sinks.starlette needs starlette: install starlette or fastapi",
        ),
        (
            "streamkit.testing.strategies",
            "hypothesis",
            "streamkit.testing.strategies needs hypothesis: install the extra 'testing' of streamkit-llm "
            "(in a clone: pip install '.[testing]')",
        ),
    ],
)
def test_a_module_that_needs_another_package_names_it(
    module: str, missing: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(module)
    assert str(caught.value) == message
