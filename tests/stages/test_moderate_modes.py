"""The three modes: the same decisions about the same texts, and what each lets out."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import (
    Accumulate,
    Blocked,
    Event,
    Finish,
    Moderate,
    PipelineError,
    ReasoningDelta,
    Redacted,
    Rule,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.events import Flagged, Logprobs, ModerationReport, Retracted, RoleDelta
from tests.kit import moderate, text, verdicts

END = StreamEnd("completed", True)
STOP = Finish("stop")
ACTIONS = ("annotate", "redact", "replace", "block", "stop")


def rule(action: str, phrase: str = "blue heron", **more: Any) -> Rule:
    return Rule("bird", phrases=(phrase,), action=action, replacement="[bird]", **more)  # type: ignore[arg-type]


def spoken(events: Iterable[Event], index: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.index == index)


def standing(events: Iterable[Event], index: int = 0) -> str:
    """The text of a reader that removes what is retracted."""
    released, taken = "", dict[int, tuple[int, str]]()
    for event in events:
        match event:
            case TextDelta(text=piece) if event.index == index:
                released += piece
            case Retracted() if event.index == index:
                taken[event.released_start] = (event.released_end, event.replacement)
            case _:
                pass
    shown, at = "", 0
    for start, (end, replacement) in sorted(taken.items()):
        shown, at = shown + released[at:start] + replacement, end
    return shown + released[at:]


# Each action in each mode

SPOKEN = text("a bl", "ue her", "on!", " more")


@pytest.mark.parametrize(
    ("action", "released"),
    [
        ("allow", [*SPOKEN, STOP, END]),  # an exception alone holds nothing
        ("annotate", [*text("a "), Flagged("bird", 2, 12), *text("blue heron", "!", " more"), STOP, END]),
        ("redact", [*text("a "), Redacted("bird", 2, 12), *text("[bird]", "!", " more"), STOP, END]),
        (
            "replace",
            [
                *text("a "),
                Redacted("bird", 2, 12, action="replace"),
                *text("[bird]"),
                Finish("content_filter"),
                StreamEnd("moderated", True),
            ],
        ),
        ("block", [*text("a "), Blocked("bird", 2, 12), Finish("content_filter"), StreamEnd("moderated")]),
        (
            "stop",
            [*text("a "), Blocked("bird", 2, 12, action="stop"), Finish("content_filter"), StreamEnd("moderated")],
        ),
    ],
)
def test_an_action_in_hold(action: str, released: list[Event]) -> None:
    assert moderate(Moderate(rule(action)), [*SPOKEN, STOP, END]) == released


@pytest.mark.parametrize("action", ["allow", *ACTIONS])
def test_in_observe_everything_passes_as_it_came_and_the_verdict_is_told(action: str) -> None:
    events = [RoleDelta("assistant"), *SPOKEN, Logprobs({"content": []}), STOP, Usage(total_tokens=1), END]
    told = verdicts(moderate(Moderate(rule(action)), events))

    released = moderate(Moderate(rule(action), mode="observe"), events)

    assert [event for event in released if event not in told] == events
    assert verdicts(released) == told
    assert len(told) == (action != "allow")


def test_in_observe_an_event_keeps_its_raw_chunk() -> None:
    event = TextDelta("blue heron", payload='{"a":1}')

    (passed, _) = moderate(Moderate(rule("redact"), mode="observe"), [event])

    assert passed.raw == {"a": 1}


@pytest.mark.parametrize(
    ("action", "released"),
    [
        ("annotate", [*text("a bl", "ue her"), Flagged("bird", 2, 12), *text("on", "!", " more"), STOP, END]),
        (
            "redact",
            [
                *text("a bl", "ue her"),
                Redacted("bird", 2, 12),
                Retracted("bird", 2, 10, 2, 10, replacement="[bird]"),
                *text("!", " more"),
                STOP,
                END,
            ],
        ),
        (
            "replace",
            [
                *text("a bl", "ue her"),
                Redacted("bird", 2, 12, action="replace"),
                Retracted("bird", 2, 10, 2, 10),
                *text("[bird]"),
                Finish("content_filter"),
                StreamEnd("moderated", True),
            ],
        ),
        (
            "block",
            [
                *text("a bl", "ue her"),
                Blocked("bird", 2, 12),
                Retracted("bird", 2, 10, 2, 10),
                Finish("content_filter"),
                StreamEnd("moderated"),
            ],
        ),
    ],
)
def test_in_optimistic_text_leaves_at_once_and_what_has_left_of_a_match_is_taken_back(
    action: str, released: list[Event]
) -> None:
    assert moderate(Moderate(rule(action), mode="optimistic"), [*SPOKEN, STOP, END]) == released


def test_in_optimistic_a_match_that_comes_whole_is_withheld_whole() -> None:
    released = moderate(Moderate(rule("redact"), mode="optimistic"), [*text("a blue heron!"), STOP, END])

    assert released == [*text("a "), Redacted("bird", 2, 12), *text("[bird]", "!"), STOP, END]


def test_in_optimistic_the_places_of_a_second_retraction_count_in_all_that_was_released() -> None:
    stage = Moderate(rule("redact", "ab"), mode="optimistic")

    released = moderate(stage, [*text("xab", "ya", "bz", "a", "b"), END])

    assert [event for event in released if isinstance(event, Retracted)] == [
        Retracted("bird", 4, 5, 8, 9, replacement="[bird]"),
        Retracted("bird", 7, 8, 10, 11, replacement="[bird]"),
    ]
    assert standing(released) == "x[bird]y[bird]z[bird]"


def test_in_optimistic_nothing_ever_waits_but_a_call() -> None:
    run = Moderate(rule("redact"), mode="optimistic").run(iter([*text("blue"), ToolCallDelta(0, "a", "f", "{"), END]))
    stage = run.stage(Moderate)

    assert next(run) == TextDelta("blue")
    assert stage.held == 0
    assert next(run) == ToolCallDelta(0, "a", "f", "{")
    assert stage.report.characters_held == 2


# Decisions are the same in all modes, for any cuts

PIECES = st.lists(st.text("abc ", min_size=1, max_size=4), min_size=1, max_size=8)
RULES = st.lists(
    st.builds(
        lambda phrases, action: Rule("x", tuple(phrases), (), action, "*"),
        st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=2),
        st.sampled_from(["allow", *ACTIONS]),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=300)
@given(rules=RULES, pieces=PIECES, other=PIECES)
@example(rules=[rule("redact", "aab"), rule("block", "bc")], pieces=["aa", "b", "c"], other=["a", "b"])
@example(rules=[rule("stop", "a"), rule("allow", "aa")], pieces=["a"], other=["a"])
def test_the_decisions_are_the_same_in_all_modes_and_for_any_cuts(
    rules: list[Rule], pieces: list[str], other: list[str]
) -> None:
    whole = "".join(pieces)
    cuts: list[Sequence[str]] = [pieces, [whole], list(whole)]
    for index, cut in enumerate(cuts):
        deltas = [*text(*cut), *text(*(other if index == 0 else ["".join(other)]), index=1)]
        told = {
            mode: verdicts(moderate(Moderate(rules, choices=2, mode=mode), [*deltas, END]))  # type: ignore[arg-type]
            for mode in ("hold", "observe", "optimistic")
        }
        # Which of two choices is decided first depends on when its text came; of each, the decisions never do.
        for choice in (0, 1):
            of_choice = {mode: [event for event in told[mode] if event.index == choice] for mode in told}  # type: ignore[attr-defined]
            assert of_choice["hold"] == of_choice["observe"] == of_choice["optimistic"]


@settings(deadline=None, max_examples=300)
@given(rules=RULES, pieces=PIECES)
def test_what_stands_after_the_retractions_is_what_hold_would_have_released(
    rules: list[Rule], pieces: list[str]
) -> None:
    held = moderate(Moderate(rules), [*text(*pieces), END])
    optimistic = moderate(Moderate(rules, mode="optimistic"), [*text(*pieces), END])

    assert standing(optimistic) == spoken(held)
    assert verdicts(optimistic) == verdicts(moderate(Moderate(rules), [*text("".join(pieces)), END]))


# Actions


def test_a_message_is_the_last_text_of_a_blocked_choice() -> None:
    stage = Moderate(rule("block", message="I can't say that."))

    assert moderate(stage, [*SPOKEN, STOP, END]) == [
        *text("a "),
        Blocked("bird", 2, 12),
        *text("I can't say that."),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_the_rest_of_one_channel_is_replaced_and_the_others_go_on() -> None:
    events = [
        ReasoningDelta("the blue heron"),
        ReasoningDelta(" is secret"),
        *text("All fine."),
        Finish("stop"),
        Usage(total_tokens=3),
        END,
    ]

    assert moderate(Moderate(rule("replace")), events) == [
        ReasoningDelta("the "),
        Redacted("bird", 4, 14, "reasoning", action="replace"),
        ReasoningDelta("[bird]"),
        *text("All fine."),
        Finish("content_filter"),
        Usage(total_tokens=3),
        StreamEnd("moderated", True),
    ]


def test_stop_ends_every_open_choice_once_and_gives_back_what_was_complete() -> None:
    events = [
        *text("to", index=2),
        *text("whole b", index=1),
        Finish("stop", 1),
        *text("a blue heron"),
        *text("more", index=2),
    ]

    assert moderate(Moderate(rule("stop"), choices=3), events) == [
        *text("to", index=2),
        *text("whole ", index=1),
        *text("a "),
        Blocked("bird", 2, 12, action="stop"),
        Finish("content_filter"),
        *text("b", index=1),
        Finish("stop", 1),
        Finish("content_filter", 2),
        StreamEnd("moderated"),
    ]


def test_a_blocked_choice_does_not_stall_the_other_even_if_nobody_said_that_there_are_two() -> None:
    events = [*text("a", index=1), *text("blue heron"), *text("b", index=1), Finish("stop", 1), END]

    assert moderate(Moderate(rule("block")), [*text("z"), *events]) == [
        *text("z"),
        *text("a", index=1),
        Blocked("bird", 1, 11),
        Finish("content_filter"),
        *text("b", index=1),
        Finish("stop", 1),
        StreamEnd("moderated"),
    ]


def test_the_source_is_closed_when_the_last_open_choice_is_blocked() -> None:
    events = [*text("a"), *text("c", index=1), Finish("stop", 1), *text("blue heron"), *text("never read")]

    assert moderate(Moderate(rule("block"), choices=2), events)[-2:] == [
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_a_rule_for_some_channels_leaves_the_others_alone() -> None:
    stage = Moderate(rule("redact", channels=("reasoning",)))

    assert moderate(stage, [ReasoningDelta("blue heron"), *text("blue heron"), END]) == [
        Redacted("bird", 0, 10, "reasoning"),
        ReasoningDelta("[bird]"),
        *text("blue heron"),
        END,
    ]
    assert stage.exempt == (
        *("content", "refusal", "transcript", "tool_arguments", "tool_name"),
        *("code", "tool_input", "tool_output", "other"),
        *("audio", "identity", "signatures and binary data", "numbers beside text", "filter verdicts", "usage"),
    )


def test_a_verdict_says_how_severe_it_is() -> None:
    (verdict,) = verdicts(moderate(Moderate(rule("redact", severity="high")), SPOKEN))

    assert verdict == Redacted("bird", 2, 12, severity="high")


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
@pytest.mark.parametrize("pieces", [[], [" "], [" ", "\n", "\t"]], ids=["empty", "a space", "spaces"])
def test_a_stream_of_nothing_or_of_spaces_passes(mode: Any, pieces: list[str]) -> None:
    events = [RoleDelta("assistant"), *text(*pieces), STOP, END]

    assert moderate(Moderate(rule("block"), mode=mode), events) == events


@pytest.mark.parametrize("reason", ["cancelled", "timeout", "limit", "error", "provider_error"])
def test_a_last_event_that_tells_of_an_interruption_releases_nothing_that_waits(reason: Any) -> None:
    events = [*text("a blue"), ToolCallDelta(0, "a", "f", '{"a'), STOP, StreamEnd(reason)]

    assert moderate(Moderate(rule("redact")), events) == [*text("a "), StreamEnd(reason)]


@pytest.mark.parametrize("reason", ["unknown", "truncated"])
@pytest.mark.parametrize("action", ["block", "replace"])
def test_a_rule_does_not_hide_that_another_choice_did_not_end_well(action: Any, reason: Any) -> None:
    spoken = [TextDelta("a blue heron!", 0), TextDelta("fine", 1), Finish("stop", 0)]

    *_, end = moderate(Moderate(rule(action), choices=2), [*spoken, StreamEnd(reason)])
    *_, ended = moderate(Moderate(rule(action), choices=2), [*spoken, Finish("stop", 1), StreamEnd("completed")])
    *_, alone = moderate(Moderate(rule("replace")), [spoken[0], StreamEnd(reason)])

    assert (end, ended, alone) == (StreamEnd(reason), StreamEnd("moderated"), StreamEnd("moderated"))


def test_what_is_kept_of_a_completion_is_what_was_released_and_the_verdicts() -> None:
    *_, completion, _ = (Moderate(rule("redact"), reports=True, keep_raw=True) | Accumulate()).run(
        iter([*SPOKEN, STOP, END]), clock=lambda: 0.0
    )

    (choice,) = completion.choices  # type: ignore[union-attr]
    assert choice.content == "a [bird]! more"
    assert choice.verdicts == (Redacted("bird", 2, 12).verdict,)
    assert isinstance(completion.moderation, ModerationReport)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["hold", "observe"])
def test_the_text_as_it_came_can_be_asked_for_if_it_is_kept(mode: Any) -> None:
    run = Moderate(rule("block"), keep_raw=True, mode=mode).run(
        iter([ToolCallDelta(1, "i", "f", '{"'), *text("a blue ", "heron b"), *text("c", index=1), END])
    )
    list(run)

    stage = run.stage(Moderate)
    assert stage.raw() == "a blue heron b"
    assert stage.raw(0, "tool_arguments", 1) == '{"'
    assert stage.raw(0, "tool_name", 1) == "f"
    assert stage.raw(7) == ""
    with pytest.raises(PipelineError, match="keep_raw=True"):
        Moderate(rule("block")).raw()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "held"}, "expected mode of hold, observe, optimistic; found 'held'"),
        ({"on_max_hold": "wait"}, "expected on_max_hold of block, release; found 'wait'"),
        ({"max_hold_chars": 0}, "expected a max_hold_chars above zero, or None; found 0"),
        ({"max_hold_seconds": -1}, "expected a max_hold_seconds above zero, or None; found -1"),
        ({"provider": [rule("block")]}, r"expected ProviderRule\(…\), found an object of type Rule"),
    ],
)
def test_a_mistake_in_its_making_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Moderate(rule("block"), **options)
