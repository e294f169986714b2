"""Count: the tokens of each channel of each choice, before the end or after each delta, and the report beside the provider's."""

import json
import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import streamkit as sk
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
    UsageReport,
)
from streamkit.testing import Scripted

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
        TokenCount(5, "tool_arguments", 0, "cl100k_base", tool_index=0),
        TokenCount(2, "content", 1, "cl100k_base"),
        UsageReport("local", None, 13, 99, counted=13, provider=Usage(total_tokens=99), model="cl100k_base"),
        END,
    ]


def test_parallel_calls_are_counted_each_by_itself() -> None:
    events: list[Event] = [
        ToolCallDelta(0, "call_a", "f", '{"city": "Par'),
        ToolCallDelta(1, "call_b", "f", '{"city": "Oslo"}'),
        ToolCallDelta(0, arguments='is"}'),
        ToolCallDelta(0, "call_c", "f", "{}", index=1),
        END,
    ]

    run = Count("cl100k_base").run(iter(events))
    counts = [event for event in run if isinstance(event, TokenCount)]

    assert counts == [
        TokenCount(6, "tool_arguments", 0, "cl100k_base", tool_index=0),
        TokenCount(7, "tool_arguments", 0, "cl100k_base", tool_index=1),
        TokenCount(1, "tool_arguments", 1, "cl100k_base", tool_index=0),
    ]
    stage = run.stage(Count)
    assert [stage.tokens(tool_index=0), stage.tokens(index=0, tool_index=1), stage.tokens()] == [7, 7, 14]


def test_a_running_count_names_the_call_and_a_timing_behind_it_adds_the_calls() -> None:
    events: list[Event] = [ToolCallDelta(0, "a", "f", "one two"), ToolCallDelta(1, "b", "f", "three four"), END]

    *found, _ = (Count("cl100k_base", running=True) | sk.Timing()).run(events)

    running = [event for event in found if isinstance(event, TokenCount)][:2]
    assert [(event.tool_index, event.tokens) for event in running] == [(0, 2), (1, 2)]
    assert [event.tokens for event in found if isinstance(event, sk.Timings)] == [4]


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
    *_, count, _, _ = Count("cl100k_base").run([TextDelta("hel"), TextDelta("lo"), END])

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
        UsageReport("local", None, 2, counted=2, model="cl100k_base"),
        END,
    ]


@pytest.mark.parametrize("running", [True, False])
def test_a_model_that_is_not_known_is_counted_by_another_encoding_and_said_to_be_inexact(running: bool) -> None:
    with pytest.warns(UserWarning, match="'nobody-knows-1' is unknown; o200k_base is used instead"):
        events = list(Count("nobody-knows-1", running=running).run([TextDelta("hello"), END]))

    counts = [event for event in events if isinstance(event, TokenCount)]

    assert counts == [TokenCount(1, encoding="o200k_base", exact=False)] * (2 if running else 1)
    assert [event.exact for event in events if isinstance(event, UsageReport)] == [False]


@dataclass
class Own:
    """Somebody's own: the `__init__` that `dataclass` writes has no line in a file."""

    counter: Any = field(default_factory=partial(sk.tokens.counters.Encoding, "nobody-knows-1"))


UNKNOWN = "nobody-knows-1"
COUNTED: Any = sk.Extract() | Count(UNKNOWN) | sk.Accumulate()
WAYS: dict[str, Any] = {
    "run": lambda: Count(UNKNOWN).run([]),
    "open": lambda: Count(UNKNOWN).open([]),
    "a source": lambda: sk.http.post("https://api.example/v1") | (sk.Parse() | COUNTED),
    "an iterable": lambda: [] | COUNTED,
    "fresh": lambda: COUNTED.fresh(),
    "a branch": lambda: sk.ops.Switch(str, {"a": Count(UNKNOWN)}).run([]),
    "a thread": lambda: sk.hops.Threaded(Count(UNKNOWN)).open([]),
    "a class of one's own": lambda: Own(),
    "a counter": lambda: sk.tokens.counters.Encoding(UNKNOWN),
    "a budget": lambda: list(sk.Budget(10, model=UNKNOWN).run([TextDelta("a")])),
    "a prompt": lambda: sk.tokens.prompt_tokens([{"role": "user", "content": "a"}], UNKNOWN),
    "a file": lambda: sk.pipelines.loads(f'[[stage]]\nuse = "Count"\nmodel = "{UNKNOWN}"').fresh(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_warning_of_a_model_that_is_not_known_is_at_the_caller_s_line(way: Any) -> None:
    with pytest.warns(UserWarning, match="is unknown") as caught:
        way()

    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, way.__code__.co_firstlineno)}


