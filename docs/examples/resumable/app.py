"""An answer that survives a reload of the page, and `kill -9` of the process that publishes it.

    pip install . ./plugins/streamkit-redis ./plugins/streamkit-encodings
    python docs/examples/resumable/app.py all

Then open http://127.0.0.1:8005 and send a question. Reload the page, or open it at http://127.0.0.1:8006: the answer continues.
The page shows the process that publishes it: `kill -9` that process, and the worker continues without a gap. `all` starts the
following commands, each in its own process; for containers use `docker compose -f docs/examples/resumable/compose.yaml up`.

    redis-server --port 6385
    streamkit serve-demo --port 8086 --token 0.15
    python docs/examples/resumable/app.py web --port 8005 --other 8006
    python docs/examples/resumable/app.py web --port 8006 --other 8005
    python docs/examples/resumable/app.py worker

The provider must have the background mode of OpenAI's Responses API, which the embedded one has. Its key is taken from
OPENAI_API_KEY by every process, and is not in Redis.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web
from streamkit_redis import RedisLog

import streamkit as sk
from streamkit.relay import Job, Relay
from streamkit.sinks.aiohttp import respond

PAGE = Path(__file__).with_name("page.html")
STREAMS = web.AppKey("streams", Relay)
PIPELINE = sk.Extract() | sk.Moderate(sk.Rule("secret", phrases=("blue heron 42",)))


@dataclass
class ForBrowser(sk.Stage[sk.Event, sk.sse.ServerSentEvent]):
    """The events that the page shows, as JSON."""

    def feed(self, item: sk.Event) -> Iterable[sk.sse.ServerSentEvent]:
        match item:
            case sk.TextDelta(text=text):
                yield sk.sse.ServerSentEvent.of(json.dumps(text), "text")
            case sk.events.Reset():
                yield sk.sse.ServerSentEvent.of("null", "clear")
            case sk.StreamEnd(reason=reason):
                yield sk.sse.ServerSentEvent.of(json.dumps(reason), "end")


@dataclass(frozen=True)
class Settings:
    """The addresses of Redis and the provider."""

    redis: str
    provider: str

    def build(self, job: Job) -> sk.Stream[sk.Event]:
        """The answer to a question, from its beginning or from where the log ends."""
        key = os.environ.get("OPENAI_API_KEY", "")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"model": "gpt-4o-mini", "input": job.request["question"]}
        source = sk.sources.background_response(
            f"{self.provider}/responses", json=body, cursor=job.cursor, headers=headers
        )
        return PIPELINE.open(source, checkpoint=job.checkpoint)


def application(settings: Settings, *, other: str = "", lease: float = 3.0) -> web.Application:
    """`other` is the address of the other web process, which the page uses when this one has died."""

    async def streams(app: web.Application) -> AsyncIterator[None]:
        async with RedisLog(settings.redis) as log, Relay(log, lease=lease) as app[STREAMS]:
            yield

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.read_text().replace("OTHER", other), content_type="text/html")

    async def ask(request: web.Request) -> web.Response:
        asked = await request.json()
        key = uuid4().hex
        job = Job(key, {"question": str(asked["question"])})
        # A new answer, if the provider can't continue the old one.
        await request.app[STREAMS].publish(
            key, lambda: settings.build(job), request=job.request, takeover="reset", checkpoints=True
        )
        return web.json_response({"key": key, "pid": os.getpid()}, status=201)

    async def read(request: web.Request) -> web.StreamResponse:
        # An EventSource sends `Last-Event-ID` when it reconnects to the same server; to another server the page sends `after`.
        last = request.headers.get("last-event-id") or request.query.get("after")
        try:
            frames = await request.app[STREAMS].resume(request.match_info["key"], ForBrowser(), last_event_id=last)
        except sk.errors.LogLost:
            raise web.HTTPNotFound from None
        if frames is None:
            return web.Response(status=204)
        return await respond(request, frames, headers={"access-control-allow-origin": "*"})

    async def stop(request: web.Request) -> web.Response:
        stopped = await request.app[STREAMS].stop(request.match_info["key"])
        return web.json_response({"stopped": stopped}, headers={"access-control-allow-origin": "*"})

    app = web.Application()
    app.cleanup_ctx.append(streams)
    app.router.add_get("/", page)
    app.router.add_post("/answers", ask)
    app.router.add_get("/answers/{key}", read)
    app.router.add_post("/answers/{key}/stop", stop)
    return app


async def work(settings: Settings, *, lease: float = 3.0) -> None:
    """Take over the answers of processes that have died, until SIGTERM cancels this one and releases its leases."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with RedisLog(settings.redis) as log, Relay(log, lease=lease) as streams:
        await streams.take_over(settings.build)


def terminated(number: int, frame: object) -> None:
    """End this process like Ctrl-C, so that it ends the others."""
    raise KeyboardInterrupt


def run_all(arguments: list[str]) -> None:
    """Redis, the embedded provider, two web processes and a worker; Ctrl-C ends them."""
    this, server = [sys.executable, __file__], shutil.which("redis-server")
    if server is None:
        sys.exit("there is no redis-server on PATH: install Redis, or use the Compose file")
    commands: list[list[str]] = [
        [server, "--port", "6385", "--save", ""],
        [sys.executable, "-m", "streamkit", "serve-demo", "--port", "8086", "--token", "0.15"],
        [*this, "web", "--port", "8005", "--other", "8006", *arguments],
        [*this, "web", "--port", "8006", "--other", "8005", *arguments],
        [*this, "worker", *arguments],
    ]
    processes = [subprocess.Popen(command) for command in commands]
    signal.signal(signal.SIGTERM, terminated)
    try:
        processes[0].wait()
    except KeyboardInterrupt:
        pass
    finally:
        for process in processes:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["all", "web", "worker"])
    parser.add_argument("--redis", default="redis://127.0.0.1:6385/0")
    parser.add_argument("--provider", default="http://127.0.0.1:8086/v1")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8005)
    parser.add_argument("--other", type=int, default=8006)
    parser.add_argument("--lease", type=float, default=3.0, help="seconds until the worker takes over")
    options: Any = parser.parse_args()
    settings = Settings(options.redis, options.provider)
    match options.role:
        case "all":
            run_all(["--provider", options.provider])
        case "web":
            app = application(settings, other=f"http://127.0.0.1:{options.other}", lease=options.lease)
            web.run_app(app, host=options.host, port=options.port, shutdown_timeout=1)
        case _:
            with suppress(asyncio.CancelledError):
                asyncio.run(work(settings, lease=options.lease))


if __name__ == "__main__":
    main()
