"""Published streams for clients of the Durable Streams protocol: catch-up reads, long-polling and server-sent events.

https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md, version 1.0: the reading half, which a server may
implement alone (section 3). The sections are named where they decide something.
"""

import logging
import random
import re
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, cast

import anyio
import msgspec

from streamkit.core.stage import Stage
from streamkit.core.wrong_input import shown
from streamkit.emitters.emit import Emit
from streamkit.emitters.emitter import MakeEmitter
from streamkit.errors import LogLost, LogUnreachable, PipelineError, ProtocolError
from streamkit.events import StreamEnd
from streamkit.relay.log import LogState, Position
from streamkit.relay.messages import Messages, Writer
from streamkit.relay.relay import Relay
from streamkit.relay.tail import LogBatch
from streamkit.relay.viewing import NOWHERE

BEGINNING: Final = "-1"
NOW: Final = "now"
_OFFSET = re.compile(r"([0-9]{16})_([0-9]{16})", re.ASCII)
_CURSOR = re.compile(r"[0-9]{1,15}", re.ASCII)
_LINES = re.compile(rb"\r\n|\r|\n")
CURSOR_SECONDS = 20
"""The interval of cursors, counted from `CURSOR_EPOCH`, and the longest jitter in seconds. (10.1)"""
CURSOR_EPOCH = 1728432000
JITTER_SECONDS = 3600
ELSEWHERE = "the log does not have what this client has seen"
METHODS = "GET, HEAD, OPTIONS"
_EXPOSED = "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-SSE-Data-Encoding, ETag"
_log = logging.getLogger("streamkit.relay")


