"""Read the usage objects of all providers: three counts, and the parts that these include.

`prompt_tokens` counts all input tokens, including those that a cache served or stored; `completion_tokens` counts all output
tokens, including reasoning. Providers differ in which counts include which: `_SHAPES` lists the names of each provider, and the
counts that it reports separately.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import msgspec

from streamkit.events import Usage

Details: TypeAlias = Mapping[str, Any]
Amount = TypeVar("Amount", int, Decimal)
EXACT = Context(prec=1000)
"""A decimal context with enough digits for any sum of money."""


class _Shape(NamedTuple):
    # The names of the three counts, and of those to add to the first and to the second because they are not included.
    prompt: str
    completion: str
    total: str
    beside_prompt: tuple[str, ...] = ()
    beside_completion: tuple[str, ...] = ()


_SHAPES = (
    # OpenAI's chat completions and compatible APIs: cached tokens are part of the prompt, reasoning is part of the completion.
    # (https://platform.openai.com/docs/api-reference/chat/object)
    _Shape("prompt_tokens", "completion_tokens", "total_tokens"),
    # OpenAI's Responses, with the same meaning; and Anthropic, whose input_tokens exclude cached tokens.
    # (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance)
    _Shape("input_tokens", "output_tokens", "total_tokens", ("cache_read_input_tokens", "cache_creation_input_tokens")),
    # Gemini: the prompt includes cached tokens; tool results and thoughts are separate from prompt and candidates.
    # (https://ai.google.dev/api/generate-content#UsageMetadata)
    _Shape(
        "promptTokenCount",
        "candidatesTokenCount",
        "totalTokenCount",
        ("toolUsePromptTokenCount",),
        ("thoughtsTokenCount",),
    ),
    # Gemini's Interactions, with the same meaning. (https://ai.google.dev/api/interactions-api)
    _Shape(
        "total_input_tokens",
        "total_output_tokens",
        "total_tokens",
        ("total_tool_use_tokens",),
        ("total_thought_tokens",),
    ),
    # Bedrock's Converse, and the metrics that it adds to streams of other formats; cached tokens are excluded.
    # (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html)
    _Shape("inputTokens", "outputTokens", "totalTokens", ("cacheReadInputTokens", "cacheWriteInputTokens")),
    _Shape("inputTokenCount", "outputTokenCount", "", ("cacheReadInputTokenCount", "cacheWriteInputTokenCount")),
    # Ollama's own API, watsonx, and Hugging Face's Text Generation Inference.
    _Shape("prompt_eval_count", "eval_count", ""),
    _Shape("input_token_count", "generated_token_count", ""),
    _Shape("input_length", "generated_tokens", ""),
)
_INPUT = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
_OUTPUT = ("completion_tokens_details", "output_tokens_details", "completion_token_details", "output_token_details")
"""The objects with parts of the input and of the output; some providers have the parts next to the counts instead."""
_CACHED = {
    "cached_tokens",  # OpenAI; Moonshot and Together have it next to the prompt
    "cache_read_input_tokens",  # Anthropic, LiteLLM, Databricks
    "prompt_cache_hit_tokens",  # DeepSeek
    "cachedContentTokenCount",
    "total_cached_tokens",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
}
_WRITTEN = {
    "cache_write_tokens",  # OpenAI, OpenRouter
    "cache_creation_input_tokens",  # Anthropic, Alibaba
    "cache_creation_tokens",  # LiteLLM
    "cacheWriteInputTokens",
    "cacheWriteInputTokenCount",
}
_CREATION = ("cache_creation", "cache_creation_token_details")
_REASONING = {"reasoning_tokens", "thinking_tokens", "thoughtsTokenCount", "total_thought_tokens"}
_AUDIO = {"audio_tokens"}
_IMAGE = {"image_tokens"}
_SEARCHES = {"web_search_requests", "num_search_queries"}  # Anthropic, Perplexity
_MOST = 2**63 - 1
_MOST_NAMES = 200
_TICKS = 10_000_000_000
"""xAI's ticks per dollar. (https://docs.x.ai/docs/api-reference)"""


class UsageParts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a usage besides its three counts. `None` if the provider does not report one.

    `cached` and `cache_write` are prompt tokens that a cache served and stored; `cache_write_1h` are those of `cache_write` that
    are stored for an hour. `cached_audio` is part of both `cached` and `input_audio`. `reasoning`, `output_audio` and
    `output_image` are completion tokens. `cost` is the charge that the provider reports, usually in US dollars.
    """

    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    output_audio: int | None = None
    output_image: int | None = None
    web_searches: int | None = None
    """Calls of the provider's web search."""
    cost: Decimal | None = None


