"""Cohere's chat, version 2, streamed and plain.

https://docs.cohere.com/v2/docs/streaming and https://docs.cohere.com/reference/chat-stream.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.dialects.base import Dialect
from streamkit.dialects.fields import count, mapping, mappings, text, total
from streamkit.events import (
    Annotation,
    EndReason,
    Event,
    Finish,
    Logprobs,
    ProviderNotice,
    ReasoningDelta,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.wire.events import ServerSentEvent

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


@dataclass
class CohereChat(Dialect):
    """The chat of version 2. It is `done` at `message-end`.

    There is one choice. What the model says before it calls tools, its `tool_plan`, is reasoning. `Usage` counts the tokens
    that were used, of which some are not billed; `details` has both.
    """

    # https://docs.cohere.com/reference/chat-stream: ChatFinishReason.
    reasons: ClassVar[dict[str, EndReason]] = {
        "MAX_TOKENS": "length",
        "TOOL_CALL": "tool_calls",
        "ERROR": "provider_error",
        "TIMEOUT": "provider_error",
    }

    _calls: dict[int | None, int] = field(default_factory=dict["int | None", int], init=False, repr=False)

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = fields.get("type")
        if kind is None:
            return "finish_reason" in fields and isinstance(fields.get("message"), dict)
        return isinstance(kind, str) and kind in _MARKS

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields = mapping(data)
        delta, kind, payload = mapping(fields.get("delta")), fields.get("type"), item.data
        message, index = mapping(delta.get("message")), count(fields.get("index"))
        match kind:
            case "content-delta" | "content-start" | "tool-plan-delta":
                self._tell(message, payload, out)
                if logprobs := mapping(fields.get("logprobs")):
                    out.append(Logprobs(logprobs, payload=payload))
            case "tool-call-start" | "tool-call-delta":
                for call in _one_or_many(message.get("tool_calls")):
                    self._call(call, index, kind == "tool-call-start", payload, out)
            case "citation-start":
                out.extend(Annotation(found, payload=payload) for found in _one_or_many(message.get("citations")))
            case "content-end" | "tool-call-end" | "citation-end":
                pass  # All of it was told.
            case "message-start":
                self._start(fields, message, payload, out)
            case "message-end":
                self._stop(delta, number, payload, out)
                if not self.done:
                    self.finish(out, number)
            case None if isinstance(fields.get("message"), dict):
                self._message(fields, number, payload, out)
            case _ if item.event == "error" or (kind is None and (fields.get("error") or fields.get("message"))):
                # https://docs.cohere.com/reference/errors: an object with a message, and perhaps an id.
                self.fail(fields.get("error") or data, number, out)
            case _:
                out.append(ProviderNotice(text(kind) or item.event, data, payload=payload))

    def _start(self, fields: dict[str, Any], message: dict[str, Any], payload: str, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        out.append(ResponseStart(text(fields.get("id")), payload=payload))
        if role := text(message.get("role")):
            out.append(RoleDelta(role, payload=payload))
        self._tell(message, payload, out)

    def _message(self, answer: dict[str, Any], number: int, payload: str, out: list[Event]) -> None:
        # A plain answer is all of a streamed one at once.
        message = mapping(answer.get("message"))
        self._start(answer, message, payload, out)
        for index, call in enumerate(mappings(message.get("tool_calls"))):
            self._call(call, index, True, payload, out)
        out.extend(Annotation(citation, payload=payload) for citation in mappings(message.get("citations")))
        out.extend(Logprobs(logprobs, payload=payload) for logprobs in mappings(answer.get("logprobs")))
        self._stop(answer, number, payload, out)

    def _tell(self, message: dict[str, Any], payload: str, out: list[Event]) -> None:
        if plan := text(message.get("tool_plan")):
            out.append(ReasoningDelta(plan, payload=payload))
        for part in _one_or_many(message.get("content")):
            if thought := text(part.get("thinking")):
                out.append(ReasoningDelta(thought, payload=payload))
            if piece := text(part.get("text")):
                out.append(TextDelta(piece, payload=payload))

    def _call(self, call: dict[str, Any], index: int | None, starts: bool, payload: str, out: list[Event]) -> None:
        if starts or index not in self._calls:
            self._calls[index] = max(self._calls.values(), default=-1) + 1
        function = mapping(call.get("function"))
        id, name = text(call.get("id")), text(function.get("name"))
        arguments, kind = text(function.get("arguments")) or "", text(call.get("type"))
        if starts or id or name or arguments:
            out.append(ToolCallDelta(self._calls[index], id, name, arguments, type=kind, payload=payload))

    def _stop(self, delta: dict[str, Any], number: int, payload: str, out: list[Event]) -> None:
        if usage := mapping(delta.get("usage")):
            out.append(_usage(usage, payload))
        if reason := text(delta.get("finish_reason")):
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))
        if error := delta.get("error"):
            self.fail(error, number, out)


def _one_or_many(value: object) -> list[dict[str, Any]]:
    # A delta names one thing where a whole message has a list of them.
    one = mapping(value)
    return [one] if one else mappings(value)


def _usage(usage: dict[str, Any], payload: str) -> Usage:
    tokens = mapping(usage.get("tokens")) or mapping(usage.get("billed_units"))
    prompt, completion = (count(tokens.get(f"{side}_tokens")) for side in ("input", "output"))
    known = prompt is not None and completion is not None
    return Usage(prompt, completion, total(prompt, completion) if known else None, usage, payload=payload)
