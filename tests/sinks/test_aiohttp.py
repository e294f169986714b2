"""aiohttp only: reused connections, and cancelled handlers."""

import asyncio
from collections.abc import AsyncIterable

import aiohttp
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.sinks.aiohttp import respond
from streamkit.sinks.answer import Item
from tests.sinks.servers import Watched, aiohttp_app

pytestmark = pytest.mark.asyncio

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
HELLO = sk.sse.ServerSentEvent.of("hello")


def app_of(*streams: AsyncIterable[Item]) -> web.Application:
    """Each request is answered with the next stream, and tells by which port it came."""
    remaining = iter(streams)

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport
        port = request.transport.get_extra_info("peername")[1]
        return await respond(request, next(remaining), headers={"x-port": str(port)})

    app = web.Application()
    app.router.add_get("/", handler)
    return app


async def send_request(url: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(REQUEST)
    return writer


async def test_a_connection_serves_one_stream_after_another() -> None:
    streams = [Watched([HELLO]), Watched([sk.StatusError("no", status=429)]), Watched([HELLO])]
    ports = set[str]()
    async with aiohttp_app(app_of(*(stream() for stream in streams))) as url, aiohttp.ClientSession() as session:
        for status in (200, 429, 200):
            async with session.get(url) as got:
                assert got.status == status
                await got.read()
                ports.add(got.headers["x-port"])
    assert len(ports) == 1


@pytest.mark.parametrize("items", [[], [HELLO]], ids=["before the first item", "later"])
async def test_a_handler_that_aiohttp_cancels_closes_the_source_too(items: list[Item]) -> None:
    watched = Watched([*items, asyncio.Event()])
    async with aiohttp_app(app_of(watched()), handler_cancellation=True) as url:

        async def ask() -> None:
            async with aiohttp.request("GET", url) as got:
                await got.read()

        asking = asyncio.create_task(ask())
        await watched.begun.wait()
        asking.cancel()
        await asyncio.wait_for(watched.closed.wait(), 5)
        assert asking.cancelled()


async def test_a_client_that_has_gone_before_the_handler_begins_opens_nothing() -> None:
    watched = Watched([HELLO])
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        begun.set()
        while request.transport:  # noqa: ASYNC110 # nobody tells; that is what the sink is for
            await asyncio.sleep(0)
        try:
            return await respond(request, watched())
        finally:
            ended.set()

    app = web.Application()
    app.router.add_get("/", handler)
    async with aiohttp_app(app) as url:
        writer = await send_request(url)
        await begun.wait()
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 5)
        await writer.wait_closed()
    assert not watched.begun.is_set()


@pytest.mark.parametrize("method", ["prepare", "write"])
async def test_a_connection_that_closes_already_ends_the_answer(
    method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As aiohttp does while a connection still sends what it has and takes no more.
    async def refuse(*_: object) -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.StreamResponse, method, refuse)
    watched = Watched([HELLO, asyncio.Event()])
    async with aiohttp_app(app_of(watched())) as url:
        writer = await send_request(url)
        await asyncio.wait_for(watched.closed.wait(), 5)
        writer.close()
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_request_that_comes_early_waits_for_its_turn() -> None:
    gate = asyncio.Event()
    async with aiohttp_app(app_of(Watched([HELLO, gate])(), Watched([HELLO])())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(REQUEST)
        await reader.readuntil(b"data: hello\n\n")
        writer.write(REQUEST)
        gate.set()
        await reader.readuntil(b"data: hello\n\n")
        writer.close()
        await writer.wait_closed()


async def test_a_source_whose_connection_is_reset_is_not_taken_for_the_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watched = Watched([HELLO, ConnectionResetError("the database")])
    async with aiohttp_app(app_of(watched())) as url, aiohttp.request("GET", url) as got:
        with pytest.raises(aiohttp.ClientPayloadError):
            await got.read()
    assert any(record.exc_info and "the database" in str(record.exc_info[1]) for record in caplog.records)
