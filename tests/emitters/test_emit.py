"""Emit writes an answer as the client's own provider would, and never makes an incomplete answer look complete."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

import streamkit as sk
from streamkit.emitters.emit import Emit
from streamkit.sse.encode import Encode
from tests.conftest import SHARED, needs_shared

START = sk.events.ResponseStart("chatcmpl-1", "chat.completion", 1795466043, "gpt-4o")
DONE = "[DONE]"
DATA = Path(__file__).parents[1] / "data"
READ = sk.Parse() | sk.Extract() | sk.Accumulate()


def emitted(*events: sk.Event, emit: Emit | None = None) -> list[Any]:
    """The data of the frames, decoded if it is JSON."""
    return [item.data if item.data == DONE else json.loads(item.data) for item in (emit or Emit()).run(list(events))]


def choices(*events: sk.Event, emit: Emit | None = None) -> list[Any]:
    """The choices of the chunks, without the chunk with the role."""
    written = [event for event in (emit or Emit()).run(list(events)) if event.data.startswith('{"object"')]
    chunks = [json.loads(event.data) for event in written]
    return [choice for chunk in chunks for choice in chunk["choices"] if "role" not in choice.get("delta", {})]


def calls_of(*events: sk.Event) -> list[Any]:
    """The pieces of calls written for an answer that ends with these events."""
    written = choices(*events, sk.Finish("stop"), sk.StreamEnd("completed"))
    return [call for choice in written for call in choice["delta"].get("tool_calls", ())]


def annotations_of(*events: sk.Event) -> list[Any]:
    """The annotations written for an answer that ends with these events."""
    written = choices(*events, sk.Finish("stop"), sk.StreamEnd("completed"))
    return [found for choice in written for found in choice["delta"].get("annotations", ())]


def figures(completion: sk.Completion) -> list[int | None]:
    usage = completion.usage or sk.Usage()
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def test_a_chat_is_written_in_chunks() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = [
        START,
        sk.events.RoleDelta("assistant"),
        sk.TextDelta('Po"'),
        sk.TextDelta("ng\n"),
        sk.Finish("stop"),
        sk.Usage(3, 2, 5, usage),
        sk.StreamEnd("completed", saw_done=True),
    ]
    head = '{"object":"chat.completion.chunk","id":"chatcmpl-1","created":1795466043,"model":"gpt-4o","choices":['
    assert [item.data for item in Emit(include_usage=True).run(events)] == [
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
            sk.ToolCallDelta(0, "call_1", "f", "{"),
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{"}}
                ]
            },
        ),
        (
            sk.ToolCallDelta(0, "call_1", "f", "x = 1", type="custom"),
            {"tool_calls": [{"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "f", "input": "x = 1"}}]},
        ),
        (sk.ToolCallDelta(0, None, "f", "{", type="function_call"), {"function_call": {"name": "f", "arguments": "{"}}),
        (sk.events.AudioDelta("aGk=", id="audio_1"), {"audio": {"id": "audio_1", "data": "aGk="}}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_each_delta_has_its_field_in_the_chunk(event: sk.Event, delta: dict[str, Any]) -> None:
    assert choices(event) == [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]


def test_log_probabilities_and_finish_reasons_are_next_to_the_delta() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.1}]}
    assert choices(sk.events.Logprobs(logprobs, 1), sk.Finish("length", 1)) == [
        {"index": 1, "delta": {}, "logprobs": logprobs, "finish_reason": None},
        {"index": 1, "delta": {}, "logprobs": None, "finish_reason": "length"},
    ]


def test_each_choice_begins_with_its_role() -> None:
    written = emitted(
        sk.TextDelta("a"),
        sk.events.RoleDelta("critic", 1),
        sk.TextDelta("b", 1),
        sk.events.RoleDelta("tool"),
        sk.TextDelta("c"),
    )
    deltas = [(choice["index"], choice["delta"]) for chunk in written[:-1] for choice in chunk["choices"]]
    assert deltas == [
        (0, {"role": "assistant"}),
        (0, {"content": "a"}),
        (1, {"role": "critic"}),
        (1, {"content": "b"}),
        (0, {"content": "c"}),
    ]


def test_additions_of_streamkit_are_not_written() -> None:
    added: list[sk.Event] = [
        sk.TokenCount(1),
        sk.events.Flagged("secret", 0, 1),
        sk.Redacted("secret", 0, 1),
        sk.Blocked("secret", 0, 1),
        sk.events.ProviderNotice("comment", " ping"),
        sk.Timings(0.1, 0.2, (0.2,), 0.3),
        sk.Completion(),
    ]
    assert emitted(sk.Finish("stop"), *added, sk.StreamEnd("completed")) == emitted(
        sk.Finish("stop"), sk.StreamEnd("completed")
    )


def test_the_identity_is_the_same_in_every_chunk() -> None:
    written = emitted(
        START,
        sk.TextDelta("a"),
        sk.events.ResponseStart("chatcmpl-2", "chat.completion", 9, "gpt-5", "fp_1", "default"),
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
def test_the_identity_has_defaults_if_the_provider_sent_none(emit: Emit, expected: tuple[str, int, str]) -> None:
    for chunk in emitted(sk.TextDelta("a"), START, sk.TextDelta("b"), emit=emit)[:-1]:
        assert (chunk["id"], chunk["created"], chunk["model"]) == expected


@pytest.mark.parametrize(("created", "written"), [(1795466043.9, 1795466043), (float("inf"), 0), (float("nan"), 0)])
def test_the_time_is_in_whole_seconds(created: float, written: int) -> None:
    assert emitted(sk.events.ResponseStart(created=created), sk.TextDelta("a"))[0]["created"] == written


def test_usage_is_written_once_and_last_however_often_it_was_received() -> None:
    written = emitted(
        sk.Usage(1, 1, 2, {"total_tokens": 2}),
        sk.TextDelta("a"),
        sk.Usage(1, 5),
        sk.StreamEnd("length"),
        emit=Emit(include_usage=True),
    )
    assert [chunk["usage"] for chunk in written[:-1] if "usage" in chunk] == [
        {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    ]
    assert written[-2]["choices"] == []
    assert written[-1] == DONE


def test_usage_is_not_written_for_a_client_that_did_not_request_it() -> None:
    assert all(chunk["choices"] for chunk in emitted(sk.TextDelta("a"), sk.Usage(1, 5), sk.StreamEnd("length"))[:-1])


# The end


@pytest.mark.parametrize("reason", ["completed", "length", "content_filter", "tool_calls", "moderated"])
def test_an_answer_that_ended_ends_with_done(reason: Any) -> None:
    assert emitted(sk.TextDelta("a"), sk.StreamEnd(reason))[-1] == DONE


@pytest.mark.parametrize("reason", ["unknown", "truncated", "provider_error", "cancelled", "timeout", "limit", "error"])
def test_an_answer_that_failed_ends_with_an_error_and_nothing_that_looks_complete(reason: Any) -> None:
    *chunks, last = emitted(sk.TextDelta("a"), sk.StreamEnd(reason))
    assert last["error"].keys() == {"message", "type", "param", "code"}
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", reason)
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])


def test_events_that_stop_without_an_end_are_truncated() -> None:
    assert emitted(sk.TextDelta("a"), sk.Finish("stop"))[-1]["error"]["code"] == "truncated"
    assert emitted()[-1]["error"]["code"] == "truncated"


def test_a_completion_has_only_text() -> None:
    logprobs = {"tokens": ["a"]}
    events = [
        sk.events.RoleDelta("assistant"),
        sk.ReasoningDelta("hm"),
        sk.TextDelta("a", 1),
        sk.events.Logprobs(logprobs),
        sk.Finish("stop"),
    ]
    assert choices(*events, emit=Emit("openai-legacy")) == [
        {"text": "a", "index": 1, "logprobs": None, "finish_reason": None},
        {"text": "", "index": 0, "logprobs": logprobs, "finish_reason": None},
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"},
    ]
    assert choices(sk.ToolCallDelta(0, "call_1", "f", "{}"), sk.Finish("tool_use"), emit=Emit("openai-legacy")) == [
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert emitted(sk.TextDelta("a"), emit=Emit("openai-legacy"))[0]["object"] == "text_completion"


def test_events_before_a_value_that_is_not_json_are_written() -> None:
    run = Emit().run([sk.TextDelta("a"), sk.events.Logprobs({"content": [object()]})])
    assert "role" in next(run).data
    assert json.loads(next(run).data)["choices"][0]["delta"] == {"content": "a"}
    with pytest.raises(TypeError):
        next(run)


def test_an_unknown_dialect_is_rejected_by_name() -> None:
    with pytest.raises(sk.PipelineError, match=r"openai, openai-legacy, .*; found 'morse'"):
        Emit("morse")


def test_two_runs_share_nothing() -> None:
    pipeline = sk.Accumulate() | Emit()
    first, second = pipeline.run([START, sk.TextDelta("a")]), pipeline.run([sk.TextDelta("b")])
    assert [json.loads(next(run).data)["id"] for run in (first, second)] == ["chatcmpl-1", "chatcmpl-streamkit"]


# Finish reasons


@pytest.mark.parametrize(
    ("end", "finish"),
    [
        ("completed", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("content_filter", "content_filter"),
        ("moderated", "content_filter"),
    ],
)
@pytest.mark.parametrize("before", [[], [sk.TextDelta("a")], [sk.TextDelta("a"), sk.Finish("ended")]])
@pytest.mark.parametrize("emit", [Emit(), Emit("openai-legacy")], ids=["chat", "legacy"])
def test_a_successful_answer_with_an_unknown_finish_reason_gets_the_one_of_its_end(
    end: Any, finish: str, before: list[sk.Event], emit: Emit
) -> None:
    found = [choice["finish_reason"] for choice in choices(*before, sk.StreamEnd(end), emit=emit)]
    assert found[-1] == finish
    assert not any(found[:-1])


@pytest.mark.parametrize("end", ["truncated", "provider_error", "error"])
def test_an_unknown_finish_reason_of_a_failed_answer_is_not_written(end: Any) -> None:
    *chunks, last = emitted(sk.TextDelta("a"), sk.Finish("abort"), sk.StreamEnd(end))
    assert last["error"]["code"] == end
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])


def test_an_unknown_end_is_not_a_success() -> None:
    *_, last = emitted(sk.TextDelta("a"), sk.Finish("abort"), sk.StreamEnd("unheard of"))  # type: ignore[arg-type]
    assert last["error"]["code"] == "unheard of"


@pytest.mark.parametrize(
    ("word", "finish"),
    [("STOP", "tool_calls"), ("completed", "tool_calls"), ("tool_use", "tool_calls"), ("max_tokens", "length")],
)
def test_a_choice_with_tool_calls_ends_as_tool_calls_unless_it_was_cut(word: str, finish: str) -> None:
    written = choices(sk.ToolCallDelta(0, "call_1", "f", "{}"), sk.Finish(word), sk.StreamEnd("completed"))
    assert [choice["finish_reason"] for choice in written] == [None, finish]


def test_a_choice_whose_calls_were_withheld_does_not_end_as_tool_calls() -> None:
    written = choices(sk.TextDelta("a"), sk.Finish("tool_calls"), sk.StreamEnd("tool_calls"))
    assert written[-1]["finish_reason"] == "stop"


def test_a_choice_with_a_legacy_function_call_ends_as_function_call() -> None:
    call = sk.ToolCallDelta(0, None, "f", "{}", type="function_call")
    assert choices(call, sk.Finish("stop"))[-1]["finish_reason"] == "function_call"


def test_each_of_several_choices_has_its_own_finish() -> None:
    written = choices(sk.TextDelta("a"), sk.TextDelta("b", 1), sk.Finish("length"), sk.StreamEnd("length"))
    assert [(choice["index"], choice["finish_reason"]) for choice in written if choice["finish_reason"]] == [
        (0, "length"),
        (1, "stop"),
    ]


def test_a_repeated_finish_is_written_once() -> None:
    written = choices(sk.TextDelta("a"), sk.Finish("STOP"), sk.Finish("stop"), sk.StreamEnd("completed"))
    assert [choice["finish_reason"] for choice in written] == [None, "stop"]


def test_choices_are_introduced_in_order_for_clients_that_store_a_list() -> None:
    written = emitted(sk.TextDelta("a", 2), sk.TextDelta("b", 0))[:-1]
    assert [(choice["index"], choice["delta"]) for chunk in written for choice in chunk["choices"]] == [
        (0, {"role": "assistant"}),
        (1, {"role": "assistant"}),
        (2, {"role": "assistant"}),
        (2, {"content": "a"}),
        (0, {"content": "b"}),
    ]


def test_an_impossible_index_introduces_no_more_choices_than_a_request_can_have() -> None:
    assert len(emitted(sk.TextDelta("a", 2**40))) == 128 + 3


def test_a_restart_after_text_was_written_ends_with_an_error() -> None:
    written = emitted(sk.TextDelta("a"), sk.events.Reset("again"), sk.TextDelta("b"), sk.StreamEnd("completed"))
    assert written[-1]["error"]["code"] == "reset"
    assert '"b"' not in json.dumps(written)


def test_a_restart_before_text_was_written_writes_the_new_answer() -> None:
    written = choices(
        sk.events.RoleDelta("assistant"), sk.events.Reset("again"), sk.TextDelta("b"), sk.StreamEnd("completed")
    )
    assert [(choice["delta"], choice["finish_reason"]) for choice in written] == [
        ({"content": "b"}, None),
        ({}, "stop"),
    ]


def test_nothing_is_written_after_the_end() -> None:
    assert emitted(sk.StreamEnd("completed"), sk.TextDelta("a"), sk.StreamEnd("cancelled"))[-1] == DONE


# Tool calls


def test_the_id_and_the_name_of_a_call_are_written_once() -> None:
    deltas = calls_of(
        sk.ToolCallDelta(0, name="f"),
        sk.ToolCallDelta(0, "call_1", "f", "{", type="function"),
        sk.ToolCallDelta(0, "call_2", "f", "}"),
        sk.ToolCallDelta(0, "call_2", "f", ""),
    )
    assert deltas == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
    ]


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_name_in_pieces_is_written_as_a_whole(cut: int) -> None:
    """OpenAI's Python client concatenates the names in a call's chunks; the JavaScript client keeps the last one."""
    name = "edit_file"
    first = calls_of(
        sk.ToolCallDelta(0, "call_1", name[:cut], type="function"),
        sk.ToolCallDelta(0, name=name[cut:]),
        sk.ToolCallDelta(0, arguments="{}"),
    )
    assert first == [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}]


@pytest.mark.parametrize("name", ["openai", "anthropic", "responses", "ai-sdk", "ag-ui"])
def test_a_call_has_the_same_id_every_time_it_is_written(name: str) -> None:
    start, other = (sk.events.ResponseStart(id, model="gemini") for id in ("r-1", "r-2"))
    rest: list[sk.Event] = [sk.ToolCallDelta(0, None, "f", "{}"), sk.Finish("STOP"), sk.StreamEnd("completed")]

    def ids(first: sk.Event, created: int) -> set[str]:
        written = Emit(name, created=created).run([first, *rest])
        return set(re.findall(r"call_[0-9a-f]{24}", "".join(event.data for event in written)))

    assert len(ids(start, 1)) == 1
    assert ids(start, 1) == ids(start, 2) != ids(other, 1)


def test_a_call_without_an_id_gets_a_unique_one() -> None:
    first, again = (
        calls_of(
            START,
            sk.ToolCallDelta(0, None, "f", "{}"),
            sk.ToolCallDelta(1, None, "f", "{}"),
            sk.ToolCallDelta(0, None, "f", "", 1),
        )
        for _ in range(2)
    )
    other = calls_of(sk.events.ResponseStart("chatcmpl-2", model="gpt-4o"), sk.ToolCallDelta(0, None, "f", "{}"))
    assert first == again
    ids = [call["id"] for call in first + other if "id" in call]
    assert all(re.fullmatch("call_[0-9a-f]{24}", id) for id in ids)
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ([sk.ToolCallDelta(0, "call_1", "f", "")], ["{}"]),
        ([sk.ToolCallDelta(0, None, "f", "")], ["{}"]),
        ([sk.ToolCallDelta(0, "call_1", "f", " ")], [" ", "{}"]),
        ([sk.ToolCallDelta(0, "call_1", "f", ""), sk.ToolCallDelta(0, arguments='{"a":')], ['{"a":']),
        ([sk.ToolCallDelta(0, "call_1", None, "{"), sk.ToolCallDelta(0, None, "f", "}")], ["{}"]),
        ([sk.ToolCallDelta(0, None, "f", "{"), sk.ToolCallDelta(0, "call_1", None, "}")], ["{", "}"]),
        ([sk.ToolCallDelta(0, "call_1", None, "{}")], ["{}"]),
    ],
    ids=["none", "none, and no id", "blank", "cut", "a late name", "a late id", "no name"],
)
def test_the_first_piece_of_a_call_has_its_id_its_type_and_its_name(
    pieces: list[sk.Event], arguments: list[str]
) -> None:
    deltas = calls_of(*pieces)
    assert (deltas[0]["type"], deltas[0]["id"][:5]) == ("function", "call_")
    assert isinstance(deltas[0]["function"]["name"], str)
    assert [delta["function"]["arguments"] for delta in deltas] == arguments
    assert not any(name in delta for delta in deltas[1:] for name in ("id", "type"))


def test_the_arguments_of_a_cut_call_are_not_completed() -> None:
    *chunks, _ = emitted(sk.ToolCallDelta(0, None, "f"), sk.StreamEnd("truncated"))
    assert chunks[-1]["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}


@pytest.mark.parametrize("end", ["length", "content_filter"])
def test_the_arguments_of_a_call_in_a_cut_choice_are_not_completed(end: Any) -> None:
    for events in ([sk.Finish(end), sk.StreamEnd(end)], [sk.StreamEnd(end)]):
        first, last = choices(sk.ToolCallDelta(0, None, "f"), *events)
        assert first["delta"]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}
        assert last["finish_reason"] == end


def test_the_input_of_a_custom_tool_may_be_empty() -> None:
    assert [call["custom"] for call in calls_of(sk.ToolCallDelta(0, "call_1", "f", "", type="custom"))] == [
        {"name": "f", "input": ""}
    ]


def test_calls_are_numbered_in_the_order_in_which_they_are_written() -> None:
    deltas = calls_of(
        sk.ToolCallDelta(3, "call_1", "f", "{"),
        sk.ToolCallDelta(7, None, "g"),
        sk.ToolCallDelta(5, "call_3", "h", "{}"),
        sk.ToolCallDelta(3, arguments="}"),
    )
    assert [(call["index"], call["function"].get("name"), call["function"]["arguments"]) for call in deltas] == [
        (0, "f", "{"),
        (1, "g", ""),
        (2, "h", "{}"),
        (0, None, "}"),
        (1, None, "{}"),
    ]


@pytest.mark.parametrize("kind", [None, "function", "function_call", "custom"])
def test_a_call_without_id_name_and_arguments_is_not_written(kind: str | None) -> None:
    assert choices(sk.TextDelta("a"), sk.ToolCallDelta(0, type=kind), sk.Finish("stop"), sk.StreamEnd("completed")) == [
        {"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"},
    ]


# Citations


def cited(start: int, end: int, title: str = "T", url: str = "https://a.b/c", index: int = 0) -> dict[str, Any]:
    place = {"start_index": start, "end_index": end, "title": title, "url": url}
    return {"type": "url_citation", "url_citation": place, "index": index}


GROUNDING = {
    "groundingChunks": [{"web": {"uri": "https://a.b/c", "title": "T"}}, {"web": {"uri": "https://d.e", "title": "U"}}],
    "groundingSupports": [
        {"segment": {"endIndex": 7, "text": "Zürich"}, "groundingChunkIndices": [0, 1]},
        {"segment": {"startIndex": 8, "endIndex": 11, "text": "it."}, "groundingChunkIndices": [1, 9]},
    ],
}
CITATIONS: dict[str, tuple[list[sk.Event], list[Any]]] = {
    "OpenAI chat": ([sk.events.Annotation({k: v for k, v in cited(0, 6).items() if k != "index"})], [cited(0, 6)]),
    "OpenAI chat, incomplete": ([sk.events.Annotation({"url_citation": {"url": "https://a.b/c"}})], [cited(0, 10, "")]),
    "OpenAI Responses": (
        [
            sk.events.Annotation(
                {"type": "url_citation", "start_index": 1, "end_index": 6, "title": "T", "url": "https://a.b/c"}
            )
        ],
        [cited(1, 6)],
    ),
    "OpenAI Responses, a file": (
        [sk.events.Annotation({"type": "file_citation", "file_id": "f", "index": 3, "filename": "a.txt"})],
        [],
    ),
    "OpenAI Assistants, a file": (
        [
            sk.events.Annotation(
                {"type": "file_citation", "text": "[0]", "file_citation": {"file_id": "f", "quote": "Zürich"}}
            )
        ],
        [],
    ),
    "Anthropic": (
        [
            sk.events.PartStart("text", 1, channel="content"),
            sk.TextDelta("Cited."),
            sk.events.Annotation(
                {"type": "web_search_result_location", "url": "https://a.b/c", "title": "T", "cited_text": "a quote"},
                part=1,
            ),
            sk.events.PartEnd(1),
            sk.events.PartStart("text", 2, channel="content"),
            sk.TextDelta(" No."),
        ],
        [cited(10, 16)],
    ),
    "Anthropic, a search result": (
        [
            sk.events.Annotation(
                {"type": "search_result_location", "source": "https://a.b/c", "title": "T", "cited_text": "a quote"}
            )
        ],
        [cited(0, 10)],
    ),
    "Anthropic, a document": (
        [sk.events.Annotation({"type": "char_location", "document_index": 0, "cited_text": "a quote"})],
        [],
    ),
    "Gemini": (
        [sk.events.Annotation({"startIndex": 1, "endIndex": 7, "uri": "https://a.b/c", "license": ""})],
        [cited(1, 6, "")],
    ),
    "Gemini, grounding": (
        [sk.events.Annotation(GROUNDING)],
        [cited(0, 6), cited(0, 6, "U", "https://d.e", 1), cited(7, 10, "U", "https://d.e", 2)],
    ),
    "Gemini, grounding without supports": (
        [sk.events.Annotation({"groundingChunks": GROUNDING["groundingChunks"]})],
        [cited(0, 10), cited(0, 10, "U", "https://d.e", 1)],
    ),
    "Interactions, in bytes of its part": (
        [
            sk.events.ResponseDetails(shape="interactions"),
            sk.events.PartStart("text", 1, channel="content"),
            sk.TextDelta("é, Zürich"),
            sk.events.Annotation(
                {"type": "url_citation", "start_index": 4, "end_index": 11, "title": "T", "url": "https://a.b/c"},
                part=1,
            ),
            sk.events.PartEnd(1),
        ],
        [cited(13, 19)],
    ),
    "Cohere": (
        [
            sk.events.Annotation(
                {
                    "start": 0,
                    "end": 6,
                    "text": "Zürich",
                    "sources": [
                        {"type": "document", "document": {"url": "https://a.b/c", "title": "T", "snippet": "a quote"}},
                        {"type": "tool", "tool_output": {"n": 1}},
                    ],
                }
            )
        ],
        [cited(0, 6)],
    ),
    "the same twice": (
        2 * [sk.events.Annotation({"type": "url_citation", "url": "https://a.b/c", "title": "T"})],
        [cited(0, 10)],
    ),
    "nothing that is known": (
        [sk.events.Annotation({"type": "moon", "sources": 7, "groundingChunks": None, "url": 3})],
        [],
    ),
}


@pytest.mark.parametrize("name", CITATIONS)
def test_a_citation_of_any_provider_is_converted_to_chat(name: str) -> None:
    events, found = CITATIONS[name]
    before: list[sk.Event] = [sk.events.ResponseDetails(shape="gemini"), sk.TextDelta("Zürich"), sk.TextDelta(" it.")]
    assert annotations_of(*before, *events) == found
    assert "a quote" not in json.dumps(found)


@pytest.mark.parametrize("name", CITATIONS)
def test_a_non_streaming_answer_has_the_same_citations(name: str) -> None:
    events, found = CITATIONS[name]
    before: list[sk.Event] = [
        sk.events.PartStart("text", channel="content"),
        sk.TextDelta("Zürich it."),
        sk.events.PartEnd(),
    ]
    (completion,) = (
        event
        for event in sk.Accumulate().run([*before, *events, sk.Finish("stop"), sk.StreamEnd("completed")])
        if isinstance(event, sk.Completion)
    )
    message = completion.to_openai()["choices"][0]["message"]
    assert message["annotations"] == [{name: value for name, value in one.items() if name != "index"} for one in found]


def test_citations_precede_the_finish() -> None:
    written = choices(
        sk.events.Annotation({"url": "https://a.b/c"}), sk.TextDelta("a"), sk.Finish("stop"), sk.StreamEnd("completed")
    )
    assert [next(iter(choice["delta"]), choice["finish_reason"]) for choice in written] == [
        "content",
        "annotations",
        "stop",
    ]


def secret(action: Any) -> sk.Rule:
    return sk.Rule("secret", phrases=("blue heron",), action=action)


QUOTE = sk.events.Annotation({"type": "url_citation", "url": "https://a.b/blue heron", "title": "A blue heron"})


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("action", ["redact", "replace", "block", "stop"])
def test_no_citation_quotes_what_moderation_withheld(action: Any, at: int) -> None:
    events: list[sk.Event] = [
        sk.TextDelta("a blue he"),
        sk.TextDelta("ron. And"),
        sk.TextDelta(" more"),
        sk.Finish("stop"),
    ]
    events.insert(at, QUOTE)
    written = [event.data for event in (sk.Moderate(secret(action)) | Emit()).run([*events, sk.StreamEnd("completed")])]
    assert written[-1] == DONE
    assert "heron" not in "".join(written)


def test_a_citation_is_kept_if_moderation_only_observes_or_finds_nothing() -> None:
    events = [sk.TextDelta("a blue heron"), QUOTE, sk.Finish("stop"), sk.StreamEnd("completed")]
    for moderate in (sk.Moderate(secret("redact"), mode="observe"), sk.Moderate(secret("annotate"))):
        assert any("A blue heron" in event.data for event in (moderate | Emit()).run(events))


def test_citations_of_a_cut_answer_are_not_written() -> None:
    # Its text may be buffered by moderation that never decided.
    assert "heron" not in json.dumps(emitted(sk.TextDelta("a "), QUOTE, sk.StreamEnd("truncated")))


# Splits and size


DELTAS = st.sampled_from(
    [
        sk.TextDelta("a"),
        sk.TextDelta("b", 1),
        sk.ToolCallDelta(0, None, "f"),
        sk.ToolCallDelta(0, "call_1", None, "{}"),
        sk.ToolCallDelta(1, None, None, "{"),
        sk.ToolCallDelta(1, None, "g", "}", 1),
        sk.ToolCallDelta(2, type="function_call"),
        sk.events.Annotation({"url": "https://a.b"}, 1),
        sk.events.PartStart("text", 0, channel="content"),
        sk.events.PartEnd(0),
        sk.Redacted("x", 0, 2),
        sk.Finish("stop"),
        sk.Finish("odd", 1),
        sk.Usage(1, 2),
        sk.events.ResponseStart("chatcmpl-1"),
        sk.events.RoleDelta("assistant", 1),
        sk.events.Reset("again"),
    ]
)
ENDINGS = st.sampled_from(["completed", "length", "tool_calls", "content_filter", "moderated", "truncated"])


@given(st.lists(DELTAS, max_size=12), ENDINGS, st.integers(1, 5))
def test_the_frames_do_not_depend_on_the_batches(events: list[sk.Event], end: Any, size: int) -> None:
    items = [*events, sk.StreamEnd(end)]
    writer = Emit(include_usage=True)
    bursts = [frame for at in range(0, len(items), size) for frame in writer.feed_all(items[at : at + size])]
    assert bursts == list(Emit(include_usage=True).run(items))


@given(st.lists(DELTAS, max_size=12), ENDINGS)
def test_clients_that_store_lists_can_read_any_answer(events: list[sk.Event], end: Any) -> None:
    state, lists = ChatCompletionStreamState(), list[Any]()
    for frame in Emit(include_usage=True).run([*events, sk.StreamEnd(end)]):
        if frame.data.startswith('{"object"'):
            chunk = ChatCompletionChunk.model_validate_json(frame.data)
            state.handle_chunk(chunk)
            lists.append(chunk)
        else:
            lists.append(frame.data)
    if lists[-1] == DONE:
        for choice in state.current_completion_snapshot.choices:
            assert choice.finish_reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
            for call in choice.message.tool_calls or ():
                assert call.type == "function"
                assert call.id
                assert call.function.arguments.strip() or choice.finish_reason in ("length", "content_filter")


FILES = sorted(file for file in DATA.glob("**/*") if file.suffix in (".sse", ".ndjson"))
WRITTEN: Any = sk.sse.Lines() | sk.Parse() | sk.Extract(errors="emit") | Emit(include_usage=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("size", [1, 7])
def test_the_frames_do_not_depend_on_how_the_input_is_split(file: Path, size: int) -> None:
    body = file.read_bytes()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert list(WRITTEN.run(pieces)) == list(WRITTEN.run([body]))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_dialect_is_written_as_openais_clients_require(file: Path) -> None:
    *frames, last = WRITTEN.run([file.read_bytes()])
    choices = [choice for frame in frames for choice in json.loads(frame.data)["choices"]]
    ends = {choice["index"]: choice["finish_reason"] for choice in choices}
    calls: dict[tuple[int, int], str] = {}
    for choice in choices:
        for call in choice.get("delta", {}).get("tool_calls", ()):
            if (place := (choice["index"], call["index"])) not in calls:
                assert call["id"]
                assert call["type"] in ("function", "custom")
            # The input of a custom tool is free text.
            calls[place] = calls.get(place, "") + call["function"]["arguments"] if "function" in call else "{}"
    if last.data == DONE:
        assert set(ends.values()) <= {"stop", "length", "tool_calls", "content_filter", "function_call"}
        assert all(json.loads(arguments) is not None for arguments in calls.values())
        assert all(ends[index] == "tool_calls" for index, _ in calls)
    else:
        assert "error" in json.loads(last.data)


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
def test_a_recorded_answer_is_unchanged_when_written_and_read_again(recording: Path) -> None:
    events = list((sk.Parse() | sk.Extract(errors="emit") | sk.Accumulate()).run([recording.read_bytes()]))
    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    if completion.end not in ("completed", "length", "content_filter", "tool_calls"):
        with pytest.raises(sk.ProviderError):
            read_again(events, Emit())
        return
    dialect: Any = "openai-legacy" if completion.object == "text_completion" else "openai"
    again = read_again(events, Emit(dialect, include_usage=True))
    # A missing role or finish reason is added. Fields that chunks can't express, such as the entries of OpenRouter's
    # reasoning, are not written.
    role = "assistant" if again.object == "chat.completion" else None
    finishes = [choice["finish_reason"] for choice in completion.to_openai()["choices"]]
    assert again.choices == tuple(
        msgspec.structs.replace(choice, role=role, finish_reason=finish, parts=())
        for choice, finish in zip(completion.choices, finishes, strict=True)
    )
    assert all(finishes)
    if len({event.id for event in events if isinstance(event, sk.events.ResponseStart)}) == 1:
        assert again.usage == completion.usage
    else:
        # The sum of several responses is written without details.
        assert figures(again) == figures(completion)
    assert again.end == ("tool_calls" if "tool_calls" in finishes else completion.end)
    assert (again.id, again.model) == (completion.id or again.id, completion.model or "unknown")


def test_a_choice_that_was_introduced_before_a_reset_ends() -> None:
    events = [
        sk.events.Annotation({"url": "https://a.b"}, 1),
        sk.events.Reset("again"),
        sk.TextDelta("Hi."),
        sk.StreamEnd("completed"),
    ]

    chunks = [json.loads(frame.data) for frame in Emit().run(events) if frame.data != DONE]

    finished = [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert finished == [0, 1]
