"""An input check beside the answer: nothing is released before its decision, and the answer is closed when that blocks."""

from collections.abc import AsyncGenerator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import Event, Finish, StreamEnd, TextDelta
from streamkit.events import Checked
from streamkit.hops import guarded
from streamkit.moderation import Decision
from tests.kit import settled

pytestmark = pytest.mark.anyio
END = StreamEnd("completed", True)
ANSWER: list[Event] = [TextDelta("One. "), TextDelta("Two. "), Finish("stop"), END]
PASSED = Checked("passed", 0, 0, "prompt")


@dataclass
class Check:
    """A check of the input whose decision is made by the test."""

    decision: Decision | Exception = field(default_factory=Decision)
    decided: anyio.Event = field(default_factory=anyio.Event)
    calls: int = 0
    cancelled: bool = False

    async def __call__(self) -> Decision:
        self.calls += 1
        try:
            await self.decided.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision


@dataclass
class Answer:
    """An answer that shows how far it was read and whether it was closed."""

    events: list[Event] = field(default_factory=lambda: list(ANSWER))
    error: Exception | None = None
    goes_on: anyio.Event | None = None
    given: int = 0
    closed: bool = False

    async def __call__(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                self.given += 1
                yield event
            if self.goes_on:
                await self.goes_on.wait()
            if self.error:
                raise self.error
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            self.closed = True


@dataclass
class Reader:
    """Reads in a task, so that the test can look on."""

    seen: list[Event] = field(default_factory=list)
    error: Exception | None = None
    ended: bool = False

    async def __call__(self, events: Any) -> None:
        try:
            async for event in events:
                self.seen.append(event)
        except Exception as error:
            self.error = error
        self.ended = True


async def test_nothing_is_released_before_the_decision_and_then_the_whole_answer() -> None:
    check, answer, reader = Check(), Answer(), Reader()
    async with guarded(answer(), check) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        assert (reader.seen, answer.given) == ([], 4)
        check.decided.set()
    assert reader.seen == [PASSED, *ANSWER]


async def test_after_the_decision_the_first_token_arrives_when_the_answer_has_one() -> None:
    check, reader, started = Check(), Reader(), anyio.Event()
    check.decided.set()

    async def late() -> AsyncGenerator[Event, None]:
        await started.wait()
        for event in ANSWER:
            yield event

    async with guarded(late(), check) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        assert reader.seen == [PASSED]
        started.set()
    assert reader.seen == [PASSED, *ANSWER]


@pytest.mark.parametrize("action", ["redact", "replace", "block"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["in mid-answer", "after the answer"])
async def test_a_block_closes_the_answer_before_its_end_is_delivered(action: Any, goes_on: bool) -> None:
    check = Check(Decision(action, "injection", message="No."))
    answer = Answer(goes_on=anyio.Event() if goes_on else None)
    found: list[Event] = []
    async with guarded(answer(), check, choices=2) as events:
        await settled()
        check.decided.set()
        async for event in events:
            assert answer.closed
            found.append(event)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert (events.report.flagged, events.report.stopped) == (1, True)
    assert found == [
        Checked("flagged", 0, 0, "prompt", category="injection"),
        sk.Blocked("injection", 0, 0, "prompt", source="classifier"),
        TextDelta("No."),
        Finish("content_filter"),
        sk.Blocked("injection", 0, 0, "prompt", 1, source="classifier"),
        TextDelta("No.", 1),
        Finish("content_filter", 1),
        StreamEnd("moderated"),
    ]


async def test_an_annotation_is_reported_before_the_answer() -> None:
    check = Check(Decision("annotate", "odd", {"odd": 0.9}, severity="low"))
    check.decided.set()
    async with guarded(Answer()(), check) as events:
        found = [event async for event in events]
    assert found == [
        Checked("flagged", 0, 0, "prompt", category="odd", scores={"odd": 0.9}),
        sk.events.Flagged("odd", 0, 0, "prompt", severity="low", source="classifier"),
        *ANSWER,
    ]


@pytest.mark.parametrize(("policy", "passes"), [("open", True), ("closed", False)])
async def test_a_check_that_fails_is_decided_by_the_policy(policy: Any, passes: bool) -> None:
    check = Check(sk.errors.ConnectFailed("no"))
    check.decided.set()
    async with guarded(Answer()(), check, failures=policy) as events:
        found = [event async for event in events]
    assert isinstance(found[0], Checked)
    assert (found[0].outcome, found[0].failure) == (f"failed_{policy}", "connect")
    assert (found[1:] == ANSWER) is passes
    assert (found[-1] == StreamEnd("moderated")) is not passes


async def test_a_check_that_takes_longer_than_its_deadline_is_a_failure() -> None:
    check = Check()
    async with guarded(Answer()(), check, deadline=0.01) as events:
        found = [event async for event in events]
    assert check.cancelled
    assert found[0] == Checked("failed_closed", 0, 0, "prompt", category="unchecked", failure="timeout")


async def test_what_is_no_decision_does_not_pass_for_one() -> None:
    async def forgot() -> Any:
        return None

    async with guarded(Answer()(), forgot) as events:
        assert await anext(events) == Checked("failed_closed", 0, 0, "prompt", category="unchecked", failure="answer")


@pytest.mark.parametrize("blocks", [True, False])
async def test_an_error_of_the_answer_is_raised_after_what_came_before_it_if_the_input_passes(blocks: bool) -> None:
    check, reader = Check(Decision("block" if blocks else "allow")), Reader()
    answer = Answer([TextDelta("One. ")], sk.errors.Disconnected("cut"))
    async with guarded(answer(), check) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        assert reader.seen == []
        check.decided.set()
    if blocks:
        assert (reader.seen[-1], reader.error) == (StreamEnd("moderated"), None)
    else:
        assert reader.seen == [PASSED, TextDelta("One. ")]
        assert isinstance(reader.error, sk.errors.Disconnected)


async def test_reading_stops_while_as_many_events_are_buffered_as_are_allowed() -> None:
    check, answer = Check(), Answer([*(TextDelta(f"{number} ") for number in range(50)), END])
    async with guarded(answer(), check, ahead=5) as events:
        await settled()
        assert answer.given == 5
        check.decided.set()
        assert len([event async for event in events]) == 52


@pytest.mark.parametrize("ending", ["break", "error", "cancellation", "aclose"])
@pytest.mark.parametrize("steps", range(6))
async def test_leaving_at_any_moment_cancels_the_check_and_closes_the_answer(ending: str, steps: int) -> None:
    check, answer = Check(), Answer(goes_on=anyio.Event())
    with anyio.CancelScope() as scope:
        try:
            async with guarded(answer(), check) as events:
                for _ in range(steps):
                    await checkpoint()
                match ending:
                    case "error":
                        raise LookupError("mine")
                    case "cancellation":
                        scope.cancel()
                        await anext(events)
                    case "aclose":
                        await events.aclose()
                        with pytest.raises(StopAsyncIteration):
                            await anext(events)
                    case _:
                        pass
        except LookupError:
            assert ending == "error"
    assert answer.closed or not answer.given
    assert check.cancelled or not check.calls


@pytest.mark.parametrize("action", ["allow", "annotate", "block"])
@pytest.mark.parametrize("steps", range(10))
async def test_after_aclose_nothing_is_released_whatever_is_decided_meanwhile(action: Any, steps: int) -> None:
    check, answer = Check(Decision(action, "injection", message="No.")), Answer(goes_on=anyio.Event())
    async with guarded(answer(), check) as events:
        check.decided.set()
        for _ in range(steps):
            await checkpoint()
        await events.aclose()
        await settled()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert not events.report.stopped or action == "block"
    assert answer.closed or not answer.given


@pytest.mark.parametrize("action", ["allow", "annotate", "block", None])
@pytest.mark.parametrize("steps", range(10))
async def test_a_read_after_the_block_was_left_neither_waits_nor_ends_as_if_complete(action: Any, steps: int) -> None:
    check, answer = Check(Decision(action or "allow", "injection")), Answer(goes_on=anyio.Event())
    found: list[Event] = []
    async with guarded(answer(), check) as events:
        if action:
            check.decided.set()
        for _ in range(steps):
            await checkpoint()
    try:
        while True:
            found.append(await anext(events))
    except sk.errors.StreamInterrupted:
        assert StreamEnd("moderated") not in found
    except StopAsyncIteration:
        assert found[-1] == StreamEnd("moderated")
    assert not (found and action is None)
    assert not (set(map(type, found)) & {TextDelta} and action == "block")


@pytest.mark.parametrize("fails", ["before the decision", "after it", "when it is closed"])
@pytest.mark.parametrize("action", ["allow", "block"])
async def test_an_answer_that_fails_at_any_time_is_decided_first(action: Any, fails: str) -> None:
    check, closing = Check(Decision(action)), sk.errors.Disconnected("cut")

    async def answer() -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta("One. ")
            if fails == "after it":
                await check.decided.wait()
                await settled()
            if fails != "when it is closed":
                raise closing
            for _ in range(9):
                yield TextDelta("more ")
        finally:
            if fails == "when it is closed":
                raise closing

    found: list[Event] = []
    with pytest.raises(sk.errors.Disconnected) if action == "allow" or fails == "when it is closed" else nullcontext():
        async with guarded(answer(), check, ahead=1) as events:
            await settled()
            check.decided.set()
            async for event in events:
                found.append(event)
                if fails == "when it is closed" and isinstance(event, TextDelta):
                    break
    expected = [PASSED, TextDelta("One. ")] if action == "allow" else [Finish("content_filter"), StreamEnd("moderated")]
    assert found[-2:] == expected


@pytest.mark.parametrize(
    "events",
    [[], [StreamEnd("truncated")], [TextDelta("lost "), sk.events.Reset("lost"), TextDelta("One. "), END]],
    ids=["empty", "an end alone", "a reset"],
)
@pytest.mark.parametrize("blocks", [True, False])
async def test_any_answer_passes_as_it_is_or_not_at_all(events: list[Event], blocks: bool) -> None:
    check = Check(Decision("block", "injection") if blocks else Decision())
    async with guarded(Answer(events)(), check) as guard:
        await settled()
        check.decided.set()
        found = [event async for event in guard]
    assert (found == [PASSED, *events]) is not blocks
    assert (
        found[1:3] == [sk.Blocked("injection", 0, 0, "prompt", source="classifier"), Finish("content_filter")]
    ) is blocks


@pytest.mark.parametrize("raised", [StopAsyncIteration(), TimeoutError(), anyio.get_cancelled_exc_class], ids=str)
async def test_whatever_a_check_raises_blocks(raised: Any) -> None:
    async def check() -> Decision:
        error: BaseException = raised() if callable(raised) else raised
        raise error

    if callable(raised) and anyio.get_cancelled_exc_class().__module__.startswith("trio"):
        pytest.skip("no other code can create trio's")
    async with guarded(Answer()(), check) as events:
        found = [event async for event in events]
    assert isinstance(found[0], Checked)
    assert (found[0].outcome, found[-1]) == ("failed_closed", StreamEnd("moderated"))


async def test_it_is_a_source_for_further_stages() -> None:
    check = Check(Decision("block", "injection"))
    check.decided.set()
    async with guarded(Answer()(), check) as events, events | sk.Accumulate() as stream:
        found = [event async for event in stream if isinstance(event, sk.Completion)]
    assert (found[0].text, found[0].end, found[0].choices[0].finish_reason) == ("", "moderated", "content_filter")
    assert found[0].choices[0].verdicts[0].channel == "prompt"


async def test_what_makes_no_sense_is_refused_at_once() -> None:
    for check, options in ((Check(), {"ahead": 0}), (Check(), {"choices": 0}), ("no", {})):
        with pytest.raises(sk.PipelineError, match=r"of 1 or more, found 0|expected an async function"):
            async with guarded(Answer([])(), check, **options):  # type: ignore[arg-type]
                pass
