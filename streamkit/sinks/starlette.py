"""A stream as a response of Starlette, and so of FastAPI."""

from collections.abc import AsyncIterable, Mapping

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from streamkit.hops import until
from streamkit.sinks.answer import PING_SECONDS, Answer, Item, answering, refusal_headers, stream_headers

CLIENT_CLOSED_REQUEST = 499  # nginx's, for the log of who stands between; nobody receives it


class EventStreamResponse(Response):
    """A stream of server-sent events, or of bytes that are such.

    Nothing is sent before the first item, which may take its time. A stream that fails before it is answered with a status
    and a JSON error object: the provider's own status from 400 to 499, 504 for a deadline, 502 for what else a provider or
    the way to it may do. A later failure is sent as an error event and ends the answer, without `[DONE]`. Any other error is
    a mistake of this program's and raised.

    `ping`: seconds without an event after which a comment is sent, `None` for never. One item at most is read ahead of the
    server. The stream is closed at every end, and at once when the client has gone, before the first item too. Give it a
    stream that is not open yet: the handler has returned when it is read.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        stream: AsyncIterable[Item],
        *,
        ping: float | None = PING_SECONDS,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self._stream = stream
        self._ping = ping
        self._started = False
        self.status_code = status_code
        self.background = background
        self.init_headers(stream_headers(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with until(lambda: _departure(receive)), answering(self._stream, ping=self._ping) as answer:
            await self._send(answer, send)
        if not self._started:
            # The client went before the first item. Middleware waits for an answer all the same.
            await self._send_whole(b"", CLIENT_CLOSED_REQUEST, {}, send)
        if self.background is not None:
            await self.background()

    async def _send(self, answer: Answer, send: Send) -> None:
        if refusal := answer.refusal:
            await self._send_whole(refusal.data.encode(), refusal.status, refusal_headers(refusal), send)
            return
        there = await self._start(self.status_code, send)
        while there and (data := await anext(answer, None)) is not None:
            there = await _delivered({"type": "http.response.body", "body": data, "more_body": True}, send)
        if there:
            await _delivered({"type": "http.response.body", "body": b"", "more_body": False}, send)

    async def _send_whole(self, body: bytes, status: int, headers: Mapping[str, str], send: Send) -> None:
        self.headers.update({**headers, "content-length": str(len(body))})
        if await self._start(status, send):
            await _delivered({"type": "http.response.body", "body": body, "more_body": False}, send)

    async def _start(self, status: int, send: Send) -> bool:
        self._started = True
        return await _delivered({"type": "http.response.start", "status": status, "headers": self.raw_headers}, send)


async def _delivered(message: Message, send: Send) -> bool:
    """Send, and tell whether the client was there. Some servers raise when it was not. (ASGI HTTP 2.4)"""
    try:
        await send(message)
    except OSError:
        return False
    return True


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
