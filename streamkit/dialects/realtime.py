"""OpenAI's Realtime API over a WebSocket: the events of one response, interleaved with those of the session.

https://platform.openai.com/docs/api-reference/realtime-server-events. Items, parts and deltas are those of the Responses API,
but speech has other names, and every response ends with `response.done`. Azure and earlier versions use some other names.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from streamkit.completion import ResponseForm
from streamkit.dialects.fields import mapping, mappings, text, without
from streamkit.dialects.responses.reader import OpenAIResponses
from streamkit.dialects.responses.response import response as full_response
from streamkit.events import Event, ProviderNotice
from streamkit.sse.events import ServerSentEvent

_OF_SESSION = ("session.", "conversation.", "input_audio_buffer.", "output_audio_buffer.", "rate_limits.")
_NAMES = {
    "response.text": "response.output_text",
    "response.output_audio": "response.audio",
    "response.audio_transcript": "response.audio.transcript",
    "response.output_audio_transcript": "response.audio.transcript",
}
_KINDS = {"text": "output_text", "audio": "output_audio"}
_SPOKEN = ("audio", "transcript")
# The fields of a conversation item that a notice keeps. The text of the model is in the deltas.
_OF_ITEM = ("id", "object", "type", "role", "status", "call_id")


@dataclass
class OpenAIRealtime(OpenAIResponses):
    """One response of a session. It is `done` at `response.done`, whose status is the reason of the end.

    Speech is emitted as `AudioDelta`s with data or a transcript. Events of the session, the conversation and the input are
    `ProviderNotice`s, with conversation items reduced to their metadata. An `error` ends the stream; the session continues.
    """

    shape: ClassVar[str | None] = "responses"
    response_form: ClassVar[ResponseForm | None] = full_response

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = text(fields.get("type")) or event.event
        if kind.startswith(_OF_SESSION):
            return True
        response = mapping(fields.get("response"))
        return kind == "response.done" or response.get("object") == "realtime.response"

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields = mapping(data)
        kind = text(fields.get("type")) or item.event
        if kind.startswith(_OF_SESSION):
            item_fields = mapping(fields.get("item"))
            known = (
                {"item": {name: item_fields[name] for name in _OF_ITEM if name in item_fields}} if item_fields else {}
            )
            out.append(ProviderNotice(kind, {**fields, **known}, payload=item.payload))
            return
        super().take(item, _as_response(kind, fields) if kind != "message" else fields, number, out)


def _as_response(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Convert an event to the form of the Responses API."""
    stem, _, act = kind.rpartition(".")
    known: dict[str, Any] = {"type": f"{_NAMES[stem]}.{act}" if stem in _NAMES else kind}
    if part := mapping(fields.get("part")):
        known["part"] = _part(part)
    if item := mapping(fields.get("item")):
        known["item"] = _item(item)
    if response := mapping(fields.get("response")):
        known["response"] = _response(response)
        if kind == "response.done" and (status := text(response.get("status"))):
            known["type"] = f"response.{status}"
    return {**fields, **known}


def _response(response: dict[str, Any]) -> dict[str, Any]:
    details = mapping(response.get("status_details"))
    known: dict[str, Any] = {"output": [_item(item) for item in mappings(response.get("output"))]}
    if response.get("status") == "incomplete":
        known["incomplete_details"] = {"reason": details.get("reason")}
    if error := mapping(details.get("error")):
        known["error"] = error
    return {**response, **known}


def _item(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") != "message":
        return item
    return {**item, "content": [_part(part) for part in mappings(item.get("content"))]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = text(part.get("type")) or ""
    named = {**part, "type": _KINDS.get(kind, kind)}
    # Audio and its transcript were emitted from their own deltas.
    return without(named, _SPOKEN) if named["type"] == "output_audio" else named
