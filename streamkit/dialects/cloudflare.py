"""Cloudflare Workers AI in its own format: `{"response": "…"}` for each chunk, then `[DONE]`.

https://developers.cloudflare.com/workers-ai/models/ and …/workers-ai/features/function-calling/. Some models, and its
`/v1/chat/completions`, send OpenAI's chunks.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import (
    arguments_of,
    calls_of,
    count,
    decoded,
    emptied,
    empty,
    mapping,
    mappings,
    released,
    spent,
    text,
    without,
    word,
)
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import Calls
from streamkit.dialects.part_texts import start
from streamkit.events import (
    Choice,
    Completion,
    Event,
    Finish,
    PartEnd,
    PartStart,
    ResponseDetails,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from streamkit.sse.events import JsonBody, ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def result(completion: Completion) -> dict[str, Any]:
    """Build the response of a binding: text, calls, usage; inside `result` if the response had one, as over REST."""
    details, choice = dict(completion.details), completion.choices[0] if completion.choices else None
    rest = details.pop("result", None)
    whole = mapping(rest) if rest is not None else details
    whole = {**whole, "response": _response(whole.get("response", ""), choice)}
    if choice and (calls := _calls(choice)):
        whole["tool_calls"] = calls
    if choice and choice.finish_reason:
        whole["finish_reason"] = choice.finish_reason
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole if rest is None else {**details, "result": whole}


def _response(form: Any, choice: "Choice | None") -> Any:
    # In JSON mode the response is an object, whose JSON was emitted as text; with tool calls there is no text.
    if not isinstance(form, str) and choice and choice.content:
        return decoded(choice.content)
    return (choice.content if choice else None) or form


def _calls(choice: Choice) -> list[dict[str, Any]]:
    known = calls_of(choice)
    return [_call(dict(part.data), known[part.tool_index]) for part in released(choice) if part.tool_index is not None]


def _call(form: dict[str, Any], call: ToolCall) -> dict[str, Any]:
    function = dict(mapping(form.get("function")) or form)
    if call.name is not None:
        function["name"] = call.name
    function["arguments"] = call.arguments if isinstance(function.get("arguments"), str) else arguments_of(call)
    return {**form, "function": function} if "function" in form else function


# The events

# Fields that are emitted as events of their own; `p` is padding.
_EMITTED = ("response", "tool_calls", "usage", "finish_reason", "p")
_OTHERS = ("type", "object", "choices", "model", "done")


@dataclass
class WorkersAI(Dialect):
    """Chunks with a `response`, tool calls and usage. A non-streaming response is one chunk, over REST inside `result`.

    It is `done` at `[DONE]`. That, or the `finish_reason` that some models send, proves the end.
    """

    shape: ClassVar[str | None] = "cloudflare"
    response_form: ClassVar[ResponseForm | None] = result
    _used: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _calls: Calls = field(default_factory=Calls, init=False, repr=False)
    _open: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    _parts: set[int] = field(default_factory=set[int], init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        if "success" in fields and "errors" in fields:
            return True
        return "response" in fields and not any(name in fields for name in _OTHERS)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        error = None if "response" in fields else error_in(data)
        if error:
            self.fail(error, number, out)
            return
        answer = mapping(fields.get("result")) if "success" in fields else fields
        if not any(name in answer for name in _EMITTED):
            self.unknown_event(item.event, data, payload, out)
            return
        if 0 not in self.finished:
            self.finished[0] = None
            out.append(ResponseDetails(_beside(fields), self.shape, payload=payload))
        # A JSON body is the whole response.
        whole = isinstance(item, JsonBody)
        self._emit(answer, whole, payload, out)
        if whole:
            self.finish(out, number)

    def _emit(self, answer: dict[str, Any], whole: bool, payload: bytes, out: list[Event]) -> None:
        if piece := _text(answer.get("response")):
            out.append(TextDelta(piece, payload=payload))
        for position, call in enumerate(mappings(answer.get("tool_calls"))):
            self._call(call, position, whole, payload, out)
        if usage := mapping(answer.get("usage")):
            self._used = spent(self._used, usage, ("prompt_tokens", "completion_tokens", "total_tokens"))
            out.append(usage_of(self._used, payload))
        if (reason := word(answer.get("finish_reason"))) and not is_pending(reason):
            self.settle(out, complete=self.ends_calls(reason))
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))

    def settle(self, out: list[Event], *, complete: bool) -> None:
        self._calls.settle(0, None, out, complete=complete and self.finished.get(0) is None)
        if self._calls.are_of_client:
            self.called.add(0)
        out += [PartEnd(number) for number in self._open]
        self._open.clear()

    def _call(self, call: dict[str, Any], position: int, whole: bool, payload: bytes, out: list[Event]) -> None:
        # Older models send {"name": …, "arguments": {…}}. Others send OpenAI's form, also in pieces, of which the last is empty.
        function = mapping(call.get("function")) or call
        arguments = function.get("arguments")
        arguments_text = arguments if isinstance(arguments, str) else "" if arguments is None else _json(arguments)
        id, name, kind = text(call.get("id")), text(function.get("name")), text(call.get("type"))
        if not (id or name or arguments_text):
            return
        delta = ToolCallDelta(position, id, name, arguments_text, type=kind, payload=payload)
        found = self._calls.piece(delta, count(call.get("index")), whole=whole or isinstance(arguments, dict))
        if found.tool_index not in self._parts:
            self._parts.add(found.tool_index)
            self._open[found.tool_index] = None
            at, form = found.tool_index, _form(call)
            out += start(PartStart("tool_call", at, form, "tool_arguments", at, payload=payload))
        out.append(found)


def _beside(fields: dict[str, Any]) -> dict[str, Any]:
    emptied: dict[str, Any] = {name: empty(fields[name]) for name in ("response", "tool_calls") if name in fields}
    if "result" in fields:
        emptied = {"result": _beside(mapping(fields["result"]))}
    return {**without(fields, (*_EMITTED, "result")), **emptied}


def _form(call: dict[str, Any]) -> dict[str, Any]:
    # Keep the empty form of the arguments: some models send a string, others an object.
    function = mapping(call.get("function")) or call
    held: Any = "" if isinstance(function.get("arguments"), str) else {}
    form: dict[str, Any] = {**emptied(function, ("name",)), "arguments": held}
    return {**call, "function": form} if function is not call else form


def _text(response: object) -> str:
    # The response may be a number or, in JSON mode, an object.
    if response is None or isinstance(response, str):
        return response or ""
    return _json(response)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
