"""What a response sends, whatever the framework: a status, then events, and pings while there are none."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio

from streamkit.dialects.openai_errors import INTERNAL, SUCCESSES, Failure, failure_at_end, failure_of
from streamkit.errors import PipelineError, SourceError
from streamkit.events import StreamEnd
from streamkit.hops import prefetch
from streamkit.wire.encode import Encode, encode, encode_comment
from streamkit.wire.events import ServerSentEvent, UnfinishedEvent

Item: TypeAlias = ServerSentEvent | bytes | StreamEnd
"""What a sink takes. The one `StreamEnd` is that of a stream that was cancelled, which no stage sees."""
PING_SECONDS = 15.0  # as WHATWG HTML 9.2.7 advises, since proxies drop connections that are silent for longer
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx would else gather the events before it sends them
}
_BLANK_LINES = (b"\n\n", b"\r\r", b"\r\n\r\n")
_HINT = "put Emit() at the end of the pipeline"
_log = logging.getLogger("streamkit.sinks")


def stream_headers(more: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of an event stream; `more` adds to them and overrides them."""
    return _HEADERS | {name.lower(): value for name, value in (more or {}).items()}


def refusal_headers(refusal: Failure) -> dict[str, str]:
    """What else stands in the head of an answer that is an error object instead."""
    retry_after = {"retry-after": refusal.retry_after} if refusal.retry_after else {}
    return {"content-type": "application/json", **retry_after}


@asynccontextmanager
async def answering(stream: AsyncIterable[Item], *, ping: float | None) -> "AsyncGenerator[Answer, None]":
    """Wait for the first item, which decides the status. Leaving the block closes the stream."""
    async with prefetch(stream) as items:
        answer = Answer(items, ping)
        await answer.begin()
        yield answer


class Answer(AsyncIterator[bytes]):
    """The body, piece by piece, if there is no `refusal`.

    A stream that fails on its way ends with an error event. An error that is a mistake of this program's is raised after it,
    for the framework to report.
    """

    refusal: Failure | None = None

    def __init__(self, items: AsyncIterator[Item], ping: float | None) -> None:
        self._items = items
        self._ping = ping
        self._encode = Encode()
        self._first = b""
        self._tail = b""
        self._between_events = True
        self._error: Exception | None = None
        self._ended = False

    async def begin(self) -> None:
        """Wait for the first item, however long it takes. Raises what is no failure of the source or the provider."""
        try:
            match await self._take(None):
                case Failure() as failure:
                    self.refusal = failure
                case first:
                    self._first = self._write(first)
        except Exception as error:
            self.refusal = _reported(error)
            if self.refusal is None:
                raise

    async def __anext__(self) -> bytes:
        data, self._first = self._first, b""
        while not data and not self._ended:
            data = await self._next()
        if data:
            return data
        if self._error:
            raise self._error
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        try:
            # A comment within an event would be part of it.
            return self._write(await self._take(self._ping if self._between_events else None))
        except Exception as error:
            self._ended = True
            failure = _reported(error)
            if failure is None or not self._between_events:
                self._error = error
            return encode(failure or INTERNAL) if self._between_events else b""

    async def _take(self, patience: float | None) -> "ServerSentEvent | bytes | _Silence | None":
        item: Item | _Silence | None = _Silence()
        with anyio.move_on_after(patience):
            item = await anext(self._items, None)
        if isinstance(item, StreamEnd):
            item = None if item.reason in SUCCESSES else failure_at_end(item.reason)
        if isinstance(item, Failure):
            # The error that it tells of may follow, and knows more.
            await anext(self._items, None)
        return item

    def _write(self, item: "ServerSentEvent | bytes | _Silence | None") -> bytes:
        match item:
            case None:
                self._ended = True
                return b""
            case _Silence():
                # Once an id was sent, some readers, the official OpenAI clients among them, take a lone comment for an event.
                return encode_comment("ping", alone=not self._encode.last_id)
            case Failure() if not self._between_events:
                raise SourceError("the stream broke off within an event")
            case Failure():
                self._ended = True
                return encode(item)
            case ServerSentEvent():
                self._between_events = not isinstance(item, UnfinishedEvent)
                return b"".join(self._encode.feed(item))
            case bytes():
                self._tail = (self._tail + item[-4:])[-4:]
                self._between_events = self._tail.endswith(_BLANK_LINES)
                return item
            case _:
                raise PipelineError(f"expected server-sent events or bytes, found {type(item).__name__}: {_HINT}")


class _Silence:
    # Nothing came in time.
    pass


def _reported(error: Exception) -> Failure | None:
    """The failure to tell the client of, and a line in the log; `None` for an error that the framework will report."""
    failure = failure_of(error)
    if failure:
        _log.warning("a stream failed: %s", error)
    return failure
