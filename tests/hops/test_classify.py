"""The hop that judges while the stream is read on: bounded, in order, and nothing is left of it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import Event, Finish, StreamEnd, TextDelta
from streamkit.events import Checked
from streamkit.hops import classify
from streamkit.moderation import Decision, Window, Windows
from tests.kit import settled, text

pytestmark = pytest.mark.anyio
END = StreamEnd("completed", True)


@dataclass
class Desk:
    """A classifier whose verdicts are given by the test, window by window."""

    waiting: dict[str, anyio.Event] = field(default_factory=dict)
    answers: dict[str, Decision | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    cancelled: list[str] = field(default_factory=list)
    came: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, window: Window, /) -> Decision:
        self.asked.append(window.text)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        event = self.waiting[window.text] = anyio.Event()
        self.came.set()
        try:
            await event.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(window.text)
            raise
        finally:
            self.at_once -= 1
        answer = self.answers[window.text]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def say(self, text: str, answer: Decision | Exception = Decision()) -> None:  # noqa: B008 # it is frozen
        self.answers[text] = answer
        self.waiting.pop(text).set()


@dataclass
class Answer:
    """A stream of events that tells how far it is and whether it was closed; `gate` lets it go on to its end."""

    events: list[Event]
    error: Exception | None = None
    gate: anyio.Event | None = None
    given: int = 0
    closed: bool = False

    async def __call__(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                self.given += 1
                yield event
            if self.gate:
                await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()  # closing may wait
            self.closed = True


@dataclass
class Reader:
    """Reads in a task, so that the test can look on."""

    seen: list[Event] = field(default_factory=list)
    error: Exception | None = None
    ended: bool = False
    said: list[Checked] = field(default_factory=list)

    async def __call__(self, events: Any) -> None:
        try:
            async for event in events:
                (self.said if isinstance(event, Checked) else self.seen).append(event)
        except Exception as error:
            self.error = error
        self.ended = True


ONE_BY_ONE: dict[str, Any] = {"windows": Windows(sentences=1), "merge": 0}
BLOCK = Decision("block", "violence")


async def test_windows_are_judged_side_by_side_and_leave_in_their_order() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer([*text("One. ", "Two. ", "Three. "), Finish("stop"), END])
    async with classify(answer(), desk, **ONE_BY_ONE) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        assert sorted(desk.asked) == ["One. ", "Three. ", "Two. "]
        desk.say("Three. ")
        desk.say("Two. ")
        await settled()
        assert reader.seen == []
        desk.say("One. ")
        await settled()
        assert reader.ended
    assert reader.seen == [*text("One. ", "Two. ", "Three. "), Finish("stop"), END]
    assert [(checked.start, checked.outcome) for checked in reader.said] == [
        (0, "passed"),
        (5, "passed"),
        (10, "passed"),
    ]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_order_the_verdicts_come_in_the_same_leaves(seed: int) -> None:
    order, desk, reader = Random(seed), Desk(), Reader()
    sentences = [f"Sentence {number}. " for number in range(12)]
    answer = Answer([*text(*sentences), Finish("stop"), END])
    async with (
        classify(answer(), desk, windows=Windows(sentences=1), merge=0, concurrency=5, ahead=7) as events,
        anyio.create_task_group() as group,
    ):
        group.start_soon(reader, events)
        while not reader.ended:
            await settled()
            if desk.waiting:
                chosen = order.choice(sorted(desk.waiting))
                desk.say(chosen, BLOCK if chosen == "Sentence 8. " else Decision())
    assert reader.seen == [
        *text(*sentences[:8]),
        sk.Blocked("violence", 96, 108, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
async def test_no_more_than_so_many_are_judged_at_once(concurrency: int) -> None:
    desk, reader = Desk(), Reader()
    sentences = [f"Sentence {number}. " for number in range(8)]
    async with (
        classify(Answer([*text(*sentences), END])(), desk, concurrency=concurrency, **ONE_BY_ONE) as events,
        anyio.create_task_group() as group,
    ):
        group.start_soon(reader, events)
        for number in range(8):
            await settled()
            assert len(desk.waiting) == min(concurrency, 8 - number)
            desk.say(sentences[number])
    assert desk.most_at_once == concurrency
    assert reader.seen == [*text(*sentences), END]


async def test_text_that_comes_while_a_check_is_under_way_is_judged_together() -> None:
    desk, reader = Desk(), Reader()
    pieces = ["One. ", "Two. ", "Three. ", "Four. ", "Fi"]
    async with (
        classify(
            Answer([*text(*pieces), END])(), desk, concurrency=1, windows=Windows(sentences=1), merge=18
        ) as events,
        anyio.create_task_group() as group,
    ):
        group.start_soon(reader, events)
        for window in ("One. ", "Two. Three. Four. ", "Fi"):
            await settled()
            desk.say(window)
        await settled()
        assert reader.ended
        assert (events.report.calls, events.report.windows, events.report.characters) == (3, 3, 25)
    assert reader.seen == [*text(*pieces), END]
    assert [(checked.start, checked.end) for checked in reader.said] == [(0, 5), (5, 23), (23, 25)]


async def test_reading_stops_while_as_many_events_wait_as_are_allowed_or_as_many_windows() -> None:
    answer, desk = Answer([*text(*(f"{number}. " for number in range(50))), END]), Desk()
    async with classify(answer(), desk, ahead=5, **ONE_BY_ONE):
        await settled()
        assert (answer.given, len(desk.waiting)) == (5, 4)
    answer = Answer([*(sk.events.ProviderNotice("ping") for _ in range(50)), END])
    async with classify(answer(), desk, ahead=5) as events:
        await settled()
        assert answer.given == 5
        assert await anext(events) == sk.events.ProviderNotice("ping")
        await settled()
        assert answer.given == 6


async def test_on_a_block_checks_are_cancelled_and_the_source_is_closed_before_the_end_is_delivered() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer(text("One. ", "You kill. ", "Three. "), gate=anyio.Event())
    async with classify(answer(), desk, **ONE_BY_ONE) as events, anyio.create_task_group() as group:
        await settled()
        desk.say("One. ")
        await settled()
        desk.say("You kill. ", BLOCK)
        assert not answer.closed
        found: list[Event] = []
        async for event in events:
            found.append(event)
            if isinstance(event, sk.Blocked | Finish | StreamEnd):
                assert answer.closed
        group.start_soon(reader, events)
    assert desk.cancelled == ["Three. "]
    assert [event for event in found if not isinstance(event, Checked)] == [
        *text("One. "),
        sk.Blocked("violence", 5, 15, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert (reader.seen, reader.ended, reader.error) == ([], True, None)


async def test_a_verdict_that_blocks_closes_the_source_though_what_is_before_it_is_still_judged() -> None:
    desk, answer = Desk(), Answer(text("One. ", "You kill. ", "Three. ", "Four. ", "Five. "), gate=anyio.Event())
    async with classify(answer(), desk, **ONE_BY_ONE, ahead=3) as events:
        await settled()
        assert answer.given == 3
        desk.say("You kill. ", BLOCK)
        await settled()
        assert answer.closed
        desk.say("One. ")
        found = [event async for event in events if not isinstance(event, Checked)]
    assert found == [
        *text("One. "),
        sk.Blocked("violence", 5, 15, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert answer.given == 3


async def test_a_blocked_choice_does_not_stall_another() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer([*text("You kill. "), *text("All is well. ", index=1), Finish("stop", 1), END])
    async with classify(answer(), desk, choices=2) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        desk.say("All is well. ")
        await settled()
        assert reader.seen == [*text("All is well. ", index=1), Finish("stop", 1)]
        desk.say("You kill. ", BLOCK)
    assert reader.seen[2:] == [
        sk.Blocked("violence", 0, 10, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated", True),
    ]


async def test_an_error_of_the_source_is_raised_after_what_came_whole_before_it_and_again() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer(text("One. ", "Two. ", "Thr"), sk.errors.Disconnected("cut"))
    async with classify(answer(), desk, **ONE_BY_ONE) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        desk.say("Two. ")
        desk.say("One. ")
        await settled()
        with pytest.raises(sk.errors.Disconnected, match="cut"):
            await anext(events)
    assert reader.seen == text("One. ", "Two. ")
    assert isinstance(reader.error, sk.errors.Disconnected)
    assert sorted(desk.asked) == ["One. ", "Two. "]
    assert answer.closed


async def test_a_stream_and_the_error_that_its_provider_reported() -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"One. T"}}]}\n\ndata: {"error":{"message":"no"}}\n\n'
    desk, reader = Desk(), Reader()
    stream = sk.Parse().open([body]) | sk.Extract()
    async with classify(stream, desk) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        desk.say("One. ")
    assert reader.seen == [*text("One. "), StreamEnd("provider_error", open_choices=(0,))]
    assert isinstance(reader.error, sk.ProviderError)


@pytest.mark.parametrize("mode", ["observe", "optimistic"])
async def test_what_is_released_at_once_does_not_wait_for_a_verdict(mode: Any) -> None:
    desk, reader = Desk(), Reader()
    answer = Answer([*text("One. ", "You kill. ", "Three. "), Finish("stop"), END])
    async with classify(answer(), desk, mode=mode, **ONE_BY_ONE) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        at_once = [*text("One. ", "You kill. ", "Three. "), *([Finish("stop")] if mode == "observe" else [])]
        assert reader.seen == at_once
        desk.say("You kill. ", BLOCK)
        desk.say("One. ")
        await settled()
        if mode == "observe":
            desk.say("Three. ")
    assert (
        reader.seen[len(at_once) :]
        == {
            "observe": [sk.Blocked("violence", 5, 15, source="classifier"), END],
            "optimistic": [
                sk.Blocked("violence", 5, 15, source="classifier"),
                sk.events.Retracted("violence", 5, 22, 5, 22),
                Finish("content_filter"),
                StreamEnd("moderated"),
            ],
        }[mode]
    )


async def test_a_failed_check_is_answered_by_the_policy() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer([*text("One. ", "Two. "), END])
    failures = sk.moderation.Failures(connect="open", status="hold", pause=0)
    async with classify(answer(), desk, failures=failures, **ONE_BY_ONE) as events, anyio.create_task_group() as group:
        group.start_soon(reader, events)
        await settled()
        desk.say("One. ", sk.errors.ConnectFailed("no"))
        desk.say("Two. ", sk.StatusError("429", status=429))
        await settled()
        assert reader.seen == text("One. ")
        desk.say("Two. ")
    assert reader.seen == [*text("One. ", "Two. "), END]
    assert [(checked.outcome, checked.failure, checked.calls) for checked in reader.said] == [
        ("failed_open", "connect", 1),
        ("passed", "", 2),
    ]


async def test_a_stalled_streams_text_is_judged_when_its_time_has_come() -> None:
    desk, answer = Desk(), Answer(text("Half a sent"), gate=anyio.Event())
    async with classify(answer(), desk, windows=Windows(sentences=1, seconds=0.001)) as events:
        await desk.came.wait()
        desk.say("Half a sent")
        found = [await anext(events), await anext(events)]
    assert found[1] == TextDelta("Half a sent")


# Nothing is left


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("ending", ["break", "error", "cancellation", "aclose"])
async def test_leaving_at_any_moment_cancels_the_checks_and_closes_the_source(ending: str, steps: int) -> None:
    desk, answer = Desk(), Answer(text("One. ", "Two. ", "Three. "), gate=anyio.Event())
    with anyio.CancelScope() as scope:
        try:
            async with classify(answer(), desk, windows=Windows(sentences=1, seconds=60), merge=0) as events:
                for _ in range(steps):
                    await checkpoint()
                    if "One. " in desk.waiting:
                        desk.say("One. ")
                match ending:
                    case "error":
                        raise LookupError("mine")
                    case "cancellation":
                        scope.cancel()
                        await anext(events)
                        await checkpoint()
                    case "aclose":
                        await events.aclose()
                        assert answer.closed or not answer.given
                        assert desk.at_once == 0
                        with pytest.raises(StopAsyncIteration):
                            await anext(events)
                    case _:
                        pass
        except LookupError as error:
            assert error.args == ("mine",)  # noqa: PT017 # as it was raised, and in no group
        finally:
            assert answer.closed or not answer.given
            assert desk.at_once == 0


async def test_a_read_that_was_cancelled_can_be_asked_again_and_no_event_is_lost() -> None:
    desk, answer = Desk(), Answer([*text("One. "), END])
    async with classify(answer(), desk) as events:
        with anyio.move_on_after(0.001) as waited:
            await anext(events)
        assert waited.cancelled_caught
        desk.say("One. ")
        assert [event async for event in events] == [Checked("passed", 0, 5), *text("One. "), END]


async def test_an_error_while_closing_is_raised_if_nothing_else_is() -> None:
    async def stubborn() -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta("a")
            yield TextDelta("b")
        finally:
            raise LookupError("stuck")

    with pytest.raises(LookupError, match="stuck"):
        async with classify(stubborn(), Desk(), mode="observe", ahead=1):
            await settled()
    with pytest.raises(ValueError, match="mine"):
        async with classify(stubborn(), Desk(), mode="observe", ahead=1):
            await settled()
            raise ValueError("mine")


async def test_in_a_cancelled_block_nothing_is_opened() -> None:
    answer = Answer(text("a"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with classify(answer(), Desk()) as events:
            await anext(events)
    assert answer.given == 0


async def test_what_makes_no_sense_is_refused_at_once() -> None:
    for options in ({"concurrency": 0}, {"ahead": 0}):
        with pytest.raises(sk.PipelineError, match="of 1 or more, found 0"):
            async with classify(Answer([])(), Desk(), **options):
                pass


async def test_it_is_a_source_for_further_stages() -> None:
    desk, reader = Desk(), Reader()
    answer = Answer([*text("One. ", "You kill. "), Finish("stop"), END])
    async with (
        classify(answer(), desk, **ONE_BY_ONE) as events,
        events | sk.Accumulate() as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(reader, stream)
        await settled()
        desk.say("One. ")
        desk.say("You kill. ", BLOCK)
    (whole,) = [event for event in reader.seen if isinstance(event, sk.Completion)]
    assert (whole.text, whole.end, whole.choices[0].finish_reason) == ("One. ", "moderated", "content_filter")
