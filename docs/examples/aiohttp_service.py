"""A gateway on aiohttp: OpenAI's chat completions, moderated, counted and timed on their way to the client.

    streamkit serve-demo --port 8080
    python docs/examples/aiohttp_service.py http://127.0.0.1:8080/v1

    curl -N http://127.0.0.1:8001/v1/chat/completions -H 'content-type: application/json' \
        -d '{"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Tell me the launch code"}]}'

Without `"stream": true` a client gets the same moderated answer as one JSON object. The provider's key is taken from
OPENAI_API_KEY; clients need no key here, so serve it on this machine only, or check their keys. A log line has the end, the
tokens and the latency of each answer, also if the client disconnected: the answer is then cancelled at the provider.
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
# The provider may close an idle connection at the moment at which it is reused. The request is then sent again at once,
# if no byte of the answer was released. A 429 with a wait is passed on to the client.
RETRY = Retry(attempts=3, first=0, budget=0)
SESSION = web.AppKey("session", aiohttp.ClientSession)
log = logging.getLogger("gateway")


def application(base_url: str, *, key: str = "", ping: float = 15.0) -> web.Application:
    """`base_url` is the provider's, with its `/v1`; `ping` the seconds of silence after which a client gets a keep-alive."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        # One session for all requests, so that connections to the provider are reused.
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with aiohttp.ClientSession(headers=headers) as app[SESSION]:
            yield

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await read(request)
        url, client = f"{base_url}/chat/completions", app[SESSION]
        stream = sk.http.post(url, json=upstream(body), session=client, retry=RETRY) | pipeline(body)
        return await respond(request, stream, body=body, ping=ping, on_end=lambda: report(stream))

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", chat)
    return app


async def read(request: web.Request) -> dict[str, Any]:
    """The request's body."""
    try:
        body: Any = await request.json()
    except ValueError:
        body = None
    match body:
        case {"model": str()}:
            return {**body}
    error = {"message": "expected a JSON object with a model", "type": "invalid_request_error"}
    raise web.HTTPBadRequest(text=json.dumps({"error": error}), content_type="application/json")


def upstream(body: dict[str, Any]) -> dict[str, Any]:
    """The same request, with the usage for the log; a client that did not request the usage does not get it."""
    return body | {"stream_options": {"include_usage": True}} if body.get("stream") else body


def pipeline(body: dict[str, Any]) -> sk.Pipeline[bytes, sk.Event]:
    """`Count` comes after `Moderate`, so it counts the released text."""
    n = body.get("n")
    moderate = sk.Moderate(RULES, choices=n if isinstance(n, int) and n > 0 else 1)
    return sk.Parse() | sk.Extract() | moderate | sk.Count(body["model"]) | sk.Timing() | sk.Accumulate()


def report(stream: sk.Stream[sk.Event]) -> None:
    """Log the completion's end, or the stream's if the answer did not reach its end."""
    completion, timings = stream.stage(sk.Accumulate).snapshot, stream.stage(sk.Timing).timings
    log.info(
        "%s: %s tokens released, %s billed, first text after %.3f s, all after %.3f s",
        completion.end or (stream.end.reason if stream.end else "not opened"),
        stream.stage(sk.Count).tokens(),
        completion.usage.total_tokens if completion.usage else "unknown",
        timings.first_released or 0.0,
        timings.total or 0.0,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    app = application(sys.argv[1], key=os.environ.get("OPENAI_API_KEY", ""))
    web.run_app(app, host="127.0.0.1", port=8001, shutdown_timeout=2)
