"""Law 7 for answers of many items, calls, choices and parts: time is linear in their number, in every dialect that has them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from tests.laws.test_law_07_linear_and_bounded import LINEAR, growth

PIPELINE = sk.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()
DONE = "data: [DONE]\n\n"
CREATED = {"type": "response.created", "response": {"id": "r", "object": "response"}}


def sse(*events: dict[str, Any]) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


def chat(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> str:
    return sse({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def call(number: int, index: int | None) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {**place, "id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def calls(index: Callable[[int], int | None]) -> Callable[[int], str]:
    def body(count: int) -> str:
        chunks = [chat({"tool_calls": [call(number, index(number))]}) for number in range(count)]
        return "".join([*chunks, chat({}, finish="tool_calls"), DONE])

    return body


def choices(count: int) -> str:
    return (
        "".join(chat({"content": "a"}, n) for n in range(count))
        + "".join(chat({}, n, "stop") for n in range(count))
        + DONE
    )


def full_message(count: int) -> str:
    pieces = "".join(chat({"tool_calls": [call(number, number)]}) for number in range(count))
    whole = {"role": "assistant", "tool_calls": [call(number, None) for number in range(count)]}
    return pieces + sse({"choices": [{"index": 0, "message": whole, "finish_reason": "tool_calls"}]}) + DONE


def reasoning_details(count: int) -> str:
    details = [{"type": "reasoning.text", "text": "a", "index": number} for number in range(count)]
    return "".join(chat({"reasoning_details": [one]}) for one in details) + chat({}, finish="stop") + DONE


def siblings(count: int) -> str:
    return (
        "".join(sse({"choices": [{"index": 0, "delta": {"content": "a"}}], "n": number}) for number in range(count))
        + DONE
    )


def identity_repeated(count: int) -> str:
    chunks = (chat({"tool_calls": [{**call(1, 0), "function": {"name": "f", "arguments": "a"}}]}) for _ in range(count))
    return "".join(chunks) + chat({}, finish="tool_calls") + DONE


def responses(*, numbered: bool, kind: str) -> Callable[[int], str]:
    def body(count: int) -> str:
        events, items = [CREATED], list[dict[str, Any]]()
        for n in range(count):
            place = {"output_index": n} if numbered else {}
            item: dict[str, Any] = {"id": f"i{n}", "type": kind}
            if kind == "message":
                item |= {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
                delta = {"type": "response.output_text.delta", "content_index": 0, "delta": "a"}
            else:
                item |= {"call_id": f"c{n}", "name": "f", "arguments": "{}"}
                delta = {"type": "response.function_call_arguments.delta", "delta": "{}"}
            started = {**item, "content": []} if kind == "message" else {**item, "arguments": ""}
            events += [
                {"type": "response.output_item.added", **place, "item": started},
                {**delta, **place, "item_id": item["id"]},
                {"type": "response.output_item.done", **place, "item": item},
            ]
            items.append(item)
        numbers = [{**event, "sequence_number": at} for at, event in enumerate(events)]
        done = {"id": "r", "object": "response", "status": "completed", "output": items}
        return sse(*numbers, {"type": "response.completed", "response": done})

    return body


def parts_of_one_message(count: int) -> str:
    place = {"item_id": "i", "output_index": 0}
    deltas = [{"type": "response.output_text.delta", **place, "content_index": n, "delta": "a"} for n in range(count)]
    item = {"id": "i", "type": "message", "content": [{"type": "output_text", "text": "a"} for _ in range(count)]}
    done = {"id": "r", "object": "response", "status": "completed", "output": [item]}
    end = [{"type": "response.output_item.done", "output_index": 0, "item": item}]
    return sse(CREATED, *deltas, *end, {"type": "response.completed", "response": done})


def anthropic(count: int) -> str:
    blocks = [
        event
        for n in range(count)
        for event in (
            {
                "type": "content_block_start",
                "index": n,
                "content_block": {"type": "tool_use", "id": f"t{n}", "name": "f", "input": {}},
            },
            {"type": "content_block_stop", "index": n},
        )
    ]
    end = [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}]
    return sse({"type": "message_start", "message": {"id": "m", "content": []}}, *blocks, *end)


def gemini(count: int) -> str:
    parts = [{"functionCall": {"name": "f", "id": f"c{n}", "args": {"n": n}}} for n in range(count)]
    chunks = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    return sse(*chunks, {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]})


def gemini_arguments(count: int) -> str:
    pieces = [[{"jsonPath": f"$.l[{n}].a", "stringValue": "x"}] for n in range(count)]
    parts = [
        {"name": "f", "willContinue": True},
        *({"partialArgs": piece, "willContinue": True} for piece in pieces),
        {},
    ]
    chunks = [{"candidates": [{"content": {"parts": [{"functionCall": part}]}}]} for part in parts]
    return sse(*chunks, {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]})


def cohere(count: int) -> str:
    start = {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}}
    events = [
        {
            "type": "tool-call-start",
            "index": n,
            "delta": {"message": {"tool_calls": {"id": f"t{n}", "function": {"name": "f", "arguments": "{}"}}}},
        }
        for n in range(count)
    ]
    return sse(start, *events, {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}})


def interactions(count: int) -> str:
    events = [
        event
        for n in range(count)
        for event in (
            {"event_type": "step.start", "index": n, "step": {"type": "function_call", "id": f"c{n}", "name": "f"}},
            {"event_type": "step.stop", "index": n},
        )
    ]
    whole = {
        "id": "v",
        "status": "completed",
        "steps": [{"type": "function_call", "id": f"c{n}", "name": "f", "arguments": {}} for n in range(count)],
    }
    return sse(*events, {"event_type": "interaction.completed", "interaction": whole})


def ollama(count: int) -> str:
    line = {"model": "m", "created_at": "x", "done": False}
    made = [
        {**line, "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"n": n}}}]}} for n in range(count)
    ]
    return "".join(json.dumps(one) + "\n" for one in [*made, {**line, "message": {}, "done": True}])


def dashscope(count: int) -> str:
    chunks = [
        {"output": {"choices": [{"index": n, "message": {"content": "a"}, "finish_reason": "stop"}]}, "request_id": "r"}
        for n in range(count)
    ]
    return sse(*chunks)


def watsonx(count: int) -> str:
    results = [
        {"generated_text": "a", "generated_token_count": 1, "input_token_count": 2, "stop_reason": "max_tokens"}
        for _ in range(count)
    ]
    return sse({"model_id": "m", "results": results})


def cloudflare(count: int) -> str:
    calls = [{"response": "", "tool_calls": [{"name": "f", "arguments": {"n": n}}]} for n in range(count)]
    return sse(*calls) + DONE


BODIES: dict[str, Callable[[int], str]] = {
    "calls with their indexes": calls(lambda number: number),
    "calls with one index": calls(lambda number: 0),
    "calls without indexes": calls(lambda number: None),
    "a call whose id and name are repeated": identity_repeated,
    "choices": choices,
    "a full message of many calls": full_message,
    "reasoning details": reasoning_details,
    "a sibling that changes": siblings,
    "Responses, messages": responses(numbered=True, kind="message"),
    "Responses, messages by their ids": responses(numbered=False, kind="message"),
    "Responses, calls": responses(numbered=True, kind="function_call"),
    "Responses, calls by their ids": responses(numbered=False, kind="function_call"),
    "Responses, parts of one message": parts_of_one_message,
    "Anthropic, blocks": anthropic,
    "Gemini, calls": gemini,
    "Gemini, streamed arguments": gemini_arguments,
    "Cohere, calls": cohere,
    "Interactions, steps": interactions,
    "Ollama, calls": ollama,
    "DashScope, choices": dashscope,
    "watsonx, results": watsonx,
    "Cloudflare, calls": cloudflare,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_time_is_linear_in_the_number_of_items(body: Callable[[int], str]) -> None:
    made = {size: body(size).encode() for size in (125, 1000)}

    def read(size: int) -> None:
        *_, completion, end = PIPELINE.run([made[size]])
        assert isinstance(completion, sk.Completion)
        assert isinstance(end, sk.StreamEnd)
        assert end.reason in ("completed", "tool_calls", "length")
        completion.to_dict()
        completion.to_openai()

    assert growth(read, 125) < LINEAR


OPTIONS: dict[str, dict[str, Any]] = {
    "reasoning tags": {"reasoning_tags": ("<think>", "</think>")},
    "cumulative": {"cumulative": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_time_is_linear_in_the_number_of_choices_with_every_option(options: dict[str, Any]) -> None:
    pipeline = sk.Lines() | sk.Parse() | sk.Extract(**options)
    made = {size: choices(size).replace('"a"', '"<thi"').encode() for size in (125, 1000)}

    assert growth(lambda size: list(pipeline.run([made[size]])), 125) < LINEAR


def test_time_is_linear_in_the_number_of_tags_of_one_delta() -> None:
    pipeline = sk.Lines() | sk.Parse() | sk.Extract(reasoning_tags=("<think>", "</think>"))

    def read(size: int) -> None:
        events = list(pipeline.run([(chat({"content": "<think>a</think>b" * size}) + DONE).encode()]))
        assert len(events) == 2 * size + 1

    assert growth(read, 1000) < LINEAR
