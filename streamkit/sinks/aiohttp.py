"""A stream as an aiohttp handler's response."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, cast

import anyio
from aiohttp import web

from streamkit.emitters.emit import Emit
from streamkit.emitters.emitter import MakeEmitter
from streamkit.sinks.answer import (
    PING_SECONDS,
    Answer,
    ClientAnswer,
    OnEnd,
    Options,
    answering,
    ending,
    json_headers,
    stream_headers,
)
from streamkit.sinks.durable import Reads


async def respond(
    request: web.Request,
    stream: Answer,
    *,
    body: Mapping[str, Any] | None = None,
    emit: Emit | str | MakeEmitter | None = None,
    ping: float | None = PING_SECONDS,
    headers: Mapping[str, str] | None = None,
    error_details: bool = False,
    log_details: bool = False,
    on_end: OnEnd | None = None,
) -> web.StreamResponse:
    """Send a stream of events to a client of OpenAI's API: `return await respond(request, stream, body=body)`.

    `request` is the client's request. `stream` yields the events and may be a hop such as `race(a, b)`. `headers` are added to
    the response.

    `body` is the JSON of the request. With `stream: true`, the client receives server-sent events, with the usage chunk only if
    `stream_options.include_usage` is set; otherwise it receives one JSON object, whose status is decided when the response is
    complete. A `prompt` instead of `messages` requests a legacy completion. Without a `body`, every client receives server-sent
    events. `emit` writes the events and supplies the id, model and creation time that the provider did not send. The name of an
    emitter, such as `anthropic`, its class or a function is enough; each response then gets its own id. Streaming-only formats
    ignore `stream`. A stream of `ServerSentEvent` or bytes is sent unchanged.

    Nothing is sent before the first item. A stream that fails before its first item is answered with a status and a JSON error
    object: the provider's own status if it is 400 to 499, 504 for a deadline, and 502 for any other provider or connection
    error. A later failure is sent as an error event and ends the response, without `[DONE]`. Any other error is a bug in the
    program and is raised.

    `error_details`: clients also receive the provider's own message, code and type of an error, which may quote the prompt,
    or a key that the provider rejects. The logger `streamkit.sinks` gets a warning for each error response, with code and type;
    `log_details`: also with the message.

    `ping`: seconds without an event after which a comment is sent; `None` disables it. At most one item is read ahead of the
    socket. The stream is always closed at the end, and immediately when the client disconnects, also before the first item and
    while a non-streaming response is collected. Read the request's body first: aiohttp does not detect a disconnect while the
    body is unread. `on_end` is called once, after the response was sent and the stream is closed, also after a disconnect or an
    error; it may be `async`. An error that it raises is logged.
    """
    options = Options(body, emit, ping, error_details, log_details)
    response = web.StreamResponse(headers=stream_headers(options, headers))
    async with ending(on_end):
        with anyio.CancelScope() as scope, _on_disconnect(request, scope.cancel):
            async with answering(stream, options) as answer:
                if whole := _whole(answer, response.headers):
                    response = whole
                    # Otherwise aiohttp would send it only after `on_end`.
                    await _delivered(_send_whole(request, whole))
                elif await _delivered(response.prepare(request)):
                    await _send(response, answer)
        # Also returned after a disconnect; aiohttp detects that itself.
        return response


async def respond_durable(
    request: web.Request, durable: Reads, key: str, *, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer a client of the Durable Streams protocol: `return await respond_durable(request, durable, "answer-1")`.

    `durable` is a `streamkit.relay.DurableStreams`, and `key` the stream's, which the client may read: check that before. Route
    GET, HEAD and, for pages of other origins, OPTIONS here. `headers` are added to the response. A client that has
    disconnected ends its read at once.
    """
    response = web.StreamResponse()
    with anyio.CancelScope() as scope, _on_disconnect(request, scope.cancel):
        answer = await durable.read(key, request.method, request.query.items(), request.headers)
        head = {**answer.headers, **(headers or {})}
        body = answer.body
        if isinstance(body, bytes):
            return web.Response(status=answer.status, headers=head, body=body)
        response = web.StreamResponse(status=answer.status, headers=head)
        async with aclosing(body) as parts:
            if await _delivered(response.prepare(request)):
                await _send(response, aiter(parts))
    return response


def _whole(answer: ClientAnswer, headers: Mapping[str, str]) -> web.Response | None:
    if refusal := answer.refusal:
        head = {**headers, **json_headers(refusal)}
        return web.Response(body=refusal.payload, status=refusal.failure.status, headers=head)
    if answer.whole is not None:
        return web.Response(body=answer.whole, headers={**headers, **json_headers()})
    return None


async def _send_whole(request: web.Request, response: web.Response) -> None:
    await response.prepare(request)
    await response.write_eof()


async def _send(response: web.StreamResponse, answer: AsyncIterator[bytes]) -> None:
    async for data in answer:
        if not await _delivered(response.write(data)):
            return
    await _delivered(response.write_eof())


async def _delivered(sending: Awaitable[object]) -> bool:
    """Await a write; return False if the client has disconnected. The stream's own errors are not raised in here."""
    try:
        await sending
    except ConnectionResetError:
        return False
    return True


@contextmanager
def _on_disconnect(request: web.Request, call: Callable[[], None]) -> Generator[None, None, None]:
    """Call back as soon as the connection is lost. aiohttp reports that only to a handler that writes, or that it may cancel."""
    transport = request.transport
    if transport is None:
        call()
        yield
    else:
        protocol = cast(asyncio.Protocol, transport.get_protocol())
        watching = _Watching(protocol, call)
        transport.set_protocol(watching)
        try:
            yield
        finally:
            # The next request on this connection must not be watched.
            if transport.get_protocol() is watching:
                transport.set_protocol(protocol)


class _Watching(asyncio.Protocol):
    """A proxy for a connection's protocol that calls `call` when the connection is lost."""

    def __init__(self, protocol: asyncio.Protocol, call: Callable[[], None]) -> None:
        self._protocol = protocol
        self._call = call

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        self._call()

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
