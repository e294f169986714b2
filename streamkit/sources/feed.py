"""A feed of server-sent events that reconnects by itself, as a browser's `EventSource` does. (WHATWG HTML, 9.2.3)"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from streamkit.errors import ConnectFailed, ContentTypeError, DeadlineExceeded, Disconnected, StatusError
from streamkit.source import Source
from streamkit.sources.http import Deadlines, Http
from streamkit.stages.parse import Parse
from streamkit.wire.events import ServerSentEvent
from streamkit.wire.lines import Lines

if TYPE_CHECKING:
    import aiohttp

RECONNECT_SECONDS = 3.0
"""The wait before a reconnection until the feed sets another with `retry:`; the standard suggests a few seconds."""
NO_CONTENT = 204


def feed(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
    last_event_id: str = "",
    reconnects: int | None = None,
    **options: Any,
) -> "Feed":
    """GET a feed and keep to it: when the body ends or breaks, connect again with `Last-Event-ID`.

    It waits as long as the feed's last `retry:` says. A status other than 200, or a content type other than
    `text/event-stream`, ends it with an error, and 204 without one, as the standard has it. `reconnects` bounds how often it
    connects again without having received an event in between; `None` is no bound.

    For plain feeds. An answer of a language model can't be taken up again in this way.
    """
    named = dict(headers or {})
    return Feed(url, {"headers": named, **options}, session, deadlines, last_event_id, reconnects)


class Feed(Source[ServerSentEvent]):
    """A feed's events. Made by `feed`."""

    def __init__(
        self,
        url: str,
        options: dict[str, Any],
        session: "aiohttp.ClientSession | None",
        deadlines: Deadlines | None,
        last_event_id: str,
        reconnects: int | None,
    ) -> None:
        self.last_event_id = last_event_id
        self.connections = 0
        self._url = url
        self._options = options
        self._session = session
        self._deadlines = deadlines
        self._reconnects = reconnects
        self._fruitless = 0
        self._wait = RECONNECT_SECONDS
        self._http: Http | None = None
        self._lines, self._parse = Lines(), Parse()

    def __repr__(self) -> str:
        return f"<feed {Http('GET', self._url, {}, None, None, None).url}>"

    async def open(self) -> None:
        accept = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        resume = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        options = self._options | {"headers": accept | self._options["headers"] | resume}
        # What the last connection left unfinished is dropped with it; the last event ID stays.
        self._lines, self._parse = Lines(), Parse(resume_from=self.last_event_id)
        self._http = Http("GET", self._url, options, self._session, self._deadlines, None)
        await self._http.open()
        self.connections += 1
        if self._http.status == NO_CONTENT:
            return
        if self._http.status != 200:
            raise StatusError(
                f"{self!r}: expected status 200, found {self._http.status}", status=self._http.status or 0
            )
        kind = self._http.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "text/event-stream":
            raise ContentTypeError(f"{self!r}: expected text/event-stream, found {kind!r}", content_type=kind)

    async def read(self) -> Sequence[ServerSentEvent]:
        while self._http and self._http.status != NO_CONTENT:
            try:
                pieces = await self._http.read()
            except (Disconnected, DeadlineExceeded) as error:
                await self._reconnect(error)
                continue
            events = list(self._parse.feed_all(list(self._lines.feed_all(list(pieces))))) if pieces else []
            self._remember()
            if events:
                self._fruitless = 0
                return events
            if not pieces:
                await self._reconnect(None)
        return ()

    async def close(self) -> None:
        http, self._http = self._http, None
        if http:
            await http.close()

    def _remember(self) -> None:
        self.last_event_id = self._parse.last_event_id
        if self._parse.retry is not None:
            self._wait = self._parse.retry / 1000

    async def _reconnect(self, error: Exception | None) -> None:
        while True:
            await self.close()
            if self._reconnects is not None and self._fruitless >= self._reconnects:
                if error:
                    raise error
                return None
            self._fruitless += 1
            await anyio.sleep(self._wait)
            try:
                return await self.open()
            except (ConnectFailed, Disconnected, DeadlineExceeded) as failed:
                error = failed
