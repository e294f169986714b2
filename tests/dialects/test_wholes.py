"""A text sent in deltas and again as a whole: the part missing in the deltas is emitted, and nothing twice."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from tests.dialects.streams import Result, read, sse

DONE = "[DONE]"


def named(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: " + event["type"].encode() + b"\n" + sse(event) for event in events)


# One body for each way a format sends a text twice, as deltas and as a whole


def chat(deltas: list[str], whole: str, field: str = "content") -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {field: piece}}]} for piece in deltas]
    end = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", field: whole}}]}
    return sse(*chunks, end, DONE)


def chat_beside(deltas: list[str], whole: str) -> bytes:
    """The message next to the delta in every chunk, as Perplexity sends it."""
    said, chunks = "", list[Any]()
    for piece in deltas:
        said += piece
        chunks.append({"choices": [{"index": 0, "delta": {"content": piece}, "message": {"content": said}}]})
    last = {"index": 0, "delta": {"content": ""}, "message": {"content": whole}, "finish_reason": "stop"}
    return sse(*chunks, {"choices": [last]}, DONE)


KINDS = {
    "output_text": ("message", "content", "output_text", "text"),
    "refusal": ("message", "content", "refusal", "refusal"),
    "reasoning_text": ("reasoning", "content", "reasoning_text", "text"),
    "reasoning_summary_text": ("reasoning", "summary", "summary_text", "text"),
}


def responses(deltas: list[str], whole: str, kind: str = "output_text", *, where: str = "done") -> bytes:
    item_kind, list_name, part_kind, text_name = KINDS[kind]
    place = {
        "item_id": "i",
        "output_index": 0,
        "summary_index" if kind == "reasoning_summary_text" else "content_index": 0,
    }
    part = {"type": part_kind, text_name: whole}
    item = {
        "type": item_kind,
        "id": "i",
        list_name: [part],
        **({"role": "assistant"} if item_kind == "message" else {}),
    }
    response: dict[str, Any] = {"id": "r", "object": "response", "status": "completed", "output": []}
    part_event = "reasoning_summary_part" if kind == "reasoning_summary_text" else "content_part"
    wholes = {
        "done": {"type": f"response.{kind}.done", **place, text_name: whole},
        "part": {"type": f"response.{part_event}.done", **place, "part": part},
        "item": {"type": "response.output_item.done", "output_index": 0, "item": item},
    }
    events = [wholes[where]] if where in wholes else list(wholes.values()) if where == "everywhere" else []
    if where in ("response", "everywhere"):
        response["output"] = [item]
    return named(
        {"type": "response.created", "response": {"id": "r", "object": "response"}},
        *({"type": f"response.{kind}.delta", **place, "delta": piece} for piece in deltas),
        *events,
        {"type": "response.completed", "response": response},
    )


def assistants(deltas: list[str], whole: str) -> bytes:
    def event(name: str, data: dict[str, Any]) -> bytes:
        return f"event: {name}\n".encode() + sse(data)

    def text(value: str) -> list[dict[str, Any]]:
        return [{"index": 0, "type": "text", "text": {"value": value, "annotations": []}}]

    said = [event("thread.message.delta", {"id": "m", "delta": {"content": text(piece)}}) for piece in deltas]
    end = event("thread.message.completed", {"id": "m", "content": text(whole)})
    return b"".join(
        [event("thread.run.created", {"id": "r"}), *said, end, event("thread.run.completed", {}), sse(DONE)]
    )


def transcription(deltas: list[str], whole: str) -> bytes:
    said = [{"type": "transcript.text.delta", "delta": piece} for piece in deltas]
    return sse(*said, {"type": "transcript.text.done", "text": whole})


def tgi(deltas: list[str], whole: str) -> bytes:
    tokens = [{"token": {"id": 1, "text": piece, "logprob": 0, "special": False}} for piece in deltas]
    end = {"token": {"id": 2, "text": "</s>", "logprob": 0, "special": True}, "generated_text": whole}
    return sse(*tokens, {**end, "details": {"finish_reason": "eos_token", "generated_tokens": 1}})


def interactions(deltas: list[str], whole: str) -> bytes:
    said = [{"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": piece}} for piece in deltas]
    start = {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}}
    steps = [{"type": "model_output", "content": [{"type": "text", "text": whole}]}]
    end = {"event_type": "interaction.completed", "interaction": {"id": "v", "status": "completed", "steps": steps}}
    return sse(start, *said, end)


WAYS: dict[str, Callable[[list[str], str], bytes]] = {
    "a chat message after its deltas": chat,
    "a chat message beside its deltas": chat_beside,
    "reasoning_content of a message": lambda deltas, whole: chat(deltas, whole, "reasoning_content"),
    "reasoning of a message": lambda deltas, whole: chat(deltas, whole, "reasoning"),
    "refusal of a message": lambda deltas, whole: chat(deltas, whole, "refusal"),
    **{
        f"Responses, {kind}, {where}": lambda deltas, whole, kind=kind, where=where: responses(  # type: ignore[misc]
            deltas, whole, kind, where=where
        )
        for kind in KINDS
        for where in ("done", "part", "item", "response", "everywhere")
    },
    "Assistants": assistants,
    "a transcription": transcription,
    "TGI": tgi,
    "Interactions": interactions,
}
each = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def said(result: Result) -> str:
    return "".join(
        event.text for event in result.events if isinstance(event, sk.TextDelta | sk.ReasoningDelta | sk.RefusalDelta)
    )


@each
@given(st.lists(st.text("ab😀 ", max_size=3), max_size=4), st.text("ab😀 ", max_size=4))
def test_the_part_missing_in_deltas_is_emitted_and_nothing_twice(
    way: Callable[[list[str], str], bytes], deltas: list[str], rest: str
) -> None:
    whole = "".join(deltas) + rest

    result = read(way(deltas, whole))

    assert said(result) == whole
    assert result.notices("conflict") == []
    assert result.end.reason == "completed"


@each
def test_if_the_whole_contradicts_the_deltas_the_streamed_text_stands(way: Callable[[list[str], str], bytes]) -> None:
    result = read(way(["Blue ", "sea"], "Blue sky is far"))

    assert said(result) == "Blue sea"
    assert result.notices("conflict")
    assert "sky" not in repr(result.notices("conflict"))


@each
@pytest.mark.parametrize("whole", ["", "Blue"], ids=["empty", "shorter"])
def test_a_whole_that_is_shorter_adds_nothing(way: Callable[[list[str], str], bytes], whole: str) -> None:
    assert said(read(way(["Blue ", "sky"], whole))) == "Blue sky"


def test_a_full_message_belongs_only_to_its_choice() -> None:
    def of(index: int, **more: Any) -> dict[str, Any]:
        return {"choices": [{"index": index, **more}]}

    result = read(
        sse(
            of(0, delta={"content": "a"}),
            of(1, delta={"content": "x"}),
            of(0, message={"content": "ab"}, finish_reason="stop"),
            of(1, message={"content": "xy"}, finish_reason="stop"),
            of(2, message={"content": "n"}, finish_reason="stop"),
            DONE,
        )
    )

    assert [choice.content for choice in result.completion.choices] == ["ab", "xy", "n"]


def test_a_whole_message_is_emitted_once() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    note = {"type": "url_citation", "url": "https://example.com"}
    details = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "index": 0}
    message = {
        "role": "assistant",
        "content": "Hi",
        "reasoning": "Hm.",
        "reasoning_details": [details],
        "tool_calls": [call, {**call, "id": "t2"}],
        "annotations": [note],
    }
    begun = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning": "Hm", "reasoning_details": [{**details, "text": "Hm", "signature": None}]},
        {"content": "Hi"},
        {"annotations": [note]},
        {"tool_calls": [begun]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

    choice = read(sse(*chunks, end, DONE)).choice

    assert (choice.content, choice.reasoning, choice.annotations) == ("Hi", "Hm.", (note,))
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [("t1", "f", '{"a":1}'), ("t2", "f", '{"a":1}')]
    assert [(part.text, part.data["signature"]) for part in choice.parts] == [("Hm.", "c2ln")]


# Arguments


def call_events(deltas: list[str], whole: str | None, kind: str = "function_call") -> bytes:
    name = "arguments" if kind == "function_call" else "input"
    event = "function_call_arguments" if kind == "function_call" else "custom_tool_call_input"
    item = {"type": kind, "id": "i", "call_id": "c", "name": "f", name: ""}
    response = {"id": "r", "object": "response"}
    return named(
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        *({"type": f"response.{event}.delta", "output_index": 0, "item_id": "i", "delta": piece} for piece in deltas),
        {"type": f"response.{event}.done", "output_index": 0, "item_id": "i", name: whole},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, name: whole, "status": "completed"}},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [{**item, name: whole}]},
        },
    )


@pytest.mark.parametrize("kind", ["function_call", "custom_tool_call"])
@pytest.mark.parametrize(
    ("deltas", "whole", "arguments", "conflicts"),
    [
        (['{"a":', "1}"], '{"a":1}', '{"a":1}', False),
        (['{"a":'], '{"a":1}', '{"a":1}', False),
        ([], '{"a":1}', '{"a":1}', False),
        (['{"a":1}'], "", '{"a":1}', False),
        (['{"a":1}'], None, '{"a":1}', False),
        (['{"a":1}'], '{"a":22}', '{"a":1}', True),
    ],
    ids=["the same", "more", "all", "nothing", "null", "something else"],
)
def test_arguments_of_a_done_event(
    kind: str, deltas: list[str], whole: str | None, arguments: str, conflicts: bool
) -> None:
    result = read(call_events(deltas, whole, kind))

    assert [(c.id, c.name, c.arguments) for c in result.choice.tool_calls] == [("c", "f", arguments)]
    assert bool(result.notices("conflict")) is conflicts


@pytest.mark.parametrize("whole", ["", "{}", None], ids=json.dumps)
def test_a_call_without_arguments_in_a_response_has_an_empty_object(whole: str | None) -> None:
    result = read(call_events([], whole))

    assert [call.arguments for call in result.choice.tool_calls] == ["{}"]
    assert result.completion.to_dict()["output"][0]["arguments"] == "{}"


def test_a_custom_call_without_input_has_empty_input() -> None:
    assert [call.arguments for call in read(call_events([], "", "custom_tool_call")).choice.tool_calls] == [""]
