"""Reads of published streams for web servers, by the Durable Streams protocol: what a sink needs of `relay.DurableStreams`."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Protocol


class Parts(Protocol):
    """A body that is sent part by part, and closed."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def aclose(self) -> Awaitable[object]: ...


class ReadResponse(Protocol):
    """The response to a read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes | Parts: ...


class Reads(Protocol):
    """An object that answers reads: a `streamkit.relay.DurableStreams`."""

    async def read(
        self, key: str, method: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str]
    ) -> ReadResponse: ...
