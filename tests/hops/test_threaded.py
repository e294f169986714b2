"""Large items are processed in a thread, in order, without blocking the event loop."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.hops import Threaded
from streamkit.testing import check_stage

LONG = "x" * 20
EVENTS: list[sk.Event] = [
    sk.TextDelta("a"),
    sk.TextDelta(LONG),
    sk.ToolCallDelta(0, "call_1", "f", LONG),
    sk.TextDelta("b"),
    sk.StreamEnd("completed", saw_done=True),
]


@dataclass
class Places(sk.Stage[sk.Event, sk.Event]):
    """Records the thread in which each event was processed."""

    _seen: list[str] = field(default_factory=list[str], init=False, repr=False)

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        self._seen.append("main" if threading.current_thread() is threading.main_thread() else "thread")
        yield item


@pytest.mark.anyio
async def test_long_items_are_in_a_thread_short_ones_in_line_and_all_in_order() -> None:
    async with Threaded(Places(), over=10).open(EVENTS) as stream:
        found = [event async for event in stream]

    assert found == EVENTS
    assert vars(stream.stage(Threaded).stage)["_seen"] == ["main", "thread", "thread", "main", "main"]


@pytest.mark.anyio
async def test_the_event_loop_goes_on_meanwhile() -> None:
    went_on, seen = threading.Event(), list[bool]()

    @sk.stage
    def wait(delta: sk.TextDelta) -> sk.TextDelta:
        # Times out if the loop is blocked: only the loop sets this event.
        seen.append(went_on.wait(20))
        return delta

    async with anyio.create_task_group() as group:

        async def beside() -> None:
            went_on.set()

        stream = Threaded(wait, over=10).open([sk.TextDelta(LONG)])
        group.start_soon(beside)
        assert [event async for event in stream] == [sk.TextDelta(LONG)]
    assert seen == [True]


@pytest.mark.anyio
async def test_what_it_produced_before_it_failed_is_not_lost_with_the_thread() -> None:
    @sk.stage
    def fail(delta: sk.TextDelta) -> Any:
        yield delta
        if delta.text == LONG:
            raise LookupError("mine")

    found: list[sk.Event] = []
    with pytest.raises(LookupError, match="mine"):
        async for event in Threaded(fail, over=10).open(EVENTS):
            found.append(event)

    assert found == EVENTS[:2]


@pytest.mark.anyio
async def test_a_count_is_the_same_in_a_thread() -> None:
    events: list[sk.Event] = [sk.TextDelta("word " * 5000), sk.TextDelta("end"), sk.StreamEnd("completed")]

    in_thread = [event async for event in Threaded(sk.Count("o200k_base")).open(events)]

    assert in_thread == list(sk.Count("o200k_base").run(events))


def test_it_keeps_the_laws() -> None:
    check_stage(Threaded(sk.Count("o200k_base"), over=3), EVENTS)


def test_a_stage_that_waits_needs_no_thread_and_is_refused() -> None:
    @sk.stage
    async def wait(delta: sk.TextDelta) -> sk.TextDelta:
        return delta

    with pytest.raises(sk.PipelineError, match="expected a sync stage, found an object of type AsyncFunctionStage"):
        Threaded(wait)  # type: ignore[arg-type]
