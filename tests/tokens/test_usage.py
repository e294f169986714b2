"""Providers' usage objects: literal objects as they are sent, and the report and cost that follow from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit import Usage, UsageReport
from streamkit.tokens.usage import UsageParts, merged, parts_of, total_of, usage_of

# Sonnet's prices, with those of its cache; a model that has them all.
PRICES = {
    "currency": "USD",
    "models": {
        "*": {"input": 3, "output": 15, "cached_input": "0.30", "cache_write": "3.75", "cache_write_1h": 6},
    },
}
Details = dict[str, Any]


def sse(*events: Details, done: bool = False) -> bytes:
    lines = [f"event: {event['type']}\n" if "type" in event else "" for event in events]
    body = "".join(f"{line}data: {json.dumps(event)}\n\n" for line, event in zip(lines, events, strict=True))
    return (body + ("data: [DONE]\n\n" if done else "")).encode()


def chat(usage: Details) -> bytes:
    def chunk(delta: Details, reason: str | None = None) -> Details:
        return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    last = {"id": "c", "model": "m", "choices": [], "usage": usage}
    return sse(chunk({"content": "Hi"}), chunk({}, "stop"), last, done=True)


def responses(usage: Details) -> bytes:
    whole = {"id": "r", "object": "response", "model": "m", "output": []}
    return sse(
        {"type": "response.created", "response": whole},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"},
        {"type": "response.completed", "response": {**whole, "status": "completed", "usage": usage}},
    )


def anthropic(usage: Details) -> bytes:
    # The input is said at the beginning, and the output at the end.
    start = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    return sse(
        {"type": "message_start", "message": {**start, "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {name: value for name, value in usage.items() if name.startswith("output")},
        },
        {"type": "message_stop"},
    )


def gemini(usage: Details) -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    return sse({"candidates": [candidate], "modelVersion": "m", "usageMetadata": usage})


def cohere(usage: Details) -> bytes:
    return sse(
        {"type": "message-start", "id": "h", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    )


def ollama(usage: Details) -> bytes:
    shared = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
    said = {**shared, "message": {"role": "assistant", "content": "Hi"}, "done": False}
    last = {**shared, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **usage}
    return "".join(json.dumps(line) + "\n" for line in (said, last)).encode()


def watsonx(usage: Details) -> bytes:
    result = {"generated_text": "Hi", "stop_reason": "eos_token", **usage}
    return sse({"model_id": "m", "results": [result]})


class Case(NamedTuple):
    wire: Callable[[Details], bytes]
    usage: Details
    prompt: int
    completion: int
    total: int
    cost: str
    reasoning: int | None = None
    cached: int | None = None
    written: int | None = None
    provider_cost: str | None = None


CASES = {
    # https://platform.openai.com/docs/guides/prompt-caching
    "OpenAI, chat": Case(
        chat,
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 192,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        *(2006, 300, 2306),
        cost="0.005334",
        reasoning=192,
        cached=1920,
    ),
    "OpenAI, Responses": Case(
        responses,
        {
            "input_tokens": 2006,
            "input_tokens_details": {"cached_tokens": 1920},
            "output_tokens": 300,
            "output_tokens_details": {"reasoning_tokens": 192},
            "total_tokens": 2306,
        },
        *(2006, 300, 2306),
        cost="0.005334",
        reasoning=192,
        cached=1920,
    ),
    "Azure": Case(
        chat,
        {
            "completion_tokens": 24,
            "completion_tokens_details": {"reasoning_tokens": 0},
            "prompt_tokens": 12,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
            "total_tokens": 36,
        },
        *(12, 24, 36),
        cost="0.000396",
        reasoning=0,
        cached=0,
    ),
    # https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance
    "Anthropic, the issue's": Case(
        anthropic,
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 100_000,
            "cache_read_input_tokens": 50_000,
            "output_tokens": 1_000,
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "Anthropic, 5 minutes and 1 hour": Case(
        anthropic,
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 503,
            "output_tokens_details": {"thinking_tokens": 53},
            "service_tier": "standard",
        },
        *(4096, 503, 4599),
        cost="0.015384",
        reasoning=53,
        cached=1800,
        written=248,
    ),
    "Anthropic, the sum left out": Case(
        anthropic,
        {
            "input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 1,
        },
        *(110, 1, 111),
        cost="0.000645",
        written=100,
    ),
    # https://ai.google.dev/api/generate-content#UsageMetadata
    "Gemini": Case(
        gemini,
        {
            "promptTokenCount": 3000,
            "cachedContentTokenCount": 2000,
            "toolUsePromptTokenCount": 500,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 300,
            "totalTokenCount": 3820,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3000}],
        },
        *(3500, 320, 3820),
        cost="0.0099",
        reasoning=300,
        cached=2000,
    ),
    "Gemini without thoughts": Case(
        gemini,
        {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
        *(4, 2, 6),
        cost="0.000042",
    ),
    # https://api-docs.deepseek.com/guides/kv_cache
    "DeepSeek": Case(
        chat,
        {
            "prompt_tokens": 366,
            "completion_tokens": 59,
            "total_tokens": 425,
            "prompt_tokens_details": {"cached_tokens": 256},
            "completion_tokens_details": {"reasoning_tokens": 14},
            "prompt_cache_hit_tokens": 256,
            "prompt_cache_miss_tokens": 110,
        },
        *(366, 59, 425),
        cost="0.0012918",
        reasoning=14,
        cached=256,
    ),
    "DeepSeek without details": Case(
        chat,
        {
            "prompt_tokens": 366,
            "completion_tokens": 59,
            "total_tokens": 425,
            "prompt_cache_hit_tokens": 256,
            "prompt_cache_miss_tokens": 110,
        },
        *(366, 59, 425),
        cost="0.0012918",
        cached=256,
    ),
    # https://docs.cohere.com/v2/docs/how-does-cohere-pricing-work: the billed units cost, also where more was used.
    "Cohere": Case(
        cohere,
        {
            "billed_units": {"input_tokens": 98.0, "output_tokens": 35.0},
            "tokens": {"input_tokens": 1508.0, "output_tokens": 67.0},
            "cached_tokens": 1472,
        },
        *(98, 35, 133),
        cost="0.000819",
    ),
    "Mistral": Case(
        chat,
        {
            "prompt_tokens": 10,
            "total_tokens": 73,
            "completion_tokens": 63,
            "prompt_tokens_details": {"cached_tokens": 5},
        },
        *(10, 63, 73),
        cost="0.0009615",
        cached=5,
    ),
    "Groq": Case(
        chat,
        {
            "queue_time": 0.2,
            "prompt_tokens": 4641,
            "prompt_time": 0.01,
            "completion_tokens": 1817,
            "completion_time": 4.2,
            "total_tokens": 6458,
            "total_time": 4.21,
            "prompt_tokens_details": {"cached_tokens": 4608},
            "completion_tokens_details": {"reasoning_tokens": 1200},
        },
        *(4641, 1817, 6458),
        cost="0.0287364",
        reasoning=1200,
        cached=4608,
    ),
    # The completion leaves out the reasoning, which the total has. (https://docs.x.ai/docs/guides/reasoning)
    "xAI": Case(
        chat,
        {
            "prompt_tokens": 432,
            "completion_tokens": 68,
            "total_tokens": 636,
            "prompt_tokens_details": {"text_tokens": 432, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 153},
            "completion_tokens_details": {"reasoning_tokens": 136, "audio_tokens": 0},
            "num_sources_used": 0,
            "cost_in_usd_ticks": 1_654_500,
        },
        *(432, 204, 636),
        cost="0.0039429",
        reasoning=136,
        cached=153,
        provider_cost="0.00016545",
    ),
    # https://openrouter.ai/docs/use-cases/usage-accounting
    "OpenRouter": Case(
        chat,
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "cost": 0.00095,
            "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50, "audio_tokens": 0},
            "cost_details": {"upstream_inference_cost": None},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        *(194, 2, 196),
        cost="0.0003795",
        reasoning=0,
        cached=100,
        written=50,
        provider_cost="0.00095",
    ),
    # More reasoning than completion, by another tokenizer: the total says that the one contains the other.
    "OpenRouter, reasoning of another count": Case(
        chat,
        {
            "prompt_tokens": 43,
            "completion_tokens": 10,
            "total_tokens": 53,
            "cost": 0,
            "completion_tokens_details": {"reasoning_tokens": 11},
        },
        *(43, 10, 53),
        cost="0.000279",
        reasoning=11,
        provider_cost="0",
    ),
    # https://docs.perplexity.ai/getting-started/pricing: deep research bills reasoning beside the completion.
    "Perplexity": Case(
        chat,
        {
            "prompt_tokens": 33,
            "completion_tokens": 7163,
            "total_tokens": 7196,
            "citation_tokens": 20_016,
            "num_search_queries": 18,
            "reasoning_tokens": 73_997,
            "cost": {"input_tokens_cost": 0.0, "output_tokens_cost": 0.057, "total_cost": 0.4095},
        },
        *(33, 81_160, 81_193),
        cost="1.217499",
        reasoning=73_997,
        provider_cost="0.4095",
    ),
    "LiteLLM": Case(
        chat,
        {
            "prompt_tokens": 150_010,
            "completion_tokens": 1_000,
            "total_tokens": 151_010,
            "prompt_tokens_details": {
                "cached_tokens": 50_000,
                "cache_creation_tokens": 100_000,
                "cache_creation_token_details": {"ephemeral_5m_input_tokens": 100_000, "ephemeral_1h_input_tokens": 0},
            },
            "cache_creation_input_tokens": 100_000,
            "cache_read_input_tokens": 50_000,
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "a bridge that leaves the cache out of the prompt": Case(
        chat,
        {
            "prompt_tokens": 10,
            "completion_tokens": 1_000,
            "total_tokens": 1_010,
            "cache_creation_input_tokens": 100_000,
            "cache_read_input_tokens": 50_000,
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "a bridge whose total has the cache beside the prompt": Case(
        chat,
        {
            "prompt_tokens": 10,
            "completion_tokens": 1_000,
            "total_tokens": 151_010,
            "prompt_tokens_details": {"cached_tokens": 0},
            "cache_creation_input_tokens": 100_000,
            "cache_read_input_tokens": 50_000,
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "Databricks": Case(
        chat,
        {
            "cache_read_input_tokens": 4,
            "completion_tokens": 4,
            "prompt_tokens": 14,
            "total_tokens": 18,
            "cache_creation_input_tokens": 0,
        },
        *(14, 4, 18),
        cost="0.0000912",
        cached=4,
        written=0,
    ),
    "Alibaba": Case(
        chat,
        {
            "prompt_tokens": 3019,
            "completion_tokens": 104,
            "total_tokens": 3123,
            "prompt_tokens_details": {
                "cached_tokens": 2000,
                "cache_creation_input_tokens": 1000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1000},
                "cache_type": "ephemeral",
            },
        },
        *(3019, 104, 3123),
        cost="0.005967",
        cached=2000,
        written=1000,
    ),
    "Moonshot, Together": Case(
        chat,
        {"prompt_tokens": 41, "completion_tokens": 15, "total_tokens": 56, "cached_tokens": 40},
        *(41, 15, 56),
        cost="0.00024",
        cached=40,
    ),
    "vLLM": Case(
        chat,
        {"prompt_tokens": 15, "total_tokens": 186, "completion_tokens": 171, "prompt_tokens_details": None},
        *(15, 171, 186),
        cost="0.00261",
    ),
    "Bedrock's names": Case(
        chat,
        {
            "inputTokens": 10,
            "outputTokens": 1_000,
            "totalTokens": 151_010,
            "cacheReadInputTokens": 50_000,
            "cacheWriteInputTokens": 100_000,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 0}, {"ttl": "5m", "inputTokens": 100_000}],
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "Bedrock's names, for an hour": Case(
        chat,
        {
            "inputTokens": 10,
            "outputTokens": 1,
            "totalTokens": 111,
            "cacheWriteInputTokens": 100,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 100}],
        },
        *(110, 1, 111),
        cost="0.000645",
        written=100,
    ),
    "Bedrock's metrics": Case(
        chat,
        {
            "inputTokenCount": 10,
            "outputTokenCount": 1_000,
            "invocationLatency": 1500,
            "firstByteLatency": 300,
            "cacheReadInputTokenCount": 50_000,
            "cacheWriteInputTokenCount": 100_000,
        },
        *(150_010, 1_000, 151_010),
        cost="0.40503",
        cached=50_000,
        written=100_000,
    ),
    "Gemini's Interactions": Case(
        chat,
        {
            "total_input_tokens": 3000,
            "total_cached_tokens": 2000,
            "total_tool_use_tokens": 500,
            "total_output_tokens": 20,
            "total_thought_tokens": 300,
            "total_tokens": 3820,
        },
        *(3500, 320, 3820),
        cost="0.0099",
        reasoning=300,
        cached=2000,
    ),
    "Ollama": Case(
        ollama, {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 5}, *(26, 298, 324), cost="0.004548"
    ),
    "watsonx": Case(watsonx, {"input_token_count": 8, "generated_token_count": 2}, *(8, 2, 10), cost="0.000054"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_report_says_what_the_providers_own_object_means(case: Case) -> None:
    count = sk.Count("m", counter="characters", prices=PRICES)
    events = list((sk.Parse() | sk.Extract() | count | sk.Accumulate()).run([case.wire(case.usage)]))

    (report,) = [event for event in events if isinstance(event, UsageReport)]
    assert report == UsageReport(
        "provider",
        case.prompt,
        case.completion,
        case.total,
        case.reasoning,
        case.cached,
        counted=1,
        exact=False,
        difference=case.completion - 1 - (case.reasoning or 0),
        provider=report.provider,
        cost=Decimal(case.cost),
        currency="USD",
        model="m",
        cache_write_tokens=case.written,
        provider_cost=None if case.provider_cost is None else Decimal(case.provider_cost),
    )
    assert report.provider is not None
    assert report.provider.details.items() >= {k: v for k, v in case.usage.items() if v is not None}.items()


# The parts that are in no figure of the report

AUDIO = {
    "OpenAI": {"prompt_tokens_details": {"audio_tokens": 8}, "completion_tokens_details": {"audio_tokens": 9}},
    "Realtime": {
        "input_token_details": {"audio_tokens": 8, "cached_tokens_details": {"audio_tokens": 3}},
        "output_token_details": {"audio_tokens": 9},
    },
    "Gemini": {
        "promptTokenCount": 20,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}, {"modality": "AUDIO", "tokenCount": 8}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}, {"modality": "IMAGE", "tokenCount": 5}],
    },
}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("OpenAI", UsageParts(input_audio=8, output_audio=9)),
        ("Realtime", UsageParts(input_audio=8, cached_audio=3, output_audio=9)),
        ("Gemini", UsageParts(input_audio=8, cached_audio=3, output_audio=9, output_image=5)),
    ],
)
def test_audio_and_images_are_told_apart(name: str, parts: UsageParts) -> None:
    assert parts_of(Usage(details=AUDIO[name])) == parts


@pytest.mark.parametrize(
    ("details", "searches"),
    [({"server_tool_use": {"web_search_requests": 3}}, 3), ({"num_search_queries": 18}, 18), ({}, None)],
    ids=["Anthropic", "Perplexity", "none"],
)
def test_searches_are_counted(details: Details, searches: int | None) -> None:
    assert parts_of(Usage(details=details)).web_searches == searches


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ttl", "modality"]), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = sorted({name for case in CASES.values() for name in case.usage} | {n for d in AUDIO.values() for n in d})
INNER = [
    "cached_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "input_tokens",
    "output_tokens",
    "total_cost",
    "tokenCount",
]
OBJECTS = st.dictionaries(
    st.sampled_from(NAMES), ODD | st.dictionaries(st.sampled_from(INNER), ODD, max_size=3), max_size=8
)


@given(usage=OBJECTS, later=OBJECTS)
def test_no_object_is_too_odd_and_nothing_costs_less_than_nothing(usage: Details, later: Details) -> None:
    count = sk.Count(counter=len, model="m", prices=PRICES).fresh()
    for details in (usage, later):
        list(count.feed(usage_of(details)))
    list(count.feed(sk.StreamEnd("completed")))

    report = count.report
    figures = (report.prompt_tokens, report.completion_tokens, report.cached_tokens, report.cache_write_tokens)
    assert all(value is None or (type(value) is int and value >= 0) for value in figures)
    assert report.cost is None or report.cost >= 0


# One response: the latest


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([Usage(10, 1, 11), Usage(10, 2, 12)], Usage(10, 2, 12)),
        ([Usage(10, 2, 12), Usage(None, 3)], Usage(10, 3, 13)),
        ([Usage(10, 2, 12), Usage(0, 3, 0)], Usage(10, 3, 13)),
        ([Usage(10, 2, 12), Usage(0, 0, 0)], Usage(10, 2, 12)),
        ([Usage(10, 2, 12), Usage(9, 3, 12)], Usage(9, 3, 12)),
        ([Usage(None, 0), Usage(10, None)], Usage(10, 0, 10)),
        (
            [Usage(details={"a": 1, "b": {"c": 2}}), Usage(details={"a": 0, "b": {"d": 3}})],
            Usage(details={"a": 1, "b": {"c": 2, "d": 3}}),
        ),
        ([Usage(details={"a": {"b": 1}}), Usage(details={"a": None})], Usage(details={"a": {"b": 1}})),
        ([Usage(1, 1, 2, {"a": 1}), Usage(1, 2, 3, {"a": 1, "b": 2})], Usage(1, 2, 3, {"a": 1, "b": 2})),
    ],
    ids=[
        "cumulative",
        "left out",
        "zeros",
        "nothing but zeros",
        "corrected",
        "zero is known",
        "within",
        "null",
        "more",
    ],
)
def test_a_figure_stays_that_a_later_usage_leaves_out(usages: list[Usage], expected: Usage) -> None:
    known: Usage | None = None
    for usage in usages:
        known = merged(known, usage)

    assert known == expected


def test_of_several_responses_the_figures_add_up_and_what_is_unknown_does_not_count() -> None:
    assert total_of([]) is None
    assert total_of([None, Usage(1, 2, 3, {"a": 1})]) == Usage(1, 2, 3, {"a": 1})
    assert total_of([Usage(1, 2, 3, {"a": 1}), None, Usage(10, None, None, {"a": 2})]) == Usage(11, 2, 3, {"a": 2}, 2)
