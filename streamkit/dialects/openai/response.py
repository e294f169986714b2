"""Build OpenAI's non-streaming responses, chat and legacy: from OpenAI's own answers, and from any provider's answer.

https://platform.openai.com/docs/api-reference/chat/object and …/completions/object.
"""

from collections.abc import Container
from hashlib import blake2b
from itertools import zip_longest
from typing import Any, Literal, TypeAlias, cast

import msgspec

from streamkit.completion import OPENAI_CHAT, OPENAI_FORM, SUCCESSES, EndReason, register_form
from streamkit.dialects.fields import mapping
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.openai.citations import choice_annotations
from streamkit.events import Choice, Completion, Part, ToolCall, Usage

Called: TypeAlias = Literal["tool_calls", "function_call"] | None
"""The field of a message that holds the tool calls of a choice; `None` if there are none."""

_OWN = ("chat.completion", "text_completion")
_CHAT_LOGPROBS = {"content", "refusal"}
# OpenAI's finish reasons for our end reasons.
_FINISH: dict[EndReason, str] = {
    "completed": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "moderated": "content_filter",
}


def chat_finish(word: str | None, called: Called = None) -> str | None:
    """Convert a provider's finish reason to OpenAI's; `None` if it is unknown.

    A complete answer gets `tool_calls` if and only if it has tool calls, whatever the provider's finish reason: Gemini, Ollama
    and Responses have none for that.
    """
    return end_finish(meaning(word or ""), called)


def end_finish(end: EndReason | None, called: Called = None) -> str | None:
    """Return the finish reason for a choice without one, from the reason of a `StreamEnd`; `None` if OpenAI has none for it."""
    finish = _FINISH.get(end) if end else None
    return called or "stop" if finish in ("stop", "tool_calls") else finish


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Convert usage to OpenAI's names. Unknown counts are left out, and so are details of a sum over several responses."""
    if "prompt_tokens" in usage.details and usage.responses == 1:
        return usage.details
    prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    known = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: value for name, value in known.items() if value is not None}


def call_id(response: tuple[object, object, object], index: int, call: int, name: str | None) -> str:
    """Generate an id for a call without one: the same id for the same call every time.

    `response` is the response's id, time and model. They make the id unique in a whole conversation, in which clients store
    calls by their ids. The time is used only if there is no id, because it may be the time of emission.
    """
    id, created, model = response
    seed = msgspec.json.encode((str(id or created), str(model), index, call, name))
    return f"call_{blake2b(seed, digest_size=12).hexdigest()}"


def own_completion(completion: Completion) -> dict[str, Any]:
    """Build the response as its provider sends it; in the legacy form if the chunks were of the legacy kind."""
    if completion.object == "text_completion":
        return _response(completion, "text_completion", [_text_choice(choice) for choice in completion.choices])
    if completion.object == "chat.completion":
        return _response(completion, "chat.completion", [_own_choice(choice) for choice in completion.choices])
    return chat_completion(completion)


def chat_completion(completion: Completion, withheld: Container[int] | None = None) -> dict[str, Any]:
    """Build the response as a chat completion that OpenAI's clients accept, whichever provider answered.

    `withheld`: the choices of which moderation withheld text; their annotations are left out. By default these are the choices
    with a verdict other than `annotate`.
    """
    choices = [_client_choice(completion, choice, withheld) for choice in completion.choices]
    return _response(completion, "chat.completion", choices)


def text_completion(completion: Completion) -> dict[str, Any]:
    """Build the response as a legacy text completion, which has only text."""
    choices = [
        {
            "text": choice.text,
            "index": choice.index,
            "logprobs": text_logprobs(choice.logprobs),
            "finish_reason": chat_finish(choice.finish_reason) or end_finish(completion.end) or choice.finish_reason,
        }
        for choice in completion.choices
    ]
    return _response(completion, "text_completion", choices)


def _response(completion: Completion, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
        "choices": choices,
    }
    if (usage := completion.usage) is not None:
        own = completion.object in _OWN and usage.responses == 1
        response["usage"] = usage.details if own else chat_usage(usage)
    for name in ("service_tier", "system_fingerprint"):
        if (value := getattr(completion, name)) is not None:
            response[name] = value
    return _with(response, completion.details) if completion.shape is None else response


