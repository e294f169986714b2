"""OpenAI's Responses: compared with the official client on the same bytes, and one fixture per rule."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response

from streamkit import Finish, ReasoningDelta, RefusalDelta, StreamEnd, TextDelta, ToolCallDelta, Usage
from streamkit.dialects import for_event
from streamkit.dialects.responses import OpenAIResponses
from streamkit.events import Annotation, AudioDelta, Logprobs, ProviderNotice, ResponseStart, RoleDelta
from streamkit.sse import ServerSentEvent
from tests.dialects.streams import DATA, Recording, each, payloads, read, recordings, sse

STREAMED, PLAIN = (DATA / "responses.sse").read_bytes(), (DATA / "responses.json").read_bytes()
RECORDINGS = recordings("responses")
every_recording = each(RECORDINGS)
every_body = pytest.mark.parametrize(
    "body",
    [STREAMED, *(recording.body for recording in RECORDINGS)],
    ids=["fixture", *(r.path.stem for r in RECORDINGS)],
)
CREATED: dict[str, Any] = {"type": "response.created", "response": {"id": "r", "object": "response", "model": "m"}}
COMPLETED: dict[str, Any] = {"type": "response.completed", "response": {"object": "response", "status": "completed"}}

LOGPROB = {"token": "Hi", "logprob": -0.1}


def delta(kind: str, piece: Any, item: int = 0, part: int = 0) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": item, "content_index": part, "delta": piece}


def done(kind: str, whole: str, item: int = 0, part: int = 0) -> dict[str, Any]:
    name = {"refusal": "refusal", "function_call_arguments": "arguments"}.get(kind, "text")
    return {"type": f"response.{kind}.done", "output_index": item, "content_index": part, name: whole}


def added(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def finished(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {**added(item, place), "type": "response.output_item.done"}


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def call(id: str, name: str, arguments: str = "") -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments}


# Recordings


@every_recording
def test_the_answer_matches_the_sidecar(recording: Recording) -> None:
    expected, result = recording.expected, read(recording.body)
    choices = result.completion.choices
    calls = [{"name": c.name, "arguments": c.arguments} for choice in choices for c in choice.tool_calls]
    said = {
        name: "".join(expected.get(f"{name}_by_output_index", {}).values()) for name in ("text", "reasoning", "refusal")
    }

    assert "".join(event.text for event in result.of(TextDelta)) == said["text"]
    assert "".join(event.text for event in result.of(ReasoningDelta)) == said["reasoning"]
    assert "".join(event.text for event in result.of(RefusalDelta)) == said["refusal"]
    assert result.completion.text == expected.get("final_output_text", "")
    assert calls == expected.get("final_function_calls", [])
    usage = result.completion.usage
    assert (usage and usage.details) == expected.get("usage")
    word = (expected.get("incomplete_details") or {}).get("reason") or expected.get("status")
    assert [event.finish_reason for event in result.of(Finish)] == ([word] if word else [])


def responses_of(body: bytes) -> list[dict[str, Any]]:
    """The response in the last event, if there is one."""
    ends = ("response.completed", "response.incomplete", "response.failed")
    return [payload["response"] for payload in payloads(body) if payload.get("type") in ends][-1:]


# The two others have separate tests below.
WHOLE = [r for r in RECORDINGS if r.path.stem not in ("openrouter-responses-rawcot", "openai-responses-error")]


@each(WHOLE)
def test_the_whole_response_equals_the_one_in_the_last_event(recording: Recording) -> None:
    assert [read(recording.body).completion.to_dict()] == responses_of(recording.body)


def test_output_text_is_the_text_even_if_the_server_leaves_it_empty() -> None:
    part = {"type": "output_text", "text": "4", "annotations": []}
    sent = {"object": "response", "status": "completed", "output_text": "", "output": [message(part)]}

    whole = read(sse(CREATED, {**COMPLETED, "response": sent})).completion.to_dict()

    assert whole == {**CREATED["response"], **sent, "output_text": "4"}


def test_a_response_with_an_error_before_its_failure_ends_at_the_error() -> None:
    error = {"type": "error", "code": "server_error", "message": "m"}
    failed = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}}}

    assert "status" not in read(sse(CREATED, error, failed)).completion.to_dict()
    assert read(sse(CREATED, failed)).completion.to_dict()["status"] == "failed"


@every_recording
def test_the_end_and_an_error_are_emitted_unchanged(recording: Recording) -> None:
    expected, result = recording.expected, read(recording.body)
    error = expected.get("error")
    ends = {"completed": "tool_calls" if expected.get("final_function_calls") else "completed", "incomplete": "length"}

    assert result.end.reason == ("provider_error" if error else ends[expected["status"]])
    assert (result.error and result.error.body) == (error and error["body"])
    assert (result.error and result.error.code) == (error and error["body"]["code"])


# The official client on the same bytes


async def asked(body: bytes) -> tuple[list[Any], openai.APIError | None]:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=pieces())

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    events = list[Any]()
    async with openai.AsyncOpenAI(base_url="http://test", api_key="none", max_retries=0, http_client=http) as client:
        try:
            async for event in await client.responses.create(model="m", input="Hi", stream=True):
                events.append(event)
        except openai.APIError as error:
            return events, error
    return events, None


@pytest.mark.asyncio
@every_body
async def test_the_official_client_reads_the_same(body: bytes) -> None:
    events, error = await asked(body)
    result = read(body)

    def deltas(*kinds: str) -> list[str]:
        return [event.delta for event in events if event.type in [f"response.{kind}.delta" for kind in kinds]]

    assert [event.text for event in result.of(TextDelta)] == deltas("output_text")
    assert [event.text for event in result.of(RefusalDelta)] == deltas("refusal")
    assert [event.text for event in result.of(ReasoningDelta)] == deltas("reasoning_text", "reasoning_summary_text")
    annotations = [event.annotation.to_dict() for event in events if hasattr(event, "annotation")]
    assert [event.annotation for event in result.of(Annotation)] == annotations
    if error is not None:
        assert result.error is not None
        assert (result.error.body, result.error.detail) == (error.body, error.message)
        return
    assert result.error is None
    assert_equal(result.completion, next(event.response for event in events if hasattr(event, "response")), start=True)
    assert_equal(result.completion, events[-1].response)


def assert_equal(completion: Any, response: Response, *, start: bool = False) -> None:
    assert (completion.id, completion.created, completion.model) == (response.id, response.created_at, response.model)
    assert completion.object == response.object
    if start:
        return
    # `auto` is the requested tier, not the actual one. Some servers never send the actual one.
    assert completion.service_tier == (None if response.service_tier == "auto" else response.service_tier)
    assert completion.text == response.output_text
    details = response.incomplete_details
    assert completion.choices[0].finish_reason == ((details and details.reason) or response.status)
    sent = response.usage.model_dump(exclude_unset=True) if response.usage else None
    assert (completion.usage and completion.usage.details) == sent
    calls: list[Any] = [item for item in response.output if item.type in ("function_call", "custom_tool_call")]
    said = [
        (item.call_id, item.name, getattr(item, "arguments", None) or getattr(item, "input", None)) for item in calls
    ]
    assert [(call.id, call.name, call.arguments) for call in completion.choices[0].tool_calls] == said


# Streaming and non-streaming


def test_every_kind_of_item_is_emitted_in_order() -> None:
    result = read(STREAMED)
    choice = result.choice

    assert choice.reasoning == "**Plan** Look it up.Then call."
    assert choice.text == "서울은 9°C. Cold 🥶."
    assert [(c.index, c.id, c.name, c.arguments, c.type) for c in choice.tool_calls] == [
        (0, "call_1", "coat", '{"warm":true}', "function"),
        (1, "call_2", "hat", "{}", "function"),
        (2, "call_3", "shell", 'ls "a"', "custom"),
    ]
    assert [entry["token"] for entry in (choice.logprobs or {})["content"]] == ["서울은", " 9°C."]
    assert [note["title"] for note in choice.annotations] == ["서울"]
    assert result.completion.usage == Usage(20, 30, 50, json.loads(PLAIN)["usage"])
    assert [event.kind for event in result.of(ProviderNotice)] == [
        "response.in_progress",
        "response.web_search_call.searching",
    ]
    assert result.completion.conflicts == {}
    assert result.end == StreamEnd("tool_calls", saw_done=True)


def test_the_actual_service_tier_is_emitted_once_known() -> None:
    first, second = read(STREAMED).of(ResponseStart)

    assert first == ResponseStart("resp_1", "response", 1700000000, "gpt-5-mini")
    assert second == ResponseStart("resp_1", "response", 1700000000, "gpt-5-mini", service_tier="default")


# Content of events


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (delta("output_text", "Hi"), [TextDelta("Hi")]),
        (delta("output_text", ""), []),
        (delta("refusal", "No"), [RefusalDelta("No")]),
        (delta("reasoning_text", "Hm"), [ReasoningDelta("Hm")]),
        (delta("reasoning_summary_text", "Hm"), [ReasoningDelta("Hm")]),
        (delta("audio", "AAA="), [AudioDelta("AAA=")]),
        (delta("audio.transcript", "Hi"), [AudioDelta(transcript="Hi")]),
        ({**delta("output_text", "Hi"), "logprobs": [LOGPROB]}, [TextDelta("Hi"), Logprobs({"content": [LOGPROB]}, part=1)]),
        (added(message()), [RoleDelta("assistant")]),
        (added(call("c", "f")), [ToolCallDelta(0, "c", "f", type="function"), ToolCallDelta(0, arguments="{}")]),
        (delta("function_call_arguments", "{"), [ToolCallDelta(0, arguments="{")]),
        (delta("output_text", {"odd": 1}), [ProviderNotice("response.output_text.delta", delta("output_text", {"odd": 1}))]),
        ({"type": "response.new"}, [ProviderNotice("response.new", {"type": "response.new"})]),
        ([1], [ProviderNotice("message", [1])]),
    ],
)  # fmt: skip
def test_the_events_of_a_wire_event(payload: dict[str, Any], events: list[Any]) -> None:
    result = read(sse(CREATED, payload if isinstance(payload, dict) else json.dumps(payload), COMPLETED))

    assert result.without_structure[1:-3] == events


def test_content_sent_only_as_a_whole_is_emitted_once() -> None:
    text = {"type": "output_text", "text": "Hi", "annotations": [{"n": 1}], "logprobs": [{"token": "Hi"}]}
    part = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": text}
    item, response = message(text), {"object": "response", "status": "completed", "output": [message(text)]}
    alone = [
        [done("output_text", "Hi")],
        [part],
        [finished(item)],
        [],
        [done("output_text", "Hi"), part, finished(item)],
    ]

    for events in alone:
        result = read(sse(CREATED, *events, {**COMPLETED, "response": response}))
        assert [event.text for event in result.of(TextDelta)] == ["Hi"]
        assert result.choice.annotations == ({"n": 1},)
        assert result.choice.logprobs == {"content": [{"token": "Hi"}]}


def test_a_whole_call_is_emitted_once_with_or_without_its_pieces() -> None:
    item, pieces = call("c", "f", "{}"), delta("function_call_arguments", "{}")
    whole = {**COMPLETED, "response": {"object": "response", "status": "completed", "output": [item]}}
    for events in (
        [],
        [finished(item)],
        [added(call("c", "f")), pieces],
        [pieces],
        [done("function_call_arguments", "{}")],
    ):
        result = read(sse(CREATED, *events, finished(item), whole))
        assert [(c.id, c.name, c.arguments) for c in result.choice.tool_calls] == [("c", "f", "{}")]


def test_interleaved_calls_are_distinguished_by_their_items() -> None:
    events = [added(call("a", "f"), 1), added(call("b", "g"), 4)]
    events += [
        delta("function_call_arguments", piece, item) for piece, item in (("[", 4), ("{", 1), ("]", 4), ("}", 1))
    ]

    calls = read(sse(CREATED, *events, COMPLETED)).choice.tool_calls

    assert [(c.index, c.id, c.arguments) for c in calls] == [(0, "a", "{}"), (1, "b", "[]")]


def test_calls_without_numbers_are_distinguished_by_their_ids() -> None:
    events = list[Any]()
    for id in "ab":
        events += [added(call(id, "f")), delta("function_call_arguments", f'"{id}"')]
    for event in events:
        del event["output_index"]

    calls = read(sse(CREATED, *events, COMPLETED)).choice.tool_calls

    assert [(c.id, c.arguments) for c in calls] == [("a", '"a"'), ("b", '"b"')]


def test_a_call_does_not_get_the_arguments_of_another() -> None:
    # Both items have number 0 in the stream, but other positions in the response.
    events = [added(call("a", "f")), delta("function_call_arguments", "[1]"), added(call("b", "f"))]
    whole = {"object": "response", "status": "completed", "output": [call("a", "f", "[1]"), call("b", "f")]}

    calls = read(sse(CREATED, *events, {**COMPLETED, "response": whole})).choice.tool_calls

    assert [(c.id, c.arguments) for c in calls] == [("a", "[1]"), ("b", "{}")]


# Items of events


def calls_of(*events: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(c.id, c.arguments) for c in read(sse(CREATED, *events, COMPLETED)).choice.tool_calls]


def by_id(event: dict[str, Any], id: str | None = None) -> dict[str, Any]:
    """The event in llama.cpp's form, which identifies items only by id."""
    rest = {name: value for name, value in event.items() if name != "output_index"}
    return rest if id is None else {**rest, "item_id": id}


