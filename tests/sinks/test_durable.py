"""Reads by the Durable Streams protocol over real sockets, on both frameworks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import streamkit as sk
from streamkit.relay import DurableStreams, MemoryLog, Relay
from streamkit.sinks.aiohttp import respond_durable
from streamkit.sinks.starlette import DurableStreamResponse
from tests.sinks.servers import aiohttp_app, asgi_app

pytestmark = pytest.mark.asyncio
Serve = Callable[[DurableStreams], AbstractAsyncContextManager[str]]
MORE = {"x-more": "1"}


def on_aiohttp(durable: DurableStreams) -> AbstractAsyncContextManager[str]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await respond_durable(request, durable, request.match_info["key"], headers=MORE)

    app = web.Application()
    app.router.add_route("*", "/{key}", handler)
    return aiohttp_app(app)


def on_starlette(durable: DurableStreams) -> AbstractAsyncContextManager[str]:
    async def endpoint(request: Request) -> Response:
        return DurableStreamResponse(durable, request.path_params["key"], headers=MORE)

    methods = ["GET", "HEAD", "OPTIONS", "POST"]
    return asgi_app(Starlette(routes=[Route("/{key}", endpoint, methods=methods)]))


both = pytest.mark.parametrize("serve", [on_aiohttp, on_starlette])


async def answer() -> AsyncGenerator[sk.Event, None]:
    yield sk.TextDelta("Hello")
    yield sk.StreamEnd("completed")


async def until_left(streams: Relay) -> None:
    while streams._tail._channels:  # noqa: ASYNC110 - by the server's task
        await asyncio.sleep(0.002)


async def until_followed(streams: Relay) -> None:
    while not streams._tail._channels:  # noqa: ASYNC110 - by the server's task
        await asyncio.sleep(0.002)


@both
async def test_reads_have_their_status_headers_and_body(serve: Serve) -> None:
    async with Relay(MemoryLog(), flush=0) as streams, aiohttp.ClientSession() as session:
        await (await streams.publish("k", answer)).wait()
        async with serve(DurableStreams(streams, allow_origin="*")) as url:
            async with session.get(f"{url}/k?offset=-1") as got:
                assert (got.status, got.headers["content-type"], got.headers["x-more"]) == (
                    200,
                    "application/json",
                    "1",
                )
                assert await got.json() == [
                    {"event": "TextDelta", "text": "Hello"},
                    {"event": "StreamEnd", "reason": "completed"},
                ]
                etag, offset = got.headers["etag"], got.headers["stream-next-offset"]
            async with session.get(f"{url}/k?offset=-1", headers={"if-none-match": etag}) as got:
                assert (got.status, await got.read(), got.headers["etag"]) == (304, b"", etag)
            async with session.get(f"{url}/k?live=long-poll&offset={offset}") as got:
                assert (got.status, await got.read(), got.headers["stream-closed"]) == (204, b"", "true")
            async with session.get(f"{url}/k?live=sse&offset=-1") as got:
                assert (got.status, got.headers["content-type"]) == (200, "text/event-stream")
                assert "content-length" not in got.headers
                body = await got.text()
                assert body.startswith('event: data\ndata:[{"event":"TextDelta","text":"Hello"}')
                assert body.endswith('"upToDate":true,"streamClosed":true}\n\n')
            async with session.head(f"{url}/k") as got:
                assert (got.status, got.headers["stream-next-offset"]) == (200, offset)
            async with session.options(f"{url}/k") as got:
                assert (got.status, got.headers["access-control-allow-origin"]) == (204, "*")
            for path, status in {"/unknown": 404, "/k?offset=x": 400, "/k?offset=-1&offset=now": 400}.items():
                async with session.get(f"{url}{path}") as got:
                    assert (got.status, got.headers["x-content-type-options"]) == (status, "nosniff")
            async with session.post(f"{url}/k") as got:
                assert (got.status, got.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@both
@pytest.mark.parametrize("live", ["long-poll", "sse"])
async def test_a_client_that_disconnects_follows_no_longer(serve: Serve, live: str) -> None:
    go_on = asyncio.Event()

    async def silent() -> AsyncGenerator[sk.Event, None]:
        yield sk.TextDelta("Hello")
        await go_on.wait()
        yield sk.StreamEnd("completed")

    def opened() -> AsyncIterable[sk.Event]:
        return silent()

    async with Relay(MemoryLog(), flush=0) as streams, asyncio.timeout(10):
        publication = await streams.publish("k", opened)
        async with serve(DurableStreams(streams)) as url:
            port = int(url.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /k?offset=now&live={live} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
            await until_followed(streams)
            writer.transport.abort()
            await until_left(streams)
        go_on.set()
        await publication.wait()
