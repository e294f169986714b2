"""Where items come from: opened late, read by the consumer's own pull, closed once.

A source does I/O and nothing else; one `read` is one `await`, whatever number of items it brings. Most people never write
one: any async or sync iterable is a source by way of `Iterated`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio.lowlevel

from streamkit.errors import PipelineError

if TYPE_CHECKING:
    from streamkit.stage import AsyncStage, Stage
    from streamkit.stream import Stream

T = TypeVar("T", covariant=True)
Out = TypeVar("Out")
BURST = 32


class Source(ABC, Generic[T]):
    """One stream of items, used once. Subclasses say how to open, read and close it; `Stream` says when."""

    used: bool = False
    """Whether a stream has opened this source."""

    async def open(self) -> None:
        """Make the connection. Called once, at the first read or at `async with`; raises a `SourceError`."""
        return

    @abstractmethod
    async def read(self) -> Sequence[T]:
        """Wait for more and return all that is there. An empty sequence is the end."""

    async def close(self) -> None:
        """Let go of everything. May be called twice, and after a failed `open`; the caller bounds its time."""
        return

    def now(self) -> float:
        """Seconds on this source's clock: monotonic; a replay's is virtual."""
        return time.perf_counter()

    def __or__(
        self, pipeline: "Stage[T, Out] | AsyncStage[T, Out] | Stage[str, Out] | AsyncStage[str, Out]"
    ) -> "Stream[Out]":
        """Run the pipeline over this source. Nothing is opened yet."""
        from streamkit.stage import Joinable

        if not isinstance(pipeline, Joinable):
            return NotImplemented
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
        match self._iterator:
            case AsyncIterator() as iterator:
                try:
                    return [await iterator.__anext__()]
                except StopAsyncIteration:
                    return ()
            case Iterator() as iterator:
                # Without a checkpoint a long list could be neither cancelled nor timed out.
                await anyio.lowlevel.checkpoint()
                sized = isinstance(self._items, list | tuple)
                return list(islice(iterator, BURST if sized else 1))
            case None:
                raise PipelineError("the source was read before it was opened")

    async def close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if aclose := getattr(iterator, "aclose", None):
            await aclose()
        elif close := getattr(iterator, "close", None):
            close()


def as_source(source: object) -> Source[object]:
    """`source` itself, or an iterable in a source's clothes. Anything else raises `PipelineError`."""
    match source:
        case Source():
            return cast(Source[object], source)
        case AsyncIterable() | Iterable():
            return Iterated(cast("AsyncIterable[object] | Iterable[object]", source))
        case _:
            raise PipelineError(
                f"expected a source (streamkit.http.post(…), streamkit.replay(…)) or an iterable, found {_kind(source)}"
            )


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"