def arguments(piece: str, id: str) -> dict[str, Any]:
    return by_id(delta("function_call_arguments", piece), id)


def test_items_identified_only_by_ids_are_distinguished() -> None:
    events = [
        by_id(added(call("a", "f"))),
        arguments('{"p":', "fc_a"),
        by_id(added(call("b", "f"))),
        arguments('{"p":', "fc_b"),
        arguments('"x"}', "fc_a"),
        arguments('"y"}', "fc_b"),
        by_id(finished(call("a", "f", '{"p":"x"}'))),
        by_id(finished(call("b", "f", '{"p":"y"}'))),
    ]

    assert calls_of(*events) == [("a", '{"p":"x"}'), ("b", '{"p":"y"}')]


def test_texts_identified_only_by_ids_go_to_their_items() -> None:
    events = [
        by_id(added({"type": "reasoning", "id": "rs", "summary": []})),
        by_id(delta("reasoning_text", "Hm"), "rs"),
        by_id(added({**message(), "id": "m"})),
        by_id(delta("output_text", "Blue"), "m"),
        by_id(delta("reasoning_text", "."), "rs"),
        by_id(delta("output_text", " sky"), "m"),
    ]

    result = read(sse(CREATED, *events, COMPLETED))

    assert (result.choice.reasoning, result.choice.text) == ("Hm.", "Blue sky")
    assert [(part.kind, part.text, part.within) for part in result.choice.parts if part.within is not None] == [
        ("reasoning_text", "Hm.", 0),
        ("output_text", "Blue sky", 2),
    ]


