"""A completion as the JSON object that the provider would have sent without streaming.

Shapes: https://platform.openai.com/docs/api-reference/chat/object and …/completions/object.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit.events import Choice, Completion, ToolCall


def plain_response(completion: "Completion") -> dict[str, Any]:
    """The whole response, in the legacy shape if the chunks were of the legacy kind, else in the chat shape."""
    legacy = completion.object == "text_completion"
    shape = _text_choice if legacy else _chat_choice
    response: dict[str, Any] = {
        "id": completion.id,
        "object": "text_completion" if legacy else "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [shape(choice) for choice in completion.choices],
    }
    if completion.usage is not None:
        response["usage"] = completion.usage.details
    for name in ("service_tier", "system_fingerprint"):
        if (value := getattr(completion, name)) is not None:
            response[name] = value
    return response


def _text_choice(choice: "Choice") -> dict[str, Any]:
    return {
        "text": choice.text,
        "index": choice.index,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _chat_choice(choice: "Choice") -> dict[str, Any]:
    message: dict[str, Any] = {"role": choice.role or "assistant", "content": choice.content, "refusal": choice.refusal}
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if calls := [_tool_call(call) for call in choice.tool_calls if call.type != "function_call"]:
        message["tool_calls"] = calls
    for call in choice.tool_calls:
        if call.type == "function_call":  # what came before tools; there is one at most
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
    if choice.annotations:
        message["annotations"] = list(choice.annotations)
    if choice.audio is not None:
        message["audio"] = choice.audio
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _tool_call(call: "ToolCall") -> dict[str, Any]:
    return {"id": call.id, "type": call.type, "function": {"name": call.name, "arguments": call.arguments}}
