"""Google's Live API over a WebSocket: the messages of one model turn, converted to Gemini's chunks.

https://ai.google.dev/api/live#bidigeneratecontentservermessage.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.fields import mapping, mappings, text, without
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.gemini import Gemini, generated
from streamkit.dialects.learn import Path
from streamkit.events import AudioDelta, Event, ProviderNotice
from streamkit.sse.events import ServerSentEvent

_OF_SESSION = (
    "setupComplete",
    "goAway",
    "sessionResumptionUpdate",
    "toolCallCancellation",
    "voiceActivity",
    "voiceActivityDetectionSignal",
)
_MARKS = ("serverContent", "toolCall", *_OF_SESSION)
_ALL_MARKS = frozenset(_MARKS)
_BESIDE = ("inputTranscription", "interimInputTranscription", "generationComplete", "waitingForInput")
_OF_CANDIDATE = ("groundingMetadata", "urlContextMetadata")
_INTERRUPTED = "INTERRUPTED"
_NO_REASON = "TURN_COMPLETE_REASON_UNSPECIFIED"


@dataclass
class GeminiLive(Gemini):
    """One turn. It is `done` when the turn is complete, or when the model calls functions and waits for their results.

    Speech is emitted as `AudioDelta`s with data or a transcript. Messages of the session and transcripts of the user's speech
    are `ProviderNotice`s.
    """

    places: ClassVar[tuple[Path, ...]] = ()
    shape: ClassVar[str | None] = "gemini"
    response_form: ClassVar[ResponseForm | None] = generated
    # https://ai.google.dev/api/live#turncompletereason: the turn waits for more input, or its input or answer was rejected.
    reasons: ClassVar[dict[str, EndReason]] = {
        _INTERRUPTED: "cancelled",
        "NEED_MORE_INPUT": "completed",
        "RESPONSE_REJECTED": "content_filter",
    }
    _interrupted: bool = field(default=False, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        return any(isinstance(fields[mark], dict) for mark in _ALL_MARKS & fields.keys())

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        known = [name for name in _MARKS if name in fields]
        out += [ProviderNotice(name, fields[name], payload=payload) for name in _OF_SESSION if name in fields]
        content = mapping(fields.get("serverContent"))
        self._interrupted |= content.get("interrupted") is True
        out += [ProviderNotice(name, content[name], payload=payload) for name in _BESIDE if name in content]
        self._emit_audio(content, payload, out)
        called = "toolCall" in fields
        ended = content.get("turnComplete") is True
        chunk = self._as_chunk(fields, content, ended=ended or called)
        if chunk or not known:
            self._chunk(item, chunk or data, payload, number, out)
        if (ended or called) and not self.done:
            self.finish(out, number)

    def _emit_audio(self, content: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        for part in mappings(mapping(content.get("modelTurn")).get("parts")):
            if _is_sound(part):
                out.append(AudioDelta(text(mapping(part["inlineData"]).get("data")), payload=payload))
        if transcript := text(mapping(content.get("outputTranscription")).get("text")):
            out.append(AudioDelta(transcript=transcript, payload=payload))

    def _as_chunk(self, fields: dict[str, Any], content: dict[str, Any], *, ended: bool) -> dict[str, Any]:
        """Convert a message to a chunk of `generateContent`; empty if the message has nothing of the answer."""
        turn = mapping(content.get("modelTurn"))
        parts = [part for part in mappings(turn.get("parts")) if not _is_sound(part)]
        parts += [{"functionCall": call} for call in mappings(mapping(fields.get("toolCall")).get("functionCalls"))]
        candidate: dict[str, Any] = {name: content[name] for name in _OF_CANDIDATE if name in content}
        if parts or turn:
            candidate["content"] = {"role": "model", **without(turn, ("parts",)), "parts": parts}
        if ended:
            reason = text(content.get("turnCompleteReason")) or ""
            given = reason if reason and not is_pending(reason) and reason != _NO_REASON else "STOP"
            candidate["finishReason"] = _INTERRUPTED if self._interrupted else given
        chunk: dict[str, Any] = {"candidates": [candidate]} if candidate else {}
        if usage := mapping(fields.get("usageMetadata")):
            chunk["usageMetadata"] = {"candidatesTokenCount": usage.get("responseTokenCount"), **usage}
        return chunk


def _is_sound(part: dict[str, Any]) -> bool:
    return str(mapping(part.get("inlineData")).get("mimeType", "")).startswith("audio/")
