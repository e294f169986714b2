"""Google's Live API: a turn with text, speech or calls, and every way a turn ends."""

from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import DIALECTS, for_event
from streamkit.events import AudioDelta, ProviderNotice, ToolCall
from tests.dialects.streams import Result, check_cuts, ndjson, read

SETUP: dict[str, Any] = {"setupComplete": {}}


def turn(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"serverContent": {"modelTurn": {"parts": list(parts)}, **more}}


def complete(**more: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 5, "responseTokenCount": 7, "totalTokenCount": 12}
    return {"serverContent": {"turnComplete": True, **more}, "usageMetadata": usage}


def read_data(*messages: dict[str, Any]) -> Result:
    return read(ndjson(*messages))


def test_the_text_of_a_turn_ends_with_the_turn() -> None:
    result = read_data(
        SETUP,
        turn({"text": "I think", "thought": True}),
        turn({"text": "Hel"}),
        turn({"text": "lo"}),
        {"serverContent": {"generationComplete": True}},
        complete(),
        turn({"text": "the next turn"}),
    )

    assert (result.completion.text, result.choice.reasoning) == ("Hello", "I think")
    assert result.end == sk.StreamEnd("completed", saw_done=True)
    usage = result.completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 7, 12)
    assert [event.kind for event in result.of(ProviderNotice)] == ["setupComplete", "generationComplete"]


def test_speech_is_audio_with_its_transcript() -> None:
    sound = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "UklG"}}
    result = read_data(
        {"serverContent": {"inputTranscription": {"text": "Hi"}}},
        turn(sound),
        {"serverContent": {"outputTranscription": {"text": "Hello"}}},
        complete(),
    )

    assert result.of(AudioDelta) == [AudioDelta("UklG"), AudioDelta(transcript="Hello")]
    assert result.notices("inputTranscription") == [{"text": "Hi"}]
    assert result.end.reason == "completed"


def test_function_calls_end_the_turn() -> None:
    calls = [{"id": "c1", "name": "f", "args": {"a": 1}}, {"id": "c2", "name": "g", "args": {}}]
    result = read_data(SETUP, turn({"text": "Let me see."}), {"toolCall": {"functionCalls": calls}})

    assert result.choice.tool_calls == (ToolCall("c1", "f", '{"a":1}', 0), ToolCall("c2", "g", "{}", 1))
    assert (result.end.reason, result.end.saw_done) == ("tool_calls", True)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"serverContent": {"interrupted": True}}, complete()], "cancelled"),
        ([complete(interrupted=True)], "cancelled"),
        ([complete(turnCompleteReason="RESPONSE_REJECTED")], "content_filter"),
        ([complete(turnCompleteReason="NEED_MORE_INPUT")], "completed"),
        ([complete(turnCompleteReason="TURN_COMPLETE_REASON_UNSPECIFIED")], "completed"),
        ([complete(turnCompleteReason="MALFORMED_FUNCTION_CALL")], "provider_error"),
        ([complete(turnCompleteReason="SOMETHING_NEW")], "unknown"),
        ([{"serverContent": {"generationComplete": True}}], "truncated"),
        ([], "truncated"),
    ],
)
def test_how_a_turn_ends(messages: list[dict[str, Any]], reason: str) -> None:
    assert read_data(SETUP, turn({"text": "Hel"}), *messages).end.reason == reason


def test_messages_of_the_session_are_notices() -> None:
    messages = [{"goAway": {"timeLeft": "5s"}}, {"sessionResumptionUpdate": {"resumable": True}}]
    result = read_data(SETUP, *messages, {"toolCallCancellation": {"ids": ["c"]}})

    assert [event.kind for event in result.of(ProviderNotice)] == [
        "setupComplete",
        "goAway",
        "sessionResumptionUpdate",
        "toolCallCancellation",
    ]
    assert result.end.reason == "truncated"


@pytest.mark.parametrize("message", [SETUP, turn({"text": "a"}), complete(), {"toolCall": {"functionCalls": []}}])
def test_any_message_identifies_the_dialect(message: dict[str, Any]) -> None:
    (found,) = sk.Parse().run([ndjson(message)])

    assert for_event(found) is DIALECTS["gemini-live"]


def test_the_events_do_not_depend_on_how_a_turn_is_split() -> None:
    check_cuts(ndjson(SETUP, turn({"text": "Hel"}), turn({"text": "lo ☃"}), complete()))
