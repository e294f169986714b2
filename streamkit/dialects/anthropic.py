"""Anthropic's Messages, streamed and non-streaming, and the older text completions.

https://platform.claude.com/docs/en/build-with-claude/streaming, …/docs/en/api/messages and …/docs/en/api/completions/create.
Bedrock and Vertex send the same events, some without event names.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import (
    arguments_of,
    calls_of,
    count,
    emptied,
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
from streamkit.dialects.part_texts import end, start
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
    ProviderNotice,
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


def message(completion: Completion) -> dict[str, Any]:
    """Build the message with its content blocks in order, or the text completion."""
    choice = completion.choices[0] if completion.choices else None
    word = choice.finish_reason if choice else None
    if completion.object == "completion":
        return {**completion.details, "completion": choice.text if choice else "", "stop_reason": word}
    return {
        **completion.details,
        "content": _blocks(choice) if choice else [],
        "stop_reason": word,
        **({"usage": completion.usage.details} if completion.usage else {}),
    }


def _blocks(choice: Choice) -> list[dict[str, Any]]:
    calls = calls_of(choice)
    return [_block(part, calls) for part in released(choice)]


def _block(part: Part, calls: dict[int | None, ToolCall]) -> dict[str, Any]:
    block = dict(part.data)
    if part.channel == "content":
        block["text"] = part.text
        if part.annotations:
            block["citations"] = list(part.annotations)
    elif part.channel == "reasoning":
        block["thinking"] = part.text
    elif call := calls.get(part.tool_index):
        block["name"] = call.name
        block["input"] = arguments_of(call) if call.arguments else {}
    return block


# The events

_MARKS = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "completion",
}

_CHANNELS: dict[str, Channel] = {"text": "content", "thinking": "reasoning"}
# Fields of a block that are emitted as events of their own.
_EMITTED = {"text": ("text", "citations"), "thinking": ("thinking",), "tool_use": ("name",)}


class _Block(msgspec.Struct):
    # `tool_index`: set if the caller must run the tool. A block is kept after its end, as some servers send its signature late.
    number: int
    kind: str
    tool_index: int | None = None
    takes_input: bool = False
    late: dict[str, Any] = {}
    ended: bool = False


@dataclass
class AnthropicMessages(Dialect):
    """Messages and text completions. It is `done` at `message_stop`.

    There is one choice. Its content blocks are emitted in order, each between a `PartStart` and a `PartEnd`: text, thinking,
    and the tools that the caller must run. The signature of thinking is in the `PartEnd`. The input and the results of tools
    that Anthropic runs itself, a compaction, and any other text of a block are emitted as `PartDelta`s.

    `Usage` has all counts so far, because `message_delta` counts the whole message and leaves out unchanged counts. Its
    `prompt_tokens` include cached input tokens, which the provider's `input_tokens` does not.
    (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance)
    """

    places = (("delta", "text"), ("delta", "thinking"), ("delta", "partial_json"), ("completion",))
    shape: ClassVar[str | None] = "anthropic"
    response_form: ClassVar[ResponseForm | None] = message

    _id: str | None = field(default=None, init=False, repr=False)
    _usage: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _known: tuple[str | None, str | None] | None = field(default=None, init=False, repr=False)
    _open: dict[int | None, _Block] = field(default_factory=dict["int | None", _Block], init=False, repr=False)
    # The block that the text of a channel goes to.
    _current: dict[Channel, int] = field(default_factory=dict[Channel, int], init=False, repr=False)
    _blocks: int = field(default=0, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        match fields.get("type"):
            case "error":
                return isinstance(fields.get("error"), dict)
            case "message":
                return isinstance(fields.get("content"), list)
            case None:
                # A text completion on Bedrock.
                return isinstance(fields.get("completion"), str) and "stop_reason" in fields
            case kind:
                return isinstance(kind, str) and kind in _MARKS

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, kind = mapping(data), mapping(data).get("type")
        match kind:
            case "content_block_delta":
                self._delta(fields, item.payload, out)
            case "content_block_start":
                self._block(mapping(fields.get("content_block")), count(fields.get("index")), item.payload, out)
            case "content_block_stop":
                self._end_block(count(fields.get("index")), item.payload, out)
            case "message_start" | "message" | "completion" | None if self._is_another(fields):
                self.refuse(ANOTHER, number)
            case "message_start":
                self._start(mapping(fields.get("message")), item.payload, out)
            case "message_delta":
                self._stop(mapping(fields.get("delta")), fields.get("usage"), item.payload, out)
            case "message_stop":
                self.finish(out, number)
            case "message":
                self._message(fields, item.payload, out)
            case "completion" | None if isinstance(fields.get("completion"), str):
                self._completion(fields, item.payload, out)
            case None if error := error_in(data):
                self.fail(error, number, out)
            case _:  # A ping, or an unknown kind.
                self.unknown_event(text(kind) or item.event, data, item.payload, out)

    def _is_another(self, fields: dict[str, Any]) -> bool:
        # A proxy may send its own `message_start` before the provider's. Only after content has begun is it another answer.
        ended = self.finished.get(0) is not None
        if fields.get("type") is None and "completion" not in fields:
            return False
        if fields.get("type") == "message_start":
            return ended or self._blocks > 0
        known = self._known[0] if self._known else self._id
        return (ended or self._blocks > 0) and text(fields.get("id")) != known

    def _start(self, message: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        self._id = text(message.get("id"))
        tier = text(mapping(message.get("usage")).get("service_tier"))
        out.append(
            ResponseStart(
                self._id,
                text(message.get("type")),
                model=text(message.get("model")),
                service_tier=tier,
                payload=payload,
            )
        )
        if role := text(message.get("role")):
            out.append(RoleDelta(role, payload=payload))
        details = without(message, ("content", "stop_reason", "usage"))
        out.append(ResponseDetails({**details, "content": []}, self.shape, payload=payload))
        for index, block in enumerate(mappings(message.get("content"))):
            self._block(block, index, payload, out)
        self._take_usage(message.get("usage"), payload, out)

    def _message(self, message: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # A non-streaming response has everything in one event.
        self._start(message, payload, out)
        for index in range(len(mappings(message.get("content")))):
            self._end_block(index, payload, out)
        self._finish(message, None, payload, out)

    def _completion(self, chunk: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # Every chunk repeats the id and the model; the last one has a stop reason, and nothing follows it.
        known = (text(chunk.get("id")), text(chunk.get("model")))
        if known != self._known:
            self._known = known
            out.append(ResponseStart(known[0], "completion", model=known[1], payload=payload))
        details = without(chunk, ("completion", "stop_reason"))
        if self._details != details:
            self._details = details
            out.append(ResponseDetails({**details, "completion": ""}, self.shape, payload=payload))
        self.finished.setdefault(0, None)
        if piece := text(chunk.get("completion")):
            out.append(TextDelta(piece, payload=payload))
        self._finish(chunk, chunk.get("amazon-bedrock-invocationMetrics"), payload, out)

    def _stop(self, delta: dict[str, Any], counts: object, payload: bytes, out: list[Event]) -> None:
        if details := without(delta, ("stop_reason",)):
            out.append(ResponseDetails(details, self.shape, payload=payload))
        self._finish(delta, counts, payload, out)

    def _finish(self, delta: dict[str, Any], counts: object, payload: bytes, out: list[Event]) -> None:
        self._take_usage(counts, payload, out)
        if details := delta.get("stop_details"):
            out.append(ProviderNotice("stop_details", details, 0, payload=payload))
        if (reason := word(delta.get("stop_reason"))) and not is_pending(reason):
            if self.ends_calls(reason):
                self._bare.end_all(payload, out)
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))

    def _take_usage(self, counts: object, payload: bytes, out: list[Event]) -> None:
        if known := {
            name: value for name, value in mapping(counts).items() if value is not None or name not in self._usage
        }:
            # Some proxies send zeros in the last event for counts of the first one.
            self._usage = grown(self._usage, known)
            out.append(usage_of(self._usage, payload))

    # Content blocks

    def _block(self, block: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        kind = text(block.get("type")) or "content_block"
        opened = self._open[index] = _Block(self._blocks, kind, takes_input="input" in block and not block["input"])
        self._blocks += 1
        if kind == "tool_use":
            opened.tool_index, self._calls = self._calls, self._calls + 1
            self.called.add(0)
        data = emptied(block, _EMITTED.get(kind, ()))
        if kind == "tool_use" and "input" in data:
            data["input"] = {}
        self._begin(opened, data, payload, out)
        if kind in _CHANNELS:
            self._emit(block, opened.number, payload, out)
        elif opened.tool_index is not None:
            # A streamed call starts with the placeholder `{}`; a call that starts with its input takes no deltas.
            input = block.get("input")
            opened.takes_input = not input
            arguments = msgspec.json.encode(input).decode() if input else ""
            if not input:
                self._bare.begin(opened.tool_index)
            id, name = (text(block.get(key)) for key in ("id", "name"))
            out.append(ToolCallDelta(opened.tool_index, id, name, arguments, payload=payload))

    def _begin(self, block: _Block, data: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        channel = _CHANNELS.get(block.kind)
        if channel:
            self._current[channel] = block.number
        of_call: Channel | None = None if block.tool_index is None else "tool_arguments"
        out += start(PartStart(block.kind, block.number, data, channel or of_call, block.tool_index, payload=payload))

    def _end_block(self, index: int | None, payload: bytes, out: list[Event]) -> None:
        block = self._open.get(index)
        if block is None or block.ended:
            return
        out += end(PartEnd(block.number, block.late, payload=payload), block.kind)
        block.ended, block.late = True, {}

    def _late(self, block: _Block, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if block.ended:
            out += end(PartEnd(block.number, fields, payload=payload), block.kind)
        else:
            block.late |= fields

    def _emit(self, fields: dict[str, Any], number: int, payload: bytes, out: list[Event]) -> None:
        if piece := text(fields.get("text")):
            out.append(TextDelta(piece, payload=payload))
        if thought := text(fields.get("thinking")):
            out.append(ReasoningDelta(thought, payload=payload))
        out.extend(Annotation(citation, part=number, payload=payload) for citation in mappings(fields.get("citations")))

    def _delta(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        delta, index = mapping(fields.get("delta")), count(fields.get("index"))
        match delta.get("type"):
            case "text_delta" | "thinking_delta" as kind:
                self._emit(delta, self._resume(kind.removesuffix("_delta"), index, payload, out), payload, out)
            case "citations_delta":
                number = self._resume("text", index, payload, out)
                for citation in mappings([delta.get("citation")]):
                    out.append(Annotation(citation, part=number, payload=payload))
            case "signature_delta" if block := self._open.get(index):
                self._late(block, {"signature": delta.get("signature")}, payload, out)
            case "compaction_delta" if block := self._open.get(index):
                self._late(block, without(delta, ("type",)), payload, out)
            case "input_json_delta" if (block := self._open.get(index)) and block.takes_input:
                if not (piece := text(delta.get("partial_json"))):
                    return
                if block.tool_index is None:
                    out.append(PartDelta(piece, "tool_input", block.number, ("input",), True, payload=payload))
                else:
                    self._bare.got_arguments(block.tool_index)
                    out.append(ToolCallDelta(block.tool_index, arguments=piece, payload=payload))
            case kind:
                self.unknown_event(text(kind) or "content_block_delta", delta, payload, out, 0)

    def _resume(self, kind: str, index: int | None, payload: bytes, out: list[Event]) -> int:
        """Return the number of a text's block; emit `PartStart` if it has not started, or if another has started since."""
        block = self._open.get(index)
        if block is None or block.kind != kind:
            block = self._open[index] = _Block(self._blocks, kind)
            self._blocks += 1
            self._begin(block, {"type": kind}, payload, out)
        elif self._current[_CHANNELS[kind]] != block.number:
            self._begin(block, {}, payload, out)
        return block.number
