"""A completion as the JSON object that the provider would have sent without streaming.

OpenAI's completions have their own shapes; every other provider's answer has OpenAI's chat shape, so that an application can
change the provider without noticing. (https://platform.openai.com/docs/api-reference/chat/object and …/completions/object)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit.events import Choice, Completion, ToolCall, Usage

_OWN = ("chat.completion", "text_completion")
# Other providers' words for an end, in lower case, in OpenAI's.
_WORDS = {
    "stop": ("end_turn", "stop_sequence", "completed", "complete", "eos_token", "pause_turn"),
    "length": (
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "max_prompt_tokens",
        "token_limit",
        "model_context_window_exceeded",
    ),
    "tool_calls": ("tool_use", "tool_call", "requires_action"),
    "content_filter": (
        "refusal",
        "safety",
        "recitation",
        "language",
        "blocklist",
        "prohibited_content",
        "spii",
        "model_armor",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
    ),
}
_FINISH = {word: name for name, words in _WORDS.items() for word in (name, *words)}


def chat_finish(word: str) -> str:
    """A provider's word for the end in OpenAI's chat API; one that has no such meaning stays as it is."""
    return _FINISH.get(word.lower(), word)


def chat_usage(usage: "Usage") -> dict[str, Any]:
    """A provider's usage by OpenAI's names. What is unknown is left out."""
    if "prompt_tokens" in usage.details:
        return usage.details
    known = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {name: value for name, value in known.items() if value is not None}


def plain_response(completion: "Completion") -> dict[str, Any]:
    """The whole response, in the legacy shape if the chunks were of the legacy kind, else in the chat shape."""
    legacy = completion.object == "text_completion"
    own = completion.object in _OWN
    shape = _text_choice if legacy else _chat_choice if own else _foreign_choice
    response: dict[str, Any] = {
        "id": completion.id,
        "object": "text_completion" if legacy else "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [shape(choice) for choice in completion.choices],
    }
    if completion.usage is not None:
        response["usage"] = completion.usage.details if own else chat_usage(completion.usage)
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


def _foreign_choice(choice: "Choice") -> dict[str, Any]:
    shape = _chat_choice(choice)
    if word := choice.finish_reason:
        # The Responses API has no word for a call of tools.
        finish = chat_finish(word)
        shape["finish_reason"] = "tool_calls" if finish == "stop" and choice.tool_calls else finish
    return shape


def _tool_call(call: "ToolCall") -> dict[str, Any]:
    if call.type == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": call.type, "function": {"name": call.name, "arguments": call.arguments}}
