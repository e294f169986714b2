"""The stream of Anthropic's Messages, as its official client reads it."""

import json
from typing import Any

import anthropic
import pytest

import streamkit as sk
from streamkit.errors import ProtocolError
from streamkit.events import Annotation, PartEnd, PartStart
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter
from tests.conftest import needs_shared
from tests.emitters.kit import CITATION, answers, body_of, completion_of, read_message, written

START = sk.events.ResponseStart("msg_1", "message", 1795466043, "claude-sonnet-4-5")
DONE = sk.StreamEnd("completed", saw_done=True)


def types(*events: sk.Event) -> list[str]:
    return [frame["type"] for frame in written("anthropic", *events)]


def blocks(*events: sk.Event) -> list[tuple[Any, ...]]:
    """The block events in short form: starts, deltas and stops with their indexes."""
    found: list[tuple[Any, ...]] = []
    for frame in written("anthropic", *events, DONE):
        match frame:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                found.append(("start", index, block["type"]))
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                found.append((delta["type"], index, next(value for name, value in delta.items() if name != "type")))
            case {"type": "content_block_stop", "index": index}:
                found.append(("stop", index))
            case _:
                pass
    return found


def accepted(frames: list[ServerSentEvent]) -> None:
    try:
        read_message(frames)
    except anthropic.APIStatusError:
        assert any(frame.event == "error" for frame in frames)
    except ValueError as error:
        # The client rejects input that is not JSON.
        if "Unable to parse tool parameter JSON" not in str(error):
            raise


def test_a_citation_before_any_text_belongs_to_the_first_text() -> None:
    place = {"document_index": 0, "document_title": None, "start_char_index": 0, "end_char_index": 1, "file_id": None}
    citation = {"type": "char_location", "cited_text": "a", **place}
    call = sk.ToolCallDelta(0, "call_1", "f", "{}")

    events = [sk.events.Annotation(citation), call, sk.TextDelta("a"), sk.Finish("stop"), sk.StreamEnd("completed")]
    found = read_message(sk.Emit("anthropic").run(events)).content

    assert [block.type for block in found] == ["tool_use", "text"]
    assert json.loads(found[1].to_json())["citations"] == [citation]


