"""Anthropic's Messages and text completions: recordings, compared with the official client, and edge cases."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.anthropic import AnthropicMessages
from tests.conftest import needs_shared
from tests.dialects.official import anthropic_message
from tests.dialects.streams import (
    DATA,
    Recording,
    payloads,
    read,
    read_data,
    recordings,
)

MESSAGES = recordings("anthropic.messages")
COMPLETIONS = recordings("anthropic.complete")
FIXTURE = (DATA / "anthropic-messages.sse").read_bytes()
LEGACY = (DATA / "anthropic-complete.sse").read_bytes()

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(reason: str | None, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def blocks_of(recording: Recording, kind: str) -> list[dict[str, Any]]:
    return [block for block in recording.expected["blocks"] if block["type"] == kind]


@needs_shared
def test_there_are_recordings_of_both_apis() -> None:
    assert len(MESSAGES) >= 9
    assert COMPLETIONS


@pytest.mark.parametrize("recording", MESSAGES, ids=str)
def test_the_answer_matches_the_recording(recording: Recording) -> None:
    expected, result = recording.expected, read(recording.body)
    choice, usage = result.choice, result.completion.usage

    assert result.error is None
    assert result.end.saw_done
    assert choice.text == expected["text"]
    assert choice.finish_reason == expected["stop_reason"]
    assert (choice.reasoning or "") == "".join(block["text"] for block in blocks_of(recording, "thinking"))
    assert [(call.name, call.arguments) for call in choice.tool_calls] == [
        (block["name"], block.get("json") or "{}") for block in blocks_of(recording, "tool_use")
    ]
    assert len(choice.annotations) == sum(block.get("citations", 0) for block in expected["blocks"])
    assert usage is not None
    assert usage.details.items() >= expected["usage"].items()
    assert usage.completion_tokens == expected["usage"]["output_tokens"]


@pytest.mark.parametrize("recording", MESSAGES, ids=str)
def test_blocks_are_parts_in_order(recording: Recording) -> None:
    parts = read(recording.body).choice.parts

    assert [part.kind for part in parts] == [block["type"] for block in recording.expected["blocks"]]
    assert ["".join(part.text) for part in parts if part.channel == "content"] == [
        block["text"] for block in blocks_of(recording, "text")
    ]


@pytest.mark.parametrize("recording", COMPLETIONS, ids=str)
def test_a_text_completion_matches_the_recording(recording: Recording) -> None:
    result = read(recording.body)

    assert result.choice.text == recording.expected["text"]
    assert result.choice.finish_reason == recording.expected["stop_reason"]
    assert result.end == sk.StreamEnd("completed")
    assert result.completion.usage is None


@pytest.mark.parametrize("recording", MESSAGES, ids=str)
def test_the_message_equals_the_official_clients_field_by_field(recording: Recording) -> None:
    assert read(recording.body).completion.to_dict() == anthropic_message(recording.body)


@pytest.mark.parametrize("name", ["anthropic-messages", "anthropic-server-tool"])
def test_the_official_client_agrees_on_the_fixtures_too(name: str) -> None:
    body = (DATA / f"{name}.sse").read_bytes()

    assert read(body).completion.to_dict() == anthropic_message(body)


def test_a_call_without_arguments_has_an_empty_object_as_in_the_official_client() -> None:
    message, calls = anthropic_message(FIXTURE), read(FIXTURE).choice.tool_calls

    assert [call.arguments for call in calls] == ['{"city":"Zürich"}', "{}"]
    assert [block["input"] for block in message["content"][4:]] == [{"city": "Zürich"}, {}]


def test_a_cut_stream_is_truncated_though_the_official_client_shows_no_error() -> None:
    cut = FIXTURE[: FIXTURE.index(b"event: message_delta")]

    # By design the client returns a truncated message like a whole one, only without a stop reason.
    assert anthropic_message(cut)["stop_reason"] is None
    assert read(cut).end.reason == "truncated"


def test_a_message_is_emitted_in_order() -> None:
    events = read(FIXTURE).events

    assert events[:9] == [
        sk.events.ResponseStart("msg_1", "message", model="claude-x", service_tier="standard"),
        sk.events.RoleDelta("assistant"),
        events[2],
        events[3],
        sk.events.PartStart("thinking", 0, {"type": "thinking", "thinking": "", "signature": ""}, "reasoning"),
        sk.events.ProviderNotice("ping", {"type": "ping"}),
        sk.ReasoningDelta("Two "),
        sk.ReasoningDelta("cities."),
        sk.events.PartEnd(0, {"signature": "c2ln"}),
    ]
    assert events[9] == sk.events.PartStart("redacted_thinking", 1, {"type": "redacted_thinking", "data": "cmVk"})
    assert events[-3:] == [sk.Finish("tool_use"), read(FIXTURE).completion, sk.StreamEnd("tool_calls", True)]


def test_usage_is_cumulative_with_the_cache_and_a_later_null_is_ignored() -> None:
    first, last = (event for event in read(FIXTURE).events if isinstance(event, sk.Usage))

    assert (first.prompt_tokens, first.completion_tokens, first.total_tokens) == (125, 2, 127)
    assert (last.prompt_tokens, last.completion_tokens, last.total_tokens) == (125, 42, 167)
    assert last.details == {**first.details, "output_tokens": 42}


def test_a_count_that_was_not_sent_is_unknown() -> None:
    (usage,) = (event for event in read_data(stop("end_turn", output_tokens=4)).events if isinstance(event, sk.Usage))

    assert usage == sk.Usage(None, 4, None, {"output_tokens": 4})


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("end_turn", "completed"),
        ("stop_sequence", "completed"),
        ("pause_turn", "completed"),
        ("a_word_of_tomorrow", "unknown"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_the_stop_reason_is_the_providers_and_the_end_has_its_meaning(reason: str, end: str) -> None:
    result = read_data(START, stop(reason), STOP)

    assert result.choice.finish_reason == reason
    assert result.end == sk.StreamEnd(end, True)


def test_the_end_marker_without_a_stop_reason_leaves_the_choice_open() -> None:
    assert read_data(START, STOP).end == sk.StreamEnd("completed", True, (0,))


def test_nothing_after_the_end_is_read() -> None:
    assert read_data(START, STOP, delta(0, type="text_delta", text="late")).completion.text == ""


def test_why_an_answer_was_refused_is_a_notice() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    last = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}}

    assert read_data(START, last, STOP).notices("stop_details") == [details]


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_the_content_of_a_block_start_belongs_to_the_block(kind: str) -> None:
    more = delta(0, type=f"{kind}_delta", **{kind: "b"})
    choice = read_data(START, begin(0, type=kind, **{kind: "a"}), more, STOP).choice

    assert (choice.text or choice.reasoning) == "ab"


def test_a_call_that_begins_with_its_input_has_it_once() -> None:
    call = begin(0, type="tool_use", id="t", name="f", input={"a": [1, "ü"]})
    again = delta(0, type="input_json_delta", partial_json='{"a": [1, "ü"]}')

    assert read_data(START, call, again, STOP).choice.tool_calls == (sk.events.ToolCall("t", "f", '{"a":[1,"ü"]}'),)


def test_calls_have_their_own_numbers_and_may_interleave() -> None:
    calls = [begin(index, type="tool_use", id=f"t{index}", name="f", input={}) for index in (3, 7)]
    pieces = [delta(index, type="input_json_delta", partial_json=piece) for piece in "{}" for index in (7, 3)]

    assert read_data(START, begin(0, type="text", text=""), *calls, *pieces, STOP).choice.tool_calls == (
        sk.events.ToolCall("t3", "f", "{}", 0),
        sk.events.ToolCall("t7", "f", "{}", 1),
    )


def test_arguments_are_verbatim_even_if_they_are_not_json() -> None:
    call = begin(0, type="tool_use", id="t", name="f", input={})

    cut = read_data(START, call, delta(0, type="input_json_delta", partial_json='{ "a" :\n1'))

    assert cut.choice.tool_calls[0].arguments == '{ "a" :\n1'
    assert cut.end.reason == "truncated"


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "vertex_event", "a": 1},
        {"type": ["ping"]},
        {"a": 1},
        delta(0, type="compaction_delta", content="x"),
        delta(9, type="input_json_delta", partial_json="{}"),
        [1],
        None,
    ],
    ids=str,
)
def test_an_unknown_event_is_a_notice_with_all_of_its_data(payload: Any) -> None:
    (notice,) = (
        event for event in read_data(START, payload, STOP).events if isinstance(event, sk.events.ProviderNotice)
    )

    assert notice.raw == payload


def test_a_block_of_an_unknown_kind_is_a_part_with_all_of_its_data() -> None:
    block = {"type": "container_upload", "file_id": "f"}

    assert sk.events.PartStart("container_upload", 0, block) in read_data(START, begin(0, **block), STOP).events


def test_the_text_of_interleaved_blocks_goes_to_the_right_block() -> None:
    blocks = [begin(0, type="text", text=""), begin(1, type="text", text="")]
    pieces = [delta(index, type="text_delta", text=piece) for index, piece in [(0, "a"), (1, "b"), (0, "c"), (1, "d")]]

    message = read_data(START, *blocks, *pieces, stop("end_turn"), STOP).completion.to_dict()

    assert [block["text"] for block in message["content"]] == ["ac", "bd"]


def test_a_compaction_is_part_of_the_message() -> None:
    events = [begin(0, type="compaction", content=None), delta(0, type="compaction_delta", content="So far: …")]

    message = read_data(START, *events, {"type": "content_block_stop", "index": 0}, STOP).completion.to_dict()

    assert message["content"] == [{"type": "compaction", "content": "So far: …"}]


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        ("overloaded_error", True),
        ("rate_limit_error", True),
        ("api_error", True),
        ("timeout_error", True),
        ("invalid_request_error", False),
        ("authentication_error", False),
    ],
)
def test_an_error_in_the_stream_is_raised_after_the_events_before_it(kind: str, retryable: bool) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "a secret prompt"}, "request_id": "req_1"}

    result = read_data(START, delta(0, type="text_delta", text="Hel"), error)

    assert result.completion.text == "Hel"
    assert result.end == sk.StreamEnd("provider_error", open_choices=(0,))
    assert isinstance(result.error, sk.ProviderError)
    assert (result.error.type, result.error.retryable) == (kind, retryable)
    assert result.error.detail == "a secret prompt"
    assert "secret" not in str(result.error)


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event: error\ndata: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    ],
    ids=["named", "of the old API", "plain"],
)
def test_an_error_may_be_first_or_instead_of_a_stream(body: bytes) -> None:
    result = read(body)

    assert isinstance(result.error, sk.ProviderError)
    assert result.error.retryable
    assert result.error.body == {"type": "overloaded_error", "message": "Overloaded"}


def test_with_errors_emit_an_error_only_ends_the_stream() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": ""}}

    result = read_data(START, error, dialect="anthropic", errors="emit")

    assert (result.error, result.end.reason) == (None, "provider_error")


@pytest.mark.parametrize("body", [FIXTURE, LEGACY, b": hello\n\n" + FIXTURE])
def test_the_first_event_identifies_the_dialect(body: bytes) -> None:
    (first, *_) = (sk.sse.Lines() | sk.Parse()).run([body])

    assert for_event(first) is AnthropicMessages
    assert read(body).events == read(body, dialect="anthropic").events


def test_events_without_names_are_identified_by_their_types() -> None:
    bare = b"".join(line + b"\n" for line in FIXTURE.splitlines() if not line.startswith(b"event:"))

    assert read(bare).events == read(FIXTURE).events


def test_one_event_per_line_is_read_too() -> None:
    lines = b"".join(json.dumps(payload).encode() + b"\n" for payload in payloads(FIXTURE))

    assert read(lines).completion == read(FIXTURE).completion


def block(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta_of(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop_of(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


MESSAGE = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}
ENDED = [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}]


@pytest.mark.parametrize("late", [0, 1, 2], ids=["within its block", "after its block", "after the next one"])
def test_a_signature_is_kept_in_any_position(late: int) -> None:
    events = [
        delta_of(0, "thinking_delta", thinking="Hm"),
        stop_of(0),
        block(1, "text", text=""),
        delta_of(1, "text_delta", text="Hi"),
        stop_of(1),
    ]
    events.insert({0: 1, 1: 2, 2: 5}[late], delta_of(0, "signature_delta", signature="c2ln"))

    result = read_data(MESSAGE, block(0, "thinking", thinking="", signature=""), *events, *ENDED)

    assert result.completion.to_dict()["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "text", "text": "Hi"},
    ]


def test_text_after_the_end_of_its_block_belongs_to_the_block() -> None:
    result = read_data(
        MESSAGE,
        block(0, "text", text=""),
        delta_of(0, "text_delta", text="Blue"),
        stop_of(0),
        delta_of(0, "text_delta", text=" sky"),
        *ENDED,
    )

    assert result.completion.to_dict()["content"] == [{"type": "text", "text": "Blue sky"}]


@pytest.mark.parametrize("ends", [True, False], ids=["with its stop", "without"])
@pytest.mark.parametrize("pieces", [[], [""]], ids=["no deltas", "an empty one"])
def test_a_call_without_input_has_an_empty_object(ends: bool, pieces: list[str]) -> None:
    deltas = [delta_of(0, "input_json_delta", partial_json=piece) for piece in pieces]
    stop = [stop_of(0)] if ends else []

    result = read_data(MESSAGE, block(0, "tool_use", id="t1", name="f", input={}), *deltas, *stop, *ENDED)

    assert [(c.id, c.name, c.arguments) for c in result.choice.tool_calls] == [("t1", "f", "{}")]


def test_a_call_cut_before_its_input_has_no_arguments() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}

    result = read_data(
        MESSAGE, block(0, "tool_use", id="t1", name="f", input={}), stop_of(0), end, {"type": "message_stop"}
    )

    assert [c.arguments for c in result.choice.tool_calls] == [""]
