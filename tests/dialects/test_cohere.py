"""Cohere's chat, version 2: a recording, and edge cases, one small fixture each."""

from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.cohere import CohereChat
from tests.conftest import needs_shared
from tests.dialects.streams import DATA, Recording, payloads, read, read_data, recordings, sse

RECORDINGS = recordings("cohere.v2")
every_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=str)
FIXTURE = (DATA / "cohere-chat.sse").read_bytes()
PLAIN = (DATA / "cohere-chat.json").read_bytes()

CALLS = [
    {"id": "weather_1", "type": "function", "function": {"name": "", "arguments": ""}},
    {"id": "now_1", "type": "function", "function": {"name": "", "arguments": ""}},
]
START: dict[str, Any] = {
    "type": "message-start",
    "id": "m-1",
    "delta": {"message": {"role": "assistant", "content": []}},
}


def text(piece: str) -> dict[str, Any]:
    return {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}


def stop(reason: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, **more}}


@needs_shared
def test_there_is_a_recording() -> None:
    assert RECORDINGS


@every_recording
def test_the_answer_matches_the_recording(recording: Recording) -> None:
    expected, result = recording.expected, read(recording.body)
    choice, usage = result.choice, result.completion.usage

    assert (result.error, result.end.saw_done) == (None, True)
    assert choice.text == expected["text"]
    assert choice.finish_reason == expected["finish_reason"]
    assert [{"name": call.name, "arguments": call.arguments} for call in choice.tool_calls] == expected["tool_calls"]
    assert usage is not None
    assert usage.details == expected["usage"]
    assert usage.prompt_tokens == expected["usage"]["tokens"]["input_tokens"]
    assert usage.completion_tokens == expected["usage"]["tokens"]["output_tokens"]


@every_recording
def test_the_plan_before_the_calls_is_reasoning(recording: Recording) -> None:
    deltas = [payload["delta"] for payload in payloads(recording.body) if payload["type"] == "tool-plan-delta"]

    assert read(recording.body).choice.reasoning == "".join(delta["message"]["tool_plan"] for delta in deltas)


def test_a_chat_is_one_choice() -> None:
    completion = read(FIXTURE).completion

    assert completion.id == "m-1"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens, completion.usage.total_tokens) == (
        90,
        18,
        108,
    )
    assert completion.choices == (
        sk.events.Choice(
            0,
            "Grüße 👩‍💻.",
            "TOOL_CALL",
            reasoning="I will look.",
            tool_calls=(
                sk.events.ToolCall("weather_1", "weather", '{"city": "Zürich"}', 0),
                sk.events.ToolCall("now_1", "now", "{}", 1),
            ),
            role="assistant",
            annotations=(
                {
                    "start": 0,
                    "end": 5,
                    "text": "Grüße",
                    "sources": [{"type": "document", "id": "doc:1", "document": {"id": "doc:1"}}],
                    "type": "TEXT_CONTENT",
                },
            ),
            parts=(
                sk.events.Part("tool_plan", 0, {}, "I will look.", "reasoning"),
                sk.events.Part("text", 1, {"type": "text", "text": ""}, "Grüße 👩‍💻.", "content"),
                sk.events.Part("tool_call", 2, CALLS[0], "", "tool_arguments", 0),
                sk.events.Part("tool_call", 3, CALLS[1], "", "tool_arguments", 1),
            ),
        ),
    )
    assert read(FIXTURE).end == sk.StreamEnd("tool_calls", True)


def test_thinking_is_reasoning() -> None:
    thought = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm."}}}}

    choice = read_data(START, thought, text("Hi"), stop("COMPLETE")).choice

    assert (choice.reasoning, choice.text) == ("Hm.", "Hi")


def test_calls_have_their_own_numbers() -> None:
    def call(index: int) -> dict[str, Any]:
        function = {"name": f"f{index}", "arguments": ""}
        return {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": {"function": function}}}}

    def piece(index: int) -> dict[str, Any]:
        function = {"arguments": f'"{index}"'}
        return {"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": {"function": function}}}}

    assert read_data(START, call(1), call(4), piece(4), piece(1), stop("TOOL_CALL")).choice.tool_calls == (
        sk.events.ToolCall(None, "f1", '"1"', 0),
        sk.events.ToolCall(None, "f4", '"4"', 1),
    )


def test_billed_tokens_are_used_if_there_are_no_others() -> None:
    usage = {"billed_units": {"input_tokens": 3, "output_tokens": 4}}

    assert read_data(START, stop("COMPLETE", usage=usage)).completion.usage == sk.Usage(3, 4, 7, usage)


