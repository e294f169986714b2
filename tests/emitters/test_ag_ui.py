"""AG-UI's events: their schema, the order that `verifyEvents` requires, and the events for each kind of end.

https://docs.ag-ui.com/sdk/js/core/events and `EventSchemas` of npm's `@ag-ui/core`.
"""

from typing import Any

import pytest

import streamkit as sk
from streamkit.events import PartEnd, PartStart, ResponseStart
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter
from tests.conftest import needs_shared
from tests.emitters.kit import answers, completion_of, data_of, written

START = ResponseStart("resp-1", model="m")
DONE = sk.StreamEnd("completed", saw_done=True)
RUN = {"threadId": "thread-resp-1", "runId": "resp-1"}
# The fields of each event; those without `?` are required.
SCHEMA: dict[str, set[str]] = {
    "RUN_STARTED": {"threadId", "runId"},
    "RUN_FINISHED": {"threadId", "runId", "result?", "usage?"},
    "RUN_ERROR": {"message", "code?"},
    "TEXT_MESSAGE_START": {"messageId", "role"},
    "TEXT_MESSAGE_CONTENT": {"messageId", "delta"},
    "TEXT_MESSAGE_END": {"messageId"},
    "REASONING_START": {"messageId"},
    "REASONING_MESSAGE_START": {"messageId", "role"},
    "REASONING_MESSAGE_CONTENT": {"messageId", "delta"},
    "REASONING_MESSAGE_END": {"messageId"},
    "REASONING_END": {"messageId"},
    "REASONING_ENCRYPTED_VALUE": {"subtype", "entityId", "encryptedValue"},
    "TOOL_CALL_START": {"toolCallId", "toolCallName", "parentMessageId?"},
    "TOOL_CALL_ARGS": {"toolCallId", "delta"},
    "TOOL_CALL_END": {"toolCallId"},
    "CUSTOM": {"name", "value"},
}
ROLES = {"TEXT_MESSAGE_START": "assistant", "REASONING_MESSAGE_START": "reasoning"}
CONTENT = {"CONTENT", "ARGS"}


def valid(frames: list[ServerSentEvent]) -> None:
    """Raise for events that AG-UI's client would not accept."""
    events = data_of(frames)
    assert events[0]["type"] in ("RUN_STARTED", "RUN_ERROR")
    assert [event["type"] for event in events].count("RUN_STARTED") <= 1
    running: set[str] = set()
    for event in events:
        fields = {name: value for name, value in event.items() if name != "type"}
        schema = SCHEMA[event["type"]]
        assert (
            {name for name in schema if not name.endswith("?")}
            <= fields.keys()
            <= {name.rstrip("?") for name in schema}
        )
        assert all(isinstance(value, str) for name, value in fields.items() if name not in ("value", "result", "usage"))
        assert fields.get("role") == ROLES.get(event["type"])
        kind, _, act = event["type"].rpartition("_")
        name = f"{kind} {event.get('messageId') or event.get('toolCallId')}"
        if act == "START":
            assert name not in running
            running.add(name)
        elif act in CONTENT or act == "END":
            assert name in running
            running -= {name} if act == "END" else set()
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
    assert sum(event["type"] in ("RUN_FINISHED", "RUN_ERROR") for event in events) == 1
    assert events[-1]["type"] == "RUN_ERROR" or not running


def types(*events: sk.Event, **options: Any) -> list[str]:
    return [event["type"] for event in written("ag-ui", *events, **options)]


def assembled(frames: list[ServerSentEvent]) -> dict[str, Any]:
    texts, reasoning, calls = "", "", dict[str, list[str]]()
    for event in data_of(frames):
        match event:
            case {"type": "TEXT_MESSAGE_CONTENT", "delta": delta}:
                texts += delta
            case {"type": "REASONING_MESSAGE_CONTENT", "delta": delta}:
                reasoning += delta
            case {"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name}:
                calls[id] = [name, ""]
            case {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta}:
                calls[id][1] += delta
            case _:
                pass
    return {"text": texts, "reasoning": reasoning, "calls": list(calls.values())}


def test_it_keeps_the_rules_of_emitters() -> None:
    check_emitter("ag-ui", validate=valid)
    check_emitter("ag-ui", validate=valid, verdicts=True, include_usage=True)


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_every_recording_is_a_valid_run(name: str) -> None:
    events = answers()[name]
    choice = completion_of(events).choices[0]
    frames = list(sk.Emit("ag-ui").run(events))
    valid(frames)
    assert assembled(frames) == {
        "text": choice.text + (choice.refusal or ""),
        "reasoning": choice.reasoning or "",
        "calls": [[call.name, call.arguments or "{}"] for call in choice.tool_calls],
    }


def test_an_answer_is_a_run_with_messages_and_calls() -> None:
    events = written(
        "ag-ui",
        START,
        sk.TextDelta("Let me look."),
        sk.ToolCallDelta(0, "call_1", "look", "{}"),
        sk.Finish("tool_calls"),
        sk.Usage(10, 2, 12, {}),
        sk.StreamEnd("tool_calls"),
        include_usage=True,
    )
    assert events == [
        {"type": "RUN_STARTED", **RUN},
        {"type": "TEXT_MESSAGE_START", "messageId": "resp-1-0", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "resp-1-0", "delta": "Let me look."},
        {"type": "TEXT_MESSAGE_END", "messageId": "resp-1-0"},
        {"type": "TOOL_CALL_START", "toolCallId": "call_1", "toolCallName": "look", "parentMessageId": "resp-1-0"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "call_1", "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": "call_1"},
        {
            "type": "RUN_FINISHED",
            **RUN,
            "result": {"finishReason": "tool-calls"},
            "usage": [{"model": "m", "inputTokens": 10, "outputTokens": 2, "totalTokens": 12}],
        },
    ]


def test_thread_and_run_ids_are_those_of_the_request() -> None:
    request = {"threadId": "t-1", "runId": "r-1", "messages": []}
    events = written("ag-ui", START, sk.TextDelta("a"), DONE, request=request)
    assert [(event["threadId"], event["runId"]) for event in (events[0], events[-1])] == [("t-1", "r-1")] * 2


def test_reasoning_is_a_message_and_its_signature_is_kept() -> None:
    assert types(
        PartStart("thinking", 0, {"type": "thinking"}, "reasoning"),
        sk.ReasoningDelta("Hm"),
        PartEnd(0, {"signature": "c2ln"}),
        DONE,
    ) == [
        "RUN_STARTED",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_ENCRYPTED_VALUE",
        "REASONING_END",
        "RUN_FINISHED",
    ]


@pytest.mark.parametrize("end", ["unknown", "truncated", "provider_error", "cancelled", "timeout", "limit", "error"])
def test_a_failure_is_an_error_of_the_run(end: Any) -> None:
    last = written("ag-ui", START, sk.TextDelta("a"), sk.StreamEnd(end))[-1]
    assert (last["type"], last["code"]) == ("RUN_ERROR", end)


def test_a_moderated_answer_finishes_and_decisions_are_optional_custom_events() -> None:
    moderated: list[sk.Event] = [sk.TextDelta("a"), sk.Blocked("secret", 1, 2), sk.StreamEnd("moderated")]
    assert written("ag-ui", *moderated)[-1]["result"] == {"finishReason": "content-filter"}
    assert "CUSTOM" not in types(*moderated)
    custom = [event for event in written("ag-ui", *moderated, verdicts=True) if event["type"] == "CUSTOM"]
    assert [(event["name"], event["value"]["decision"], event["value"]["category"]) for event in custom] == [
        ("moderation", "blocked", "secret")
    ]
