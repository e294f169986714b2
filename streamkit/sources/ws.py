"""A WebSocket as a source, on aiohttp: each frame is one event.

    message = {"type": "response.create", "model": "gpt-4o", "input": "Hello"}
    async with streamkit.ws.connect("wss://api.openai.com/v1/responses", send=message, headers=headers) | Extract() as events: ...

aiohttp is imported when the first source is opened. (RFC 6455)
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import urlsplit

import anyio
import msgspec

from streamkit.core.source import Deadlines as Deadlines
from streamkit.core.source import Source
from streamkit.core.wrong_input import attribute, kind_of, shown
from streamkit.errors import (
    ConnectFailed,
    DeadlineExceeded,
    Disconnected,
    LimitExceeded,
    PipelineError,
    RedirectError,
    StatusError,
)
from streamkit.sources.request import address, check_asyncio, check_headers, check_url
from streamkit.sources.retry import Retry
from streamkit.sources.system_errors import system_error, system_reason
from streamkit.sources.websocket import NOTHING, TEXT, Frames
from streamkit.sse.events import ServerSentEvent, encoded

if TYPE_CHECKING:
    import aiohttp

Message: TypeAlias = str | bytes | Mapping[str, Any] | Sequence[Any]
"""Content of one frame: text, bytes in a binary frame, or an object or array that is encoded as JSON."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
CLOSE_SECONDS = 0.25
"""How long closing waits for the server's close frame, which comes behind all that it has sent until then."""
_OPTIONS = ("origin", "params", "protocols", "proxy", "proxy_headers", "ssl", "server_hostname", "compress")
_INSTEAD = {
    **dict.fromkeys(("json", "data", "body", "message", "messages", "input", "model"), "send={…}"),
    **dict.fromkeys(("timeout", "receive_timeout", "open_timeout"), "deadlines=streamkit.ws.Deadlines(…)"),
    **dict.fromkeys(("ping_interval", "ping_timeout", "keepalive", "autoping"), "heartbeat=SECONDS"),
    **dict.fromkeys(("max_size", "max_msg_size"), "max_message_bytes=BYTES"),
    **dict.fromkeys(("api_key", "token", "auth"), "headers={'authorization': f'Bearer {key}'}"),
    **dict.fromkeys(("additional_headers", "extra_headers", "header"), "headers={…}"),
    **dict.fromkeys(("subprotocols", "subprotocol"), "protocols=[…]"),
    **dict.fromkeys(("ssl_context", "sslopt"), "ssl=ssl.SSLContext(…)"),
    **dict.fromkeys(("client", "connector"), "session=aiohttp.ClientSession(…)"),
}


def connect(
    url: str,
    *,
    send: Message | Iterable[Message] = (),
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
    retry: Retry | None = None,
    heartbeat: float | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    **options: Any,
) -> "WebSocketSource":
    """Connect to `ws://` or `wss://`, send messages, and read what comes, until the pipeline has what it needs.

    `send`: one message, or several in a tuple, a list or any other iterable that is no mapping. A mapping is encoded as JSON.
    `headers` and cookies are sent with the handshake; `session`, if lent, stays open, and its connector, headers and cookies are
    used. `retry`: connect and send again while nothing was released.

    `deadlines` as those of `http.post`: `connect` is the time to be connected, handshake included, `first_byte` that to the
    first frame, and `idle_bytes` that between two frames, of which pings and pongs are some. Pings are answered while the
    stream is read. `heartbeat`: send pings of our own, that many seconds apart, and drop the connection if no pong comes.

    A close code of a proper end (1000, 1001 or none) ends the stream; any other raises `Disconnected`, and so does a server that
    closes before it has answered a message. A handshake that is refused raises `StatusError`, one that is redirected
    `RedirectError`, and a message above `max_message_bytes` `LimitExceeded`. Further options (`protocols`, `proxy`, `ssl`,
    `origin`, `params`, `compress`, …) go to `aiohttp.ClientSession.ws_connect`.
    """
    link = _Link(url, headers, session, heartbeat, max_message_bytes, options)
    return WebSocketSource(link, _several(send), deadlines, retry, keep=False)


