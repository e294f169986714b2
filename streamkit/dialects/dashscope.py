"""Alibaba Cloud's DashScope (Model Studio): its own API, `…/generation`, streamed and non-streaming.

https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope. Its `compatible-mode` sends OpenAI's chunks.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, emptied, mapping, mappings, spent, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import Calls
from streamkit.events import (
    Choice,
    Completion,
    Event,
    Finish,
    ProviderNotice,
    ReasoningDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def generation(completion: Completion) -> dict[str, Any]:
    """Build the object with the output, as choices or as one text, and the usage."""
    whole = dict(completion.details)
    output = mapping(whole.get("output"))
    if "text" in output:
        choice = completion.choices[0] if completion.choices else None
        whole["output"] = {**output, "text": completion.text, "finish_reason": choice.finish_reason if choice else None}
    else:
        whole["output"] = {**output, "choices": [_choice(choice) for choice in completion.choices]}
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


def _choice(choice: Choice) -> dict[str, Any]:
    message = dict(mapping(choice.details.get("message")))
    if isinstance(message.get("content"), list):
        message["content"] = [{"text": choice.text}] if choice.content else []
    else:
        message["content"] = choice.text
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "index": call.index,
                "id": call.id,
                "type": call.type,
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.tool_calls
        ]
    return {**choice.details, "finish_reason": choice.finish_reason or "null", "message": message}


# The events

_EMITTED = ("content", "reasoning_content", "tool_calls")


@dataclass
class DashScope(Dialect):
    """Chunks with `output`, which has `choices` with one message each, or the `text` (`result_format` `text`).

    Without `incremental_output` every chunk has the whole text, reasoning and arguments so far. The second chunk with text
    shows it: it begins with the text of the first one. `Extract(cumulative=…)` sets it explicitly.

    There is no end marker; the finish reasons prove the end.
    """

    resends: ClassVar[bool] = False
    shape: ClassVar[str | None] = "dashscope"
    response_form: ClassVar[ResponseForm | None] = generation
    _id: str | None = field(default=None, init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _calls: dict[int, Calls] = field(default_factory=dict[int, Calls], init=False, repr=False)
    _used: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _details: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]], init=False, repr=False)
    # Whether every chunk has the whole text; `None` until a chunk shows it.
    _whole: bool | None = field(default=None, init=False, repr=False)
    _tokens: int = field(default=0, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        return "request_id" in fields and (isinstance(fields.get("output"), dict) or bool(fields.get("code")))

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        # https://www.alibabacloud.com/help/en/model-studio/error-code: a code beside `message` and `request_id`.
        error = data if fields.get("code") else None if "output" in fields else error_in(data)
        if error:
            self.fail(error, number, out)
            return
        output = mapping(fields.get("output"))
        if not ("choices" in output or isinstance(output.get("text"), str)):
            self.unknown_event(item.event, data, payload, out)
            return
        if self._whole is None:
            self._whole = self.cumulative
        if self._is_another(fields, output):
            self.refuse(ANOTHER, number)
        self._announce(fields, output, payload, out)
        tokens = count(mapping(fields.get("usage")).get("output_tokens")) or 0
        if "choices" in output:
            for at, choice in enumerate(mappings(output["choices"])):
                self._choice(choice, at, tokens, payload, out)
        else:
            self._choice({**output, "message": {"content": output["text"]}}, 0, tokens, payload, out)
        if usage := mapping(fields.get("usage")):
            self._take_usage(usage, payload, out)
        self._tokens = tokens

    def _is_another(self, fields: dict[str, Any], output: dict[str, Any]) -> bool:
        if text(fields.get("request_id")) == self._id or not self._has_finished():
            return False
        messages = [mapping(choice.get("message")) for choice in mappings(output.get("choices"))]
        return bool(output.get("text")) or any(message.get(name) for message in messages for name in _EMITTED)

    def settle(self, out: list[Event], *, complete: bool) -> None:
        for index in self._calls:
            self._end_of(index, None, out, complete=complete and self.finished.get(index) is None)
        out += self._resent.end()

    def _announce(self, fields: dict[str, Any], output: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        id = text(fields.get("request_id"))
        if id and id != self._id:
            self._id = id
            out.append(ResponseStart(id, payload=payload))
        beside = without(output, ("choices", "text", "finish_reason"))
        emptied: dict[str, Any] = {"choices": []} if "choices" in output else {"text": ""}
        self._detail({**without(fields, ("output", "usage")), "output": {**beside, **emptied}}, None, payload, out)

    def _detail(self, details: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        known = self._details.setdefault(-1 if index is None else index, {})
        if more := changed(details, known):
            known |= more
            out.append(ResponseDetails(more, self.shape, index, payload=payload))

    def _choice(self, choice: dict[str, Any], at: int, tokens: int, payload: bytes, out: list[Event]) -> None:
        index, message = count(choice.get("index")), mapping(choice.get("message"))
        index = at if index is None else index
        self.finished.setdefault(index, None)
        reason = word(choice.get("finish_reason"))
        ends = bool(reason) and not is_pending(reason or "")
        self._beside(choice, message, index, payload, out)
        role = text(message.get("role"))
        if role and self._roles.get(index) != role:
            self._roles[index] = role
            out.append(RoleDelta(role, index, payload=payload))
        has_more_tokens = self._whole is None and not ends and tokens > self._tokens and not self._grew(message, index)
        if thought := self._piece("reasoning", index, text(message.get("reasoning_content")) or "", has_more_tokens):
            out.append(ReasoningDelta(thought, index, payload=payload))
        if piece := self._piece(
            "content", index, self._content(message.get("content"), index, payload, out), has_more_tokens
        ):
            out.append(TextDelta(piece, index, payload=payload))
        for position, call in enumerate(mappings(message.get("tool_calls"))):
            self._call(call, position, index, has_more_tokens, ends, payload, out)
        if ends and reason and self.finished[index] is None:
            out += self._resent.end(index)
            self._end_of(index, payload, out, complete=self.ends_calls(reason))
            self.finished[index] = reason
            out.append(Finish(reason, index, payload=payload))

    def _beside(
        self, choice: dict[str, Any], message: dict[str, Any], index: int, payload: bytes, out: list[Event]
    ) -> None:
        details = without(choice, ("message", "finish_reason", "text"))
        if "message" in choice and "text" not in choice:
            details["message"] = {**mapping(self._details.get(index, {}).get("message")), **emptied(message, _EMITTED)}
        self._detail(details, index, payload, out)

    def _content(self, content: object, index: int, payload: bytes, out: list[Event]) -> str:
        # Multimodal models answer with a list of parts.
        parts = mappings(content)
        for part in parts:
            if "text" not in part:
                kind = next(iter(part), "content_part")
                out.append(ProviderNotice(kind, part, index, payload=payload))
        return text(content) or "".join(text(part.get("text")) or "" for part in parts)

    def _call(
        self,
        call: dict[str, Any],
        position: int,
        index: int,
        has_more_tokens: bool,
        ends: bool,
        payload: bytes,
        out: list[Event],
    ) -> None:
        calls, function = self._calls.setdefault(index, Calls()), mapping(call.get("function"))
        calls.cumulative = bool(self._whole)
        id, name, kind = text(call.get("id")) or None, text(function.get("name")) or None, text(call.get("type"))
        arguments = text(function.get("arguments")) or ""
        delta = ToolCallDelta(position, id, name, arguments, index, kind, payload=payload)
        found = calls.piece(delta, count(call.get("index")), whole=ends)
        piece = self._piece("tool_arguments", index, found.arguments, has_more_tokens, found.tool_index)
        if piece or found.id or found.name or found.type:
            out.append(msgspec.structs.replace(found, arguments=piece))

    def _end_of(self, index: int, payload: bytes | None, out: list[Event], *, complete: bool) -> None:
        if calls := self._calls.get(index):
            calls.settle(index, payload, out, complete=complete)
            if calls.are_of_client:
                self.called.add(index)

    def _grew(self, message: dict[str, Any], index: int) -> bool:
        # Whether any text is longer than before, which may account for the new tokens.
        texts = [("reasoning", 0, message.get("reasoning_content")), ("content", 0, message.get("content"))]
        for at, call in enumerate(mappings(message.get("tool_calls"))):
            texts.append(("tool_arguments", at, mapping(call.get("function")).get("arguments")))
        return any(self._resent.adds(name, index, text(whole) or "", call) for name, call, whole in texts)

    def _piece(self, channel: str, index: int, received: str, has_more_tokens: bool, call: int = 0) -> str:
        """Return the new part of a text, sent as a delta or as a whole.

        `has_more_tokens`: the chunk counts more tokens than the last.
        """
        if not received:
            return ""
        if self._whole is None and self._resent.began(channel, index, call):
            longer = self._resent.adds(channel, index, received, call)
            # The same text again may be the same token generated twice.
            self._whole = self._resent.continues(channel, index, received, call) and (longer or not has_more_tokens)
        if self._whole is False:
            return received
        return self._resent.rest(channel, index, received, call)

    def _take_usage(self, later: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self._used = spent(self._used, later, ("input_tokens", "output_tokens", "total_tokens"))
        out.append(usage_of(self._used, payload))
