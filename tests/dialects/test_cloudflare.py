"""Cloudflare Workers AI in its own format."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.cloudflare import WorkersAI
from tests.dialects.streams import DATA, read, sse

STREAMED = (DATA / "cloudflare.sse").read_bytes()
DONE = "[DONE]"


def native(name: str, arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def piece(index: int, arguments: str | None, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": id, "type": "function" if id else None, "function": function}


def test_an_answer_is_its_text_and_its_usage() -> None:
    found = read(STREAMED)

    assert found.completion.text == "Grüße 👩‍💻"
    assert found.completion.usage == sk.Usage(
        12, 4, 16, {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
    )
    assert found.end == sk.StreamEnd("completed", saw_done=True, open_choices=(0,))


def test_without_the_marker_it_is_truncated() -> None:
    assert read(STREAMED.replace(b"data: [DONE]\n\n", b"")).end.reason == "truncated"


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "completed"), ("length", "length"), ("tool_calls", "tool_calls")]
)
def test_a_finish_reason_proves_the_end_too(word: str, reason: str) -> None:
    assert read(sse({"response": "Hi"}, {"response": "", "finish_reason": word})).end.reason == reason


@pytest.mark.parametrize(("said", "text"), [("a", "a"), (7, "7"), (1.5, "1.5"), (True, "true"), ("", ""), (None, "")])
def test_a_value_that_is_not_a_string_becomes_json(said: Any, text: str) -> None:
    assert read(sse({"response": said, "p": ""}, DONE)).completion.text == text


@pytest.mark.parametrize(
    ("chunks", "calls"),
    [
        ([[native("f", {"a": 1}), native("g", {})]], [(None, "f", '{"a":1}'), (None, "g", "{}")]),
        ([[native("f", {"a": 1})], [native("f", {"a": 2})]], [(None, "f", '{"a":1}'), (None, "f", '{"a":2}')]),
        ([[native("f", None)]], [(None, "f", "{}")]),
        (
            [
                [piece(0, "", "a", "f")],
                [piece(0, '{"a":')],
                [piece(0, "1}")],
                [piece(0, None)],
                [piece(1, "", "b", "g")],
            ],
            [("a", "f", '{"a":1}'), ("b", "g", "{}")],
        ),
    ],
    ids=["objects", "one in each chunk", "none", "OpenAI's form in pieces"],
)
def test_tool_calls(chunks: list[list[Any]], calls: list[Any]) -> None:
    found = read(sse(*({"response": None, "tool_calls": chunk} for chunk in chunks), DONE))

    assert [(c.id, c.name, c.arguments) for c in found.choice.tool_calls] == calls


BINDING = {
    "response": "Hi",
    "tool_calls": [native("f", {"a": 1}), native("g", {})],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


@pytest.mark.parametrize(
    "answer",
    [
        BINDING,
        {"result": BINDING, "success": True, "errors": [], "messages": []},
        {"response": "Hi"},
        {"response": {"name": "Bob"}},
        {
            "response": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
    ],
    ids=["of a binding", "over REST", "the least", "JSON mode", "a call alone"],
)
def test_a_non_streaming_response_is_restored_exactly(answer: dict[str, Any]) -> None:
    found = read(json.dumps(answer).encode())

    assert found.completion.shape == "cloudflare"
    assert found.completion.to_dict() == answer
    assert found.end.reason != "truncated"


def test_an_error_over_rest() -> None:
    error = {"code": 7009, "message": "a secret prompt"}
    found = read(sse({"response": "Hi"}, {"result": None, "success": False, "errors": [error], "messages": []}))

    assert found.completion.text == "Hi"
    assert isinstance(found.error, sk.ProviderError)
    assert (found.error.code, found.error.detail) == (7009, "a secret prompt")


@pytest.mark.parametrize(
    "data",
    [
        {"type": "response.created", "response": {"id": "r"}},
        {"model": "m", "created_at": "x", "response": "Hi", "done": False},
        {"object": "response", "output": []},
        {"choices": [], "response": "x"},
    ],
    ids=["Responses", "Ollama", "a response", "chat"],
)
def test_it_does_not_claim_the_formats_of_others(data: dict[str, Any]) -> None:
    assert not WorkersAI.recognizes(sk.sse.ServerSentEvent.of(""), data)


def test_the_first_event_identifies_the_dialect() -> None:
    first = next(iter((sk.sse.Lines() | sk.Parse()).run([STREAMED])))

    assert for_event(first) is WorkersAI
