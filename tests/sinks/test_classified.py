"""An answer that a remote classifier judges while it is served: what the official client reads."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.cli.provider import Provider
from streamkit.cli.provider import serve as serve_provider
from streamkit.moderation.classifiers.remote import openai_moderation
from streamkit.sinks.aiohttp import respond
from tests.sinks.servers import aiohttp_app

pytestmark = pytest.mark.asyncio
ANSWERS = {
    "the plan": ["First", " we", " talk.", " Then", " we", " ki", "ll", " them.", " Then", " home."],
    "the party": ["First", " we", " talk.", " Then", " we", " dance."],
}
PROVIDER = Provider(answers=ANSWERS.get, first_token_seconds=0, token_seconds=0)


@asynccontextmanager
async def client_of(way: str, **headers: str) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    """A client of a server that has each answer of the demo provider judged by its moderation endpoint."""
    async with serve_provider(PROVIDER) as provider, openai_moderation(f"{provider}/v1", headers=headers) as classifier:

        async def handler(request: web.Request) -> web.StreamResponse:
            body: dict[str, Any] = json.loads(await request.read())
            answer = sk.http.post(f"{provider}/v1/chat/completions", json=body) | sk.Parse() | sk.Extract()
            choices = body.get("n") or 1
            if way == "in line":
                return await respond(request, answer | sk.Classify(classifier, choices=choices), body=body)
            async with sk.hops.classify(answer, classifier, choices=choices) as events:
                return await respond(request, events, body=body)

        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        async with (
            aiohttp_app(app) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            yield client


async def ask(client: openai.AsyncOpenAI, prompt: str, n: int = 1) -> list[tuple[str, str | None]]:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": prompt}], stream=True, n=n
    )
    chunks = [chunk async for chunk in stream]
    of_each = [[choice for chunk in chunks for choice in chunk.choices if choice.index == index] for index in range(n)]
    return [
        ("".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason) for choices in of_each
    ]


both_ways = pytest.mark.parametrize("way", ["in line", "ahead"])


@both_ways
async def test_a_blocked_answer_ends_as_one_that_a_content_filter_stopped(way: str) -> None:
    async with client_of(way) as client:
        assert await ask(client, "the plan", n=2) == [("First we talk. ", "content_filter")] * 2


@both_ways
async def test_an_answer_that_passes_is_the_providers_own(way: str) -> None:
    async with client_of(way) as client:
        assert await ask(client, "the party", n=2) == [("First we talk. Then we dance.", "stop")] * 2


@both_ways
async def test_an_endpoint_that_fails_lets_nothing_through(way: str) -> None:
    async with client_of(way, **{"x-demo-status": "401"}) as client:
        assert await ask(client, "the party") == [("", "content_filter")]