def test_log_probabilities_are_emitted_unchanged() -> None:
    said = [{**text("a"), "logprobs": {"text": "a", "token_ids": [1], "logprobs": [-0.5]}}]

    assert read_data(START, *said, stop("COMPLETE")).choice.logprobs == {
        "items": [{"text": "a", "token_ids": [1], "logprobs": [-0.5]}]
    }


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("COMPLETE", "completed"),
        ("STOP_SEQUENCE", "completed"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR", "provider_error"),
        ("TIMEOUT", "provider_error"),
    ],
)
def test_the_finish_reason_is_the_providers_and_the_end_has_its_meaning(reason: str, end: str) -> None:
    result = read_data(START, text("Hi"), stop(reason))

    assert (result.choice.text, result.choice.finish_reason) == ("Hi", reason)
    assert (result.end.reason, result.end.saw_done) == (end, True)
    assert isinstance(result.error, sk.ProviderError) is (end == "provider_error")


def test_the_error_is_in_the_last_event() -> None:
    result = read_data(START, text("Hi"), stop("ERROR", error="a secret prompt"))

    assert result.completion.text == "Hi"
    assert isinstance(result.error, sk.ProviderError)
    assert result.error.detail == "a secret prompt"
    assert "secret" not in str(result.error)


def test_with_errors_emit_an_error_only_ends_the_stream() -> None:
    result = read_data(START, stop("ERROR", error="x"), dialect="cohere", errors="emit")

    assert (result.error, result.end.reason) == (None, "provider_error")


def test_an_error_instead_of_an_answer_is_an_error() -> None:
    result = read(b'{"id":"e-1","message":"invalid request"}', dialect="cohere")

    assert isinstance(result.error, sk.ProviderError)
    assert result.error.detail == "invalid request"


@pytest.mark.parametrize("payload", [{"type": "debug", "prompt": "x"}, {"type": 3}, {"a": 1}, [1], None], ids=str)
def test_an_unknown_event_is_a_notice_with_all_of_its_data(payload: Any) -> None:
    (notice,) = (
        e for e in read_data(START, payload, stop("COMPLETE")).events if isinstance(e, sk.events.ProviderNotice)
    )

    assert (notice.data, notice.raw) == (payload, payload)


def test_an_event_without_a_type_after_text_is_not_taken_for_another_answer() -> None:
    result = read(sse(START, text("Hi"), {"a": 1}, stop("COMPLETE")))

    assert (result.completion.text, result.error, result.end.reason) == ("Hi", None, "completed")
    assert [notice.data for notice in result.of(sk.events.ProviderNotice)] == [{"a": 1}]


@pytest.mark.parametrize(
    "error", [{"error": {"message": "overloaded"}}, {"id": "e-1", "message": "overloaded"}], ids=str
)
def test_an_error_without_a_type_after_text_is_the_providers(error: dict[str, Any]) -> None:
    result = read(sse(START, text("Hi"), error))

    assert result.completion.text == "Hi"
    assert isinstance(result.error, sk.ProviderError)
    assert result.error.detail == "overloaded"


@pytest.mark.parametrize("body", [FIXTURE, b": hello\n\n" + FIXTURE, PLAIN], ids=["stream", "comment", "plain"])
def test_the_first_event_identifies_the_dialect(body: bytes) -> None:
    first = next(iter(sk.Parse().run([body])))

    assert for_event(first) is CohereChat
    assert read(body).events == read(body, dialect="cohere").events


@pytest.mark.parametrize("with_type", [True, False], ids=["with their type", "without"])
def test_deltas_continue_their_part_with_or_without_its_type(with_type: bool) -> None:
    def content(event: str, kind: str, index: int, said: str) -> dict[str, Any]:
        typed = {"type": kind} if with_type or event == "content-start" else {}
        return {"type": event, "index": index, "delta": {"message": {"content": {**typed, kind: said}}}}

    result = read_data(
        {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}},
        content("content-start", "thinking", 0, ""),
        *(content("content-delta", "thinking", 0, piece) for piece in ("Two", " cities", ".")),
        {"type": "content-end", "index": 0},
        content("content-start", "text", 1, ""),
        *(content("content-delta", "text", 1, piece) for piece in ("Blue", " sky")),
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
    )

    assert [(part.kind, part.text) for part in result.choice.parts] == [
        ("thinking", "Two cities."),
        ("text", "Blue sky"),
    ]
    assert result.completion.to_dict()["message"]["content"] == [
        {"type": "thinking", "thinking": "Two cities."},
        {"type": "text", "text": "Blue sky"},
    ]


def test_text_after_thinking_at_the_same_index_is_a_separate_part() -> None:
    def content(**said: Any) -> dict[str, Any]:
        return {"type": "content-delta", "index": 0, "delta": {"message": {"content": said}}}

    result = read_data(
        {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}},
        content(type="thinking", thinking="Hm"),
        content(type="thinking", thinking="."),
        content(type="text", text="Blue"),
        content(text=" sky"),
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
    )

    assert [(part.kind, part.text) for part in result.choice.parts] == [("thinking", "Hm."), ("text", "Blue sky")]
