"""The parts of an answer keep their place in its text, also while some of it waits."""

import pytest

from streamkit import (
    Accumulate,
    Blocked,
    Completion,
    Event,
    Finish,
    Moderate,
    ReasoningDelta,
    Redacted,
    Rule,
    StreamEnd,
    TextDelta,
)
from streamkit.events import PartEnd, PartStart
from streamkit.testing import check_stage

FIRST = PartStart("text", 0, {"type": "text"}, "content")
FIRST_END = PartEnd(0, {"signature": "c2ln"})
SECOND = PartStart("text", 1, {"type": "text"}, "content")
IMAGE = PartStart("image", 2, {"type": "image"})
END = StreamEnd("completed", saw_done=True)
RULE = Rule("bird", ("blue heron",), replacement="[bird]")


def moderated(*events: Event, rule: Rule = RULE) -> list[Event]:
    return list(Moderate(rule).run(list(events)))


def parts(events: list[Event]) -> list[str]:
    completion = next(event for event in Accumulate().run(events) if isinstance(event, Completion))
    return [part.text for part in completion.choices[0].parts]


def test_without_text_that_waits_a_part_passes_at_once() -> None:
    events = [FIRST, TextDelta("All is well."), FIRST_END, SECOND, TextDelta("And good."), END]

    assert moderated(*events) == events


def test_a_part_does_not_overtake_text_that_waits_and_the_text_stays_in_its_part() -> None:
    events = moderated(FIRST, TextDelta("It is blue"), FIRST_END, SECOND, TextDelta(" as the sky"), IMAGE, END)

    assert events == [
        FIRST,
        TextDelta("It is "),
        TextDelta("blue"),
        FIRST_END,
        SECOND,
        TextDelta(" as the sky"),
        IMAGE,
        END,
    ]
    assert parts(events) == ["It is blue", " as the sky", ""]


def test_a_match_across_two_parts_is_replaced_in_the_first() -> None:
    events = moderated(FIRST, TextDelta("A blue"), FIRST_END, SECOND, TextDelta(" heron flies"), END)

    assert events == [
        FIRST,
        TextDelta("A "),
        Redacted("bird", 2, 12),
        TextDelta("[bird]"),
        FIRST_END,
        SECOND,
        TextDelta(" flies"),
        END,
    ]
    assert parts(events) == ["A [bird]", " flies"]


def test_nothing_of_what_follows_leaves_before_the_decision() -> None:
    rule = Rule("bird", ("blue heron",), action="block")

    events = moderated(FIRST, TextDelta("A blue"), IMAGE, TextDelta(" heron"), FIRST_END, END, rule=rule)

    assert events == [
        FIRST,
        TextDelta("A "),
        Blocked("bird", 2, 12),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_text_that_waits_to_the_end_is_followed_by_its_part() -> None:
    assert moderated(FIRST, TextDelta("so blue"), FIRST_END, Finish("stop"), END) == [
        FIRST,
        TextDelta("so "),
        TextDelta("blue"),
        FIRST_END,
        Finish("stop"),
        END,
    ]


def test_a_part_waits_for_each_channel_and_for_its_own_choice_alone() -> None:
    other = PartStart("text", 0, {}, "content", index=1)
    events = moderated(ReasoningDelta("the blue"), TextDelta("so blue"), FIRST, other, TextDelta("!"), END)

    assert events == [
        ReasoningDelta("the "),
        TextDelta("so "),
        other,
        TextDelta("blue"),
        TextDelta("!"),
        ReasoningDelta("blue"),
        FIRST,
        END,
    ]


@pytest.mark.parametrize("mode", ["hold", "optimistic", "observe"])
def test_no_part_is_lost_in_any_mode(mode: str) -> None:
    events: list[Event] = [FIRST, TextDelta("so blue"), FIRST_END, SECOND, TextDelta(" heron"), IMAGE, END]

    released = Moderate(RULE, mode=mode).run(events)  # type: ignore[arg-type]

    assert [event for event in released if isinstance(event, PartStart | PartEnd)] == [FIRST, FIRST_END, SECOND, IMAGE]


def test_parts_keep_the_laws() -> None:
    events = [
        FIRST,
        TextDelta("It is blue"),
        FIRST_END,
        SECOND,
        TextDelta(" as blue heron is"),
        IMAGE,
        Finish("stop"),
        END,
    ]

    check_stage(Moderate(RULE), events)
