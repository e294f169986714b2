"""Fields of a non-streaming chat completion that a stream lacks, kept so that the response can be restored exactly."""

from typing import Any

import msgspec

from streamkit.dialects.fields import mapping, mappings
from streamkit.events import ResponseDetails
from streamkit.sse.json_text import NOT_JSON

# Fields that are emitted as events of their own. The first group is in every completion assembled from a stream.
_RESPONSE = ("id", "object", "created", "model", "choices"), ("usage", "service_tier", "system_fingerprint")
_CHOICE = ("index", "message", "logprobs", "finish_reason"), ()
_MESSAGE = (
    ("role", "content", "refusal"),
    ("reasoning_content", "reasoning", "reasoning_details", "tool_calls", "function_call", "annotations", "audio"),
)


def details_of(payload: bytes) -> list[ResponseDetails]:
    """Return the other fields of a non-streaming response and its choices; of a message, none that could be answer text."""
    try:
        body = mapping(msgspec.json.decode(payload))
    except NOT_JSON:
        return []  # a number beyond the range of a double, in a field that the dialect does not read
    found = [ResponseDetails(_beside(body, *_RESPONSE), payload=payload)]
    for place, choice in enumerate(mappings(body.get("choices"))):
        details, message = _beside(choice, *_CHOICE), mapping(choice.get("message"))
        rest = {
            name: value
            for name, value in _beside(message, *_MESSAGE).items()
            if name == "without" or _is_textless(value)
        }
        if message.get("reasoning") and "reasoning_content" not in message:
            rest |= {"reasoning": ""}
        if message.get("content") == "":
            rest |= {"content": ""}
        if rest:
            details["message"] = rest
        index = choice.get("index")
        found.append(ResponseDetails(details, index=index if type(index) is int else place, payload=payload))
    return [event for event in found if event.details]


def _beside(fields: dict[str, Any], always: tuple[str, ...], emitted: tuple[str, ...]) -> dict[str, Any]:
    rest = {
        name: value
        for name, value in fields.items()
        if name not in always and (name not in emitted or value is None or value == [])
    }
    without = [name for name in always if name not in fields]
    return {**rest, "without": without} if without else rest


def _is_textless(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float) or value in ([], {})
