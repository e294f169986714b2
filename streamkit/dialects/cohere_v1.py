"""Cohere's chat, version 1, streamed and non-streaming. Command R and R+ on Amazon Bedrock use it.

https://docs.cohere.com/v1/reference/chat-stream and
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command-r-plus.html.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import arguments_of, count, mapping, mappings, quotes, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import BareCalls
from streamkit.events import (
    Annotation,
    Completion,
    Event,
    Finish,
    ReasoningDelta,
    ResponseDetails,
    ResponseStart,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def chat(completion: Completion) -> dict[str, Any]:
    """Build the response with its text, calls and citations."""
    whole = dict(completion.details)
    if not completion.choices:
        return whole
    choice = completion.choices[0]
    calls = [{"name": call.name, "parameters": arguments_of(call)} for call in choice.tool_calls]
    citations = [citation for citation in choice.annotations if quotes(choice, citation.get("text"))]
    beside = {"citations": citations, "tool_calls": calls}
    return {
        **whole,
        **({"generation_id": completion.id} if completion.id else {}),
        "text": choice.text or choice.reasoning or "",
        "finish_reason": choice.finish_reason,
        **{name: value for name, value in beside.items() if value},
    }


# The events

_MARKS = {
    "stream-start",
    "search-queries-generation",
    "search-results",
    "text-generation",
    "citation-generation",
    "tool-calls-chunk",
    "tool-calls-generation",
    "stream-end",
}
_METRICS = "amazon-bedrock-invocationMetrics"
_EMITTED = (
    "text",
    "generation_id",
    "finish_reason",
    "tool_calls",
    "citations",
    "chat_history",
    "event_type",
    "is_finished",
    _METRICS,
)
"""Fields of a response that are emitted as events of their own, or that repeat the request."""


@dataclass
class CohereChatV1(Dialect):
    """The chat of version 1. It is `done` at `stream-end`.

    There is one choice. Calls have no id. The model's text before it calls tools is emitted as reasoning, as in version 2. The
    response in `stream-end` repeats what was streamed; only what it has beyond that is emitted.
    """

    places = (("text",),)
    shape: ClassVar[str | None] = "cohere-v1"
    response_form: ClassVar[ResponseForm | None] = chat
    reasons: ClassVar[dict[str, EndReason]] = {"TIMEOUT": "provider_error"}

    _id: str | None = field(default=None, init=False, repr=False)
    _texts: bool = field(default=False, init=False, repr=False)
    _plans: bool = field(default=False, init=False, repr=False)
    _cited: bool = field(default=False, init=False, repr=False)
    _calls: set[int] = field(default_factory=set[int], init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = fields.get("event_type")
        if kind is None:
            return isinstance(fields.get("text"), str) and "generation_id" in fields and "finish_reason" in fields
        return isinstance(kind, str) and kind in _MARKS

    def record_learnt(self, learnt: Any, pieces: list[str], payload: bytes) -> None:
        super().record_learnt(learnt, pieces, payload)
        self._texts = True

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        kind = fields.get("event_type")
        match kind:
            case "stream-start" if self.finished and self._texts:
                self.refuse(ANOTHER, number)
            case "stream-start":
                self._begin(fields, payload, out)
            case "text-generation":
                self._text(fields, payload, out)
            case "citation-generation":
                self._cite(fields, payload, out)
            case "tool-calls-chunk":
                self._piece(fields, payload, out)
            case "tool-calls-generation":
                self._whole_calls(fields, payload, out)
            case "stream-end":
                self._finish({**mapping(fields.get("response")), **without(fields, ("response",))}, payload, out)
                self.finish(out, number)
            case None if "generation_id" in fields and isinstance(fields.get("text"), str):
                self._finish(fields, payload, out)
            case None if error_in(data, whole=True):
                self.fail(error_in(data) or data, number, out)
            case _:
                self.unknown_event(text(kind) or item.event, data, payload, out)

    def _begin(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        if (id := text(fields.get("generation_id"))) and id != self._id:
            self._id = id
            out.append(ResponseStart(id, payload=payload))

    def _text(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        if piece := text(fields.get("text")):
            self._texts = True
            out.append(TextDelta(piece, payload=payload))

    def _cite(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        for citation in mappings(fields.get("citations")):
            self._cited = True
            out.append(Annotation(citation, payload=payload))

    def _plan(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        if plan := text(fields.get("text")):
            self._plans = True
            out.append(ReasoningDelta(plan, payload=payload))

    def _piece(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        call = mapping(fields.get("tool_call_delta"))
        self._plan(call if "text" in call else fields, payload, out)
        name, arguments = text(call.get("name")), text(call.get("parameters")) or ""
        if name or arguments:
            index = count(call.get("index")) or 0
            self._call(index, name, arguments, payload, out)

    def _whole_calls(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if not self._plans:
            self._plan(fields, payload, out)
        for index, call in enumerate(mappings(fields.get("tool_calls"))):
            if index not in self._calls:
                arguments = msgspec.json.encode(mapping(call.get("parameters"))).decode()
                self._call(index, text(call.get("name")), arguments, payload, out)

    def _call(self, index: int, name: str | None, arguments: str, payload: bytes, out: list[Event]) -> None:
        if index not in self._calls:
            self._calls.add(index)
            self._bare.begin(index)
        if arguments:
            self._bare.got_arguments(index)
        self.called.add(0)
        out.append(ToolCallDelta(index, None, name, arguments, payload=payload))

    def _finish(self, response: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self._begin(response, payload, out)
        out.append(ResponseDetails({**without(response, _EMITTED), "text": ""}, self.shape, payload=payload))
        calls = mappings(response.get("tool_calls"))
        if not self._texts and not (calls and self._plans):
            self._text(response, payload, out)
        self._whole_calls({"tool_calls": calls}, payload, out)
        if not self._cited:
            self._cite(response, payload, out)
        used = {
            name: value
            for name in ("billed_units", "tokens")
            if (value := mapping(mapping(response.get("meta")).get(name)))
        }
        if used := used or mapping(response.get(_METRICS)):
            out.append(usage_of(used, payload))
        if (reason := word(response.get("finish_reason"))) and not is_pending(reason):
            if self.ends_calls(reason):
                self._bare.end_all(payload, out)
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))
