"""Write the UI message stream of Vercel's AI SDK, which `useChat` reads.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from streamkit.completion import SUCCESSES, EndReason
from streamkit.dialects.openai.citations import Bytes, CitationSpan, chat_annotations
from streamkit.emitters.blocks import Block, BlockEmitter, Decision
from streamkit.emitters.camel_case import decision_fields, finish_reason, usage_fields
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.events import PartStart
from streamkit.sse.events import ServerSentEvent
from streamkit.sse.json_text import NOT_JSON

_DONE = ServerSentEvent.of("[DONE]")


@dataclass
class UIMessagesEmitter(BlockEmitter):
    """The chunks of one assistant message, from `start` to `finish` and `[DONE]`.

    Each text, reasoning block and call is a separate part. Tool input that is not valid JSON is written as `tool-input-error`;
    the input of a custom tool is its text. A failure is written as `error`, a cancelled stream as `abort`. `verdicts` writes
    moderation decisions as `data-moderation` parts; `include_usage` writes the usage into the message's metadata.
    """

    headers: ClassVar[Mapping[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}
    id_prefix: ClassVar[str] = "msg-"

    def opening(self) -> Iterable[Frame]:
        return [_chunk("start", messageId=self.identity["id"]), _chunk("start-step")]

    def takes(self, part: PartStart) -> bool:
        return self.shape == "anthropic" and part.kind == "redacted_thinking"

    def begin(self, block: Block) -> Iterable[Frame]:
        block.number = self._front
        match block.kind:
            case "call":
                block.id = self.call_id(block)
                yield _chunk("tool-input-start", toolCallId=block.id, toolName=block.name)
            case "item":
                # The form of the SDK's own provider for Anthropic, so that it can be sent back.
                block.id = f"reasoning-{block.number}"
                metadata = {"anthropic": {"redactedData": block.data.get("data")}}
                yield _chunk("reasoning-start", id=block.id, providerMetadata=metadata)
            case kind:
                name = "reasoning" if kind == "reasoning" else "text"
                block.id = f"{name}-{block.number}"
                yield _chunk(f"{name}-start", id=block.id)

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        match block.kind:
            case "call":
                yield _chunk("tool-input-delta", toolCallId=block.id, inputTextDelta=piece)
            case "reasoning":
                yield _chunk("reasoning-delta", id=block.id, delta=piece)
            case _:
                yield _chunk("text-delta", id=block.id, delta=piece)

    def finish(self, block: Block) -> Iterable[Frame]:
        match block.kind:
            case "call":
                yield self._input(block)
            case "reasoning" | "item":
                signature = block.data.get("signature")
                kept = {"providerMetadata": {"anthropic": {"signature": signature}}} if signature else {}
                yield _chunk("reasoning-end", id=block.id, **(kept if self.shape == "anthropic" else {}))
            case _:
                yield _chunk("text-end", id=block.id)
                yield from self._sources(block.id, block.text, block.annotations)

    def _input(self, block: Block) -> Frame:
        call, text = {"toolCallId": block.id, "toolName": block.name}, block.text
        if block.custom:
            return _chunk("tool-input-available", **call, input=text)
        try:
            return _chunk("tool-input-available", **call, input=msgspec.json.decode(text))
        except NOT_JSON:
            # The message does not quote the input.
            return _chunk("tool-input-error", **call, input=text, errorText="the tool's input is not valid JSON")

    def _sources(self, place: str, text: str, annotations: list[dict[str, Any]]) -> Iterable[Frame]:
        if self.withheld:
            return
        whole, code_points = CitationSpan(0, len(text)), Bytes([text])
        found = (
            chat for annotation in annotations for chat in chat_annotations(annotation, whole, code_points, self.shape)
        )
        for number, chat in enumerate(found):
            if url := chat.get("url_citation", {}).get("url"):
                title = chat["url_citation"].get("title")
                yield _chunk(
                    "source-url",
                    sourceId=f"{place}-source-{number}",
                    url=url,
                    **({"title": title} if isinstance(title, str) and title else {}),
                )

    def decided(self, decision: Decision) -> Iterable[Frame]:
        return [_chunk("data-moderation", data=decision_fields(decision))] if self.settings.verdicts else ()

    def end(self, reason: EndReason) -> Iterable[Frame]:
        out = self.settle(reason)
        if reason == "cancelled":
            return [*out, _chunk("abort"), _DONE]
        if reason not in SUCCESSES:
            return [*out, *self.error(failure_at_end(reason))]
        out += self._sources("message", "", [annotation for _, late in self.late for annotation in late])
        known = usage_fields(self.usage) if self.settings.include_usage and self.usage else {}
        metadata = {"messageMetadata": {"usage": known}} if known else {}
        finish = _chunk("finish", finishReason=finish_reason(reason, called=self.called), **metadata)
        return [*out, _chunk("finish-step"), finish, _DONE]

    def error(self, failure: Failure) -> Iterable[Frame]:
        return [ErrorFrame.with_json(failure, {"type": "error", "errorText": failure.message}), _DONE]


def _chunk(kind: str, **fields: Any) -> Frame:
    return ServerSentEvent(payload=msgspec.json.encode({"type": kind, **fields}))
