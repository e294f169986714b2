"""An `asyncio.Queue` as a source."""

import queue as threads
from collections.abc import Callable, Coroutine, Sequence
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar, cast

from streamkit.core.source import Source
from streamkit.core.wrong_input import attribute, kind_of
from streamkit.errors import PipelineError

T = TypeVar("T", covariant=True)
BURST = 64
"""Maximum number of items per read."""


class AsyncQueue(Protocol[T]):
    """Protocol of `asyncio.Queue` and similar classes: `get` is a coroutine. `get_nowait` and `empty` are used if present."""

    def get(self) -> Coroutine[Any, Any, T]: ...


class Queued(Source[T]):
    """The items of a queue. `None` or a shutdown of the queue (Python 3.13) ends the input.

    An exception in the queue is raised after the items before it. Items that are unread when the stream is closed stay in the
    queue.
    """

    def __init__(self, queue: "AsyncQueue[T | Exception | None]") -> None:
        if isinstance(cast(object, queue), threads.Queue | threads.SimpleQueue):
            raise PipelineError(f"found {kind_of(queue)}, whose get() blocks the event loop: use asyncio.Queue")
        if not iscoroutinefunction(attribute(queue, "get")):
            raise PipelineError(f"expected a queue with an async get(), found {kind_of(queue)}")
        self._queue = queue
        self._empty: Callable[[], bool] | None = attribute(queue, "empty")
        self._get_nowait: Callable[[], Any] | None = attribute(queue, "get_nowait")
        self._ended = False
        self._failure: Exception | None = None

    async def read(self) -> Sequence[T]:
        burst: list[T] = []
        if not (self._ended or self._failure):
            self._take(await self._get(), burst)
        while self._get_nowait and self._empty and self._more_ready(burst):
            self._take(self._get_nowait(), burst)
        if not burst and self._failure:
            raise self._failure
        return burst

    async def _get(self) -> T | Exception | None:
        try:
            return await self._queue.get()
        except Exception as error:
            if type(error).__name__ == "QueueShutDown":
                return None
            raise

    def _more_ready(self, burst: list[T]) -> bool:
        return not (self._ended or self._failure or cast("Any", self._empty)()) and len(burst) < BURST

    def _take(self, item: T | Exception | None, burst: list[T]) -> None:
        if item is None:
            self._ended = True
        elif isinstance(item, Exception):
            self._failure = item
        else:
            burst.append(item)
