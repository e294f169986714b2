"""Cohere's chat, version 2, streamed and non-streaming.

https://docs.cohere.com/v2/docs/streaming and https://docs.cohere.com/reference/chat-stream.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import calls_of, count, emptied, mapping, mappings, quotes, released, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import BareCalls
from streamkit.dialects.part_texts import start
from streamkit.events import (
    Annotation,
    Channel,
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


def chat(completion: Completion) -> dict[str, Any]:
    """Build the response with its message: plan, content, calls and citations."""
    whole = dict(completion.details)
    if not completion.choices:
        return whole
    choice = completion.choices[0]
    whole |= {"finish_reason": choice.finish_reason, "message": _message(mapping(whole.get("message")), choice)}
    if completion.usage:
        whole["usage"] = completion.usage.details
    if choice.logprobs:
        whole["logprobs"] = choice.logprobs.get("items")
    return whole


def _message(fields: dict[str, Any], choice: Choice) -> dict[str, Any]:
    plan = next((part.text for part in choice.parts if part.kind == "tool_plan"), None)
    content = [_content(part) for part in choice.parts if part.kind != "tool_plan" and part.tool_index is None]
    known = calls_of(choice)
    calls = [_call(part, known[part.tool_index]) for part in released(choice) if part.tool_index is not None]
    citations = [citation for citation in choice.annotations if quotes(choice, citation.get("text"))]
    released_fields = {"tool_plan": plan, "content": content, "tool_calls": calls, "citations": citations}
    return {**fields, **{name: value for name, value in released_fields.items() if value}}


def _content(part: Part) -> dict[str, Any]:
    if part.channel is None:
        return dict(part.data)
    return {**part.data, "thinking" if part.channel == "reasoning" else "text": part.text}


def _call(part: Part, call: ToolCall) -> dict[str, Any]:
    function = {**mapping(part.data.get("function")), "arguments": call.arguments}
    if call.name is not None:
        function["name"] = call.name
    return {**part.data, "function": function}


# The events

_MARKS = {
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "citation-start",
    "citation-end",
    "message-end",
}
_CHANNELS: dict[str, Channel] = {"text": "content", "thinking": "reasoning", "tool_plan": "reasoning"}
# Fields of a message that are emitted as events of their own.
_EMITTED = ("tool_plan", "content", "tool_calls", "citations")


@dataclass
class CohereChat(Dialect):
    """The chat of version 2. It is `done` at `message-end`.

    There is one choice. The `tool_plan`, the model's text before it calls tools, is emitted as reasoning. `Usage` counts all
    tokens, some of which are not billed; `details` has both counts, and a `UsageReport` has the billed ones.
    """

    shape: ClassVar[str | None] = "cohere"
    response_form: ClassVar[ResponseForm | None] = chat
    # https://docs.cohere.com/reference/chat-stream: this is the provider's own timeout.
    reasons: ClassVar[dict[str, EndReason]] = {"TIMEOUT": "provider_error"}

    _calls: dict[int | None, int] = field(default_factory=dict["int | None", int], init=False, repr=False)
    _numbers: int = field(default=0, init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)
    _parts: int = field(default=0, init=False, repr=False)
    # The number and kind of each open part, by its name on the wire: "content 0", "call 0", "plan".
    _open: dict[str, tuple[int, str]] = field(default_factory=dict[str, "tuple[int, str]"], init=False, repr=False)
    _current: dict[Channel, int] = field(default_factory=dict[Channel, int], init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = fields.get("type")
        if kind is None:
            return "finish_reason" in fields and isinstance(fields.get("message"), dict)
        return isinstance(kind, str) and kind in _MARKS

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields = mapping(data)
        delta, kind, payload = mapping(fields.get("delta")), fields.get("type"), item.payload
        message, index = mapping(delta.get("message")), count(fields.get("index"))
        match kind:
            case "content-delta" | "content-start" | "tool-plan-delta":
                self._emit(message, index, kind == "content-start", payload, out)
                self._logprobs([fields.get("logprobs")], payload, out)
            case "tool-call-start" | "tool-call-delta":
                for call in _one_or_many(message.get("tool_calls")):
                    self._call(call, index, kind == "tool-call-start", payload, out)
            case "citation-start":
                out.extend(Annotation(found, payload=payload) for found in _one_or_many(message.get("citations")))
            case "content-end" | "tool-call-end":
                self._close(f"{'content' if kind == 'content-end' else 'call'} {index}", payload, out)
            case "citation-end":
                pass  # Everything was emitted at `citation-start`.
            case "message-start" | None if self._parts and (kind or isinstance(fields.get("message"), dict)):
                self.refuse(ANOTHER, number)
            case "message-start":
                self._start(fields, message, payload, out)
            case "message-end":
                self._stop(delta, number, payload, out)
                if not self.done:
                    self.finish(out, number)
            case None if isinstance(fields.get("message"), dict):
                self._message(fields, number, payload, out)
            case None if error_in(data, whole=True):
                # https://docs.cohere.com/reference/errors: an object with a message, and perhaps an id.
                self.fail(error_in(data) or data, number, out)
            case _:
                self.unknown_event(text(kind) or item.event, data, payload, out)

    def _start(self, fields: dict[str, Any], message: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        out.append(ResponseStart(text(fields.get("id")), payload=payload))
        # A stream starts with empty fields for everything that may follow; empty fields of a non-streaming response are kept.
        streamed = "type" in fields
        hole = {name: value for name, value in message.items() if name not in _EMITTED or not (value or streamed)}
        details = without(fields, ("type", "delta", "finish_reason", "usage"))
        details |= {"message": hole, **({"logprobs": []} if "logprobs" in fields else {})}
        out.append(ResponseDetails(details, self.shape, payload=payload))
        if role := text(message.get("role")):
            out.append(RoleDelta(role, payload=payload))
        self._emit(message, None, True, payload, out)

    def _message(self, answer: dict[str, Any], number: int, payload: bytes, out: list[Event]) -> None:
        # A non-streaming response has everything in one event.
        message = mapping(answer.get("message"))
        self._start(answer, message, payload, out)
        for index, call in enumerate(mappings(message.get("tool_calls"))):
            self._call(call, index, True, payload, out)
        for name in list(self._open):
            self._close(name, payload, out)
        out.extend(Annotation(citation, payload=payload) for citation in mappings(message.get("citations")))
        self._logprobs(answer.get("logprobs"), payload, out)
        self._stop(answer, number, payload, out)

    def _logprobs(self, items: object, payload: bytes, out: list[Event]) -> None:
        # Each item carries the text of its tokens, so items can't be merged into one.
        if found := mappings(items):
            out.append(Logprobs({"items": found}, payload=payload))

    def _emit(self, message: dict[str, Any], index: int | None, starts: bool, payload: bytes, out: list[Event]) -> None:
        if plan := text(message.get("tool_plan")):
            self._part("tool_plan", {}, "plan", payload, out)
            out.append(ReasoningDelta(plan, payload=payload))
        for at, part in enumerate(_one_or_many(message.get("content"))):
            place = f"content {at if index is None else index}"
            known = self._open.get(place, (0, ""))[1]
            kind = text(part.get("type")) or ("thinking" if "thinking" in part else "text" if part else known)
            if starts or kind != known:
                self._close(place, payload, out)
            self._part(kind, {"type": kind, **part}, place, payload, out)
            if thought := text(part.get("thinking")):
                out.append(ReasoningDelta(thought, payload=payload))
            if piece := text(part.get("text")):
                out.append(TextDelta(piece, payload=payload))

    # Parts

    def _part(self, kind: str, data: dict[str, Any], place: str, payload: bytes, out: list[Event]) -> None:
        """Emit the `PartStart` of a part before its text, and again if text of another part came in between."""
        began = place not in self._open
        if began:
            self._open[place] = self._parts, kind
            self._parts += 1
        number, kind = self._open[place]
        channel = _CHANNELS.get(kind)
        if began or (channel and self._current[channel] != number):
            beside = emptied(data, ("text", "thinking")) if began else {}
            out += start(PartStart(kind, number, beside, channel, payload=payload))
        if channel:
            self._current[channel] = number

    def _close(self, place: str, payload: bytes, out: list[Event]) -> None:
        if known := self._open.pop(place, None):
            out.append(PartEnd(known[0], payload=payload))

    def _call(self, call: dict[str, Any], index: int | None, starts: bool, payload: bytes, out: list[Event]) -> None:
        if starts or index not in self._calls:
            self._calls[index], self._numbers = self._numbers, self._numbers + 1
            self._bare.begin(self._calls[index])
            self.called.add(0)
        function = mapping(call.get("function"))
        id, name = text(call.get("id")), text(function.get("name"))
        arguments, kind = text(function.get("arguments")) or "", text(call.get("type"))
        if starts or f"call {index}" not in self._open:
            self._close(f"call {index}", payload, out)
            self._open[f"call {index}"] = self._parts, "tool_call"
            data = {**call, **({"function": emptied(function, ("name", "arguments"))} if function else {})}
            tool = self._calls[index]
            out += start(PartStart("tool_call", self._parts, data, "tool_arguments", tool, payload=payload))
            self._parts += 1
        if starts or id or name or arguments:
            if arguments:
                self._bare.got_arguments(self._calls[index])
            out.append(ToolCallDelta(self._calls[index], id, name, arguments, type=kind, payload=payload))

    def _stop(self, delta: dict[str, Any], number: int, payload: bytes, out: list[Event]) -> None:
        if usage := mapping(delta.get("usage")):
            out.append(usage_of(usage, payload))
        if (reason := word(delta.get("finish_reason"))) and not is_pending(reason):
            if self.ends_calls(reason):
                self._bare.end_all(payload, out)
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))
        if error := delta.get("error"):
            self.fail(error, number, out)


def _one_or_many(value: object) -> list[dict[str, Any]]:
    # A delta has one object where a whole message has a list.
    one = mapping(value)
    return [one] if one else mappings(value)
