"""Typed entry points: functions that turn the streams of other clients into sources for type checkers.

At run time most of these objects can be used left of `|` directly; type checkers accept them only through these functions.
No client is imported: objects are recognized by their attributes.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from streamkit.core.source import Source
from streamkit.core.wrong_input import kind_of, wrong_source
from streamkit.errors import PipelineError
from streamkit.sources.adapters import adapt
from streamkit.sources.queue import AsyncQueue, Queued
from streamkit.sources.websocket import Frames, WebSocket
from streamkit.sse.events import ServerSentEvent

T = TypeVar("T")


class HttpxResponse(Protocol):
    """`httpx.Response` (or httpx2's) of an asynchronous client."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...
    def aclose(self) -> Awaitable[None]: ...


class SdkStream(Protocol):
    """`openai.AsyncStream`, `anthropic.AsyncStream`."""

    @property
    def response(self) -> HttpxResponse: ...
    def close(self) -> Awaitable[None]: ...


class SdkResponse(Protocol):
    """Protocol of the result of `client.….with_raw_response` and `with_streaming_response`."""

    @property
    def http_response(self) -> HttpxResponse: ...


class AiohttpContent(Protocol):
    """`aiohttp.StreamReader`."""

    def readany(self) -> Awaitable[bytes]: ...
    def at_eof(self) -> bool: ...


class AiohttpResponse(Protocol):
    """`aiohttp.ClientResponse`."""

    @property
    def content(self) -> AiohttpContent: ...
    def release(self) -> Any: ...


Sdk: TypeAlias = SdkStream | SdkResponse


def from_openai(stream: Sdk) -> Source[bytes]:
    """Return the bytes of a stream of the `openai` package: `await client.….create(…, stream=True)`.

    The stream must be unread. The pipeline closes it when it is left. Any other object raises `PipelineError`.
    """
    return _adapted(stream, "openai's stream: await client.….create(…, stream=True)")


def from_anthropic(stream: Sdk) -> Source[bytes]:
    """Like `from_openai`, for a stream of the `anthropic` package: `await client.messages.create(…, stream=True)`."""
    return _adapted(stream, "anthropic's stream: await client.messages.create(…, stream=True)")


def from_httpx(response: HttpxResponse) -> Source[bytes]:
    """Return the unread body of a response of httpx's asynchronous client: `async with client.stream(…) as response`.

    The pipeline closes the response when it is left. The status is not checked: call `raise_for_status` first.
    """
    return _adapted(response, "httpx's response: async with client.stream(…) as response")


def from_aiohttp(response: AiohttpResponse) -> Source[bytes]:
    """Like `from_httpx`, for a response of aiohttp's client: `async with session.post(…) as response`."""
    return _adapted(response, "aiohttp's response: async with session.post(…) as response")


def from_queue(queue: "AsyncQueue[T | Exception | None]") -> Source[T]:
    """Return the items of an `asyncio.Queue`, until `None` or a shutdown of the queue. An exception in the queue is raised."""
    return Queued(queue)


def from_websocket(ws: WebSocket, *, close: bool = True) -> Source[ServerSentEvent]:
    """Return each frame of an aiohttp, Starlette or websockets WebSocket as an event: `from_websocket(ws) | Extract()`.

    A close code other than 1000, 1001 and 1005 raises `Disconnected`. The pipeline closes the WebSocket when it is left, unless
    `close` is false.
    """
    return Frames(ws, close=close)


def _adapted(value: object, expected: str) -> Source[bytes]:
    source = adapt(value)
    if source is None:
        raise PipelineError(wrong_source(value) or f"expected {expected}; found {kind_of(value)}")
    return source
