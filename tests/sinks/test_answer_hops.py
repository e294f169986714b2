"""A stream with a hop as the answer of a web server: its tasks start and end with the response."""

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Route

import streamkit as sk
from streamkit import hops
from streamkit.sinks.aiohttp import respond
from streamkit.sinks.starlette import EventStreamResponse
from tests.sinks.servers import aiohttp_app, asgi_app

pytestmark = pytest.mark.asyncio


class Source:
    def __init__(self) -> None:
        self.closed = 0

    async def events(self) -> AsyncGenerator[sk.Event, None]:
        try:
            yield sk.TextDelta("Hel")
            yield sk.TextDelta("lo")
            yield sk.Finish("stop")
            yield sk.StreamEnd("completed", True)
        finally:
            self.closed += 1


async def loud(delta: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(delta.text.upper())


def shout(event: sk.Event) -> sk.Event:
    return sk.TextDelta(event.text.upper()) if isinstance(event, sk.TextDelta) else event


def streams(source: Source) -> list[Any]:
    return [
        source.events() | hops.Prefetch[sk.Event](8) | hops.ConcurrentMap(loud) | sk.Emit(),
        hops.merge(source.events()) | hops.ConcurrentMap(loud) | sk.Emit(),
        hops.concurrent_map(source.events(), loud),
        hops.race(source.events() | sk.ops.Map(shout)),
    ]


@pytest.mark.parametrize("which", [0, 1, 2, 3], ids=["stages", "merge", "a hop alone", "race alone"])
async def test_aiohttp_and_starlette_answer_with_it(which: int) -> None:
    source = Source()

    async def handler(request: web.Request) -> web.StreamResponse:
        return await respond(request, streams(source)[which])

    app = web.Application()
    app.router.add_get("/", handler)
    async with aiohttp_app(app) as url, aiohttp.request("GET", url) as got:
        first = await got.text()
    endpoint = Route("/", lambda request: EventStreamResponse(streams(source)[which]))
    async with asgi_app(Starlette(routes=[endpoint])) as url:
        async with aiohttp.request("GET", url) as got:
            second = await got.text()

    for body in (first, second):
        assert body.index("HEL") < body.index("LO") < body.index("[DONE]")
    assert source.closed == 2


@pytest.mark.parametrize("make", [hops.merge, hops.race], ids=["merge", "race"])
async def test_a_hop_alone_that_fails_is_answered_with_the_status(make: Any) -> None:
    async def refused() -> AsyncGenerator[sk.Event, None]:
        raise sk.errors.StatusError("refused", status=429)
        yield

    async def handler(request: web.Request) -> web.StreamResponse:
        return await respond(request, make(refused()))

    app = web.Application()
    app.router.add_get("/", handler)
    async with aiohttp_app(app) as url, aiohttp.request("GET", url) as got:
        assert got.status == 429
    endpoint = Route("/", lambda request: EventStreamResponse(make(refused())))
    async with asgi_app(Starlette(routes=[endpoint])) as url, aiohttp.request("GET", url) as got:
        assert got.status == 429


async def test_a_hop_that_gives_several_streams_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await respond(request, hops.tee(Source().events(), 2))  # type: ignore[arg-type]

    app = web.Application()
    app.router.add_get("/", handler)
    async with aiohttp_app(app) as url, aiohttp.request("GET", url) as got:
        assert got.status == 500
    assert "found an object of type EnteredOnce, which is a context manager" in caplog.text
