"""OpenAI's completions and deviations of compatible servers: one small fixture per observed fact."""

import json
from typing import Any

import pytest

from streamkit import (
    Accumulate,
    Event,
    Extract,
    Finish,
    Parse,
    PipelineError,
    ProviderError,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.errors import ProtocolError
from streamkit.events import Annotation, AudioDelta, Logprobs, ProviderNotice, ResponseStart, RoleDelta
from streamkit.sse import Lines, ServerSentEvent

DONE = "[DONE]"
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def extract(*payloads: str | dict[str, Any], event: str = "message", stage: Extract | None = None) -> list[Event]:
    """The events except the last, which `end` returns."""
    *events, end = run(*payloads, event=event, stage=stage)
    assert isinstance(end, StreamEnd)
    return events


def end(*payloads: str | dict[str, Any]) -> StreamEnd:
    last = run(*payloads)[-1]
    assert isinstance(last, StreamEnd)
    return last


def run(*payloads: str | dict[str, Any], event: str = "message", stage: Extract | None = None) -> list[Event]:
    datas = [payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads]
    return list((stage or Extract("openai")).run([ServerSentEvent.of(data, event) for data in datas]))


def failure(*payloads: str | dict[str, Any], event: str = "message") -> tuple[list[Event], Exception]:
    """The events before the error, and the error."""
    datas = [payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads]
    events = list[Event]()
    with pytest.raises((ProtocolError, ProviderError)) as caught:
        events.extend(Extract("openai").run([ServerSentEvent.of(data, event) for data in datas]))
    return events, caught.value


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def calls(*entries: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(entries))


# Chunks

CHAT = {"id": "c-1", "object": "chat.completion.chunk", "created": 17, "model": "m", "system_fingerprint": "fp"}


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (delta(content="Hi"), [TextDelta("Hi")]),
        ({"choices": [{"index": 0, "text": "Hi"}]}, [TextDelta("Hi")]),
        (delta(reasoning_content="Hm"), [ReasoningDelta("Hm")]),
        (delta(reasoning="Hm"), [ReasoningDelta("Hm")]),
        (delta(reasoning="Hm", reasoning_content="Hm"), [ReasoningDelta("Hm")]),
        (delta(refusal="No"), [RefusalDelta("No")]),
        (delta(role="assistant"), [RoleDelta("assistant")]),
        (
            calls({"index": 1, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}),
            [ToolCallDelta(1, "a", "f", "{", type="function")],
        ),
        (calls({"index": 0, "function": {"arguments": "}"}}), [ToolCallDelta(0, None, None, "}")]),
        (delta(function_call={"name": "f"}), [ToolCallDelta(0, None, "f", type="function_call")]),
        (delta(function_call={"arguments": "{}"}), [ToolCallDelta(0, None, None, "{}", type="function_call")]),
        (delta(audio={"id": "au", "transcript": "Hi"}), [AudioDelta(id="au", transcript="Hi")]),
        (delta(audio={"data": "AAA=", "expires_at": 9}), [AudioDelta(data="AAA=", expires_at=9)]),
        (
            delta(annotations=[{"type": "url_citation"}, {"n": 2}]),
            [Annotation({"type": "url_citation"}), Annotation({"n": 2})],
        ),
        (STOP, [Finish("stop")]),
        ({"choices": [], "usage": {"total_tokens": 3}}, [Usage(total_tokens=3, details={"total_tokens": 3})]),
        ({**CHAT, "choices": []}, [ResponseStart("c-1", "chat.completion", 17, "m", "fp")]),
    ],
    ids=[
        "text of a chat",
        "text of a legacy completion",
        "reasoning as most have it",
        "reasoning as vLLM and OpenRouter have it",
        "reasoning twice in a chunk is emitted once",
        "refusal",
        "role",
        "the beginning of a tool call",
        "a piece of its arguments",
        "the beginning of a legacy function call",
        "a piece of its arguments, in a legacy call",
        "audio transcript",
        "audio data",
        "annotations",
        "finish",
        "usage",
        "identity",
    ],
)
def test_the_events_of_a_chunk(payload: dict[str, Any], events: list[Event]) -> None:
    assert extract(payload) == events


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": None},
        {},
        {"delta": {}},
        {"delta": {"content": ""}},
        {"delta": {"content": None}},
        {"delta": {"content": []}},
        {"delta": {"tool_calls": None, "function_call": None, "audio": None, "annotations": None}},
        {"delta": {"tool_calls": []}},
        {"delta": {"content": 7}},
        {"delta": "Hi"},
        {"text": ""},
        {"text": None},
        {"delta": {}, "finish_reason": None, "logprobs": None, "content_filter_results": {}},
        {"delta": {"obfuscation": "xyz"}, "obfuscation": "xyz"},
    ],
    ids=json.dumps,
)
def test_an_empty_choice_has_no_events(choice: dict[str, Any]) -> None:
    assert extract({"choices": [{"index": 0, **choice}]}) == []