def test_deltas_alone_are_distinguished_by_their_ids() -> None:
    events = [arguments("[", "x"), arguments("{", "y"), arguments("]", "x"), arguments("}", "y")]

    assert [a for _, a in calls_of(*events)] == ["[]", "{}"]


def test_items_that_all_have_number_0_are_distinguished_by_their_ids() -> None:
    events = [added(call("a", "f")), added(call("b", "f"))]
    for id, piece in (("fc_a", "[1"), ("fc_b", "[2"), ("fc_a", "]"), ("fc_b", "]")):
        events.append({**delta("function_call_arguments", piece), "item_id": id})

    assert calls_of(*events) == [("a", "[1]"), ("b", "[2]")]


def test_an_item_with_another_id_in_each_event_is_identified_by_its_number() -> None:
    events = [{**added({**call("a", "f"), "id": "1"})}]
    events += [{**delta("function_call_arguments", piece), "item_id": f"id {piece}"} for piece in ("[", "1", "]")]
    events += [finished({**call("a", "f", "[1]"), "id": "9"})]

    assert calls_of(*events) == [("a", "[1]")]


@pytest.mark.parametrize(
    ("streamed", "whole", "text"),
    [
        ([(0, 0, "Blue "), (0, 1, "sky")], [["Blue ", "sky"]], "Blue sky"),
        ([(0, 0, "Blue "), (0, 1, "sky")], [["Blue sky"]], "Blue sky"),
        ([(1, 0, "Blue ")], [["Blue sky"]], "Blue sky"),
        ([(0, 0, "Blue ")], [["Blue ", "sky"]], "Blue sky"),
        ([(0, 0, "Blue "), (1, 0, "sky")], [["Blue "], ["sky", "."]], "Blue sky."),
        ([], [["Blue "], ["sky"]], "Blue sky"),
    ],
    ids=["the same", "joined in the end", "at another place", "one part more", "one part more of the second", "all"],
)
def test_parts_of_the_whole_response_are_emitted_once(
    streamed: list[tuple[int, int, str]], whole: list[list[str]], text: str
) -> None:
    items = [message(*({"type": "output_text", "text": part} for part in parts)) for parts in whole]
    response = {"object": "response", "status": "completed", "output": items}
    deltas = [delta("output_text", piece, item, part) for item, part, piece in streamed]

    result = read(sse(CREATED, *deltas, {**COMPLETED, "response": response}))

    assert result.choice.text == text


