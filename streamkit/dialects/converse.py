"""Amazon Bedrock's Converse, streamed and non-streaming, and Nova's answers to `invoke-with-response-stream`.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, …/API_runtime_Converse.html and
https://docs.aws.amazon.com/nova/latest/userguide/using-invoke-api.html. Amazon's event stream has the name of an event in a
header. Nova, and the lists of events that SDKs return, have it as the only key of an object.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import msgspec

from streamkit.completion import ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import (
    arguments_of,
    calls_of,
    changed,
    count,
    grown,
    mapping,
    mappings,
    released,
    text,
    without,
    word,
)
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
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    ReasoningDelta,
    ResponseDetails,
    RoleDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def response(completion: Completion) -> dict[str, Any]:
    """Build the response with its message."""
    whole = dict(completion.details)
    choice = completion.choices[0] if completion.choices else None
    output = mapping(whole.get("output"))
    message = {"role": "assistant", **mapping(output.get("message")), "content": _content(choice) if choice else []}
    whole["output"] = {**output, "message": message}
    whole["stopReason"] = choice.finish_reason if choice else None
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


def _content(choice: Choice) -> list[dict[str, Any]]:
    calls = calls_of(choice)
    return [_block(part, calls) for part in released(choice)]


def _block(part: Part, calls: dict[int | None, ToolCall]) -> dict[str, Any]:
    if part.channel == "content":
        if not part.annotations:
            return {"text": part.text}
        return {"citationsContent": {"content": [{"text": part.text}], "citations": list(part.annotations)}}
    if part.channel == "reasoning":
        reasoning = {"text": part.text} if part.text or "redactedContent" not in part.data else {}
        signed = {"signature": part.data["signature"]} if "signature" in part.data else {}
        thought = {"reasoningText": {**reasoning, **signed}} if reasoning or signed else {}
        return {"reasoningContent": {**thought, **without(part.data, ("signature",))}}
    if (call := calls.get(part.tool_index)) and part.tool_index is not None:
        input: Any = arguments_of(call) if call.arguments else {}
        return {"toolUse": {**mapping(part.data.get("toolUse")), "name": call.name, "input": input}}
    return dict(part.data)


# The events

_MARKS = (
    "contentBlockDelta",
    "messageStart",
    "contentBlockStart",
    "contentBlockStop",
    "messageStop",
    "metadata",
)
_OWN_MARKS = frozenset(_MARKS) - {"metadata"}
_METRICS = "amazon-bedrock-invocationMetrics"
_PADDING = "p"
_CHANNELS: dict[str, Channel] = {"text": "content", "reasoningContent": "reasoning"}
_FILLED: dict[str, dict[str, Any]] = {"toolUse": {"input": {}}, "toolResult": {"content": []}}
# Fields of a guardrail's trace that quote the prompt or the answer.
_QUOTES = ("match", "modelOutput", "automatedReasoningPolicy")


class _ConverseBlock(msgspec.Struct):
    number: int
    kind: str
    tool_index: int | None = None
    late: dict[str, Any] = {}
    results: int = 0


@dataclass
class BedrockConverse(Dialect):
    """Converse. It is `done` at the `metadata` event after `messageStop`; the stop reason alone proves the end.

    There is one choice. Its content blocks are emitted in order: text, reasoning with its signature in the `PartEnd`, and the
    tools that the caller must run. The input and the results of tools that Bedrock runs itself are emitted as `PartDelta`s.
    Fields of a guardrail's trace that quote the prompt or the answer are only in `raw`.
    """

    places = (
        ("delta", "text"),
        ("delta", "reasoningContent", "text"),
        ("delta", "toolUse", "input"),
        ("contentBlockDelta", "delta", "text"),
        ("contentBlockDelta", "delta", "reasoningContent", "text"),
        ("contentBlockDelta", "delta", "toolUse", "input"),
    )
    shape: ClassVar[str | None] = "converse"
    response_form: ClassVar[ResponseForm | None] = response

    _usage: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _open: dict[int | None, _ConverseBlock] = field(
        default_factory=dict["int | None", _ConverseBlock], init=False, repr=False
    )
    # The block that the text of a channel goes to.
    _current: dict[Channel, int] = field(default_factory=dict[Channel, int], init=False, repr=False)
    _blocks: int = field(default=0, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        if event.event in _OWN_MARKS or any(isinstance(fields[name], dict) for name in _OWN_MARKS & fields.keys()):
            return True
        return "stopReason" in fields and isinstance(mapping(fields.get("output")).get("message"), dict)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        kind = item.event if item.event in _MARKS else next((name for name in _MARKS if name in fields), None)
        body = fields if kind == item.event else mapping(fields.get(kind or ""))
        index = count(body.get("contentBlockIndex"))
        match kind:
            case "contentBlockDelta":
                self._delta(mapping(body.get("delta")), index, payload, out)
            case "contentBlockStart":
                self._open_block(mapping(body.get("start")), index, payload, out)
            case "contentBlockStop":
                self._end_block(index, payload, out)
            case "messageStart":
                self._start(body, number, payload, out)
            case "messageStop":
                self._emit_details(without(body, ("stopReason", _PADDING)), payload, out)
                self._stop(body, payload, out)
            case "metadata":
                self._emit_details(without(body, ("usage", _PADDING)), payload, out)
                self._take_usage(mapping(body.get("usage")), payload, out)
            case _ if isinstance(mapping(fields.get("output")).get("message"), dict):
                self._message(fields, number, payload, out)
            case _ if error := error_in(data):
                self.fail(error, number, out)
            case _:
                self.unknown_event(item.event, data, payload, out)
        if not self._usage and (metrics := mapping(fields.get(_METRICS))):
            self._take_usage(metrics, payload, out)
        if kind == "metadata" and self._has_finished():
            self.finish(out, number)

    def settle(self, out: list[Event], *, complete: bool) -> None:
        # A block that is open when the stream is cut is incomplete and gets no `PartEnd`.
        for index in list(self._open) if complete else ():
            self._end_block(index, None, out)

    # The message

    def _start(self, message: dict[str, Any], number: int, payload: bytes, out: list[Event]) -> None:
        if self._blocks or self.finished.get(0) is not None:
            self.refuse(ANOTHER, number)
        if 0 in self.finished:
            return
        self.finished[0] = None
        if role := text(message.get("role")):
            out.append(RoleDelta(role, payload=payload))
        beside = without(message, ("content", _PADDING))
        out.append(ResponseDetails({"output": {"message": {**beside, "content": []}}}, self.shape, payload=payload))

    def _message(self, whole: dict[str, Any], number: int, payload: bytes, out: list[Event]) -> None:
        # A non-streaming response has everything in one event.
        message = mapping(mapping(whole["output"]).get("message"))
        self._start(message, number, payload, out)
        for index, block in enumerate(mappings(message.get("content"))):
            self._whole_block(block, index, payload, out)
            self._end_block(index, payload, out)
        self._emit_details(without(whole, ("output", "stopReason", "usage")), payload, out)
        self._stop(whole, payload, out)
        self._take_usage(mapping(whole.get("usage")), payload, out)

    def _emit_details(self, beside: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if trace := mapping(beside.get("trace")):
            beside = {**beside, "trace": _without_quotes(trace)}
        if new := changed(beside, self._details):
            self._details |= new
            out.append(ResponseDetails(new, self.shape, payload=payload))

    def _stop(self, body: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if (reason := word(body.get("stopReason"))) and not is_pending(reason):
            if self.ends_calls(reason):
                self._bare.end_all(payload, out)
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))

    def _take_usage(self, counts: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if counts:
            self._usage = grown(self._usage, counts)
            out.append(usage_of(self._usage, payload))

    # Content blocks

    def _open_block(self, started: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        if kind := next(iter(started), None):
            self._begin(kind, mapping(started[kind]), index, payload, out)

    def _begin(
        self, kind: str, fields: dict[str, Any], index: int | None, payload: bytes, out: list[Event]
    ) -> _ConverseBlock:
        self.finished.setdefault(0, None)
        self._end_block(index, payload, out)
        block = self._open[index] = _ConverseBlock(self._blocks, kind)
        self._blocks += 1
        if channel := _CHANNELS.get(kind):
            self._current[channel] = block.number
            out.append(PartStart(kind, block.number, {}, channel, payload=payload))
        elif kind == "toolUse" and "type" not in fields:
            self._call(block, fields, payload, out)
        else:
            # An empty value of the field that later deltas fill.
            data = {**_FILLED.get(kind, {}), **fields}
            block.late = {kind: fields} if kind == "image" else {}
            out += start(PartStart(kind, block.number, {kind: data}, payload=payload))
        return block

    def _call(self, block: _ConverseBlock, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        block.tool_index, self._calls = self._calls, self._calls + 1
        self.called.add(0)
        self._bare.begin(block.tool_index)
        data = {"toolUse": without(fields, ("name", "input"))}
        out.append(PartStart("toolUse", block.number, data, "tool_arguments", block.tool_index, payload=payload))
        id, name = text(fields.get("toolUseId")), text(fields.get("name"))
        out.append(ToolCallDelta(block.tool_index, id, name, payload=payload))

    def _whole_block(self, block: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        kind = next(iter(block), "content")
        fields = mapping(block.get(kind))
        match kind:
            case "text":
                self._text(text(block["text"]) or "", index, payload, out)
            case "citationsContent":
                for each in mappings(fields.get("content")):
                    self._text(text(each.get("text")) or "", index, payload, out)
                for citation in mappings(fields.get("citations")):
                    self._cite(citation, index, payload, out)
            case "reasoningContent":
                thought = mapping(fields.get("reasoningText"))
                self._reason({**thought, **without(fields, ("reasoningText",))}, index, payload, out)
            case "toolUse" if "type" not in fields:
                call = self._begin(kind, fields, index, payload, out)
                if (input := fields.get("input")) and call.tool_index is not None:
                    self._bare.got_arguments(call.tool_index)
                    arguments = msgspec.json.encode(input).decode()
                    out.append(ToolCallDelta(call.tool_index, arguments=arguments, payload=payload))
            case _:
                self._begin(kind, fields, index, payload, out)

    def _end_block(self, index: int | None, payload: bytes | None, out: list[Event]) -> None:
        if (block := self._open.pop(index, None)) is None:
            return
        if block.results:
            out.append(_result("]", block.number, payload))
        if block.tool_index is not None:
            self._bare.end(block.tool_index, payload, out)
        out.append(PartEnd(block.number, block.late, payload=payload))

    def _delta(self, delta: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        kind = next(iter(delta), "contentBlockDelta")
        fields = mapping(delta.get(kind))
        match kind:
            case "text":
                self._text(text(delta["text"]) or "", index, payload, out)
            case "toolUse":
                self._input(text(fields.get("input")) or "", index, payload, out)
            case "reasoningContent":
                self._reason(fields, index, payload, out)
            case "citation":
                self._cite(fields, index, payload, out)
            case "toolResult":
                self._results(mappings(delta["toolResult"]), index, payload, out)
            case "image":
                self._image(fields, index, payload, out)
            case _:
                self.unknown_event(kind, delta, payload, out, 0)

    def _resume(self, kind: str, index: int | None, payload: bytes, out: list[Event]) -> _ConverseBlock:
        """Return the block of a delta; emit `PartStart` if it has not started, or if another has started since."""
        block = self._open.get(index)
        if block is None or block.kind != kind:
            return self._begin(kind, {}, index, payload, out)
        if (channel := _CHANNELS.get(kind)) and self._current[channel] != block.number:
            self._current[channel] = block.number
            out.append(PartStart(kind, block.number, {}, channel, payload=payload))
        return block

    def _text(self, piece: str, index: int | None, payload: bytes, out: list[Event]) -> None:
        self._resume("text", index, payload, out)
        if piece:
            out.append(TextDelta(piece, payload=payload))

    def _reason(self, fields: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        block = self._resume("reasoningContent", index, payload, out)
        if piece := text(fields.get("text")):
            out.append(ReasoningDelta(piece, payload=payload))
        for name, value in without(fields, ("text",)).items():
            known = block.late.get(name)
            block.late = {**block.late, name: _longer(name, known, value)}

    def _cite(self, citation: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        block = self._resume("text", index, payload, out)
        if citation:
            out.append(Annotation(citation, part=block.number, payload=payload))

    def _input(self, piece: str, index: int | None, payload: bytes, out: list[Event]) -> None:
        block = self._resume("toolUse", index, payload, out)
        if not piece:
            return
        if block.tool_index is None:
            out.append(PartDelta(piece, "tool_input", block.number, ("toolUse", "input"), True, payload=payload))
        else:
            self._bare.got_arguments(block.tool_index)
            out.append(ToolCallDelta(block.tool_index, arguments=piece, payload=payload))

    def _results(self, found: list[dict[str, Any]], index: int | None, payload: bytes, out: list[Event]) -> None:
        # Content blocks, emitted as the elements of one JSON list.
        block = self._resume("toolResult", index, payload, out)
        for each in found:
            mark = "," if block.results else "["
            block.results += 1
            out.append(_result(mark + msgspec.json.encode(each).decode(), block.number, payload))

    def _image(self, fields: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        block = self._resume("image", index, payload, out)
        known = mapping(block.late.get("image"))
        source, more = mapping(known.get("source")), mapping(fields.get("source"))
        joined = {name: _longer(name, source.get(name), value) for name, value in more.items()}
        block.late = {"image": {**known, **fields, **({"source": {**source, **joined}} if more else {})}}


def _result(piece: str, number: int, payload: bytes | None) -> Event:
    return PartDelta(piece, "tool_output", number, ("toolResult", "content"), True, payload=payload)


def _longer(name: str, known: Any, more: Any) -> Any:
    """Append to a signature or to base64 data; return `more` if either value is not a string."""
    if not isinstance(known, str) or not isinstance(more, str):
        return more
    if name == "signature":
        return known + more
    try:
        return b64encode(b64decode(known) + b64decode(more)).decode()
    except ValueError:
        return known + more


def _without_quotes(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return {name: _without_quotes(inner) for name, inner in fields if name not in _QUOTES}
    return [_without_quotes(inner) for inner in cast("list[Any]", value)] if isinstance(value, list) else value
