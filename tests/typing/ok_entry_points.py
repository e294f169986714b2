"""Clients' objects as sources: no line here is an error, and no type unknown."""

import asyncio
from typing import assert_type

import aiohttp
import anthropic
import httpx2
import openai
import starlette.websockets

import streamkit as sk

pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()
frames = sk.Extract() | sk.Accumulate()


async def of_sdks(client: openai.AsyncOpenAI, other: anthropic.AsyncAnthropic) -> None:
    chat = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    assert_type(sk.sources.from_openai(chat) | pipeline, sk.Stream[sk.Event])
    responses = await client.responses.create(model="m", input="Hi", stream=True)
    assert_type(sk.sources.from_openai(responses) | pipeline, sk.Stream[sk.Event])
    raw = await client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    assert_type(sk.sources.from_openai(raw) | pipeline, sk.Stream[sk.Event])
    messages = await other.messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    assert_type(sk.sources.from_anthropic(messages) | pipeline, sk.Stream[sk.Event])


async def of_clients(client: httpx2.AsyncClient, session: aiohttp.ClientSession) -> None:
    async with client.stream("POST", "https://example.org") as response:
        assert_type(sk.sources.from_httpx(response) | pipeline, sk.Stream[sk.Event])
    async with session.post("https://example.org") as answer:
        assert_type(sk.sources.from_aiohttp(answer) | pipeline, sk.Stream[sk.Event])


async def of_queues(
    pieces: asyncio.Queue[bytes | None], events: asyncio.Queue[sk.Event | Exception | None], texts: asyncio.Queue[str]
) -> None:
    assert_type(sk.sources.from_queue(pieces) | pipeline, sk.Stream[sk.Event])
    # mypy needs the annotation for a union of many classes, of which it would take the base class.
    source: sk.Source[sk.Event] = sk.sources.from_queue(events)
    assert_type(source | sk.Accumulate(), sk.Stream[sk.Event])
    assert_type(sk.sources.from_queue(texts) | sk.Parse(), sk.Stream[sk.sse.ServerSentEvent])


async def of_websockets(ws: aiohttp.ClientWebSocketResponse, socket: starlette.websockets.WebSocket) -> None:
    assert_type(sk.sources.from_websocket(ws) | frames, sk.Stream[sk.Event])
    assert_type(sk.sources.from_websocket(socket, close=False) | frames, sk.Stream[sk.Event])
