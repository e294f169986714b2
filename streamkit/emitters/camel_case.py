"""Usage and moderation decisions in camel case, shared by the formats of browser front ends."""

from typing import Any

import msgspec

from streamkit.completion import EndReason, Usage
from streamkit.emitters.blocks import Decision
from streamkit.events import Retracted
from streamkit.tokens.usage import parts_of

_FINISH: dict[EndReason, str] = {
    "completed": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "moderated": "content-filter",
}


def finish_reason(reason: EndReason, *, called: bool) -> str:
    """Return the AI SDK's finish reason of a complete answer. (https://ai-sdk.dev/docs/reference/ai-sdk-core/generate-text)"""
    return "tool-calls" if called and reason == "completed" else _FINISH[reason]


def usage_fields(usage: Usage) -> dict[str, int]:
    """Return the known token counts."""
    parts = parts_of(usage)
    known = {
        "inputTokens": usage.prompt_tokens,
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
        "reasoningTokens": parts.reasoning,
        "cachedInputTokens": parts.cached,
    }
    return {name: value for name, value in known.items() if value is not None}


def decision_fields(decision: Decision) -> dict[str, Any]:
    """Return a moderation decision as data, without the text it applies to. A retraction includes its replacement."""
    fields: dict[str, Any] = {"decision": type(decision).__name__.lower()}
    if not isinstance(decision, Retracted):
        fields |= msgspec.to_builtins(decision.verdict)
    else:
        released = {"releasedStart": decision.released_start, "releasedEnd": decision.released_end}
        place = {
            "category": decision.category,
            "channel": decision.channel,
            "start": decision.start,
            "end": decision.end,
        }
        fields |= {**place, **released, "replacement": decision.replacement}
    names = {"tool_index": "toolIndex"}
    return {names.get(name, name): value for name, value in fields.items() if value is not None}
