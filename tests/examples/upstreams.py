"""Providers of four APIs that answer by the model's name, as theirs write it, and check what they are asked."""

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.requests.bodies import check
from tests.sinks.servers import aiohttp_app

Body = dict[str, Any]
SCENARIOS = ("text", "tools", "reasoning", "length", "error", "moderated")
TEXTS = {
    "text": ["Hel", "lo"],
    "tools": [],
    "reasoning": ["Yes"],
    "length": ["Hel"],
    "moderated": ["The code is blue her", "on 42, not more."],
}
THOUGHT = ["H", "m"]
ARGUMENTS = ['{"city":', '"Paris"}']
ERRORS: dict[str, Body] = {
    "openai": {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}},
    "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}},
    "responses": {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}},
    "gemini": {"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}},
}


@asynccontextmanager
async def provider(api: str) -> AsyncGenerator[tuple[str, list[Body]], None]:
    """The address of a provider, and the requests that it was sent."""
    asked: list[Body] = []

    async def answer(request: web.Request) -> web.Response:
        body: Body = await request.json()
        if api != "gemini":
            check(api, body)
        asked.append(body)
        scenario = request.match_info.get("model") or body["model"]
        if scenario == "error":
            return web.json_response(ERRORS[api], status=429, headers={"retry-after": "7"})
        stream = b"".join(_event(data, api) for data in STREAMS[api](scenario))
        return web.Response(body=stream, content_type="text/event-stream")

    app = web.Application()
    for path in ("/chat/completions", "/messages", "/responses", "/models/{model}:streamGenerateContent"):
        app.router.add_post(path, answer)
    async with aiohttp_app(app) as url:
        yield url, asked


def _event(data: Body | str, api: str) -> bytes:
    if isinstance(data, str):
        return f"data: {data}\n\n".encode()
    name = f"event: {data['type']}\n" if api in ("anthropic", "responses") else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def _chat(scenario: str) -> Iterable[Body | str]:
    def chunk(delta: Body, finish: str | None = None) -> Body:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": scenario, "usage": None}
        return {**head, "choices": [choice]}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in THOUGHT if scenario == "reasoning" else ():
        yield chunk({"reasoning_content": piece})
    for piece in TEXTS[scenario]:
        yield chunk({"content": piece})
    if scenario == "tools":
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        yield chunk({"tool_calls": [call]})
        for piece in ARGUMENTS:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunk({}, {"tools": "tool_calls", "length": "length"}.get(scenario, "stop"))
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    yield {**chunk({}), "choices": [], "usage": usage}
    yield "[DONE]"


def _messages(scenario: str) -> Iterable[Body]:
    blocks: list[tuple[Body, list[Body]]] = []
    if scenario == "reasoning":
        pieces = [{"type": "thinking_delta", "thinking": piece} for piece in THOUGHT]
        blocks.append(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [*pieces, {"type": "signature_delta", "signature": "c2ln"}],
            )
        )
    if TEXTS[scenario]:
        blocks.append(
            ({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in TEXTS[scenario]])
        )
    if scenario == "tools":
        inputs = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *ARGUMENTS)]
        blocks.append(({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}, inputs))
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": scenario, "content": []}
    usage = {"input_tokens": 5, "output_tokens": 1}
    yield {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    reason = {"tools": "tool_use", "length": "max_tokens"}.get(scenario, "end_turn")
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": 2},
    }
    yield {"type": "message_stop"}


def _responses(scenario: str) -> Iterable[Body]:
    output: list[Body] = []
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": scenario, "status": "in_progress"}
    yield {"type": "response.created", "response": {**head, "output": []}}
    at = {"output_index": 0, "content_index": 0, "summary_index": 0}
    if scenario == "reasoning":
        item: Body = {"id": "rs_1", "type": "reasoning", "summary": []}
        yield {"type": "response.output_item.added", **at, "item": item}
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **at, "item_id": "rs_1", "part": part}
        for piece in THOUGHT:
            yield {"type": "response.reasoning_summary_text.delta", **at, "item_id": "rs_1", "delta": piece}
        done = {"type": "summary_text", "text": "".join(THOUGHT)}
        yield {"type": "response.reasoning_summary_text.done", **at, "item_id": "rs_1", "text": done["text"]}
        yield {"type": "response.reasoning_summary_part.done", **at, "item_id": "rs_1", "part": done}
        output.append({**item, "summary": [done]})
        yield {"type": "response.output_item.done", **at, "item": output[-1]}
    at["output_index"] = len(output)
    ended = "incomplete" if scenario == "length" else "completed"
    if texts := TEXTS[scenario]:
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", **at, "item": item}
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **at, "item_id": "msg_1", "part": empty}
        for piece in texts:
            yield {"type": "response.output_text.delta", **at, "item_id": "msg_1", "delta": piece}
        whole = {**empty, "text": "".join(texts)}
        yield {"type": "response.output_text.done", **at, "item_id": "msg_1", "text": whole["text"]}
        yield {"type": "response.content_part.done", **at, "item_id": "msg_1", "part": whole}
        output.append({**item, "status": ended, "content": [whole]})
        yield {"type": "response.output_item.done", **at, "item": output[-1]}
    if scenario == "tools":
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""}
        yield {"type": "response.output_item.added", **at, "item": item}
        for piece in ARGUMENTS:
            yield {"type": "response.function_call_arguments.delta", **at, "item_id": "fc_1", "delta": piece}
        arguments = "".join(ARGUMENTS)
        yield {"type": "response.function_call_arguments.done", **at, "item_id": "fc_1", "arguments": arguments}
        output.append({**item, "arguments": arguments, "status": "completed"})
        yield {"type": "response.output_item.done", **at, "item": output[-1]}
    details = {"incomplete_details": {"reason": "max_output_tokens"}} if ended == "incomplete" else {}
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    yield {
        "type": f"response.{ended}",
        "response": {**head, "status": ended, "output": output, "usage": usage, **details},
    }


def _gemini(scenario: str) -> Iterable[Body]:
    parts: list[Body] = [{"text": piece, "thought": True} for piece in (THOUGHT if scenario == "reasoning" else ())]
    parts += [{"text": piece} for piece in TEXTS[scenario]]
    if scenario == "tools":
        parts.append({"functionCall": {"name": "weather", "args": {"city": "Paris"}}})
    for number, part in enumerate(parts, 1):
        candidate: Body = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if number == len(parts):
            candidate["finishReason"] = "MAX_TOKENS" if scenario == "length" else "STOP"
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
        yield {"candidates": [candidate], "usageMetadata": usage, "modelVersion": scenario, "responseId": "r-1"}


STREAMS: dict[str, Any] = {"openai": _chat, "anthropic": _messages, "responses": _responses, "gemini": _gemini}
