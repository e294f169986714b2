"""Moderate: what each action does to a stream, and that nothing else brings out what waits. Law 8 has the property."""

from collections.abc import Iterable
from typing import Any

import pytest

from streamkit import (
    Accumulate,
    Blocked,
    Completion,
    Count,
    Event,
    Extract,
    Finish,
    Moderate,
    Parse,
    PipelineError,
    ProviderError,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Rule,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
    Usage,
)
from streamkit.events import Annotation, AudioDelta, Choice, Flagged, Logprobs, ProviderNotice, RoleDelta, Verdict
from streamkit.sse import Lines, ServerSentEvent
from tests.kit import moderate, text

END = StreamEnd("completed", True)
FLAG = Rule("bird", phrases=("blue heron",), action="annotate")
REDACT = Rule("bird", phrases=("blue heron",), replacement="[bird]")
BLOCK = Rule("bird", phrases=("blue heron",), action="block")


@pytest.mark.parametrize(
    ("rule", "released"),
    [
        (FLAG, [*text("a "), Flagged("bird", 2, 12), *text("blue heron", "!"), Finish("stop"), END]),
        (REDACT, [*text("a "), Redacted("bird", 2, 12), *text("[bird]", "!"), Finish("stop"), END]),
        (BLOCK, [*text("a "), Blocked("bird", 2, 12), Finish("content_filter"), StreamEnd("moderated")]),
    ],
    ids=["annotate", "redact", "block"],
)
def test_an_action(rule: Rule, released: list[Event]) -> None:
    assert moderate(Moderate(rule), [*text("a bl", "ue her", "on", "!"), Finish("stop"), END]) == released


def test_text_without_a_match_comes_in_the_pieces_it_came_in_as_far_as_it_need_not_wait() -> None:
    assert moderate(Moderate(REDACT), [*text("Good", " day", " b", "ut"), END]) == [
        *text("Good", " day", " ", "but"),
        END,
    ]


def test_without_a_rule_everything_passes() -> None:
    events = [*text("blue heron"), Finish("stop"), END]

    assert moderate(Moderate([]), events) == events


def test_each_channel_of_each_choice_is_moderated_by_itself() -> None:
    events: list[Event] = [
        TextDelta("blue ", 0),
        TextDelta("blue ", 1),
        ReasoningDelta("blue ", 0),
        RefusalDelta("blue ", 0),
        TextDelta("heron", 1),
        ReasoningDelta("whale", 0),
        RefusalDelta("heron", 0),
        TextDelta("sky", 0),
        END,
    ]

    assert moderate(Moderate(REDACT), events) == [
        Redacted("bird", 0, 10, "content", 1),
        TextDelta("[bird]", 1),
        ReasoningDelta("blue whale"),
        Redacted("bird", 0, 10, "refusal", 0),
        RefusalDelta("[bird]"),
        TextDelta("blue sky"),
        END,
    ]


def test_channels_that_are_not_named_pass() -> None:
    events: list[Event] = [ReasoningDelta("blue heron"), *text("blue heron"), END]

    assert moderate(Moderate(REDACT, channels=("content",)), events) == [
        ReasoningDelta("blue heron"),
        Redacted("bird", 0, 10),
        *text("[bird]"),
        END,
    ]


def test_what_no_rule_sees_and_what_it_does_not_know_pass() -> None:
    class Note:
        text = "blue heron"

    others: list[Event] = [
        RoleDelta("assistant"),
        ToolCallDelta(0, "a", "f", '{"bird": "blue heron"}'),
        AudioDelta("blue heron"),
        Annotation({"title": "grey heron"}),
        ProviderNotice("ping"),
        Usage(total_tokens=1),
        Note(),  # type: ignore[list-item]
    ]

    assert moderate(Moderate(BLOCK, channels=("content",)), [*others, END]) == [*others, END]


# The end of a choice, and of the stream


