"""A feed of server-sent events that reconnects automatically, like a browser's `EventSource`. (WHATWG HTML, 9.2.3)"""

import inspect
import math
import random
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import anyio

from streamkit.core.source import Deadlines, Source
from streamkit.core.timer import Timer
from streamkit.core.wrong_input import media_type
from streamkit.errors import (
    ConnectFailed,
    ContentTypeError,
    DeadlineExceeded,
    Disconnected,
    PipelineError,
    ProtocolError,
    StatusError,
)
from streamkit.sources.http import Http
from streamkit.sources.options import check_options
from streamkit.sources.redirects import Redirects
from streamkit.sources.request import address, check_headers, pairs_of, sendable_again, unsendable
from streamkit.sources.retry import retry_after
from streamkit.sse.events import Comment, ServerSentEvent
from streamkit.sse.parse import Parse

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
MAX_WAIT_SECONDS = 3600.0
"""Maximum wait before a reconnection, even if the server requests a longer one."""
NO_CONTENT = 204
_DOUBLINGS = 32  # enough for any `longest`, and no overflow
CLOSE_SECONDS = 5.0
_LOST = (ConnectFailed, Disconnected, DeadlineExceeded, StatusError)


@dataclass(frozen=True)
class Reconnect:
    """The reconnection policy of a feed: how long it waits, and which failures it survives. Times are in seconds.

    The wait is `initial`, or the reconnection time that the feed set with `retry:`, but at least `least`, so that a server
    that sends `retry: 0` and closes does not get thousands of connections. It doubles, up to `longest`, for each consecutive
    connection that delivered no event. A random part of up to `jitter` times the wait is added, so that clients that lost
    their server at the same time do not reconnect at the same time.

    `attempts`: end the feed after this many consecutive connections without an event. `statuses`: also reconnect after a
    status that may be temporary (408, 409, 429, 5xx), and wait for the time in its `Retry-After`. `from_start`: also
    reconnect if the first connection fails; by default that raises, so that a wrong address is reported immediately. `random`
    returns a number from 0 to 1; for tests.
    """

    initial: float = 3.0
    least: float = 0.5  # as in Firefox
    longest: float = 60.0
    jitter: float = 0.5
    attempts: int | None = None
    statuses: bool = False
    from_start: bool = False
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        for name in ("initial", "least", "longest", "jitter"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise PipelineError(f"{name}: expected 0 or more, and a finite number; found {value!r}")
        if self.attempts is not None and self.attempts < 1:
            raise PipelineError(f"attempts: expected 1 or more, or None for no bound; found {self.attempts!r}")

    def wait(self, base: float, fruitless: int, error: Exception | None) -> float:
        """Return the seconds to wait. `base`: reconnection time; `fruitless`: consecutive connections without an event."""
        after = retry_after(error) if isinstance(error, StatusError) else None
        grown = min(self.longest, max(self.least, base) * 2 ** min(max(0, fruitless - 1), _DOUBLINGS))
        wait = max(self.least, base if after is None else after, grown if after is None else 0.0)
        return min(MAX_WAIT_SECONDS, wait * (1 + self.jitter * self.random()))


@dataclass(frozen=True)
class Reconnection:
    """The argument of `on_reconnect`: the feed reconnects in `wait` seconds.

    `number` counts from 1. `error` is the error that ended the last connection; `None` if the server closed it properly, or if
    `restart()` was called (`restarted`). `last_event_id` is the ID of the last event; the next connection sends it.
    """

    number: int
    error: Exception | None
    wait: float
    last_event_id: str
    restarted: bool = False


class FeedConnection(Protocol):
    """One connection of a feed, such as `Http`."""

    @property
    def status(self) -> int | None: ...
    async def open(self) -> None: ...
    async def read(self) -> Sequence[bytes]: ...
    async def close(self) -> None: ...


Connect: TypeAlias = Callable[[str], FeedConnection]
"""Creates an unopened connection from the last event ID."""


def feed(
    url: str,
    *,
    method: str | None = None,
    json: object = None,
    data: bytes | str | Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
    last_event_id: str = "",
    comments: bool = False,
    reconnect: Reconnect | None = None,
    reconnects: int | None = None,
    on_reconnect: Callable[[Reconnection], None] | None = None,
    redirects: Redirects = "same-origin",
    **options: Any,
) -> "Feed":
    """Read the feed of server-sent events at `url`. When the body ends or breaks, reconnect with `Last-Event-ID`.

    `last_event_id` is sent with the first connection, to resume an earlier feed. A given `session` stays open. `method`
    defaults to GET, or to POST with a body (`json`, `data`). Each connection sends the body and the `headers`. `comments`:
    also emit each comment as a `Comment`. `reconnect`: the reconnection policy. `reconnects`: maximum number of reconnections
    in total, with or without events in between; calls of `restart()` don't count. After that, the feed ends if the server
    closed the connection properly, and raises if it broke. `on_reconnect` is called on the event loop before each wait.

    As in the standard, 204 ends the feed; a status other than 200, or a content type other than `text/event-stream`, raises.
    `deadlines` apply to each connection, and an exceeded one makes the feed reconnect; an event counts as content, a comment
    does not. `total` applies to the whole feed, waits included, and raises. `redirects` and `options`: as for `http.post`.

    Only for feeds: the response of a language model can't be resumed in this way.
    """
    check_options(options, session=session, deadlines=deadlines, retry=None)
    check_headers(headers)
    if not sendable_again(data):
        raise PipelineError(f"data: expected bytes or text, to send again; found {type(data).__name__}")
    if unsendable(last_event_id):
        raise PipelineError("last_event_id: expected text that a header can hold, found a control character")
    given = [(str(name), str(value)) for name, value in pairs_of(headers)]
    first_id = last_event_id or next((value for name, value in given if name.lower() == "last-event-id"), "")
    fixed = _with_defaults(given)
    verb = method or ("GET" if json is None and data is None else "POST")
    body = {name: value for name, value in (("json", json), ("data", data)) if value is not None}
    limits = deadlines or Deadlines()

    def connect(last_id: str) -> FeedConnection:
        resume = [("Last-Event-ID", last_id)] if last_id else []
        request_options = {**options, **body, "headers": [*fixed, *resume]}
        return _FeedConnection(verb, url, request_options, session, limits, None, redirects)

    connect("")  # raises now for an invalid request, not when the stream is opened
    return Feed(
        connect,
        name=address(url),
        limits=limits,
        last_event_id=first_id,
        comments=comments,
        reconnect=reconnect or Reconnect(),
        reconnects=reconnects,
        on_reconnect=on_reconnect,
    )


def _with_defaults(given: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the caller's headers and the defaults of an `EventSource`, without `Last-Event-ID`, which each connection sets."""
    names = {name.lower() for name, _ in given}
    defaults = [("Accept", "text/event-stream"), ("Cache-Control", "no-cache")]
    kept = [(name, value) for name, value in given if name.lower() != "last-event-id"]
    return [*((name, value) for name, value in defaults if name.lower() not in names), *kept]


_NO_LIMITS = Deadlines()


class Feed(Source[ServerSentEvent]):
    """The events of a feed. Created by `feed`. `connections` counts successful connections, `reconnections` reconnections."""

    def __init__(
        self,
        connect: Connect,
        *,
        name: str = "",
        limits: Deadlines = _NO_LIMITS,
        last_event_id: str = "",
        comments: bool = False,
        reconnect: Reconnect,
        reconnects: int | None = None,
        on_reconnect: Callable[[Reconnection], None] | None = None,
    ) -> None:
        if inspect.iscoroutinefunction(on_reconnect):
            raise PipelineError(
                "on_reconnect: expected a plain function, found an async one, which would not be awaited"
            )
        if reconnects is not None and reconnects < 0:
            raise PipelineError(f"reconnects: expected 0 or more, or None for no bound; found {reconnects!r}")
        self.last_event_id = last_event_id
        self.connections = 0
        self.reconnections = 0
        self._connect = connect
        self._name = name
        self._limits = limits
        self._comments = comments
        self._policy = reconnect
        self._budget = reconnects
        self._on_reconnect = on_reconnect
        self._base = reconnect.initial
        self._connection: FeedConnection | None = None
        self._parse = Parse(strict=True)
        self._timer: Timer | None = None  # of the current connection
        self._seen = False  # this connection delivered an event
        self._fruitless = 0  # connections in a row without an event
        self._wait: float | None = None  # seconds before the next connection; None while connected
        self._failure: Exception | None = None  # raised after the events that precede it
        self._ended = True  # also true before `open`
        self._restarting = False
        self._scope: anyio.CancelScope | None = None  # cancelled by `restart`

    def __repr__(self) -> str:
        return f"<feed {self._name}>"

    @property
    def reconnect_seconds(self) -> float:
        """The reconnection time that the feed set last, or the initial one."""
        return self._base

    def restart(self) -> None:
        """Drop the connection, or interrupt the wait, and reconnect now with `Last-Event-ID`. Keeps the reconnection time.

        May be called from any task of the same event loop. Does nothing before the feed is opened and after its end.
        """
        if not self._ended:
            self._restarting = True
            if self._scope:
                self._scope.cancel()

    async def open(self) -> None:
        self._total = Timer(Deadlines(total=self._limits.total), repr(self))
        self._total.start(anyio.current_time())
        self._ended = False
        try:
            with self._interruptible():
                await self._begin()
        except _LOST as error:
            if not self._policy.from_start:
                raise
            await self._lose(error)

    async def read(self) -> Sequence[ServerSentEvent]:
        if self._timer:
            self._timer.resume(anyio.current_time())
        try:
            while not self._ended:
                if self._failure:
                    raise self._failure
                with self._interruptible():
                    if events := await self._step():
                        return events
            return ()
        finally:
            if self._timer:
                self._timer.pause(anyio.current_time())

    async def close(self) -> None:
        self._ended = True
        await self._drop()

    @contextmanager
    def _interruptible(self) -> Generator[None, None, None]:
        try:
            with anyio.CancelScope() as self._scope:
                yield
        finally:
            self._scope = None

    async def _step(self) -> Sequence[ServerSentEvent]:
        if self._restarting:
            await self._restart()
        try:
            if self._wait is not None:
                await self._pause(self._wait)
                await self._begin()
                return ()
            assert self._connection is not None, "read before open"
            pieces = await self._within(self._connection.read(), reading=True)
        except _LOST as error:
            await self._lose(error)
            return ()
        if pieces:
            return self._parsed(pieces)
        await self._lose(None)
        return ()

    async def _begin(self) -> None:
        if found := unsendable(self.last_event_id):
            raise ProtocolError(f"{self!r}: expected an event ID that a header can hold, found one with {found!r}")
        # An incomplete event is discarded with its connection; the last event ID is kept.
        self._parse = Parse(strict=True, comments=self._comments, resume_from=self.last_event_id)
        self._connection = self._connect(self.last_event_id)
        self._timer = Timer(replace(self._limits, total=None), repr(self)) if self._limits.in_stream else None
        if self._timer:
            self._timer.start(anyio.current_time())
        await self._within(self._connection.open(), reading=False)
        self.connections += 1
        self._wait = None
        self._ended = self._connection.status == NO_CONTENT

    def _parsed(self, pieces: Sequence[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        # Events before a malformed one are delivered before the error is raised. (Law 1)
        try:
            events.extend(self._parse.feed_all(list(pieces)))
        except ProtocolError as error:
            self._failure = error
        self.last_event_id = self._parse.last_event_id
        if self._parse.retry is not None:
            self._base = self._parse.retry / 1000
        if not all(isinstance(event, Comment) for event in events):
            self._fruitless = 0
            self._seen = True
            if self._timer:
                self._timer.content(anyio.current_time())
        return events

    async def _lose(self, error: Exception | None) -> None:
        """Handle the end of a connection: decide whether to reconnect, and when."""
        await self._drop()
        if isinstance(error, DeadlineExceeded) and error.deadline == "total":
            raise error
        if isinstance(error, StatusError) and not (self._policy.statuses and error.retryable):
            raise error
        self._fruitless = 0 if self._seen else self._fruitless + 1
        if self._exhausted():
            if error:
                raise error
            self._ended = True
            return
        if self._budget is not None:
            self._budget -= 1
        self._announce(error, self._policy.wait(self._base, self._fruitless, error))

    def _exhausted(self) -> bool:
        attempts = self._policy.attempts
        return self._budget == 0 or (attempts is not None and self._fruitless >= attempts)

    async def _restart(self) -> None:
        await self._drop()
        self._announce(None, 0.0, restarted=True)
        self._restarting = False

    def _announce(self, error: Exception | None, wait: float, *, restarted: bool = False) -> None:
        self._wait, self._seen = wait, False
        self.reconnections += 1
        if self._on_reconnect:
            self._on_reconnect(Reconnection(self.reconnections, error, wait, self.last_event_id, restarted))

    async def _pause(self, wait: float) -> None:
        left = self._total.nearest(anyio.current_time(), reading=False)
        await anyio.sleep(wait if left is None else min(wait, left.rest))
        if left is not None and left.rest <= wait:
            raise self._total.exceeded(left)

    async def _within(self, work: Awaitable[T], *, reading: bool) -> T:
        """Await `work` within the deadlines of the connection and of the feed; raise `DeadlineExceeded` otherwise."""
        try:
            nearest = [
                (deadline, timer)
                for timer in (self._timer, self._total)
                if timer and (deadline := timer.nearest(anyio.current_time(), reading=reading))
            ]
        except DeadlineExceeded:
            cast("Any", work).close()
            raise
        deadline, timer = min(nearest, key=lambda found: found[0].rest, default=(None, None))
        with anyio.move_on_after(deadline.rest if deadline else None):
            return await work
        assert deadline is not None
        assert timer is not None
        raise timer.exceeded(deadline)

    async def _drop(self) -> None:
        if self._connection:
            # `restart` interrupts reads and waits, not this. The reference is kept until the connection is closed, because
            # asyncio's own cancellation ignores the shield.
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._connection.close()
            self._connection = None


class _FeedConnection(Http):
    """One connection, whose response must be a feed as the standard defines it."""

    async def _check(self, response: "aiohttp.ClientResponse") -> None:
        await super()._check(response)
        if response.status == NO_CONTENT:
            return
        if response.status != 200:
            raise StatusError(f"{self!r}: expected status 200, found {response.status}", status=response.status)
        # Not `response.content_type`, which has a default for a missing header.
        kind = response.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "text/event-stream":
            raise ContentTypeError(
                f"{self!r}: expected text/event-stream, found {media_type(kind)}",
                content_type=kind,
                body=await self._head(response),
            )
