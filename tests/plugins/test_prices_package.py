"""streamkit-prices: what genai-prices says, to the last digit, for the tokens as every provider reports them; no network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from random import Random
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from streamkit_prices import GenaiPrices

import streamkit as sk
from streamkit.tokens import BilledTokens, PriceTable, find_prices

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ISSUE = BilledTokens(150_010, 1_000, cached=50_000, cache_write=100_000)


def drawn(random: Random) -> BilledTokens:
    """Tokens of one response, now and then enough for a long prompt's prices."""
    prompt, completion = random.randrange(random.choice([100, 10_000, 1_000_000])), random.randrange(20_000)
    cached = random.randrange(prompt + 1)
    written = random.choice([0, random.randrange(prompt - cached + 1)])
    audio = random.choice([0, random.randrange(prompt - cached - written + 1)])
    reasoning = random.choice([0, random.randrange(completion + 1)])
    spoken = random.choice([0, random.randrange(completion - reasoning + 1)])
    return BilledTokens(
        prompt,
        completion,
        cached=cached,
        cache_write=written,
        cache_write_1h=random.choice([0, random.randrange(written + 1)]),
        reasoning=reasoning,
        input_audio=audio,
        output_audio=spoken,
        web_searches=random.choice([0, 0, 3]),
        service_tier=random.choice([None, None, "default", "flex", "priority"]),
    )


def by_hand(tokens: BilledTokens, provider: str, model: str) -> Decimal:
    """The result of `calc_price` for the same tokens, by its own names."""
    found = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=tokens.prompt,
            cache_read_tokens=tokens.cached,
            cache_write_tokens=tokens.cache_write,
            cache_write_1h_tokens=tokens.cache_write_1h,
            input_audio_tokens=tokens.input_audio,
            cache_audio_read_tokens=0,
            output_tokens=tokens.completion,
            output_reasoning_tokens=tokens.reasoning,
            output_audio_tokens=tokens.output_audio,
            output_audio_reasoning_tokens=0,
            web_searches=tokens.web_searches,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
        price_context={"service_tier": tokens.service_tier} if tokens.service_tier else None,
    )
    return found.total_price


def test_a_thousand_usages_cost_what_calc_price_says_at_every_provider() -> None:
    random = Random(11)
    offers = [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if model.prices and provider.find_model(model.id) is model
    ]
    seen: dict[str, int] = {}
    for provider, model in random.sample(offers, 1_200):
        tokens = drawn(random)
        assert GenaiPrices(provider, at=NOW).cost(tokens, model) == by_hand(tokens, provider, model), (provider, model)
        seen[provider] = seen.get(provider, 0) + 1

    assert len(seen) > 30


# The same tokens as the providers report them, read by streamkit's pipeline here and by genai-prices' extractors there.

Body = dict[str, Any]


def chat(tokens: BilledTokens, model: str) -> Body:
    within = {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_write}
    usage = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": within,
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def without_writes(tokens: BilledTokens, model: str) -> Body:
    body = chat(tokens, model)
    del body["usage"]["prompt_tokens_details"]["cache_write_tokens"]
    return body


def deepseek(tokens: BilledTokens, model: str) -> Body:
    body = without_writes(tokens, model)
    hits = {"prompt_cache_hit_tokens": tokens.cached, "prompt_cache_miss_tokens": tokens.prompt - tokens.cached}
    return {**body, "usage": {**body["usage"], **hits}}


def xai(tokens: BilledTokens, model: str) -> Body:
    body = without_writes(tokens, model)
    return {**body, "usage": {**body["usage"], "completion_tokens": tokens.completion - tokens.reasoning}}


def responses(tokens: BilledTokens, model: str) -> Body:
    usage = {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    return {"id": "r", "object": "response", "status": "completed", "model": model, "output": [said], "usage": usage}


def anthropic(tokens: BilledTokens, model: str) -> Body:
    usage = {
        "input_tokens": tokens.prompt - tokens.cached - tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write - tokens.cache_write_1h,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": tokens.completion,
        "server_tool_use": {"web_search_requests": tokens.web_searches},
    }
    answer = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
    }
    return {"id": "m", "model": model, **answer, "usage": usage}


def gemini(tokens: BilledTokens, model: str) -> Body:
    tools = tokens.cache_write  # some of the prompt are results of Google's own tools
    usage = {
        "promptTokenCount": tokens.prompt - tools,
        "toolUsePromptTokenCount": tools,
        "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": tokens.completion - tokens.reasoning,
        "thoughtsTokenCount": tokens.reasoning,
        "totalTokenCount": tokens.prompt + tokens.completion,
    }
    candidate = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    return {"candidates": [candidate], "modelVersion": model, "usageMetadata": usage}


def cohere(tokens: BilledTokens, model: str) -> Body:
    billed = {"input_tokens": tokens.prompt, "output_tokens": tokens.completion}
    used = {"input_tokens": tokens.prompt + 500, "output_tokens": tokens.completion + 3}
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    usage = {"billed_units": billed, "tokens": used, "cached_tokens": tokens.cached}
    return {"id": "h", "finish_reason": "COMPLETE", "message": message, "usage": usage, "model": model}


