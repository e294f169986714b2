"""JSON of any depth is read or raises a typed error, never a RecursionError, in every stage and Python version."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sse.json_text import DEEPEST, depth_of, is_too_deep

RULE = sk.Rule("bird", ("blue heron",))
CHUNK = {"id": "a", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
MESSAGE = {"id": "a", "type": "message", "role": "assistant", "content": [], "usage": {}}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def encoded(value: object, depth: int) -> str:
    return json.dumps(value).replace('"DEEP"', "[" * depth + "]" * depth)


def body(kind: str, depth: int) -> bytes:
    events = {
        "chat": [{**CHUNK, "new": "DEEP"}],
        "chat, in a delta": [{**CHUNK, "choices": [{"index": 0, "delta": {"content": "Hi", "new": "DEEP"}}]}],
        "messages": [{"type": "message_start", "message": {**MESSAGE, "new": "DEEP"}}],
        "messages, an unknown event": [{"type": "message_start", "message": MESSAGE}, {"type": "new", "new": "DEEP"}],
        "responses": [{"type": "response.created", "response": {"id": "r", "output": [], "new": "DEEP"}}],
        "gemini": [{"candidates": [{"content": {"parts": [{"text": "Hi", "new": "DEEP"}]}}], "new": "DEEP"}],
        "ollama": [{"model": "m", "message": {"content": "Hi", "new": "DEEP"}, "done": False}],
    }[kind]
    return "".join(f"data: {encoded(event, depth)}\n\n" for event in events).encode()


KINDS = ["chat", "chat, in a delta", "messages", "messages, an unknown event", "responses", "gemini", "ollama"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [DEEPEST + 1, 500, 900, 2000, 5000, 100_000])
def test_json_nested_too_deep_is_a_typed_error(kind: str, depth: int) -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(RULE) | sk.Accumulate()

    with pytest.raises((sk.errors.ProtocolError, sk.errors.UnknownDialect)) as caught:
        list(pipeline.run([body(kind, depth)]))
    assert "[[[[" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("emit", ["openai", "anthropic", "responses", "ai-sdk", "ag-ui"])
def test_json_of_some_depth_is_read_by_all_stages(kind: str, emit: str) -> None:
    read = sk.Parse() | sk.Extract(errors="emit") | sk.Moderate(RULE)

    *_, completion, _ = (read | sk.Accumulate()).run([body(kind, DEEPEST - 10)])
    assert isinstance(completion, sk.Completion)
    assert completion.to_dict()
    assert list((read | sk.Emit(emit)).run([body(kind, DEEPEST - 10)]))


def test_the_message_describes_what_was_found() -> None:
    with pytest.raises(sk.errors.ProtocolError, match="characters nested deeper than 128 levels"):
        list((sk.Parse() | sk.Extract("openai")).run([body("chat", 500)]))


def test_arguments_nested_too_deep_are_sent_back_as_a_string() -> None:
    arguments = "[" * 5000 + "]" * 5000
    delta = sk.ToolCallDelta(0, "call_1", "find", arguments)

    *_, completion, _ = sk.Accumulate().run([delta, sk.Finish("tool_calls"), sk.StreamEnd("tool_calls")])
    assert isinstance(completion, sk.Completion)
    assert completion.message(to="anthropic")["content"][-1]["input"] == {"INVALID_JSON": arguments}


@given(st.integers(1, 2 * DEEPEST), st.text('[]{}"\\a', max_size=300))
def test_depth_counts_brackets_outside_strings(depth: int, text: str) -> None:
    value = json.dumps([text, nested(depth), {text: text}]).encode()

    assert is_too_deep(value) == (depth + 1 > DEEPEST)


@pytest.mark.parametrize(
    ("value", "depth"), [(1, 0), ("[[", 0), ([], 1), ({"a": [1, {"b": 2}]}, 3), (nested(200), DEEPEST + 1)]
)
def test_the_depth_of_a_value_is_counted_up_to_the_limit(value: object, depth: int) -> None:
    assert depth_of(value) == depth


@pytest.mark.parametrize("source", ["openai", "anthropic", "responses"])
@pytest.mark.parametrize("target", ["openai", "anthropic", "responses", "gemini"])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 5000])
def test_a_request_nested_too_deep_is_a_typed_error(source: str, target: str, depth: int) -> None:
    with pytest.raises(sk.errors.ProtocolError, match="nested at most 128 levels deep"):
        sk.requests.translate(
            {"model": "m", "messages": [], "input": "", "new": nested(depth)}, source=source, target=target
        )