def test_it_keeps_the_rules_of_emitters() -> None:
    check_emitter("anthropic", validate=accepted)


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_the_official_client_reads_every_recording(name: str) -> None:
    events = answers()[name]
    completion = completion_of(events)
    choice = completion.choices[0]
    message = read_message(sk.Emit("anthropic").run(events))
    content = message.content
    assert "".join(block.text for block in content if block.type == "text") == choice.text + (choice.refusal or "")
    assert "".join(block.thinking for block in content if block.type == "thinking") == (choice.reasoning or "")
    assert [(block.name, block.input) for block in content if block.type == "tool_use"] == [
        (call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls
    ]
    assert message.stop_reason in ("end_turn", "max_tokens", "tool_use", "refusal", "stop_sequence")


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_the_non_streaming_response_equals_the_streamed_message(name: str) -> None:
    events = answers()[name]
    streamed: dict[str, Any] = json.loads(read_message(sk.Emit("anthropic").run(events)).to_json())
    for block in streamed["content"]:
        block.pop("parsed_output", None)
    whole = sk.Emit("anthropic").response(completion_of(events))
    names = ("id", "type", "role", "model", "content", "stop_reason", "usage")
    assert {name: whole[name] for name in names} == {name: streamed[name] for name in names}


def test_a_text_is_written_in_one_message() -> None:
    usage = sk.Usage(
        10, 2, 12, {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    )
    assert written("anthropic", START, sk.TextDelta("Po"), sk.TextDelta("ng"), sk.Finish("stop"), usage, DONE) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Po"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ng"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


def test_the_name_of_each_event_is_its_type() -> None:
    frames = list(sk.Emit("anthropic").run([START, sk.TextDelta("a"), DONE]))
    assert [frame.event for frame in frames] == [json.loads(frame.payload)["type"] for frame in frames]


def test_alternating_pieces_of_calls_do_not_interleave() -> None:
    assert blocks(
        sk.ToolCallDelta(0, "call_1", "one", '{"a":'),
        sk.ToolCallDelta(1, "call_2", "two", '{"b":'),
        sk.ToolCallDelta(0, arguments="1}"),
        sk.ToolCallDelta(1, arguments="2}"),
        sk.TextDelta("Done"),
    ) == [
        ("start", 0, "tool_use"),
        ("input_json_delta", 0, '{"a":'),
        ("input_json_delta", 0, "1}"),
        ("stop", 0),
        ("start", 1, "tool_use"),
        ("input_json_delta", 1, '{"b":'),
        ("input_json_delta", 1, "2}"),
        ("stop", 1),
        ("start", 2, "text"),
        ("text_delta", 2, "Done"),
        ("stop", 2),
    ]


def test_a_later_call_is_written_as_soon_as_the_earlier_one_is_whole() -> None:
    running = sk.Emit("anthropic").fresh()
    waiting = [
        sk.ToolCallDelta(0, "call_1", "one", '{"a":'),
        sk.ToolCallDelta(1, "call_2", "two", '{"b":'),
    ]
    assert [frame.event for frame in running.feed_all(waiting)][-1] == "content_block_delta"
    assert [frame.event for frame in running.feed(sk.ToolCallDelta(0, arguments="1}"))] == [
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_more_arguments_for_a_closed_call_are_an_error() -> None:
    running = sk.Emit("anthropic").fresh()
    list(
        running.feed_all([sk.ToolCallDelta(0, "a", "f", "{}"), sk.TextDelta("b"), sk.ToolCallDelta(0, arguments=" \n")])
    )
    with pytest.raises(ProtocolError, match="tool call 0: expected no more arguments"):
        list(running.feed(sk.ToolCallDelta(0, arguments='{"b": 1}')))


def test_thinking_and_text_are_separate_blocks_and_the_signature_is_kept() -> None:
    assert blocks(
        sk.events.PartStart("thinking", 0, {"type": "thinking", "signature": ""}, "reasoning"),
        sk.ReasoningDelta("Hm"),
        sk.events.PartEnd(0, {"signature": "c2ln"}),
        sk.events.PartStart("text", 1, {"type": "text"}, "content"),
        sk.TextDelta("a"),
    ) == [
        ("start", 0, "thinking"),
        ("thinking_delta", 0, "Hm"),
        ("signature_delta", 0, "c2ln"),
        ("stop", 0),
        ("start", 1, "text"),
        ("text_delta", 1, "a"),
        ("stop", 1),
    ]


def test_the_signature_of_hidden_thinking_is_kept() -> None:
    start = sk.events.PartStart("thinking", 0, {"type": "thinking"}, "reasoning")
    assert blocks(start, sk.events.PartEnd(0, {"signature": "c2ln"}), sk.TextDelta("a"))[:3] == [
        ("start", 0, "thinking"),
        ("signature_delta", 0, "c2ln"),
        ("stop", 0),
    ]


def test_the_input_of_a_custom_tool_is_a_json_string() -> None:
    message = read_message(
        sk.Emit("anthropic").run(
            [
                sk.ToolCallDelta(0, "call_1", "run", 'print("', type="custom"),
                sk.ToolCallDelta(0, arguments='a")\n'),
                sk.StreamEnd("tool_calls"),
            ]
        )
    )
    assert [block.to_dict() for block in message.content] == [
        {"type": "tool_use", "id": "call_1", "name": "run", "input": {"input": 'print("a")\n'}}
    ]


def test_a_tool_that_anthropic_runs_is_written_whole() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "search", "input": {}}
    events: list[sk.Event] = [
        sk.events.ResponseDetails({"type": "message"}, "anthropic"),
        sk.events.PartStart("server_tool_use", 0, block),
        sk.events.PartDelta('{"query":', "tool_input", 0, ("input",), json=True),
        sk.events.PartDelta(' "a"}', "tool_input", 0, ("input",), json=True),
        sk.events.PartEnd(0),
        sk.TextDelta("a"),
        DONE,
    ]
    message = read_message(sk.Emit("anthropic").run(events))
    assert [block.to_dict() for block in message.content] == [
        {**block, "input": {"query": "a"}},
        {"type": "text", "text": "a"},
    ]


@pytest.mark.parametrize(
    ("events", "stop_reason"),
    [
        ([sk.TextDelta("a"), sk.Finish("stop"), DONE], "end_turn"),
        ([sk.TextDelta("a"), DONE], "end_turn"),
        ([sk.TextDelta("a"), sk.Finish("length"), sk.StreamEnd("length")], "max_tokens"),
        ([sk.ToolCallDelta(0, "c", "f", "{}"), sk.Finish("stop"), sk.StreamEnd("tool_calls")], "tool_use"),
        ([sk.ToolCallDelta(0, "c", "f", "{}"), sk.Finish("stop"), DONE], "tool_use"),
        ([sk.TextDelta("a"), sk.Finish("content_filter"), sk.StreamEnd("content_filter")], "refusal"),
        ([sk.RefusalDelta("No"), sk.Finish("stop"), DONE], "refusal"),
        ([sk.TextDelta("a"), sk.Blocked("secret", 1, 2), sk.StreamEnd("moderated")], "refusal"),
        (
            [
                sk.events.ResponseDetails({"type": "message", "stop_sequence": "END"}, "anthropic"),
                sk.TextDelta("a"),
                sk.Finish("stop_sequence"),
                DONE,
            ],
            "stop_sequence",
        ),
    ],
)
def test_every_success_has_one_of_its_stop_reasons(events: list[sk.Event], stop_reason: str) -> None:
    message = read_message(sk.Emit("anthropic").run(events))
    assert message.stop_reason == stop_reason
    assert message.stop_sequence == ("END" if stop_reason == "stop_sequence" else None)


@pytest.mark.parametrize("reason", ["unknown", "truncated", "provider_error", "cancelled", "timeout", "limit", "error"])
def test_a_failure_is_an_error_event_and_does_not_end_the_message(reason: Any) -> None:
    frames = list(sk.Emit("anthropic").run([START, sk.TextDelta("a"), sk.StreamEnd(reason)]))
    assert [frame.event for frame in frames][-2:] == ["content_block_delta", "error"]
    with pytest.raises(anthropic.APIStatusError):
        read_message(frames)


def test_a_call_cut_by_a_failure_is_not_closed() -> None:
    call = sk.ToolCallDelta(0, "call_1", "delete", '{"path": "/tmp')
    assert types(call, sk.StreamEnd("truncated"))[-2:] == ["content_block_delta", "error"]


def test_a_second_choice_is_not_written() -> None:
    message = read_message(
        sk.Emit("anthropic").run([sk.TextDelta("a"), sk.TextDelta("b", 1), sk.Finish("stop", 1), DONE])
    )
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "a"}]


