"""Work for the newest input only: another input cancels what runs for the one before."""

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
from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.events import Reset, StreamEnd
from streamkit.hops.channel import Output, Readable, Signal, at_least_one, close, entered, opened, reading
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
    """Call `function` with each item; when another item comes first, what still runs for the one before is cancelled.

    `function` is a coroutine function, whose result is one item, or returns a stream (`source | pipeline`), a hop or another
    async iterable, whose items come as they are ready. What is cancelled has ended, and its source is closed, before the next
    one begins; of items that come meanwhile the newest alone is used.

    Events of a stream that is cancelled, or followed by another one, can't be taken back: an event `Reset("superseded")` says
    that all before it is void. One `StreamEnd` is released, the last item, when `items` have ended.

    `of` are the classes of the items that it is called with; without it the class that its parameter is annotated with, else
    all items but a `StreamEnd`. Items of other classes pass.

    An error of the function, or of a stream, is raised after what came before it, and closes `items`; an error of `items` when
    the last call has ended. At most `size` items wait for the consumer. Leaving the block cancels the call and closes `items`.
    """
    at_least_one(size=size)
    if not callable(cast(object, function)):
        raise PipelineError(f"expected a function, found {kind_of(function)}")
    newest = Newest[A | B](reading(items), function, of, size)
    async with beside(newest.work, unclosed=newest.unclosed):
        yield newest


class Newest(Output[B], Generic[B]):
    """The results for the newest items, and the items that passed. Made by `latest`."""

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
            # Nothing is opened for a block that was cancelled before it began.
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
        # A newer item that is there already comes first.
        await anyio.lowlevel.checkpoint()
        if self._released:
            self._released, self._answered = False, None
            await self.room(self._size)
            self.put(cast("B", Reset("superseded")))
        result = self._function(item)
        if inspect.isawaitable(result):
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
