"""OpenAI's transcriptions of audio, streamed and non-streaming.

https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event and …/audio/json-object.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import mapping, mappings, text
from streamkit.events import Completion, Event, Logprobs, ResponseDetails, TextDelta
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def transcription(completion: Completion) -> dict[str, Any]:
    """Build the object with the text, and with log probabilities and usage if they were sent."""
    whole: dict[str, Any] = {"text": completion.text}
    if completion.choices and (logprobs := completion.choices[0].logprobs):
        whole["logprobs"] = logprobs.get("content")
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


# The events


@dataclass
class OpenAITranscription(Dialect):
    """The events `transcript.text.…`, or one object with `text` if chosen by name. It is `done` at `transcript.text.done`.

    The text is that of the deltas and the rest that only the last event has. With `diarized_json` that is the whole text; its
    segments are notices.
    """

    shape: ClassVar[str | None] = "transcription"
    response_form: ClassVar[ResponseForm | None] = transcription

    _emitted: EmittedText = field(default_factory=EmittedText, init=False, repr=False)
    _has_logprobs: bool = field(default=False, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return (text(mapping(data).get("type")) or event.event).startswith("transcript.text.")

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload = mapping(data), item.payload
        kind = text(fields.get("type")) or item.event
        if 0 not in self.finished and (kind.startswith("transcript.") or "text" in fields):
            self.finished[0] = None
            out.append(ResponseDetails(shape=self.shape, payload=payload))
        error = error_in(data) if not kind.startswith("transcript.") and "text" not in fields else None
        if error:
            self.fail(error, number, out)
        elif kind == "transcript.text.delta":
            self._emit(fields, fields.get("delta"), payload, out)
            self._has_logprobs |= bool(fields.get("logprobs"))
        elif kind == "transcript.text.done" or ("type" not in fields and "text" in fields):
            whole = {} if self._has_logprobs else fields
            rest = self._emitted.rest(text(fields.get("text")) or "")
            if rest is None:
                self.conflict("content", 0, payload, out)
            self._emit(whole, rest, payload, out)
            if used := mapping(fields.get("usage")):
                out.append(usage_of(used, payload))
            self.finish(out, number)
        else:
            self.unknown_event(kind, data, payload, out)

    def _emit(self, fields: dict[str, Any], value: object, payload: bytes, out: list[Event]) -> None:
        if piece := text(value):
            self._emitted.add(piece)
            out.append(TextDelta(piece, payload=payload))
        if logprobs := mappings(fields.get("logprobs")):
            out.append(Logprobs({"content": logprobs}, payload=payload))