def test_a_finish_waits_while_text_waits_for_more_may_come() -> None:
    assert moderate(Moderate(REDACT), [*text("a blue"), Finish("stop"), *text(" heron"), END]) == [
        *text("a "),
        Redacted("bird", 2, 12),
        *text("[bird]"),
        Finish("stop"),
        END,
    ]


def test_text_that_waited_comes_before_the_finish_that_waited_with_it() -> None:
    released = moderate(Moderate(REDACT), [*text("a blue"), Finish("stop"), Usage(total_tokens=1), END])

    assert released == [*text("a "), Usage(total_tokens=1), *text("blue"), Finish("stop"), END]


def test_of_two_finishes_the_last_one_comes_last() -> None:
    released = moderate(Moderate(REDACT), [*text("blue"), Finish("length"), *text(" sky"), Finish("stop"), END])

    assert released == [*text("blue sky"), Finish("stop"), END]


def test_text_after_a_finish_is_moderated_too_and_its_choice_ends_only_once() -> None:
    assert moderate(Moderate(BLOCK), [*text("a"), Finish("stop"), *text("blue heron", "b"), END]) == [
        *text("a"),
        Finish("stop"),
        Blocked("bird", 1, 11),
        StreamEnd("moderated"),
    ]


def test_a_stream_without_a_last_event_gives_what_waited_at_its_end() -> None:
    assert moderate(Moderate(REDACT), [*text("a blue"), Finish("stop")]) == [*text("a ", "blue"), Finish("stop")]


def test_a_match_that_only_the_end_decides_ends_the_stream_once() -> None:
    rule = Rule("bird", patterns=(r"heron\w*",), action="block")

    assert moderate(Moderate(rule), [*text("a heron"), Finish("stop"), END]) == [
        *text("a "),
        Blocked("bird", 2, 7),
        Finish("content_filter"),
        StreamEnd("moderated", True),
    ]


def test_what_the_end_decides_for_one_choice_takes_nothing_from_another() -> None:
    rule = Rule("bird", patterns=(r"heron\w*",), action="block")

    assert moderate(Moderate(rule), [*text("heron"), *text("her", index=1), END]) == [
        Blocked("bird", 0, 5),
        Finish("content_filter"),
        *text("her", index=1),
        StreamEnd("moderated", True),
    ]


# Blocking


def test_a_blocked_choice_gives_nothing_more_while_others_go_on() -> None:
    events: list[Event] = [
        *text("blue heron"),
        *text("a", index=1),
        *text("b"),
        ReasoningDelta("c"),
        ToolCallDelta(0, "a", "f"),
        AudioDelta("d"),
        Annotation({}),
        Logprobs({"content": []}),
        Finish("stop"),
        ProviderNotice("content_filter", {}, 0),
        Usage(total_tokens=1),
        *text("b", index=1),
        Finish("stop", 1),
        END,
    ]

    assert moderate(Moderate(BLOCK, choices=2), events) == [
        Blocked("bird", 0, 10),
        Finish("content_filter"),
        *text("a", index=1),
        ProviderNotice("content_filter", {}, 0),
        Usage(total_tokens=1),
        *text("b", index=1),
        Finish("stop", 1),
        StreamEnd("moderated", True),
    ]


@pytest.mark.parametrize("other", [ReasoningDelta, RefusalDelta])
def test_no_other_text_of_a_blocked_choice_is_released_either(other: type[ReasoningDelta]) -> None:
    events: list[Event] = [*text("blue heron"), other("a "), other("b "), *text("c", index=1), other("d "), END]

    assert moderate(Moderate(BLOCK, choices=2), events) == [
        Blocked("bird", 0, 10),
        Finish("content_filter"),
        *text("c", index=1),
        StreamEnd("moderated", True),
    ]


