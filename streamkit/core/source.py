"""Where items come from: opened late, read by the consumer's pull, closed once.

A source does I/O and nothing else; one `read` is one `await`, whatever number of items it returns. Most people never write one:
any async or sync iterable is a source by way of `Iterated`.
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
from streamkit.core.wrong_input import kind_of, wrong_source
from streamkit.errors import DeadlineExceeded, Disconnected, PipelineError

T = TypeVar("T", covariant=True)
AT_THE_LEFT = "a source stands at the left end: write source | stage | …"
BURST = 32
"""How many items of a list are one read."""
BYTES = (bytes, bytearray, memoryview)
CLIENTS = ("aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3")
"""HTTP clients, whose own errors are those of a connection."""


@dataclass(frozen=True)
class Deadlines:
    """How long a stream may take, in seconds; `None` is no limit. `DeadlineExceeded.deadline` is the name of the one that passed.

    `connect`: to get a connection. `first_byte`: to get the head of the answer. `first_content`: to the first piece of the answer
    itself, which long thinking delays. `idle_bytes`: to the next bytes; keep-alive comments count. `idle_content`: to the next
    piece of the answer; keep-alives do not count. `total`: for everything.

    `total` counts all time. The others count the time that the stream takes, waiting or working; a consumer that takes its time
    between two items lets none of them pass.
    """

    connect: float | None = 10.0
    first_byte: float | None = None
    first_content: float | None = None
    idle_bytes: float | None = None
    idle_content: float | None = None
    total: float | None = None

    @property
    def in_stream(self) -> bool:
        """Whether one is set that the stream enforces; `connect` and `first_byte` are the source's."""
        return not (self.first_content is self.idle_bytes is self.idle_content is self.total is None)


class Source(ABC, Generic[T]):
    """One stream of items, used once. Subclasses say how to open, read and close it; `Stream` says when."""

    declares_items = True

    used: bool = False
    """Whether a stream has opened this source."""

    timed: bool = True
    """Whether `now` gives times of arrival, once the source is open. `False` for the body of an answer in a file: stages then get
    the time of the opening only, and report times as unknown."""

    deadlines: Deadlines | None = None
    """The deadlines that the stream enforces: `first_content`, `idle_bytes`, `idle_content` and `total`."""

    async def open(self) -> None:
        """Make the connection. Called at the first read or at `async with`, and after each `again`."""
        return

    @abstractmethod
    async def read(self) -> Sequence[T]:
        """Wait for more and return all that is there. An empty sequence is the end."""

    async def again(self, error: Exception) -> bool:
        """Whether to try again after `error`, when nothing was released yet; if so, wait first. `open` is called then."""
        return False

    def items(self) -> "AsyncGenerator[T, None] | None":
        """Where `read` only returns the next item of an async generator, that, so that a stream can advance it itself."""
        return None

    @property
    def undrained(self) -> bool:
        """Whether `drain` has something to do. By default, whether there is a `drain`."""
        return type(self).drain is not Source.drain  # pyright: ignore[reportUnknownMemberType] # of items of any class

    async def drain(self) -> None:
        """After the end marker of the format: read the little that is left, so that the connection can be used again.

        Called when the end was delivered; until then an `undrained` source stays open. Its time is bounded, and what it raises
        is ignored: the answer is complete.
        """
        return

    async def close(self) -> None:
        """Release everything. May be called twice, and after a failed `open`; the caller bounds its time."""
        return

    def now(self) -> float:
        """Seconds on this source's clock: monotonic; a replay's is virtual."""
        return time.perf_counter()

    async def __aenter__(self) -> NoReturn:
        # It has no meaning without a pipeline, and Python's own error would not say so.
        raise PipelineError("a source is read through a pipeline: write `async with source | stage as events`")

    async def __aexit__(self, *_: object) -> None:
        return


def refuse(self: object, following: object) -> Any:
    """The `__or__` of what stands left of a stage: `source | stage` is the stage's `__ror__`; for anything else this raises."""
    if isinstance(following, Composable):
        return NotImplemented
    if isinstance(following, Source):
        raise PipelineError(AT_THE_LEFT)
    raise PipelineError(misplaced(following))


# Not in the class, where type checkers would take it for the type of `source | stage`.
setattr(Source, "__or__", refuse)  # noqa: B010


class Iterated(Source[T]):
    """Any iterable as a source. An async iterator's `aclose` is called at the end; a sync one's `close`."""

    def __init__(self, items: AsyncIterable[T] | Iterable[T]) -> None:
        self._items = items
        self._iterator: AsyncIterator[T] | Iterator[T] | None = None
        self._size = BURST if isinstance(items, list | tuple) else 1
        # What was given decides, not the iterator: `async for` asks nothing of that but an `__anext__`.
        self._waits = isinstance(items, AsyncIterable)

    async def open(self) -> None:
        # A lone `bytes` or `str` is an iterable of integers or characters, which is never intended.
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
    """How much a read returned: bytes, or else items."""
    if not isinstance(burst[0], BYTES):
        return len(burst)
    return sum(len(cast("bytes", item)) if isinstance(item, BYTES) else 1 for item in burst)


def broke_off(error: Exception) -> bool:
    """Whether a body broke off with this error, of ours or of the client that reads it, or did not continue in time."""
    ours = isinstance(error, Disconnected | DeadlineExceeded | ConnectionError)
    return ours or type(error).__module__.partition(".")[0] in CLIENTS


adapters: list[Callable[[Any], Source[Any] | None]] = []
"""Asked in turn whether they know an object as a source; `streamkit.sources.adapters` adds what it knows."""


def as_source(source: object) -> Source[Any]:
    """`source` itself, or what an adapter makes of it, or an iterable as a source. Anything else raises `PipelineError`."""
    if isinstance(source, Source):
        return cast("Source[Any]", source)
    generator: Any = source
    if isinstance(generator, AsyncGeneratorType) and cast("Any", generator).ag_frame is not None:
        return Iterated(cast("AsyncGenerator[Any, None]", generator))  # what most sources are, and no adapter's
    # Not imported above: most streams have a source already, and the adapters are a room above this one.
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
