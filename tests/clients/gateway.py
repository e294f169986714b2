"""A server with every recording twice: as the provider sent it, and as streamkit writes it for the client that requests it.

    POST /raw/GROUP/NAME/v1/chat/completions        the recorded bytes
    POST /written/GROUP/NAME/v1/chat/completions    the same read by streamkit and written again, streamed or whole

Also …/v1/completions, for recordings of the older completions.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import web

import streamkit as sk
from streamkit.sinks.aiohttp import respond
from tests.conftest import SHARED

OWN = ("chat.completions", "completions")
"""APIs whose recordings OpenAI's clients can read as they are."""


@dataclass(frozen=True)
class Recording:
    """A recorded answer and the API that it is of."""

    name: str
    path: Path
    api: str

    @property
    def own(self) -> bool:
        return self.api in OWN


@cache
def recordings() -> list[Recording]:
    """Those that are answers of a model, in the order of their names."""
    found: list[Recording] = []
    for sidecar in sorted(SHARED.glob("recordings/*/*.json")):
        api = json.loads(sidecar.read_bytes())["api"]
        if api not in ("mcp", "audio.transcriptions"):
            found.append(Recording(f"{sidecar.parent.name}/{sidecar.stem}", sidecar.with_suffix(".sse"), api))
    return found


async def _raw(request: web.Request) -> web.StreamResponse:
    return web.Response(body=_path(request).read_bytes(), content_type="text/event-stream")


async def _written(request: web.Request) -> web.StreamResponse:
    body, path = await request.json(), _path(request)

    async def source() -> AsyncIterator[bytes]:
        yield path.read_bytes()

    return await respond(request, source() | sk.Parse() | sk.Extract(), body=body, error_details=True)


def _path(request: web.Request) -> Path:
    group, name = request.match_info["group"], request.match_info["name"]
    return next(recording.path for recording in recordings() if recording.name == f"{group}/{name}")


@asynccontextmanager
async def serve() -> AsyncGenerator[str, None]:
    """The server's address."""
    app = web.Application()
    for way, handler in (("raw", _raw), ("written", _written)):
        app.router.add_post(f"/{way}/{{group}}/{{name}}/v1/{{path:.*}}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
