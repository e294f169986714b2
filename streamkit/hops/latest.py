"""Work for the newest item only: a new item cancels the work for the one before."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.completion import EventBase
from streamkit.core.ends import less_complete
from streamkit.core.function import parameter_classes, short_name
from streamkit.core.joined import HopContext
from streamkit.core.stray import stray_cancellation_fails
from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.events import Reset, StreamEnd
from streamkit.hops.channel import (
    Output,
    Readable,
    Signal,
    at_least_one,
    check_classes,
    close,
    entered,
    opened,
    reading,
)
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

A = TypeVar("A")
B = TypeVar("B")
Of = type | tuple[type, ...]


@hop
async def latest(
    items: Readable[A],
    function: Callable[[Any], "Awaitable[B] | AsyncIterable[B] | HopContext[AsyncIterable[B]]"],
    *,
    of: Of | None = None,
    size: int = 16,
) -> AsyncGenerator["Newest[A | B]", None]:
    """Call `function` with each item; a new item cancels the call that still runs for the one before.

    `function` is a coroutine function that returns one item, or a function that returns a stream (`source | pipeline`), a hop or
    another async iterable, whose items are emitted as they arrive. A cancelled call has ended, and its source is closed, before
    the next one begins. Of the items that arrive in the meantime, only the newest is used.

    Events already emitted by a stream that is cancelled, or followed by another one, can't be retracted: a `Reset("superseded")`
    invalidates everything before it. A single `StreamEnd` is emitted as the last item, when `items` have ended.

    `of`: the classes of the items that `function` is called with; the default is the class in the annotation of its parameter,
    or else all items but a `StreamEnd`. Items of other classes pass through.

    An error of the function or of its stream is raised after the items before it, and closes `items`. An error of `items` is
    raised when the last call has ended. At most `size` items are buffered for the consumer. Leaving the block cancels the call
    and closes `items`.
    """
    at_least_one(size=size)
    if not callable(cast(object, function)):
        raise PipelineError(f"expected a function, found {kind_of(function)}")
    check_classes(of)
    newest = Newest[A | B](reading(items), function, of, size)
    async with beside(newest.work, unclosed=newest.unclosed):
        yield newest


class Newest(Output[B], Generic[B]):
    """The results for the newest items, and the items that pass through. Created by `latest`."""

    def __init__(self, items: AsyncIterator[Any], function: Callable[[Any], Any], of: Of | None, size: int) -> None:
        super().__init__()
        self._items = items
        self._function = function
        self._takes = parameter_classes(function) if of is None else of
        self._size = size
        self._next: list[Any] = []
        self._changed = Signal()
        self._scope: anyio.CancelScope | None = None
        self._read_all = self._released = False
        self._end: StreamEnd | None = None
        self._answered: StreamEnd | None = None  # the end of the newest stream

    async def run(self, group: TaskGroup) -> None:
        group.start_soon(self._serve)
        try:
            # A block cancelled before it began must not open anything.
            await anyio.lowlevel.checkpoint()
            async with entered(self._items) as items:
                async for item in items:
                    await self._take(item)
        except Exception as error:
            self._failure = error
        finally:
            await close(self._items, self.unclosed)
            self._read_all = True
            self._changed.set()

    def last(self) -> "tuple[Any, ...]":
        end = less_complete(self._answered, self._end)
        return () if self._failure or end is None else (end,)

    async def _take(self, item: Any) -> None:
        if isinstance(item, StreamEnd):
            self._end = item
        elif self._takes is not None and not isinstance(item, self._takes):
            await self.room(self._size)
            self.put(item)
        else:
            self._next = [item]
            self._changed.set()
            if self._scope:
                self._scope.cancel()

    async def _serve(self) -> None:
        while self._next or not self._read_all:
            if not self._next:
                await self._changed.wait()
                continue
            item = self._next.pop()
            try:
                with anyio.CancelScope() as self._scope:
                    await self._call(item)
            except Exception as error:
                self.fail(error, f"in latest: {short_name(self._function)}")
            finally:
                self._scope = None

    async def _call(self, item: Any) -> None:
        # If a newer item has already arrived, the scope is cancelled here, before the call.
        await anyio.lowlevel.checkpoint()
        if self._released:
            self._released, self._answered = False, None
            await self.room(self._size)
            self.put(cast("B", Reset("superseded")))
        result = self._function(item)
        if inspect.isawaitable(result):
            with stray_cancellation_fails:
                value: Any = await result
            await self.room(self._size)
            self.put(value)
        else:
            async with opened(result, self.unclosed) as stream:
                await self._pass(stream)

    async def _pass(self, items: AsyncIterable[Any]) -> None:
        async for item in items:
            if isinstance(item, StreamEnd):
                self._answered = item
                continue
            await self.room(self._size)
            self.put(item)
            self._released = self._released or isinstance(item, EventBase)
