"""Fixtures of the tests of the laws: a recorded answer, and a check for leaked resources."""

import gc
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest


def chunk(delta: dict[str, Any] | None, finish: str | None = None, index: int = 0, **more: Any) -> str:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return json.dumps({"id": "chatcmpl-1", "model": "gpt-4o", "choices": choices, **more}, ensure_ascii=False)


CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Say hé"}),
    chunk({"content": "Hello"}),
    chunk({"content": ", 안녕하세요 👋🏽 "}),
    chunk({"content": 'line\u2028separator \\ "quoted"\r\n'}),
    chunk({"content": "the password is hunter2"}),
    chunk({"content": "second answer"}, index=1),
    chunk(
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"é": 1}'}}]}),
    chunk({}, "tool_calls"),
    chunk({}, "stop", index=1),
    chunk(None, usage={"prompt_tokens": 3, "completion_tokens": 14, "total_tokens": 17}),
]


@pytest.fixture(scope="session")
def chat() -> bytes:
    """A chat completion of two choices with a comment, an id, a named event and a retry, ended by `[DONE]`."""
    blocks = [f"data: {chunk}\n\n" for chunk in CHUNKS]
    blocks[1] = f": keep-alive\nid: 7\nretry: 100\ndata:{CHUNKS[1]}\n\n"
    blocks[3] = f"event: message\ndata: {CHUNKS[3]}\n\n"
    return "".join([*blocks, "data: [DONE]\n\n"]).encode()


@pytest.fixture
def nothing_left(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if, after garbage collection, a finalizer raised an exception or an event loop logged an error."""
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    yield
    gc.collect()
    assert [str(unraisable) for unraisable in lost] == []
    assert [record.getMessage() for record in caplog.records] == []