class DurableResponse(msgspec.Struct, frozen=True):
    """A response for any web server. Created by `DurableStreams.read`."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: "bytes | DurableEvents" = b""
    """Bytes, or the parts of an event stream, to be closed."""


class _Refusal(Exception):
    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class _Query(msgspec.Struct, frozen=True):
    # The parameters of a read. `offset` is "-1", "now", or an offset that this server has made.
    offset: str
    live: str
    cursor: str

    @classmethod
    def of(cls, parameters: Iterable[tuple[str, str]]) -> "_Query":
        given: dict[str, list[str]] = {}
        for name, value in parameters:
            given.setdefault(name, []).append(value)
        offsets, live = given.get("offset", []), given.get("live", [""])[0]
        if live not in ("", "long-poll", "sse"):
            raise _Refusal(400, "expected live=long-poll or live=sse")
        if live and not offsets:
            raise _Refusal(400, "expected an offset: a live read needs one")
        if len(offsets) > 1:
            raise _Refusal(400, "expected one offset, found several")
        offset = offsets[0] if offsets else BEGINNING
        if offset not in (BEGINNING, NOW) and _OFFSET.fullmatch(offset) is None:
            raise _Refusal(400, "expected -1, now, or an offset of this server")
        return cls(offset, live, given.get("cursor", [""])[0])

    def position(self, state: LogState) -> Position:
        """The place behind which the client reads."""
        if self.offset == NOW:
            return state.last
        found = _OFFSET.fullmatch(self.offset)
        return Position(int(found[1]), int(found[2])) if found else NOWHERE


class DurableStreams:
    """Answers the requests of clients of the Durable Streams protocol, `@durable-streams/client` for one, for published streams.

    `emit` decides what the messages of a stream are: without one its events as JSON; with an emitter's name, class or function,
    or an `Emit`, the frames of a client's wire format (`ai-sdk` gives the chunks of a `UIMessage`); with any other stage, the
    bytes or server-sent events that it writes. With a `content_type` other than `application/json` messages are joined as
    bytes. An offset is the place behind a batch of the log.

    `chunk_bytes`: about how much a catch-up read returns at once. `long_poll` and `sse`: for how many seconds a long-poll waits,
    and an event stream lasts until the client connects again. `cache_control` is that of responses with data. `allow_origin`
    is the origin whose pages may read across origins, or `*`.

        durable = relay.DurableStreams(streams, "ai-sdk")
        response = await durable.read("answer-1", "GET", [("offset", "-1")], {})
    """

    def __init__(
        self,
        streams: Relay,
        emit: Writer | str | MakeEmitter | None = None,
        *,
        content_type: str = "application/json",
        chunk_bytes: int = 1024 * 1024,
        long_poll: float = 20.0,
        sse: float = 55.0,
        cache_control: str = "private, max-age=60, stale-while-revalidate=300",
        allow_origin: str | None = None,
    ) -> None:
        for name, value in {"chunk_bytes": chunk_bytes, "long_poll": long_poll, "sse": sse}.items():
            if not value > 0:
                raise PipelineError(f"expected a {name} of more than 0, found {value}")
        kind = cast("object", content_type)
        if not isinstance(kind, str) or "/" not in kind:
            raise PipelineError(f"expected a content_type such as text/plain, found {shown(kind)}")
        self.streams = streams
        self.content_type = content_type
        self._writer: Writer | None = emit if emit is None or isinstance(emit, Stage) else Emit(emit)
        main = content_type.partition(";")[0].strip().lower()
        self.json = main == "application/json"
        """Whether a stream consists of JSON values, and a response of an array of them. (9.1)"""
        self.text = self.json or main.startswith("text/")
        """Whether server-sent events carry the messages as text; else they are base64. (5.8)"""
        if self._writer is None and not self.json:
            raise PipelineError(
                f"events are application/json; for {content_type} give a stage that writes the messages"
            )
        self.chunk_bytes = chunk_bytes
        self.long_poll = long_poll
        self.sse = sse
        self._cache_control = cache_control
        self._origin = allow_origin

    async def read(
        self, key: str, method: str, query: Iterable[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> DurableResponse:
        """The response to a request for the stream `key`. `query` are its parameters, decoded, each as often as it was sent.

        Of the `headers`, in any case, `If-None-Match` matters. What is wrong with a request or a log is a status: 400, 404 for an
        unknown key, 410 for an offset or a log that was lost, 405, 503 if the store does not answer. Check who may read
        the stream before you call this.
        """
        try:
            match method:
                case "GET":
                    return await self._get(key, _Query.of(query), headers or {})
                case "HEAD":
                    return await self._head(key)
                case "OPTIONS":
                    return self._response(204, {"allow": METHODS})
                case _:
                    raise _Refusal(405, "this server only reads", allow=METHODS)
        except (_Refusal, LogLost, LogUnreachable, ProtocolError) as error:
            return self._refused(error)

    def _refused(self, error: Exception) -> DurableResponse:
        more: Mapping[str, str] = {}
        match error:
            case _Refusal(status=status, text=text, headers=more):
                pass
            case LogLost(cause=cause):
                status, text = (404, "unknown") if cause == "unknown" else (410, f"{cause}")
                text = f"the stream is {text}"
            case LogUnreachable():
                status, text = 503, "the store of streams does not answer"
            case _:
                status, text = 500, "the stream is damaged"
        if status >= 500:
            _log.warning("a stream can't be read: %s", error)
        head = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", **more}
        return self._response(status, head, text.encode())

    def _response(
        self, status: int, headers: Mapping[str, str], body: "bytes | DurableEvents" = b""
    ) -> DurableResponse:
        head = {"x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin"}
        if self._origin is not None:
            head |= {
                "cross-origin-resource-policy": "cross-origin",
                "access-control-allow-origin": self._origin,
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": "Authorization, Content-Type, If-None-Match",
                "access-control-expose-headers": _EXPOSED,
            }
        return DurableResponse(status, {**head, **headers}, body)

    async def _state(self, key: str) -> LogState:
        state = await self.streams.state(key)
        if state is None:
            raise LogLost("there is no stream with this key, or its log has expired")
        return state

    async def _head(self, key: str) -> DurableResponse:
        state = await self._state(key)
        head = {
            "content-type": self.content_type,
            "cache-control": "no-store",
            "stream-next-offset": _offset(state.last),
        }
        return self._response(200, {**head, **_closed(closed=state.ended)})

    async def _get(self, key: str, query: _Query, headers: Mapping[str, str]) -> DurableResponse:
        state = await self._state(key)
        reader = OffsetReader(self, key, query.position(state), state)
        if query.live == "sse":
            encoding = {} if self.text else {"stream-sse-data-encoding": "base64"}
            head = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
            try:
                await reader.open()
            except BaseException:
                await reader.close()
                raise
            return self._response(200, head | encoding, DurableEvents(reader, self, query.cursor))
        try:
            messages = await reader.catch_up()
            if query.live and not messages and not reader.closed:
                messages = await reader.wait(self.long_poll)
        finally:
            await reader.close()
        return self._chunk(reader, messages, query, headers)

    def _chunk(
        self, reader: "OffsetReader", messages: list[bytes], query: _Query, headers: Mapping[str, str]
    ) -> DurableResponse:
        end = _offset(reader.at)
        head = {"content-type": self.content_type, "stream-next-offset": end, **_closed(closed=reader.closed)}
        if reader.caught_up:
            head["stream-up-to-date"] = "true"
        if query.live and not reader.closed:
            head["stream-cursor"] = next_cursor(query.cursor)
        if query.live and not messages:
            del head["content-type"]
            return self._response(204, head | {"cache-control": "no-store"})
        # That there is nothing yet is not true for long, and neither is where the end is.
        keeps = query.offset != NOW and bool(messages or reader.closed)
        head["cache-control"] = self._cache_control if keeps else "no-store"
        if query.offset != NOW:
            # Offsets are unique in a store. It changes when the stream is closed. (10.1)
            head["etag"] = f'"{query.offset}:{end}{":c" if reader.closed else ""}"'
            if _matches(headers, head["etag"]):
                del head["content-type"]
                return self._response(304, head)
        return self._response(200, head, self.body(messages))

    def body(self, messages: list[bytes]) -> bytes:
        """Messages as one body: an array of JSON values, or bytes as they are."""
        return b"[%b]" % b",".join(messages) if self.json else b"".join(messages)

    def messages(self, key: str, created: float) -> Messages:
        """The writer of a stream's messages, from its beginning."""
        return Messages(self._writer, key, created, json=self.json)

    @property
    def replays(self) -> bool:
        """Whether the messages of a batch depend on what came before it."""
        return self._writer is not None