class Connection:
    """One connection for many answers, one after the other: `connection.ask(message) | Extract()`.

    It connects with the first `ask`, and again after it was closed. Options are those of `connect`. Leaving its `async with`
    closes it. An answer that was read to its end marker leaves the connection open for the next; one that was left before, or
    broke off, closes it.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        session: "aiohttp.ClientSession | None" = None,
        deadlines: Deadlines | None = None,
        retry: Retry | None = None,
        heartbeat: float | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        **options: Any,
    ) -> None:
        self._link = _Link(url, headers, session, heartbeat, max_message_bytes, options)
        self._deadlines = deadlines
        self._retry = retry

    def __repr__(self) -> str:
        return f"<connection {self._link.name}>"

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as this side has seen."""
        return self._link.socket is not None

    def ask(
        self, *messages: Message, deadlines: Deadlines | None = None, retry: Retry | None = None
    ) -> "WebSocketSource":
        """Send the messages when the stream is opened, and read what comes. Deadlines and retry replace the connection's own.

        While another answer is read, opening the stream raises `PipelineError`.
        """
        return WebSocketSource(
            self._link, _several(list(messages)), deadlines or self._deadlines, retry or self._retry, keep=True
        )

    async def __aenter__(self) -> "Connection":
        self._link.ended = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Nobody would close a connection that is made afterwards.
        self._link.ended = True
        with anyio.CancelScope(shield=True):
            await self._link.drop()


class WebSocketSource(Source[ServerSentEvent]):
    """The frames that answer one or several messages. Created by `connect` and `Connection.ask`."""

    def __init__(
        self,
        link: "_Link",
        messages: list[str | bytes],
        deadlines: Deadlines | None,
        retry: Retry | None,
        *,
        keep: bool,
    ) -> None:
        if deadlines is not None and not hasattr(deadlines, "first_content"):
            raise PipelineError(f"deadlines: expected streamkit.ws.Deadlines(…), found {kind_of(deadlines)}")
        if retry is not None and not callable(attribute(retry, "wait")):
            raise PipelineError(f"retry: expected streamkit.sources.retry.Retry(…), found {kind_of(retry)}")
        self.attempts: list[str] = []
        """The name of the error that ended each attempt before the last."""
        self._limits = deadlines or Deadlines()
        # Pings are frames, which the stream does not see.
        self.deadlines = replace(self._limits, idle_bytes=None)
        self._link = link
        self._messages = messages
        self._retry = retry
        self._keeps = keep
        self._frames: Frames | None = None
        self._receive: Callable[[], Awaitable[Any]]
        self._waits_without_limit = self._limits.idle_bytes is None
        self._answered = self._complete = False
        self._spent = 0.0
        self._ends_at: float | None = None

    def __repr__(self) -> str:
        return f"<{self._link.name}>"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the handshake's response; empty before they are there."""
        return self._link.headers

    async def open(self) -> None:
        if self._ends_at is None and self._limits.total is not None:
            self._ends_at = self.now() + self._limits.total
        check_asyncio(self)
        self._link.take(self)
        socket: Any = await self._connected()
        self._frames, self._receive, self._answered = Frames(socket), socket.receive, False
        for message in self._messages:
            await self.send(message)

    async def _connected(self) -> "aiohttp.ClientWebSocketResponse":
        with anyio.move_on_after(self._limits.connect):
            return await self._link.opened()
        raise self._too_late("connect", self._limits.connect)

    async def send(self, message: Message) -> None:
        """Send one more message while the stream is open."""
        if self._frames is None:
            raise PipelineError(f"{self!r}: expected an open stream to send in, found one that is not")
        (frame,) = _several([message])
        await self._link.send(frame)

    async def read(self) -> Sequence[ServerSentEvent]:
        assert self._frames is not None, "read before open"
        while True:
            message = await (self._receive() if self._answered and self._waits_without_limit else self._in_time())
            if message.type == TEXT:
                self._answered = True
                return (ServerSentEvent(payload=encoded(message.data)),)
            data = await self._data(self._frames, message)
            if data is None:
                return ()
            self._answered = True
            if data is not NOTHING:
                return (ServerSentEvent(payload=cast("bytes", data)),)

    async def _in_time(self) -> Any:
        name = "idle_bytes" if self._answered else "first_byte"
        seconds = self._limits.idle_bytes if self._answered else self._limits.first_byte
        with anyio.move_on_after(seconds):
            return await self._receive()
        raise self._too_late(name, seconds)

    async def _data(self, frames: Frames, message: Any) -> object:
        try:
            data = await frames.of_aiohttp(message)
        except LimitExceeded:
            self._link.broken = True
            raise LimitExceeded(
                f"{self!r}: expected at most {self._link.max_message_bytes} bytes in a message (max_message_bytes), "
                "found more"
            ) from None
        except Disconnected as error:
            self._link.broken = True
            raise Disconnected(f"{self!r}: {error}") from error.__cause__
        if data is None and self._messages and not self._answered:
            self._link.broken = True
            raise Disconnected(f"{self!r}: the WebSocket was closed before it answered")
        return data

    async def again(self, error: Exception) -> bool:
        self.attempts.append(type(error).__name__)
        wait = self._retry.wait(len(self.attempts), error) if self._retry else None
        if self._retry is None or wait is None or self._spent + wait > self._retry.budget:
            return False
        if self._ends_at is not None and self.now() + wait >= self._ends_at:
            return False
        await self._link.drop()
        self._spent += wait
        await anyio.sleep(wait)
        return True

    @property
    def undrained(self) -> bool:
        # Asked at the end marker alone: the connection is of use for the next answer.
        return self._keeps and not self._complete

    async def drain(self) -> None:
        self._complete = True

    async def close(self) -> None:
        self._frames = None
        if self._link.user is self:
            self._link.user = None
            if not (self._keeps and self._complete) or self._link.broken:
                await self._link.drop()

    def _too_late(self, name: str, seconds: float | None) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self!r}: the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds or 0.0
        )