def test_citations_of_anthropic_are_kept_unless_text_was_withheld() -> None:
    citation = {"type": "web_search_result_location", "url": "https://example.com", "cited_text": "a"}
    other = {"type": "url_citation", "url": "https://example.com"}
    cited: list[sk.Event] = [sk.TextDelta("a"), sk.events.Annotation(citation), sk.events.Annotation(other)]
    assert ("citations_delta", 0, citation) in blocks(*cited)
    assert [kind for kind, *_ in blocks(*cited)].count("citations_delta") == 1
    assert [kind for kind, *_ in blocks(*cited, sk.Redacted("secret", 0, 3))].count("citations_delta") == 0


LATE: list[sk.Event] = [
    PartStart("text", 0, {"type": "text"}, "content"),
    sk.TextDelta("a"),
    PartEnd(0),
    PartStart("text", 1, {"type": "text"}, "content"),
    sk.TextDelta("b"),
    Annotation(CITATION, part=0),
    PartEnd(1),
    Annotation(CITATION, part=1),
]


def test_citations_after_the_end_of_their_text_are_written_at_the_end_with_its_index() -> None:
    assert blocks(*LATE) == [
        ("start", 0, "text"),
        ("text_delta", 0, "a"),
        ("stop", 0),
        ("start", 1, "text"),
        ("text_delta", 1, "b"),
        ("stop", 1),
        ("citations_delta", 0, CITATION),
        ("citations_delta", 1, CITATION),
    ]
    cited = {"type": "text", "citations": [CITATION]}
    message = read_message(sk.Emit("anthropic").run([START, *LATE, DONE]))
    assert [block.to_dict() for block in message.content] == [{**cited, "text": "a"}, {**cited, "text": "b"}]


def test_late_citations_are_not_written_if_text_was_withheld_or_the_stream_failed() -> None:
    assert "citations_delta" not in [kind for kind, *_ in blocks(*LATE, sk.Redacted("secret", 0, 3))]
    assert types(*LATE, sk.StreamEnd("truncated"))[-2:] == ["content_block_stop", "error"]


def test_late_citations_are_read_back_with_their_text() -> None:
    frames = sk.Emit("anthropic").run([START, *LATE, DONE])

    *_, completion, _ = (sk.Parse() | sk.Extract() | sk.Accumulate()).run([body_of(frames)])

    assert isinstance(completion, sk.Completion)
    assert [block["citations"] for block in completion.to_dict()["content"]] == [[CITATION], [CITATION]]


def test_the_keep_alive_is_a_ping() -> None:
    ping = sk.Emit("anthropic").keep_alive()
    assert ping == ServerSentEvent.of('{"type":"ping"}', "ping")
