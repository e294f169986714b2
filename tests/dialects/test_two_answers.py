"""Two responses in one body are never merged: the start of the second is an error, raised after the whole first one."""

import json
from typing import Any

import pytest

import streamkit as sk
from tests.dialects.streams import check_cuts, ndjson, read, sse, wire


def chunk(id: str | None, **delta: Any) -> dict[str, Any]:
    return {"id": id, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def stop(id: str | None, word: str = "stop") -> dict[str, Any]:
    return {"id": id, "choices": [{"index": 0, "delta": {}, "finish_reason": word}]}


def anthropic(id: str, text: str, *, whole: bool = True) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": id, "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ]
    return [
        *events,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ][: None if whole else 3]


def gemini(id: str, text: str) -> dict[str, Any]:
    return {"responseId": id, "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}


def plain(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}


def message(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}


def response(id: str, text: str) -> list[dict[str, Any]]:
    return [
        {"type": "response.created", "response": {"id": id, "object": "response", "status": "in_progress"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text},
    ]


def dashscope(id: str, text: str) -> dict[str, Any]:
    return {"request_id": id, "output": {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}}


def interaction(id: str, text: str) -> list[dict[str, Any]]:
    return [
        {"event_type": "interaction.created", "interaction": {"id": id, "status": "in_progress"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": text}},
    ]


COHERE = [
    {"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "First"}}}},
]
CALLS = {"tool_calls": [{"index": 0, "id": "t2", "function": {"name": "f", "arguments": "{}"}}]}
TWO = {
    "openai": sse(
        chunk("a", content="First"),
        stop("a"),
        chunk("b", role="assistant"),
        chunk("b", content="Second"),
        stop("b"),
        "[DONE]",
    ),
    "openai, calls": sse(
        chunk("a", content="First"), stop("a"), chunk("b", **CALLS), stop("b", "tool_calls"), "[DONE]"
    ),
    "openai, reasoning": sse(chunk("a", content="First"), stop("a"), chunk("b", reasoning="Second"), stop("b")),
    "openai, legacy": sse(
        {"id": "a", "choices": [{"index": 0, "text": "First", "finish_reason": "stop"}]},
        {"id": "b", "choices": [{"index": 0, "text": "Second", "finish_reason": "stop"}]},
    ),
    "openai, not streamed": ndjson(plain("a", "First"), plain("b", "Second")),
    "anthropic, inside the first": wire([*anthropic("a", "First", whole=False), *anthropic("b", "Second")]),
    "anthropic, behind the first": wire([*anthropic("a", "First"), *anthropic("b", "Second")]),
    "anthropic, with the same id": wire([*anthropic("a", "First", whole=False), *anthropic("a", "Second")]),
    "anthropic, not streamed": ndjson(message("a", "First"), message("b", "Second")),
    "anthropic, legacy": sse(
        {"type": "completion", "id": "a", "completion": "First", "stop_reason": "stop_sequence"},
        {"type": "completion", "id": "b", "completion": "Second", "stop_reason": "stop_sequence"},
    ),
    "gemini": sse(gemini("a", "First"), gemini("b", "Second")),
    "gemini, an array": json.dumps([gemini("a", "First"), gemini("b", "Second")]).encode(),
    "responses": sse(*response("a", "First"), *response("b", "Second")),
    "cohere": sse(*COHERE, *COHERE),
    "dashscope": sse(dashscope("a", "First"), dashscope("b", "Second")),
    "interactions": sse(*interaction("a", "First"), *interaction("b", "Second")),
}
each = pytest.mark.parametrize("body", TWO.values(), ids=TWO)


@each
def test_the_second_answer_is_an_error_and_nothing_of_it_is_emitted(body: bytes) -> None:
    result = read(body)

    assert isinstance(result.error, sk.errors.ProtocolError)
    assert "expected one response, found the start of another" in str(result.error)
    assert [event.text for event in result.of(sk.TextDelta)] == ["First"]
    assert not result.of(sk.ToolCallDelta)
    assert not result.of(sk.ReasoningDelta)
    check_cuts(body)


@each
def test_with_errors_emit_the_first_answer_ends_with_an_error(body: bytes) -> None:
    result = read(body, errors="emit")

    assert result.error is None
    assert (result.completion.text, result.end.reason) == ("First", "error")
    assert len(result.notices("protocol_error")) == 1


ONE = {
    "openai, an id for each chunk": sse(chunk("a", content="Fir"), chunk("b", content="st"), stop("c"), "[DONE]"),
    "openai, usage with an id of its own": sse(
        chunk("a", content="First"), stop("a"), {"id": "b", "choices": [], "usage": {}}
    ),
    "openai, an empty chunk behind the end": sse(
        chunk("a", content="First"), stop("a"), chunk("b", content=""), "[DONE]"
    ),
    "openai, a late chunk with the same id": sse(
        chunk("a", content="Fir"), stop("a"), chunk("a", content="st"), "[DONE]"
    ),
    "openai, a late chunk without an id": sse(
        chunk("a", content="Fir"), stop("a"), chunk(None, content="st"), "[DONE]"
    ),
    "openai, Azure's empty id first": sse({"id": "", "choices": []}, chunk("a", content="First"), stop("a"), "[DONE]"),
    "openai, without any id": sse(chunk(None, content="Fir"), stop(None), chunk("a", content="st"), "[DONE]"),
    "anthropic, a beginning of a proxy's": wire([anthropic("a", "")[0], *anthropic("b", "First")]),
    "gemini, an id for each chunk": sse(
        {"responseId": "a", "candidates": [{"content": {"parts": [{"text": "First"}]}}]},
        {"responseId": "b", "candidates": [{"finishReason": "STOP"}]},
        {"responseId": "c", "usageMetadata": {"promptTokenCount": 1}},
    ),
    "gemini, the reason with every chunk": sse(gemini("a", "Fir"), gemini("a", "st")),
    "dashscope, usage behind the end": sse(
        dashscope("a", "First"), {**dashscope("b", ""), "usage": {"input_tokens": 1, "output_tokens": 1}}
    ),
    "interactions, sent again with the same id": sse(*interaction("a", "Fir"), *interaction("a", "st")),
    "responses, sent again with the same id": sse(*response("a", "Fir"), *response("a", "st")),
}


@pytest.mark.parametrize("body", ONE.values(), ids=ONE)
def test_one_answer_is_not_taken_for_two(body: bytes) -> None:
    result = read(body)

    assert result.error is None
    assert result.completion.text == "First"


def test_choices_sent_one_after_the_other_are_one_answer() -> None:
    """Some servers give each chunk its own id and send the choices one after the other."""
    chunks = [
        {"id": f"c{n}", "choices": [{"index": n, "delta": {"content": "x"}, "finish_reason": "stop"}]} for n in range(3)
    ]

    assert len(read(sse(*chunks)).completion.choices) == 3