WIRES: dict[str, tuple[str, str, Callable[[BilledTokens, str], Body], list[str]]] = {
    "OpenAI, chat": ("openai", "chat", chat, ["gpt-4o", "gpt-5", "gpt-5.4", "o3"]),
    "OpenAI, Responses": ("openai", "responses", responses, ["gpt-4o", "gpt-5", "gpt-5.4", "o3"]),
    "Anthropic": (
        "anthropic",
        "default",
        anthropic,
        ["claude-sonnet-4-5", "claude-opus-4-1", "claude-3-5-haiku-latest"],
    ),
    "Gemini": ("google", "default", gemini, ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash"]),
    "xAI": ("x-ai", "chat", xai, ["grok-4-0709", "grok-3", "grok-4-fast"]),
    "DeepSeek": ("deepseek", "chat", deepseek, ["deepseek-chat", "deepseek-reasoner"]),
    "Mistral": ("mistral", "default", without_writes, ["mistral-large-latest", "mistral-small-latest"]),
    "Groq": ("groq", "default", without_writes, ["llama-3.3-70b-versatile", "openai/gpt-oss-120b"]),
    "OpenRouter": ("openrouter", "chat", chat, ["anthropic/claude-sonnet-4.5", "openai/gpt-4o"]),
    "Cohere": ("cohere", "default", cohere, ["command-r-plus", "command-a"]),
}


@pytest.mark.parametrize(("provider", "flavor", "body_of", "models"), WIRES.values(), ids=WIRES.keys())
def test_what_a_provider_reports_costs_what_calc_price_says_of_its_own_reading(
    provider: str, flavor: str, body_of: Callable[[BilledTokens, str], Body], models: list[str]
) -> None:
    random, offered = Random(provider), [model for model in models if known(provider, model)]
    assert offered
    for _ in range(150):
        model = random.choice(offered)
        body = body_of(drawn(random), model)
        theirs = genai_prices.extract_usage(body, provider_id=provider, api_flavor=flavor)  # type: ignore[attr-defined]
        expected = genai_prices.calc_price(theirs.usage, model, provider_id=provider, genai_request_timestamp=NOW)

        count = sk.Count(model, counter="characters", prices=GenaiPrices(provider, at=NOW))
        events = (sk.Parse() | sk.Extract() | count).run([json.dumps(body).encode()])
        (report,) = [event for event in events if isinstance(event, sk.UsageReport)]

        assert (report.cost, report.currency) == (expected.total_price, "USD"), body


def known(provider: str, model: str) -> bool:
    return GenaiPrices(provider).cost(BilledTokens(0, 0), model) is not None


# The table


def test_the_issues_example_is_exact() -> None:
    assert GenaiPrices().cost(ISSUE, "claude-sonnet-4-5") == Decimal("0.40503")


def test_it_is_found_by_its_name() -> None:
    assert find_prices("genai") == GenaiPrices()
    assert isinstance(GenaiPrices(), PriceTable)

    end = sk.StreamEnd("completed", True)
    events = sk.Count("gpt-4o", prices="genai").run([sk.TextDelta("hello"), sk.Usage(1_000_000, 0, 1_000_000), end])

    assert [(e.cost, e.currency) for e in events if isinstance(e, sk.UsageReport)] == [(Decimal("2.5"), "USD")]


def test_a_budget_takes_it_too() -> None:
    deltas = [sk.TextDelta(" word")] * 50

    *passed, end = sk.Budget(cost="0.0001", model="gpt-4o", prompt=0, prices="genai").run(deltas)

    assert (len(passed), end) == (10, sk.StreamEnd("limit"))


def test_the_first_name_that_is_known_counts_and_without_one_there_is_no_cost() -> None:
    tokens = BilledTokens(1_000_000, 0)

    assert GenaiPrices().cost(tokens, None, "nobody-knows-1", "gpt-4o", "gpt-5") == Decimal("2.5")
    assert GenaiPrices().cost(tokens, None, "nobody-knows-1") is None
    assert GenaiPrices().cost(tokens) is None


def test_the_provider_may_be_told_by_its_name_or_its_address() -> None:
    tokens = BilledTokens(1_000_000, 0)

    assert GenaiPrices("azure").cost(tokens, "gpt-4o") == by_hand(tokens, "azure", "gpt-4o")
    assert GenaiPrices(api_url="https://api.openai.com/v1/chat/completions").cost(tokens, "gpt-4o") == Decimal("2.5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": "nobody"}, "expected a provider of genai-prices, found 'nobody'"),
        ({"api_url": "https://nobody.example/v1?key=secret"}, "found that of api_url"),
        ({"provider": "openai", "api_url": "https://api.openai.com"}, "expected a provider or an api_url, found both"),
    ],
)
def test_a_provider_that_is_not_known_is_refused_when_the_table_is_made(options: dict[str, str], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message) as error:
        GenaiPrices(**options)

    assert "secret" not in str(error.value)


def test_the_tier_that_answered_has_its_own_prices() -> None:
    costs = {
        tier: GenaiPrices(at=NOW).cost(BilledTokens(1_000_000, 0, service_tier=tier), "gpt-5")
        for tier in (None, "default", "flex", "priority")
    }

    assert costs == {
        None: Decimal("1.25"),
        "default": Decimal("1.25"),
        "flex": Decimal("0.625"),
        "priority": Decimal("2.5"),
    }


def test_the_time_whose_prices_count_can_be_given() -> None:
    tokens = BilledTokens(0, 1_000_000, service_tier="flex")
    before, after = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11))

    assert GenaiPrices(at=before).cost(tokens, "gpt-5") == Decimal(10)
    assert GenaiPrices(at=after).cost(tokens, "gpt-5") == Decimal(5)


def test_a_programs_decimal_context_rounds_nothing() -> None:
    with localcontext(Context(prec=3)):
        assert GenaiPrices().cost(ISSUE, "claude-sonnet-4-5") == Decimal("0.40503")


AUDIT = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)
from streamkit.tokens import BilledTokens
from streamkit_prices import GenaiPrices
print(GenaiPrices("openai").cost(BilledTokens(1_000_000, 0), "gpt-4o"), [event for event in seen if event != "socket.__new__"])
"""


def test_neither_importing_it_nor_a_price_opens_a_connection() -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", AUDIT], capture_output=True, text=True, check=True)

    assert run.stdout == "2.50 []\n"
