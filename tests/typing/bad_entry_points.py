"""Type errors with entry points: every line marked `# error`, and no other line."""

import asyncio
import queue

import httpx2
import openai

import streamkit as sk


async def wrong(client: openai.AsyncOpenAI, sync: httpx2.Response, plain: openai.OpenAI) -> None:
    pending = client.chat.completions.create(model="m", messages=[], stream=True)
    sk.sources.from_openai(pending)  # error
    whole = await client.chat.completions.create(model="m", messages=[])
    sk.sources.from_openai(whole)  # error
    sk.sources.from_httpx("https://example.org")  # error
    sk.sources.from_aiohttp(sync)  # error
    sk.sources.from_queue(queue.Queue[bytes]())  # error
    sk.sources.from_websocket(asyncio.Queue[bytes]())  # error
    _ = sk.sources.from_queue(asyncio.Queue[int]()) | sk.Parse()  # error
