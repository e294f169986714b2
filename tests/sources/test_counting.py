"""Prompt token counts from a provider's endpoint."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import streamkit as sk

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def serving(answer: Callable[[Any], web.Response]) -> AsyncGenerator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(await request.json())

    app = web.Application()
    app.router.add_post("/count", handle)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/count"))
    finally:
        await server.close()


@pytest.mark.parametrize("name", ["input_tokens", "totalTokens"])
async def test_the_providers_count_is_read_and_is_an_estimate(name: str) -> None:
    async with serving(lambda prompt: web.json_response({name: len(prompt["messages"]), "other": "x"})) as url:
        found = await sk.sources.count_prompt(url, json={"messages": [1, 2, 3]}, headers={"x-api-key": "k"})

    assert found == sk.tokens.PromptTokens(3, False, 3)


async def test_a_refusal_is_raised_as_such() -> None:
    async with serving(lambda _: web.json_response({"error": "no"}, status=401)) as url:
        with pytest.raises(sk.StatusError):
            await sk.sources.count_prompt(url, json={})


async def test_a_response_that_does_not_end_exceeds_the_deadline() -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"input_')
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_post("/count", hang)
    async with TestServer(app, handler_cancellation=True) as server:
        with pytest.raises(sk.errors.DeadlineExceeded, match="'total'"):
            url = str(server.make_url("/count"))
            await sk.sources.count_prompt(url, json={}, deadlines=sk.http.Deadlines(total=0.05))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nothing", "expected a count of tokens as JSON, found 7 bytes"),
        ("{}", "expected a count of tokens in input_tokens or totalTokens, found neither"),
        ('{"input_tokens": "3"}', "found neither"),
        ("[]", "found neither"),
    ],
)
async def test_an_answer_without_a_count_is_no_count_of_zero(body: str, message: str) -> None:
    async with serving(lambda _: web.Response(text=body, content_type="application/json")) as url:
        with pytest.raises(sk.errors.ProtocolError, match=message):
            await sk.sources.count_prompt(url, json={})