@pytest.mark.anyio
async def test_it_is_so_in_a_coroutine() -> None:
    with pytest.warns(UserWarning, match="is unknown") as caught:
        await (Scripted(TextDelta("a")) | Count(UNKNOWN)).collect()

    assert [linecache.getline(warning.filename, warning.lineno).strip() for warning in caught] == [
        'await (Scripted(TextDelta("a")) | Count(UNKNOWN)).collect()'
    ]


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|im_start|>user<|im_end|>"])
def test_text_that_looks_like_a_special_token_is_text(text: str) -> None:
    *_, count, _, _ = Count("gpt-4o").run([TextDelta(text), END])

    assert isinstance(count, TokenCount)
    assert count.tokens > 1


def test_a_stream_without_a_last_event_is_counted_at_its_end() -> None:
    assert list(Count("cl100k_base").run([TextDelta("hello")])) == [
        TextDelta("hello"),
        TokenCount(1, encoding="cl100k_base"),
        UsageReport("partial", None, 1, counted=1, model="cl100k_base"),
    ]


def test_a_stream_without_text_has_no_count() -> None:
    assert list(Count("cl100k_base").run([Finish("stop"), END])) == [
        Finish("stop"),
        UsageReport("local", None, 0, model="cl100k_base"),
        END,
    ]


def test_two_runs_of_one_stage_count_by_themselves() -> None:
    stage = Count("cl100k_base")
    first, second = stage.run(iter([TextDelta("hello")])), stage.run(iter([TextDelta("a b c")]))
    list(first)
    list(second)

    assert (first.stage(Count).tokens(), second.stage(Count).tokens(), stage.tokens()) == (1, 3, 0)


def test_without_a_model_and_a_counter_there_is_nothing_to_count_by() -> None:
    with pytest.raises(sk.PipelineError, match="expected `model`, the name of a model"):
        Count()


# The report


def reported(count: Count, *events: Event) -> UsageReport:
    (report,) = [event for event in count.run(list(events)) if isinstance(event, UsageReport)]
    return report


ONE_TO_100 = TextDelta("\n\n" + ", ".join(str(number) for number in range(1, 101)) + ".")


def test_the_guides_figures_come_out_and_differ_by_the_token_that_ends_the_answer() -> None:
    message = "Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."
    prompt = sk.tokens.prompt_tokens([{"role": "user", "content": message}], "gpt-3.5-turbo")

    report = reported(Count("gpt-3.5-turbo", prompt=prompt), ONE_TO_100, Finish("stop"), Usage(36, 301, 337), END)

    assert (prompt.tokens, prompt.exact) == (36, True)
    assert report == UsageReport(
        "provider", 36, 301, 337, None, None, 300, 36, True, 1, Usage(36, 301, 337), model="gpt-3.5-turbo"
    )


def test_without_the_providers_usage_the_report_is_what_was_counted_and_the_prompt_is_unknown() -> None:
    report = reported(Count("cl100k_base"), TextDelta("hello world"), END)

    assert (report.source, report.completion_tokens, report.counted) == ("local", 2, 2)
    assert (report.prompt_tokens, report.total_tokens, report.reasoning_tokens, report.provider) == (None,) * 4
    assert (report.difference, report.cost) == (None, None)


@pytest.mark.parametrize(
    "reason", ["unknown", "truncated", "cancelled", "moderated", "provider_error", "limit", "timeout"]
)
def test_an_answer_that_did_not_come_to_its_own_end_is_partly_known(reason: sk.events.EndReason) -> None:
    report = reported(Count("cl100k_base"), TextDelta("hello world"), Usage(10, 1, 11), StreamEnd(reason))

    assert (report.source, report.prompt_tokens, report.completion_tokens, report.total_tokens) == (
        "partial",
        10,
        2,
        12,
    )
    assert report.provider == Usage(10, 1, 11)


@pytest.mark.parametrize("reason", ["completed", "length", "content_filter", "tool_calls"])
def test_an_answer_that_came_to_its_own_end_costs_what_the_provider_says(reason: sk.events.EndReason) -> None:
    report = reported(Count("cl100k_base"), TextDelta("hello world"), Usage(10, 3, 13), StreamEnd(reason, True))

    assert (report.source, report.completion_tokens, report.difference) == ("provider", 3, 1)


DETAILS: dict[str, dict[str, Any]] = {
    "OpenAI": {"completion_tokens_details": {"reasoning_tokens": 40}, "prompt_tokens_details": {"cached_tokens": 8}},
    "Responses": {"output_tokens_details": {"reasoning_tokens": 40}, "input_tokens_details": {"cached_tokens": 8}},
    "Gemini": {"thoughtsTokenCount": 40, "cachedContentTokenCount": 8},
}


@pytest.mark.parametrize("details", DETAILS.values(), ids=DETAILS.keys())
def test_reasoning_that_is_not_to_be_seen_is_reported_apart(details: dict[str, Any]) -> None:
    report = reported(Count("cl100k_base"), TextDelta("hello world"), Usage(10, 43, 53, details), END)

    assert (report.reasoning_tokens, report.cached_tokens, report.counted, report.difference) == (40, 8, 2, 1)


def test_reasoning_that_is_to_be_seen_is_counted_with_the_rest() -> None:
    usage = Usage(10, 6, 16, DETAILS["OpenAI"])

    report = reported(Count("cl100k_base"), ReasoningDelta("Hmm, hello"), TextDelta("hello world"), usage, END)

    assert (report.counted, report.difference) == (5, 1)