class OffsetReader:
    """One client's way through a stream: the messages behind an offset, up to `at`."""

    def __init__(self, durable: DurableStreams, key: str, after: Position, state: LogState) -> None:
        if after > state.last and not state.live:
            # The store has lost what this client has seen, and nobody is left to append it again.
            raise LogLost(ELSEWHERE, cause="lost")
        self.at = after
        self.closed = state.ended and after == state.last
        """Whether the client has all of a stream that has ended."""
        self._durable = durable
        self._after = after
        self._known = state.last
        self._messages = durable.messages(key, state.created)
        if durable.replays:
            self._source = durable.streams.batches(key, known=after if after > NOWHERE else None)
        else:
            self._source = durable.streams.batches(key, after)
        self._ready: deque[LogBatch] = deque()
        self._opened = False

    @property
    def caught_up(self) -> bool:
        """Whether the client has all that is known of."""
        return self.closed or (not self._ready and self.at >= self._known)

    async def open(self) -> None:
        """Find the place in the log."""
        self._opened = True
        await self._source.open()

    async def close(self) -> None:
        """Follow the stream no longer."""
        await self._source.close()

    async def catch_up(self) -> list[bytes]:
        """The messages that are there, or about as many as a chunk holds."""
        found: list[bytes] = []
        size = 0
        while not self.caught_up and size < self._durable.chunk_bytes:
            messages = await self._step()
            found += messages
            size += sum(map(len, messages))
        return found

    async def wait(self, seconds: float) -> list[bytes]:
        """The next messages; none if none came in time, or if the stream has ended without more."""
        found: list[bytes] = []
        with anyio.move_on_after(seconds):
            while not found and not self.closed:
                found = await self._step()
        return found + await self.catch_up() if found else found

    async def _step(self) -> list[bytes]:
        """The messages of the next batch. A cancellation loses none."""
        if not self._ready:
            if not self._opened:
                await self.open()
            self._ready.extend(await self._source.read())
            if not self._ready:
                self.closed = True
                return []
            self._known = max(self._known, self._ready[-1].position)
        batch = self._ready.popleft()
        if batch.position == NOWHERE:
            raise LogLost(ELSEWHERE, cause="lost")
        messages = self._messages.of(batch)
        if batch.position <= self._after:
            return []
        self.at = batch.position
        self.closed = any(isinstance(event, StreamEnd) for event in batch.events or ())
        return messages


