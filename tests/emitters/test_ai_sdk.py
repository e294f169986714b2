"""The AI SDK's UI message stream: its schema, the order that its reader requires, and the chunks for each kind of end.

The schema is `uiMessageChunkSchema` of npm's `ai`; the order is the one that its `processUIMessageStream` enforces.
https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import PipelineError
from streamkit.events import Annotation, PartEnd, PartStart, ResponseDetails, ResponseStart, Retracted
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter
from tests.conftest import needs_shared
from tests.emitters.kit import answers, completion_of, data_of, written

START = ResponseStart("msg_1", model="m")
DONE = sk.StreamEnd("completed", saw_done=True)
# The fields of each chunk, and their types; those with `?` are optional.
SCHEMA: dict[str, dict[str, type]] = {
    "start": {"messageId?": str},
    "start-step": {},
    "finish-step": {},
    "finish": {"finishReason?": str, "messageMetadata?": dict},
    "abort": {},
    "error": {"errorText": str},
    "text-start": {"id": str},
    "text-delta": {"id": str, "delta": str},
    "text-end": {"id": str},
    "reasoning-start": {"id": str, "providerMetadata?": dict},
    "reasoning-delta": {"id": str, "delta": str},
    "reasoning-end": {"id": str, "providerMetadata?": dict},
    "tool-input-start": {"toolCallId": str, "toolName": str},
    "tool-input-delta": {"toolCallId": str, "inputTextDelta": str},
    "tool-input-available": {"toolCallId": str, "toolName": str, "input": object},
    "tool-input-error": {"toolCallId": str, "toolName": str, "input": object, "errorText": str},
    "source-url": {"sourceId": str, "url": str, "title?": str},
    "data-moderation": {"data": object},
}
FINISH_REASONS = {"stop", "length", "content-filter", "tool-calls", "error", "other"}


def valid(frames: list[ServerSentEvent]) -> None:
    """Raise for chunks that the AI SDK would not accept."""
    assert frames[-1].data == "[DONE]"
    assert all(frame.event == "message" for frame in frames)
    open_parts: set[str] = set()
    for chunk in data_of(frames[:-1]):
        fields = {name: value for name, value in chunk.items() if name != "type"}
        schema = SCHEMA[chunk["type"]]
        assert (
            {name for name in schema if not name.endswith("?")}
            <= fields.keys()
            <= {name.rstrip("?") for name in schema}
        )
        assert all(isinstance(fields.get(name.rstrip("?"), kind()), kind) for name, kind in schema.items())
        assert chunk.get("finishReason", "stop") in FINISH_REASONS
        kind, _, act = chunk["type"].rpartition("-")
        name = f"{kind} {chunk.get('id') or chunk.get('toolCallId')}"
        if act == "start" and kind:
            assert name not in open_parts
            open_parts.add(name)
        elif act in ("delta", "end", "available") or chunk["type"] == "tool-input-error":
            assert name in open_parts
            open_parts -= set() if act == "delta" else {name}
    last = json.loads(frames[-2].payload)["type"]
    assert last in ("finish", "error", "abort")
    assert last != "finish" or not open_parts


def chunks(*events: sk.Event, **options: Any) -> list[Any]:
    """The chunks between the start and the end of the step."""
    found = written("ai-sdk", *events, DONE, **options)
    return found[2:-3]


def assembled(frames: list[ServerSentEvent]) -> dict[str, Any]:
    """Assemble the chunks like a client: all texts, all reasoning, and the calls with their input."""
    texts, reasoning, calls = "", "", list[tuple[str, Any]]()
    for chunk in data_of(frames[:-1]):
        match chunk:
            case {"type": "text-delta", "delta": delta}:
                texts += delta
            case {"type": "reasoning-delta", "delta": delta}:
                reasoning += delta
            case {"type": "tool-input-available" | "tool-input-error", "toolName": name, "input": given}:
                calls.append((name, given))
            case _:
                pass
    return {"text": texts, "reasoning": reasoning, "calls": calls}


def test_it_keeps_the_rules_of_emitters() -> None:
    check_emitter("ai-sdk", validate=valid)
    check_emitter("ai-sdk", validate=valid, verdicts=True, include_usage=True)


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_every_recording_is_a_valid_stream(name: str) -> None:
    events = answers()[name]
    choice = completion_of(events).choices[0]
    frames = list(sk.Emit("ai-sdk").run(events))
    valid(frames)
    assert assembled(frames) == {
        "text": choice.text + (choice.refusal or ""),
        "reasoning": choice.reasoning or "",
        "calls": [(call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls],
    }


def test_an_answer_is_a_message_with_a_part_per_run() -> None:
    usage = sk.Usage(10, 2, 12, {})
    answer: list[sk.Event] = [START, sk.ReasoningDelta("Hm"), sk.TextDelta("Po"), sk.TextDelta("ng"), usage, DONE]
    assert written("ai-sdk", *answer, include_usage=True) == [
        {"type": "start", "messageId": "msg_1"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-0"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "Hm"},
        {"type": "reasoning-end", "id": "reasoning-0"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Po"},
        {"type": "text-delta", "id": "text-1", "delta": "ng"},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish-step"},
        {
            "type": "finish",
            "finishReason": "stop",
            "messageMetadata": {"usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12}},
        },
        "[DONE]",
    ]


def test_a_call_is_streamed_and_then_available() -> None:
    assert chunks(sk.ToolCallDelta(0, "c", "f", '{"a":'), sk.ToolCallDelta(0, arguments=" 1}")) == [
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "f"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"a":'},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": " 1}"},
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "f", "input": {"a": 1}},
    ]


def test_input_that_is_not_json_is_a_tool_input_error() -> None:
    assert chunks(sk.ToolCallDelta(0, "c", "f", "{not"))[-1] == {
        "type": "tool-input-error",
        "toolCallId": "c",
        "toolName": "f",
        "input": "{not",
        "errorText": "the tool's input is not valid JSON",
    }


def test_the_input_of_a_custom_tool_is_its_text() -> None:
    assert chunks(sk.ToolCallDelta(0, "c", "f", "x = 1", type="custom"))[-1]["input"] == "x = 1"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("completed", "stop"),
        ("length", "length"),
        ("tool_calls", "tool-calls"),
        ("content_filter", "content-filter"),
        ("moderated", "content-filter"),
    ],
)
def test_every_success_has_a_finish_reason(end: Any, reason: str) -> None:
    assert written("ai-sdk", sk.TextDelta("a"), sk.StreamEnd(end))[-2] == {"type": "finish", "finishReason": reason}


@pytest.mark.parametrize("end", ["unknown", "truncated", "provider_error", "timeout", "limit", "error"])
def test_a_failure_is_an_error_and_nothing_is_finished(end: Any) -> None:
    found = written("ai-sdk", START, sk.TextDelta("a"), sk.StreamEnd(end))
    assert [chunk if chunk == "[DONE]" else chunk["type"] for chunk in found] == [
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "error",
        "[DONE]",
    ]


def test_a_cancelled_stream_is_aborted() -> None:
    assert written("ai-sdk", sk.TextDelta("a"), sk.StreamEnd("cancelled"))[-2:] == [{"type": "abort"}, "[DONE]"]


def test_citations_are_sources_unless_text_was_withheld() -> None:
    cited: list[sk.Event] = [sk.TextDelta("a"), Annotation({"type": "any", "url": "https://example.com", "title": "t"})]
    assert chunks(*cited)[-1] == {
        "type": "source-url",
        "sourceId": "text-0-source-0",
        "url": "https://example.com",
        "title": "t",
    }
    assert [chunk["type"] for chunk in chunks(*cited, sk.Redacted("secret", 0, 3))][-1] == "text-end"


def test_every_source_of_a_text_has_its_own_id() -> None:
    cited = [Annotation({"type": "any", "url": f"https://example.com/{name}"}) for name in "abc"]
    sources = [chunk for chunk in chunks(sk.TextDelta("a"), *cited) if chunk["type"] == "source-url"]
    assert [(source["sourceId"], source["url"]) for source in sources] == [
        ("text-0-source-0", "https://example.com/a"),
        ("text-0-source-1", "https://example.com/b"),
        ("text-0-source-2", "https://example.com/c"),
    ]


def test_a_citation_after_the_end_of_its_text_is_a_source_of_the_message() -> None:
    late: list[sk.Event] = [
        sk.TextDelta("a"),
        sk.ToolCallDelta(0, "c", "f", "{}"),
        Annotation({"type": "any", "url": "https://example.com"}),
    ]
    assert chunks(*late)[-1] == {"type": "source-url", "sourceId": "message-source-0", "url": "https://example.com"}
    assert [chunk["type"] for chunk in chunks(*late, sk.Redacted("secret", 0, 3))][-1] != "source-url"


def test_signatures_of_anthropic_can_be_sent_back() -> None:
    found = chunks(
        ResponseDetails({}, "anthropic"),
        PartStart("thinking", 0, {"type": "thinking"}, "reasoning"),
        sk.ReasoningDelta("Hm"),
        PartEnd(0, {"signature": "c2ln"}),
        PartStart("redacted_thinking", 1, {"type": "redacted_thinking", "data": "ZGF0YQ"}),
        PartEnd(1),
    )
    assert [chunk["providerMetadata"] for chunk in found if "providerMetadata" in chunk] == [
        {"anthropic": {"signature": "c2ln"}},
        {"anthropic": {"redactedData": "ZGF0YQ"}},
    ]


def test_decisions_are_optional_data_parts() -> None:
    decisions: list[sk.Event] = [
        sk.Redacted("secret", 10, 17),
        sk.TextDelta("a"),
        Retracted("secret", 0, 1, 0, 1, replacement="[gone]"),
        sk.Blocked("secret", 17, 24),
    ]
    parts = [chunk["data"] for chunk in chunks(*decisions, verdicts=True) if chunk["type"] == "data-moderation"]
    assert [(part["decision"], part["category"], part["channel"], part["start"]) for part in parts] == [
        ("redacted", "secret", "content", 10),
        ("retracted", "secret", "content", 0),
        ("blocked", "secret", "content", 17),
    ]
    assert parts[1]["replacement"] == "[gone]"
    assert [chunk["type"] for chunk in chunks(*decisions)] == ["text-start", "text-delta", "text-end"]


def test_there_is_no_non_streaming_response() -> None:
    with pytest.raises(PipelineError, match="only streams"):
        sk.Emit("ai-sdk").response(sk.Completion())
