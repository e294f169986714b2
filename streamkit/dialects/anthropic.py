"""Anthropic's Messages, streamed and plain, and the text completions that came before them.

https://platform.claude.com/docs/en/build-with-claude/streaming, …/docs/en/api/messages and …/docs/en/api/completions/create.
Bedrock and Vertex send the same events, some without their names.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.dialects.base import Dialect
from streamkit.dialects.fields import count, mapping, mappings, text, total
from streamkit.events import (
    Annotation,
    EndReason,
    Event,
    Finish,
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
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "completion",
}

_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass
class AnthropicMessages(Dialect):
    """Messages and text completions. It is `done` at `message_stop`.

    There is one choice, and its content blocks are told in their order: text, thinking, and the tools that the caller is to
    run. What has no place in that is a `ProviderNotice`: the signatures of thinking, redacted thinking, and the tools that
    Anthropic runs itself, with their results.

    `Usage` is what was said so far, for `message_delta` counts all of the message and leaves out what has not changed. Its
    `prompt_tokens` are all input tokens, those of the cache too, which the provider's `input_tokens` leaves out.
    (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance)
    """

    # https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons. `pause_turn` is a whole answer too: it is
    # to be sent back as it is, and the model goes on.
    reasons: ClassVar[dict[str, EndReason]] = {
        "refusal": "content_filter",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
    }

    _usage: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _known: tuple[str | None, str | None] | None = field(default=None, init=False, repr=False)
    _tools: dict[int | None, int] = field(default_factory=dict["int | None", int], init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        match fields.get("type"):
            case "error":
                return isinstance(fields.get("error"), dict)
            case "message":
                return isinstance(fields.get("content"), list)
            case kind:
                return isinstance(kind, str) and kind in _MARKS

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, kind = mapping(data), mapping(data).get("type")
        match kind:
            case "content_block_delta":
                self._delta(fields, item.data, out)
            case "content_block_start":
                self._block(mapping(fields.get("content_block")), count(fields.get("index")), item.data, out)
            case "content_block_stop":
                pass  # All of the block was told.
            case "message_start":
                self._start(mapping(fields.get("message")), item.data, out)
            case "message_delta":
                self._stop(mapping(fields.get("delta")), fields.get("usage"), item.data, out)
            case "message_stop":
                self.finish(out, number)
            case "message":
                self._message(fields, item.data, out)
            case "completion":
                self._completion(fields, item.data, out)
            case _ if kind == "error" or item.event == "error" or (kind is None and fields.get("error")):
                self.fail(fields.get("error") or data, number, out)
            case _:  # A ping, or what is not known.
                out.append(ProviderNotice(text(kind) or item.event, data, payload=item.data))

    def _start(self, message: dict[str, Any], payload: str, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        tier = text(mapping(message.get("usage")).get("service_tier"))
        out.append(
            ResponseStart(
                text(message.get("id")),
                text(message.get("type")),
                model=text(message.get("model")),
                service_tier=tier,
                payload=payload,
            )
        )
        if role := text(message.get("role")):
            out.append(RoleDelta(role, payload=payload))
        for index, block in enumerate(mappings(message.get("content"))):
            self._block(block, index, payload, out)
        self._cost(message.get("usage"), payload, out)

    def _message(self, message: dict[str, Any], payload: str, out: list[Event]) -> None:
        # A plain answer is all of a streamed one at once.
        self._start(message, payload, out)
        self._stop(message, None, payload, out)

    def _completion(self, chunk: dict[str, Any], payload: str, out: list[Event]) -> None:
        # Every chunk says again who it is; the last one has a stop reason, and nothing follows it.
        known = (text(chunk.get("id")), text(chunk.get("model")))
        if known != self._known:
            self._known = known
            out.append(ResponseStart(known[0], "completion", model=known[1], payload=payload))
        self.finished.setdefault(0, None)
        if piece := text(chunk.get("completion")):
            out.append(TextDelta(piece, payload=payload))
        self._stop(chunk, None, payload, out)

    def _stop(self, delta: dict[str, Any], usage: object, payload: str, out: list[Event]) -> None:
        self._cost(usage, payload, out)
        if details := delta.get("stop_details"):
            out.append(ProviderNotice("stop_details", details, 0, payload=payload))
        if reason := text(delta.get("stop_reason")):
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))

    def _cost(self, usage: object, payload: str, out: list[Event]) -> None:
        if said := {
            name: value for name, value in mapping(usage).items() if value is not None or name not in self._usage
        }:
            self._usage = {**self._usage, **said}
            out.append(_usage(self._usage, payload))

    def _block(self, block: dict[str, Any], index: int | None, payload: str, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        self._tools.pop(index, None)
        match block.get("type"):
            case "text" | "thinking":
                self._tell(block, payload, out)
            case "tool_use":
                self._tool(block, index, payload, out)
            case kind:
                out.append(ProviderNotice(text(kind) or "content_block", block, 0, payload=payload))

    def _tell(self, fields: dict[str, Any], payload: str, out: list[Event]) -> None:
        if piece := text(fields.get("text")):
            out.append(TextDelta(piece, payload=payload))
        if thought := text(fields.get("thinking")):
            out.append(ReasoningDelta(thought, payload=payload))
        if signature := text(fields.get("signature")):
            out.append(ProviderNotice("signature", signature, 0, payload=payload))
        out.extend(Annotation(citation, payload=payload) for citation in mappings(fields.get("citations")))

    def _tool(self, block: dict[str, Any], index: int | None, payload: str, out: list[Event]) -> None:
        number, self._calls = self._calls, self._calls + 1
        # A streamed call begins with `{}`, which is not its input; one that begins with its input gets no more of it.
        input = block.get("input")
        if not input:
            self._tools[index] = number
        arguments = msgspec.json.encode(input).decode() if input else ""
        id, name = (text(block.get(key)) for key in ("id", "name"))
        out.append(ToolCallDelta(number, id, name, arguments, payload=payload))

    def _delta(self, fields: dict[str, Any], payload: str, out: list[Event]) -> None:
        delta, index = mapping(fields.get("delta")), count(fields.get("index"))
        match delta.get("type"):
            case "text_delta" | "thinking_delta" | "signature_delta":
                self._tell(delta, payload, out)
            case "citations_delta":
                out.extend(Annotation(citation, payload=payload) for citation in mappings([delta.get("citation")]))
            case "input_json_delta" if index in self._tools:
                if piece := text(delta.get("partial_json")):
                    out.append(ToolCallDelta(self._tools[index], arguments=piece, payload=payload))
            case kind:
                # Also the input of a tool that is not the caller's to run.
                out.append(ProviderNotice(text(kind) or "content_block_delta", delta, 0, payload=payload))


def _usage(usage: dict[str, Any], payload: str) -> Usage:
    prompt = total(*(count(usage.get(name)) for name in _INPUT))
    completion = count(usage.get("output_tokens"))
    known = prompt is not None and completion is not None
    return Usage(prompt, completion, total(prompt, completion) if known else None, usage, payload=payload)
