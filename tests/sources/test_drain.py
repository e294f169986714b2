"""A small amount of data after the end marker is read, so that the connection can be reused."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

import streamkit as sk
from tests.fire.server import DONE, FINISH, TEXT

PIPELINE = sk.Parse() | sk.Extract()


@asynccontextmanager
async def answering(after_done: bytes) -> AsyncGenerator[tuple[str, list[object], asyncio.Event]]:
    """Sends a response, waits for the event, sends `after_done`, and ends the body. Records the connection of each request."""
    connections: list[object] = []
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        connections.append(request.transport)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(TEXT + FINISH + DONE)
        await go_on.wait()
        with suppress(ConnectionError):  # the client may have disconnected
            await response.write(after_done)
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", connections, go_on
    finally:
        go_on.set()
        await runner.cleanup()


async def read_twice(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with sk.http.get(url, session=session) | PIPELINE as events:
                async for _event in events:
                    pass


@pytest.mark.asyncio
@pytest.mark.parametrize("after_done", [b"", b": bye\n\n" * 100], ids=["nothing", "a few comments"])
async def test_after_a_proper_end_the_connection_is_used_again(after_done: bytes) -> None:
    async with answering(after_done) as (url, connections, go_on):
        go_on.set()
        await read_twice(url)
        assert len(connections) == 2
        assert connections[0] is connections[1]


@pytest.mark.asyncio
async def test_a_server_that_goes_on_after_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.core.reading.DRAIN_SECONDS", 0.01)
    async with answering(b"") as (url, connections, _):
        await read_twice(url)
        assert len(connections) == 2
        assert connections[0] is not connections[1]


@pytest.mark.asyncio
async def test_a_body_that_goes_on_for_long_after_the_end_is_not_read_to_its_end() -> None:
    async with answering(b": still here\n" * 1_000_000) as (url, connections, go_on):
        go_on.set()
        await read_twice(url)
        assert connections[0] is not connections[1]
