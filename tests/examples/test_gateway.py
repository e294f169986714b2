"""The gateway's matrix: each official client for Python, on each provider's API, in each kind of answer."""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.examples.conftest import Load
from tests.examples.upstreams import SCENARIOS, Body, provider
from tests.sinks.servers import aiohttp_app

pytestmark = pytest.mark.asyncio

APIS = ("openai", "anthropic", "responses", "gemini")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANSWERS: dict[str, Body] = {
    "text": {"text": "Hello", "reasoning": "", "calls": [], "end": "stop"},
    "tools": {"text": "", "reasoning": "", "calls": [["weather", {"city": "Paris"}]], "end": "tools"},
    "reasoning": {"text": "Yes", "reasoning": "Hm", "calls": [], "end": "stop"},
    "length": {"text": "Hel", "reasoning": "", "calls": [], "end": "length"},
    "moderated": {"text": "The code is [redacted], not more.", "reasoning": "", "calls": [], "end": "stop"},
}


async def chat(url: str, scenario: str, stream: bool) -> Body:
    more: Any = {
        "tools": {"tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]},
        "reasoning": {"reasoning_effort": "high"},
        "length": {"max_completion_tokens": 20},
    }.get(scenario, {})
    found: Body = {"text": "", "reasoning": "", "calls": []}
    async with openai.AsyncOpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        asked: Any = {"model": scenario, "messages": [{"role": "user", "content": "Hi"}], **more}
        if not stream:
            choice = (await client.chat.completions.create(**asked)).choices[0]
            return {**found, "text": choice.message.content, "end": choice.finish_reason}
        calls: dict[int, list[str]] = {}
        async for chunk in await client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                found["text"] += choice.delta.content or ""
                found["reasoning"] += getattr(choice.delta, "reasoning_content", None) or ""
                for call in choice.delta.tool_calls or ():
                    named = calls.setdefault(call.index, ["", ""])
                    named[0] += call.function.name or ""
                    named[1] += call.function.arguments or ""
                found["end"] = {"tool_calls": "tools"}.get(choice.finish_reason, choice.finish_reason)
    return {**found, "calls": [[name, json.loads(arguments)] for name, arguments in calls.values()]}


async def messages(url: str, scenario: str, stream: bool) -> Body:
    more: Any = {
        "tools": {"tools": [{"name": "weather", "input_schema": SCHEMA}]},
        "reasoning": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "length": {"max_tokens": 20},
    }.get(scenario, {})
    asked: Any = {"model": scenario, "max_tokens": 2000, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as client:
        if stream:
            async with client.messages.stream(**asked) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**asked)
    ends = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tools"}
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "reasoning": "".join(block.thinking for block in message.content if block.type == "thinking"),
        "calls": [[block.name, block.input] for block in message.content if block.type == "tool_use"],
        "end": ends[str(message.stop_reason)],
    }


async def responses(url: str, scenario: str, stream: bool) -> Body:
    more: Any = {
        "tools": {"tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]},
        "reasoning": {"reasoning": {"effort": "high", "summary": "auto"}},
        "length": {"max_output_tokens": 20},
    }.get(scenario, {})
    async with openai.AsyncOpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        asked: Any = {"model": scenario, "input": "Hi", **more}
        response: Any = None
        if stream:
            async for event in await client.responses.create(**asked, stream=True):
                if event.type in ("response.completed", "response.incomplete"):
                    response = event.response
        else:
            response = await client.responses.create(**asked)
    calls = [[item.name, json.loads(item.arguments)] for item in response.output if item.type == "function_call"]
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
    end = "length" if response.status == "incomplete" else "tools" if calls else "stop"
    return {"text": response.output_text, "reasoning": "".join(thoughts), "calls": calls, "end": end}


Ask = Callable[[str, str, bool], Awaitable[Body]]
CLIENTS: dict[str, Ask] = {"chat": chat, "messages": messages, "responses": responses}


@asynccontextmanager
async def gateway(load: Load, api: str, **options: Any) -> AsyncGenerator[tuple[str, list[Body]], None]:
    async with (
        provider(api) as (upstream, asked),
        aiohttp_app(load("gateway").application(api, upstream, **options)) as url,
    ):
        yield url, asked


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_client_reads_every_kind_of_answer(load: Load, client: str, api: str) -> None:
    ask = CLIENTS[client]
    async with gateway(load, api) as (url, asked):
        found = {scenario: await ask(url, scenario, True) for scenario in SCENARIOS if scenario != "error"}
        whole = await ask(url, "text", False)
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as refused:
            await ask(url, "error", True)

    assert found == ANSWERS
    assert whole == ANSWERS["text"]
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (429, "7")
    assert "Slow down" not in str(refused.value)
    # What was asked arrived: the tool, the effort, the limit. The provider checked the rest against the client's own types.
    sent = dict(zip(SCENARIOS, map(json.dumps, asked), strict=False))
    assert '"weather"' in sent["tools"]
    assert any(word in sent["reasoning"] for word in ('"high"', '"low"', "1024"))
    assert "20" in sent["length"]


async def test_what_the_provider_has_no_place_for_is_named(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    body = {"model": "text", "max_tokens": 9, "top_k": 3, "messages": [{"role": "user", "content": "Hi"}]}
    async with gateway(load, "openai") as (url, _), aiohttp.ClientSession(url) as session:
        async with session.post("/v1/messages", json=body) as got:
            assert (got.status, got.headers["x-untranslated"]) == (200, "top_k")
    assert "anthropic to openai, left out: top_k" in caplog.text


async def test_the_model_and_the_key_are_the_gateways(load: Load) -> None:
    async with gateway(load, "anthropic", model="text", key="secret") as (url, asked):
        assert await chat(url, "any", True) == ANSWERS["text"]
    assert [body["model"] for body in asked] == ["text"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"model": "m", "messages": 1, "input": 1}'])
async def test_what_is_no_request_is_refused_in_the_clients_format(load: Load, path: str, body: bytes) -> None:
    async with gateway(load, "gemini") as (url, asked), aiohttp.ClientSession(url) as session:
        async with session.post(path, data=body) as got:
            assert got.status == 400
            assert "expected" in (await got.json())["error"]["message"]
    assert asked == []
