"""A WebSocket that another library has connected: each frame is one event."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from streamkit.core.source import Source
from streamkit.core.wrong_input import attribute, kind_of
from streamkit.errors import Disconnected, PipelineError
from streamkit.sse.events import ServerSentEvent, encoded

PROPER: Final = (1000, 1001, 1005)
"""Close codes of a connection that was closed as intended: normal, going away, none given. (RFC 6455, 7.4.1)"""
ABNORMAL = 1006
_TEXT, _BINARY, _CLOSE, _CLOSING, _CLOSED = 1, 2, 8, 256, 257  # of `aiohttp.WSMsgType`
_ENDS = (_CLOSE, _CLOSING, _CLOSED)


class ReceivesMessages(Protocol):
    """aiohttp's `ClientWebSocketResponse` and `WebSocketResponse`, Starlette's `WebSocket`."""

    def receive(self) -> Awaitable[Any]: ...


class ReceivesFrames(Protocol):
    """A connection of the `websockets` package."""

    def recv(self) -> Awaitable[str | bytes]: ...


WebSocket: TypeAlias = ReceivesMessages | ReceivesFrames


class Frames(Source[ServerSentEvent]):
    """Each text or binary frame as the data of an event, so that `Extract` reads it: `from_websocket(ws) | Extract()`.

    A proper close is the end of the input; any other raises `Disconnected` with its code. With `close` false the connection
    stays open when the stream is left, for the next request on it.
    """

    def __init__(self, socket: WebSocket, *, close: bool = True) -> None:
        self._socket: Any = socket
        self._closes = close
        self._next: Callable[[], Awaitable[str | bytes | None]] = self._received
        if callable(attribute(socket, "recv")):
            self._next = self._frame
        elif not callable(attribute(socket, "receive")):
            raise PipelineError(
                f"expected a WebSocket of aiohttp, Starlette or websockets, found {kind_of(socket)}; "
                "one that is still to be connected is entered first: async with session.ws_connect(…) as ws"
            )

    async def read(self) -> Sequence[ServerSentEvent]:
        data = await self._next()
        if data is None:
            return ()
        return (ServerSentEvent(payload=encoded(data) if isinstance(data, str) else data),)

    async def close(self) -> None:
        if self._closes:
            await self._socket.close()

    async def _received(self) -> str | bytes | None:
        while True:
            message: Any = await self._socket.receive()
            data = (
                _of_starlette(cast("Mapping[str, Any]", message))
                if isinstance(message, Mapping)
                else self._of_aiohttp(message)
            )
            if data is not _NOTHING:
                return cast("str | bytes | None", data)

    def _of_aiohttp(self, message: Any) -> object:
        if message.type in (_TEXT, _BINARY):
            return message.data
        if message.type in _ENDS:
            check_close(self._socket.close_code)
            return None
        error = self._socket.exception()
        if error is None:
            return _NOTHING  # a ping or a pong, of a connection that leaves them to the reader
        raise Disconnected(f"the WebSocket broke: {type(error).__name__}") from error

    async def _frame(self) -> str | bytes | None:
        try:
            return cast("str | bytes", await self._socket.recv())
        except Exception as error:
            # websockets raises ConnectionClosedOK and ConnectionClosedError, with the close frame that it received.
            if not type(error).__name__.startswith("ConnectionClosed"):
                raise
            check_close(attribute(attribute(error, "rcvd"), "code") or ABNORMAL, error)
            return None


_NOTHING: Final = object()


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
            return _NOTHING


def check_close(code: int | None, error: Exception | None = None) -> None:
    """Raise `Disconnected` for a close code that is none of a proper end."""
    if code not in PROPER:
        raise Disconnected(f"the WebSocket was closed with code {ABNORMAL if code is None else code}") from error