@pytest.mark.parametrize("choices", [[], None, {}, [None], ["x"]], ids=json.dumps)
def test_choices_may_be_empty_or_of_any_type(choices: object) -> None:
    assert extract({"choices": choices}, delta(content="a")) == [TextDelta("a")]


def test_an_event_has_the_whole_chunk_that_it_was_read_from() -> None:
    (event,) = extract('{"choices": [{"index": 0, "delta": {"content": "Hi", "x_ray": 1}}]}')

    assert event.raw == {"choices": [{"index": 0, "delta": {"content": "Hi", "x_ray": 1}}]}


def test_events_from_different_chunks_may_be_equal() -> None:
    (one,), (other,) = extract(delta(content="Hi")), extract({"choices": [{"text": "Hi"}]})

    assert one.raw != other.raw
    assert one == other
    assert not one != other  # noqa: SIM202
    assert hash(one) == hash(other)
    assert one != TextDelta("Ho")


@pytest.mark.parametrize(
    ("content", "events"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], [TextDelta("ab")]),
        (["a", {"text": "b"}, None], [TextDelta("ab")]),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}], [ReasoningDelta("Hm")]),
        (
            [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "a"}],
            [ReasoningDelta("Hm"), TextDelta("a")],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "u"}}],
            [ProviderNotice("image_url", {"type": "image_url", "image_url": {"url": "u"}}, 0)],
        ),
    ],
    ids=[
        "text parts",
        "strings and parts",
        "thinking (Mistral)",
        "thinking as a string, and text",
        "a part of another kind",
    ],
)
def test_content_as_a_list_of_parts(content: object, events: list[Event]) -> None:
    assert extract(delta(content=content)) == events


def test_text_next_to_a_delta_is_emitted_once() -> None:
    """Together's chat chunks have the text in both fields."""
    assert extract({"choices": [{"index": 0, "text": "Hi", "delta": {"content": "Hi"}}]}) == [TextDelta("Hi")]


def test_a_chat_shaped_choice_in_a_legacy_completion_is_read() -> None:
    payload = {"object": "text_completion", "choices": [{"delta": {"content": "Hi"}}]}

    assert extract(payload) == [ResponseStart(object="text_completion"), TextDelta("Hi")]


# Choices


@pytest.mark.parametrize(
    ("index", "read"),
    [(0, 0), (1, 1), ("1", 1), (None, 0), ("", 0), ("x", 0), ("--5", 0), ("9" * 5000, 0), (1.5, 0), (True, 0), ([], 0)],
    ids=lambda value: repr(value)[:12],
)
def test_the_index_of_a_choice_may_be_of_any_form(index: object, read: int) -> None:
    assert extract({"choices": [{"index": index, "delta": {"content": "a"}}]}) == [TextDelta("a", read)]


def test_a_choice_without_an_index_is_the_first() -> None:
    assert extract({"choices": [{"delta": {"content": "a"}}]}) == [TextDelta("a", 0)]


def test_choices_come_interleaved_out_of_order_one_based_or_several_in_a_chunk() -> None:
    def of(index: int, content: str) -> dict[str, Any]:
        return {"index": index, "delta": {"content": content}}

    assert extract({"choices": [of(2, "a")]}, {"choices": [of(1, "b"), of(2, "c")]}, {"choices": [of(1, "d")]}) == [
        TextDelta("a", 2),
        TextDelta("b", 1),
        TextDelta("c", 2),
        TextDelta("d", 1),
    ]


