"""Budget: no more than so many tokens, or so much money, exactly once."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import Budget, Event, Finish, ReasoningDelta, StreamEnd, TextDelta, ToolCallDelta, Usage
from streamkit.tokens import load_encoding

END = StreamEnd("completed", True)
LIMIT = StreamEnd("limit")
PRICES = {"currency": "USD", "models": {"m*": {"input": 1, "output": 10, "reasoning": 20}}}
MILLION = 1_000_000


def run(budget: Budget, *events: Event) -> list[Event]:
    return list(budget.run(list(events)))


def test_an_answer_that_fits_exactly_is_complete() -> None:
    events: list[Event] = [TextDelta("one two"), TextDelta(" three"), Finish("stop"), END]

    assert run(Budget(3, model="cl100k_base"), *events) == events


def test_the_delta_that_would_exceed_it_is_cut_and_the_stream_ends() -> None:
    passed = run(Budget(4, model="cl100k_base"), TextDelta("one two"), TextDelta(" three four five six"), END)

    assert passed == [TextDelta("one two"), TextDelta(" three four"), LIMIT]


def test_nothing_of_a_delta_passes_if_nothing_fits() -> None:
    assert run(Budget(0, model="cl100k_base"), TextDelta("one"), END) == [LIMIT]


def test_all_channels_and_choices_are_counted_together() -> None:
    passed = run(
        Budget(4, model="cl100k_base"), ReasoningDelta("one"), TextDelta("one two", 1), TextDelta("one two three"), END
    )

    assert passed == [ReasoningDelta("one"), TextDelta("one two", 1), TextDelta("one"), LIMIT]


def test_a_call_is_cut_like_text_and_keeps_its_name() -> None:
    call = ToolCallDelta(0, "call_a", "f", "one two three")

    assert run(Budget(2, model="cl100k_base"), call, END) == [ToolCallDelta(0, "call_a", "f", "one two"), LIMIT]


def test_parallel_calls_are_counted_each_by_itself() -> None:
    # Together `hello` would be one token, each by itself they are two.
    calls = [ToolCallDelta(0, "a", "f", "hel"), ToolCallDelta(1, "b", "f", "lo")]

    assert run(Budget(2, model="cl100k_base"), *calls, END) == [*calls, END]
    assert run(Budget(1, model="cl100k_base"), *calls, END) == [calls[0], ToolCallDelta(1, "b", "f", ""), LIMIT]


def test_what_was_cut_does_not_leave_in_the_chunk_that_it_came_from() -> None:
    cut, _ = run(Budget(1, model="cl100k_base"), TextDelta("one secret", payload='{"text": "one secret"}'))

    assert cut == TextDelta("one")
    assert cut.raw is None


def test_the_source_is_read_no_further_and_the_end_comes_once() -> None:
    read: list[int] = []

    def endless() -> Iterator[Event]:
        for number in range(1000):
            read.append(number)
            yield TextDelta(" word")

    passed = list((Budget(10, model="cl100k_base") | sk.Accumulate()).run(endless()))

    assert [event for event in passed if isinstance(event, StreamEnd)] == [LIMIT]
    assert [event.end for event in passed if isinstance(event, sk.Completion)] == ["limit"]
    assert len(read) == 11


@pytest.mark.anyio
async def test_the_source_is_closed_at_the_limit_before_the_consumer_has_seen_the_end() -> None:
    class Endless(sk.Source[Event]):
        closed = False

        async def read(self) -> list[Event]:
            return [TextDelta(" word")]

        async def close(self) -> None:
            self.closed = True

    source = Endless()
    async with source | Budget(3, model="cl100k_base") as events:
        passed = [(event, source.closed) async for event in events]

    assert passed[-1] == (LIMIT, True)
    assert events.end == LIMIT
    assert len(passed) == 4


def test_reasoning_that_is_billed_and_not_shown_counts_when_the_provider_tells_of_it() -> None:
    usage = Usage(10, 500, 510)

    assert run(Budget(100, model="cl100k_base"), usage, TextDelta("one"), END) == [usage, LIMIT]


def test_usage_that_comes_with_the_end_of_an_answer_does_not_make_a_limit_of_it() -> None:
    events: list[Event] = [TextDelta("one"), Finish("stop"), Usage(10, 500, 510), END]

    assert run(Budget(100, model="cl100k_base"), *events) == events


@settings(deadline=None, max_examples=60)
@given(
    pieces=st.lists(st.sampled_from(["hel", "lo", " world", "漢字", "1234", "\n\n", "!!", "x" * 300]), max_size=12),
    tokens=st.integers(0, 30),
    name=st.sampled_from(["cl100k_base", "o200k_base"]),
)
def test_what_passes_never_exceeds_the_budget_and_one_character_more_would(
    pieces: list[str], tokens: int, name: str
) -> None:
    encoding, whole = load_encoding(name), "".join(pieces)

    passed = run(Budget(tokens, model=name), *map(TextDelta, pieces), END)

    text = "".join(event.text for event in passed if isinstance(event, TextDelta))
    assert whole.startswith(text)
    assert len(encoding.encode_ordinary(text)) <= tokens
    assert (passed[-1] == END) == (text == whole)


# Cost


@pytest.mark.parametrize(
    ("cost", "prompt", "text"),
    [
        (Decimal("0.00003"), 0, "one two three"),
        (Decimal("0.00003"), 10, "one two"),
        ("0.00003", sk.tokens.PromptTokens(20, True), "one"),
        (Decimal("0.00003"), 30, ""),
        (Decimal("0.00003"), 1000, ""),
        (1, 0, "one two three four five six"),
    ],
)
def test_a_budget_of_money_includes_the_prompt(
    cost: Decimal | str | int, prompt: int | sk.tokens.PromptTokens, text: str
) -> None:
    budget = Budget(cost=cost, model="model-1", counter=lambda text: len(text.split()), prompt=prompt, prices=PRICES)

    passed = run(budget, TextDelta("one two three four five six"), END)

    assert "".join(event.text for event in passed if isinstance(event, TextDelta)).strip() == text
    assert passed[-1] == (END if text.endswith("six") else LIMIT)


def test_reasoning_is_paid_for_at_its_own_price() -> None:
    usage = Usage(0, 4, 4, {"completion_tokens_details": {"reasoning_tokens": 4}})
    budget = Budget(cost=Decimal(79) / MILLION, model="model-1", counter="characters", prompt=0, prices=PRICES)

    assert run(budget, usage, END) == [usage, LIMIT]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected a budget of tokens or of cost, found neither"),
        ({"tokens": -1}, "expected a budget of 0 tokens or more, found -1"),
        ({"cost": 1, "prompt": 1}, "^a budget of cost needs `prices`$"),
        ({"cost": 1, "prices": PRICES}, "^a budget of cost needs `prompt`, the tokens of the prompt$"),
        ({"cost": 1}, "^a budget of cost needs `prices` and `prompt`, the tokens of the prompt$"),
        ({"tokens": 5}, "^expected `model`, the name of a model or of an encoding, or `counter`; found neither$"),
        ({"tokens": 5, "counter": 3}, "^expected a counter, a function or a name; found an object of type int$"),
        ({"cost": 1, "prompt": 1, "prices": PRICES, "model": "x"}, "expected a price for model 'x', found none"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_when_it_is_made(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        Budget(**arguments)  # type: ignore[arg-type]


def test_two_runs_of_one_budget_have_one_each() -> None:
    budget = Budget(2, model="cl100k_base")

    assert [run(budget, TextDelta("one two three"), END) for _ in range(2)] == [[TextDelta("one two"), LIMIT]] * 2
