"""Classify: a classifier in the consumer's own pull; and what becomes of a check that gives no verdict."""

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from streamkit import (
    Accumulate,
    Blocked,
    Classify,
    Completion,
    Event,
    Extract,
    Finish,
    Parse,
    PipelineError,
    ProviderError,
    StatusError,
    StreamEnd,
    TextDelta,
)
from streamkit.errors import ConnectFailed, ContentTypeError, DeadlineExceeded, Disconnected, ProtocolError
from streamkit.events import Checked, Retracted
from streamkit.moderation import Decision, Failures, Window, Windows
from streamkit.moderation.classifiers.classifier import as_failures, failure_of, verdict_of
from tests.kit import text

pytestmark = pytest.mark.anyio
END = StreamEnd("completed", True)


@dataclass
class Scripted:
    """A classifier that says by words what it says, and remembers what it was asked."""

    answers: dict[str, Decision | Exception | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cancelled: int = 0

    async def __call__(self, window: Window, /) -> Decision:
        self.asked.append(window.text)
        try:
            await checkpoint()
            for word, answer in self.answers.items():
                if word in window.text:
                    if answer is None:
                        await anyio.sleep_forever()
                    if isinstance(answer, Exception):
                        raise answer
                    return answer or Decision()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return Decision()


@dataclass
class Answer:
    """A stream of events that tells whether it was closed."""

    events: list[Event]
    error: Exception | None = None
    given: int = 0
    closed: bool = False

    async def __call__(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                self.given += 1
                yield event
            if self.error:
                raise self.error
        finally:
            self.closed = True


KILL = Scripted({"kill": Decision("block", "violence")})


async def collect(events: AsyncIterator[Any]) -> list[Event]:
    return [event async for event in events]


async def test_text_leaves_when_its_window_was_judged() -> None:
    classifier = Scripted()
    answer = Answer([*text("It is", " late. I", " go"), Finish("stop"), END])

    async with answer() | Classify(classifier) as stream:
        events = [event async for event in stream]

    assert events == [
        Checked("passed", 0, 12),
        *text("It is", " late. "),
        Checked("passed", 12, 16, context=12),
        *text("I", " go"),
        Finish("stop"),
        END,
    ]
    assert classifier.asked == ["It is late. ", "I go"]


async def test_on_a_block_the_source_is_closed_before_the_end_is_delivered() -> None:
    answer = Answer([*text("Well. ", "You kill. ", "More. ", "Yet more. "), END])
    closed: list[bool] = []

    async with answer() | Classify(Scripted(dict(KILL.answers))) | Accumulate() as stream:
        events: list[Event] = []
        async for event in stream:
            events.append(event)
            closed.append(answer.closed)

    assert events[-1] == StreamEnd("moderated")
    assert [event for event in events if isinstance(event, Blocked | Finish)] == [
        Blocked("violence", 6, 16, source="classifier"),
        Finish("content_filter"),
    ]
    assert [event.text for event in events if isinstance(event, Completion)] == ["Well. "]
    assert closed[-4:] == [True] * 4
    assert answer.given < 5


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
async def test_the_modes_on_one_answer(mode: Any) -> None:
    answer = Answer([*text("You kill. ", "Ok."), Finish("stop"), END])

    async with answer() | Classify(Scripted(dict(KILL.answers)), mode=mode) as stream:
        events = [event async for event in stream if not isinstance(event, Checked)]

    assert (
        events
        == {
            "hold": [Blocked("violence", 0, 10, source="classifier"), Finish("content_filter"), StreamEnd("moderated")],
            "observe": [
                *text("You kill. "),
                Blocked("violence", 0, 10, source="classifier"),
                *text("Ok."),
                Finish("stop"),
                END,
            ],
            "optimistic": [
                *text("You kill. "),
                Blocked("violence", 0, 10, source="classifier"),
                Retracted("violence", 0, 10, 0, 10),
                Finish("content_filter"),
                StreamEnd("moderated"),
            ],
        }[mode]
    )


async def test_in_optimistic_mode_text_leaves_before_it_is_judged() -> None:
    classifier = Scripted()
    answer = Answer([*text("One. ", "Two. "), END])

    async with answer() | Classify(classifier, mode="optimistic") as stream:
        assert await anext(aiter(stream)) == TextDelta("One. ")
        assert classifier.asked == []


async def test_a_stream_without_an_end_is_judged_to_its_end() -> None:
    async with Answer(text("One. ", "Tw", "o"))() | Classify(Scripted()) as stream:
        events = [event async for event in stream if not isinstance(event, Checked)]
    assert events == text("One. ", "Tw", "o")


async def test_an_error_of_the_source_comes_after_what_was_judged_and_what_was_held_does_not_leave() -> None:
    seen: list[Event] = []

    with pytest.raises(Disconnected):
        async with Answer(text("One. ", "Tw"), Disconnected("cut"))() | Classify(Scripted()) as stream:
            async for event in stream:
                seen.append(event)
    assert seen == [Checked("passed", 0, 5), *text("One. ")]


async def test_a_stream_that_is_cancelled_in_mid_check_releases_nothing_more_and_leaves_nothing() -> None:
    classifier, answer = Scripted({"Two": None}), Answer([*text("One. ", "Two. "), END])
    seen: list[Event] = []
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group, answer() | Classify(classifier) as stream:

            async def stop() -> None:
                await wait_all_tasks_blocked()
                scope.cancel()

            group.start_soon(stop)
            async for event in stream:
                seen.append(event)
    gc.collect()

    assert scope.cancelled_caught
    assert (answer.closed, classifier.cancelled) == (True, 1)
    assert seen == [Checked("passed", 0, 5), *text("One. ")]


async def test_cancel_wakes_a_stream_that_waits_for_a_verdict() -> None:
    classifier, answer = Scripted({"Two": None}), Answer([*text("One. ", "Two. "), END])
    async with anyio.create_task_group() as group, answer() | Classify(classifier) as stream:

        async def stop() -> None:
            await wait_all_tasks_blocked()
            stream.cancel()

        group.start_soon(stop)
        events = [event async for event in stream]
    assert events == [Checked("passed", 0, 5), *text("One. "), StreamEnd("cancelled")]
    assert (answer.closed, classifier.cancelled) == (True, 1)


# Failures


FAILURES: list[tuple[Exception | None, str]] = [
    (None, "timeout"),
    (TimeoutError(), "timeout"),
    (DeadlineExceeded("late", deadline="total"), "timeout"),
    (ConnectFailed("no"), "connect"),
    (Disconnected("cut"), "connect"),
    (StatusError("429", status=429), "status"),
    (StatusError("503", status=503), "status"),
    (StatusError("401", status=401), "refused"),
    (ContentTypeError("html"), "answer"),
    (ProtocolError("no JSON"), "answer"),
    (ProviderError("error"), "answer"),
    (LookupError("mine"), "error"),
    (ExceptionGroup("several", [ValueError()]), "error"),
]
every_failure = pytest.mark.parametrize(
    ("error", "kind"), FAILURES, ids=[f"{type(error).__name__}-{kind}" for error, kind in FAILURES]
)


async def run(classifier: Any, failures: Any, *pieces: str) -> list[Event]:
    never = isinstance(classifier, Scripted) and None in classifier.answers.values()
    # On a busy machine any deadline may pass before an answer, so only a classifier that never answers has one.
    stage = Classify(classifier, failures=failures, deadline=0.01 if never else None)
    async with Answer([*text(*pieces), Finish("stop"), END])() | stage as stream:
        return [event async for event in stream]


@every_failure
async def test_open_releases_and_closed_blocks_and_either_is_recorded(error: Exception | None, kind: str) -> None:
    def classifier() -> Scripted:
        return Scripted({"One": error})

    assert await run(classifier(), "open", "One. ") == [
        Checked("failed_open", 0, 5, failure=kind),
        *text("One. "),
        Finish("stop"),
        END,
    ]
    assert await run(classifier(), "closed", "One. ") == [
        Checked("failed_closed", 0, 5, category="unchecked", failure=kind),
        Blocked("unchecked", 0, 5, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


@pytest.mark.parametrize(("error", "kind"), FAILURES[1:])
async def test_each_kind_of_failure_has_a_policy_of_its_own(error: Exception, kind: str) -> None:
    others = dict.fromkeys(("timeout", "connect", "status", "refused", "answer", "error"), "closed")

    events = await run(Scripted({"One": error}), Failures(**{**others, kind: "open"}), "One. ")  # type: ignore[arg-type]

    assert events[0] == Checked("failed_open", 0, 5, failure=kind)


async def test_hold_asks_again_and_then_blocks() -> None:
    classifier = Scripted({"One": StatusError("503", status=503)})

    events = await run(classifier, Failures(status="hold", attempts=3, pause=0), "One. ")

    assert classifier.asked == ["One. "] * 3
    assert events[0] == Checked("failed_closed", 0, 5, category="unchecked", failure="status", calls=3)


@pytest.mark.parametrize(
    ("second", "outcome", "failure"), [(Decision(), "passed", ""), (LookupError(), "failed_open", "error")]
)
async def test_what_was_held_leaves_with_the_verdict_of_a_later_attempt(
    second: Decision | Exception, outcome: Any, failure: str
) -> None:
    answers: list[Decision | Exception] = [StatusError("429", status=429), second]

    async def classifier(window: Window) -> Decision:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = await run(classifier, Failures(status="hold", error="open", pause=0), "One. ")

    assert events[:2] == [Checked(outcome, 0, 5, failure=failure, calls=2), *text("One. ")]


@pytest.mark.parametrize("answer", [None, True, "allow", Decision("perhaps")], ids=repr)  # type: ignore[arg-type]
async def test_what_is_no_verdict_does_not_pass_for_one(answer: Any) -> None:
    async def classifier(window: Window) -> Any:
        return answer

    assert (await run(classifier, "closed", "One. "))[0] == Checked(
        "failed_closed", 0, 5, category="unchecked", failure="answer"
    )


def test_an_error_that_nobody_knows_is_the_classifiers_own() -> None:
    assert failure_of(KeyError()) == "error"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Failures(timeout="ajar"), "expected timeout to be open, closed or hold; found 'ajar'"),  # type: ignore[arg-type]
        (lambda: as_failures("ajar"), "expected timeout to be open, closed or hold; found 'ajar'"),  # type: ignore[arg-type]
        (lambda: Failures(attempts=0), "expected attempts of 1 or more, found 0"),
        (lambda: Classify("no"), "expected a classifier, found an object of type str"),  # type: ignore[arg-type]
        (lambda: Classify(KILL, mode="watch"), "expected mode of hold, observe, optimistic; found 'watch'"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_shows_when_the_stage_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        make()


# Scores


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"thresholds": {}}, ("allow", "")),
        ({"thresholds": {"hate": 0.5}}, ("allow", "")),
        ({"thresholds": {"violence": 0.9}}, ("block", "violence")),
        ({"thresholds": {"*": 0.3}}, ("block", "violence")),
        ({"thresholds": {"*": 0.3, "violence": 0.95}}, ("block", "hate")),
        ({"thresholds": {"*": 0.3}, "actions": "annotate"}, ("annotate", "violence")),
        ({"thresholds": {"*": 0.3}, "actions": {"violence": "annotate"}}, ("block", "hate")),
        ({"thresholds": {"*": 0.3}, "actions": {"hate": "redact", "*": "annotate"}}, ("redact", "hate")),
        ({"thresholds": {}, "flags": {"hate": True, "violence": False}}, ("block", "hate")),
        ({"thresholds": {"hate": 0.5}, "flags": {"hate": True}}, ("allow", "")),
        ({"thresholds": {}, "flags": {"unscored": True}}, ("block", "unscored")),
    ],
)
def test_scores_become_a_verdict(options: Any, verdict: tuple[str, str]) -> None:
    scores = {"violence": 0.9, "hate": 0.4, "other": 0.1}

    found = verdict_of(scores, **options)

    assert (found.action, found.category, found.scores) == (*verdict, scores)