def test_a_role_sent_with_every_chunk_is_emitted_once_per_choice() -> None:
    def of(index: int) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"role": "assistant", "content": "a"}}]}

    assert extract(of(0), of(1), of(0), of(1)) == [
        RoleDelta("assistant", 0),
        TextDelta("a", 0),
        RoleDelta("assistant", 1),
        TextDelta("a", 1),
        TextDelta("a", 0),
        TextDelta("a", 1),
    ]


# Tool calls


@pytest.mark.parametrize(
    ("payloads", "events"),
    [
        (
            [
                calls(
                    {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
                    {"index": 0, "function": {"arguments": "{}"}},
                )
            ],
            [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, arguments="{}")],
        ),
        (
            [calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}) for _ in range(2)],
            [ToolCallDelta(0, "a", "f", "{")] * 2,
        ),
        ([calls({"index": "1", "id": "a", "function": {"name": "f"}})], [ToolCallDelta(1, "a", "f")]),
        (
            [calls({"index": 1, "id": "b"}), calls({"index": 0, "id": "a"})],
            [ToolCallDelta(1, "b"), ToolCallDelta(0, "a")],
        ),
        (
            [
                calls({"id": "a", "function": {"name": "f"}}, {"id": "b"}),
                calls({"id": "b", "function": {"arguments": "{}"}}),
            ],
            [ToolCallDelta(0, "a", "f"), ToolCallDelta(1, "b"), ToolCallDelta(1, "b", arguments="{}")],
        ),
        (
            [
                calls({"id": "a"}),
                calls({"function": {"arguments": "1"}}),
                calls({"id": "b"}),
                calls({"id": "", "function": {"arguments": "2"}}),
            ],
            [
                ToolCallDelta(0, "a"),
                ToolCallDelta(0, arguments="1"),
                ToolCallDelta(1, "b"),
                ToolCallDelta(1, "", arguments="2"),
            ],
        ),
        ([calls({"id": ""}, {"id": ""})], [ToolCallDelta(0, ""), ToolCallDelta(1, "")]),
        ([calls({"index": 0, "function": {"arguments": {"a": 1}}})], [ToolCallDelta(0, arguments='{"a":1}')]),
        ([calls({"index": 0, "function": None})], [ToolCallDelta(0)]),
        ([calls({"index": 0, "function": "f"})], [ToolCallDelta(0)]),
    ],
    ids=[
        "two entries with one index in a chunk (vLLM)",
        "id and name repeated",
        "an index that is a string",
        "out of order",
        "without an index, by id (Mistral)",
        "without an index and id, it goes on with the last",
        "without an index and with empty ids, by position",
        "arguments that are an object",
        "a function that is null",
        "a function that is a string",
    ],
)
def test_tool_calls(payloads: list[dict[str, Any]], events: list[Event]) -> None:
    assert extract(*payloads) == events


def test_calls_without_an_index_are_numbered_per_choice() -> None:
    def of(index: int, id: str) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"tool_calls": [{"id": id}]}}]}

    assert extract(of(0, "a"), of(1, "b"), of(0, "c")) == [
        ToolCallDelta(0, "a", index=0),
        ToolCallDelta(0, "b", index=1),
        ToolCallDelta(1, "c", index=0),
    ]


# Usage, filters, log probabilities, identity


def test_every_usage_is_emitted_and_a_later_null_is_ignored() -> None:
    """A later chunk may have `usage: null` (OpenAI) or newer cumulative counts (DeepSeek)."""
    with_text = {**delta(content="a"), "usage": {"completion_tokens": 1}}

    events = extract(with_text, {"choices": [], "usage": {"completion_tokens": 2}}, {"choices": [], "usage": None})

    assert events == [
        TextDelta("a"),
        Usage(completion_tokens=1, details={"completion_tokens": 1}),
        Usage(completion_tokens=2, details={"completion_tokens": 2}),
    ]


