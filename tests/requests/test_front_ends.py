"""Requests of front ends, `useChat` and AG-UI, translated to providers' APIs."""

from typing import Any

import pytest

from streamkit.errors import PipelineError
from streamkit.requests import translate

PICTURE = "data:image/png;base64,iVBORw0KGgo="

CHAT: dict[str, Any] = {
    "id": "chat-1",
    "trigger": "submit-message",
    "messages": [
        {"id": "m0", "role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
        {
            "id": "m1",
            "role": "user",
            "parts": [
                {"type": "text", "text": "The weather there?"},
                {"type": "file", "mediaType": "image/png", "url": PICTURE},
            ],
        },
        {
            "id": "m2",
            "role": "assistant",
            "parts": [
                {"type": "step-start"},
                {"type": "text", "text": "I look.", "state": "done"},
                {
                    "type": "tool-weather",
                    "toolCallId": "call_1",
                    "state": "output-available",
                    "input": {"city": "Köln"},
                    "output": {"degrees": 7},
                },
                {
                    "type": "dynamic-tool",
                    "toolName": "clock",
                    "toolCallId": "call_2",
                    "state": "output-available",
                    "input": {},
                    "output": "noon",
                },
                {"type": "step-start"},
                {"type": "text", "text": "7 degrees."},
            ],
        },
        {"id": "m3", "role": "user", "parts": [{"type": "text", "text": "And tomorrow?"}]},
    ],
}


def test_a_chat_of_use_chat_is_translated_to_chat_completions() -> None:
    body, losses = translate(CHAT, source="ai-sdk", target="openai")

    assert body == {
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "The weather there?"},
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                ],
            },
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Köln"}'},
                    },
                    {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees":7}'},
            {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
            {"role": "assistant", "content": "7 degrees."},
            {"role": "user", "content": "And tomorrow?"},
        ],
    }
    assert losses == []


@pytest.mark.parametrize(
    ("part", "results", "lost"),
    [
        ({"state": "output-error", "errorText": "No net"}, [("No net", True)], []),
        ({"state": "output-error", "errorText": "E", "input": None, "rawInput": "{"}, [("E", True)], []),
        (
            {"state": "output-denied", "approval": {"id": "a", "approved": False, "reason": "Not now"}},
            [("Not now", True)],
            ["approval.id", "approval.approved"],
        ),
        (
            {"state": "approval-responded", "approval": {"id": "a", "approved": False}},
            [("Tool call execution denied.", True)],
            ["approval.id"],
        ),
        ({"state": "input-available"}, [], ["state"]),
        ({"state": "approval-responded", "approval": {"id": "a", "approved": True}}, [], ["state", "approval.id"]),
        ({"state": "output-available", "output": None}, [("null", False)], []),
        ({"state": "output-available", "output": [1, "a"]}, [('[1,"a"]', False)], []),
    ],
)
def test_a_call_of_use_chat_in_any_state(
    part: dict[str, Any], results: list[tuple[str, bool]], lost: list[str]
) -> None:
    call = {"type": "tool-look", "toolCallId": "c", "input": {"a": 1}} | part
    chat = {"messages": [{"role": "assistant", "parts": [call]}, {"role": "user", "parts": []}]}

    body, losses = translate(chat, source="ai-sdk", target="anthropic")

    arguments = {"arguments": '"{"'} if "rawInput" in part else {"a": 1}
    use = {"type": "tool_use", "id": "c", "name": "look", "input": arguments}
    assert body["messages"][0] == {"role": "assistant", "content": [use]}
    found = [
        (result["content"], result.get("is_error", False))
        for message in body["messages"][1:]
        for result in message["content"]
    ]
    assert found == results
    place = "messages[0].parts[0]"
    assert [loss.path for loss in losses if loss.path.startswith(f"{place}.")] == [f"{place}.{name}" for name in lost]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "reasoning", "text": "Hm"}, "reasoning of earlier turns is not sent to another API"),
        ({"type": "source-url", "sourceId": "1", "url": "https://a"}, "shown by the front end, not sent to a model"),
        ({"type": "data-weather", "data": {"a": 1}}, "shown by the front end, not sent to a model"),
        ({"type": "tool-look", "toolCallId": "c", "state": "input-streaming"}, "an incomplete call"),
        (
            {"type": "tool-look", "toolCallId": "c", "state": "output-available", "providerExecuted": True},
            "a call that the provider ran itself",
        ),
        ({"type": "custom", "kind": "openai.compaction"}, "no equivalent in chat completions"),
        ({"type": "file", "mediaType": "video/mp4", "url": "https://a/b.mp4"}, "no equivalent in chat completions"),
        (
            {"type": "file", "mediaType": "image/png", "url": "x", "providerReference": {"openai": "file-1"}},
            "a file id is only valid at its own provider",
        ),
    ],
)
def test_fields_that_a_provider_cannot_express_are_reported(part: dict[str, Any], reason: str) -> None:
    answer = {"role": "assistant", "parts": [{"type": "text", "text": "Yes."}, part]}

    body, losses = translate({"messages": [answer]}, source="ai-sdk", target="openai")

    assert body["messages"] == [{"role": "assistant", "content": "Yes."}]
    assert losses == [("messages[0].parts[1]", reason)]


RUN: dict[str, Any] = {
    "threadId": "t",
    "runId": "r",
    "state": {},
    "context": [],
    "forwardedProps": {},
    "tools": [{"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}],
    "messages": [
        {"id": "1", "role": "developer", "content": "Be brief."},
        {
            "id": "2",
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "url", "value": "https://example.com/a"}},
                {"type": "document", "source": {"type": "data", "value": "JVBERi0=", "mimeType": "application/pdf"}},
                {"type": "binary", "mimeType": "image/png", "data": "iVBORw0KGgo="},
            ],
        },
        {
            "id": "3",
            "role": "assistant",
            "toolCalls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ],
        },
        {"id": "4", "role": "tool", "toolCallId": "c1", "content": "Seen"},
        {"id": "5", "role": "tool", "toolCallId": "c2", "content": "", "error": "Too dark"},
        {"id": "6", "role": "user", "content": "And?"},
    ],
}


def test_a_run_of_ag_ui_is_translated_to_messages() -> None:
    body, losses = translate(RUN, source="ag-ui", target="anthropic", max_tokens=100)

    assert body == {
        "max_tokens": 100,
        "stream": True,
        "system": "Be brief.",
        "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                    },
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
                    {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "Seen"},
                    {"type": "tool_result", "tool_use_id": "c2", "is_error": True, "content": "Too dark"},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
    }
    assert losses == []


def test_a_front_ends_format_is_not_a_target() -> None:
    with pytest.raises(PipelineError) as caught:
        translate({"messages": []}, source="openai", target="ai-sdk")

    assert str(caught.value) == "target: expected one of openai, anthropic, responses, gemini; found 'ai-sdk'"
