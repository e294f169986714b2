"""OpenAI's response. (https://platform.openai.com/docs/api-reference/responses/object)"""

from typing import TYPE_CHECKING, Any

from streamkit.plain.fields import calls_of, released

if TYPE_CHECKING:
    from streamkit.events import Choice, Completion, Part

_WAITS = ("queued", "in_progress", None)


def response(completion: "Completion") -> dict[str, Any]:
    """The response with its output items in order."""
    choice = completion.choices[0] if completion.choices else None
    whole = {**completion.details, "output": [_item(part, choice) for part in _within(choice, None)] if choice else []}
    if "output_text" in whole:  # some servers' own
        whole["output_text"] = choice.text if choice else ""
    if completion.usage:
        whole["usage"] = completion.usage.details
    if choice and choice.finish_reason == "content_filter" and whole.get("status") in _WAITS:
        # It was blocked here, before the provider came to its end.
        whole |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return whole


def _within(choice: "Choice", number: int | None) -> list["Part"]:
    return [part for part in released(choice) if part.within == number]


def _item(part: "Part", choice: "Choice") -> dict[str, Any]:
    item = dict(part.data)
    if call := calls_of(choice).get(part.tool_index):
        item["name"] = call.name
        item["arguments" if part.kind == "function_call" else "input"] = call.arguments
    for inner in _within(choice, part.number):
        name = "summary" if inner.kind == "summary_text" else "content"
        item[name] = [*(item.get(name) or ()), _content(inner)]
    return item


def _content(part: "Part") -> dict[str, Any]:
    content = dict(part.data)
    if part.channel:
        content["refusal" if part.channel == "refusal" else "text"] = part.text
    if part.annotations:
        content["annotations"] = list(part.annotations)
    if part.logprobs:
        content["logprobs"] = part.logprobs.get("content")
    return content