class DurableEvents(AsyncIterator[bytes]):
    """The parts of an event stream: messages as a `data` event, with a `control` event behind. (5.8) Close it with `aclose`.

    Created by `DurableStreams.read`. It ends when the stream is closed, in time for the client to connect again, or when the log
    can't be read any more; the client's next read has the status then.
    """

    def __init__(self, reader: OffsetReader, durable: DurableStreams, cursor: str) -> None:
        self._reader = reader
        self._durable = durable
        self._cursor = next_cursor(cursor)
        self._until: float | None = None
        self._ended = False

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            messages = await self._next()
        except (LogLost, LogUnreachable, ProtocolError) as error:
            # The client connects again, and receives the status.
            _log.warning("an event stream ends: %s", error)
            messages = None
        if messages is None:
            self._ended = True
            raise StopAsyncIteration
        self._ended = self._reader.closed
        return self._data(messages) + self._control()

    async def _next(self) -> list[bytes] | None:
        now = anyio.current_time()
        if self._until is None:
            self._until = now + self._durable.sse
            return await self._reader.catch_up()
        if not self._reader.caught_up:
            return await self._reader.catch_up()
        messages = await self._reader.wait(self._until - now)
        return messages if messages or self._reader.closed else None

    def _data(self, messages: list[bytes]) -> bytes:
        if not messages:
            return b""
        body = self._durable.body(messages)
        lines = _LINES.split(body) if self._durable.text else [b64encode(body)]
        return b"event: data\n%b\n" % b"".join(map(_line, lines))

    def _control(self) -> bytes:
        reader = self._reader
        control: dict[str, object] = {"streamNextOffset": _offset(reader.at)}
        if not reader.closed:
            # Never a smaller one than before.
            self._cursor = str(max(int(self._cursor), int(next_cursor(""))))
            control["streamCursor"] = self._cursor
        if reader.caught_up:
            control["upToDate"] = True
        if reader.closed:
            control["streamClosed"] = True
        return b"event: control\ndata:%b\n\n" % msgspec.json.encode(control)

    async def aclose(self) -> None:
        """Follow the stream no longer."""
        self._ended = True
        await self._reader.close()


def _line(data: bytes) -> bytes:
    # Readers remove one space.
    return b"data:%b%b\n" % (b" " if data.startswith(b" ") else b"", data)


def _offset(position: Position) -> str:
    # Text of one length is in the order of the numbers. (8)
    return f"{position.epoch:016d}_{position.sequence:016d}"


def _closed(*, closed: bool) -> dict[str, str]:
    return {"stream-closed": "true"} if closed else {}


def _matches(headers: Mapping[str, str], etag: str) -> bool:
    given = [value for name, value in headers.items() if name.lower() == "if-none-match"]
    tags = [tag.strip().removeprefix("W/") for value in given for tag in value.split(",")]
    return etag in tags or "*" in tags


def next_cursor(given: str) -> str:
    """The cursor of a response: the number of the interval of time, and always greater than the client's. (10.1)"""
    interval = int(time.time() - CURSOR_EPOCH) // CURSOR_SECONDS
    if not _CURSOR.fullmatch(given) or int(given) < interval:
        return str(interval)
    return str(int(given) + max(1, -(-random.randint(1, JITTER_SECONDS) // CURSOR_SECONDS)))
