"""Ollama's own API: JSON lines, one fixture per rule."""

import json
from typing import Any

import pytest

from streamkit import Finish, ReasoningDelta, StreamEnd, TextDelta, ToolCallDelta, Usage
from streamkit.dialects import for_event
from streamkit.dialects.ollama import Ollama
from streamkit.errors import ProtocolError
from streamkit.events import Logprobs, ProviderNotice, ResponseStart, RoleDelta
from streamkit.sse import ServerSentEvent
from tests.dialects.streams import DATA, ndjson, read

NAMES = ["ollama-chat", "ollama-generate"]
HEAD = {"model": "qwen3", "created_at": "2025-07-01T10:00:00.123456789Z"}
CREATED = 1751364000
END = {**HEAD, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


def streamed(name: str) -> bytes:
    return (DATA / f"{name}.ndjson").read_bytes()


def line(**message: Any) -> dict[str, Any]:
    return {**HEAD, "message": message, "done": False}


def call(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"name": "f", "arguments": arguments, **more}}


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_cut_anywhere_is_truncated(name: str) -> None:
    body, whole = streamed(name), read(streamed(name)).completion
    second = body.index(b"\n") + 1

    # The last line needs no line break.
    for at in range(second, len(body) - 1):
        result = read(body[:at])
        assert result.end == StreamEnd("truncated", open_choices=(0,))
        assert not result.of(Finish)
        assert whole.text.startswith(result.completion.text)
    assert read(body[:-1]).end == read(body).end


def test_a_chat_is_emitted_completely() -> None:
    result = read(streamed("ollama-chat"))
    choice, usage = result.choice, result.completion.usage

    assert result.events[0] == ResponseStart(created=CREATED, model="qwen3")
    assert (choice.role, choice.reasoning, choice.text) == ("assistant", "Need weather.", "잠시만요 🌤")
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [
        (None, "get_weather", '{"city":"서울","days":[1,2]}'),
        ("call_b", "now", "{}"),
    ]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 18, 29)
    assert usage.details["total_duration"] == 174560334
    assert (choice.finish_reason, result.end) == ("stop", StreamEnd("tool_calls", saw_done=True))
    assert not result.of(ProviderNotice)


def test_a_text_cut_at_its_length_limit_ends_as_length() -> None:
    result = read(streamed("ollama-generate"))

    assert (result.completion.text, result.end) == ("The sky is", StreamEnd("length", saw_done=True))


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (line(role="assistant", content="Hi"), [RoleDelta("assistant"), TextDelta("Hi")]),
        (line(content="Hi"), [TextDelta("Hi")]),
        (line(content=""), []),
        (line(thinking="Hm"), [ReasoningDelta("Hm")]),
        (line(content="", reasoning_content="Hm"), [ReasoningDelta("Hm")]),
        ({**HEAD, "response": "Hi", "thinking": "Hm", "done": False}, [ReasoningDelta("Hm"), TextDelta("Hi")]),
        ({**line(content="Hi"), "logprobs": [{"token": "Hi"}]}, [TextDelta("Hi"), Logprobs({"content": [{"token": "Hi"}]})]),
        # Two calls in one line, both with index 0.
        (
            line(tool_calls=[call({"a": 1}, index=0), call({}, index=0)]),
            [ToolCallDelta(0, None, "f", '{"a":1}', type="function"), ToolCallDelta(1, None, "f", "{}", type="function")],
        ),
        (line(tool_calls=[call('{"a": 1}')]), [ToolCallDelta(0, None, "f", '{"a": 1}', type="function")]),
        (line(tool_calls=[call(None)]), [ToolCallDelta(0, None, "f", "{}", type="function")]),
        ({"new": 1}, [ProviderNotice("message", {"new": 1})]),
    ],
)  # fmt: skip
def test_the_events_of_a_line(payload: dict[str, Any], events: list[Any]) -> None:
    first = line(content="")

    assert read(ndjson(first, payload)).without_structure[1:-2] == events


@pytest.mark.parametrize(
    ("more", "reason", "finishes", "open_choices"),
    [
        ({"done_reason": "stop"}, "completed", [Finish("stop")], ()),
        ({"done_reason": "length"}, "length", [Finish("length")], ()),
        ({"done_reason": "load"}, "completed", [Finish("load")], ()),
        ({"done_reason": None}, "completed", [], (0,)),
        ({}, "completed", [], (0,)),
    ],
)
def test_done_is_the_end_with_or_without_a_finish_reason(
    more: Any, reason: Any, finishes: Any, open_choices: Any
) -> None:
    result = read(ndjson({**HEAD, "response": "", "done": True, **more}, line(content="after the end")))

    assert result.of(Finish) == finishes
    assert result.end == StreamEnd(reason, saw_done=True, open_choices=open_choices)
    assert result.completion.text == ""


def test_counts_that_were_not_sent_are_unknown() -> None:
    # A cached prompt is not counted.
    assert read(ndjson({**END, "eval_count": 3})).completion.usage == Usage(None, 3, details={"eval_count": 3})
    assert read(ndjson(END)).completion.usage is None


def test_an_error_in_the_stream_is_raised_after_the_events_before_it() -> None:
    result = read(ndjson(line(content="Hi"), {"error": "an error was encountered while running the model"}))

    assert result.completion.text == "Hi"
    assert result.end.reason == "provider_error"
    assert result.error is not None
    assert result.error.detail == "an error was encountered while running the model"


def test_an_error_instead_of_the_answer_is_an_error() -> None:
    result = read(b'{"error":"model \\"x\\" not found"}')

    assert result.error is not None
    assert result.error.detail == 'model "x" not found'


@pytest.mark.parametrize("rest", [b"<html>oops</html>\n", b'{"model": oops}\n', b'{"model":\n{"x": 1}\n'])
def test_a_line_that_is_not_json_is_not_an_end(rest: bytes) -> None:
    result = read(ndjson(line(content="Hi")) + rest)

    assert isinstance(result.error, ProtocolError)
    assert TextDelta("Hi") in result.events
    assert not result.of(StreamEnd)


@pytest.mark.parametrize("payload", [END, line(content="Hi"), {**HEAD, "response": "", "done": False}])
def test_the_first_line_identifies_the_dialect(payload: dict[str, Any]) -> None:
    assert for_event(ServerSentEvent.of(json.dumps(payload))) is Ollama
