"""OpenAI's completions, chat and legacy: the form of its own answers, and one that every provider's answer can be put into.

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
"""The tool calls of a choice; `None` if there are none."""

_OWN = ("chat.completion", "text_completion")
_CHAT_LOGPROBS = {"content", "refusal"}
# OpenAI's words for the ends that it has one for.
_FINISH: dict[EndReason, str] = {
    "completed": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "moderated": "content_filter",
}


def chat_finish(word: str | None, called: Called = None) -> str | None:
    """A provider's word for the end in OpenAI's; `None` for a word that is not known.

    An answer that came to its end ends with `tool_calls` if it calls tools, and only then, whatever the provider says of it:
    Gemini, Ollama and Responses have no word for that.
    """
    return end_finish(meaning(word or ""), called)


def end_finish(end: EndReason | None, called: Called = None) -> str | None:
    """The same for a choice that has no such word, by the reason of a `StreamEnd`; `None` if that is no success."""
    finish = _FINISH.get(end) if end else None
    return called or "stop" if finish in ("stop", "tool_calls") else finish


def chat_usage(usage: Usage) -> dict[str, Any]:
    """A provider's usage by OpenAI's names. What is unknown is left out, and of a sum the details, which are those of one."""
    if "prompt_tokens" in usage.details and usage.responses == 1:
        return usage.details
    prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    known = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: value for name, value in known.items() if value is not None}


def call_id(response: tuple[object, object, object], index: int, call: int, name: str | None) -> str:
    """The id of a call to which the provider gave none: the same for the same call, however often it is asked for.

    `response` is its id, time and model, which distinguish it from others: clients keep calls by their ids over a whole
    conversation. The time, which may be that of the writing, counts only where there is no id.
    """
    id, created, model = response
    seed = msgspec.json.encode((str(id or created), str(model), index, call, name))
    return f"call_{blake2b(seed, digest_size=12).hexdigest()}"


def own_completion(completion: Completion) -> dict[str, Any]:
    """The whole response as its provider sends it, in the legacy shape if the chunks were of the legacy kind."""
    if completion.object == "text_completion":
        return _response(completion, "text_completion", [_text_choice(choice) for choice in completion.choices])
    if completion.object == "chat.completion":
        return _response(completion, "chat.completion", [_own_choice(choice) for choice in completion.choices])
    return chat_completion(completion)


def chat_completion(completion: Completion, withheld: Container[int] | None = None) -> dict[str, Any]:
    """The whole response in the chat shape, as OpenAI's clients expect it whoever answered.

    `withheld` are the choices of which a moderation held text back, whose annotations are left out; by default those that
    have verdicts.
    """
    choices = [_client_choice(completion, choice, withheld) for choice in completion.choices]
    return _response(completion, "chat.completion", choices)


def text_completion(completion: Completion) -> dict[str, Any]:
    """The whole response in the shape of the older completions, which have text alone."""
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


def _own_choice(choice: Choice) -> dict[str, Any]:
    shape, details = _chat_choice(choice), dict(choice.details)
    rest = mapping(details.pop("message", None))
    message = shape["message"] = _with(shape["message"], rest)
    if rest.get("reasoning") == "" and choice.reasoning is not None:  # what some call it
        message["reasoning"] = message.pop("reasoning_content")
    if entries := [_reasoning_detail(part) for part in choice.parts]:
        message["reasoning_details"] = entries
    return _with(shape, details)


def _reasoning_detail(part: Part) -> dict[str, Any]:
    if not part.text:
        return dict(part.data)
    return {**part.data, "summary" if part.kind == "reasoning.summary" else "text": part.text}


def _with(shape: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """The shape with what else a plain response had, and without what it had not."""
    without = rest.get("without", ())
    said = {name: value for name, value in shape.items() if value is not None or name not in without}
    return said | {name: value for name, value in rest.items() if name != "without" and said.get(name) is None}


def _client_choice(completion: Completion, choice: Choice, withheld: Container[int] | None) -> dict[str, Any]:
    own = completion.object == "chat.completion"
    shape = _own_choice(choice) if own else _chat_choice(choice)
    message: dict[str, Any] = shape["message"]
    if not own:
        shape["logprobs"] = chat_logprobs(choice.logprobs)
    called = called_by(choice.tool_calls)
    finish = chat_finish(choice.finish_reason, called) or end_finish(completion.end, called)
    shape["finish_reason"] = finish or choice.finish_reason
    # The arguments of a choice that was cut may have been cut, too: they are left as they are.
    complete = finish in ("tool_calls", "function_call") and completion.end in SUCCESSES
    for place, call in enumerate(call for call in choice.tool_calls if call.type != "function_call"):
        message["tool_calls"][place] = _client_call(completion, choice, call, complete=complete)
    if complete and (function := message.get("function_call")) and not function["arguments"].strip():
        message["function_call"] = {**function, "arguments": "{}"}
    if choice.annotations:
        message["annotations"] = [] if _is_withheld(choice, withheld) else choice_annotations(choice, completion.shape)
    return shape


def called_by(calls: tuple[ToolCall, ...]) -> Called:
    """Return the fields of a message that hold these calls."""
    if not calls:
        return None
    return "function_call" if all(call.type == "function_call" for call in calls) else "tool_calls"


def _is_withheld(choice: Choice, withheld: Container[int] | None) -> bool:
    # A completion does not say which text was held back, only that some was.
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
    """Log probabilities as the older completions have them; `None` for any others."""
    return logprobs if logprobs and "tokens" in logprobs else None


def chat_logprobs(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Log probabilities as chat completions have them; `None` for those of another form."""
    # The legacy API has parallel lists; what another provider sends can't be expressed in OpenAI's format.
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