def usage_of(details: Details, payload: bytes | None = None) -> Usage:
    """Convert a provider's usage object to `Usage`. Counts that it does not have are `None`.

    `payload` is the JSON that contains it, for `Usage.raw`.
    """
    used = _nested(details, "tokens") or _nested(details, "billed_units") or details
    shape = _shape(used)
    prompt, completion = _count(used.get(shape.prompt)), _count(used.get(shape.completion))
    total = _count(used.get(shape.total))
    if shape is not _SHAPES[0]:
        prompt, completion = _with(prompt, used, shape.beside_prompt), _with(completion, used, shape.beside_completion)
        if "cache_creation" in used and used.get("cache_creation_input_tokens") is None:
            prompt = added(prompt, *_cache_writes(used))
    elif prompt is not None and completion is not None:
        prompt, completion = _with_parts(details, prompt, completion, total)
    if prompt is not None and completion is not None:
        # Some totals exclude the separate counts, and some providers send no total.
        total = prompt + completion if total is None else max(total, prompt + completion)
    return Usage(prompt, completion, total, dict(details), payload=payload)


def billed_of(usage: Usage) -> Usage:
    """The usage with the billed counts: those of Cohere's `billed_units`, which are lower than the tokens used.

    (https://docs.cohere.com/v2/docs/how-does-cohere-pricing-work)
    """
    billed = _nested(usage.details, "billed_units")
    return usage_of(billed) if billed else usage


def parts_of(usage: Usage | None) -> UsageParts:
    """The parts of a usage, from the provider's own object."""
    details: Details = usage.details if usage else {}
    if not details or _nested(details, "billed_units"):
        # Cohere's cached tokens are part of the used tokens, of which it bills only some.
        return UsageParts()
    if "promptTokenCount" in details:
        return _gemini_parts(details)
    within, out = _objects(details, _INPUT), _objects(details, _OUTPUT)
    minutes, hour = _cache_writes(details, within)
    return UsageParts(
        cached=_largest((details, *within), _CACHED),
        cache_write=_most([_largest((details, *within), _WRITTEN), added(minutes, hour)]),
        cache_write_1h=hour,
        reasoning=_largest((details, *out), _REASONING),
        input_audio=_largest(within, _AUDIO),
        cached_audio=_largest([_mapping(place.get("cached_tokens_details")) for place in within], _AUDIO),
        output_audio=_largest(out, _AUDIO),
        output_image=_largest(out, _IMAGE),
        web_searches=_largest((details, _mapping(details.get("server_tool_use"))), _SEARCHES),
        cost=_cost(details),
    )


def _gemini_parts(details: Details) -> UsageParts:
    # https://ai.google.dev/api/generate-content#ModalityTokenCount
    def of(modality: str, *names: str) -> int | None:
        entries = [entry for name in names for entry in _entries(details.get(f"{name}TokensDetails"))]
        return added(*(_count(entry.get("tokenCount")) for entry in entries if entry.get("modality") == modality))

    return UsageParts(
        cached=_largest([details], _CACHED),
        reasoning=_largest([details], _REASONING),
        input_audio=of("AUDIO", "prompt", "toolUsePrompt"),
        cached_audio=of("AUDIO", "cache"),
        output_audio=of("AUDIO", "candidates", "response"),
        output_image=of("IMAGE", "candidates", "response"),
    )


def _cache_writes(details: Details, within: Iterable[Details] = ()) -> tuple[int | None, int | None]:
    """The tokens cached for five minutes and for an hour: under Anthropic's names at any place, or in Bedrock's list."""
    objects = [found for place in (details, *within) for found in _objects(place, _CREATION)]
    listed = _entries(details.get("cacheDetails"))

    def tokens(ttl: str) -> int | None:
        entries = (_count(entry.get("inputTokens")) for entry in listed if entry.get("ttl") == ttl)
        return _most([_largest(objects, {f"ephemeral_{ttl}_input_tokens"}), added(*entries)])

    return tokens("5m"), tokens("1h")


def merged(known: Usage | None, more: Usage) -> Usage:
    """Merge two usages of one response. Usage is cumulative, so the values of the newer one replace the others.

    A value that is null, zero or missing in the newer usage keeps its older value. (Gemini corrects the prompt by a token or two,
    also downwards.)
    """
    if known is None or _supersedes(known, more):
        return more
    prompt, completion, _ = (_newer(*pair) for pair in _count_pairs(known, more))
    total = more.total_tokens
    if not total:
        # The older total belongs to the older counts.
        total = known.total_tokens if None in (prompt, completion) else summed(prompt, completion)
    return Usage(prompt, completion, total, _merged(known.details, more.details))


def _supersedes(known: Usage, more: Usage) -> bool:
    # Whether the newer usage replaces the older one completely, as with most providers that send one with every chunk.
    for name, before in known.details.items():
        after = more.details.get(name)
        if (before and not after) or (type(before) is dict and before != after):
            return False
    return all(_newer(before, after) == after for before, after in _count_pairs(known, more))


def _count_pairs(known: Usage, more: Usage) -> tuple[tuple[int | None, int | None], ...]:
    return (
        (known.prompt_tokens, more.prompt_tokens),
        (known.completion_tokens, more.completion_tokens),
        (known.total_tokens, more.total_tokens),
    )


def _newer(before: int | None, after: int | None) -> int | None:
    return after or (after if before is None else before)


