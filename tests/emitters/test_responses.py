"""The stream of OpenAI's Responses, as its official client reads it."""

import json
from typing import Any

import openai
import pytest

import streamkit as sk
from streamkit.events import Annotation, PartEnd, PartStart, ResponseDetails, ResponseStart
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter
from tests.conftest import needs_shared
from tests.emitters.kit import answers, body_of, completion_of, last_response, read_response, written

START = ResponseStart("resp_1", "response", 1795466043, "gpt-5")
DONE = sk.StreamEnd("completed", saw_done=True)


def types(*events: sk.Event) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in written("responses", *events)]


def output(*events: sk.Event) -> Any:
    """The output items of the final response."""
    return written("responses", *events)[-1]["response"]["output"]


def accepted(frames: list[ServerSentEvent]) -> None:
    numbers = [frame["sequence_number"] for frame in map(decoded, frames)]
    assert numbers == list(range(len(frames)))
    try:
        last_response(frames)
    except openai.APIError:
        assert any(frame.event == "error" for frame in frames)


def decoded(frame: ServerSentEvent) -> Any:
    return json.loads(frame.payload)


def test_it_keeps_the_rules_of_emitters() -> None:
    check_emitter("responses", validate=accepted)


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_the_official_client_reads_every_recording(name: str) -> None:
    events = answers()[name]
    completion = completion_of(events)
    choice = completion.choices[0]
    frames = list(sk.Emit("responses").run(events))
    # The client's helper rejects every status except `completed`, even from OpenAI itself.
    response: Any = read_response(frames) if completion.end in ("completed", "tool_calls") else last_response(frames)
    assert response.status == ("incomplete" if completion.end == "length" else "completed")
    assert response.output_text == choice.text
    reasoning = [
        part.text
        for item in response.output
        if item.type == "reasoning"
        for part in [*item.summary, *(item.content or ())]
    ]
    assert "".join(reasoning) == (choice.reasoning or "")
    refusals = [
        part.refusal
        for item in response.output
        if item.type == "message"
        for part in item.content
        if part.type == "refusal"
    ]
    assert "".join(refusals) == (choice.refusal or "")
    calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
    assert calls == [(call.name, call.arguments) for call in choice.tool_calls if call.type != "custom"]


@needs_shared
@pytest.mark.parametrize("name", sorted(answers()))
def test_the_non_streaming_response_equals_the_streamed_one(name: str) -> None:
    events = answers()[name]
    streamed = written("responses", *events)[-1]["response"]
    whole = sk.Emit("responses").response(completion_of(events))
    names = ("id", "object", "created_at", "model", "status", "incomplete_details", "usage")
    assert {name: whole[name] for name in names} == {name: streamed[name] for name in names}
    assert [
        (item["type"], item.get("content"), item.get("summary"), item.get("arguments")) for item in whole["output"]
    ] == [
        (item["type"], item.get("content"), item.get("summary"), item.get("arguments")) for item in streamed["output"]
    ]


@needs_shared
@pytest.mark.parametrize("name", ["openai-responses-tool", "openai-responses-websearch-ja", "openai-responses-text"])
def test_an_answer_of_openai_is_written_unchanged(name: str) -> None:
    events = answers()[f"public/{name}"]
    completion = completion_of(events)
    assert output(*events) == completion.to_dict()["output"]


def test_a_text_is_an_item_with_a_part() -> None:
    assert types(START, sk.TextDelta("Po"), sk.TextDelta("ng"), sk.Finish("stop"), DONE) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_the_name_of_each_event_is_its_type_and_all_are_numbered() -> None:
    frames = list(sk.Emit("responses").run([START, sk.TextDelta("a"), DONE]))
    assert [frame.event for frame in frames] == [decoded(frame)["type"] for frame in frames]
    assert [decoded(frame)["sequence_number"] for frame in frames] == list(range(len(frames)))


def test_every_part_of_an_answer_is_an_item() -> None:
    items = output(
        START,
        sk.ReasoningDelta("Hm"),
        sk.TextDelta("a"),
        sk.RefusalDelta("No"),
        sk.ToolCallDelta(0, "call_1", "f", '{"a": 1}'),
        sk.ToolCallDelta(1, "call_2", "run", "x", type="custom"),
        sk.StreamEnd("tool_calls"),
    )
    assert [{name: value for name, value in item.items() if name != "id"} for item in items] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "status": "completed"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
            "status": "completed",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No"}],
            "status": "completed",
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}', "status": "completed"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "run", "input": "x", "status": "completed"},
    ]
    assert len({item["id"] for item in items}) == len(items)


def test_encrypted_reasoning_is_kept_with_and_without_a_summary() -> None:
    items = output(
        ResponseDetails({}, "responses"),
        PartStart("reasoning", 0, {"type": "reasoning", "id": "rs_1", "summary": []}),
        PartStart("summary_text", 1, {"type": "summary_text"}, "reasoning", within=0),
        sk.ReasoningDelta("a"),
        PartEnd(1),
        PartStart("summary_text", 2, {"type": "summary_text"}, "reasoning", within=0),
        sk.ReasoningDelta("b"),
        PartEnd(2),
        PartEnd(0, {"encrypted_content": "one"}),
        PartStart("reasoning", 3, {"type": "reasoning", "id": "rs_2", "summary": []}),
        PartEnd(3, {"encrypted_content": "two"}),
        DONE,
    )
    assert [(item["id"], [part["text"] for part in item["summary"]], item["encrypted_content"]) for item in items] == [
        ("rs_1", ["a", "b"], "one"),
        ("rs_2", [], "two"),
    ]


