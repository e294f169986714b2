"""Ollama's own API, `/api/chat` and `/api/generate`: one JSON object per line, or a single object without streaming.

https://docs.ollama.com/api/chat, …/api/generate and …/api/streaming.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import arguments_of, calls_of, emptied, mapping, mappings, released, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import EMPTY
from streamkit.dialects.part_texts import start
from streamkit.dialects.times import seconds
from streamkit.events import (
    Choice,
    Completion,
    Event,
    Finish,
    Logprobs,
    Part,
    PartEnd,
    PartStart,
    ReasoningDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def answer(completion: Completion) -> dict[str, Any]:
    """Build the single object of the whole answer, with its counts and durations."""
    whole = {**completion.details, **(completion.usage.details if completion.usage else {})}
    if not completion.choices:
        return whole
    choice = completion.choices[0]
    if isinstance(message := whole.get("message"), dict):
        whole["message"] = {**message, "content": choice.text, **_beside(choice)}
    else:
        whole |= {"response": choice.text, **_beside(choice)}
    if choice.finish_reason:
        whole["done_reason"] = choice.finish_reason
    if choice.logprobs:
        whole["logprobs"] = choice.logprobs.get("content")
    return whole


def _beside(choice: Choice) -> dict[str, Any]:
    known = calls_of(choice)
    calls = [_call(part, known[part.tool_index]) for part in released(choice)]
    beside = {"thinking": choice.reasoning, "tool_calls": calls}
    return {name: value for name, value in beside.items() if value}


def _call(part: Part, call: ToolCall) -> dict[str, Any]:
    function = dict(mapping(part.data.get("function")))
    if call.name is not None:
        function["name"] = call.name
    if "arguments" in function:
        # Some servers send the arguments in a string, as OpenAI does.
        function["arguments"] = call.arguments if isinstance(function["arguments"], str) else arguments_of(call)
    return {**part.data, "function": function}


# The events

# A line without any of these fields, such as a proxy's ping, is not part of an answer.
_ANSWER = ("message", "response", "done")
# Fields that are emitted as events of their own.
_EMITTED = ("content", "thinking", "reasoning_content", "tool_calls", "response", "logprobs", "done_reason")


@dataclass
class Ollama(Dialect):
    """Lines with `message` or `response`. It is `done` at `"done": true`.

    That alone proves the end: `done_reason` may be missing or null, as in servers before 0.1.38.
    """

    shape: ClassVar[str | None] = "ollama"
    response_form: ClassVar[ResponseForm | None] = answer
    _model: str | None = field(default=None, init=False, repr=False)
    _role: str | None = field(default=None, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        return {"model", "created_at", "done"} <= fields.keys() and ("message" in fields or "response" in fields)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload, known = mapping(data), item.payload, len(out)
        if error := fields.get("error") if "done" in fields else error_in(data):
            self.fail(error, number, out)
            return
        if not fields.keys().isdisjoint(_ANSWER):
            self.finished.setdefault(0, None)
        self._announce(fields, payload, out)
        self._emit(mapping(fields.get("message")) or fields, payload, out)
        if logprobs := mappings(fields.get("logprobs")):
            out.append(Logprobs({"content": logprobs}, payload=payload))
        if fields.get("done") is True:
            self._conclude(fields, payload, out)
            self.finish(out, number)
        elif len(out) == known and not _is_silent(fields):
            self.unknown_event(item.event, data, payload, out)

    def _announce(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        model = text(fields.get("model"))
        if model and model != self._model:
            self._model = model
            out.append(ResponseStart(created=seconds(fields.get("created_at")), model=model, payload=payload))
            self._detail(fields, payload, out)

    def _emit(self, message: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        role = text(message.get("role"))
        if role and role != self._role:
            self._role = role
            out.append(RoleDelta(role, payload=payload))
        # Proxies with Ollama's API send reasoning under the name common in OpenAI's format.
        if thinking := text(message.get("thinking")) or text(message.get("reasoning_content")):
            out.append(ReasoningDelta(thinking, payload=payload))
        if content := text(message.get("content")) or text(message.get("response")):
            out.append(TextDelta(content, payload=payload))
        for call in mappings(message.get("tool_calls")):
            self._call(call, payload, out)

    def _detail(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # The times and the status are those of the last line, as in a non-streaming response.
        details = {name: value for name, value in fields.items() if name not in _EMITTED and not _is_cost(name)}
        if isinstance(fields.get("message"), dict):
            details["message"] = without(fields["message"], _EMITTED)
        out.append(ResponseDetails(details, self.shape, payload=payload))

    def _call(self, call: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # Calls are whole, and numbered here: some servers send no index, others 0 for each call.
        function, number = mapping(call.get("function")), self._calls
        arguments = function.get("arguments")
        data = {**call, **({"function": emptied(function, ("name",))} if function else {})}
        if arguments is not None:
            data["function"]["arguments"] = "" if isinstance(arguments, str) else {}
        if arguments is not None and not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        self._calls += 1
        self.called.add(0)
        id, name = text(call.get("id")), text(function.get("name"))
        out += [
            *start(PartStart("tool_call", number, data, "tool_arguments", number, payload=payload)),
            ToolCallDelta(number, id, name, arguments or EMPTY, type="function", payload=payload),
            PartEnd(number, payload=payload),
        ]

    def _conclude(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self._detail(fields, payload, out)
        if details := {name: value for name, value in fields.items() if _is_cost(name)}:
            out.append(usage_of(details, payload))
        if (reason := word(fields.get("done_reason"))) and not is_pending(reason):
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))


def _is_silent(fields: dict[str, Any]) -> bool:
    # A line with empty text is known; it is not reported as unknown.
    return isinstance(fields.get("message"), dict) or isinstance(fields.get("response"), str)


def _is_cost(name: str) -> bool:
    return name.endswith(("_count", "_duration"))
