"""A stream as an aiohttp handler's response."""

import asyncio
from collections.abc import AsyncIterable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import cast

import anyio
from aiohttp import web

from streamkit.sinks.answer import PING_SECONDS, Answer, Item, answering, refusal_headers, stream_headers


async def respond(
    request: web.Request,
    stream: AsyncIterable[Item],
    *,
    ping: float | None = PING_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send a stream of server-sent events, or of bytes that are such. `return await respond(request, stream)`.

    Nothing is sent before the first item, which may take its time. A stream that fails before it is answered with a status
    and a JSON error object: the provider's own status from 400 to 499, 504 for a deadline, 502 for what else a provider or
    the way to it may do. A later failure is sent as an error event and ends the answer, without `[DONE]`. Any other error is
    a mistake of this program's and raised.

    `ping`: seconds without an event after which a comment is sent, `None` for never. One item at most is read ahead of the
    socket. The stream is closed at every end, and at once when the client has gone, before the first item too; read the
    request's body before, for aiohttp does not look for the client's end in the midst of it.
    """
    head = stream_headers(headers)
    response = web.StreamResponse(headers=head)
    with anyio.CancelScope() as scope, _on_departure(request, scope.cancel):
        async with answering(stream, ping=ping) as answer:
            if answer.refusal is None:
                await _send(request, response, answer)
                return response
            refusal, head = answer.refusal, head | refusal_headers(answer.refusal)
            return web.Response(body=refusal.data.encode(), status=refusal.status, headers=head)
    # The client has gone; aiohttp finds that out by itself.
    return response


async def _send(request: web.Request, response: web.StreamResponse, answer: Answer) -> None:
    try:
        await response.prepare(request)
    except ConnectionResetError:
        return
    async for data in answer:
        try:
            await response.write(data)
        # Nobody is left to tell. The stream's own errors are not caught here.
        except ConnectionResetError:
            return


@contextmanager
def _on_departure(request: web.Request, tell: Callable[[], None]) -> Generator[None, None, None]:
    """Hear at once that the connection is lost. aiohttp tells only a handler that writes, or one that it may cancel."""
    transport = request.transport
    if transport is None:
        tell()
        yield
    else:
        protocol = cast(asyncio.Protocol, transport.get_protocol())
        listening = _Listening(protocol, tell)
        transport.set_protocol(listening)
        try:
            yield
        finally:
            # The connection's next request belongs to aiohttp alone.
            if transport.get_protocol() is listening:
                transport.set_protocol(protocol)


class _Listening(asyncio.Protocol):
    """Stands before a connection's protocol, passes everything on, and tells when the connection is lost."""

    def __init__(self, protocol: asyncio.Protocol, tell: Callable[[], None]) -> None:
        self._protocol = protocol
        self._tell = tell

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        self._tell()

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