# Repeated events


def numbered(*events: dict[str, Any], start: int = 0) -> list[dict[str, Any]]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events, start)]


ANSWER = numbered(
    CREATED,
    added({**message(), "id": "m"}),
    {**delta("output_text", "Blue"), "item_id": "m"},
    {**delta("output_text", " sky"), "item_id": "m"},
    {**done("output_text", "Blue sky"), "item_id": "m"},
    COMPLETED,
)


@pytest.mark.parametrize("again", [*range(6)], ids=lambda again: f"from {again}")
@pytest.mark.parametrize("came", [*range(1, 6)], ids=lambda came: f"after {came}")
def test_events_replayed_after_a_reconnect_are_ignored(came: int, again: int) -> None:
    result = read(sse(*ANSWER[:came], *ANSWER[min(came, again) :]))

    assert result.without_structure == read(sse(*ANSWER)).without_structure


def test_a_restarted_answer_with_the_same_numbers_is_ignored_up_to_the_received_part() -> None:
    calls = numbered(
        CREATED, added(call("a", "f")), delta("function_call_arguments", "[1"), delta("function_call_arguments", "]")
    )

    result = read(sse(*calls, *calls, {**COMPLETED, "sequence_number": 4}))

    assert [(c.id, c.arguments) for c in result.choice.tool_calls] == [("a", "[1]")]


