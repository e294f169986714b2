"""Emit: an answer written as the provider would have sent it, and nothing that looks complete and is not."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import streamkit as sk
from streamkit.stages.emit import Emit
from streamkit.wire.encode import Encode
from tests.conftest import SHARED, needs_shared

START = sk.ResponseStart("chatcmpl-1", "chat.completion", 1795466043, "gpt-4o")
DONE = "[DONE]"
READ = sk.Parse() | sk.Extract() | sk.Accumulate()


def emitted(*events: sk.Event, emit: Emit | None = None) -> list[Any]:
    """The data of what is written, decoded where it is JSON."""
    return [item.data if item.data == DONE else json.loads(item.data) for item in (emit or Emit()).run(list(events))]


def choices(*events: sk.Event, emit: Emit | None = None) -> list[Any]:
    """The choices of the chunks, after the one with the role and without the end."""
    chunks = emitted(*events, sk.StreamEnd("completed"), emit=emit)[:-1]
    return [choice for chunk in chunks for choice in chunk["choices"] if "role" not in choice.get("delta", {})]


def test_a_chat_is_written_in_chunks() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = [
        START,
        sk.RoleDelta("assistant"),
        sk.TextDelta('Po"'),
        sk.TextDelta("ng\n"),
        sk.Finish("stop"),
        sk.Usage(3, 2, 5, usage),
        sk.StreamEnd("completed", saw_done=True),
    ]
    head = '{"object":"chat.completion.chunk","id":"chatcmpl-1","created":1795466043,"model":"gpt-4o","choices":['
    assert [item.data for item in Emit().run(events)] == [
        head + '{"index":0,"delta":{"role":"assistant"},"logprobs":null,"finish_reason":null}]}',
        head + r'{"index":0,"delta":{"content":"Po\""},"logprobs":null,"finish_reason":null}]}',
        head + r'{"index":0,"delta":{"content":"ng\n"},"logprobs":null,"finish_reason":null}]}',
        head + '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}',
        head + '],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}',
        "[DONE]",
    ]


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (sk.TextDelta("a"), {"content": "a"}),
        (sk.ReasoningDelta("a"), {"reasoning_content": "a"}),
        (sk.RefusalDelta("a"), {"refusal": "a"}),
        (
            sk.ToolCallDelta(1, "call_1", "f", ""),
            {
                "tool_calls": [
                    {"index": 1, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
                ]
            },
        ),
        (sk.ToolCallDelta(1, arguments="{"), {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}),
        (
            sk.ToolCallDelta(0, "call_1", "f", "", type="custom"),
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "type": "custom", "function": {"name": "f", "arguments": ""}}
                ]
            },
        ),
        (sk.ToolCallDelta(0, None, "f", "{", type="function_call"), {"function_call": {"name": "f", "arguments": "{"}}),
        (sk.AudioDelta("aGk=", id="audio_1"), {"audio": {"id": "audio_1", "data": "aGk="}}),
        (sk.Annotation({"type": "url_citation"}), {"annotations": [{"type": "url_citation"}]}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_each_delta_has_its_place_in_the_chunk(event: sk.Event, delta: dict[str, Any]) -> None:
    assert choices(event) == [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]


def test_log_probabilities_and_finish_reasons_stand_beside_the_delta() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.1}]}
    assert choices(sk.Logprobs(logprobs, 1), sk.Finish("length", 1)) == [
        {"index": 1, "delta": {}, "logprobs": logprobs, "finish_reason": None},
        {"index": 1, "delta": {}, "logprobs": None, "finish_reason": "length"},
    ]


def test_each_choice_begins_with_its_role() -> None:
    written = emitted(
        sk.TextDelta("a"), sk.RoleDelta("critic", 1), sk.TextDelta("b", 1), sk.RoleDelta("assistant"), sk.TextDelta("c")
    )
    deltas = [(choice["index"], choice["delta"]) for chunk in written[:-1] for choice in chunk["choices"]]
    assert deltas == [
        (0, {"role": "assistant"}),
        (0, {"content": "a"}),
        (1, {"role": "critic"}),
        (1, {"content": "b"}),
        (0, {"content": "c"}),
    ]


def test_what_streamkit_adds_is_not_on_the_wire() -> None:
    added: list[sk.Event] = [
        sk.TokenCount(1),
        sk.Flagged("secret", 0, 1),
        sk.Redacted("secret", 0, 1),
        sk.Blocked("secret", 0, 1),
        sk.ProviderNotice("comment", " ping"),
        sk.Timings(0.1, 0.2, (0.2,), 0.3),
        sk.Completion(),
    ]
    assert emitted(*added, sk.StreamEnd("completed")) == [DONE]


def test_who_answers_is_the_same_in_every_chunk() -> None:
    written = emitted(
        START,
        sk.TextDelta("a"),
        sk.ResponseStart("chatcmpl-2", "chat.completion", 9, "gpt-5", "fp_1", "default"),
        sk.TextDelta("b"),
    )
    heads = [{name: value for name, value in chunk.items() if name != "choices"} for chunk in written[:-1]]
    known = {"object": "chat.completion.chunk", "id": "chatcmpl-1", "created": 1795466043, "model": "gpt-4o"}
    assert heads == [known, known, {**known, "service_tier": "default", "system_fingerprint": "fp_1"}]


@pytest.mark.parametrize(
    ("emit", "expected"),
    [
        (Emit(), ("chatcmpl-streamkit", 0, "unknown")),
        (Emit("openai-legacy"), ("cmpl-streamkit", 0, "unknown")),
        (Emit(id="req-7", created=1795466043, model="mine"), ("req-7", 1795466043, "mine")),
    ],
    ids=["chat", "legacy", "chosen"],
)
def test_who_answers_is_said_where_the_provider_did_not(emit: Emit, expected: tuple[str, int, str]) -> None:
    for chunk in emitted(sk.TextDelta("a"), START, sk.TextDelta("b"), emit=emit)[:-1]:
        assert (chunk["id"], chunk["created"], chunk["model"]) == expected


def test_usage_is_written_once_and_last_however_often_it_came() -> None:
    written = emitted(sk.Usage(1, 1, 2, {"total_tokens": 2}), sk.TextDelta("a"), sk.Usage(1, 5), sk.StreamEnd("length"))
    assert [chunk["usage"] for chunk in written[:-1] if "usage" in chunk] == [
        {"prompt_tokens": 1, "completion_tokens": 5}
    ]
    assert written[-2]["choices"] == []
    assert written[-1] == DONE


@pytest.mark.parametrize("reason", ["completed", "length", "content_filter", "tool_calls", "moderated"])
def test_an_answer_that_ended_ends_with_done(reason: Any) -> None:
    assert emitted(sk.TextDelta("a"), sk.StreamEnd(reason))[-1] == DONE


@pytest.mark.parametrize("reason", ["truncated", "provider_error", "cancelled", "timeout", "limit", "error"])
def test_an_answer_that_failed_ends_with_an_error_and_nothing_that_looks_complete(reason: Any) -> None:
    *chunks, last = emitted(sk.TextDelta("a"), sk.StreamEnd(reason))
    assert last["error"].keys() == {"message", "type", "param", "code"}
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", reason)
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])


def test_events_that_stop_without_an_end_are_truncated() -> None:
    assert emitted(sk.TextDelta("a"), sk.Finish("stop"))[-1]["error"]["code"] == "truncated"
    assert emitted()[-1]["error"]["code"] == "truncated"


def test_a_completion_has_text_alone() -> None:
    logprobs = {"tokens": ["a"]}
    events = [
        sk.RoleDelta("assistant"),
        sk.ReasoningDelta("hm"),
        sk.TextDelta("a", 1),
        sk.Logprobs(logprobs),
        sk.Finish("stop"),
    ]
    assert choices(*events, emit=Emit("openai-legacy")) == [
        {"text": "a", "index": 1, "logprobs": None, "finish_reason": None},
        {"text": "", "index": 0, "logprobs": logprobs, "finish_reason": None},
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"},
    ]
    assert emitted(sk.TextDelta("a"), emit=Emit("openai-legacy"))[0]["object"] == "text_completion"


def test_what_came_before_a_value_that_is_no_json_is_written() -> None:
    run = Emit().run([sk.TextDelta("a"), sk.Annotation({"when": object()})])
    assert "role" in next(run).data
    assert json.loads(next(run).data)["choices"][0]["delta"] == {"content": "a"}
    with pytest.raises(TypeError):
        next(run)


def test_an_unknown_dialect_is_refused_by_name() -> None:
    with pytest.raises(sk.PipelineError, match="openai, openai-legacy; found 'anthropic'"):
        Emit("anthropic")  # type: ignore[arg-type]


def test_two_runs_share_nothing() -> None:
    pipeline = sk.Accumulate() | Emit()
    first, second = pipeline.run([START, sk.TextDelta("a")]), pipeline.run([sk.TextDelta("b")])
    assert [json.loads(next(run).data)["id"] for run in (first, second)] == ["chatcmpl-1", "chatcmpl-streamkit"]


def read_again(events: Iterable[sk.Event], emit: Emit) -> sk.Completion:
    body = b"".join((emit | Encode()).run(list(events)))
    (completion,) = (event for event in READ.run([body]) if isinstance(event, sk.Completion))
    return completion


RECORDINGS = [
    path.with_suffix(".sse")
    for path in sorted(SHARED.glob("recordings/*/*.json"))
    if json.loads(path.read_bytes()).get("api") in ("chat.completions", "completions")
]


@needs_shared
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_real_answer_written_again_is_the_same_answer(recording: Path) -> None:
    events = list((sk.Parse() | sk.Extract(errors="emit") | sk.Accumulate()).run([recording.read_bytes()]))
    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    if completion.end not in ("completed", "length", "content_filter", "tool_calls"):
        with pytest.raises(sk.ProviderError):
            read_again(events, Emit())
        return
    again = read_again(events, Emit("openai-legacy" if completion.object == "text_completion" else "openai"))
    assert again.choices == tuple(
        msgspec.structs.replace(choice, role="assistant") if again.object == "chat.completion" else choice
        for choice in completion.choices
    )
    assert (again.usage, again.end) == (completion.usage, completion.end)
    assert (again.id, again.model) == (completion.id or again.id, completion.model or "unknown")


def test_the_id_and_the_name_of_a_call_are_said_once() -> None:
    calls = [
        sk.ToolCallDelta(0, name="f"),
        sk.ToolCallDelta(0, "call_1", "f", "{}", type="function"),
        sk.ToolCallDelta(0, "call_2", "f", "{}"),
    ]
    chunks = [
        json.loads(event.data) for event in Emit().run([*calls, sk.StreamEnd("tool_calls")]) if event.data[0] == "{"
    ]
    deltas = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:]]
    assert deltas == [
        {"index": 0, "function": {"name": "f", "arguments": ""}},
        {"index": 0, "id": "call_1", "type": "function", "function": {"arguments": "{}"}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]