@pytest.mark.parametrize("mode", ["hold", "optimistic"])
@pytest.mark.parametrize("at", range(1, 8))
def test_empty_deltas_take_nothing_from_the_text_beside_them(at: int, mode: Any) -> None:
    rule = Rule("x", patterns=(r"\b\w+@\w+",))
    deltas = text("th", "e ", "", "", ",", "", "th", "e", "")
    stage = Moderate(rule, mode=mode).fresh()

    out = [*stage.feed_all(deltas[:at]), *stage.feed_all(deltas[at:]), *stage.flush()]

    assert "".join(event.text for event in out if isinstance(event, TextDelta)) == "the ,the"


def test_the_source_is_read_no_further_when_all_choices_are_blocked() -> None:
    read = list[int]()

    def source() -> Iterable[Event]:
        for number, event in enumerate([*text("blue heron"), *text("blue heron", index=1), *text("more")]):
            read.append(number)
            yield event

    run = Moderate(BLOCK, choices=2).run(source())

    assert [type(event).__name__ for event in run] == ["Blocked", "Finish", "Blocked", "Finish", "StreamEnd"]
    assert read == [0, 1]


def test_what_was_read_in_one_burst_with_the_match_is_not_delivered() -> None:
    run = (Moderate(BLOCK) | Accumulate()).run([*text("a ", "blue heron", "secret"), END])

    *_, completion, end = run
    assert completion == Completion(
        (Choice(0, "a ", "content_filter", verdicts=(Verdict("block", "bird", 2, 12),)),), end="moderated"
    )
    assert end == StreamEnd("moderated")


def test_a_count_before_it_counts_what_was_generated_and_one_after_it_what_was_released() -> None:
    stages = Count("cl100k_base") | Moderate(Rule("x", phrases=(" heron",), replacement="")) | Count("cl100k_base")

    counts = [event.tokens for event in stages.run([*text("blue", " heron"), END]) if isinstance(event, TokenCount)]

    assert counts == [3, 1]


# What must not come out


@pytest.mark.parametrize("rule", [REDACT, BLOCK], ids=["redact", "block"])
def test_no_event_holds_text_that_was_not_released_not_even_its_raw_chunk(rule: Rule) -> None:
    """The first chunk has a role too, the last a finish and usage, and one has the text of two choices."""
    payloads = [
        '{"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"a blue"}}]}',
        '{"id":"1","choices":[{"index":0,"delta":{"content":" her"}},{"index":1,"delta":{"content":"blue"}}]}',
        '{"id":"1","choices":[{"index":0,"delta":{"content":"on"},"finish_reason":"stop","content_filter_results":{"a":1}}],'
        '"usage":{"total_tokens":1}}',
        "[DONE]",
    ]
    stages = Extract() | Moderate(rule, choices=2)

    events = list(stages.run(ServerSentEvent.of(payload) for payload in payloads))

    assert len(events) > 5
    for event in events:
        if not (isinstance(event, TextDelta) and event.index == 1):
            assert "blue" not in repr(event)
            assert "her" not in repr(event)
        assert event.raw is None


def test_a_verdict_shows_its_place_and_category_and_not_the_text() -> None:
    (verdict,) = (event for event in moderate(Moderate(BLOCK), text("blue heron")) if isinstance(event, Blocked))

    assert repr(verdict) == (
        "Blocked(category='bird', start=0, end=10, channel='content', index=0, severity=None, tool_index=None, "
        "source='rules', action='block')"
    )


LOGPROBS = [
    Logprobs({"content": [{"token": "blue"}]}),
    Logprobs({"content": [{"token": " heron"}]}),
    Logprobs({"tokens": ["a"]}, 1),
]


def test_log_probabilities_which_spell_the_text_out_come_before_the_finish() -> None:
    events: list[Event] = [*text("blue"), LOGPROBS[0], *text(" sky"), Finish("stop"), END]

    assert moderate(Moderate(REDACT), events) == [*text("blue sky"), LOGPROBS[0], Finish("stop"), END]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [(FLAG, LOGPROBS), (REDACT, LOGPROBS[2:]), (BLOCK, LOGPROBS[2:])],
    ids=["annotate", "redact", "block"],
)
def test_log_probabilities_of_a_choice_in_which_text_was_changed_do_not_come(rule: Rule, kept: list[Event]) -> None:
    events: list[Event] = [
        *text("blue"),
        LOGPROBS[0],
        *text(" heron"),
        LOGPROBS[1],
        *text("a", index=1),
        LOGPROBS[2],
        END,
    ]

    released = moderate(Moderate(rule, choices=2), events)

    assert [event for event in released if isinstance(event, Logprobs)] == kept


