"""A stream as a Starlette or FastAPI response. Needs starlette, which FastAPI depends on."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

try:
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "streamkit.sinks.starlette needs starlette: install starlette or fastapi", name=error.name
    ) from error

from streamkit.emitters.emit import Emit
from streamkit.emitters.emitter import MakeEmitter
from streamkit.hops import until
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
from streamkit.sinks.durable import Parts, Reads

CLIENT_CLOSED_REQUEST = 499  # nginx's code, for the logs of middleware and proxies; the client does not receive it
BODILESS = frozenset((204, 304))
"""Statuses of responses that have no body, and so no length. (RFC 9110, 8.6)"""


class _Sent(Response):
    _started: bool

    async def _start(self, status: int, send: Send) -> bool:
        self._started = True
        return await _delivered({"type": "http.response.start", "status": status, "headers": self.raw_headers}, send)

    async def _send_part(self, data: bytes, send: Send, *, more: bool = True) -> bool:
        return await _delivered({"type": "http.response.body", "body": data, "more_body": more}, send)

    async def _send_whole(self, body: bytes, status: int, headers: Mapping[str, str], send: Send) -> None:
        length = {} if status in BODILESS else {"content-length": str(len(body))}
        self.headers.update({**headers, **length})
        if await self._start(status, send):
            await self._send_part(body, send, more=False)


class EventStreamResponse(_Sent):
    """A response with a stream of events for a client of OpenAI's API: `return EventStreamResponse(stream, body=body)`.

    `stream` yields the events and may be a hop such as `race(a, b)`. `headers` are added to the response. `status_code` is the
    status of a successful response.

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
    server. The stream is always closed at the end, and immediately when the client disconnects, also before the first item and
    while a non-streaming response is collected. Pass a stream that is not open yet: it is read after the handler has returned.
    `on_end` is called once, after the response was sent and the stream is closed, also after a disconnect or an error; it may
    be `async`. An error that it raises is logged. `background` is Starlette's background task; it runs after `on_end`, unless an
    error is raised.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        stream: Answer,
        *,
        body: Mapping[str, Any] | None = None,
        emit: Emit | str | MakeEmitter | None = None,
        ping: float | None = PING_SECONDS,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        error_details: bool = False,
        log_details: bool = False,
        on_end: OnEnd | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self._stream = stream
        self._options = Options(body, emit, ping, error_details, log_details)
        self._on_end = on_end
        self._started = False
        self.status_code = status_code
        self.background = background
        self.init_headers(stream_headers(self._options, headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with ending(self._on_end):
            async with until(lambda: _disconnect(receive)), answering(self._stream, self._options) as answer:
                await self._send(answer, send)
            if not self._started:
                # The client disconnected before the response began, but middleware still waits for a response.
                await self._send_whole(b"", CLIENT_CLOSED_REQUEST, {}, send)
        if self.background is not None:
            await self.background()

    async def _send(self, answer: ClientAnswer, send: Send) -> None:
        if refusal := answer.refusal:
            await self._send_whole(refusal.payload, refusal.failure.status, json_headers(refusal), send)
            return
        if answer.whole is not None:
            await self._send_whole(answer.whole, self.status_code, json_headers(), send)
            return
        connected = await self._start(self.status_code, send)
        while connected and (data := await anext(answer, None)) is not None:
            connected = await self._send_part(data, send)
        if connected:
            await self._send_part(b"", send, more=False)


class DurableStreamResponse(_Sent):
    """The response to a client of the Durable Streams protocol: `return DurableStreamResponse(durable, "answer-1")`.

    `durable` is a `streamkit.relay.DurableStreams`, and `key` the stream's, which the client may read: check that before. Route
    GET, HEAD and, for pages of other origins, OPTIONS here. `headers` are added to the response. A client that has
    disconnected ends its read at once.
    """

    def __init__(self, durable: Reads, key: str, *, headers: Mapping[str, str] | None = None) -> None:
        self._durable = durable
        self._key = key
        self._more = headers or {}
        self._started = False
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        async with until(lambda: _disconnect(receive)):
            query = request.query_params.multi_items()
            answer = await self._durable.read(self._key, request.method, query, request.headers)
            self.init_headers({**answer.headers, **self._more})
            body = answer.body
            if isinstance(body, bytes):
                await self._send_whole(body, answer.status, {}, send)
            else:
                await self._send_parts(body, answer.status, send)
        if not self._started:
            await self._send_whole(b"", CLIENT_CLOSED_REQUEST, {}, send)

    async def _send_parts(self, body: Parts, status: int, send: Send) -> None:
        async with aclosing(body) as parts:
            connected = await self._start(status, send)
            async for data in parts:
                connected = connected and await self._send_part(data, send)
                if not connected:
                    return
        if connected:
            await self._send_part(b"", send, more=False)


async def _delivered(message: Message, send: Send) -> bool:
    """Send a message; return False if the client has disconnected, for which some servers raise. (ASGI HTTP 2.4)"""
    try:
        await send(message)
    except OSError:
        return False
    return True


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
