"""A gateway between any client and any provider: OpenAI's and Anthropic's clients use a model with any of these APIs.

    streamkit serve-demo --port 8080
    python docs/examples/gateway.py openai http://127.0.0.1:8080/v1

    ANTHROPIC_BASE_URL=http://127.0.0.1:8007 ANTHROPIC_API_KEY=any python your_program_with_anthropic.py
    OPENAI_BASE_URL=http://127.0.0.1:8007/v1 OPENAI_API_KEY=any python your_program_with_openai.py

The first argument is the provider's API: `openai` (chat completions), `anthropic` (Messages), `responses` or `gemini`; the
second is its base URL, such as https://api.anthropic.com/v1 or https://generativelanguage.googleapis.com/v1beta; an optional
third one is the model, which replaces the client's. The provider's key is taken from PROVIDER_KEY; clients need no key here, so
serve it on this machine only, or check their keys. Answers are moderated. Fields of a request that the provider's API does not
have are left out; the log and the header `x-untranslated` of the response list them.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

import streamkit as sk
from streamkit.emitters.failures import ErrorFrame, Failure
from streamkit.errors import ProtocolError
from streamkit.sinks.aiohttp import respond

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",), action="redact"),
    sk.Rule("weapons", phrases=("how to build a bomb",), action="block", message="I can't help with that."),
)
CLIENTS = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/v1/responses": "responses"}
"""The path of each client's requests, and the format of its requests and answers."""
PATHS = {
    "openai": "chat/completions",
    "anthropic": "messages",
    "responses": "responses",
    "gemini": "models/{model}:streamGenerateContent?alt=sse",
}
MOST_BYTES = 32 * 2**20  # Anthropic's limit; requests contain images
SESSION = web.AppKey("session", aiohttp.ClientSession)
log = logging.getLogger("gateway")


def application(api: str, base_url: str, *, key: str = "", model: str | None = None) -> web.Application:
    """`api` and `base_url` are the provider's, `model` replaces the client's."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        # One session for all requests, so that connections to the provider are reused.
        async with aiohttp.ClientSession(headers=headers(api, key)) as app[SESSION]:
            yield

    def answers(client: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                body = await read(request)
                sent, untranslated = sk.requests.translate(body, source=client, target=api)
            except ProtocolError as error:
                return refusal(client, str(error))
            asked = model or body["model"]
            url = f"{base_url}/{PATHS[api].format(model=asked)}"
            lost = ", ".join(loss.path for loss in untranslated)
            if lost:
                log.info("%s to %s, left out: %s", client, api, lost)
            stream = sk.http.post(url, json=upstream(api, sent, asked), session=app[SESSION]) | pipeline()
            return await respond(
                request, stream, body=body, emit=client, headers={"x-untranslated": lost[:1000]} if lost else None
            )

        return answer

    app = web.Application(client_max_size=MOST_BYTES)
    app.cleanup_ctx.append(session)
    for path, client in CLIENTS.items():
        app.router.add_post(path, answers(client))
    return app


def headers(api: str, key: str) -> dict[str, str]:
    """The headers that the provider's API requires."""
    match api:
        case "anthropic":
            return {"anthropic-version": "2023-06-01", "x-api-key": key}
        case "gemini":
            return {"x-goog-api-key": key}
        case _:
            return {"authorization": f"Bearer {key}"} if key else {}


async def read(request: web.Request) -> dict[str, Any]:
    """The request's body."""
    try:
        body: Any = await request.json()
    except ValueError:
        body = None
    match body:
        case {"model": str()}:
            return {**body}
    raise ProtocolError("expected a JSON object with a model")


def upstream(api: str, body: dict[str, Any], model: str) -> dict[str, Any]:
    """The request to the provider, which always streams; a client that does not stream gets the whole answer."""
    match api:
        case "gemini":
            return body
        case "openai":
            return body | {"model": model, "stream": True, "stream_options": {"include_usage": True}}
        case _:
            return body | {"model": model, "stream": True}


def pipeline() -> sk.Pipeline[bytes, sk.Event]:
    """Any provider's answer, moderated."""
    return sk.Parse() | sk.Extract() | sk.Moderate(RULES) | sk.Accumulate()


def refusal(client: str, message: str) -> web.Response:
    """A request that can't be read, as an error in the client's format."""
    failure = Failure(message, "invalid_request", "invalid_request_error", 400)
    (frame,) = [frame for frame in sk.Emit(client).error(failure) if isinstance(frame, ErrorFrame)]
    return web.Response(body=frame.payload, status=400, content_type="application/json")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    api, base_url, *rest = sys.argv[1:]
    app = application(api, base_url, key=os.environ.get("PROVIDER_KEY", ""), model=rest[0] if rest else None)
    web.run_app(app, host="127.0.0.1", port=8007, shutdown_timeout=2)