def total_of(usages: Iterable[Usage | None]) -> Usage | None:
    """The usage of several responses together: the sums of the known counts, and the `details` of the latest one.

    The details are not summed, because they may contain rates and prices; `parts_total` sums the parts.
    """
    known = [usage for usage in usages if usage is not None]
    if len(known) < 2:
        return known[0] if known else None
    prompts, completions, totals = zip(
        *((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) for usage in known), strict=True
    )
    return Usage(
        *(added(*prompts), added(*completions), added(*totals)),
        known[-1].details,
        sum(usage.responses for usage in known),
    )


def parts_total(parts: Iterable[UsageParts]) -> UsageParts:
    """The parts of several responses together."""
    found = list(parts)
    return UsageParts(
        **{name: added(*(getattr(each, name) for each in found)) for name in UsageParts.__struct_fields__}
    )


def added(*values: Amount | None) -> Amount | None:
    """The sum of the known values; `None` if no value is known."""
    known = [value for value in values if value is not None]
    if not any(isinstance(value, Decimal) for value in known):
        return cast("Amount", sum(known)) if known else None
    # The application's decimal context might round money.
    with localcontext(EXACT):
        return cast("Amount", sum(known))


def summed(*values: Amount | None) -> Amount | None:
    """The sum; `None` if any value is unknown."""
    return None if None in values else added(*values)


def _nested(details: Details, name: str) -> Details | None:
    # Cohere has its counts in a nested object.
    found = details.get(name)
    if found is None or not isinstance(found, Mapping):
        return None
    return cast(Details, found) if _has(cast(Details, found), _SHAPES[1]) else None


def _shape(details: Details) -> _Shape:
    """The first shape with a valid count in `details`; the shape of chat completions if none has."""
    for shape in _SHAPES:
        if (shape.prompt in details or shape.completion in details) and _has(details, shape):
            return shape
    beside = (shape for shape in _SHAPES[2:] if any(name in details for name in shape.beside_completion))
    return next(beside, _SHAPES[0])


def _has(details: Details, shape: _Shape) -> bool:
    return _count(details.get(shape.prompt)) is not None or _count(details.get(shape.completion)) is not None


def _with(count: int | None, details: Details, beside: tuple[str, ...]) -> int | None:
    for name in beside:
        if (more := _count(details.get(name))) is not None:
            count = more if count is None else count + more
    return count


def _with_parts(details: Details, prompt: int, completion: int, total: int | None) -> tuple[int, int]:
    """Add the parts that a provider reports separately although other providers include them.

    For xAI, whose completion excludes reasoning, the total shows it (https://docs.x.ai/docs/guides/reasoning). Perplexity's deep
    research, whose total excludes it too, is recognized by its citations (https://docs.perplexity.ai/getting-started/pricing).
    Cached tokens are not part of the prompt if they are more than the prompt, as sent by some bridges to Anthropic.
    """
    cache = _cache(details)
    if cache > prompt or (cache and total == prompt + cache + completion):
        prompt += cache
    elif total == prompt + completion and "citation_tokens" not in details:
        return prompt, completion
    reasoning = _largest((details, *_objects(details, _OUTPUT)), _REASONING) or 0
    if total == prompt + completion + reasoning or "citation_tokens" in details:
        completion += reasoning
    return prompt, completion


def _cache(details: Details) -> int:
    places = (details, *_objects(details, _INPUT))
    return (_largest(places, _CACHED) or 0) + (_largest(places, _WRITTEN) or 0)


def _count(value: object) -> int | None:
    # Cohere and others write whole numbers as 98.0.
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST else None


def _mapping(value: object) -> Details:
    return cast(Details, value) if isinstance(value, Mapping) else {}


def _objects(details: Details, names: Iterable[str]) -> list[Details]:
    return [found for name in names if (found := _mapping(details.get(name)))]


def _largest(places: Iterable[Details], names: set[str]) -> int | None:
    # A bridge may send zero under one name and the real number under another.
    return _most([_count(place[name]) for place in places for name in names.intersection(place)])


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _entries(value: object) -> list[Details]:
    return [_mapping(entry) for entry in cast("list[object]", value)] if isinstance(value, list) else []


def _cost(details: Details) -> Decimal | None:
    """The reported cost: `cost` (OpenRouter, LiteLLM; an object at Perplexity), `estimated_cost` (DeepInfra), or xAI's ticks."""
    cost = details.get("cost")
    found = _money(_mapping(cost).get("total_cost", cost))
    if found is None:
        found = _money(details.get("estimated_cost"))
    ticks = _count(details.get("cost_in_usd_ticks"))
    return Decimal(ticks) / _TICKS if found is None and ticks is not None else found


def _money(value: object) -> Decimal | None:
    # Converted from its decimal text, since the binary fraction differs from what the provider sent.
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return Decimal(str(value))
    return None


def _merged(known: Details, more: Details) -> dict[str, Any]:
    # Bounded, so that a provider that sends new names with every usage can't fill the memory.
    newer = {name: value for name, value in more.items() if name in known or len(known) < _MOST_NAMES}
    return {**known, **{name: _later(known.get(name), value) for name, value in newer.items()}}


def _later(known: Any, value: Any) -> Any:
    match known, value:
        case dict(), dict():
            return _merged(cast(Details, known), cast(Details, value))
        case _:
            return value or (value if known is None else known)
