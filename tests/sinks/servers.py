"""The same handler on both frameworks, over real sockets in the test's own event loop, and a source that can be watched.

A request with a JSON body is one for an answer; any other is one for the stream as it is.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from streamkit.sinks.aiohttp import respond
from streamkit.sinks.answer import Item
from streamkit.sinks.starlette import EventStreamResponse

Body: TypeAlias = dict[str, Any]
Answers: TypeAlias = Callable[[Body], AsyncIterable[Item]]
Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]


@dataclass
class Watched:
    """Items, some of which are events to wait for or errors to raise, and what became of the one who gave them."""

    items: list[Any]
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    given: int = 0

    async def __call__(self) -> AsyncGenerator[Any, None]:
        self.begun.set()
        try:
            for item in self.items:
                match item:
                    case asyncio.Event():
                        self.stalled.set()
                        await item.wait()
                    case Exception():
                        raise item
                    case _:
                        self.given += 1
                        yield item
        finally:
            self.closed.set()


@asynccontextmanager
async def aiohttp_app(app: web.Application, **options: Any) -> AsyncGenerator[str, None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asgi_app(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> AsyncGenerator[str, None]:
    with socket.socket() as listening:
        # Connections wait in the socket's own queue until the server is there.
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan=lifespan, ws="none", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def on_aiohttp(answers: Answers, **options: Any) -> AbstractAsyncContextManager[str]:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        return await respond(request, answers(body), body=body or None, **options)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return aiohttp_app(app)


def on_starlette(answers: Answers, **options: Any) -> AbstractAsyncContextManager[str]:
    async def endpoint(request: Request) -> EventStreamResponse:
        body = json.loads(await request.body() or b"{}")
        return EventStreamResponse(answers(body), body=body or None, **options)

    return asgi_app(Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])]))


SERVERS: dict[str, Serve] = {"aiohttp": on_aiohttp, "starlette": on_starlette}
