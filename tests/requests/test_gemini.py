"""Gemini's requests as a source."""

from typing import Any

import pytest

from streamkit.errors import ProtocolError
from streamkit.requests import translate
from tests.requests.bodies import PDF, PNG, check

HELLO = {"contents": [{"parts": [{"text": "Hi"}]}]}


def test_a_conversation_with_parallel_calls_to_chat() -> None:
    body, untranslated = translate(
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Weather in Paris and Rome?"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Paris"}}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]},
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "weather", "response": {"output": "sun"}}},
                        {"functionResponse": {"name": "weather", "response": {"degrees": 7, "sky": "rain"}}},
                        {"text": "In one sentence."},
                    ],
                },
            ],
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "weather",
                            "description": "Look.",
                            "parameters": {
                                "type": "OBJECT",
                                "properties": {
                                    "city": {"type": "STRING", "nullable": True},
                                    "days": {"type": "ARRAY", "items": {"type": "INTEGER"}, "maxItems": "3"},
                                },
                                "required": ["city"],
                            },
                        }
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
            "generationConfig": {"maxOutputTokens": 100, "topP": 0.9, "stopSequences": ["END"], "candidateCount": 2},
        },
        source="gemini",
        target="openai",
    )

    assert untranslated == []
    assert body == {
        "max_completion_tokens": 100,
        "top_p": 0.9,
        "stop": ["END"],
        "n": 2,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_gemini_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                    },
                    {
                        "id": "call_gemini_2",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "call_gemini_1", "content": "sun"},
            {"role": "tool", "tool_call_id": "call_gemini_2", "content": '{"degrees":7,"sky":"rain"}'},
            {"role": "user", "content": "In one sentence."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Look.",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "city": {"type": ["string", "null"]},
                            "days": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
                        },
                        "required": ["city"],
                    },
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    check("openai", {"model": "m", **body})


def test_media_and_failed_results_to_messages() -> None:
    parts = [
        {"text": "Look"},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "a.pdf"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "SUQz"}},
    ]
    picture = [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
    contents = [
        {"role": "user", "parts": parts},
        {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "f"}, "thoughtSignature": "c2ln"}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"error": "No."}, "parts": picture}}],
        },
    ]

    body, untranslated = translate({"contents": contents}, source="gemini", target="anthropic")

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                image,
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    "title": "a.pdf",
                },
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "is_error": True,
                    "content": [{"type": "text", "text": "No."}, image],
                }
            ],
        },
    ]
    assert [loss.path for loss in untranslated] == [
        "contents[0].parts[4]",
        "contents[1].parts[0].thoughtSignature",
        "contents[0].parts[5]",
    ]


@pytest.mark.parametrize(
    ("fields", "target", "expected", "lost"),
    [
        # Reasoning
        ({"thinkingConfig": {"thinkingBudget": 0}}, "openai", {"reasoning_effort": "none"}, []),
        ({"thinkingConfig": {"thinkingBudget": -1}}, "openai", {}, []),
        (
            {"thinkingConfig": {"thinkingBudget": -1}},
            "anthropic",
            {"max_tokens": 8192, "thinking": {"type": "adaptive"}},
            [],
        ),
        ({"thinkingConfig": {"thinkingLevel": "LOW"}}, "openai", {"reasoning_effort": "low"}, []),
        (
            {"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}},
            "anthropic",
            {"max_tokens": 10192, "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"}},
            [],
        ),
        (
            {"thinkingConfig": {"thinkingBudget": 100}},
            "anthropic",
            {"max_tokens": 9216, "thinking": {"type": "enabled", "budget_tokens": 1024}},
            ["thinkingConfig.thinkingBudget"],
        ),
        (
            {"maxOutputTokens": 2000, "thinkingConfig": {"thinkingBudget": 2000}},
            "anthropic",
            {"max_tokens": 2000, "thinking": {"type": "adaptive"}},
            ["thinkingConfig.thinkingBudget"],
        ),
        # Structured output
        ({"responseMimeType": "application/json"}, "openai", {"response_format": {"type": "json_object"}}, []),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "STRING", "enum": ["a", "b"]}},
            "anthropic",
            {
                "max_tokens": 8192,
                "output_config": {"format": {"type": "json_schema", "schema": {"type": "string", "enum": ["a", "b"]}}},
            },
            [],
        ),
        ({"responseMimeType": "text/x.enum"}, "openai", {}, ["responseMimeType"]),
        (
            {"responseModalities": ["TEXT", "IMAGE"], "mediaResolution": "LOW"},
            "openai",
            {},
            ["responseModalities", "mediaResolution"],
        ),
    ],
)
def test_options(fields: dict[str, Any], target: str, expected: dict[str, Any], lost: list[str]) -> None:
    body, untranslated = translate({**HELLO, "generationConfig": fields}, source="gemini", target=target)

    assert {name: value for name, value in body.items() if name != "messages"} == expected
    assert [loss.path for loss in untranslated] == [f"generationConfig.{path}" for path in lost]


def test_names_in_snake_case_are_read_and_reported_as_written() -> None:
    body, untranslated = translate(
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}]}],
            "generation_config": {"max_output_tokens": 5, "top_k": 40},
            "safety_settings": [{"category": "HARM_CATEGORY_HATE_SPEECH"}],
        },
        source="gemini",
        target="openai",
    )

    assert body == {
        "max_completion_tokens": 5,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
            },
        ],
    }
    assert [loss.path for loss in untranslated] == ["safety_settings", "generation_config.top_k"]


def test_tools_of_googles_own_and_the_modes_of_choice() -> None:
    tools = [{"googleSearch": {"a": 1}, "functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    chosen = {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["g"]}}

    body, untranslated = translate({**HELLO, "tools": tools, "toolConfig": chosen}, source="gemini", target="openai")

    assert [tool["function"]["name"] for tool in body["tools"]] == ["f", "g"]
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}
    assert body["tool_choice"] == {"type": "allowed_tools", "allowed_tools": allowed}
    assert [loss.path for loss in untranslated] == ["tools[0].googleSearch", "toolConfig.functionCallingConfig.mode"]


@pytest.mark.parametrize("target", ["openai", "anthropic", "responses"])
def test_a_request_translated_from_another_format_is_restored(target: str) -> None:
    chat = {
        "max_completion_tokens": 100,
        "stop": ["END"],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"b":1}'}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "sun"},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    }
    gemini, lost = translate(chat, source="openai", target="gemini")

    assert lost == []
    expected = chat if target == "openai" else translate(chat, source="openai", target=target).body
    assert translate(gemini, source="gemini", target=target).body == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"contents": {"parts": []}}, "contents: expected an array, found object"),
        (
            {"contents": [{"role": "tool", "parts": []}]},
            r"contents\[0\].role: expected user or model, found something else",
        ),
        (
            {"contents": [{"parts": [{"functionCall": {}}]}]},
            r"contents\[0\].parts\[0\].functionCall.name: expected a string",
        ),
        ({"contents": [{"parts": [{"inlineData": {}}]}]}, r"parts\[0\].inlineData: expected data or fileUri"),
        (
            {"contents": [], "generation_config": {"top_p": "x"}},
            "generation_config.top_p: expected a number, found string",
        ),
        (
            {"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "x"}}},
            "functionCallingConfig.mode: expected AUTO, ANY",
        ),
    ],
)
def test_an_invalid_request_raises_with_the_path(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        translate(body, source="gemini", target="openai")