def test_a_stream_that_fails_does_not_release_what_waited() -> None:
    def broken() -> Iterable[Event]:
        yield TextDelta("a blue")
        raise OSError("gone")

    run, events = Moderate(REDACT).run(broken()), list[Event]()
    with pytest.raises(OSError, match="gone"):
        events.extend(run)

    assert events == text("a ")
    assert run.stage(Moderate).held == 4


@pytest.mark.parametrize("errors", ["raise", "emit"])
def test_an_error_of_the_provider_does_not_release_what_waited(errors: str) -> None:
    body = b'data: {"choices":[{"delta":{"content":"a blue"}}]}\n\ndata: {"error":{"code":500}}\n\n'
    pipeline = Lines() | Parse() | Extract(errors=errors) | Moderate(REDACT)  # type: ignore[arg-type]

    events, raised = list[Event](), False
    try:
        events.extend(pipeline.run([body]))
    except ProviderError:
        raised = True

    assert raised is (errors == "raise")
    assert events == [*text("a "), StreamEnd("provider_error", False, (0,))]


@pytest.mark.anyio
async def test_a_stream_that_is_cancelled_does_not_release_what_waited() -> None:
    async def endless() -> object:
        while True:
            yield TextDelta("a blue")

    events = list[Event]()
    async with Moderate(REDACT).open(endless()) as stream:  # type: ignore[arg-type]
        async for event in stream:
            events.append(event)
            stream.cancel()

    assert events == [*text("a "), StreamEnd("cancelled")]


# Making one


def test_how_much_waits_can_be_asked_in_mid_stream() -> None:
    run = Moderate(REDACT).run(iter([*text("a blue"), *text("b blue h", index=1), *text("!"), END]))
    stage = run.stage(Moderate)

    assert [(event, stage.held) for event, _ in zip(run, range(3), strict=False)] == [
        (TextDelta("a "), 4),
        (TextDelta("b ", 1), 10),
        (TextDelta("blue!"), 6),
    ]


def test_nothing_waits_in_a_choice_that_is_blocked() -> None:
    run = Moderate(BLOCK, choices=2).run(iter([ReasoningDelta("blue"), *text("blue heron"), *text("a", index=1)]))

    assert len(list(run)) == 3
    assert run.stage(Moderate).held == 0


def test_a_bad_pattern_is_said_when_the_stage_is_made() -> None:
    with pytest.raises(PipelineError, match=r"^rule 'x', pattern '\(': missing \)"):
        Moderate(Rule("x", patterns=("(",)))


@pytest.mark.parametrize("channel", ["prompt", "contents"])
def test_a_channel_that_is_not_moderated_is_said_when_the_stage_is_made(channel: str) -> None:
    known = "content, reasoning, refusal, transcript, tool_arguments, tool_name, code, tool_input, tool_output, other"
    with pytest.raises(PipelineError, match=f"expected channels of {known}; found '{channel}'"):
        Moderate(REDACT, channels=("content", channel))  # type: ignore[arg-type]


def test_rules_may_come_from_a_generator_and_serve_any_number_of_runs() -> None:
    stage = Moderate(rule for rule in [REDACT])

    assert (
        moderate(stage, text("blue heron"))
        == moderate(stage, text("blue heron"))
        == [Redacted("bird", 0, 10), *text("[bird]")]
    )


def test_two_runs_of_one_stage_share_nothing() -> None:
    stage = Moderate(BLOCK)
    moderate(stage, text("blue heron"))

    assert moderate(stage, [*text("heron"), END]) == [*text("heron"), END]
