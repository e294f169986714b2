"""Sources of items: opened at the first read, read when the consumer needs items, closed once.

A source does I/O and nothing else; one `read` is one `await`, however many items it returns. Most applications need no source
class of their own: `Iterated` makes a source of any async or sync iterable.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from types import AsyncGeneratorType
from typing import Any, Generic, NoReturn, TypeVar, cast

from streamkit.core.hints import Composable, misplaced
from streamkit.core.options import NamedOptions
from streamkit.core.wrong_input import kind_of, wrong_source
from streamkit.errors import DeadlineExceeded, Disconnected, PipelineError

T = TypeVar("T", covariant=True)
AT_THE_LEFT = "a source must come first: write source | stage | …"
BURST = 32
"""The number of items of a list that one read returns."""
BYTES = (bytes, bytearray, memoryview)
CLIENTS = ("aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3")
"""HTTP clients whose exceptions are treated as connection errors."""


@dataclass(frozen=True)
class Deadlines(NamedOptions):
    """Timeouts of a stream, in seconds; `None` means no limit. `DeadlineExceeded.deadline` is the name of the one that expired.

    `connect`: to establish a connection. `first_byte`: to receive the response headers. `first_content`: to receive the first
    content of the answer, which long reasoning delays. `idle_bytes`: to receive the next bytes; keep-alive comments count.
    `idle_content`: to receive the next content; keep-alive comments do not count. `total`: for the whole stream.

    `total` includes all time. The others include only the time for which the stream waits or works; the time that the consumer
    takes between two items is excluded.
    """

    connect: float | None = 10.0
    first_byte: float | None = None
    first_content: float | None = None
    idle_bytes: float | None = None
    idle_content: float | None = None
    total: float | None = None

    @property
    def in_stream(self) -> bool:
        """Whether a deadline is set that the stream enforces; the source enforces `connect` and `first_byte`."""
        return not (self.first_content is self.idle_bytes is self.idle_content is self.total is None)


class Source(ABC, Generic[T]):
    """One stream of items, used once. Subclasses implement opening, reading and closing; `Stream` calls these methods."""

    declares_items = True

    used: bool = False
    """Whether a stream has opened this source."""

    timed: bool = True
    """Whether `now` returns arrival times, once the source is open. `False` for a stored response body: stages then receive only
    the time of the opening, and report times as unknown."""

    deadlines: Deadlines | None = None
    """The deadlines that the stream enforces: `first_content`, `idle_bytes`, `idle_content` and `total`."""

    async def open(self) -> None:
        """Connect. Called at the first read or at `async with`, and again after each `again` that returns True."""
        return

    @abstractmethod
    async def read(self) -> Sequence[T]:
        """Wait for items and return all that are available. An empty sequence is the end."""

    async def again(self, error: Exception) -> bool:
        """Decide whether to retry after `error`. Called only if nothing was delivered yet. Wait here for the back-off; if this
        returns True, `open` is called again."""
        return False

    def items(self) -> "AsyncGenerator[T, None] | None":
        """The async generator whose next item `read` returns, if `read` does only that; a stream then advances it directly."""
        return None

    @property
    def undrained(self) -> bool:
        """Whether `drain` has something to read. By default, whether the class defines `drain`."""
        return type(self).drain is not Source.drain  # pyright: ignore[reportUnknownMemberType] # of items of any class

    async def drain(self) -> None:
        """Read the rest of the body after the end marker of the format, so that the connection can be reused.

        Called after the end was delivered; until then an `undrained` source stays open. The call has a timeout, and its
        exceptions are ignored, because the answer is complete.
        """
        return

    async def close(self) -> None:
        """Release all resources. May be called twice, and after a failed `open`. The caller sets a timeout."""
        return

    def now(self) -> float:
        """Seconds on this source's clock, which is monotonic. The clock of a replay is virtual."""
        return time.perf_counter()

    async def __aenter__(self) -> NoReturn:
        # Defined for its error message, which is clearer than Python's own for a class without `__aenter__`.
        raise PipelineError("a source is read through a pipeline: write `async with source | stage as events`")

    async def __aexit__(self, *_: object) -> None:
        return