def test_usage_that_comes_all_the_time_is_replaced_and_never_added_up_or_forgotten() -> None:
    """As vLLM sends it with `continuous_usage_stats`; and a later one that does not know leaves what was known."""
    usages = [Usage(10, 1, 11), Usage(10, 2, 12), Usage(None, 3), Usage()]

    report = reported(Count("cl100k_base"), TextDelta("hello world"), *usages, END)

    assert report.provider == Usage(10, 3, 13)
    assert (report.prompt_tokens, report.completion_tokens, report.total_tokens) == (10, 3, 13)


def test_the_report_can_be_read_after_a_failure() -> None:
    def broken() -> Iterator[Event]:
        yield TextDelta("hello world")
        raise ValueError("the line broke")

    run = Count("cl100k_base", prompt=7).run(broken())
    with pytest.raises(ValueError, match="the line broke"):
        list(run)

    report = run.stage(Count).report
    assert (report.source, report.prompt_tokens, report.completion_tokens, report.total_tokens) == ("partial", 7, 2, 9)


@pytest.mark.anyio
async def test_the_report_can_be_read_after_a_cancellation() -> None:
    stream = Count("cl100k_base").open([TextDelta("hello world"), TextDelta(" again"), END])
    async with stream as events:
        async for _ in events:
            stream.cancel()
            break

    report = stream.stage(Count).report
    assert report.source == "partial" or report.provider is None
    assert report.counted == report.completion_tokens == 3


def test_generated_released_and_billed_are_three_figures_under_moderation() -> None:
    @dataclass
    class Generated(Count):
        """The provider's events."""

    rule = sk.Rule("secret", patterns=("hunter2",), action="block")
    pipeline = Generated("cl100k_base", name="generated") | sk.Moderate(rule) | Count("cl100k_base", name="released")
    deltas: list[Event] = [
        TextDelta("the password is"),
        Usage(9, 5, 14),
        TextDelta(" hunter2, I think"),
        Usage(9, 11, 20),
    ]

    run = pipeline.run(deltas)
    events = list(run)

    generated, released = run.stage(Generated).report, events[-2]
    assert isinstance(released, UsageReport)
    assert (generated.name, generated.source, generated.counted) == ("generated", "partial", 8)
    assert (released.name, released.source, released.counted) == ("released", "partial", 4)
    assert generated.provider == Usage(9, 11, 20)
    assert generated.completion_tokens == 11


def test_a_replay_is_counted_as_the_stream_was() -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("hello", " wor", "ld")]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    pipeline = sk.Parse() | sk.Extract() | Count("cl100k_base")

    live, again = (list(pipeline.run(body.encode())) for _ in range(2))

    assert live == again
    assert [event.counted for event in again if isinstance(event, UsageReport)] == [2]


# Counters and prices


def test_a_function_counts_in_the_encodings_stead() -> None:
    def words(text: str) -> int:
        return len(text.split())

    events = list(Count(counter=words).run([TextDelta("one tw"), TextDelta("o three"), END]))

    assert events[2] == TokenCount(3, encoding="words")


def test_characters_are_an_estimate_and_say_so() -> None:
    events = list(Count(counter="characters").run([TextDelta("123456789"), END]))

    assert events[1] == TokenCount(3, encoding="characters/4", exact=False)
    assert events[2] == UsageReport("local", None, 3, counted=3, exact=False)


PRICES = {
    "currency": "EUR",
    "models": {
        "dated-2024-*": {"input": 1, "output": 2},
        "dated*": {"input": 100, "cached_input": 50, "output": 200, "reasoning": 400},
    },
}


@pytest.mark.parametrize(
    ("answered_by", "usage", "cost"),
    [
        (None, Usage(1_000_000, 500_000, 1_500_000), Decimal(200)),
        (None, Usage(1_000_000, 500_000, None, DETAILS["Gemini"]), Decimal("200.0076")),
        ("dated-2024-08-06", Usage(1_000_000, 500_000, 1_500_000), Decimal(2)),
        ("another", Usage(1_000_000, 500_000, 1_500_000), Decimal(200)),
        (None, Usage(None, 500_000), None),
    ],
    ids=["plain", "cached and reasoning", "the model that answered", "the model that was asked", "no prompt"],
)
def test_the_report_has_the_cost_by_your_prices(answered_by: str | None, usage: Usage, cost: Decimal | None) -> None:
    count = Count("dated", counter="characters", prices=PRICES)

    report = reported(count, sk.events.ResponseStart(model=answered_by), TextDelta("a"), usage, END)

    assert (report.cost, report.currency) == (cost, "EUR")


def test_a_model_without_a_price_has_no_cost_rather_than_none_at_all() -> None:
    report = reported(Count("unpriced", counter="characters", prices=PRICES), TextDelta("a"), Usage(1, 1, 2), END)

    assert report.cost is None
