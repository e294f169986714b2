"""OpenAI's chat completions and legacy completions, streamed and non-streaming, with the deviations of compatible servers.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamkit.dialects import fields
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.changing_fields import ChangingFields
from streamkit.dialects.emitted_text import MOST_PIECES, EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.learn import Learnt
from streamkit.dialects.openai.calls import Calls
from streamkit.dialects.openai.chunks import Chunk, ChunkChoice, ChunkFunction, ChunkMessage, ChunkReader, ChunkToolCall
from streamkit.dialects.openai.details import details_of
from streamkit.dialects.openai.reasoning_details import ReasoningDetails
from streamkit.dialects.openai.response import chat_usage
from streamkit.events import (
    Annotation,
    AudioDelta,
    Channel,
    Event,
    Finish,
    Logprobs,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import JsonBody, ServerSentEvent
from streamkit.sse.json_text import NOT_JSON
from streamkit.tokens.usage import usage_of

_CHANNELS: dict[str, Channel] = {"content": "content", "reasoning_content": "reasoning", "refusal": "refusal"}


class _Emitted(msgspec.Struct):
    # What one choice has emitted, to be compared with a whole message that may follow its deltas.
    role: str | None = None
    content: EmittedText = msgspec.field(default_factory=EmittedText)
    reasoning: EmittedText = msgspec.field(default_factory=EmittedText)
    refusal: EmittedText = msgspec.field(default_factory=EmittedText)
    annotations: int = 0
    others: bool = False
    calls: Calls = msgspec.field(default_factory=Calls)
    details: ReasoningDetails = msgspec.field(default_factory=ReasoningDetails)
    beside: ChangingFields = msgspec.field(default_factory=ChangingFields)


@dataclass
class OpenAICompletions(Dialect):
    """Chat completions and legacy completions. It is `done` at `[DONE]`.

    A whole `message` after its deltas adds what they left out. If it contradicts them, the streamed text stands, and a
    `ProviderNotice("conflict")` names the channel. Other fields of the response or of a choice (`citations`, `provider`,
    `native_finish_reason`) are in `ResponseDetails`.

    Calls of tools that the provider runs itself have another `type` than the client's. They are emitted like other calls, but
    don't make the answer end as `tool_calls`.
    """

    places = (
        ("choices", 0, "delta", "content"),
        ("choices", 0, "text"),
        ("choices", 0, "delta", "reasoning_content"),
        ("choices", 0, "delta", "reasoning"),
        ("choices", 0, "delta", "refusal"),
        ("choices", 0, "delta", "tool_calls", 0, "function", "arguments"),
    )

    _start: tuple[Any, ...] = field(default=(None,) * 6, init=False, repr=False)
    _choices: dict[int, _Emitted] = field(default_factory=dict[int, _Emitted], init=False, repr=False)
    _used: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _beside: ChangingFields = field(default_factory=ChangingFields, init=False, repr=False)
    # The response id of the chunk that ended a choice.
    _ended_ids: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _reader: ChunkReader = field(default_factory=ChunkReader, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        # Choices that have only a text and a stop reason belong to a model on Bedrock.
        found = fields.mapping(data)
        return "choices" in found and not any(
            "stop_reason" in choice and choice.keys().isdisjoint(("finish_reason", "message", "delta"))
            for choice in fields.mappings(found["choices"])
        )

    def record_learnt(self, learnt: Learnt, pieces: list[str], payload: bytes) -> None:
        super().record_learnt(learnt, pieces, payload)
        emitted = self._of(learnt.choice)
        if learnt.tool_index is not None:
            emitted.calls.known[learnt.tool_index].arguments.extend(pieces)
        else:
            {TextDelta: emitted.content, ReasoningDelta: emitted.reasoning, RefusalDelta: emitted.refusal}[
                learnt.kind
            ].extend(pieces)

    def _read_one(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        payload = item.payload
        if payload == b"[DONE]":
            self.finish(out, number)
            return
        try:
            chunk: Chunk | None = self._reader.decode(payload)
        except NOT_JSON:
            try:
                chunk = self._reader.read(payload)
            except NOT_JSON as error:
                self._not_json(item, number, error, out)
                return
        if chunk is None or chunk.choices is msgspec.UNSET or chunk.error:
            self._unusual(item, number, chunk, out)
            return
        if self._ended_ids and self._is_another(chunk):
            self.refuse(ANOTHER, number)
        start = (chunk.id, chunk.object, chunk.created, chunk.model, chunk.system_fingerprint, chunk.service_tier)
        if start != self._start:
            self._announce(start, chunk, payload, out)
        if chunk.beside:
            self._emit_details(chunk.beside, None, payload, out)
        for choice in chunk.choices or ():
            self._choice(choice, payload, out)
        if chunk.moderation:
            out.append(ProviderNotice("moderation", chunk.moderation, payload=payload))
        if verdict := chunk.prompt_filter_results or chunk.prompt_annotations:
            out.append(ProviderNotice("prompt_filter", verdict, payload=payload))
        if (chunk.base_resp or not chunk.choices) and (found := error_in(_body(payload, chunk))):
            self.fail(found, number, out)
            return
        if usage := chunk.usage or (chunk.beside and self._usage_beside(chunk.beside)):
            self._take_usage(usage, payload, out)

    def _choice(self, choice: ChunkChoice, payload: bytes, out: list[Event]) -> None:
        index, add, delta, reason = choice.index, out.append, choice.delta, choice.finish_reason
        if reason is not None and is_pending(reason):
            reason = None
        again = index in self.finished
        if not again:
            self.finished[index] = None
        emitted = self._choices[index] if again else self._of(index)
        if choice.beside:
            self._emit_details(choice.beside, index, payload, out)
        if delta is not None:
            # Arguments in a chunk that ends its choice are whole.
            self._emit(delta, emitted, index, payload, out, whole=reason is not None)
        if choice.message is not None and choice.in_pieces:
            self._emit(choice.message, emitted, index, payload, out, whole=reason is not None)
        elif choice.message is not None:
            again = (again or delta is not None) and not self.cumulative
            message = self._missing(choice.message, emitted, index, payload, out) if again else choice.message
            self._emit(message, emitted, index, payload, out, whole=not again)
        elif delta is None and choice.text:
            emitted.content.add(choice.text)
            add(TextDelta(choice.text, index, payload=payload))
        if choice.logprobs:
            add(Logprobs(choice.logprobs, index, payload=payload))
        if verdict := choice.content_filter_results or choice.content_filter_result:
            add(ProviderNotice("content_filter", verdict, index, payload=payload))
        if choice.content_filter_offsets:
            add(ProviderNotice("content_filter_offsets", choice.content_filter_offsets, index, payload=payload))
        if choice.usage:
            self._take_usage(choice.usage, payload, out)
        if reason is not None:
            self._settle(index, payload, out, complete=self.ends_calls(reason))
            self.finished[index] = reason
            if self._start[0]:
                self._ended_ids.setdefault(index, self._start[0])
            add(Finish(reason, index, payload=payload))

    def _is_another(self, chunk: Chunk) -> bool:
        # Some servers give each chunk its own id, and late chunks, such as usage, may have any id. It is another answer only
        # if a choice that has ended has content again under another id.
        return bool(chunk.id) and any(
            self._ended_ids.get(choice.index, chunk.id) != chunk.id and _has_content(choice)
            for choice in chunk.choices or ()
        )

    def settle(self, out: list[Event], *, complete: bool) -> None:
        for index in self._choices:
            self._settle(index, None, out, complete=complete and self.finished.get(index) is None)
        if late := self._beside.rest():
            out.append(ResponseDetails(late))

    def _settle(self, index: int, payload: bytes | None, out: list[Event], *, complete: bool) -> None:
        emitted = self._of(index)
        emitted.calls.settle(index, payload, out, complete=complete)
        if emitted.calls.are_of_client:
            self.called.add(index)
        emitted.details.settle(index, payload, out)
        if late := emitted.beside.rest():
            out.append(ResponseDetails(late, index=index, payload=payload))

    def _of(self, index: int) -> _Emitted:
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = _Emitted(calls=Calls(cumulative=bool(self.cumulative)))
        return found

    def _announce(self, start: tuple[Any, ...], chunk: Chunk, payload: bytes, out: list[Event]) -> None:
        self._identify(start, payload, out)
        first = chunk.choices[0] if chunk.choices else None
        if first and first.message is not None and not first.in_pieces and not self.finished:
            # A non-streaming response: missing fields matter too, so that it can be restored exactly.
            found = details_of(payload)
            for details in found:
                known = self._beside if details.index is None else self._of(details.index).beside
                known.take(details.details)
            out.extend(found)

    def _identify(self, start: tuple[Any, ...], payload: bytes, out: list[Event]) -> None:
        # Azure's first chunk has empty strings and a `created` of 0; ignore them.
        known = tuple([value or known for value, known in zip(start, self._start, strict=True)])
        if known == self._start:
            return
        self._start = known
        id, kind, *rest = [value or None for value in start]
        # Streamed and non-streaming responses get the same `object`.
        kind = kind.removesuffix(".chunk") if isinstance(kind, str) else None
        fields: list[Any] = [id, kind, *rest]
        out.append(ResponseStart(*fields, payload=payload))

    def _emit_details(self, found: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        known = self._beside if index is None else self._of(index).beside
        if "x_groq" in found:
            found = {**found, "x_groq": fields.without(fields.mapping(found["x_groq"]), ("usage",))}
        if new := known.take(found):
            out.append(ResponseDetails(new, index=index, payload=payload))

    def _emit(
        self,
        message: ChunkMessage,
        emitted: _Emitted,
        index: int,
        payload: bytes,
        out: list[Event],
        *,
        whole: bool = False,
    ) -> None:
        if message.role and emitted.role != message.role:
            emitted.role = message.role
            out.append(RoleDelta(message.role, index, payload=payload))
        reasoning = message.reasoning_content or message.reasoning
        if message.reasoning_details:
            # `reasoning` repeats their text. (https://openrouter.ai/docs/use-cases/reasoning-tokens)
            before = None if reasoning else emitted.reasoning
            pieces = emitted.details.take(message.reasoning_details, index, payload, out, before=before)
            emitted.reasoning.add("".join(pieces))
            reasoning = "" if pieces else reasoning
        if reasoning:
            emitted.reasoning.add(reasoning)
            out.append(ReasoningDelta(reasoning, index, payload=payload))
        if message.content:
            pieces = emitted.content.pieces
            pieces.append(message.content)
            if len(pieces) > MOST_PIECES:
                emitted.content.trim()
            out.append(TextDelta(message.content, index, payload=payload))
        if message.refusal:
            emitted.refusal.add(message.refusal)
            out.append(RefusalDelta(message.refusal, index, payload=payload))
        if message.tool_calls:
            for position, call in enumerate(message.tool_calls):
                delta = _tool_call(call, position, index, payload)
                out.append(self._call(emitted, delta, call.index, index, whole=whole))
        if message.function_call:
            out.append(
                self._call(emitted, _function_call(message.function_call, index, payload), 0, index, whole=whole)
            )
        if message.audio or message.annotations or message.images:
            self._emit_others(message, emitted, index, payload, out)

    def _emit_others(
        self, message: ChunkMessage, emitted: _Emitted, index: int, payload: bytes, out: list[Event]
    ) -> None:
        if audio := message.audio:
            emitted.others = True
            data, transcript, id = (fields.text(audio.get(name)) for name in ("data", "transcript", "id"))
            expires_at = fields.count(audio.get("expires_at"))
            out.append(AudioDelta(data, transcript, id, expires_at, index, payload=payload))
        for annotation in message.annotations or ():
            emitted.annotations += 1
            out.append(Annotation(annotation, index, payload=payload))
        for part in message.images or ():
            emitted.others = True
            out.append(ProviderNotice(fields.text(part.get("type")) or "content_part", part, index, payload=payload))

    def _call(
        self, emitted: _Emitted, delta: ToolCallDelta, wire_index: int | None, index: int, *, whole: bool
    ) -> ToolCallDelta:
        return emitted.calls.piece(delta, wire_index, whole=whole, open=self.finished[index] is None)

    def _missing(
        self, whole: ChunkMessage, emitted: _Emitted, index: int, payload: bytes, out: list[Event]
    ) -> ChunkMessage:
        """Return the part of a whole message that neither deltas nor an earlier message had."""
        missing = ChunkMessage(role=whole.role)
        details = emitted.details.take(whole.reasoning_details or [], index, payload, out, whole=True)
        emitted.reasoning.add("".join(details))
        texts = {
            "content": (emitted.content, whole.content),
            "reasoning_content": (emitted.reasoning, whole.reasoning_content or whole.reasoning),
            "refusal": (emitted.refusal, whole.refusal),
        }
        for name, (known, text) in texts.items():
            rest = known.rest(text or "")
            if rest is None:
                self.conflict(_CHANNELS[name], index, payload, out)
            setattr(missing, name, rest)
        for position, call in enumerate(whole.tool_calls or ()):
            self._missing_call(emitted, _tool_call(call, position, index, payload), index, payload, out)
        if whole.function_call:
            self._missing_call(emitted, _function_call(whole.function_call, index, payload), index, payload, out)
        missing.annotations = (whole.annotations or [])[emitted.annotations :]
        if not emitted.others:
            missing.audio, missing.images = whole.audio, whole.images
        return missing

    def _missing_call(
        self, emitted: _Emitted, delta: ToolCallDelta, index: int, payload: bytes, out: list[Event]
    ) -> None:
        rest, contradicts = emitted.calls.rest(delta)
        if contradicts:
            self.conflict("tool_arguments", index, payload, out)
        if rest is not None:
            out.append(rest)

    def _take_usage(self, usage: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        self._used = fields.spent(self._used, usage, ("prompt_tokens", "completion_tokens", "total_tokens"))
        out.append(usage_of(self._used, payload))

    def _usage_beside(self, beside: dict[str, Any]) -> dict[str, Any]:
        """Return the usage in Groq's `x_groq`, or in Bedrock's metrics for a model that reports no usage itself."""
        if "x_groq" in beside:
            return fields.mapping(fields.mapping(beside["x_groq"]).get("usage"))
        metrics = {} if self._used else fields.mapping(beside.get("amazon-bedrock-invocationMetrics"))
        return chat_usage(usage_of(metrics)) if metrics else {}

    def _unusual(self, item: ServerSentEvent, number: int, chunk: Chunk | None, out: list[Event]) -> None:
        data = _body(item.payload, chunk)
        error = error_in(data, whole=isinstance(item, JsonBody))
        if error or item.event == "error":
            self.fail(error or data, number, out)
        elif chunk is not None and chunk.usage:
            self._take_usage(chunk.usage, item.payload, out)
        else:
            self.unknown_event(item.event, data, item.payload, out)


def _body(payload: bytes, chunk: Chunk | None) -> Any:
    # A field that is not read may have a number beyond the range of a double, which only fails here.
    try:
        return msgspec.json.decode(payload)
    except NOT_JSON:
        return {"error": chunk.error, "base_resp": chunk.base_resp} if chunk else None


def _has_content(choice: ChunkChoice) -> bool:
    message = choice.delta or choice.message or ChunkMessage()
    values = message.content, message.reasoning_content, message.reasoning, message.refusal, message.tool_calls
    return bool(choice.text or message.function_call or any(values))


def _tool_call(call: ChunkToolCall, position: int, index: int, payload: bytes) -> ToolCallDelta:
    function = call.function or _custom(call) or ChunkFunction()
    return ToolCallDelta(position, call.id, function.name, function.arguments or "", index, call.type, payload=payload)


def _function_call(function: ChunkFunction, index: int, payload: bytes) -> ToolCallDelta:
    return ToolCallDelta(0, None, function.name, function.arguments or "", index, "function_call", payload=payload)


def _custom(call: ChunkToolCall) -> ChunkFunction | None:
    return None if call.custom is None else ChunkFunction(call.custom.name, call.custom.input)
