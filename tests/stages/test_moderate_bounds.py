"""How much may wait, for how long, what it cost, and what happens when something goes wrong on the way."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Blocked,
    Event,
    Finish,
    Moderate,
    PipelineError,
    Redacted,
    Rule,
    Source,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.events import HoldExceeded, Logprobs, ModerationReport, PartDelta, ReasoningDelta, Retracted
from streamkit.moderation.channels import text_of
from streamkit.moderation.match import scanner
from tests.kit import moderate, text

END = StreamEnd("completed", True)
STOP = Finish("stop")
ENDLESS = Rule("quote", patterns=("<<.*?>>",), replacement="[quote]")
BIRD = Rule("bird", phrases=("blue heron",), replacement="[bird]")
BLOCK = Rule("bird", phrases=("blue heron",), action="block")


# Characters

A_TEXT = st.text("abc", min_size=1, max_size=4)
OF_A_CHOICE = st.integers(0, 1)
ANY_TEXT = st.one_of(
    st.builds(TextDelta, A_TEXT, OF_A_CHOICE),
    st.builds(ReasoningDelta, A_TEXT, OF_A_CHOICE),
    st.builds(ToolCallDelta, st.just(0), st.none(), st.none(), A_TEXT, OF_A_CHOICE),
    st.builds(PartDelta, A_TEXT, st.just("code"), st.just(0), st.just(("x",)), st.just(False), OF_A_CHOICE),
)
ANY_RULE = st.builds(
    Rule,
    st.just("x"),
    st.tuples(st.text("ab", min_size=1, max_size=3)),
    action=st.sampled_from(["annotate", "redact", "replace", "block"]),
)


@settings(deadline=None, max_examples=200)
@given(rules=st.lists(ANY_RULE, min_size=1, max_size=3), events=st.lists(ANY_TEXT, max_size=12))
@pytest.mark.parametrize("mode", ["hold", "optimistic"])
def test_every_character_is_released_withheld_or_buffered(mode: Any, rules: list[Rule], events: list[Event]) -> None:
    stage, arrived = Moderate(rules, choices=2, mode=mode).fresh(), 0
    for event in events:
        if stage.done:
            break
        list(stage.feed(event))
        arrived += len(text_of(event))
        report = stage.report
        assert report.released + report.withheld + report.held == arrived
    list(stage.flush())
    assert (stage.report.released + stage.report.withheld, stage.report.held) == (arrived, 0)


def test_a_choice_of_which_too_much_waits_is_blocked() -> None:
    stage = Moderate(ENDLESS, max_hold_chars=6)

    assert moderate(stage, [*text("a <<", "1234", "5>>"), END]) == [
        *text("a "),
        HoldExceeded("characters", "block", 2, 9),
        Blocked("max_hold", 2, 9, source="max_hold"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_or_it_leaves_undecided_and_what_follows_from_it_is_taken_back() -> None:
    stage = Moderate(ENDLESS, max_hold_chars=6, on_max_hold="release")

    assert moderate(stage, [*text("a <<", "1234", "5>>!"), STOP, END]) == [
        *text("a "),
        HoldExceeded("characters", "release", 2, 9),
        *text("<<12345"),
        Redacted("quote", 2, 11),
        Retracted("quote", 2, 9, 2, 9, replacement="[quote]"),
        *text("!"),
        STOP,
        END,
    ]


@settings(deadline=None, max_examples=200)
@given(
    whole=st.text("<>a", min_size=1, max_size=30),
    cuts=st.lists(st.integers(1, 30), max_size=8),
    limit=st.integers(1, 8),
    policy=st.sampled_from(["block", "release"]),
)
def test_the_bound_means_the_same_for_any_cuts(whole: str, cuts: list[int], limit: int, policy: Any) -> None:
    bounds = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    pieces = [whole[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]  # noqa: RUF007
    stage = Moderate(ENDLESS, max_hold_chars=limit, on_max_hold=policy)

    by_cuts = [moderate(stage, [*text(*cut), END]) for cut in (pieces, [whole], list(whole))]

    told = [[event for event in events if not isinstance(event, TextDelta)] for events in by_cuts]
    read = ["".join(event.text for event in events if isinstance(event, TextDelta)) for events in by_cuts]
    assert told[0] == told[1] == told[2]
    assert read[0] == read[1] == read[2]


def test_a_call_that_is_too_long_to_wait_is_blocked_or_passed_on_as_it_comes() -> None:
    events = [
        *(ToolCallDelta(0, "a" if first else None, "f" if first else None, piece) for first, piece in
          [(True, '{"q": '), (False, '"12345'), (False, '"}')]),
        STOP,
        END,
    ]  # fmt: skip

    blocked = moderate(Moderate(BLOCK, max_hold_chars=8), events)
    released = moderate(Moderate(BLOCK, max_hold_chars=8, on_max_hold="release"), events)

    assert blocked == [
        HoldExceeded("characters", "block", 0, 8, "tool_arguments", tool_index=0),
        Blocked("max_hold", 0, 8, "tool_arguments", tool_index=0, source="max_hold"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert released[-2:] == [STOP, END]
    assert "".join(event.arguments for event in released if isinstance(event, ToolCallDelta)) == '{"q": "12345"}'
    assert sum(isinstance(event, HoldExceeded) for event in released) == 1


# Time


def at(stage: Moderate, *bursts: tuple[float, list[Event]]) -> list[list[Event]]:
    stage = stage.fresh()
    released: list[list[Event]] = []
    for now, events in bursts:
        stage.tick(now)
        released.append(list(stage.feed_all(events)))
    return released


def test_what_waits_for_too_long_is_blocked_when_the_next_burst_comes() -> None:
    stage = Moderate(BIRD, max_hold_seconds=2)

    assert at(stage, (0, text("a blue")), (2, text(" h")), (2.5, text("eron"))) == [
        text("a "),
        [],
        [
            HoldExceeded("seconds", "block", 2, 8),
            Blocked("max_hold", 2, 8, source="max_hold"),
            Finish("content_filter"),
            StreamEnd("moderated"),
        ],
    ]


def test_or_it_leaves_and_the_match_that_it_became_is_taken_back() -> None:
    stage = Moderate(BIRD, max_hold_seconds=2, on_max_hold="release")

    assert at(stage, (0, text("a blue")), (3, text(" heron!"))) == [
        text("a "),
        [
            HoldExceeded("seconds", "release", 2, 6),
            *text("blue"),
            Redacted("bird", 2, 12),
            Retracted("bird", 2, 6, 2, 6, replacement="[bird]"),
            *text("!"),
        ],
    ]


def test_one_choice_that_waits_for_too_long_does_not_stall_another() -> None:
    stage = Moderate(BIRD, max_hold_seconds=2, choices=2)

    _, released = at(stage, (0, [*text("blue"), *text("a", index=1)]), (3, text("c", index=1)))

    assert released[-1] == TextDelta("c", 1)
    assert Finish("content_filter", 0) in released


def test_a_call_that_waits_for_too_long_is_blocked() -> None:
    _, released = at(Moderate(BLOCK, max_hold_seconds=1), (0, [ToolCallDelta(0, "a", "f", "{")]), (2, text("a")))

    assert released[0] == HoldExceeded("seconds", "block", 0, 1, "tool_arguments", tool_index=0)
    assert released[-1] == StreamEnd("moderated")


# What it cost


def test_the_report_says_how_much_waited_and_for_how_long() -> None:
    stage = Moderate(BIRD, reports=True)

    *_, last = at(stage, (0, text("a", "x blue")), (1, text(" h")), (4, text("is.")), (5, [STOP, END]))

    assert last == [STOP, ModerationReport(3, 0, 2, 6, 6, 7.0, 4.0, released=12), END]


def test_without_a_clock_the_time_is_unknown() -> None:
    stage = Moderate(BIRD).fresh()
    list(stage.feed_all([*text("blue", " sky"), END]))

    assert stage.report == ModerationReport(1, released=8)


@pytest.mark.parametrize(
    ("max_tokens", "saved"),
    [(None, None), (100, 98 + 99 + 100), (1, 0 + 0 + 1)],
    ids=["unknown", "some", "one"],
)
def test_what_was_saved_by_stopping_is_a_bound_from_above_and_unknown_without_one(
    max_tokens: int | None, saved: int | None
) -> None:
    stop = Rule("bird", phrases=("blue heron",), action="stop")
    stage = Moderate(stop, choices=3, max_tokens=max_tokens, reports=True)

    *_, report, end = moderate(stage, [*text("a", index=1), *text("blue", " heron", "more")])

    assert end == StreamEnd("moderated")
    assert isinstance(report, ModerationReport)
    assert (report.stopped, report.tokens_saved) == (True, saved)


def test_a_stream_that_was_not_stopped_has_saved_nothing() -> None:
    *_, report, _ = moderate(Moderate(BIRD, reports=True), [*text("blue heron"), END])

    assert isinstance(report, ModerationReport)
    assert (report.stopped, report.tokens_saved, report.verdicts) == (False, 0, 1)


def test_the_report_comes_without_a_last_event_too_and_in_every_mode() -> None:
    for mode in ("hold", "observe", "optimistic"):
        stage = Moderate(BIRD, mode=mode, reports=True)  # type: ignore[arg-type]
        for events in (text("a"), [*text("a"), END]):
            assert sum(isinstance(event, ModerationReport) for event in moderate(stage, events)) == 1


def test_it_hears_the_time() -> None:
    assert not hasattr(Moderate(BIRD).tick, "unused")


# On the way


class Order(Source[Event]):
    """Bursts of events, and a note of when it was closed."""

    def __init__(self, bursts: list[list[Event]], notes: list[str]) -> None:
        self._bursts = iter(bursts)
        self._notes = notes

    async def read(self) -> list[Event]:
        return next(self._bursts, [])

    async def close(self) -> None:
        # It may be asked to more than once.
        if "closed" not in self._notes:
            self._notes.append("closed")


@pytest.mark.anyio
@pytest.mark.parametrize("action", ["block", "stop"])
async def test_the_source_is_closed_before_the_end_reaches_the_consumer(action: Any) -> None:
    notes: list[str] = []
    rule = Rule("bird", phrases=("blue heron",), action=action, message="No.")
    source = Order([text("a "), [*text("blue heron")], [*text("never read")]], notes)

    async with Moderate(rule).open(source) as stream:
        async for event in stream:
            notes.append(type(event).__name__)

    assert notes == ["TextDelta", "closed", "Blocked", "TextDelta", "Finish", "StreamEnd"]


class Failing(scanner.Scanner):
    def feed(self, text: str, *, final: bool = False) -> Any:
        if "!" in text:
            raise RuntimeError("the rules failed")
        return super().feed(text, final=final)


def test_rules_that_fail_are_no_silent_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "Scanner", Failing)
    stage = Moderate(BIRD).fresh()
    events: list[Event] = []

    with pytest.raises(RuntimeError, match="the rules failed"):
        for burst in (text("a blue"), text("!", " heron")):
            events.extend(stage.feed_all(burst))
    with pytest.raises(PipelineError, match="nothing more of it is released"):
        events.extend(stage.feed_all(text("more")))

    assert events == text("a ")


FULL: list[Event] = [
    *text("a", " blue", " heron", " an", "d blue"),
    Logprobs({"content": [{"token": "blue"}]}),
    ToolCallDelta(0, "i", "f", '{"q": "blue'),
    ToolCallDelta(0, arguments=' heron"}'),
    *text(" sky", index=1),
    STOP,
    END,
]


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["fails", "is cancelled"])
@pytest.mark.parametrize("place", range(len(FULL) - 1))
async def test_a_stream_that_ends_anywhere_before_its_end_has_released_what_was_decided_and_no_more(
    place: int, way: str
) -> None:
    stage = Moderate(BIRD, choices=2)
    alone = stage.fresh()
    decided = [event for item in FULL[:place] for event in alone.feed(item)]

    async def source() -> AsyncIterator[Event]:
        for item in FULL[:place]:
            yield item
        if way == "fails":
            raise OSError("gone")
        stream.cancel()
        await anyio.sleep_forever()

    events: list[Any] = []
    stream = stage.open(source())
    try:
        async with stream:
            async for event in stream:
                events.append(event)
    except OSError:
        assert way == "fails"

    if way == "is cancelled":
        assert events.pop() == StreamEnd("cancelled")
    assert events == decided


def test_a_thousand_runs_of_one_stage_at_once_are_independent() -> None:
    stage = Moderate((BIRD, BLOCK), keep_raw=True)
    pieces = ["a bl", "ue her", "on b", "lue h", "is."]
    runs = [
        stage.run(iter([*text(f"{number} ", *pieces[number % 3 :]), ToolCallDelta(0, "i", "f", "{}"), STOP, END]))
        for number in range(1000)
    ]
    alone = [
        moderate(stage, [*text(f"{number} ", *pieces[number % 3 :]), ToolCallDelta(0, "i", "f", "{}"), STOP, END])
        for number in range(1000)
    ]

    found: list[list[Event]] = [[] for _ in runs]
    going = set(range(1000))
    while going:
        for number in sorted(going):
            event = next(runs[number], None)
            if event is None:
                going.remove(number)
            else:
                found[number].append(event)

    assert found == alone
    assert all(run.stage(Moderate).raw().startswith(f"{number} ") for number, run in enumerate(runs))


# State


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
@pytest.mark.parametrize("place", range(len(FULL)))
def test_a_run_goes_on_from_its_state_as_if_it_had_not_been_interrupted(place: int, mode: Any) -> None:
    stage = Moderate(BIRD, choices=2, mode=mode, keep_raw=True, reports=True)
    whole, first, second = stage.fresh(), stage.fresh(), stage.fresh()
    expected = [event for item in FULL for event in whole.feed(item)]

    events = [event for item in FULL[:place] for event in first.feed(item)]
    second.restore(json.loads(json.dumps(first.state())))
    events += [event for item in FULL[place:] for event in second.feed(item)]

    assert events == expected
    assert second.raw() == whole.raw()
    assert second.report == whole.report


def test_what_waited_before_goes_on_waiting_by_another_clock() -> None:
    stage = Moderate(BIRD, max_hold_seconds=5)
    first, second = stage.fresh(), stage.fresh()
    first.tick(100.0)
    list(first.feed_all(text("blue")))
    first.tick(103.0)
    list(first.feed_all(text(" ")))
    second.restore(json.loads(json.dumps(first.state())))

    second.tick(1.0)
    assert list(second.feed_all(text("h"))) == []
    second.tick(3.5)
    assert isinstance(next(iter(second.feed_all(text("e")))), HoldExceeded)