@pytest.mark.parametrize(
    ("payload", "usage"),
    [
        ({"usage": {"prompt_tokens": 1}}, Usage(prompt_tokens=1, details={"prompt_tokens": 1})),
        ({"choices": None, "usage": {"x": 1}}, Usage(details={"x": 1})),
        ({"choices": [], "usage": {"prompt_tokens": "1"}}, Usage(details={"prompt_tokens": "1"})),
    ],
    ids=["without choices", "with choices null", "with numbers that are none"],
)
def test_usage_may_be_in_unusual_chunks(payload: dict[str, Any], usage: Usage) -> None:
    assert extract(payload) == [usage]


@pytest.mark.parametrize("usage", [None, {}, [], "12"], ids=json.dumps)
def test_an_empty_usage_is_ignored(usage: object) -> None:
    assert extract({"choices": [], "usage": usage}) == []


def test_azures_filters_are_notices_and_its_empty_identity_is_ignored() -> None:
    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    text = {
        **CHAT,
        "choices": [{"index": 0, "delta": {"content": "Hi"}, "content_filter_results": {"hate": {"filtered": False}}}],
    }
    late = {
        **first,
        "prompt_filter_results": None,
        "choices": [{"index": 0, "content_filter_results": {"self_harm": {}}}],
    }

    assert extract(first, text, late) == [
        ProviderNotice("prompt_filter", [{"prompt_index": 0}]),
        ResponseStart("c-1", "chat.completion", 17, "m", "fp"),
        TextDelta("Hi"),
        ProviderNotice("content_filter", {"hate": {"filtered": False}}, 0),
        ProviderNotice("content_filter", {"self_harm": {}}, 0),
    ]


def test_openais_moderation_in_the_stream_is_a_notice() -> None:
    chunk = {**CHAT, "choices": [], "moderation": {"output": {"results": [{"flagged": True}]}}}

    assert extract(chunk)[1:] == [ProviderNotice("moderation", {"output": {"results": [{"flagged": True}]}})]


def test_log_probabilities_are_emitted_unchanged() -> None:
    chat = {
        "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}], "refusal": None}}]
    }
    legacy = {"choices": [{"index": 1, "text": "b", "logprobs": {"tokens": ["b"], "token_logprobs": [-0.5]}}]}

    assert extract(chat, legacy) == [
        TextDelta("a"),
        Logprobs({"content": [{"token": "a"}], "refusal": None}),
        TextDelta("b", 1),
        Logprobs({"tokens": ["b"], "token_logprobs": [-0.5]}, 1),
    ]


def test_identity_is_emitted_once_and_again_only_if_it_changes() -> None:
    again = {**CHAT, "id": "c-2"}

    events = extract({**CHAT, "choices": []}, {**CHAT, "choices": []}, {"choices": []}, {**again, "choices": []})

    assert events == [
        ResponseStart("c-1", "chat.completion", 17, "m", "fp"),
        ResponseStart("c-2", "chat.completion", 17, "m", "fp"),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("created", "17"), ("id", 7), ("model", None), ("service_tier", {}), ("system_fingerprint", [])],
    ids=["created", "id", "model", "service_tier", "system_fingerprint"],
)
def test_an_identity_field_of_another_type_does_not_lose_the_text(field: str, value: object) -> None:
    events = extract({**CHAT, field: value, **delta(content="Hi")})

    assert events[-1] == TextDelta("Hi")
    assert getattr(events[0], field) is None