def refuse(self: object, following: object) -> Any:
    """The `__or__` of objects to the left of a stage: defer to the stage's `__ror__`, and raise for anything but a stage."""
    if isinstance(following, Composable):
        return NotImplemented
    if isinstance(following, Source):
        raise PipelineError(AT_THE_LEFT)
    raise PipelineError(misplaced(following))


# Set outside the class, where type checkers would use its return type for `source | stage`.
setattr(Source, "__or__", refuse)  # noqa: B010


class Iterated(Source[T]):
    """Any iterable as a source. At the end it calls `aclose` of an async iterator or `close` of a sync one, if it exists."""

    def __init__(self, items: AsyncIterable[T] | Iterable[T]) -> None:
        self._items = items
        self._iterator: AsyncIterator[T] | Iterator[T] | None = None
        self._size = BURST if isinstance(items, list | tuple) else 1
        # Decided by the iterable, not its iterator: `async for` requires only `__anext__` of the iterator.
        self._waits = isinstance(items, AsyncIterable)

    async def open(self) -> None:
        # Iterating over a single `bytes` or `str` would return integers or characters, which is never intended.
        items = (self._items,) if isinstance(self._items, bytes | bytearray | memoryview | str) else self._items
        self._iterator = items.__aiter__() if isinstance(items, AsyncIterable) else iter(cast("Iterable[T]", items))

    def items(self) -> AsyncGenerator[T, None] | None:
        iterator: Any = self._iterator
        return cast("AsyncGenerator[T, None]", iterator) if isinstance(iterator, AsyncGeneratorType) else None

    async def read(self) -> Sequence[T]:
        if self._iterator is None:
            raise PipelineError("the source was read before it was opened")
        if not self._waits:
            return list(islice(cast("Iterator[T]", self._iterator), self._size))
        try:
            return [await cast("AsyncIterator[T]", self._iterator).__anext__()]
        except StopAsyncIteration:
            return ()

    async def close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if self._waits:
            if aclose := getattr(iterator, "aclose", None):
                await aclose()
        elif close := getattr(iterator, "close", None):
            close()


def amount(burst: Sequence[Any]) -> int:
    """The amount that a read returned, in bytes or else in items."""
    if not isinstance(burst[0], BYTES):
        return len(burst)
    return sum(len(cast("bytes", item)) if isinstance(item, BYTES) else 1 for item in burst)


def broke_off(error: Exception) -> bool:
    """Whether the error, ours or an HTTP client's, means that the connection was lost or timed out during the body."""
    ours = isinstance(error, Disconnected | DeadlineExceeded | ConnectionError)
    return ours or type(error).__module__.partition(".")[0] in CLIENTS


adapters: list[Callable[[Any], Source[Any] | None]] = []
"""Functions that convert an object to a source or return `None`, called in order. `streamkit.sources.adapters` adds its own."""


def as_source(source: object) -> Source[Any]:
    """`source` itself, an adapter's source for it, or an iterable as a source. Raises `PipelineError` for anything else."""
    if isinstance(source, Source):
        return cast("Source[Any]", source)
    generator: Any = source
    if isinstance(generator, AsyncGeneratorType) and cast("Any", generator).ag_frame is not None:
        return Iterated(cast("AsyncGenerator[Any, None]", generator))  # most sources are one; no adapter needed
    # Imported here because most streams have a source already, and because the adapters are a layer above this module.
    import_module("streamkit.sources.adapters")
    for adapt in adapters:
        if (adapted := adapt(source)) is not None:
            return adapted
    if problem := wrong_source(source):
        raise PipelineError(problem)
    if isinstance(source, AsyncIterable | Iterable):
        return Iterated(cast("AsyncIterable[Any] | Iterable[Any]", source))
    raise PipelineError(
        f"expected a source (streamkit.http.post(…), streamkit.replay(…)) or an iterable, found {kind_of(source)}"
    )