class _Link:
    """An address, and the connection to it while there is one. `user` is the source that reads from it."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None,
        session: "aiohttp.ClientSession | None",
        heartbeat: float | None,
        max_message_bytes: int,
        options: dict[str, Any],
    ) -> None:
        check_url(url)
        check_headers(headers)
        _check_options(options)
        if session is not None and not hasattr(session, "connector"):
            raise PipelineError(f"session: expected aiohttp.ClientSession(…), found {kind_of(session)}")
        if heartbeat is not None and (not isinstance(cast("object", heartbeat), int | float) or not heartbeat > 0):
            raise PipelineError(f"heartbeat: expected more than 0 seconds, found {shown(heartbeat)}")
        size = cast("object", max_message_bytes)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise PipelineError(f"max_message_bytes: expected a whole number of 1 or more, found {shown(size)}")
        self.name = f"WebSocket {address(url)}"
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.headers: Mapping[str, str] = {}
        self.max_message_bytes = max_message_bytes
        self.user: WebSocketSource | None = None
        self.broken = False
        self.ended = False
        self._url = url
        self._sent = dict(headers or {})
        self._caller_session = session
        self._owned: aiohttp.ClientSession | None = None
        self._heartbeat = heartbeat
        self._options = options

    def take(self, source: WebSocketSource) -> None:
        """Let the source use the connection, if no other does."""
        if self.user not in (None, source):
            raise PipelineError(
                f"<connection {self.name}>: another answer is still read; leave its `async with` first, or use a connection "
                "for each"
            )
        self.user = source

    async def opened(self) -> "aiohttp.ClientWebSocketResponse":
        """The connection, made now if there is none."""
        if self.socket is not None and (self.socket.closed or self.broken):
            await self.drop()
        if self.socket is None:
            self.broken = False
            await self._open()
        assert self.socket is not None
        return self.socket

    async def _open(self) -> None:
        import aiohttp

        if self.ended:
            raise PipelineError(f"<connection {self.name}>: its `async with` block has ended; ask inside of it")
        if problem := _scheme_problem(self._url):
            raise ConnectFailed(f"<{self.name}>: expected ws://host/path or wss://…, {problem}")
        if self._caller_session is not None and self._caller_session.closed:
            raise PipelineError(f"<{self.name}>: expected an open session, found one that is closed")
        self._owned = self._session()
        ws_connect: Any = self._owned.ws_connect
        try:
            self.socket = await ws_connect(
                self._url,
                headers=self._sent,
                heartbeat=self._heartbeat,
                max_msg_size=self.max_message_bytes,
                autoping=False,
                autoclose=True,
                **self._options,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise StatusError(
                f"<{self.name}>: expected status 101 (Switching Protocols), found {error.status}",
                status=error.status,
                headers={name.lower(): value for name, value in (error.headers or {}).items()},
            ) from None
        # Their messages may hold the whole address or the headers, and they are therefore not chained.
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise ConnectFailed(f"<{self.name}>: expected ws://host/path or wss://…: {type(error).__name__}") from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise ConnectFailed(f"<{self.name}>: no connection: {system_reason(error)}") from system_error(error)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise PipelineError(
                f"<{self.name}>: this connection can't be made: {type(error).__name__}; expected a host name and options that "
                "aiohttp.ClientSession.ws_connect knows"
            ) from None
        self.headers = _headers_of(self.socket)

    def _session(self) -> "aiohttp.ClientSession":
        import aiohttp

        async def refuse(_session: object, _context: SimpleNamespace, redirect: Any) -> None:
            # aiohttp would send the headers, and the keys in them, to wherever it leads.
            raise RedirectError(
                f"<{self.name}>: expected status 101 (Switching Protocols), found a redirect with status "
                f"{redirect.response.status}",
                status=redirect.response.status,
                location=address(redirect.response.headers.get("Location", "")),
            )

        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(refuse)
        timeout = aiohttp.ClientTimeout(total=None)
        if self._caller_session is None:
            return aiohttp.ClientSession(trace_configs=[trace], timeout=timeout)
        # The lent one follows redirects, and its total timeout would cover the connection.
        return aiohttp.ClientSession(
            connector=self._caller_session.connector,
            connector_owner=False,
            cookie_jar=self._caller_session.cookie_jar,
            headers=self._caller_session.headers,
            trust_env=self._caller_session.trust_env,
            trace_configs=[trace],
            timeout=timeout,
        )

    async def send(self, message: str | bytes) -> None:
        """Send one frame."""
        import aiohttp

        assert self.socket is not None
        try:
            await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            self.broken = True
            raise Disconnected(f"<{self.name}>: the connection broke: {system_reason(error)}") from system_error(error)

    async def drop(self) -> None:
        """Close the connection and what it is made of."""
        socket, self.socket = self.socket, None
        owned, self._owned = self._owned, None
        self.broken = False
        try:
            if socket is not None:
                # The server may go on with an answer that nobody wants any more.
                with anyio.move_on_after(CLOSE_SECONDS):
                    await socket.close()
        finally:
            if owned is not None:
                await owned.close()


def _headers_of(socket: object) -> Mapping[str, str]:
    return cast("Mapping[str, str]", attribute(attribute(socket, "_response"), "headers") or {})


def _several(given: object) -> list[str | bytes]:
    if isinstance(given, str | bytes | bytearray | memoryview | Mapping):
        return [_encoded(cast(object, given))]
    if not isinstance(given, Iterable):
        raise PipelineError(f"send: expected text, bytes, a mapping, or several of these, found {kind_of(given)}")
    return [_encoded(message) for message in cast("Iterable[object]", given)]


def _encoded(message: object) -> str | bytes:
    match message:
        case str():
            return message
        case bytes() | bytearray() | memoryview():
            return bytes(cast("bytes", message))
        case _:
            try:
                return msgspec.json.encode(message).decode()
            # Its message may quote the value.
            except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
                raise PipelineError(
                    f"send: expected text, bytes or a value that JSON can hold, found {kind_of(message)} ({type(error).__name__})"
                ) from None


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _INSTEAD:
            raise PipelineError(f"{name}: expected {_INSTEAD[name]} instead")
        if name not in _OPTIONS:
            close = get_close_matches(name, _OPTIONS, 1, 0.6)
            raise PipelineError(
                f"{name}: expected one of the options {', '.join(_OPTIONS)}"
                + (f"; did you mean {close[0]}?" if close else "")
            )


def _scheme_problem(url: str) -> str | None:
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError:
        return None  # aiohttp says what is wrong with it
    if scheme in ("ws", "wss", "http", "https"):
        return None
    return "found another scheme" if "://" in url else "found none: does it lack wss:// at the beginning?"
