"""Several responses in one stream: their usage adds up, each stage says the same of it, and what was reset does not count."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit import Event, Finish, StreamEnd, TextDelta, Usage, UsageReport
from streamkit.events import Reset, ResponseStart, RoleDelta

END = StreamEnd("completed", True)
PRICES = {
    "currency": "USD",
    "models": {
        "small": {"input": 1, "output": 2},
        "*": {"input": 3, "output": 15, "cached_input": 1, "tiers": [{"above": 100, "input": 30}]},
    },
}


def turn(id: str | None, text: str, *usages: Usage, reason: str = "stop", model: str | None = None) -> list[Event]:
    return [ResponseStart(id, model=model), RoleDelta("assistant"), TextDelta(text), Finish(reason), *usages]


def figures(usage: Usage | UsageReport | None) -> tuple[int | None, int | None, int | None]:
    return (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) if usage else (None, None, None)


def counter(text: str) -> int:
    return len(text.split())


def told(events: list[Event], **options: Any) -> tuple[UsageReport, sk.Completion, sk.Timings]:
    count = sk.Count(counter=counter, **{"prices": PRICES, "model": "m", **options})
    run = (count | sk.Accumulate() | sk.Timing()).run(iter(events))
    found = {type(event): event for event in run}
    report, completion, timings = found[UsageReport], found[sk.Completion], found[sk.Timings]
    assert isinstance(report, UsageReport)
    assert isinstance(completion, sk.Completion)
    assert isinstance(timings, sk.Timings)
    return report, completion, timings


CASES: dict[str, tuple[list[Event], tuple[int | None, int | None, int | None]]] = {
    "one response, cumulative": (
        [*turn("1", "a b", Usage(10, 1, 11), Usage(10, 2, 12))],
        (10, 2, 12),
    ),
    "two turns": (
        [*turn("1", "a b", Usage(10, 2, 12), reason="tool_calls"), *turn("2", "c", Usage(20, 1, 21))],
        (30, 3, 33),
    ),
    "three turns, each cumulative": (
        [
            *(ResponseStart("1"), TextDelta("a"), Usage(10, 1, 11), TextDelta(" b"), Usage(10, 2, 12), Finish("stop")),
            *(ResponseStart("2"), TextDelta("c"), Usage(20, 1, 21), Finish("stop"), Usage(20, 5, 25)),
            *(ResponseStart("3"), TextDelta("d"), Finish("stop"), Usage(30, 1, 31)),
        ],
        (60, 8, 68),
    ),
    "the input of the second is said before its text": (
        [
            *turn("1", "a", Usage(10, 1, 11)),
            ResponseStart("2"),
            RoleDelta("assistant"),
            Usage(20, 0, 20),
            TextDelta("b"),
            Finish("stop"),
            Usage(None, 1),
        ],
        (30, 2, 32),
    ),
    "an attempt before a reset": (
        [
            ResponseStart("1"),
            TextDelta("a b c"),
            Usage(10, 3, 13),
            Reset("Disconnected"),
            *turn("2", "d", Usage(20, 1, 21)),
        ],
        (20, 1, 21),
    ),
    "two turns and an attempt before a reset": (
        [
            *turn("1", "a", Usage(1, 1, 2)),
            *turn("2", "b", Usage(2, 2, 4)),
            Reset("timeout"),
            *turn("3", "c", Usage(4, 4, 8)),
        ],
        (4, 4, 8),
    ),
    "turns after a reset": (
        [
            *turn("1", "a", Usage(1, 1, 2)),
            Reset("timeout"),
            *turn("2", "b", Usage(2, 2, 4)),
            *turn("3", "c", Usage(4, 4, 8)),
        ],
        (6, 6, 12),
    ),
    "a first one that was cut": (
        [
            *(ResponseStart("1"), TextDelta("a"), Usage(10, 1, 11), StreamEnd("truncated")),
            *turn("2", " b", Usage(20, 1, 21)),
        ],
        (30, 2, 32),
    ),
    "who answers is said again": (
        [*turn("1", "a", Usage(10, 1, 11)), ResponseStart("1", service_tier="default"), Usage(10, 2, 12)],
        (10, 2, 12),
    ),
    "an id that comes late": (
        [ResponseStart(model="m"), TextDelta("a"), Finish("stop"), ResponseStart("1"), Usage(10, 1, 11)],
        (10, 1, 11),
    ),
    "another id in the middle of a response": (
        [
            ResponseStart("1"),
            TextDelta("a"),
            Usage(10, 1, 11),
            ResponseStart("2"),
            TextDelta("b"),
            Finish("stop"),
            Usage(10, 2, 12),
        ],
        (10, 2, 12),
    ),
    "an id of its own for each chunk, and the usage last": (
        [
            *(
                ResponseStart("1"),
                TextDelta("a"),
                Usage(10, 1, 11),
                ResponseStart("2"),
                TextDelta("b"),
                Usage(10, 2, 12),
            ),
            *(ResponseStart("3"), Finish("stop"), Usage(10, 2, 12), ResponseStart("4"), Usage(10, 2, 12)),
        ],
        (10, 2, 12),
    ),
    "no ids": (
        [*turn(None, "a", Usage(10, 1, 11)), *turn(None, "b", Usage(10, 2, 12))],
        (10, 2, 12),
    ),
    "several choices": (
        [
            *(ResponseStart("1"), TextDelta("a"), TextDelta("b", 1), Finish("stop"), Finish("stop", 1)),
            *(Usage(10, 2, 12), *turn("2", "c", Usage(20, 1, 21))),
        ],
        (30, 3, 33),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_every_stage_says_the_same(events: list[Event], expected: tuple[int | None, int | None, int | None]) -> None:
    report, completion, timings = told([*events, END])

    assert report.source == "provider"
    assert figures(report) == figures(completion.usage) == expected
    assert timings.tokens == expected[1]


def test_a_response_without_a_usage_is_counted_and_the_sum_of_the_prompts_is_not_known() -> None:
    events = [*turn("1", "a b c"), *turn("2", " d e", Usage(20, 7, 27)), END]

    report, completion, timings = told(events)

    assert (report.source, report.completion_tokens, timings.tokens) == ("local", 10, 10)
    assert (report.prompt_tokens, report.total_tokens, report.cost, report.difference) == (None, None, None, None)
    assert figures(completion.usage) == (20, 7, 27)


def test_a_prompt_of_your_own_stands_in_for_each_response_without_one() -> None:
    events = [*turn("1", "a b c"), *turn("2", "d e", Usage(20, 7, 27)), END]

    report, _, _ = told(events, prompt=5)

    assert (report.prompt_tokens, report.completion_tokens, report.total_tokens) == (25, 10, 35)


def test_of_an_answer_that_was_cut_what_is_known_of_all_responses_is_reported() -> None:
    events = [*turn("1", "a b c", Usage(10, 9, 19)), ResponseStart("2"), TextDelta(" d e"), StreamEnd("truncated")]

    report, _, timings = told(events)

    assert (report.source, report.prompt_tokens, report.completion_tokens, report.total_tokens) == (
        "partial",
        10,
        11,
        21,
    )
    assert timings.tokens == 11


def test_long_prompts_cost_more_in_each_response_by_itself_and_each_has_its_models_price() -> None:
    short, long = Usage(80, 10, 90), Usage(200, 10, 210)

    two_short, _, _ = told([*turn("1", "a", short), *turn("2", "b", short), END])
    with_long, _, _ = told([*turn("1", "a", short), *turn("2", "b", long), END])
    with_small, _, _ = told([*turn("1", "a", short, model="small"), *turn("2", "b", short, model="big"), END])

    assert two_short.cost == Decimal("0.00078")  # 2 × (80 × 3 + 10 × 15) / 1,000,000, though 160 are above 100
    assert with_long.cost == Decimal("0.00039") + Decimal("0.00615")
    assert with_small.cost == Decimal("0.0001") + Decimal("0.00039")
    assert with_small.model == "big"


def test_the_parts_of_all_responses_add_up() -> None:
    first = Usage(10, 5, 15, {"prompt_tokens_details": {"cached_tokens": 4}, "cost": 0.1})
    second = Usage(30, 6, 36, {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 8, "cost": 0.2})

    report, _, _ = told([*turn("1", "a", first), *turn("2", "b", second), END])

    assert (report.cached_tokens, report.cache_write_tokens, report.provider_cost) == (24, 8, Decimal("0.3"))
    assert report.provider == Usage(40, 11, 51, second.details, responses=2)


def test_a_budget_is_shared_by_all_responses_and_what_the_provider_billed_counts() -> None:
    # The first has two words, and was billed as six.
    events = [*turn("1", "a b", Usage(10, 6, 16)), *turn("2", " c d e"), END]
    budget = sk.Budget(8, counter=counter)

    passed = list(budget.run(iter(events)))

    assert passed == [*events[:5], ResponseStart("2"), RoleDelta("assistant"), TextDelta(" c d "), StreamEnd("limit")]


def test_a_budget_of_money_has_the_prompts_of_all_responses_and_their_caches() -> None:
    cached = Usage(100, 0, 100, {"prompt_tokens_details": {"cached_tokens": 100}})
    events: list[Event] = []
    for id, text in (("1", "a"), ("2", " b"), ("3", " c")):
        events += [ResponseStart(id), RoleDelta("assistant"), cached, TextDelta(text), Finish("stop"), Usage(None, 1)]
    # Each costs 100 × 1 for its cached prompt, and 15 for its word: two are 230, and the third would make it 345.
    budget = sk.Budget(cost=Decimal("0.000344"), model="m", counter=counter, prompt=100, prices=PRICES)

    passed = list(budget.run(iter([*events, END])))

    assert [event.text for event in passed if isinstance(event, TextDelta)] == ["a", " b", " "]
    assert passed[-1] == StreamEnd("limit")
    more = sk.Budget(cost=Decimal("0.000345"), model="m", counter=counter, prompt=100, prices=PRICES)
    assert list(more.run(iter([*events, END]))) == [*events, END]


def test_after_a_reset_all_of_the_budget_is_there_again() -> None:
    events = [TextDelta("a b c"), Usage(10, 3, 13), Reset("Disconnected"), TextDelta("d e f"), Finish("stop"), END]

    assert list(sk.Budget(3, counter=counter).run(iter(events))) == events


def test_after_a_reset_counts_content_and_deltas_begin_anew() -> None:
    events = [TextDelta("a b c"), Reset("Disconnected"), TextDelta("d"), Finish("stop"), END]
    times = iter(range(100))

    run = (sk.Count(counter=counter) | sk.Timing()).run(iter(events), clock=lambda: float(next(times)))
    found = list(run)

    assert [event.tokens for event in found if isinstance(event, sk.TokenCount)] == [1]
    (timings,) = [event for event in found if isinstance(event, sk.Timings)]
    assert (timings.first_byte, timings.first_content, timings.deltas, timings.tokens) == (1.0, 3.0, (3.0,), 1)


def test_a_reset_in_the_read_that_brings_the_new_answer() -> None:
    events = [TextDelta("a"), TextDelta("b"), Reset("Disconnected"), TextDelta("c"), END]

    *_, timings, _ = sk.Timing().run(events, clock=iter([0.0, 2.0, 3.0]).__next__)

    assert isinstance(timings, sk.Timings)
    assert (timings.first_content, timings.deltas) == (2.0, (2.0,))


def test_what_is_written_for_a_client_is_the_sum() -> None:
    events = [*turn("1", "a", Usage(10, 2, 12, {"prompt_tokens": 10})), *turn("2", "b", Usage(20, 1, 21)), END]

    chunks = [json.loads(item.data) for item in sk.Emit(include_usage=True).run(events) if item.data != "[DONE]"]

    assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == [
        {"prompt_tokens": 30, "completion_tokens": 3, "total_tokens": 33}
    ]


# The property

WORDS = st.lists(st.sampled_from(["a", " b", "cc ", "d e"]), min_size=1, max_size=3)
USAGES = st.builds(Usage, st.none() | st.integers(0, 50), st.none() | st.integers(0, 50))
TURNS = st.lists(st.tuples(WORDS, st.lists(USAGES, max_size=3), st.booleans()), min_size=1, max_size=4)


def latest(usages: list[Usage]) -> int | None:
    known: int | None = None
    for usage in usages:
        known = usage.completion_tokens or (usage.completion_tokens if known is None else known)
    return known


def stream_of(turns: list[tuple[list[str], list[Usage], bool]]) -> list[Event]:
    events: list[Event] = []
    for number, (words, usages, resets) in enumerate(turns):
        events += [ResponseStart(str(number)), *map(TextDelta, words), Finish("stop"), *usages]
        if resets and number < len(turns) - 1:
            events.append(Reset("Disconnected"))
    return [*events, END]


@given(turns=TURNS, cut=st.integers(0, 40))
def test_any_stages_agree_and_a_checkpoint_changes_nothing(
    turns: list[tuple[list[str], list[Usage], bool]], cut: int
) -> None:
    events = stream_of(turns)
    report, completion, timings = told(events)

    assert timings.tokens in (report.completion_tokens, None)
    # Of each response since the last reset the latest that is known.
    last = max((at for at, (_, _, resets) in enumerate(turns[:-1], 1) if resets), default=0)
    known = [latest(usages) for _, usages, _ in turns[last:]]
    if None not in known:
        assert report.source == "provider"
        assert report.completion_tokens == timings.tokens == figures(completion.usage)[1] == sum(filter(None, known))

    pipeline = sk.Count(counter=counter, model="m", prices=PRICES) | sk.Accumulate() | sk.Timing()
    run = pipeline.run(iter(events[:cut]), clock=float)
    before = [event for _, event in zip(range(cut), run, strict=False)]
    if len(before) == cut and cut < len(events):
        again = pipeline.run(iter(events[cut:]), clock=float, checkpoint=run.checkpoint())
        assert [*before, *again] == list(pipeline.run(iter(events), clock=float))
