"""Write events of the Agent User Interaction Protocol. (https://docs.ag-ui.com/concepts/events)"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import SUCCESSES, EndReason
from streamkit.emitters.blocks import Block, BlockEmitter, Decision
from streamkit.emitters.camel_case import decision_fields, finish_reason, usage_fields
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.sse.events import ServerSentEvent


@dataclass
class AgentEventsEmitter(BlockEmitter):
    """The events of one run, from `RUN_STARTED` to `RUN_FINISHED` or `RUN_ERROR`.

    Each text and each reasoning block is a separate message; each call has a start and an end. `threadId` and `runId` are taken
    from the client's request. `RUN_FINISHED` has the finish reason in its `result`, and the usage with `include_usage`.
    `verdicts` writes moderation decisions as `CUSTOM` events named `moderation`.
    """

    id_prefix: ClassVar[str] = "run-"
    _message: str | None = field(default=None, init=False, repr=False)

    def opening(self) -> Iterable[Frame]:
        return [_event("RUN_STARTED", **self._run)]

    @property
    def _run(self) -> dict[str, str]:
        id, request = str(self.identity["id"]), self.settings.request
        thread, run = request.get("threadId"), request.get("runId")
        return {
            "threadId": thread if isinstance(thread, str) else f"thread-{id}",
            "runId": run if isinstance(run, str) else id,
        }

    def begin(self, block: Block) -> Iterable[Frame]:
        block.number = self._front
        block.id = f"{self._run['runId']}-{block.number}"
        match block.kind:
            case "call":
                block.id = self.call_id(block)
                parent = {"parentMessageId": self._message} if self._message else {}
                yield _event("TOOL_CALL_START", toolCallId=block.id, toolCallName=block.name, **parent)
            case "reasoning":
                yield _event("REASONING_START", messageId=block.id)
                yield _event("REASONING_MESSAGE_START", messageId=block.id, role="reasoning")
            case _:
                self._message = block.id
                yield _event("TEXT_MESSAGE_START", messageId=block.id, role="assistant")

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        match block.kind:
            case "call":
                yield _event("TOOL_CALL_ARGS", toolCallId=block.id, delta=piece)
            case "reasoning":
                yield _event("REASONING_MESSAGE_CONTENT", messageId=block.id, delta=piece)
            case _:
                yield _event("TEXT_MESSAGE_CONTENT", messageId=block.id, delta=piece)

    def finish(self, block: Block) -> Iterable[Frame]:
        match block.kind:
            case "call":
                yield _event("TOOL_CALL_END", toolCallId=block.id)
            case "reasoning":
                yield _event("REASONING_MESSAGE_END", messageId=block.id)
                if isinstance(signature := block.data.get("signature"), str) and signature:
                    encrypted = {"subtype": "message", "entityId": block.id, "encryptedValue": signature}
                    yield _event("REASONING_ENCRYPTED_VALUE", **encrypted)
                yield _event("REASONING_END", messageId=block.id)
            case _:
                yield _event("TEXT_MESSAGE_END", messageId=block.id)

    def decided(self, decision: Decision) -> Iterable[Frame]:
        fields = decision_fields(decision)
        return [_event("CUSTOM", name="moderation", value=fields)] if self.settings.verdicts else ()

    def end(self, reason: EndReason) -> Iterable[Frame]:
        out = self.settle(reason)
        if reason not in SUCCESSES:
            return [*out, *self.error(failure_at_end(reason))]
        known = usage_fields(self.usage) if self.settings.include_usage and self.usage else {}
        usage = {"usage": [{"model": self.identity["model"], **known}]} if known else {}
        result = {"finishReason": finish_reason(reason, called=self.called)}
        return [*out, _event("RUN_FINISHED", **self._run, result=result, **usage)]

    def error(self, failure: Failure) -> Iterable[Frame]:
        code = {} if failure.code is None else {"code": str(failure.code)}
        return [ErrorFrame.with_json(failure, {"type": "RUN_ERROR", "message": failure.message, **code})]


def _event(kind: str, **fields: Any) -> Frame:
    return ServerSentEvent(payload=msgspec.json.encode({"type": kind, **fields}))