def test_citations_of_any_provider_are_annotations_unless_text_was_withheld() -> None:
    cited: list[sk.Event] = [sk.TextDelta("a"), Annotation({"type": "any", "url": "https://example.com", "title": "t"})]
    assert output(*cited, DONE)[0]["content"][0]["annotations"] == [
        {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com"}
    ]
    assert "output_text.annotation.added" in types(*cited, DONE)
    assert output(*cited, sk.Redacted("secret", 0, 3), DONE)[0]["content"][0]["annotations"] == []


LINK = {"type": "any", "url": "https://example.com", "title": "t"}
WRITTEN = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com"}
LATE: list[sk.Event] = [sk.TextDelta("a"), Annotation(LINK), sk.ToolCallDelta(0, "call_1", "f", "{}"), Annotation(LINK)]


def test_citations_after_the_end_of_their_text_are_annotations_before_the_last_event() -> None:
    frames = written("responses", START, *LATE, DONE)

    item = next(frame["item"] for frame in frames if frame["type"] == "response.output_item.added")
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    added = [frame for frame in frames if frame["type"] == "response.output_text.annotation.added"]
    assert [(frame["annotation_index"], frame["annotation"], {n: frame[n] for n in place}) for frame in added] == [
        (0, WRITTEN, place),
        (1, WRITTEN, place),
    ]
    assert [frame["type"] for frame in frames[-2:]] == ["response.output_text.annotation.added", "response.completed"]
    assert frames[-1]["response"]["output"][0]["content"][0]["annotations"] == [WRITTEN, WRITTEN]


def test_late_citations_survive_a_checkpoint() -> None:
    first, second = sk.Emit("responses").fresh(), sk.Emit("responses").fresh()
    frames = list(first.feed_all([START, *LATE]))
    second.restore(json.loads(json.dumps(first.state())))

    frames += [*second.feed_all([DONE]), *second.flush()]

    assert frames == list(sk.Emit("responses").run([START, *LATE, DONE]))


def test_the_official_client_reads_late_citations() -> None:
    response: Any = read_response(sk.Emit("responses").run([START, *LATE, DONE]))

    assert [annotation.to_dict() for annotation in response.output[0].content[0].annotations] == [WRITTEN, WRITTEN]
    assert [item.type for item in response.output] == ["message", "function_call"]


def test_a_late_citation_of_a_part_of_an_open_item_is_in_the_item() -> None:
    citation = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com"}
    *_, done, last = written(
        "responses",
        START,
        ResponseDetails({}, "responses"),
        PartStart("message", 0, {"type": "message", "id": "msg_1"}),
        PartStart("output_text", 1, {"type": "output_text"}, "content", within=0),
        sk.TextDelta("a"),
        PartEnd(1),
        PartStart("output_text", 2, {"type": "output_text"}, "content", within=0),
        sk.TextDelta("b"),
        PartEnd(2),
        Annotation(citation, part=1),
        DONE,
    )
    assert [part["annotations"] for part in done["item"]["content"]] == [[citation], []]
    assert last["response"]["output"] == [done["item"]]


def test_late_citations_are_not_written_if_text_was_withheld_or_the_stream_failed() -> None:
    late = written("responses", START, *LATE, sk.Redacted("secret", 0, 3), DONE)[-1]["response"]
    assert late["output"][0]["content"][0]["annotations"] == [WRITTEN]  # written before the decision
    assert types(START, *LATE, sk.StreamEnd("truncated")).count("output_text.annotation.added") == 1


def test_late_citations_are_read_back_with_their_text() -> None:
    frames = sk.Emit("responses").run([START, *LATE, DONE])

    *_, completion, _ = (sk.Parse() | sk.Extract() | sk.Accumulate()).run([body_of(frames)])

    assert isinstance(completion, sk.Completion)
    assert completion.choices[0].annotations == (WRITTEN, WRITTEN)


@pytest.mark.parametrize(
    ("end", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter"), ("moderated", "content_filter")],
)
def test_a_cut_answer_is_incomplete(end: Any, reason: str) -> None:
    last = written("responses", START, sk.TextDelta("a"), sk.StreamEnd(end))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_the_input_of_a_custom_tool_may_continue_after_any_brackets() -> None:
    pieces = [sk.ToolCallDelta(0, "call_1", "run", piece, type="custom") for piece in ("[1]", "[0]")]

    found = output(pieces[0], sk.ToolCallDelta(1, "call_2", "f", "{}"), pieces[1], sk.StreamEnd("tool_calls"))

    assert [item.get("input", item.get("arguments")) for item in found] == ["[1][0]", "{}"]


@pytest.mark.parametrize("reason", ["unknown", "truncated", "provider_error", "cancelled", "timeout", "limit", "error"])
def test_a_failure_is_an_error_and_a_failed_response(reason: Any) -> None:
    frames = list(sk.Emit("responses").run([START, sk.TextDelta("a"), sk.StreamEnd(reason)]))
    assert [frame.event for frame in frames][-2:] == ["error", "response.failed"]
    failed = decoded(frames[-1])["response"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", reason)
    with pytest.raises(openai.APIError):
        read_response(frames)


def test_a_late_identity_does_not_change_the_response() -> None:
    response = read_response(sk.Emit("responses", id="resp_0").run([sk.TextDelta("a"), START, sk.TextDelta("b"), DONE]))
    assert (response.id, response.output_text) == ("resp_0", "ab")


def test_a_failure_before_the_response_is_only_an_error() -> None:
    assert types(START, sk.StreamEnd("timeout")) == ["error"]


def test_usage_has_the_names_of_responses() -> None:
    usage = sk.Usage(
        10, 5, 15, {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    )
    assert written("responses", START, sk.TextDelta("a"), usage, DONE)[-1]["response"]["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }
