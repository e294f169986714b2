"""A response in OpenAI's background mode: generated independently of the connection, and resumable from any event.

https://platform.openai.com/docs/guides/background
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import anyio
import msgspec

from streamkit.core.source import Source
from streamkit.errors import ConnectFailed, Disconnected, PipelineError, SourceError
from streamkit.sources.http import Http, get, post
from streamkit.sse.events import ServerSentEvent, UnfinishedEvent
from streamkit.sse.parse import Parse

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"})


class _Id(msgspec.Struct):
    id: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    sequence_number: int | None = None
    response: _Id | None = None


class Cursor(msgspec.Struct, frozen=True):
    """A position in a background response: its `id`, and the sequence number of the last event read."""

    id: str
    after: int


def background_response(
    url: str,
    *,
    json: Mapping[str, Any] | None = None,
    cursor: Any = None,
    headers: Mapping[str, str] | None = None,
    reconnects: int = 5,
    wait: float = 0.5,
    **options: Any,
) -> "BackgroundResponse":
    """Create a background response at `url` (the Responses API) and read it, or resume an existing one from `cursor`.

        source = sk.sources.background_response("https://api.openai.com/v1/responses", json=body, headers=headers)
        async with source | sk.Extract() as events: ...

    `json` is the request body; `stream` and `background` are added. `cursor` is the `cursor` of an earlier source of the same
    response, or its JSON form: reading starts after that event, and `json` is not sent. If the connection breaks, the source
    waits `wait` seconds and reconnects after the last event, also after a failed reconnection, at most `reconnects` times in a
    row. `headers` and further options (`session`, `deadlines`, `retry`, …) are those of `http.post`.

    The items are complete events, so the pipeline needs no `Parse`, and a checkpoint of it matches the source's cursor.
    """
    known = None if cursor is None else _cursor(cursor)
    if known is None and json is None:
        raise PipelineError("expected json, the request of a new response, or a cursor of one that exists")
    return BackgroundResponse(url, json, known, {"headers": headers, **options}, reconnects, wait)


def _cursor(cursor: Any) -> Cursor:
    try:
        return cursor if isinstance(cursor, Cursor) else msgspec.convert(cursor, Cursor)
    except msgspec.ValidationError:
        raise PipelineError("cursor: expected that of a background response, with `id` and `after`") from None


class BackgroundResponse(Source[ServerSentEvent]):
    """The events of a response. Created by `background_response`."""

    def __init__(
        self,
        url: str,
        json: Mapping[str, Any] | None,
        cursor: Cursor | None,
        options: dict[str, Any],
        reconnects: int,
        wait: float,
    ) -> None:
        self.cursor = cursor
        """The position after the last event read; `None` before the first event."""
        self._url = url.rstrip("/")
        self._json = json
        self._options = options
        self._reconnects = reconnects
        self._wait = wait
        self._failures = 0
        self._id = cursor.id if cursor else ""
        self._ended = False
        self._http = self._connection()
        self._parse = Parse().fresh()
        self.deadlines = self._http.deadlines

    def __repr__(self) -> str:
        return repr(self._http)

    @property
    def id(self) -> str:
        """The response's id; empty until the first event that has it."""
        return self._id

    def _connection(self) -> Http:
        if self.cursor is None:
            return post(self._url, json={**(self._json or {}), "stream": True, "background": True}, **self._options)
        return get(f"{self._response}?stream=true&starting_after={self.cursor.after}", **self._options)

    @property
    def _response(self) -> str:
        return f"{self._url}/{quote(self._id, safe='')}"

    async def open(self) -> None:
        await self._http.open()

    async def again(self, error: Exception) -> bool:
        return await self._http.again(error)

    async def read(self) -> Sequence[ServerSentEvent]:
        while not self._ended:
            try:
                burst = await self._http.read()
                if not burst:
                    raise Disconnected("the response ended before its last event")
            except Disconnected as error:
                await self._reconnect(error)
                continue
            if events := self._whole(burst):
                self._failures = 0
                return events
        return ()

    def _whole(self, burst: Sequence[bytes]) -> list[ServerSentEvent]:
        """Return the complete events. An unfinished one is discarded: the server sends it again after the cursor."""
        events: list[ServerSentEvent] = []
        for event in self._parse.feed_all(list(burst)):
            if not isinstance(event, UnfinishedEvent):
                events.append(event)
                self._look(event)
        return events

    def _look(self, event: ServerSentEvent) -> None:
        try:
            known = msgspec.json.decode(event.payload, type=_Event)
        except (msgspec.MsgspecError, UnicodeError):
            return  # the dialect reports invalid JSON
        if known.response and known.response.id:
            self._id = known.response.id
        if known.sequence_number is not None and self._id:
            self.cursor = Cursor(self._id, known.sequence_number)
        self._ended = self._ended or known.type in _ENDS

    async def _reconnect(self, error: Disconnected | ConnectFailed) -> None:
        while True:
            if self.cursor is None or self._failures >= self._reconnects:
                raise error
            self._failures += 1
            await self._http.close()
            await anyio.sleep(self._wait)
            self._http, self._parse = self._connection(), Parse().fresh()
            try:
                return await self._open_again()
            except (Disconnected, ConnectFailed) as failure:
                error = failure

    async def _open_again(self) -> None:
        try:
            await self._http.open()
        except SourceError as again:
            if not await self._http.again(again):
                raise
            await self._http.open()

    async def cancel_response(self) -> None:
        """Cancel the generation at the provider. Closing the connection does not cancel it."""
        if self._id and not self._ended:
            self._ended = True
            source = post(f"{self._response}/cancel", **self._options)
            try:
                await source.open()
            finally:
                await source.close()

    async def close(self) -> None:
        await self._http.close()
