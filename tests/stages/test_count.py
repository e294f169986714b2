"""Count: the tokens of each channel of each choice, before the end or after each delta."""

import pytest

from streamkit import (
    Count,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
    Usage,
)

END = StreamEnd("completed", True)


def test_each_channel_of_each_choice_is_counted_by_itself() -> None:
    events: list[Event] = [
        TextDelta("hello world", 1),
        TextDelta("hello"),
        ReasoningDelta("Hmm, hello"),
        RefusalDelta("no"),
        ToolCallDelta(0, "call_a", "f", '{"a":'),
        ToolCallDelta(0, arguments="1}"),
        TextDelta(" world"),
        Usage(total_tokens=99),
        Finish("stop"),
        END,
    ]

    passed = list(Count("cl100k_base").run(iter(events)))

    assert passed == [
        *events[:-1],
        TokenCount(2, "content", 0, "cl100k_base"),
        TokenCount(3, "reasoning", 0, "cl100k_base"),
        TokenCount(1, "refusal", 0, "cl100k_base"),
        TokenCount(5, "tool_arguments", 0, "cl100k_base"),
        TokenCount(2, "content", 1, "cl100k_base"),
        END,
    ]


def test_the_count_can_be_read_at_any_time() -> None:
    run = Count("cl100k_base").run(
        iter([TextDelta("hello"), ReasoningDelta("hello world"), TextDelta("a b c", 1), END])
    )
    stage = run.stage(Count)

    read = [(stage.tokens(), stage.tokens("content"), stage.tokens(index=1), stage.tokens("reasoning", 0)) for _ in run]

    # The counts themselves are events too, and the end comes after them.
    assert read[:3] == [(1, 1, 0, 0), (3, 1, 0, 2), (6, 4, 3, 2)]
    assert set(read[3:]) == {(6, 4, 3, 2)}


def test_deltas_do_not_add_up_to_the_text_and_the_count_is_that_of_the_text() -> None:
    *_, count, _ = Count("cl100k_base").run([TextDelta("hel"), TextDelta("lo"), END])

    assert count == TokenCount(1, encoding="cl100k_base")


def test_a_running_count_follows_each_delta() -> None:
    deltas: list[Event] = [TextDelta("hello"), ToolCallDelta(0, "a", "f"), TextDelta(" world")]

    events = list(Count("cl100k_base", running=True).run([*deltas, END]))

    assert events == [
        TextDelta("hello"),
        TokenCount(1, encoding="cl100k_base"),
        ToolCallDelta(0, "a", "f"),
        TextDelta(" world"),
        TokenCount(2, encoding="cl100k_base"),
        TokenCount(2, encoding="cl100k_base"),
        END,
    ]


@pytest.mark.parametrize("running", [True, False])
def test_a_model_that_is_not_known_is_counted_by_another_encoding_and_said_to_be_inexact(running: bool) -> None:
    events = Count("nobody-knows-1", running=running).run([TextDelta("hello"), END])

    counts = [event for event in events if isinstance(event, TokenCount)]

    assert counts == [TokenCount(1, encoding="o200k_base", exact=False)] * (2 if running else 1)


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|im_start|>user<|im_end|>"])
def test_text_that_looks_like_a_special_token_is_text(text: str) -> None:
    *_, count, _ = Count("gpt-4o").run([TextDelta(text), END])

    assert isinstance(count, TokenCount)
    assert count.tokens > 1


def test_a_stream_without_a_last_event_is_counted_at_its_end() -> None:
    assert list(Count("cl100k_base").run([TextDelta("hello")])) == [
        TextDelta("hello"),
        TokenCount(1, encoding="cl100k_base"),
    ]


def test_a_stream_without_text_has_no_count() -> None:
    assert list(Count("cl100k_base").run([Finish("stop"), END])) == [Finish("stop"), END]


def test_two_runs_of_one_stage_count_by_themselves() -> None:
    stage = Count("cl100k_base")
    first, second = stage.run(iter([TextDelta("hello")])), stage.run(iter([TextDelta("a b c")]))
    list(first)
    list(second)

    assert (first.stage(Count).tokens(), second.stage(Count).tokens(), stage.tokens()) == (1, 3, 0)
