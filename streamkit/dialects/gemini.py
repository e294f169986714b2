"""Google's Gemini, streamed (`alt=sse` or as one JSON array) and plain, by the Gemini API and by Vertex AI.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse and
https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import msgspec

from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, emptied, mapping, mappings, text, without, word
from streamkit.dialects.times import seconds
from streamkit.ends import EndReason, is_pending
from streamkit.events import (
    Annotation,
    Channel,
    Event,
    Finish,
    Logprobs,
    PartEnd,
    PartStart,
    ProviderNotice,
    ReasoningDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.plain import PlainForm
from streamkit.plain.gemini import generated
from streamkit.tokens.usage import usage_of
from streamkit.wire.events import ServerSentEvent

_MARKS = ("candidates", "usageMetadata", "modelVersion", "promptFeedback")
_PART_NOTES = ("thought", "thoughtSignature", "partMetadata", "videoMetadata")
"""Fields of a part that stand beside what it holds."""
_METADATA = {"citationMetadata": ("citationSources", "citations"), "groundingMetadata": (), "logprobsResult": ()}
"""What of a candidate is told in events of its own."""


class _Text(msgspec.Struct):
    # A part of text, which the next chunk may go on with.
    number: int
    data: dict[str, Any]


@dataclass
class Gemini(Dialect):
    """Chunks of candidates, each a whole `GenerateContentResponse`; a plain answer is one chunk.

    No event says that the stream is over. It is complete if every candidate has a finish reason, or if the prompt was blocked,
    for then no candidate comes. A candidate that calls functions finishes with `STOP`; the stream ends as `tool_calls` all the
    same.

    Functions are called with an object; `arguments` is its JSON. The role `model` is told as `assistant`. Other parts than text
    and calls (code that was run, images, a call that comes in pieces) are told whole by their `PartStart`, signatures by the
    `PartEnd`; safety ratings are `ProviderNotice`s. A text goes on in the next chunk, except where it has a signature, which
    belongs to just that part (https://ai.google.dev/gemini-api/docs/thought-signatures).

    `Usage` is cumulative. Its `completion_tokens` are those of the thoughts too, which are output and cost the same
    (https://ai.google.dev/gemini-api/docs/thinking#pricing), its `prompt_tokens` those of the results of Google's own tools.
    """

    shape: ClassVar[str | None] = "gemini"
    plain: ClassVar[PlainForm | None] = generated
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _usage: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _calls: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _texts: dict[int, _Text] = field(default_factory=dict[int, _Text], init=False, repr=False)
    _parts: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _details: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]], init=False, repr=False)
    # The response id of the chunk that ended a candidate.
    _over: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    # Whether the finish reason is said with every chunk, so that it is no evidence of the last one.
    _repeats: bool = field(default=False, init=False, repr=False)
    _blocked: str | None = field(default=None, init=False, repr=False)

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(next(iter(mappings(data)), data))
        return any(mark in fields for mark in _MARKS) or (isinstance(data, list) and "error" in fields)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        if isinstance(data, list):
            # The whole answer at once, as it comes without `alt=sse`; its chunks are told one by one.
            for chunk in cast(list[Any], data):
                if not self.done:
                    self._chunk(item, chunk, msgspec.json.encode(chunk).decode(), number, out)
        else:
            self._chunk(item, data, item.data, number, out)

    def _chunk(self, item: ServerSentEvent, data: Any, payload: str, number: int, out: list[Event]) -> None:
        chunk = mapping(data)
        known = any(mark in chunk for mark in _MARKS)
        error = chunk.get("error") if known else error_in(data)
        if error or item.event == "error":
            self.fail(error or data, number, out)
        elif not known:
            self.not_known(item.event, data, payload, out)
        elif self._over and self._is_another(chunk):
            self.refuse(ANOTHER, number, out)
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
            if usage := mapping(chunk.get("usageMetadata")):
                self._usage |= {name: value for name, value in usage.items() if value is not None}
                out.append(usage_of(self._usage, payload))

    def _is_another(self, chunk: dict[str, Any]) -> bool:
        id = text(chunk.get("responseId"))
        for candidate in mappings(chunk.get("candidates")) if id else ():
            if self._over.get(count(candidate.get("index")) or 0, id) != id and _parts(candidate):
                return True
        return False

    def _announce(self, chunk: dict[str, Any], payload: str, out: list[Event]) -> None:
        said: dict[str, Any] = {
            "id": text(chunk.get("responseId")),
            "created": seconds(chunk.get("createTime")),
            "model": text(chunk.get("modelVersion")),
            "service_tier": text(mapping(chunk.get("usageMetadata")).get("serviceTier")),
        }
        known: dict[str, Any] = {**self._identity, **{name: value for name, value in said.items() if value}}
        if known != self._identity:
            self._identity = known
            out.append(ResponseStart(**known, payload=payload))

    def _detail(self, details: dict[str, Any], index: int | None, payload: str, out: list[Event]) -> None:
        known = self._details.setdefault(-1 if index is None else index, {})
        if more := changed(details, known):
            known |= more
            out.append(ResponseDetails(more, self.shape, index, payload=payload))

    def _candidate(self, candidate: dict[str, Any], payload: str, out: list[Event]) -> None:
        # The first candidate's index is 0, which JSON of protocol buffers may leave out.
        index = count(candidate.get("index")) or 0
        self._repeats |= self.finished.setdefault(index, None) is not None and bool(_parts(candidate))
        self._detail(self._beside(candidate, index), index, payload, out)
        self._content(mapping(candidate.get("content")), index, payload, out)
        citations = mapping(candidate.get("citationMetadata"))
        # The Gemini API calls them sources, Vertex AI citations.
        for citation in mappings(citations.get("citationSources")) + mappings(citations.get("citations")):
            out.append(Annotation(citation, index, payload=payload))
        if grounding := mapping(candidate.get("groundingMetadata")):
            out.append(Annotation(grounding, index, payload=payload))
        if logprobs := mapping(candidate.get("logprobsResult")):
            out.append(Logprobs(logprobs, index, payload=payload))
        if ratings := candidate.get("safetyRatings"):
            out.append(ProviderNotice("safety_ratings", ratings, index, payload=payload))
        self._end_of(candidate, index, payload, out)

    def _end_of(self, candidate: dict[str, Any], index: int, payload: str, out: list[Event]) -> None:
        reason = word(candidate.get("finishReason"))
        # Some models say it with every chunk.
        if reason and reason != self.finished[index] and not is_pending(reason):
            self.finished[index] = reason
            if id := self._identity.get("id"):
                self._over.setdefault(index, id)
            self._close(index, payload, out)
            out.append(Finish(reason, index, payload=payload))

    def _content(self, content: dict[str, Any], index: int, payload: str, out: list[Event]) -> None:
        role = "assistant" if content.get("role") == "model" else text(content.get("role"))
        if role and self._roles.get(index) != role:
            self._roles[index] = role
            out.append(RoleDelta(role, index, payload=payload))
        for at, part in enumerate(mappings(content.get("parts"))):
            if isinstance(part.get("text"), str):
                self._text(part, index, payload, out, goes_on=at == 0)
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

    def _text(self, part: dict[str, Any], index: int, payload: str, out: list[Event], *, goes_on: bool) -> None:
        signature = _signature(part)
        data = {**without(part, signature), "text": ""}
        channel: Channel = "reasoning" if part.get("thought") is True else "content"
        known = self._texts.get(index)
        if known is None or not goes_on or signature or known.data != data:
            self._texts[index] = _Text(self._begin("text", data, channel, None, index, payload, out), data)
        if piece := part["text"]:
            kind = ReasoningDelta if channel == "reasoning" else TextDelta
            out.append(kind(piece, index, payload=payload))
        if signature:
            self._close(index, payload, out, signature)

    def _part(self, part: dict[str, Any], index: int, payload: str, out: list[Event]) -> None:
        call, signature = mapping(part.get("functionCall")), _signature(part)
        data = without(part, signature)
        if call.get("name"):
            told = self._call(call, index, payload)
            data["functionCall"] = emptied(call, ("name",))
            if call.get("args") is not None:
                data["functionCall"]["args"] = {}
            number = self._begin("functionCall", data, "tool_arguments", told.tool_index, index, payload, out)
            out.append(told)
        else:
            kind = next((name for name in part if name not in _PART_NOTES), "part")
            number = self._begin(kind, data, None, None, index, payload, out)
        out.append(PartEnd(number, signature, index, payload=payload))

    def _begin(
        self,
        kind: str,
        data: dict[str, Any],
        channel: Channel | None,
        tool: int | None,
        index: int,
        payload: str,
        out: list[Event],
    ) -> int:
        self._close(index, payload, out)
        number = self._parts.get(index, 0)
        self._parts[index] = number + 1
        out.append(PartStart(kind, number, data, channel, tool, index=index, payload=payload))
        return number

    def _close(self, index: int, payload: str, out: list[Event], data: dict[str, Any] | None = None) -> None:
        if known := self._texts.pop(index, None):
            out.append(PartEnd(known.number, data or {}, index, payload=payload))

    def _call(self, call: dict[str, Any], index: int, payload: str) -> ToolCallDelta:
        number = self._calls.get(index, 0)
        self._calls[index] = number + 1
        self.called.add(index)
        arguments = msgspec.json.encode(call["args"]).decode() if call.get("args") is not None else ""
        id, name = (text(call.get(key)) for key in ("id", "name"))
        return ToolCallDelta(number, id, name, arguments, index, payload=payload)

    @property
    def answered(self) -> bool:
        return super().answered and not self._repeats

    def _outcome(self, *, saw_done: bool) -> tuple[EndReason, str | None]:
        # No candidate comes where the prompt was blocked.
        if self._blocked and not self.finished:
            return "content_filter", self._blocked
        if self._cut and self._repeats:
            return "truncated", None
        return super()._outcome(saw_done=saw_done)


def _parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    return mappings(mapping(candidate.get("content")).get("parts"))


def _signature(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name == "thoughtSignature"}