# One pipeline for many streams


async def test_runs_share_nothing() -> None:
    stage = Classify(Scripted({"kill": Decision("block", "violence")}), Windows(sentences=1))
    ends: list[StreamEnd] = []
    reports: list[int] = []

    async def one(number: int) -> None:
        pieces = text("You kill. ") if number % 2 else text("All ", "is well. ")
        async with Answer([*pieces, END])() | stage as stream:
            async for event in stream:
                if isinstance(event, StreamEnd):
                    ends.append(event)
            reports.append(stream.stage(Classify).report.windows)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)

    assert (ends.count(END), ends.count(StreamEnd("moderated"))) == (50, 50)
    assert reports == [1] * 100
    assert stage.report.windows == 0


async def test_it_stands_in_a_pipeline_from_bytes() -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"You kill. "}}]}\n\ndata: [DONE]\n\n'
    async with [body] | (Parse() | Extract() | Classify(Scripted(dict(KILL.answers))) | Accumulate()) as stream:
        events = [event async for event in stream]
    assert stream.end == StreamEnd("moderated")
    assert [event.end for event in events if isinstance(event, Completion)] == ["moderated"]


async def test_time_ends_a_window_when_the_next_burst_comes() -> None:
    classifier = Scripted()
    async with Answer([*text("a ", "b ", "c "), END])() | Classify(classifier, Windows(seconds=0)) as stream:
        events = [event async for event in stream if isinstance(event, TextDelta)]
    assert events == text("a ", "b ", "c ")
    assert classifier.asked == ["a ", "b ", "c "]
