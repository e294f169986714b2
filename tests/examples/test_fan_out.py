"""One answer of the embedded provider, and viewers that come early, late, slowly and again."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import Load
from tests.examples.providers import PROVIDER, Stalling
from tests.sinks.servers import aiohttp_app

pytestmark = pytest.mark.asyncio
TEXT = "\n\n" + ", ".join(map(str, range(1, 21))) + "."


@asynccontextmanager
async def served(
    load: Load, provider: Provider, prompt: str = "Count to 20", **options: Any
) -> AsyncGenerator[str, None]:
    async with (
        serve(provider) as upstream,
        aiohttp_app(
            load("fan_out").application(f"{upstream}/v1", prompt, retry=20, **options), handler_cancellation=True
        ) as url,
    ):
        yield url


async def read(url: str, last_event_id: str = "") -> tuple[str, str]:
    """The text and how it ended, as an `EventSource` reads it until it is told not to come again."""
    text, end = "", ""
    async with sk.feed(url, last_event_id=last_event_id) | sk.stage(lambda event: event) as events:
        async for event in events:
            match event:
                case sk.sse.ServerSentEvent(event="message", data=data):
                    text += json.loads(data)
                case sk.sse.ServerSentEvent(event="end", data=data):
                    end = json.loads(data)
    return text, end


async def test_viewers_see_the_same_from_the_beginning_early_or_late(load: Load) -> None:
    stalling = Stalling(pieces=10)
    asked: list[str] = []
    provider = replace(stalling.provider, count=lambda text: asked.append(text) or 0)
    async with served(load, provider) as url:
        early = asyncio.create_task(read(url))
        await stalling.stalled.wait()
        middle = asyncio.create_task(read(url))
        stalling.go_on.set()
        assert await asyncio.gather(early, middle) == [(TEXT, "completed")] * 2
        assert await read(url) == (TEXT, "completed")
    assert asked.count("Count to 20") == 1


async def test_a_viewer_that_comes_again_gets_the_rest_alone(load: Load) -> None:
    async with served(load, PROVIDER) as url:
        assert await read(url, "10") == (TEXT[TEXT.index(", 6") :], "completed")
        async with aiohttp.request("GET", url, headers={"last-event-id": "end"}) as got:
            assert got.status == 204


async def test_a_slow_viewer_holds_nobody_up_and_gets_all_when_it_comes_again(load: Load) -> None:
    # More than the buffers of a connection hold.
    pieces = [f"{number:06}" * 10_000 for number in range(300)]
    async with served(load, replace(PROVIDER, answers={"much": pieces}), "much", behind=16) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert await read(url) == ("".join(pieces), "completed")
            got = await asyncio.to_thread(slow.makefile("rb").read)
        (*_, last) = re.findall(rb"^id: (.+)$", got, re.MULTILINE)
        first, end = await read(url, last.decode())
    assert b"event: end" not in got
    assert 0 < int(last) < len(pieces)
    assert (first, end) == ("".join(pieces[int(last) :]), "completed")


async def test_a_viewer_that_leaves_disturbs_nobody(load: Load) -> None:
    stalling = Stalling(pieces=10)
    async with served(load, stalling.provider) as url:
        async with aiohttp.request("GET", url) as got:
            await got.content.readuntil(b"\n\n")
            await stalling.stalled.wait()
        stalling.go_on.set()
        assert await read(url) == (TEXT, "completed")
    assert not stalling.left.is_set()


async def test_the_answer_is_cancelled_at_the_provider_when_the_service_stops(load: Load) -> None:
    stalling = Stalling(pieces=3)
    async with serve(stalling.provider) as upstream:
        async with aiohttp_app(load("fan_out").application(f"{upstream}/v1", "Count to 20")):
            await stalling.stalled.wait()
        await asyncio.wait_for(stalling.left.wait(), 5)