def _text_choice(choice: Choice) -> dict[str, Any]:
    return {
        "text": choice.text,
        "index": choice.index,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _chat_choice(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": choice.role or "assistant", "content": choice.content, "refusal": choice.refusal}
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if calls := [_tool_call(call) for call in choice.tool_calls if call.type != "function_call"]:
        message["tool_calls"] = calls
    for call in choice.tool_calls:
        if call.type == "function_call":  # the predecessor of tools; at most one per message
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


def _own_choice(choice: Choice) -> dict[str, Any]:
    shape, details = _chat_choice(choice), dict(choice.details)
    rest = mapping(details.pop("message", None))
    message = shape["message"] = _with(shape["message"], rest)
    if rest.get("reasoning") == "" and choice.reasoning is not None:  # some providers' name for it
        message["reasoning"] = message.pop("reasoning_content")
    if entries := [_reasoning_detail(part) for part in choice.parts]:
        message["reasoning_details"] = entries
    return _with(shape, details)


def _reasoning_detail(part: Part) -> dict[str, Any]:
    if not part.text:
        return dict(part.data)
    return {**part.data, "summary" if part.kind == "reasoning.summary" else "text": part.text}


def _with(shape: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Add the other fields that the non-streaming response had, and remove the fields that it lacked."""
    without = rest.get("without", ())
    fields = {name: value for name, value in shape.items() if value is not None or name not in without}
    return fields | {name: value for name, value in rest.items() if name != "without" and fields.get(name) is None}


def _client_choice(completion: Completion, choice: Choice, withheld: Container[int] | None) -> dict[str, Any]:
    own = completion.object == "chat.completion"
    shape = _own_choice(choice) if own else _chat_choice(choice)
    message: dict[str, Any] = shape["message"]
    if not own:
        shape["logprobs"] = chat_logprobs(choice.logprobs)
    called = called_by(choice.tool_calls)
    finish = chat_finish(choice.finish_reason, called) or end_finish(completion.end, called)
    shape["finish_reason"] = finish or choice.finish_reason
    # If the choice was cut, its arguments may have been cut too: leave them unchanged.
    complete = finish in ("tool_calls", "function_call") and completion.end in SUCCESSES
    for place, call in enumerate(call for call in choice.tool_calls if call.type != "function_call"):
        message["tool_calls"][place] = _client_call(completion, choice, call, complete=complete)
    if complete and (function := message.get("function_call")) and not function["arguments"].strip():
        message["function_call"] = {**function, "arguments": "{}"}
    if choice.annotations:
        message["annotations"] = [] if _is_withheld(choice, withheld) else choice_annotations(choice, completion.shape)
    return shape


def called_by(calls: tuple[ToolCall, ...]) -> Called:
    """Return the field of a message that holds these calls."""
    if not calls:
        return None
    return "function_call" if all(call.type == "function_call" for call in calls) else "tool_calls"


def _is_withheld(choice: Choice, withheld: Container[int] | None) -> bool:
    # A completion does not record which text was withheld, only that some was.
    if withheld is None:
        return any(verdict.action != "annotate" for verdict in choice.verdicts)
    return choice.index in withheld


def _client_call(completion: Completion, choice: Choice, call: ToolCall, *, complete: bool) -> dict[str, Any]:
    response = (completion.id, completion.created, completion.model)
    id = call.id or call_id(response, choice.index, call.index, call.name)
    if call.type == "custom":
        return {"id": id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    arguments = "{}" if complete and not call.arguments.strip() else call.arguments
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    if call.type == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": call.type, "function": {"name": call.name, "arguments": call.arguments}}


def text_logprobs(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Log probabilities in the form of legacy completions; `None` for any other form."""
    return logprobs if logprobs and "tokens" in logprobs else None


def chat_logprobs(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Convert log probabilities to the form of chat completions; `None` if it can't express them."""
    # The parallel lists of the legacy API can be converted; other providers' forms can't.
    if logprobs is None or not _CHAT_LOGPROBS.isdisjoint(logprobs):
        return logprobs
    tokens, values, tops = (_list(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not tokens:
        return None
    return {
        "content": [
            {**_token(token, value), "top_logprobs": [_token(*pair) for pair in mapping(top).items()]}
            for token, value, top in zip_longest(tokens, values[: len(tokens)], tops[: len(tokens)])
            if isinstance(token, str)
        ]
    }


def _list(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _token(token: str, value: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode(errors="surrogatepass"))}


register_form(OPENAI_FORM, own_completion)
register_form(OPENAI_CHAT, chat_completion)
