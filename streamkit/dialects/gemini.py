"""Google's Gemini, streamed (`alt=sse` or as one JSON array) and non-streaming, from the Gemini API and Vertex AI.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse and
https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import msgspec

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import (
    arguments_of,
    calls_of,
    changed,
    corrected,
    count,
    emptied,
    mapping,
    mappings,
    quotes,
    released,
    text,
    without,
    word,
)
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.gemini_arguments import PartialArguments
from streamkit.dialects.learn import Learnt, Path
from streamkit.dialects.openai.calls import EMPTY
from streamkit.dialects.part_texts import start
from streamkit.dialects.times import seconds
from streamkit.events import (
    Annotation,
    Channel,
    Choice,
    Completion,
    Event,
    Finish,
    Logprobs,
    Part,
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

# The fields of a citation; an annotation with any other field is grounding metadata.
_CITATION = {"startIndex", "endIndex", "uri", "title", "license", "publicationDate"}


def generated(completion: Completion) -> dict[str, Any]:
    """Build the response with the parts of its candidates in order."""
    whole = dict(completion.details)
    if "candidates" in whole:
        whole["candidates"] = [_candidate(choice) for choice in completion.choices]
    if completion.usage:
        whole["usageMetadata"] = completion.usage.details
    return whole


def _candidate(choice: Choice) -> dict[str, Any]:
    candidate = dict(choice.details)
    if "content" in candidate or choice.parts:
        content = dict(mapping(candidate.get("content")))
        if "parts" in content or choice.parts:
            calls = calls_of(choice)
            content["parts"] = [_part(part, calls) for part in released(choice)]
        candidate["content"] = content
    if choice.finish_reason:
        candidate["finishReason"] = choice.finish_reason
    if "citationMetadata" in candidate:
        citations = [annotation for annotation in choice.annotations if annotation.keys() <= _CITATION]
        candidate["citationMetadata"] = dict.fromkeys(mapping(candidate["citationMetadata"]), citations)
    if "groundingMetadata" in candidate:
        grounding = [annotation for annotation in choice.annotations if not annotation.keys() <= _CITATION]
        # Several chunks may each have some of its fields.
        candidate["groundingMetadata"] = _released(
            {name: value for metadata in grounding for name, value in metadata.items()}, choice
        )
    if "logprobsResult" in candidate:
        candidate["logprobsResult"] = choice.logprobs or {}
    return candidate


def _released(grounding: dict[str, Any], choice: Choice) -> dict[str, Any]:
    supports = grounding.get("groundingSupports")
    if not isinstance(supports, list):
        return grounding
    found = [mapping(support) for support in cast(list[object], supports)]
    kept = [support for support in found if quotes(choice, mapping(support.get("segment")).get("text"))]
    return {**grounding, "groundingSupports": kept}


def _part(part: Part, calls: dict[int | None, ToolCall]) -> dict[str, Any]:
    whole = dict(part.data)
    if part.kind == "text":
        whole["text"] = part.text
    elif call := calls.get(part.tool_index):
        function_call = {**whole["functionCall"], "name": call.name}
        # A call without arguments may have had no `args`.
        whole["functionCall"] = (
            {**function_call, "args": arguments_of(call)} if "args" in function_call else function_call
        )
    return whole


# The events

_MARKS = ("candidates", "usageMetadata", "modelVersion", "promptFeedback")
_PART_NOTES = ("thought", "thoughtSignature", "partMetadata", "videoMetadata")
"""Fields of a part besides its content."""
_STREAMED = ("partialArgs", "willContinue")
_METADATA = {"citationMetadata": ("citationSources", "citations"), "groundingMetadata": (), "logprobsResult": ()}
"""Fields of a candidate that are emitted as events of their own."""


class _Text(msgspec.Struct):
    # A text part, which the next chunk may continue.
    number: int
    data: dict[str, Any]


class _GeminiCall(msgspec.Struct):
    # A call: its number and the number of its part; `writer` is set while its arguments arrive in pieces.
    number: int
    part: int
    id: str | None
    name: str | None
    arguments: EmittedText = msgspec.field(default_factory=EmittedText)
    writer: PartialArguments | None = None
    late: dict[str, Any] = {}


class _Calls(msgspec.Struct):
    # The calls of a candidate by number, their numbers by id, and the number of the last call that was sent in pieces.
    calls: dict[int, _GeminiCall] = {}
    ids: dict[str, int] = {}
    streamed: int | None = None

    @property
    def last(self) -> _GeminiCall | None:
        return None if self.streamed is None else self.calls[self.streamed]

    def known(self, id: str | None, name: str | None, arguments: str | None) -> _GeminiCall | None:
        """Return the known call that this refers to: by its id; without an id, the last call that was sent in pieces."""
        if id:
            return None if (number := self.ids.get(id)) is None else self.calls[number]
        last = self.last
        if last is None or (name and name != last.name):
            return None
        if last.writer is not None:
            return last
        # It is complete: only a repetition of the whole call refers to it.
        return last if arguments is not None and not last.id and last.arguments.equals(arguments) else None

    def add(self, call: _GeminiCall) -> None:
        self.calls[call.number] = call
        if call.id:
            self.ids[call.id] = call.number
        if call.writer is not None:
            self.streamed = call.number


@dataclass
class Gemini(Dialect):
    """Chunks of candidates, each a whole `GenerateContentResponse`; a non-streaming response is one chunk.

    There is no end marker. The stream is complete if every candidate has a finish reason, or if the prompt was blocked and
    there is no candidate. A candidate that calls functions finishes with `STOP`; the stream still ends as `tool_calls`.

    Gemini calls functions with an object; `arguments` is its JSON, even if its values are streamed (`partialArgs`). A repeated
    call, recognized by its id or as the whole of streamed pieces, is emitted once. The role `model` becomes `assistant`. The
    text of other parts, such as executed code and its output, is emitted as `PartDelta`s, their other fields are in the
    `PartStart`, and signatures in the `PartEnd`; safety ratings are `ProviderNotice`s. A text part continues in the next chunk
    unless it has a signature, which belongs to that part only (https://ai.google.dev/gemini-api/docs/thought-signatures).

    `Usage` is cumulative. It is emitted for the first chunk, for chunks with more than text, and at the end. Its
    `completion_tokens` include thoughts, which are output at the same price
    (https://ai.google.dev/gemini-api/docs/thinking#pricing); its `prompt_tokens` include the results of Google's own tools.
    """

    places: ClassVar[tuple[Path, ...]] = (("candidates", 0, "content", "parts", 0, "text"),)
    shape: ClassVar[str | None] = "gemini"
    response_form: ClassVar[ResponseForm | None] = generated
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _usage: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    # The payload of the chunk whose usage was not emitted yet.
    _spent: bytes | None = field(default=None, init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _calls: dict[int, _Calls] = field(default_factory=dict[int, _Calls], init=False, repr=False)
    _texts: dict[int, _Text] = field(default_factory=dict[int, _Text], init=False, repr=False)
    _parts: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _details: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]], init=False, repr=False)
    # The response id of the chunk that ended a candidate.
    _ended_ids: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    # Whether every chunk has the finish reason, so that it does not prove the end.
    _repeats: bool = field(default=False, init=False, repr=False)
    _blocked: str | None = field(default=None, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        items = mappings(data)
        fields = items[0] if items else mapping(data)
        return not fields.keys().isdisjoint(_MARKS) or (isinstance(data, list) and "error" in fields)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        if isinstance(data, list):
            # Without `alt=sse` the whole stream is one JSON array of chunks.
            for chunk in cast(list[Any], data):
                if not self.done:
                    self._chunk(item, chunk, msgspec.json.encode(chunk), number, out)
        else:
            self._chunk(item, data, item.payload, number, out)

    def _chunk(self, item: ServerSentEvent, data: Any, payload: bytes, number: int, out: list[Event]) -> None:
        chunk, known = mapping(data), len(out)
        is_response = any(mark in chunk for mark in _MARKS)
        error = chunk.get("error") if is_response else error_in(data)
        if error:
            self.fail(error, number, out)
        elif not is_response:
            self.unknown_event(item.event, data, payload, out)
        elif self._ended_ids and self._is_another(chunk):
            self.refuse(ANOTHER, number)
        else:
            self._announce(chunk, payload, out)
            details = without(chunk, ("candidates", "usageMetadata"))
            if "candidates" in chunk:
                details["candidates"] = []
            self._detail(details, None, payload, out)
            for candidate in mappings(chunk.get("candidates")):
                self._candidate(candidate, payload, out)
            if feedback := mapping(chunk.get("promptFeedback")):
                self._blocked = text(feedback.get("blockReason")) or self._blocked
                out.append(ProviderNotice("prompt_feedback", feedback, payload=payload))
            self._take_usage(mapping(chunk.get("usageMetadata")), payload, out, text_alone=_is_text(out[known:]))

    def _take_usage(self, usage: dict[str, Any], payload: bytes, out: list[Event], *, text_alone: bool) -> None:
        if not usage:
            return
        # The count of prompt tokens is an estimate until the answer is complete.
        known, self._usage = self._usage, corrected(self._usage, usage)
        self._spent = payload if known and text_alone else None
        if self._spent is None:
            out.append(usage_of(self._usage, payload))

    def settle(self, out: list[Event], *, complete: bool) -> None:
        if self._spent is not None:
            out.append(usage_of(self._usage, self._spent))

    def record_learnt(self, learnt: Learnt, pieces: list[str], payload: bytes) -> None:
        super().record_learnt(learnt, pieces, payload)
        if usage := mapping(mapping(msgspec.json.decode(payload)).get("usageMetadata")):
            self._usage, self._spent = corrected(self._usage, usage), payload

    def _is_another(self, chunk: dict[str, Any]) -> bool:
        id = text(chunk.get("responseId"))
        for candidate in mappings(chunk.get("candidates")) if id else ():
            if self._ended_ids.get(count(candidate.get("index")) or 0, id) != id and _parts(candidate):
                return True
        return False

    def _announce(self, chunk: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        identity: dict[str, Any] = {
            "id": text(chunk.get("responseId")),
            "created": seconds(chunk.get("createTime")),
            "model": text(chunk.get("modelVersion")),
            "service_tier": text(mapping(chunk.get("usageMetadata")).get("serviceTier")),
        }
        known: dict[str, Any] = {**self._identity, **{name: value for name, value in identity.items() if value}}
        if known != self._identity:
            self._identity = known
            out.append(ResponseStart(**known, payload=payload))

    def _detail(self, details: dict[str, Any], index: int | None, payload: bytes, out: list[Event]) -> None:
        known = self._details.setdefault(-1 if index is None else index, {})
        if more := changed(details, known):
            known |= more
            out.append(ResponseDetails(more, self.shape, index, payload=payload))

    def _candidate(self, candidate: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # JSON made from protocol buffers may leave out an index of 0.
        index = count(candidate.get("index")) or 0
        self._repeats |= self.finished.setdefault(index, None) is not None and bool(_parts(candidate))
        self._detail(self._beside(candidate, index), index, payload, out)
        self._content(mapping(candidate.get("content")), index, payload, out)
        citations = mapping(candidate.get("citationMetadata"))
        # `citationSources` in the Gemini API, `citations` in Vertex AI.
        for citation in mappings(citations.get("citationSources")) + mappings(citations.get("citations")):
            out.append(Annotation(citation, index, payload=payload))
        if grounding := mapping(candidate.get("groundingMetadata")):
            out.append(Annotation(grounding, index, payload=payload))
        if logprobs := mapping(candidate.get("logprobsResult")):
            out.append(Logprobs(logprobs, index, payload=payload))
        if ratings := candidate.get("safetyRatings"):
            out.append(ProviderNotice("safety_ratings", ratings, index, payload=payload))
        self._end_of(candidate, index, payload, out)

    def _end_of(self, candidate: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        reason = word(candidate.get("finishReason"))
        # Some models send it with every chunk.
        if reason and reason != self.finished[index] and not is_pending(reason):
            if (calls := self._calls.get(index)) and self.ends_calls(reason):
                self._end_call(calls.last, index, payload, out)
            self.finished[index] = reason
            if id := self._identity.get("id"):
                self._ended_ids.setdefault(index, id)
            self._close(index, payload, out)
            out.append(Finish(reason, index, payload=payload))

    def _content(self, content: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        role = "assistant" if content.get("role") == "model" else text(content.get("role"))
        if role and self._roles.get(index) != role:
            self._roles[index] = role
            out.append(RoleDelta(role, index, payload=payload))
        for at, part in enumerate(mappings(content.get("parts"))):
            if isinstance(part.get("text"), str):
                self._text(part, index, payload, out, continues=at == 0)
            else:
                self._part(part, index, payload, out)

    def _beside(self, candidate: dict[str, Any], index: int) -> dict[str, Any]:
        details = without(candidate, ("content", "finishReason"))
        for name, lists in _METADATA.items():
            if name in details:
                details[name] = {key: [] for key in lists if key in mapping(details[name])}
        if isinstance(candidate.get("content"), dict):
            known = mapping(self._details.get(index, {}).get("content"))
            details["content"] = {**known, **emptied(mapping(candidate["content"]), ("parts",))}
        return details

    def _text(self, part: dict[str, Any], index: int, payload: bytes, out: list[Event], *, continues: bool) -> None:
        signature = _signature(part)
        data = {**without(part, signature), "text": ""}
        channel: Channel = "reasoning" if part.get("thought") is True else "content"
        known = self._texts.get(index)
        if known is None or not continues or signature or known.data != data:
            self._texts[index] = _Text(self._begin("text", data, channel, None, index, payload, out), data)
        if piece := part["text"]:
            kind = ReasoningDelta if channel == "reasoning" else TextDelta
            out.append(kind(piece, index, payload=payload))
        if signature:
            self._close(index, payload, out, signature)

    def _part(self, part: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        signature = _signature(part)
        if isinstance(part.get("functionCall"), dict):
            self._function_call(part, signature, index, payload, out)
            return
        kind = next((name for name in part if name not in _PART_NOTES), "part")
        number = self._begin(kind, without(part, signature), None, None, index, payload, out)
        out.append(PartEnd(number, signature, index, payload=payload))

    # https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#FunctionCall
    def _function_call(
        self, part: dict[str, Any], signature: dict[str, Any], index: int, payload: bytes, out: list[Event]
    ) -> None:
        function = mapping(part["functionCall"])
        calls = self._calls.get(index) or _Calls()
        pieces, continues = mappings(function.get("partialArgs")), function.get("willContinue") is True
        id, name = text(function.get("id")) or None, text(function.get("name")) or None
        streamed = bool(pieces) or continues or name is None
        whole = None if streamed else _json(function.get("args"))
        call = calls.known(id, name, whole)
        if call is None:
            if not (name or id or pieces or function.get("args") is not None):
                return  # the end of a call that has already ended
            self._end_call(calls.last, index, payload, out)
            self._calls[index] = calls
            self.called.add(index)
            call = self._begin_call(calls, part, signature, streamed, index, payload, out)
        elif signature and signature != call.late:
            call.late = {**call.late, **signature}  # a copy: an emitted event may hold the old one
            if call.writer is None:
                out.append(PartEnd(call.part, signature, index, payload=payload))
        if whole is not None:
            self._whole(call, whole, index, payload, out)
        elif call.writer is not None:
            for piece in pieces:
                self._emit_arguments(call, call.writer.piece(piece), index, payload, out)
            if not (continues or any(piece.get("willContinue") is True for piece in pieces)):
                self._end_call(call, index, payload, out)

    def _begin_call(
        self,
        calls: _Calls,
        part: dict[str, Any],
        signature: dict[str, Any],
        streamed: bool,
        index: int,
        payload: bytes,
        out: list[Event],
    ) -> _GeminiCall:
        function, number = mapping(part["functionCall"]), len(calls.calls)
        id, name = (text(function.get(key)) or None for key in ("id", "name"))
        data = {**without(part, signature), "functionCall": emptied(without(function, _STREAMED), ("name",))}
        if streamed or function.get("args") is not None:
            data["functionCall"]["args"] = {}
        at = self._begin("functionCall", data, "tool_arguments", number, index, payload, out)
        call = _GeminiCall(number, at, id, name, writer=PartialArguments() if streamed else None, late=signature)
        calls.add(call)
        if streamed:
            out.append(ToolCallDelta(number, id, name, index=index, payload=payload))
        else:
            arguments = _json(function.get("args"))
            call.arguments.add(arguments)
            out.append(ToolCallDelta(number, id, name, arguments, index, payload=payload))
            out.append(PartEnd(at, signature, index, payload=payload))
        return call

    def _whole(self, call: _GeminiCall, whole: str, index: int, payload: bytes, out: list[Event]) -> None:
        # A whole call, of which some or all was received before.
        rest = call.arguments.rest(whole)
        if rest is None or (call.writer is None and not call.arguments.equals(whole)):
            self.conflict("tool_arguments", index, payload, out)
        if call.writer is None:
            return
        if rest is None:
            self._end_call(call, index, payload, out)
            return
        call.writer = PartialArguments()  # `rest` closes the JSON itself
        self._emit_arguments(call, rest, index, payload, out)
        self._end_call(call, index, payload, out)

    def _emit_arguments(self, call: _GeminiCall, piece: str, index: int, payload: bytes, out: list[Event]) -> None:
        if piece:
            call.arguments.add(piece)
            out.append(ToolCallDelta(call.number, arguments=piece, index=index, payload=payload))

    def _end_call(self, call: _GeminiCall | None, index: int, payload: bytes, out: list[Event]) -> None:
        if call is None or call.writer is None:
            return
        self._emit_arguments(call, call.writer.end(), index, payload, out)
        if call.arguments.is_empty:
            self._emit_arguments(call, EMPTY, index, payload, out)
        call.writer = None
        out.append(PartEnd(call.part, call.late, index, payload=payload))

    def _begin(
        self,
        kind: str,
        data: dict[str, Any],
        channel: Channel | None,
        tool: int | None,
        index: int,
        payload: bytes,
        out: list[Event],
    ) -> int:
        self._close(index, payload, out)
        number = self._parts.get(index, 0)
        self._parts[index] = number + 1
        out += start(PartStart(kind, number, data, channel, tool, index=index, payload=payload))
        return number

    def _close(self, index: int, payload: bytes, out: list[Event], data: dict[str, Any] | None = None) -> None:
        if known := self._texts.pop(index, None):
            out.append(PartEnd(known.number, data or {}, index, payload=payload))

    @property
    def answered(self) -> bool:
        return super().answered and not self._repeats

    def _outcome(self, *, saw_done: bool) -> tuple[EndReason, str | None]:
        # A blocked prompt gets no candidate.
        if self._blocked and not self.finished:
            return "content_filter", self._blocked
        if self._cut and self._repeats:
            return "truncated", None
        return super()._outcome(saw_done=saw_done)


def _is_text(events: list[Event]) -> bool:
    return len(events) == 1 and isinstance(events[0], TextDelta | ReasoningDelta)


def _parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    return mappings(mapping(candidate.get("content")).get("parts"))


def _json(args: object) -> str:
    return EMPTY if args is None else msgspec.json.encode(args).decode()


def _signature(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name == "thoughtSignature"}
