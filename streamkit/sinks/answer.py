"""The framework-independent response: a status, then server-sent events and pings, or one JSON object."""

import inspect
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast
from uuid import uuid4

import anyio
import msgspec

from streamkit.completion import SUCCESSES
from streamkit.core.joined import HopContext
from streamkit.core.stream import Stream
from streamkit.dialects.fields import mapping
from streamkit.emitters.emit import Emit
from streamkit.emitters.emitter import MakeEmitter
from streamkit.emitters.failures import (
    INTERNAL,
    ErrorFrame,
    Failure,
    Reason,
    failure_at_end,
    failure_of,
    reason_of,
)
from streamkit.emitters.withheld import WithheldChoices
from streamkit.errors import PipelineError, SourceError
from streamkit.events import Completion, Event, Reset, StreamEnd
from streamkit.hops import prefetch
from streamkit.sse.encode import Encode, encode_comment
from streamkit.sse.events import ServerSentEvent, UnfinishedEvent
from streamkit.stages.accumulate import Accumulate

Item: TypeAlias = Event | ServerSentEvent | bytes
"""Items that a sink accepts: events, or encoded frames that are sent unchanged."""
Answer: TypeAlias = AsyncIterable[Item] | HopContext[AsyncIterable[Item]]
"""Streams that a sink accepts, including hops such as `race(a, b)`."""
OnEnd: TypeAlias = Callable[[], Awaitable[object] | object]
PING_SECONDS = 15.0  # as WHATWG HTML 9.2.7 advises: proxies drop connections that are idle for longer
END_SECONDS = 10.0
"""Timeout of `on_end`."""
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # otherwise nginx buffers the events
}
_BLANK_LINES = (b"\n\n", b"\r\r", b"\r\n\r\n")
_log = logging.getLogger("streamkit.sinks")


@dataclass(frozen=True)
class Options:
    """Options common to the sinks of all frameworks, described in their docstrings."""

    body: Mapping[str, Any] | None = None
    emit: Emit | str | MakeEmitter | None = None
    ping: float | None = PING_SECONDS
    error_details: bool = False
    log_details: bool = False

    def emitter(self) -> Emit:
        """Return the emitter of this response, configured by the client's request."""
        fields = _fields(self.body)
        emit = self.emit if isinstance(self.emit, Emit) else _new_emit(self.emit, fields)
        if self.body is None:
            return emit
        include_usage = mapping(fields.get("stream_options")).get("include_usage") is True
        return replace(emit, include_usage=include_usage, request=fields)

    def streams(self, emit: Emit) -> bool:
        """Whether the client receives events; otherwise it receives one JSON object."""
        return self.body is None or emit.streams_only or bool(_fields(self.body).get("stream"))


def _fields(body: object) -> Mapping[str, Any]:
    # A client may send any JSON; rejecting it is left to the provider.
    return cast(Mapping[str, Any], body) if isinstance(body, Mapping) else {}


def _new_emit(emitter: str | MakeEmitter | None, body: Mapping[str, Any]) -> Emit:
    legacy = "prompt" in body and "messages" not in body
    model = body.get("model")
    emit = Emit(
        emitter or ("openai-legacy" if legacy else "openai"),
        created=int(time.time()),
        model=model if isinstance(model, str) else "unknown",
    )
    # Clients distinguish responses by the id, and also tool calls without an own id.
    return replace(emit, id=f"{emit.id_prefix}{uuid4().hex}")


