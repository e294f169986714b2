"""Scripted connections for feeds, which run on any event loop, and an HTTP server for feeds."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
from aiohttp import web

import streamkit as sk
from streamkit.sources.feed import Feed, Reconnect, Reconnection

AT_ONCE = Reconnect(initial=0, least=0, jitter=0)
OVER = 204
Step: TypeAlias = bytes | Exception | None
Script: TypeAlias = Sequence[Step] | Exception | int
"""The reads of one connection: pieces, an error, or `None` to block forever; or the error or status of its opening."""


@dataclass
class Scripted:
    """A scripted connection that records that it was opened and closed."""

    script: Script
    opened: int = 0
    closed: int = 0
    status: int | None = 200

    async def open(self) -> None:
        self.opened += 1
        await anyio.lowlevel.checkpoint()
        if isinstance(self.script, Exception):
            raise self.script
        if isinstance(self.script, int):
            self.status, self.script = self.script, ()
        self._steps = iter(self.script)

    async def read(self) -> Sequence[bytes]:
        await anyio.lowlevel.checkpoint()
        match next(self._steps, b""):
            case None:
                await anyio.sleep_forever()
            case Exception() as error:
                raise error
            case b"":
                return ()
            case piece:
                return (piece,)
        raise AssertionError("silence has no end")

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


@dataclass
class Network:
    """Runs the nth script on the nth connection. Records the last event ID of each connection, and the announcements."""

    scripts: list[Script]
    ids: list[str] = field(default_factory=list[str])
    made: list[Scripted] = field(default_factory=list[Scripted])
    news: list[Reconnection] = field(default_factory=list[Reconnection])

    def connect(self, last_event_id: str) -> Scripted:
        self.ids.append(last_event_id)
        self.made.append(Scripted(self.scripts[len(self.made)]))
        return self.made[-1]

    def feed(self, *, reconnect: Reconnect = AT_ONCE, **options: Any) -> Feed:
        return Feed(self.connect, reconnect=reconnect, **({"on_reconnect": self.news.append} | options))

    @property
    def waits(self) -> list[float]:
        return [news.wait for news in self.news]


def network(*scripts: Script) -> Network:
    return Network(list(scripts))


async def read(feed: sk.Source[sk.sse.ServerSentEvent], into: list[Any] | None = None) -> list[Any]:
    """Return all events up to the end or an error; `into` receives those before an error."""
    found: list[Any] = [] if into is None else into
    async with feed | sk.stage(lambda event: event) as events:
        async for event in events:
            found.append(event)
    return found


async def data(feed: sk.Source[sk.sse.ServerSentEvent]) -> list[str]:
    return [event.data for event in await read(feed)]


# Over a real connection


@dataclass
class Served:
    """A server that answers the nth connection with the nth of `ways`, then with 204."""

    ways: list[Callable[[web.Request], Awaitable[web.StreamResponse]]]
    url: str = ""
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[Any])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, headers, await request.read()))
        if len(self.asked) > len(self.ways):
            return web.Response(status=OVER)
        return await self.ways[len(self.asked) - 1](request)


Way: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pieces(*body: bytes, then: str = "close") -> Way:
    """Send each piece in a separate write; then `close` the body properly, `break` the connection, or `hang`."""

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in body:
            await response.write(piece)
            await asyncio.sleep(0)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "break":
            assert request.transport
            request.transport.abort()
        return response

    return send


def status(code: int, **headers: str) -> Way:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@asynccontextmanager
async def served(*ways: Way) -> AsyncGenerator[Served, None]:
    server = Served(list(ways))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/feed"
        yield server
    finally:
        await runner.cleanup()