@pytest.mark.parametrize(
    "number",
    [lambda n: 0, lambda n: None, lambda n: "1", lambda n: n % 3],
    ids=["all 0", "null", "text", "anew for each item"],
)
def test_a_server_that_numbers_events_differently_loses_nothing(number: Any) -> None:
    events = [
        added({**message(), "id": "m"}),
        {**delta("output_text", "Blue"), "item_id": "m"},
        {**delta("output_text", "?"), "item_id": "m"},
    ]
    events += [
        added({**message(), "id": "n"}, 1),
        {**delta("output_text", " sky", 1), "item_id": "n"},
        {**delta("output_text", ".", 1), "item_id": "n"},
    ]

    said = [{**event, "sequence_number": number(at)} for at, event in enumerate(events)]

    assert read(sse(CREATED, *said, COMPLETED)).choice.text == "Blue? sky."


# The end


@pytest.mark.parametrize(
    ("kind", "response", "reason", "word"),
    [
        ("completed", {}, "completed", "completed"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length", "max_output_tokens"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter", "content_filter"),
        ("incomplete", {"incomplete_details": {"reason": "new"}}, "unknown", "new"),
        ("incomplete", {"incomplete_details": None}, "truncated", "incomplete"),
        ("cancelled", {}, "cancelled", "cancelled"),
        ("completed", {"status": "incomplete"}, "truncated", "incomplete"),
    ],
)
def test_how_a_response_ends(kind: str, response: dict[str, Any], reason: Any, word: str) -> None:
    result = read(sse(CREATED, delta("output_text", "Hi"), {"type": f"response.{kind}", "response": response}))

    assert result.end == StreamEnd(reason, saw_done=True)
    assert result.of(Finish) == [Finish(word)]


