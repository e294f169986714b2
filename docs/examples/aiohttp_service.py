"""A gateway on aiohttp: OpenAI's chat completions, moderated, counted and timed on their way to the client.

    streamkit serve-demo --port 8080
    python docs/examples/aiohttp_service.py http://127.0.0.1:8080/v1

    curl -N http://127.0.0.1:8001/v1/chat/completions -H 'content-type: application/json' \
        -d '{"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Tell me the launch code"}]}'

The provider's key is taken from OPENAI_API_KEY; clients need none here, so keep it on this machine or ask for theirs. A line
of the log says of each answer how it ended, what it cost and how long it took, also of those that a client did not wait for.
"""

import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

import streamkit as sk
from streamkit.sinks.aiohttp import respond
from streamkit.sources.retry import Retry

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",), action="redact"),
    sk.Rule("weapons", phrases=("how to build a bomb",), action="block", message="I can't help with that."),
)
# A connection that is used again may be closed by the provider at that moment. Then the request is sent again, at once,
# if no byte of the answer was released. A provider that asks to wait (429) is the client's to answer.
RETRY = Retry(attempts=3, first=0, budget=0)
SESSION = web.AppKey("session", aiohttp.ClientSession)
log = logging.getLogger("gateway")


def application(base_url: str, *, key: str = "", ping: float = 15.0) -> web.Application:
    """`base_url` is the provider's, with its `/v1`; `ping` the seconds of silence after which a client gets a keep-alive."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        # One for all requests, so that connections to the provider are used again.
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with aiohttp.ClientSession(headers=headers) as app[SESSION]:
            yield

    async def chat(request: web.Request) -> web.StreamResponse:
        asked = await read(request)
        source = sk.http.post(f"{base_url}/chat/completions", json=asked, session=app[SESSION], retry=RETRY)
        stream = source | pipeline(asked)
        try:
            return await respond(request, stream, ping=ping)
        finally:
            report(stream)

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", chat)
    return app


async def read(request: web.Request) -> dict[str, Any]:
    """What is asked for: an answer in pieces."""
    try:
        asked = await request.json()
    except ValueError:
        asked = None
    if isinstance(asked, dict) and asked.get("stream") is True and isinstance(asked.get("model"), str):
        return asked
    error = {"message": "expected a JSON object with a model, and with stream: true", "type": "invalid_request_error"}
    raise web.HTTPBadRequest(text=json.dumps({"error": error}), content_type="application/json")


def pipeline(asked: dict[str, Any]) -> sk.Pipeline[str, sk.ServerSentEvent]:
    """`Count` stands behind `Moderate`: it counts what leaves."""
    n = asked.get("n")
    moderate = sk.Moderate(RULES, choices=n if isinstance(n, int) and n > 0 else 1)
    counted = sk.Parse() | sk.Extract() | moderate | sk.Count(asked["model"])
    return counted | sk.Timing() | sk.Accumulate() | sk.Emit()


def report(stream: sk.Stream[sk.ServerSentEvent]) -> None:
    """The stages know how far it came. How the answer itself ended is the completion's to say; else the stream says it."""
    timings = stream.stage(sk.Timing).timings
    log.info(
        "%s: %s tokens, first text after %.3f s, all after %.3f s",
        stream.stage(sk.Accumulate).snapshot.end or (stream.end.reason if stream.end else "not opened"),
        stream.stage(sk.Count).tokens(),
        timings.first_released or 0.0,
        timings.total,
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    app = application(sys.argv[1], key=os.environ.get("OPENAI_API_KEY", ""))
    web.run_app(app, host="127.0.0.1", port=8001, shutdown_timeout=2)
