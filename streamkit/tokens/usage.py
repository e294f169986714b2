"""What a provider's usage says beside its three figures, whatever the provider calls it."""

from collections.abc import Mapping
from typing import Any, cast

from streamkit.events import Usage

# OpenAI's chat and Responses, Gemini; vLLM and others follow the first.
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("thoughtsTokenCount",),
)
# The same, then Anthropic and DeepSeek.
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("cachedContentTokenCount",),
    ("cache_read_input_tokens",),
    ("prompt_cache_hit_tokens",),
)


def merged(known: Usage | None, more: Usage) -> Usage:
    """The newer figures; one that the newer does not say stays. Usage is cumulative and never added up."""
    if known is None:
        return more
    prompt = known.prompt_tokens if more.prompt_tokens is None else more.prompt_tokens
    completion = known.completion_tokens if more.completion_tokens is None else more.completion_tokens
    total = more.total_tokens
    if total is None:
        # The older total is of the older figures.
        total = known.total_tokens if None in (prompt, completion) else summed(prompt, completion)
    return Usage(prompt, completion, total, {**known.details, **more.details})


def summed(prompt: int | None, completion: int | None) -> int | None:
    """The total, `None` where one of them is unknown."""
    return None if prompt is None or completion is None else prompt + completion


def reasoning_tokens(usage: Usage | None) -> int | None:
    """Tokens of reasoning, part of `completion_tokens`; `None` where the provider does not say."""
    return _first(usage, _REASONING)


def cached_tokens(usage: Usage | None) -> int | None:
    """Tokens of the prompt that came from a cache, part of `prompt_tokens`; `None` where the provider does not say."""
    return _first(usage, _CACHED)


def _first(usage: Usage | None, paths: tuple[tuple[str, ...], ...]) -> int | None:
    for path in paths:
        value: Any = usage.details if usage else None
        for name in path:
            value = cast(Mapping[str, Any], value).get(name) if isinstance(value, Mapping) else None
        if type(value) is int:
            return value
    return None