# The end


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        ([delta(content="a"), STOP, DONE], StreamEnd("completed", True)),
        ([delta(content="a"), STOP], StreamEnd("completed")),
        ([delta(content="a"), DONE], StreamEnd("completed", True, (0,))),
        ([delta(content="a")], StreamEnd("truncated", False, (0,))),
        ([DONE], StreamEnd("truncated", True)),
        ([{"choices": [], "usage": {"total_tokens": 1}}, DONE], StreamEnd("truncated", True)),
        ([], StreamEnd("truncated")),
        ([{"choices": [], "usage": {"total_tokens": 1}}], StreamEnd("truncated")),
        (
            [{"choices": [{"index": n, "finish_reason": why} for n, why in enumerate(["stop", "length"])]}, DONE],
            StreamEnd("length", True),
        ),
        (
            [
                {"choices": [{"index": n, "finish_reason": why} for n, why in enumerate(["content_filter", "length"])]},
                DONE,
            ],
            StreamEnd("content_filter", True),
        ),
        ([{"choices": [{"index": 0, "finish_reason": "tool_calls"}]}, DONE], StreamEnd("tool_calls", True)),
        ([{"choices": [{"index": 0, "finish_reason": "function_call"}]}, DONE], StreamEnd("tool_calls", True)),
        (
            [{"choices": [{"index": 0, "finish_reason": "stop"}, {"index": 1, "delta": {}}]}],
            StreamEnd("truncated", False, (1,)),
        ),
    ],
    ids=[
        "finish and marker",
        "finish without the marker",
        "the marker without a finish",
        "neither",
        "nothing but the marker",
        "usage and the marker",
        "nothing at all",
        "nothing but usage",
        "of several reasons the worst",
        "a filter is worse than a limit",
        "tool calls",
        "a legacy function call",
        "one choice never finished",
    ],
)
def test_the_end(payloads: list[str | dict[str, Any]], expected: StreamEnd) -> None:
    assert end(*payloads) == expected


@pytest.mark.parametrize("reason", ["stop", "eos", "end_turn"])
def test_a_finish_has_the_providers_word(reason: str) -> None:
    assert run({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}) == [
        Finish(reason),
        StreamEnd("completed"),
    ]


def test_data_after_a_finish_is_still_emitted() -> None:
    events = extract(STOP, delta(content="late"), {"choices": [], "usage": {"total_tokens": 1}}, DONE)

    assert events == [Finish("stop"), TextDelta("late"), Usage(total_tokens=1, details={"total_tokens": 1})]


@pytest.mark.parametrize("marker", ["[DONE]", " [DONE] ", "[DONE]\n"], ids=repr)
def test_nothing_after_the_end_marker_is_read(marker: str) -> None:
    body = f"data: {json.dumps(delta(content='a'))}\n\ndata:{marker}\n\ndata: not json\n\ndata: {json.dumps(STOP)}\n\n"

    events = list((Lines() | Parse() | Extract()).run([body]))

    assert events == [TextDelta("a"), StreamEnd("completed", True, (0,))]


def test_an_end_marker_inside_the_text_is_text() -> None:
    assert run(delta(content="[DONE]"), STOP, DONE) == [
        TextDelta("[DONE]"),
        Finish("stop"),
        StreamEnd("completed", True),
    ]


def test_a_chunk_cut_by_the_end_of_the_body_is_truncated_unless_the_answer_had_ended() -> None:
    text, finish, cut = (
        f"data: {json.dumps(delta(content='a'))}\n\n",
        f"data: {json.dumps(STOP)}\n\n",
        'data: {"choices": [{"ind',
    )

    assert list((Lines() | Parse() | Extract()).run([text + cut])) == [
        TextDelta("a"),
        StreamEnd("truncated", open_choices=(0,)),
    ]
    assert list((Lines() | Parse() | Extract()).run([text + finish + cut])) == [
        TextDelta("a"),
        Finish("stop"),
        StreamEnd("completed"),
    ]


@pytest.mark.parametrize("end_of_body", ["\n", ""], ids=["without its blank line", "without its line end"])
def test_a_whole_event_without_its_blank_line_counts(end_of_body: str) -> None:
    body = f"data: {json.dumps(delta(content='a'))}\n\ndata: [DONE]{end_of_body}"

    assert list((Lines() | Parse() | Extract()).run([body])) == [TextDelta("a"), StreamEnd("completed", True, (0,))]


# Errors of the provider

RATE = {"message": "Slow down, Alice", "type": "rate_limit_error", "code": "rate_limit_exceeded"}


