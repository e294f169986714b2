"""DashScope's answer. (https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope)"""

from typing import Any

from streamkit.events import Choice, Completion
from streamkit.plain.fields import mapping


def generation(completion: Completion) -> dict[str, Any]:
    """The object with the output, in choices or as a text, and its usage."""
    whole = dict(completion.details)
    output = mapping(whole.get("output"))
    if "text" in output:
        choice = completion.choices[0] if completion.choices else None
        whole["output"] = {**output, "text": completion.text, "finish_reason": choice.finish_reason if choice else None}
    else:
        whole["output"] = {**output, "choices": [_choice(choice) for choice in completion.choices]}
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


def _choice(choice: Choice) -> dict[str, Any]:
    message = dict(mapping(choice.details.get("message")))
    if isinstance(message.get("content"), list):
        message["content"] = [{"text": choice.text}] if choice.content else []
    else:
        message["content"] = choice.text
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "index": call.index,
                "id": call.id,
                "type": call.type,
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.tool_calls
        ]
    return {**choice.details, "finish_reason": choice.finish_reason or "null", "message": message}
