"""Usage is found in every format, its counts never decrease, and a total is known if its parts are."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from tests.dialects.streams import ndjson, read, sse

DONE = "[DONE]"
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def usage_of(*payloads: Any) -> tuple[int | None, int | None, int | None]:
    found = read(sse(*payloads)).completion.usage
    assert found is not None
    return found.prompt_tokens, found.completion_tokens, found.total_tokens


def spent(prompt: int | None, completion: int | None, total: int | None) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": spent(19, 2, 21)},
        {"choices": [{"index": 0, "delta": {}, "usage": spent(19, 2, 21)}]},
        {"choices": [{"index": "0", "delta": {}, "usage": spent(19, 2, 21)}]},
        {"choices": [], "x_groq": {"usage": spent(19, 2, 21)}},
        {"usage": spent(19, 2, 21)},
        {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": spent(19, 2, None)},
    ],
    ids=[
        "beside no choices",
        "in a choice (Moonshot)",
        "in a choice that is read leniently",
        "Groq",
        "alone",
        "no total",
    ],
)
def test_the_places_of_usage(chunk: dict[str, Any]) -> None:
    assert usage_of({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, chunk, STOP, DONE) == (19, 2, 21)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (spent(0, 0, 0), (19, 2, 21)),
        (spent(None, None, None), (19, 2, 21)),
        ({}, (19, 2, 21)),
        (spent(0, 5, 5), (19, 5, 24)),
        ({"completion_tokens": 5}, (19, 5, 24)),
        (spent(19, 5, 24), (19, 5, 24)),
        (spent(3, 1, 4), (19, 2, 21)),
    ],
    ids=["zeros", "nulls", "empty", "a part of it", "one of them", "more", "less"],
)
def test_a_later_chunk_does_not_decrease_a_count(later: dict[str, Any], expected: tuple[int, int, int]) -> None:
    first = {"choices": [{"index": 0, "delta": {"content": "Hi"}}], "usage": spent(19, 2, 21)}

    assert usage_of(first, {**STOP, "usage": later}, DONE) == expected


def test_a_later_chunk_does_not_decrease_details_of_usage() -> None:
    first = {**STOP, "usage": {**spent(19, 2, 21), "prompt_tokens_details": {"cached_tokens": 8}, "cost": 0.5}}
    later = {"choices": [], "usage": {**spent(19, 2, 21), "prompt_tokens_details": {"cached_tokens": 0}, "cost": None}}

    found = read(sse(first, later, DONE)).completion.usage

    assert found is not None
    assert found.details == first["usage"]


def counts(prompt: int, completion: int) -> dict[str, int]:
    return {"input_tokens": prompt, "output_tokens": completion}


def anthropic(spent: list[tuple[int, int]]) -> bytes:
    (first, *rest) = spent
    start = {"type": "message_start", "message": {"id": "m", "content": [], "usage": counts(*first)}}
    deltas = [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": counts(*later)} for later in rest
    ]
    return sse(start, *deltas, {"type": "message_stop"})


def openai(spent_: list[tuple[int, int]]) -> bytes:
    return sse(*({**STOP, "usage": spent(one, other, one + other)} for one, other in spent_), DONE)


def cloudflare(spent_: list[tuple[int, int]]) -> bytes:
    return sse(*({"response": "", "usage": spent(one, other, one + other)} for one, other in spent_), DONE)


def dashscope(spent: list[tuple[int, int]]) -> bytes:
    return sse(
        *(
            {"output": {"text": "", "finish_reason": "stop"}, "usage": counts(*both), "request_id": "r"}
            for both in spent
        )
    )


def watsonx(spent: list[tuple[int, int]]) -> bytes:
    results = [
        {"generated_text": "", "stop_reason": "eos_token", "input_token_count": one, "generated_token_count": other}
        for one, other in spent
    ]
    return sse(*({"results": [result]} for result in results))


def interactions(spent: list[tuple[int, int]]) -> bytes:
    said = [{"total_input_tokens": one, "total_output_tokens": other} for one, other in spent]
    events = [{"event_type": "interaction.status_update", "status": "in_progress", "usage": usage} for usage in said]
    return sse(*events, {"event_type": "interaction.completed", "interaction": {"status": "completed"}})


WIRES: dict[str, Callable[[list[tuple[int, int]]], bytes]] = {
    "anthropic": anthropic,
    "openai": openai,
    "cloudflare": cloudflare,
    "dashscope": dashscope,
    "watsonx": watsonx,
    "interactions": interactions,
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=5))
def test_no_count_decreases_in_any_dialect(
    wire: Callable[[list[tuple[int, int]]], bytes], spent: list[tuple[int, int]]
) -> None:
    said = [event for event in read(wire(spent)).events if isinstance(event, sk.Usage)]

    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        values = [value for event in said if (value := getattr(event, name)) is not None]
        assert values == sorted(values)
    prompt, completion = (max(values) for values in zip(*spent, strict=True))
    if prompt and completion:
        assert (said[-1].prompt_tokens, said[-1].completion_tokens) == (prompt, completion)
        assert said[-1].total_tokens == prompt + completion


def test_gemini_may_correct_an_estimate_but_not_to_zero() -> None:
    first = {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13}
    later = {"promptTokenCount": 9, "candidatesTokenCount": 0, "totalTokenCount": 12}

    assert usage_of({"usageMetadata": first}, {"usageMetadata": later}) == (9, 3, 12)


def test_a_total_is_the_sum_if_the_provider_sends_none() -> None:
    line = {"model": "m", "created_at": "x", "message": {"content": ""}, "done": True}

    ollama = read(ndjson({**line, "prompt_eval_count": 3, "eval_count": 4})).completion.usage
    unknown = read(ndjson({**line, "eval_count": 4})).completion.usage

    assert ollama is not None
    assert unknown is not None
    assert (ollama.total_tokens, unknown.total_tokens) == (7, None)


def test_several_results_of_watsonx_count_the_prompt_once() -> None:
    result = {"generated_text": "a", "stop_reason": "eos_token", "input_token_count": 5, "generated_token_count": 2}

    assert usage_of({"results": [result, {**result, "generated_token_count": 3}]}) == (5, 5, 10)