@pytest.mark.parametrize(
    ("payload", "event", "code", "kind", "retryable"),
    [
        ({"error": RATE}, "message", "rate_limit_exceeded", "rate_limit_error", True),
        ({"error": RATE}, "error", "rate_limit_exceeded", "rate_limit_error", True),
        (RATE, "error", "rate_limit_exceeded", "rate_limit_error", True),
        ({"error": {"code": 429, "message": "Slow down, Alice"}, "choices": []}, "message", 429, None, True),
        (
            {"error": {"code": 502, "message": "Slow down, Alice"}, **STOP, "usage": {"total_tokens": 1}},
            "message",
            502,
            None,
            True,
        ),
        ({"error": {"code": 400, "message": "Slow down, Alice"}}, "message", 400, None, False),
        ({"error": {"code": "429", "message": "Slow down, Alice"}}, "message", "429", None, True),
        ({"error": {"code": {"a": []}, "type": [], "message": "Slow down, Alice"}}, "message", None, None, False),
        ({"error": "Slow down, Alice"}, "message", None, None, False),
        ("Slow down, Alice", "error", None, None, False),
        ('"Slow down, Alice"', "error", None, None, False),
    ],
    ids=[
        "an error object",
        "of an event named error",
        "bare, of an event named error",
        "beside empty choices (OpenRouter)",
        "beside a choice that finishes",
        "not worth another try",
        "with a status that is a string",
        "with fields of no form at all",
        "that is a string",
        "that is no JSON",
        "that is a JSON string",
    ],
)
def test_an_error_inside_the_stream(
    payload: str | dict[str, Any], event: str, code: object, kind: str | None, retryable: bool
) -> None:
    before, error = failure(payload, event=event)

    assert before == [StreamEnd("provider_error")]
    assert isinstance(error, ProviderError)
    assert (error.code, error.type, error.retryable) == (code, kind, retryable)
    assert error.detail == "Slow down, Alice"
    assert "Alice" not in f"{error} {error!r}"


def test_everything_before_an_error_is_delivered_before_it_is_raised() -> None:
    before, error = failure(delta(content="a"), delta(content="b"), {"error": RATE}, delta(content="c"))

    assert before == [TextDelta("a"), TextDelta("b"), StreamEnd("provider_error", False, (0,))]
    assert str(error).startswith(
        "event 3: the provider reported an error (code 'rate_limit_exceeded', type 'rate_limit_error')"
    )


def test_with_errors_emit_an_error_only_ends_the_stream() -> None:
    assert run(delta(content="a"), {"error": RATE}, delta(content="b"), stage=Extract(errors="emit")) == [
        TextDelta("a"),
        StreamEnd("provider_error", False, (0,)),
    ]


@pytest.mark.parametrize("marker", [[DONE], []], ids=["with the end marker", "without"])
def test_an_answer_that_finishes_with_error_fails_after_all_of_its_events(marker: list[str]) -> None:
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
    usage = {"choices": [], "usage": {"total_tokens": 1}}

    before, error = failure(delta(content="a"), finish, usage, *marker)

    assert before == [
        TextDelta("a"),
        Finish("error"),
        Usage(total_tokens=1, details={"total_tokens": 1}),
        StreamEnd("provider_error", bool(marker)),
    ]
    assert isinstance(error, ProviderError)


def test_with_errors_emit_an_answer_that_finishes_with_error_only_ends() -> None:
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}

    assert run(finish, DONE, stage=Extract(errors="emit")) == [Finish("error"), StreamEnd("provider_error", True)]


@pytest.mark.parametrize("error", [None, {}, "", False, []], ids=json.dumps)
def test_an_empty_error_field_does_not_lose_the_text(error: object) -> None:
    assert extract({**delta(content="Hi"), "error": error}) == [TextDelta("Hi")]


# Events that are not chunks


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ("my secret", "9 characters that are not JSON"),
        ('{"choices": [{"delta": {"content": "my secret', "45 characters that are not JSON"),
        ("{'content': 'my secret'}", "24 characters that are not JSON"),
        ("<html><body>my secret</body>", "'<html>'"),
        ("<!DOCTYPE html><p>my secret", "'<!DOCTYPE>'"),
        ("<my secret>", "11 characters that are not JSON"),
        ('{"choices": [], "x": NaN, "y": "my secret"}', "43 characters that are not JSON"),
        ('{"choices": [{"delta": {"content": "\\ud83d my secret', "52 characters that are not JSON"),
        ('{"choices": ' + "[" * 100_000 + "my secret", "100021 characters nested deeper than 128 levels"),
    ],
    ids=[
        "text",
        "JSON cut short",
        "a Python literal",
        "a page",
        "a page with a declaration",
        "what only looks like a tag",
        "NaN",
        "JSON cut short, with half a surrogate pair",
        "nesting without end",
    ],
)
def test_an_event_that_is_not_json_raises_after_the_events_before_it_and_is_not_quoted(
    payload: str, found: str
) -> None:
    before, error = failure(delta(content="a"), payload, delta(content="b"))

    assert before == [TextDelta("a")]
    assert str(error).startswith(f"event 2: expected JSON or [DONE] after 'data:', found {found}")
    assert "secret" not in f"{error} {error!r}"
    assert isinstance(error, ProtocolError)
    assert error.excerpt == payload[:80]