def stream_headers(options: Options, more: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of an event stream, extended and overridden by `more`."""
    own = options.emitter().headers if options.emit else None
    given = [*(own or {}).items(), *(more or {}).items()]
    return _HEADERS | {name.lower(): value for name, value in given}


def json_headers(refusal: ErrorFrame | None = None) -> dict[str, str]:
    """Return the headers of a JSON response, or of the JSON error in `refusal`."""
    wait = refusal.failure.retry_after if refusal else None
    retry_after = {"retry-after": wait} if wait else {}
    return {"content-type": "application/json", **retry_after}


@asynccontextmanager
async def answering(stream: Answer, options: Options) -> "AsyncGenerator[ClientAnswer, None]":
    """Wait for the first item, which decides the status, or for the complete response. Leaving the block closes the stream."""
    async with entered(stream) as entered_stream, prefetch(entered_stream) as items:
        answer = ClientAnswer(items, options)
        await answer.begin()
        yield answer


def entered(stream: Answer) -> AbstractAsyncContextManager[AsyncIterable[Item]]:
    """Return the context manager that a hop, or a stream with one, needs for its tasks."""
    if isinstance(stream, HopContext):
        return stream
    return stream if isinstance(stream, Stream) and stream.joins else nullcontext(stream)


@asynccontextmanager
async def ending(on_end: OnEnd | None) -> AsyncGenerator[None, None]:
    """Call `on_end` at every exit of the block, shielded from cancellation for `END_SECONDS`.

    The response is already sent by then, so an error of `on_end` is only logged.
    """
    try:
        yield
    finally:
        if on_end is not None:
            with anyio.move_on_after(END_SECONDS, shield=True) as scope:
                await _called(on_end)
            if scope.cancelled_caught:
                _log.warning("on_end did not finish within %g s and was cancelled", END_SECONDS)


async def _called(on_end: OnEnd) -> None:
    try:
        result = on_end()
        if inspect.isawaitable(result):
            await result
    except Exception:
        _log.exception("on_end failed")


class ClientAnswer(AsyncIterator[bytes]):
    """The response: `refusal`, an error with a status; `whole`, one JSON object; otherwise iterate over the pieces of the body.

    A stream that fails midway ends with an error event. If the error is a bug in the program, it is raised after that event, so
    that the framework reports it.
    """

    refusal: ErrorFrame | None = None
    whole: bytes | None = None

    def __init__(self, items: AsyncIterator[Item], options: Options) -> None:
        self._items = items
        self._options = options
        self._emit = options.emitter()
        self._withheld = WithheldChoices()
        self._frames = _Frames(items, self._emit, expected=options.body is not None)
        self._encode = Encode()
        self._first = b""
        self._tail = b""
        self._between_events = True
        self._error: Exception | None = None
        self._ended = False

    async def begin(self) -> None:
        """Wait, without a timeout, for the first item or the complete response.

        Raises any error that is not a failure of the source or the provider.
        """
        try:
            match await (self._take(None) if self._options.streams(self._emit) else self._collect()):
                case ErrorFrame() as frame if frame.failure.status >= 400:
                    _warn_of(frame.failure)
                    self.refusal = frame
                case Failure() as failure:
                    _warn_of(failure)
                    self.refusal = self._error_frame(failure)
                case Completion() as completion:
                    self.whole = msgspec.json.encode(self._emit.response(completion, self._withheld.choices))
                case first:
                    self._first = self._write(first)
        except Exception as error:
            reported = self._reported(error)
            if reported is None:
                raise
            self.refusal = self._error_frame(reported)

    def _error_frame(self, failure: Failure) -> ErrorFrame:
        frames = self._emit.error(failure)
        return next(frame for frame in frames if isinstance(frame, ErrorFrame))

    async def _collect(self) -> "Completion | Failure":
        """Read to the end. Return the pipeline's own `Completion` if it emits one."""
        accumulate = Accumulate()
        own: Completion | None = None
        end = "truncated"
        async for item in self._items:
            if isinstance(item, ServerSentEvent | bytes):
                raise PipelineError(
                    f"this client did not ask for a stream: expected an answer's events, found {type(item).__name__}; "
                    "leave out Emit(), respond() writes the events for each client"
                )
            match item:
                case Completion():
                    own = item
                case StreamEnd(reason=reason):
                    end = reason
                case Reset():
                    own, self._withheld = None, WithheldChoices()
                case _:
                    self._withheld.feed(item)
            accumulate.feed(item)
        return (own or accumulate.snapshot) if end in SUCCESSES else failure_at_end(end)

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
            # A comment inside an event would become a part of it, so pings are sent only between events.
            return self._write(await self._take(self._options.ping if self._between_events else None))
        except Exception as error:
            self._ended = True
            failure = self._reported(error)
            if failure is None or not self._between_events:
                self._error = error
            return self._error_frames(failure or INTERNAL) if self._between_events else b""

    def _error_frames(self, failure: Failure) -> bytes:
        return b"".join(self._encoded(frame) for frame in self._emit.error(failure))

    def _encoded(self, frame: ServerSentEvent) -> bytes:
        return b"".join(self._encode.feed(frame))

    async def _take(self, timeout: float | None) -> "ServerSentEvent | bytes | _Silence | None":
        item: ServerSentEvent | bytes | _Silence | None = _Silence()
        with anyio.move_on_after(timeout):
            item = await anext(self._frames, None)
        if isinstance(item, ErrorFrame):
            await self._frames.fail_behind()
        return item

    def _write(self, item: "ServerSentEvent | bytes | _Silence | None") -> bytes:
        match item:
            case None:
                self._ended = True
                return b""
            case _Silence():
                return self._keep_alive()
            case ErrorFrame() if not self._between_events:
                raise SourceError("the stream broke off within an event")
            case ServerSentEvent():
                if isinstance(item, ErrorFrame):
                    _warn_of(item.failure)
                self._between_events = not isinstance(item, UnfinishedEvent)
                return self._encoded(item)
            case bytes():
                self._tail = (self._tail + item[-4:])[-4:]
                self._between_events = self._tail.endswith(_BLANK_LINES)
                return item

    def _keep_alive(self) -> bytes:
        if frame := self._emit.keep_alive():
            return self._encoded(frame)
        # Once an id was sent, some clients (the official OpenAI ones among them) dispatch an event for a comment block.
        return encode_comment("ping", alone=not self._encode.last_id)

    def _reported(self, error: Exception) -> Failure | None:
        """Log the failure and return it for the client; return `None` for an error that the framework reports."""
        failure = failure_of(error, details=self._options.error_details)
        if failure:
            _warn(str(error), reason_of(error) or Reason(), details=self._options.log_details)
        return failure


def _warn_of(failure: Failure) -> None:
    # Not with the failure's own message: another stage may have written a provider's message into it.
    reason = Reason(failure.code, failure.type)
    _warn(failure_at_end(str(failure.code)).message, reason)


def _warn(message: str, reason: Reason, *, details: bool = False) -> None:
    known = {"code": reason.code, "type": reason.type, "message": reason.detail if details else ""}
    fields = ", ".join(f"{name} {value!r}" for name, value in known.items() if value not in (None, ""))
    _log.warning("a stream failed: %s%s", message, f"; {fields}" if fields else "")


class _Silence:
    # No frame arrived within the ping interval.
    pass


class _Frames(AsyncIterator["ServerSentEvent | bytes"]):
    """The frames to send: events encoded by `emit`, all other items unchanged.

    `expected`: a stream without any item is a missing response and not an empty body.
    """

    def __init__(self, items: AsyncIterator[Item], emit: Emit, *, expected: bool) -> None:
        self._items = items
        self._emit = emit
        self._ready: deque[ServerSentEvent | bytes] = deque()
        self._writes = expected
        self._ended = False
        self._error: Exception | None = None

    async def __anext__(self) -> "ServerSentEvent | bytes":
        while not self._ready:
            if self._error:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._ready.popleft()

    async def fail_behind(self) -> None:
        """Raise the error that follows an `ErrorFrame`, since it has the reason; without one, keep the frames that follow."""
        following = [frame async for frame in self]
        self._ready.extend(following)

    async def _read(self) -> None:
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            self._ended = True
            if self._writes:
                self._extend(self._emit.flush())
            return
        match item:
            case ServerSentEvent() | bytes():
                self._writes = False
                self._ready.append(item)
            case StreamEnd(reason=reason) if not self._writes:
                # The stream was cancelled; no stage receives that end.
                self._ready.extend(() if reason in SUCCESSES else self._emit.feed(item))
            case StreamEnd(reason=reason) if reason not in SUCCESSES:
                # An error with the reason may follow.
                await self._read_behind()
                self._extend(self._emit.feed(item))
            case msgspec.Struct():
                self._writes = True
                self._extend(self._emit.feed(item))
            case _:
                raise PipelineError(f"expected events, server-sent events or bytes, found {type(item).__name__}")

    async def _read_behind(self) -> None:
        # Items after the end are not written; only an error matters.
        async for _ in self._items:
            pass

    def _extend(self, frames: Iterable[ServerSentEvent]) -> None:
        # Frames produced before an error are sent before it is raised. (Law 1)
        try:
            for frame in frames:
                self._ready.append(frame)
        except Exception as error:
            self._error = error
