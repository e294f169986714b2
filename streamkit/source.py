"""Where items come from: opened late, read by the consumer's own pull, closed once.

A source does I/O and nothing else; one `read` is one `await`, whatever number of items it brings. Most people never write
one: any async or sync iterable is a source by way of `Iterated`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

import anyio.lowlevel

from streamkit.errors import DeadlineExceeded, Disconnected, PipelineError
from streamkit.misfits import kind_of, wrong_source

if TYPE_CHECKING:
    from streamkit.stage import AsyncStage, Stage
    from streamkit.stream import Stream

T = TypeVar("T", covariant=True)
Out = TypeVar("Out")
BURST = 32
CLIENTS = ("aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3")
"""HTTP clients, whose own errors are those of a connection."""


class Source(ABC, Generic[T]):
    """One stream of items, used once. Subclasses say how to open, read and close it; `Stream` says when."""

    used: bool = False
    """Whether a stream has opened this source."""

    timed: bool = True
    """Whether `now` gives times of arrival, once the source is open. `False` for the body of an answer in a file: `tick` is then
    called at the opening only, and stages report times as unknown."""

    watches_content: bool = False
    """Whether this source wants to hear of content, for a deadline on it."""

    async def open(self) -> None:
        """Make the connection. Called at the first read or at `async with`, and after each `again`."""
        return

    @abstractmethod
    async def read(self) -> Sequence[T]:
        """Wait for more and return all that is there. An empty sequence is the end."""

    async def again(self, error: Exception) -> bool:
        """Whether to try again after `error`, when nothing was released yet; if so, wait first. `open` is called then."""
        return False

    def heard_content(self) -> None:
        """Hear that what was read last held content. Called if `watches_content`."""
        return

    @property
    def undrained(self) -> bool:
        """Whether `drain` has something to do. By default, whether there is a `drain`."""
        return type(self).drain is not Source.drain  # pyright: ignore[reportUnknownMemberType] # of items of any class

    async def drain(self) -> None:
        """Read what is left after the format's end marker, a little of it, so that a connection can be used again.

        Called when the stream closes, after the end was delivered; until then an `undrained` source stays open. Whatever it
        raises is no failure of the stream.
        """
        return

    async def close(self) -> None:
        """Let go of everything. May be called twice, and after a failed `open`; the caller bounds its time."""
        return

    def now(self) -> float:
        """Seconds on this source's clock: monotonic; a replay's is virtual."""
        return time.perf_counter()

    async def __aenter__(self) -> NoReturn:
        # It has no meaning without a pipeline, and Python's own error would not say so.
        raise PipelineError("a source is read through a pipeline: write `async with source | stage as events`")

    async def __aexit__(self, *_: object) -> None:
        return

    def __or__(
        self, pipeline: "Stage[T, Out] | AsyncStage[T, Out] | Stage[str, Out] | AsyncStage[str, Out]"
    ) -> "Stream[Out]":
        """Run the pipeline over this source. Nothing is opened yet."""
        from streamkit.joining import misplaced
        from streamkit.stage import Joinable

        if not isinstance(pipeline, Joinable):
            raise PipelineError(misplaced(pipeline))
        return pipeline.open(cast(Any, self))


class Iterated(Source[T]):
    """Any iterable as a source. An async iterator's `aclose` is called at the end; a sync one's `close`."""

    def __init__(self, items: AsyncIterable[T] | Iterable[T]) -> None:
        self._items = items
        self._iterator: AsyncIterator[T] | Iterator[T] | None = None

    async def open(self) -> None:
        # A lone `bytes` or `str` is an iterable of integers or characters, which nobody means.
        items = (self._items,) if isinstance(self._items, bytes | bytearray | memoryview | str) else self._items
        if isinstance(items, AsyncIterable):
            self._iterator = items.__aiter__()
        else:
            self._iterator = iter(cast(Iterable[T], items))

    async def read(self) -> Sequence[T]:
        if self._iterator is None:
            raise PipelineError("the source was read before it was opened")
        # What was given decides, not the iterator: `async for` asks nothing of that but an `__anext__`.
        if isinstance(self._items, AsyncIterable):
            try:
                return [await cast("AsyncIterator[T]", self._iterator).__anext__()]
            except StopAsyncIteration:
                return ()
        # Without a checkpoint a long list could be neither cancelled nor timed out.
        await anyio.lowlevel.checkpoint()
        sized = isinstance(self._items, list | tuple)
        return list(islice(cast("Iterator[T]", self._iterator), BURST if sized else 1))

    async def close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if isinstance(self._items, AsyncIterable):
            if aclose := getattr(iterator, "aclose", None):
                await aclose()
        elif close := getattr(iterator, "close", None):
            close()


def broke_off(error: Exception) -> bool:
    """Whether a body broke off with this error, of ours or of the client that reads it, or did not go on in time."""
    ours = isinstance(error, Disconnected | DeadlineExceeded | ConnectionError)
    return ours or type(error).__module__.partition(".")[0] in CLIENTS


adapters: list[Callable[[Any], Source[Any] | None]] = []
"""Asked in turn whether they know an object as a source; `streamkit.sources.adapters` adds what it knows."""


def as_source(source: object) -> Source[object]:
    """`source` itself, or what an adapter makes of it, or an iterable as a source. Anything else raises `PipelineError`."""
    if isinstance(source, Source):
        return cast(Source[object], source)
    for adapt in adapters:
        if (adapted := adapt(source)) is not None:
            return adapted
    if problem := wrong_source(source):
        raise PipelineError(problem)
    if isinstance(source, AsyncIterable | Iterable):
        return Iterated(cast("AsyncIterable[object] | Iterable[object]", source))
    raise PipelineError(
        f"expected a source (streamkit.http.post(…), streamkit.replay(…)) or an iterable, found {kind_of(source)}"
    )