@pytest.mark.parametrize(
    ("event", "payload", "notice"),
    [
        ("message", "7", ProviderNotice("message", 7)),
        ("message", "null", ProviderNotice("message", None)),
        ("message", '"text"', ProviderNotice("message", "text")),
        ("message", "[1]", ProviderNotice("message", [1])),
        ("message", '{"object": "other"}', ProviderNotice("message", {"object": "other"})),
        ("ping", '{"type": "ping"}', ProviderNotice("ping", {"type": "ping"})),
        ("ping", "", ProviderNotice("ping")),
        ("message", "", ProviderNotice("message")),
    ],
    ids=[
        "a number",
        "null",
        "a string",
        "a list",
        "an object of another kind",
        "a ping",
        "an empty ping",
        "an empty event",
    ],
)
def test_json_that_is_not_a_chunk_is_a_notice(event: str, payload: str, notice: ProviderNotice) -> None:
    assert extract(payload, event=event) == [notice]


def test_requested_comments_are_notices() -> None:
    body = f": OPENROUTER PROCESSING\n\ndata: {json.dumps(delta(content='a'))}\n\n"

    events = list((Lines() | Parse(comments=True) | Extract()).run([body]))

    assert events[:-1] == [ProviderNotice("comment", " OPENROUTER PROCESSING"), TextDelta("a")]


# Non-streaming responses


def test_a_non_streaming_chat_response_has_the_events_of_a_streamed_one() -> None:
    message = {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    answer = {
        **CHAT,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }

    assert run(answer) == [
        ResponseStart("c-1", "chat.completion", 17, "m", "fp"),
        RoleDelta("assistant"),
        TextDelta("Hi"),
        ToolCallDelta(0, "a", "f", "{}", type="function"),
        Finish("stop"),
        StreamEnd("tool_calls"),
    ]


@pytest.mark.parametrize(
    "body",
    ['{"error": {"message": "No, Alice"}}', '{\n  "error": {\n    "message": "No, Alice"\n  }\n}\n'],
    ids=["in one line", "in many"],
)
def test_an_error_instead_of_a_stream_is_an_error(body: str) -> None:
    events = list[Event]()
    with pytest.raises(ProviderError) as caught:
        events.extend((Lines() | Parse() | Extract() | Accumulate()).run([body]))

    assert caught.value.detail == "No, Alice"
    assert isinstance(events[-1], StreamEnd)


def test_one_chunk_per_line_is_read_too() -> None:
    body = f"{json.dumps(delta(content='a'))}\n{json.dumps(delta(content='b'))}\n{json.dumps(STOP)}\n"

    assert list((Lines() | Parse() | Extract()).run([body])) == [
        TextDelta("a"),
        TextDelta("b"),
        Finish("stop"),
        StreamEnd("completed"),
    ]


# Choosing the dialect


def test_the_dialect_may_be_named() -> None:
    assert extract(delta(content="a"), stage=Extract(dialect="openai")) == [TextDelta("a")]


def test_an_unknown_dialect_raises_when_the_stage_is_made() -> None:
    with pytest.raises(PipelineError, match=r"expected one of the dialects .*openai.*; found 'telex'"):
        Extract(dialect="telex")


def test_two_runs_of_one_stage_share_nothing() -> None:
    stage = Extract()
    run(delta(role="assistant", content="a"), DONE, stage=stage)

    events = run(delta(role="assistant", content="b"), stage=stage)

    assert events == [RoleDelta("assistant"), TextDelta("b"), StreamEnd("truncated", False, (0,))]
