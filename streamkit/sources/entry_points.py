"""Typed entry points: what people hold, as a source that every type checker accepts.

At run time most of these objects stand left of `|` by themselves; a type checker knows them only by these functions.
No client is imported: an object is known by what it can do.
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
    """`httpx.Response`, and httpx2's, of an asynchronous client."""

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
    """The bytes of a stream of the `openai` package: `await client.….create(…, stream=True)`.

    The stream must not have been read; leaving the pipeline closes it. Anything else raises `PipelineError`.
    """
    return _adapted(stream, "openai's stream: await client.….create(…, stream=True)")


def from_anthropic(stream: Sdk) -> Source[bytes]:
    """The bytes of a stream of the `anthropic` package: `await client.messages.create(…, stream=True)`; as `from_openai`."""
    return _adapted(stream, "anthropic's stream: await client.messages.create(…, stream=True)")


def from_httpx(response: HttpxResponse) -> Source[bytes]:
    """The body of a response of httpx's asynchronous client, not read yet: `async with client.stream(…) as response`.

    Leaving the pipeline closes the response. The status is not looked at: call `raise_for_status` first.
    """
    return _adapted(response, "httpx's response: async with client.stream(…) as response")


def from_aiohttp(response: AiohttpResponse) -> Source[bytes]:
    """The body of a response of aiohttp's client: `async with session.post(…) as response`; as `from_httpx`."""
    return _adapted(response, "aiohttp's response: async with session.post(…) as response")


def from_queue(queue: "AsyncQueue[T | Exception | None]") -> Source[T]:
    """The items of an `asyncio.Queue`, until `None` or a shutdown of the queue. An exception that is put in is raised."""
    return Queued(queue)


def from_websocket(ws: WebSocket, *, close: bool = True) -> Source[ServerSentEvent]:
    """The frames of a WebSocket of aiohttp, Starlette or websockets, each as an event: `from_websocket(ws) | Extract()`.

    A close code that is none of a proper end raises `Disconnected`. Leaving the pipeline closes the WebSocket, unless `close`
    is false.
    """
    return Frames(ws, close=close)


def _adapted(value: object, expected: str) -> Source[bytes]:
    source = adapt(value)
    if source is None:
        raise PipelineError(wrong_source(value) or f"expected {expected}; found {kind_of(value)}")
    return source
