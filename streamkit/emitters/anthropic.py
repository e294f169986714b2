"""Write the stream of Anthropic's Messages API.

https://platform.claude.com/docs/en/build-with-claude/streaming, errors …/docs/en/api/errors.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import SUCCESSES, Completion, EndReason, Usage
from streamkit.dialects.fields import decoded, mapping
from streamkit.emitters.blocks import Block, BlockEmitter
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.emitters.replay import events_of, is_withheld
from streamkit.events import PartStart
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import parts_of

_STOP: dict[EndReason, str] = {
    "completed": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "moderated": "refusal",
}
_CITATIONS = {
    "char_location",
    "page_location",
    "content_block_location",
    "web_search_result_location",
    "search_result_location",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SHAPE = "anthropic"
_json = msgspec.json.encode


@dataclass
class MessagesEmitter(BlockEmitter):
    """The events of a message, from `message_start` to `message_stop`; see docs/reference/wires.md.

    Signatures of thinking are kept, and so is every block of an answer from Anthropic. The input of a custom tool, which is free
    text, becomes `{"input": …}`.
    """

    id_prefix: ClassVar[str] = "msg_"
    _written: int = field(default=0, init=False, repr=False)

    def opening(self) -> Iterable[Frame]:
        known = self.identity
        own = self.details if self.shape == _SHAPE and self.details.get("type") == "message" else {}
        message: dict[str, Any] = {
            **own,
            "id": known["id"],
            "type": "message",
            "role": "assistant",
            "model": known["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0, **_usage(self.usage)},
        }
        return [_frame("message_start", message=message)]

    def takes(self, part: PartStart) -> bool:
        return self.shape == _SHAPE and part.within is None

    def begin(self, block: Block) -> Iterable[Frame]:
        block.number, self._written = self._written, self._written + 1
        yield _frame("content_block_start", index=block.number, content_block=self._content(block))
        if block.kind == "call" and block.custom:
            yield _delta(block, {"type": "input_json_delta", "partial_json": '{"input": "'})

    def _content(self, block: Block) -> dict[str, Any]:
        own = block.data if self.shape == _SHAPE else {}
        match block.kind:
            case "item":
                return own
            case "reasoning":
                return {**own, "type": "thinking", "thinking": "", "signature": ""}
            case "call":
                return {**own, "type": "tool_use", "id": self.call_id(block), "name": block.name, "input": {}}
            case _:
                return {**own, "type": "text", "text": ""}

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        match block.kind:
            case "reasoning":
                delta = {"type": "thinking_delta", "thinking": piece}
            case "call" if block.custom:
                delta = {"type": "input_json_delta", "partial_json": _json(piece).decode()[1:-1]}
            case "call":
                delta = {"type": "input_json_delta", "partial_json": piece}
            case _:
                delta = {"type": "text_delta", "text": piece}
        return [_delta(block, delta)]

    def finish(self, block: Block) -> Iterable[Frame]:
        if block.kind == "call" and block.custom and not block.cut:
            yield _delta(block, {"type": "input_json_delta", "partial_json": '"}'})
        yield from self._citations(block, block.annotations)
        signature = block.data.get("signature")
        if block.kind == "reasoning" and signature:
            yield _delta(block, {"type": "signature_delta", "signature": signature})
        yield _frame("content_block_stop", index=block.number)

    def _citations(self, block: Block, annotations: list[dict[str, Any]]) -> Iterable[Frame]:
        if self.withheld or block.kind not in ("text", "refusal"):
            return
        for citation in annotations:
            # Other providers' citations lack required fields: the cited text and its position in the source.
            if citation.get("type") in _CITATIONS:
                yield _delta(block, {"type": "citations_delta", "citation": citation})

    def end(self, reason: EndReason) -> Iterable[Frame]:
        out = self.settle(reason)
        if reason not in SUCCESSES:
            return [*out, *self.error(failure_at_end(reason))]
        for block, annotations in self.late:
            # Their block is closed, but clients find the block of a delta by its index.
            out += self._citations(block, annotations)
        own = self.details if self.shape == _SHAPE else {}
        names = ("stop_sequence", "stop_details", "container", "context_management")
        known = {name: own[name] for name in names if own.get(name) is not None}
        delta = {"stop_sequence": None, **known, "stop_reason": self._stop_reason(reason)}
        usage = {"output_tokens": 0, **_usage(self.usage)}
        return [*out, _frame("message_delta", delta=delta, usage=usage), _frame("message_stop")]

    def _stop_reason(self, reason: EndReason) -> str:
        if self.shape == _SHAPE and self.word and reason != "moderated":
            return self.word  # such as `pause_turn`
        if reason in ("completed", "tool_calls"):
            return "refusal" if self.refused else "tool_use" if self.called else "end_turn"
        return _STOP[reason]

    def error(self, failure: Failure) -> Iterable[Frame]:
        kind = failure.type if failure.type in _ERRORS.values() else _ERRORS.get(failure.status)
        error = {"type": kind or "api_error", "message": failure.message}
        return [ErrorFrame.with_json(failure, {"type": "error", "error": error}, "error")]

    def keep_alive(self) -> Frame | None:
        return _frame("ping")

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        if 0 in withheld if withheld is not None else is_withheld(completion, 0):
            self._withheld.choices.add(0)
        frames = [*self.events(list(events_of(completion)))]
        frames = [*self.head(), *frames, *self.end(completion.end or "completed")]
        return _assembled([msgspec.json.decode(frame.payload) for frame in frames])


def _frame(event: str, **fields: Any) -> Frame:
    return ServerSentEvent(event, _json({"type": event, **fields}))


def _delta(block: Block, delta: dict[str, Any]) -> Frame:
    return _frame("content_block_delta", index=block.number, delta=delta)


def _usage(usage: Usage | None) -> dict[str, Any]:
    """Convert usage to Anthropic's names. `input_tokens` excludes tokens read from or written to the cache."""
    if usage is None:
        return {}
    if "input_tokens" in usage.details and "cache_read_input_tokens" in usage.details and usage.responses == 1:
        return usage.details
    parts = parts_of(usage)
    prompt = usage.prompt_tokens
    if prompt is not None:
        prompt = max(0, prompt - (parts.cached or 0) - (parts.cache_write or 0))
    known = {
        "input_tokens": prompt,
        "cache_creation_input_tokens": parts.cache_write,
        "cache_read_input_tokens": parts.cached,
        "output_tokens": usage.completion_tokens,
    }
    return {name: value for name, value in known.items() if value is not None}


_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def _assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that these events stream."""
    message: dict[str, Any] = events[0]["message"]
    inputs: dict[int, str] = {}
    for event in events:
        match event:
            case {"type": "content_block_start", "content_block": block}:
                message["content"].append(block)
            case {"type": "content_block_delta", "index": index, "delta": {"partial_json": piece}}:
                inputs[index] = inputs.get(index, "") + piece
            case {"type": "content_block_delta", "index": index, "delta": {"citation": citation}}:
                block = message["content"][index]
                block["citations"] = [*(block.get("citations") or ()), citation]
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                block, name = message["content"][index], _TEXTS[delta["type"]]
                block[name] = block.get(name, "") + delta[name]
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message |= {**delta, "usage": {**message["usage"], **mapping(usage)}}
            case _:
                pass
    for index, text in inputs.items():
        message["content"][index]["input"] = decoded(text)
    return message
