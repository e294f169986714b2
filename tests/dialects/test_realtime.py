"""OpenAI's Realtime API: a response with text, speech or calls, and every way a response ends."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import DIALECTS, for_event
from streamkit.events import AudioDelta, ProviderNotice, ToolCall
from tests.dialects.streams import Result, check_cuts, ndjson, read

PLACE = {"response_id": "r", "item_id": "m", "output_index": 0, "content_index": 0}
SESSION = {
    "type": "session.created",
    "event_id": "e1",
    "session": {"id": "s", "model": "gpt-realtime", "object": "realtime.session"},
}
ASKED = {
    "type": "conversation.item.added",
    "item": {"id": "u", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
}
CREATED = {
    "type": "response.created",
    "response": {"id": "r", "object": "realtime.response", "status": "in_progress", "output": []},
}
ADDED = {
    "type": "response.output_item.added",
    "output_index": 0,
    "item": {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []},
}


def text(piece: str, kind: str = "response.output_text.delta") -> dict[str, Any]:
    return {"type": kind, **PLACE, "delta": piece, "event_id": "e"}


def done(status: str = "completed", output: Any = (), **details: Any) -> dict[str, Any]:
    response = {"id": "r", "object": "realtime.response", "status": status, "output": list(output)}
    usage = {"total_tokens": 12, "input_tokens": 5, "output_tokens": 7}
    return {"type": "response.done", "response": {**response, "status_details": details or None, "usage": usage}}


def message(kind: str, **part: Any) -> dict[str, Any]:
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": kind, **part}],
    }


def read_data(*events: dict[str, Any]) -> Result:
    return read(ndjson(*events))


@pytest.mark.parametrize(
    ("kind", "delta"),
    [("output_text", "response.output_text.delta"), ("text", "response.text.delta")],
    ids=["now", "in earlier versions"],
)
def test_the_text_of_a_response_is_emitted_once(kind: str, delta: str) -> None:
    whole = message(kind, text="Hello")
    result = read_data(
        SESSION,
        ASKED,
        CREATED,
        ADDED,
        {"type": "response.content_part.added", **PLACE, "part": {"type": "text", "text": ""}},
        text("Hel", delta),
        text("lo", delta),
        {"type": delta.replace("delta", "done"), **PLACE, "text": "Hello"},
        {"type": "response.content_part.done", **PLACE, "part": {"type": "text", "text": "Hello"}},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "conversation.item.done", "item": whole},
        {"type": "rate_limits.updated", "rate_limits": []},
        done(output=[whole]),
    )

    assert [event.text for event in result.of(sk.TextDelta)] == ["Hel", "lo"]
    assert result.end == sk.StreamEnd("completed", saw_done=True)
    assert (result.completion.id, result.completion.text) == ("r", "Hello")
    usage = result.completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 7, 12)
    assert not result.notices("conflict")


@pytest.mark.parametrize(
    ("audio", "transcript"),
    [
        ("response.output_audio.delta", "response.output_audio_transcript.delta"),
        ("response.audio.delta", "response.audio_transcript.delta"),
    ],
    ids=["now", "in earlier versions"],
)
def test_speech_is_audio_with_its_transcript(audio: str, transcript: str) -> None:
    part = {"type": "audio", "transcript": "Hello"}
    result = read_data(
        SESSION,
        CREATED,
        ADDED,
        {"type": "response.content_part.added", **PLACE, "part": {"type": "audio", "transcript": ""}},
        text("Hel", transcript),
        text("UklG", audio),
        text("lo", transcript),
        {"type": audio.replace("delta", "done"), **PLACE},
        {"type": transcript.replace("delta", "done"), **PLACE, "transcript": "Hello"},
        {"type": "response.content_part.done", **PLACE, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": message("output_audio", transcript="Hello")},
        done(output=[message("output_audio", transcript="Hello")]),
    )

    assert result.of(AudioDelta) == [AudioDelta(transcript="Hel"), AudioDelta("UklG"), AudioDelta(transcript="lo")]
    assert result.choice.audio == {"data": "UklG", "transcript": "Hello"}
    assert result.end.reason == "completed"
    # The whole transcript is in no other event, so it can't bypass moderation of the deltas.
    assert not result.of(sk.events.PartDelta)


def test_a_function_call_is_for_the_client() -> None:
    call = {"id": "f", "type": "function_call", "call_id": "c", "name": "weather", "arguments": ""}
    at = {"response_id": "r", "item_id": "f", "output_index": 0, "call_id": "c"}
    whole = {**call, "arguments": '{"a":1}', "status": "completed"}
    result = read_data(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": call},
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"a":'},
        {"type": "response.function_call_arguments.delta", **at, "delta": "1}"},
        {"type": "response.function_call_arguments.done", **at, "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "conversation.item.done", "item": whole},
        done(output=[whole]),
    )

    assert result.choice.tool_calls == (ToolCall("c", "weather", '{"a":1}'),)
    assert result.end.reason == "tool_calls"


@pytest.mark.parametrize(
    ("end", "reason", "word"),
    [
        (done("completed"), "completed", "completed"),
        (done("incomplete", type="incomplete", reason="max_output_tokens"), "length", "max_output_tokens"),
        (done("incomplete", type="incomplete", reason="content_filter"), "content_filter", "content_filter"),
        (done("cancelled", type="cancelled", reason="turn_detected"), "cancelled", "cancelled"),
    ],
)
def test_how_a_response_ends(end: dict[str, Any], reason: str, word: str) -> None:
    result = read_data(CREATED, ADDED, text("Hel"), end)

    assert result.error is None
    assert (result.end.reason, result.end.provider_reason) == (reason, word)


def test_a_failed_response_has_the_providers_reason() -> None:
    error = {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow down"}
    result = read_data(CREATED, ADDED, text("Hel"), done("failed", type="failed", error=error))

    assert isinstance(result.error, sk.ProviderError)
    assert (result.error.code, result.error.detail) == ("rate_limit_exceeded", "slow down")
    assert (result.completion.text, result.end.reason) == ("Hel", "provider_error")


def test_an_error_of_the_session_is_a_provider_error() -> None:
    error = {"type": "invalid_request_error", "code": "invalid_event", "message": "no such item", "event_id": "mine"}
    result = read_data(SESSION, {"type": "error", "event_id": "e", "error": error})

    assert isinstance(result.error, sk.ProviderError)
    assert (result.error.code, result.error.type) == ("invalid_event", "invalid_request_error")


def test_without_a_response_nothing_is_complete() -> None:
    assert read_data(SESSION, ASKED, {"type": "rate_limits.updated", "rate_limits": []}).end.reason == "truncated"
    assert read_data(SESSION, CREATED, ADDED, text("Hel")).end == sk.StreamEnd("truncated", open_choices=(0,))


def test_notices_of_the_conversation_contain_no_text_of_the_model() -> None:
    said = {**message("output_text", text="a secret"), "name": "a secret"}
    result = read_data(SESSION, {"type": "conversation.item.done", "previous_item_id": "u", "item": said}, done())

    (notice,) = [event for event in result.of(ProviderNotice) if event.kind == "conversation.item.done"]
    assert notice.data == {
        "type": "conversation.item.done",
        "previous_item_id": "u",
        "item": {"id": "m", "type": "message", "role": "assistant", "status": "completed"},
    }
    assert "a secret" in json.dumps(notice.raw)


@pytest.mark.parametrize("event", [SESSION, ASKED, CREATED, done(), {"type": "input_audio_buffer.committed"}])
def test_any_of_its_own_events_identifies_the_dialect(event: dict[str, Any]) -> None:
    (found,) = sk.Parse().run([ndjson(event)])

    assert for_event(found) is DIALECTS["realtime"]


def test_a_response_of_the_responses_api_is_not_taken_for_one_of_a_session() -> None:
    created = {"type": "response.created", "response": {"id": "r", "object": "response", "output": []}}
    (found,) = sk.Parse().run([ndjson(created)])

    assert for_event(found) is DIALECTS["responses"]


def test_the_events_do_not_depend_on_how_a_response_is_split() -> None:
    check_cuts(
        ndjson(SESSION, ASKED, CREATED, ADDED, text("Hel"), text("lo"), done(output=[message("text", text="Hello")]))
    )
