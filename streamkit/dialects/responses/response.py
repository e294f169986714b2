"""Build OpenAI's non-streaming response. (https://platform.openai.com/docs/api-reference/responses/object)"""

from typing import Any

from streamkit.dialects.fields import calls_of, released
from streamkit.events import Choice, Completion, Part, ToolCall

_WAITS = ("queued", "in_progress", None)


def response(completion: Completion) -> dict[str, Any]:
    """Build the response with its output items in order."""
    choice = completion.choices[0] if completion.choices else None
    whole = {**completion.details, "output": _items(choice) if choice else []}
    if "output_text" in whole:  # an extension of some servers
        whole["output_text"] = choice.text if choice else ""
    if completion.usage:
        whole["usage"] = completion.usage.details
    if choice and choice.finish_reason == "content_filter" and whole.get("status") in _WAITS:
        # Moderation stopped the answer before the provider's final event.
        whole |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return whole


def _items(choice: Choice) -> list[dict[str, Any]]:
    calls, within = calls_of(choice), dict[int | None, "list[Part]"]()
    for part in released(choice):
        within.setdefault(part.within, []).append(part)
    return [_item(part, calls.get(part.tool_index), within.get(part.number, [])) for part in within.get(None, [])]


def _item(part: Part, call: "ToolCall | None", parts: list["Part"]) -> dict[str, Any]:
    item = dict(part.data)
    if call:
        item["name"] = call.name
        item["arguments" if part.kind == "function_call" else "input"] = call.arguments
    lists: dict[str, list[Any]] = {}
    for inner in parts:
        lists.setdefault("summary" if inner.kind == "summary_text" else "content", []).append(_content(inner))
    return item | {name: [*(item.get(name) or ()), *contents] for name, contents in lists.items()}


def _content(part: Part) -> dict[str, Any]:
    content = dict(part.data)
    if part.channel:
        content["refusal" if part.channel == "refusal" else "text"] = part.text
    if part.annotations:
        content["annotations"] = list(part.annotations)
    if part.logprobs:
        content["logprobs"] = part.logprobs.get("content")
    return content
