"""A WebSocket connected by another library, as a source: each frame is one event."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from streamkit.core.source import Source
from streamkit.core.wrong_input import attribute, kind_of
from streamkit.errors import Disconnected, LimitExceeded, PipelineError
from streamkit.sse.events import ServerSentEvent, encoded

PROPER: Final = (1000, 1001, 1005)
"""Close codes of a properly closed connection: normal, going away, no code. (RFC 6455, 7.4.1)"""
ABNORMAL: Final = 1006
MESSAGE_TOO_BIG: Final = 1009
TEXT: Final = 1
_BINARY, _CLOSE, _PING, _CLOSING, _CLOSED = 2, 8, 9, 256, 257  # of `aiohttp.WSMsgType`
_ENDS = (_CLOSE, _CLOSING, _CLOSED)


class ReceivesMessages(Protocol):
    """aiohttp's `ClientWebSocketResponse` and `WebSocketResponse`, Starlette's `WebSocket`."""

    def receive(self) -> Awaitable[Any]: ...


class ReceivesFrames(Protocol):
    """A connection of the `websockets` package, or of openai's `client.responses.connect()`."""

    def recv(self) -> Awaitable[Any]: ...


WebSocket: TypeAlias = ReceivesMessages | ReceivesFrames


class Frames(Source[ServerSentEvent]):
    """Emits each text or binary frame as the data of an event, for `Extract`: `from_websocket(ws) | Extract()`.

    A proper close ends the input; any other close raises `Disconnected` with its code. A message above the connection's limit
    raises `LimitExceeded`. Pings are answered if the connection does not answer them itself. With `close` false, the connection
    stays open after the stream is left, for the next request on it.
    """

    def __init__(self, socket: WebSocket, *, close: bool = True) -> None:
        self._socket: Any = socket
        self._closes = close
        self._disconnected = False
        self._next: Callable[[], Awaitable[object]] = self._received
        # `recv` of openai's connection returns parsed objects; `recv_bytes` returns the frames.
        self._recv = attribute(socket, "recv_bytes") or attribute(socket, "recv")
        if callable(self._recv):
            self._next = self._frame
        elif not callable(attribute(socket, "receive")):
            raise PipelineError(
                f"expected a WebSocket of aiohttp, Starlette or websockets, found {kind_of(socket)}; "
                "one that is still to be connected is entered first: async with session.ws_connect(…) as ws"
            )

    async def read(self) -> Sequence[ServerSentEvent]:
        while (found := await self.message()) is NOTHING:
            pass
        return cast("Sequence[ServerSentEvent]", found)

    async def message(self) -> object:
        """Return the next message as the result of one read, or `NOTHING` for a message without data, such as a ping."""
        data = await self._next()
        if data is NOTHING or data is None:
            return () if data is None else NOTHING
        return (ServerSentEvent(payload=encoded(data) if isinstance(data, str) else cast("bytes", data)),)

    async def close(self) -> None:
        # ASGI forbids sending after the client has disconnected.
        if self._closes and not self._disconnected:
            await self._socket.close()

    async def _received(self) -> object:
        message: Any = await self._socket.receive()
        if not isinstance(message, Mapping):
            return await self.of_aiohttp(message)
        fields = cast("Mapping[str, Any]", message)
        self._disconnected = fields.get("type") == "websocket.disconnect"
        return _of_starlette(fields)

    async def of_aiohttp(self, message: Any) -> object:
        """Return the data of a message; `None` at a proper close, `NOTHING` without data. Raises the errors of `read`."""
        if message.type in (TEXT, _BINARY):
            return message.data
        if message.type in _ENDS:
            check_close(self._socket.close_code)
            return None
        if message.type == _PING:
            await self._socket.pong(message.data)
            return NOTHING
        error = message.data if isinstance(message.data, Exception) else self._socket.exception()
        if error is None:
            return NOTHING
        if attribute(error, "code") == MESSAGE_TOO_BIG:
            raise _too_long()
        raise Disconnected(f"the WebSocket broke: {type(error).__name__}") from error

    async def _frame(self) -> object:
        try:
            receiving = self._recv()
            if not isinstance(receiving, Awaitable):
                raise PipelineError(
                    f"found {kind_of(self._socket)}, which is of a synchronous client: use the asynchronous one"
                )
            return cast("object", await receiving)
        except Exception as error:
            # websockets raises ConnectionClosedOK and ConnectionClosedError, with the received and the sent close frame.
            if not type(error).__name__.startswith("ConnectionClosed"):
                raise
            if attribute(attribute(error, "sent"), "code") == MESSAGE_TOO_BIG:
                raise _too_long() from None
            check_close(attribute(attribute(error, "rcvd"), "code") or ABNORMAL, error)
            return None


def _too_long() -> LimitExceeded:
    return LimitExceeded("expected a message within the WebSocket's limit, found a longer one")


NOTHING: Final = object()


def _of_starlette(message: Mapping[str, Any]) -> object:
    # https://asgi.readthedocs.io/en/latest/specs/www.html#websocket: one of `text` and `bytes` is set.
    match message.get("type"):
        case "websocket.receive":
            text = message.get("text")
            return message.get("bytes") if text is None else text
        case "websocket.disconnect":
            check_close(message.get("code", 1005))
            return None
        case _:
            return NOTHING


def check_close(code: int | None, error: Exception | None = None) -> None:
    """Raise `Disconnected` for a close code that is not in `PROPER`."""
    if code not in PROPER:
        raise Disconnected(f"the WebSocket was closed with code {ABNORMAL if code is None else code}") from error
