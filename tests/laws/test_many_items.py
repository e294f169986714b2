"""Law 7 for answers of many items, calls, choices and parts: time is linear in their number, in every dialect that has them."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from tests.laws.test_law_07_linear_and_bounded import LINEAR, growth

PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()
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


def cohere_v1(count: int) -> str:
    pieces = [{"event_type": "tool-calls-chunk", "tool_call_delta": {"index": n, "name": "f"}} for n in range(count)]
    cited = [
        {"event_type": "citation-generation", "citations": [{"start": n, "end": n + 1, "text": "a"}]}
        for n in range(count)
    ]
    calls = [{"name": "f", "parameters": {}}] * count
    response = {"text": "", "generation_id": "g", "tool_calls": calls, "finish_reason": "COMPLETE"}
    return sse(*pieces, *cited, {"event_type": "stream-end", "response": response})


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


def custom_calls(count: int) -> str:
    made = [{"index": 0, "id": f"c{n}", "type": "custom", "custom": {"name": "f", "input": "x"}} for n in range(count)]
    return "".join(chat({"tool_calls": [one]}) for one in made) + chat({}, finish="tool_calls") + DONE


def calls_in_one_chunk(count: int) -> str:
    return chat({"tool_calls": [call(n, None) for n in range(count)]}) + chat({}, finish="tool_calls") + DONE


def calls_without_ids(count: int) -> str:
    made = [{"index": 0, "function": {"name": f"f{n % 2}", "arguments": '{"a":1}'}} for n in range(count)]
    return "".join(chat({"tool_calls": [one]}) for one in made) + chat({}, finish="tool_calls") + DONE


def interleaved_calls(count: int) -> str:
    begun = [chat({"tool_calls": [{**call(n, n), "function": {"name": "f", "arguments": ""}}]}) for n in range(count)]
    rest = [chat({"tool_calls": [{"index": n, "function": {"arguments": "{}"}}]}) for n in range(count)]
    return "".join([*begun, *rest, chat({}, finish="tool_calls"), DONE])


def choices_at_once(count: int) -> str:
    made = [{"index": n, "delta": {"content": "a"}, "finish_reason": None} for n in range(count)]
    ends = [{"index": n, "delta": {}, "finish_reason": "stop"} for n in range(count)]
    return sse({"choices": made}, {"choices": ends}) + DONE


def legacy_choices(count: int) -> str:
    made = [{"index": n, "text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [0]}} for n in range(count)]
    ends = [{"index": n, "text": "", "finish_reason": "stop"} for n in range(count)]
    return sse(*({"object": "text_completion", "choices": [one]} for one in [*made, *ends])) + DONE


def annotations(count: int) -> str:
    made = [
        {"type": "url_citation", "url_citation": {"url": f"https://a.example/{n}", "title": "t"}} for n in range(count)
    ]
    return "".join(chat({"content": "a", "annotations": [one]}) for one in made) + chat({}, finish="stop") + DONE


def logprobs(count: int) -> str:
    one = {"content": [{"token": "a", "logprob": -1, "top_logprobs": []}]}
    chunks = [{"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": one}]} for _ in range(count)]
    return sse(*chunks) + chat({}, finish="stop") + DONE


def content_parts(count: int) -> str:
    parts = [part for n in range(count) for part in ({"type": "text", "text": "a"}, {"type": "image_url", "n": n})]
    return chat({"content": parts}) + chat({}, finish="stop") + DONE


def encrypted_reasoning(count: int) -> str:
    made = [{"type": "reasoning.encrypted", "id": "e", "index": 0, "data": f"d{n} "} for n in range(count)]
    return "".join(chat({"reasoning_details": [one]}) for one in made) + chat({}, finish="stop") + DONE


def responses_annotations(count: int) -> str:
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    made = [
        {"type": "url_citation", "url": f"https://a.example/{n}", "start_index": n, "end_index": n + 1}
        for n in range(count)
    ]
    events = [{"type": "response.output_text.annotation.added", **place, "annotation": one} for one in made]
    part = {"type": "output_text", "text": "a" * count, "annotations": made}
    item = {"id": "i", "type": "message", "role": "assistant", "content": [part]}
    text = {"type": "response.output_text.delta", **place, "delta": "a" * count}
    ends = [
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    done = {"id": "r", "object": "response", "status": "completed", "output": [item]}
    return sse(CREATED, text, *events, *ends, {"type": "response.completed", "response": done})


def responses_whole(count: int) -> str:
    items = [
        item
        for n in range(count)
        for item in (
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"},
        )
    ]
    return json.dumps({"id": "r", "object": "response", "status": "completed", "output": items})


def responses_without_places(count: int) -> str:
    deltas = [{"type": "response.output_text.delta", "item_id": f"i{n}", "delta": "a"} for n in range(count)]
    items = [
        {"id": f"other{n}", "type": "message", "content": [{"type": "output_text", "text": "ab"}]} for n in range(count)
    ]
    done = {"id": "r", "object": "response", "status": "completed", "output": items}
    return sse(CREATED, *deltas, {"type": "response.completed", "response": done})


def responses_one_number(count: int) -> str:
    """All items have the number 0, and only their ids distinguish them."""
    events = [
        event
        for n in range(count)
        for event in (
            {"type": "response.output_item.added", "output_index": 0, "item": {"id": f"i{n}", "type": "message"}},
            {"type": "response.output_text.delta", "output_index": 0, "item_id": f"i{n}", "delta": "a"},
        )
    ]
    return sse(CREATED, *events, {"type": "response.completed", "response": {"id": "r", "status": "completed"}})


def anthropic_texts(count: int) -> str:
    citation = {"type": "web_search_result_location", "url": "https://a.example/", "cited_text": "a"}
    blocks = [
        event
        for n in range(count)
        for event in (
            {"type": "content_block_start", "index": n, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": n, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "content_block_delta", "index": n, "delta": {"type": "citations_delta", "citation": citation}},
            {"type": "content_block_stop", "index": n},
        )
    ]
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    return sse({"type": "message_start", "message": {"id": "m", "content": []}}, *blocks, *end)


def anthropic_whole(count: int) -> str:
    blocks = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": {"n": n}} for n in range(count)]
    return json.dumps({"type": "message", "id": "m", "role": "assistant", "content": blocks, "stop_reason": "tool_use"})


def anthropic_server_tool(count: int) -> str:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": " "}}
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    stop = {"type": "content_block_stop", "index": 0}
    return sse({"type": "message_start", "message": {"id": "m", "content": []}}, start, *[piece] * count, stop, *end)


def gemini_candidates(count: int) -> str:
    made = [{"index": n, "content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"} for n in range(count)]
    return sse(*({"candidates": [one]} for one in made))


def gemini_parts(count: int) -> str:
    parts = [part for _ in range(count) for part in ({"text": "a", "thoughtSignature": "s"}, {"inlineData": {}})]
    return sse({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]})


def gemini_grounding(count: int) -> str:
    chunks = [{"web": {"uri": f"https://a.example/{n}", "title": "t"}} for n in range(count)]
    supports = [
        {"segment": {"startIndex": n, "endIndex": n + 1, "text": "a"}, "groundingChunkIndices": [n]}
        for n in range(count)
    ]
    citations = [{"startIndex": n, "endIndex": n + 1, "uri": "https://a.example/"} for n in range(count)]
    said = {
        "groundingMetadata": {"groundingChunks": chunks, "groundingSupports": supports},
        "citationMetadata": {"citationSources": citations},
    }
    candidate = {"content": {"role": "model", "parts": [{"text": "a" * count}]}, **said, "finishReason": "STOP"}
    return sse({"candidates": [candidate]})


def gemini_calls_without_ids(count: int) -> str:
    chunks = [
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"n": n}}}]}}]}
        for n in range(count)
    ]
    return sse(*chunks, {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]})


def cohere_contents(count: int) -> str:
    events = [
        event
        for n in range(count)
        for event in (
            {"type": "content-start", "index": n, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": n, "delta": {"message": {"content": {"text": "a"}}}},
            {"type": "content-end", "index": n},
            {
                "type": "citation-start",
                "index": n,
                "delta": {"message": {"citations": {"start": n, "end": n + 1, "text": "a", "sources": []}}},
            },
        )
    ]
    start = {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}}
    return sse(start, *events, {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}})


def cohere_calls_without_index(count: int) -> str:
    start = {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}}
    function = {"name": "f", "arguments": "{}"}
    events = [
        {"type": "tool-call-start", "delta": {"message": {"tool_calls": {"id": f"t{n}", "function": function}}}}
        for n in range(count)
    ]
    return sse(start, *events, {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}})


def interactions_contents(count: int) -> str:
    start = {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}}
    annotation = {"type": "url_citation", "url": "https://a.example/"}
    deltas = [
        {"event_type": "step.delta", "index": 0, "delta": delta}
        for n in range(count)
        for delta in (
            {"type": "text", "text": "a"},
            {"type": "text_annotation_delta", "annotations": [annotation]},
            {"type": "image", "data": f"{n}"},
        )
    ]
    whole = {"id": "v", "status": "completed", "steps": []}
    return sse(start, *deltas, {"event_type": "interaction.completed", "interaction": whole})


def assistants(count: int) -> str:
    def event(name: str, data: dict[str, Any]) -> str:
        return f"event: {name}\n{sse(data)}"

    deltas = [{"id": f"m{n}", "delta": {"content": [{"index": n, "text": {"value": "a"}}]}} for n in range(count)]
    calls = [
        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": ""}}
        for n in range(count)
    ]
    steps = [{"id": "s", "delta": {"step_details": {"tool_calls": [one]}}} for one in calls]
    return "".join(
        [
            *(event("thread.message.delta", one) for one in deltas),
            *(event("thread.run.step.delta", one) for one in steps),
            event("thread.run.completed", {"id": "r", "status": "completed"}),
            DONE,
        ]
    )


def dashscope_calls(count: int) -> str:
    function = {"name": "f", "arguments": "{}"}
    message = {"tool_calls": [{"index": n, "id": f"c{n}", "function": function} for n in range(count)]}
    return sse({"output": {"choices": [{"message": message, "finish_reason": "tool_calls"}]}, "request_id": "r"})


def tgi(count: int) -> str:
    tokens = [{"index": n, "token": {"id": n, "text": "a", "logprob": -1}} for n in range(count)]
    end = {"generated_text": "a" * count, "details": {"finish_reason": "eos_token", "generated_tokens": count}}
    return sse(*tokens, {"token": {"id": 0, "text": "</s>", "special": True}, **end})


def transcription(count: int) -> str:
    one = {"type": "transcript.text.delta", "delta": "a", "logprobs": [{"token": "a", "logprob": -1}]}
    return sse(*[one] * count, {"type": "transcript.text.done", "text": "a" * count})


def ollama_in_one_line(count: int) -> str:
    calls = [{"function": {"name": "f", "arguments": {"n": n}}} for n in range(count)]
    line = {"model": "m", "created_at": "x", "done": True, "message": {"content": "", "tool_calls": calls}}
    return json.dumps(line) + "\n"


def replicate(count: int) -> str:
    return "event: output\ndata: a\n\n" * count + "event: done\ndata: {}\n\n"


def writer(count: int) -> str:
    return sse(*[{"value": "a"}] * count) + DONE


def calls_that_each_end(count: int) -> str:
    return "".join(chat({"tool_calls": [call(n, n)]}, finish="tool_calls") for n in range(count)) + DONE


def reasoning_that_ends(count: int) -> str:
    details = [{"type": "reasoning.text", "text": "a", "index": number} for number in range(count)]
    return "".join(chat({"reasoning_details": [one]}, finish="stop") for one in details) + DONE


def audio(count: int) -> str:
    pieces = [{"id": "a", "data": "QUFB" * 64, "transcript": "a"} for _ in range(count)]
    return "".join(chat({"audio": one}) for one in pieces) + chat({}, finish="stop") + DONE


def a_name_in_pieces(count: int) -> str:
    pieces = [{"index": 0, "function": {"name": f"{n} "}} for n in range(count)]
    return "".join(chat({"tool_calls": [one]}) for one in pieces) + chat({}, finish="tool_calls") + DONE


def names_without_arguments(count: int) -> str:
    one = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    return chat({"tool_calls": [one]}) * count + chat({}, finish="tool_calls") + DONE


def responses_in_one_stream(count: int) -> str:
    made = [
        {"id": f"r{n}", "choices": [{"index": n, "delta": {"content": "a"}, "finish_reason": "stop"}]}
        for n in range(count)
    ]
    return sse(*made) + DONE


def usage_by_new_names(count: int) -> str:
    used = [{"prompt_tokens": 1, "completion_tokens": n, f"name_{n}": n} for n in range(count)]
    chunks = [{"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": one} for one in used]
    return sse(*chunks) + chat({}, finish="stop") + DONE


def new_siblings(count: int) -> str:
    chunks = [{"choices": [{"index": 0, "delta": {"content": "a"}}], f"name_{n}": n} for n in range(count)]
    return sse(*chunks) + chat({}, finish="stop") + DONE


def anthropic_usage(count: int) -> str:
    start = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}}
    deltas = [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": n, f"n{n}": n}} for n in range(count)]
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    return sse(start, *deltas, *end)


def anthropic_late_fields(count: int) -> str:
    start = {"type": "message_start", "message": {"id": "m", "content": []}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    late = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", f"n{n}": n}}
        for n in range(count)
    ]
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    return sse(start, block, {"type": "content_block_stop", "index": 0}, *late, *end)


def anthropic_messages_again(count: int) -> str:
    start = {"type": "message_start", "message": {"id": "m", "content": []}}
    blocks = [
        {"type": "content_block_start", "index": n, "content_block": {"type": "text", "text": "a"}}
        for n in range(count)
    ]
    again = {"type": "message", "id": "m", "role": "assistant", "content": [], "stop_reason": "end_turn"}
    return sse(start, *blocks, *[again] * count, {"type": "message_stop"})


def gemini_ends(count: int) -> str:
    def chunk(n: int) -> dict[str, Any]:
        web = [{"web": {"uri": f"https://a.example/{n}", "title": "t"}}]
        supports = [{"segment": {"startIndex": n, "endIndex": n + 1}, "groundingChunkIndices": [0]}]
        said = {"groundingMetadata": {"groundingChunks": web, "groundingSupports": supports}}
        word = "STOP" if n % 2 else "MAX_TOKENS"
        return {"candidates": [{"content": {"parts": [{"text": "a"}]}, **said, "finishReason": word}]}

    return sse(*map(chunk, range(count)))


def gemini_deep_arguments(count: int) -> str:
    deep = {"jsonPath": "$" + ".a" * (count // 8), "numberValue": 1}
    parts = [
        {"name": "f", "partialArgs": [deep], "willContinue": True},
        *({"partialArgs": [{"jsonPath": "$.a"}], "willContinue": True} for _ in range(count)),
        {},
    ]
    chunks = [{"candidates": [{"content": {"parts": [{"functionCall": part}]}}]} for part in parts]
    return sse(*chunks, {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]})


def responses_parts_again(count: int) -> str:
    place = {"item_id": "i", "output_index": 0}
    deltas = [{"type": "response.output_text.delta", **place, "content_index": n, "delta": "a"} for n in range(count)]
    item = {"id": "i", "type": "message", "content": [{"type": "output_text", "text": "a"}]}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    running = {
        "type": "response.in_progress",
        "object": "response",
        "id": "r",
        "status": "in_progress",
        "output": [item],
    }
    end = {"type": "response.completed", "response": {"id": "r", "status": "completed"}}
    return sse(CREATED, *deltas, *[done, running] * count, end)


def responses_items_again(count: int) -> str:
    item = {"id": "i", "type": "web_search_call"}
    done = [
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, f"n{n}": n}} for n in range(count)
    ]
    end = {"type": "response.completed", "response": {"id": "r", "status": "completed"}}
    return sse(CREATED, {"type": "response.output_item.added", "output_index": 0, "item": item}, *done, end)


BODIES: dict[str, Callable[[int], str]] = {
    "calls with their indexes": calls(lambda number: number),
    "calls with one index": calls(lambda number: 0),
    "calls without indexes": calls(lambda number: None),
    "a call whose id and name are repeated": identity_repeated,
    "choices": choices,
    "a full message of many calls": full_message,
    "reasoning details": reasoning_details,
    "a sibling that changes": siblings,
    "custom calls with one index": custom_calls,
    "calls in one chunk": calls_in_one_chunk,
    "calls without ids": calls_without_ids,
    "interleaved calls": interleaved_calls,
    "choices in one chunk": choices_at_once,
    "choices of completions": legacy_choices,
    "annotations": annotations,
    "log probabilities": logprobs,
    "parts of a content": content_parts,
    "pieces of encrypted reasoning": encrypted_reasoning,
    "calls that each end the choice": calls_that_each_end,
    "reasoning details that each end the choice": reasoning_that_ends,
    "pieces of audio": audio,
    "a name in pieces": a_name_in_pieces,
    "a call that begins again and again": names_without_arguments,
    "responses in one stream": responses_in_one_stream,
    "usage by new names": usage_by_new_names,
    "siblings by new names": new_siblings,
    "Responses, messages": responses(numbered=True, kind="message"),
    "Responses, messages by their ids": responses(numbered=False, kind="message"),
    "Responses, calls": responses(numbered=True, kind="function_call"),
    "Responses, calls by their ids": responses(numbered=False, kind="function_call"),
    "Responses, parts of one message": parts_of_one_message,
    "Responses, annotations": responses_annotations,
    "Responses, an item that ends again and again": responses_items_again,
    "Responses, a part again and again": responses_parts_again,
    "Responses, a whole response": responses_whole,
    "Responses, items with other ids in the end": responses_without_places,
    "Responses, items with one number": responses_one_number,
    "Anthropic, blocks": anthropic,
    "Anthropic, usage by new names": anthropic_usage,
    "Anthropic, late fields of a block": anthropic_late_fields,
    "Anthropic, whole messages after blocks": anthropic_messages_again,
    "Anthropic, texts with citations": anthropic_texts,
    "Anthropic, a whole message": anthropic_whole,
    "Anthropic, input of a server tool": anthropic_server_tool,
    "Gemini, calls": gemini,
    "Gemini, streamed arguments": gemini_arguments,
    "Gemini, calls without ids": gemini_calls_without_ids,
    "Gemini, candidates": gemini_candidates,
    "Gemini, parts": gemini_parts,
    "Gemini, grounding": gemini_grounding,
    "Gemini, ends with grounding": gemini_ends,
    "Gemini, deep arguments": gemini_deep_arguments,
    "Cohere, calls": cohere,
    "Cohere, calls without an index": cohere_calls_without_index,
    "Cohere, contents and citations": cohere_contents,
    "Interactions, steps": interactions,
    "Interactions, contents": interactions_contents,
    "Ollama, calls": ollama,
    "Ollama, calls in one line": ollama_in_one_line,
    "DashScope, choices": dashscope,
    "DashScope, calls": dashscope_calls,
    "watsonx, results": watsonx,
    "Cloudflare, calls": cloudflare,
    "Assistants, messages and calls": assistants,
    "Cohere, version 1": cohere_v1,
    "TGI, tokens": tgi,
    "transcription": transcription,
    "Replicate": replicate,
    "Writer": writer,
}


ITEMS = 32
# The other bodies contain parts that are bounded, but by a larger number of items.
COUNTED = [name for name in BODIES if "new names" not in name]


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


def steps(body: bytes) -> int:
    """The number of Python instructions to read and to write an answer; work done in C is not counted."""
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        *_, completion, _ = PIPELINE.run([body])
        assert isinstance(completion, sk.Completion)
        completion.to_dict()
        completion.to_openai()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("body", [BODIES[name] for name in COUNTED], ids=COUNTED)
def test_the_items_that_come_last_take_no_more_steps_than_those_before(body: Callable[[int], str]) -> None:
    steps(body(1).encode())  # create everything that is created once per process
    first, second, third = (steps(body(number * ITEMS).encode()) for number in (1, 2, 3))

    assert third - second < (second - first) * 1.04


OPTIONS: dict[str, dict[str, Any]] = {
    "reasoning tags": {"reasoning_tags": ("<think>", "</think>")},
    "cumulative": {"cumulative": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_time_is_linear_in_the_number_of_choices_with_every_option(options: dict[str, Any]) -> None:
    pipeline = sk.Parse() | sk.Extract(**options)
    made = {size: choices(size).replace('"a"', '"<thi"').encode() for size in (125, 1000)}

    assert growth(lambda size: list(pipeline.run([made[size]])), 125) < LINEAR


def test_time_is_linear_in_the_number_of_tags_of_one_delta() -> None:
    pipeline = sk.Parse() | sk.Extract(reasoning_tags=("<think>", "</think>"))

    def read(size: int) -> None:
        events = list(pipeline.run([(chat({"content": "<think>a</think>b" * size}) + DONE).encode()]))
        assert len(events) == 2 * size + 1

    assert growth(read, 1000) < LINEAR
