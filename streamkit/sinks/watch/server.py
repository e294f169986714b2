"""The web page and its stream of updates, on a local port or in an aiohttp application."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from streamkit.core.stream import Stream
from streamkit.sinks.watch.board import Board
from streamkit.sinks.watch.observer import observed
from streamkit.sse.encode import Encode, encode_comment
from streamkit.sse.events import ServerSentEvent

A = TypeVar("A")
POLL_SECONDS = 0.1
PING_SECONDS = 15.0
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Watch:
    """Shows streams on a web page while they are consumed: `async with watch(source | pipeline) as events`.

    `watch(stream)` returns the stream with observers; its items do not change. The page shows the text as it is released, the
    text length that `Moderate` buffers and the rules that cause it, the decisions, the tokens and cost of a `Count` in the
    pipeline, the time to first token, and a timeline that marks stalls of more than `stall` seconds. It shows the latest `most`
    streams.

    The page receives only the length of text that moderation withholds or has not decided about; with `withheld`, also the text.

    The page is one file and sends requests only to this server. Everyone who can reach the server can read the models' output.
    By default `serve` listens on the loopback interface only; for `application`, your application controls the access.
    """

    def __init__(self, *, most: int = 50, withheld: bool = False, stall: float = 1.0) -> None:
        self.board = Board(most, withheld=withheld)
        self._stall = stall
        self._page = files("streamkit.sinks.watch").joinpath("page.html").read_text(encoding="utf-8")

    def __call__(self, stream: Stream[A], title: str = "") -> Stream[A]:
        """Return the stream with observers, shown under `title`. It must not be open yet."""
        watched = self.board.begin(title)
        made = observed(stream, watched)
        watched.stream = made
        return made

    def application(self, *, local: bool = False) -> web.Application:
        """Return an application with the page at `/` and its updates at `/updates`.

        Mount it with `app.add_subapp("/watch", watch.application())`. `local`: reject requests whose `Host` is not this machine,
        as a protection against DNS rebinding.
        """

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            host = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
            if local and (host or request.host) not in _LOCAL:
                raise web.HTTPForbidden(text="this page is for this machine only")
            return await handler(request)

        app = web.Application(middlewares=[check])
        app[_STOPPED] = stopped = asyncio.Event()

        async def stop(_: web.Application) -> None:
            stopped.set()

        app.on_shutdown.append(stop)
        app.router.add_get("/", self._show)
        app.router.add_get("/updates", self._updates)
        return app

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str, None]:
        """Serve the page and yield its URL. Port 0 selects a free port. Raises `OSError` if the port is in use."""
        runner = web.AppRunner(self.application(local=host in _LOCAL), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield f"http://{host}:{runner.addresses[0][1]}/"
        finally:
            await runner.cleanup()

    async def _show(self, request: web.Request) -> web.Response:
        page = self._page.replace("{{stall}}", f"{self._stall:g}")
        return web.Response(text=page, content_type="text/html", headers=_HEADERS)

    async def _updates(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-store"})
        encode, seen = Encode(), dict[int, int]()
        silent = 0.0
        with suppress(ConnectionResetError):
            await response.prepare(request)
            while not request.app[_STOPPED].is_set():
                if changes := self.board.changes(seen):
                    event = ServerSentEvent(payload=msgspec.json.encode(changes))
                    await response.write(b"".join(encode.feed(event)))
                    silent = 0.0
                elif silent >= PING_SECONDS:
                    await response.write(encode_comment("ping"))
                    silent = 0.0
                silent += POLL_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(request.app[_STOPPED].wait(), POLL_SECONDS)
        return response


_STOPPED = web.AppKey("stopped", asyncio.Event)
