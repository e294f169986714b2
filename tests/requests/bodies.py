"""A request of each API with every field that is read, and checks of bodies against the official clients' types."""

from collections.abc import Iterator
from typing import Any, cast

from anthropic.types.message_create_params import MessageCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQ="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}

CHAT: dict[str, Any] = {
    "model": "gpt-5",
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": True},
    "max_completion_tokens": 500,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["END", "STOP"],
    "seed": 7,
    "n": 2,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 3,
    "reasoning_effort": "high",
    "verbosity": "low",
    "metadata": {"order": "1"},
    "safety_identifier": "hashed",
    "user": "somebody",
    "service_tier": "flex",
    "store": True,
    "prompt_cache_key": "key",
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "guess"},
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "tools": [
        {
            "type": "function",
            "function": {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True},
        },
        {"type": "custom", "custom": {"name": "run", "description": "Run.", "format": {"type": "text"}}},
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "description": "An answer.", "schema": SCHEMA, "strict": True},
    },
    "messages": [
        {"role": "system", "content": "Be brief.", "name": "rules"},
        {
            "role": "user",
            "name": "somebody",
            "content": [
                {"type": "text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":"b"}'}},
                {"id": "call_2", "type": "custom", "custom": {"name": "run", "input": "print()"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Seen"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "Run"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "developer", "content": "Now in French."},
        {"role": "user", "content": "Again"},
    ],
}
MESSAGES: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 5000,
    "stream": True,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "stop_sequences": ["END", "STOP"],
    "service_tier": "standard_only",
    "metadata": {"user_id": "hashed"},
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    "container": "container_1",
    "system": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ],
    "tools": [
        {"name": "look", "description": "Look.", "input_schema": SCHEMA, "strict": True, "defer_loading": True},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    "title": "a.pdf",
                    "context": "An order.",
                    "citations": {"enabled": True},
                },
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "Plain"},
                    "title": "Note",
                },
                {
                    "type": "search_result",
                    "source": "https://example.com",
                    "title": "Found",
                    "content": [{"type": "text", "text": "It is"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "c2lnbmVk"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": "b"}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"a": "c"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Seen", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [
                        {"type": "text", "text": "A picture"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "text", "text": "Go on"},
            ],
        },
        {"role": "system", "content": "Now in French."},
        {"role": "assistant", "content": "Voil"},
    ],
}
RESPONSES: dict[str, Any] = {
    "model": "gpt-5",
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "instructions": "Be brief.",
    "max_output_tokens": 500,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 3,
    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
    "reasoning": {"effort": "high", "summary": "detailed"},
    "text": {
        "verbosity": "low",
        "format": {
            "type": "json_schema",
            "name": "answer",
            "description": "An answer.",
            "schema": SCHEMA,
            "strict": True,
        },
    },
    "metadata": {"order": "1"},
    "safety_identifier": "hashed",
    "user": "somebody",
    "service_tier": "flex",
    "store": True,
    "prompt_cache_key": "key",
    "parallel_tool_calls": False,
    "previous_response_id": "resp_1",
    "truncation": "auto",
    "max_tool_calls": 3,
    "tools": [
        {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True},
        {"type": "custom", "name": "run", "description": "Run.", "format": {"type": "text"}},
        {"type": "web_search"},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "look"}],
    },
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "high"},
                {"type": "input_image", "file_id": "file-1", "detail": "low"},
                {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
                {"type": "input_file", "file_url": "https://example.com/a.pdf", "filename": "b.pdf"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {
                    "type": "output_text",
                    "text": "I look.",
                    "annotations": [
                        {"type": "url_citation", "url": "https://x", "title": "x", "start_index": 0, "end_index": 1}
                    ],
                }
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"a":"b"}'},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "run", "input": "print()"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Seen"},
        {
            "type": "custom_tool_call_output",
            "call_id": "call_2",
            "output": [
                {"type": "input_text", "text": "A picture"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
            ],
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {
            "type": "message",
            "id": "msg_2",
            "role": "assistant",
            "status": "incomplete",
            "content": [{"type": "refusal", "refusal": "No."}],
        },
        {"role": "developer", "content": "Now in French."},
        {"role": "user", "content": "Again"},
    ],
}
BODIES = {"openai": CHAT, "anthropic": MESSAGES, "responses": RESPONSES}
_TYPES: dict[str, TypeAdapter[Any]] = {
    "openai": TypeAdapter(CompletionCreateParams),
    "anthropic": TypeAdapter(MessageCreateParams),
    "responses": TypeAdapter(ResponseCreateParams),
}
OLDER = {"anthropic": ("temperature", "top_p", "top_k")}
"""Fields that the API accepts but the client's current types lack."""


def check(format: str, body: dict[str, Any]) -> None:
    """Raise unless the official client's types have every field of the body and allow its value."""
    older = OLDER.get(format, ())
    known = {name: value for name, value in body.items() if name not in older}
    assert read_whole(_TYPES[format].validate_python(known)) == known


def read_whole(value: Any) -> Any:
    """Read all iterables, because pydantic checks them only when they are read."""
    if isinstance(value, dict):
        return {name: read_whole(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [read_whole(item) for item in value]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields and items in a body."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from places(item, (*path, name))