@pytest.mark.parametrize("rest", [(), ("[DONE]",)], ids=["nothing", "[DONE]"])
def test_without_the_end_of_the_response_it_is_truncated(rest: tuple[str, ...]) -> None:
    result = read(sse(CREATED, delta("output_text", "Hi"), done("output_text", "Hi"), *rest))

    assert result.end == StreamEnd("truncated", open_choices=(0,))
    assert not result.of(Finish)


@pytest.mark.parametrize(
    ("event", "code", "retryable"),
    [
        ({"type": "error", "code": "server_error", "message": "m", "param": None}, "server_error", True),
        ({"type": "error", "error": {"code": "invalid_prompt", "message": "m"}}, "invalid_prompt", False),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}}},
            "rate_limit_exceeded",
            True,
        ),
        ({"error": {"code": "server_error", "message": "m"}}, "server_error", True),
    ],
)  # fmt: skip
def test_every_form_of_an_error_is_an_error_after_the_events_before_it(
    event: Any, code: str, *, retryable: bool
) -> None:
    result = read(sse(CREATED, delta("output_text", "Hi"), event))

    assert result.completion.text == "Hi"
    assert result.end.reason == "provider_error"
    assert result.error is not None
    assert (result.error.code, result.error.retryable, result.error.detail) == (code, retryable, "m")


def test_a_failure_without_an_error_object_is_an_error_too() -> None:
    result = read(sse(CREATED, {"type": "response.failed", "response": {"error": None, "usage": {"input_tokens": 3}}}))

    assert result.error is not None
    assert result.completion.usage == Usage(3, details={"input_tokens": 3})


def test_a_response_that_still_runs_in_the_background_is_not_complete() -> None:
    result = read(json.dumps({"id": "r", "object": "response", "status": "queued", "output": []}).encode())

    assert result.end.reason == "truncated"
    assert [event.kind for event in result.of(ProviderNotice)] == ["queued"]


@pytest.mark.parametrize(
    "event",
    [
        ServerSentEvent.of(json.dumps(CREATED)),
        ServerSentEvent.of("{}", "response.created"),
        ServerSentEvent.of(PLAIN.decode()),
        ServerSentEvent.of(json.dumps(delta("output_text", "a stream that was resumed"))),
    ],
)
def test_the_first_event_identifies_the_dialect(event: ServerSentEvent) -> None:
    assert for_event(event) is OpenAIResponses
