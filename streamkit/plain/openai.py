"""OpenAI's completions, chat and legacy: the form of its own answers, and one that every provider's answer can be put into.

https://platform.openai.com/docs/api-reference/chat/object and …/completions/object.
"""

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

from streamkit.plain.fields import mapping

if TYPE_CHECKING:
    from streamkit.events import Choice, Completion, ToolCall, Usage

_OWN = ("chat.completion", "text_completion")
_CHAT_LOGPROBS = {"content", "refusal"}
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


def own_completion(completion: "Completion") -> dict[str, Any]:
    """The whole response as OpenAI sends it, in the legacy shape if the chunks were of the legacy kind."""
    if completion.object != "text_completion":
        return chat_completion(completion)
    return _response(completion, "text_completion", [_text_choice(choice) for choice in completion.choices])


def chat_completion(completion: "Completion") -> dict[str, Any]:
    """The whole response in the chat shape, with OpenAI's words for the end and its names for the usage."""
    shape = _own_choice if completion.object == "chat.completion" else _foreign_choice
    return _response(completion, "chat.completion", [shape(choice) for choice in completion.choices])


def _response(completion: "Completion", kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
        "choices": choices,
    }
    if (usage := completion.usage) is not None:
        response["usage"] = usage.details if completion.object in _OWN else chat_usage(usage)
    for name in ("service_tier", "system_fingerprint"):
        if (value := getattr(completion, name)) is not None:
            response[name] = value
    return _with(response, completion.details) if completion.shape is None else response


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


def _own_choice(choice: "Choice") -> dict[str, Any]:
    shape, details = _chat_choice(choice), dict(choice.details)
    rest = mapping(details.pop("message", None))
    message = shape["message"] = _with(shape["message"], rest)
    if rest.get("reasoning") == "" and choice.reasoning is not None:  # what some call it
        message["reasoning"] = message.pop("reasoning_content")
    return _with(shape, details)


def _with(shape: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """The shape with what else a plain response had, and without what it had not."""
    without = rest.get("without", ())
    said = {name: value for name, value in shape.items() if value is not None or name not in without}
    return said | {name: value for name, value in rest.items() if name != "without" and said.get(name) is None}


def _foreign_choice(choice: "Choice") -> dict[str, Any]:
    shape = _chat_choice(choice)
    shape["logprobs"] = _chat_logprobs(choice.logprobs)
    if word := choice.finish_reason:
        # The Responses API has no word for a call of tools.
        finish = chat_finish(word)
        shape["finish_reason"] = "tool_calls" if finish == "stop" and choice.tool_calls else finish
    return shape


def _tool_call(call: "ToolCall") -> dict[str, Any]:
    if call.type == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": call.type, "function": {"name": call.name, "arguments": call.arguments}}


def _chat_logprobs(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    # The legacy API has parallel lists; what another provider sends can't be told in OpenAI's terms.
    if logprobs is None or not _CHAT_LOGPROBS.isdisjoint(logprobs):
        return logprobs
    tokens, values, tops = (_list(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not tokens:
        return None
    return {
        "content": [
            {**_token(token, value), "top_logprobs": [_token(*pair) for pair in mapping(top).items()]}
            for token, value, top in zip_longest(tokens, values[: len(tokens)], tops[: len(tokens)])
        ]
    }


def _list(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _token(token: str, value: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode(errors="surrogatepass"))}
