"""The queue between the tasks of a hop and a consumer, and the reading."""

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.core.buffers import Buffer
from streamkit.core.joined import HopContext
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.stream import Stream
from streamkit.core.views import Views
from streamkit.core.waiting import Wakeup, wakeup
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import PipelineError, QueueOverflow
from streamkit.events import StreamEnd

T = TypeVar("T")
Readable: TypeAlias = AsyncIterable[T] | HopContext[AsyncIterable[T]]
"""Input of a hop: a stream or another async iterable, or a hop, which it enters and leaves in the task that reads it."""
Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "error"]


class Signal:
    """Wakes the one task that waits."""

    def __init__(self) -> None:
        self._wakeup: Wakeup | None = None  # made in the event loop, at the first wait

    def set(self) -> None:
        """Wake it, if one waits."""
        if self._wakeup is not None:
            self._wakeup.set()

    async def wait(self) -> None:
        """Wait for the next `set`."""
        if self._wakeup is None:
            self._wakeup = wakeup()
        await self._wakeup.wait()


class Branch(AsyncIterator[T], Views, Generic[T]):
    """The items of a hop for one consumer. Made by `tee`, `prefetch` and other hops.

    A read may be cancelled, by a timeout for example, and asked again: no item is lost. An error comes after the items before
    it, and again whenever it is asked.
    """

    def __init__(self, size: int, overflow: Overflow = "wait", news: Signal | None = None) -> None:
        self.dropped = 0
        """Items that this consumer missed, since it was too far behind."""
        self._items: deque[T] = deque()
        self._size = size
        self._overflow = overflow
        self._news = news or Signal()
        self._room = Signal()
        self._finished = False
        self._closed = False
        self._error: Exception | None = None
        self._left: Callable[[], Awaitable[None]] | None = None

    @property
    def waiting(self) -> int:
        """Items that were read and wait for this consumer."""
        return len(self._items)

    def buffers(self) -> list[Buffer]:
        """The items that were read ahead, for `Stream.buffers`."""
        return [Buffer("", len(self._items), "items", f"read ahead of the consumer, at most {self._size}")]

    @property
    def ready(self) -> bool:
        """Whether there is an item, an error or the end, so that the next read does not wait."""
        return bool(self._items) or self._finished or self._closed

    @property
    def closed(self) -> bool:
        """Whether the consumer wants no more."""
        return self._closed

    @property
    def failure(self) -> Exception | None:
        """The error that follows the items, once the reader has come to it."""
        return self._error

    async def aclose(self) -> None:
        """Close this branch; buffered items are discarded. When all branches of a hop are closed, so is what it reads."""
        self._closed = True
        self._items.clear()
        self._room.set()
        self._news.set()
        if self._left:
            await self._left()

    def at_once(self) -> list[T]:
        """The items that are there, which a read would return without waiting; perhaps none."""
        items = list(self._items)
        if items:
            self._items.clear()
            self._room.set()
        return items

    async def __anext__(self) -> T:
        while not self.ready:
            await self._news.wait()
        if self._items:
            item = self._items.popleft()
            self._room.set()
            return item
        if self._error:
            raise self._error
        raise StopAsyncIteration

    # The reader's side

    def give(self, item: T) -> None:
        """Put an item in, as the overflow has it; with `wait`, call `room` before the next."""
        if self._closed or self._finished:
            return
        # Every consumer receives the end of an answer.
        if len(self._items) >= self._size and self._overflow != "wait" and not isinstance(item, StreamEnd):
            self.dropped += 1
            if self._overflow == "error":
                self.finish(QueueOverflow(f"this consumer fell behind by more than the {self._size} items allowed"))
                return
            if self._overflow == "drop_newest":
                return
            self._items.popleft()
        self._items.append(item)
        self._news.set()

    @property
    def full(self) -> bool:
        """Whether to call `room` before the next item."""
        return len(self._items) >= self._size and self._overflow == "wait" and not self._closed

    async def room(self) -> None:
        """Wait until there is room, if this consumer is to be waited for."""
        while self.full:
            await self._room.wait()

    def on_closed(self, left: "Callable[[], Awaitable[None]]") -> None:
        """Await `left` when the consumer closes this branch."""
        self._left = left

    def finish(self, error: Exception | None = None) -> None:
        """No more comes: the end, or an error after the items that are there."""
        if not self._finished:
            self._finished, self._error = True, error
            self._news.set()


class Output(AsyncIterator[T], Views, Generic[T]):
    """The results of a hop's tasks for one consumer: what is ready, then the failure or the end.

    A read may be cancelled, by a timeout for example, and asked again: no item is lost. A failure comes after the items before
    it, and again whenever it is asked.
    """

    def __init__(self) -> None:
        self.unclosed: list[Exception] = []
        """Failures to close what was read."""
        self._ready: deque[T] = deque()
        self._news = Signal()
        self._blocked: list[anyio.Event] = []
        self._failure: Exception | None = None
        self._closed = self._ended = False
        self._over = anyio.Event()
        self._group: TaskGroup | None = None

    async def __anext__(self) -> T:
        while not self._ready:
            if self._ended:
                raise self._failure or StopAsyncIteration
            await self._news.wait()
        item = self._ready.popleft()
        self._release_blocked()
        return item

    def at_once(self) -> list[T]:
        """The items that are there, which a read would return without waiting; perhaps none."""
        items = list(self._ready)
        if items:
            self._ready.clear()
            self._release_blocked()
        return items

    def buffers(self) -> list[Buffer]:
        """The results that are ready, for `Stream.buffers`."""
        return [Buffer("", len(self._ready), "items", "results that the consumer has not read")]

    async def aclose(self) -> None:
        """Cancel the tasks, and return when what they read is closed; unread items are discarded."""
        self._closed = True
        if self._group:
            self._group.cancel_scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._over.wait()
        self._ready.clear()
        self._news.set()

    # The tasks' side

    @abstractmethod
    async def run(self, group: TaskGroup) -> None:
        """Read, and start what else is to run in `group`. Begin with a checkpoint, within the `try` that closes what is read."""

    def last(self) -> Sequence[T]:
        """The items that come after all others, at an end that is no failure of a task."""
        return ()

    async def work(self) -> None:
        """Call `run`. It is a task of the hop, and raises nothing but cancellation."""
        try:
            async with anyio.create_task_group() as self._group:
                if self._closed:
                    self._group.cancel_scope.cancel()
                await self.run(self._group)
            if not self._closed:
                self._ready.extend(self.last())
        finally:
            self._ended = True
            self._over.set()
            self._news.set()

    def put(self, *items: T) -> None:
        """Items for the consumer; call `room` before the next, where their number is not bounded otherwise."""
        if items:
            self._ready.extend(items)
            self._news.set()

    async def room(self, size: int, held: Callable[[], int] = int) -> None:
        """Wait until fewer than `size` items wait for the consumer, or are `held` in front of them."""
        while len(self._ready) + held() >= size:
            read = anyio.Event()
            self._blocked.append(read)
            await read.wait()

    def fail(self, error: Exception, note: str = "") -> None:
        """Cancel all tasks. The first failure is raised after what is ready; the others are of tasks that it cancels."""
        if not self._closed and self._group:
            self._closed, self._failure = True, error
            if note:
                error.add_note(note)
            self._group.cancel_scope.cancel()

    def _release_blocked(self) -> None:
        if self._blocked:
            for read in self._blocked:
                read.set()
            self._blocked.clear()


async def pump(items: AsyncIterator[T], branches: Sequence[Branch[T]], unclosed: list[Exception]) -> None:
    """Read all items, give them to every branch, and close what was read; at once when all branches are closed."""
    failure: Exception | None = None
    gone, scope = anyio.Event(), anyio.CancelScope()

    async def left() -> None:
        if all(branch.closed for branch in branches):
            scope.cancel()
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await gone.wait()

    for branch in branches:
        branch.on_closed(left)
    try:
        with scope:
            # Nothing is opened for a block that was cancelled before it began.
            await anyio.lowlevel.checkpoint()
            if all(branch.closed for branch in branches):
                return
            async with entered(items) as given:
                async for item in given:
                    full = False
                    for branch in branches:
                        branch.give(item)
                        full = full or branch.full
                    if full:
                        for branch in branches:
                            await branch.room()
    except Exception as error:
        failure = error
    finally:
        await close(items, unclosed)
        gone.set()
    for branch in branches:
        branch.finish(failure)


async def close(items: object, unclosed: list[Exception]) -> None:
    """Close an iterator that can be, also if this task was cancelled; its failure to close goes into `unclosed`."""
    if aclose := getattr(items, "aclose", None):
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await aclose()
            except Exception as error:
                unclosed.append(error)


class _Unentered(AsyncIterator[T], Generic[T]):
    # A hop, or a stream with one: its tasks belong into the task that reads it.
    def __init__(self, context: "Stream[T] | HopContext[AsyncIterable[T]]") -> None:
        self.context = context

    async def __anext__(self) -> T:
        raise PipelineError("a hop is read where it was entered")


def reading(items: Readable[T]) -> AsyncIterator[T]:
    """The iterator of a stream, for `entered`. `PipelineError` for what is none."""
    if isinstance(items, HopContext) or (isinstance(items, Stream) and items.unentered):
        return _Unentered(cast("Stream[T] | HopContext[AsyncIterable[T]]", items))
    if not isinstance(cast(object, items), AsyncIterable):
        entered = "; enter it first, with `async with`" if hasattr(items, "__aenter__") else ""
        raise PipelineError(f"expected a stream or another async iterable, found {kind_of(items)}{entered}")
    return aiter(cast("AsyncIterable[T]", items))


@asynccontextmanager
async def entered(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """The items of what `reading` has returned; a hop is entered and left with the block, any other is closed by `close`."""
    if not isinstance(items, _Unentered):
        yield items
        return
    context: Any = items.context
    async with context as given:
        yield reading(given)


@asynccontextmanager
async def opened(answer: object, unclosed: list[Exception]) -> AsyncGenerator[AsyncIterable[Any], None]:
    """The items of what a caller's function has returned: a stream or a hop, which is entered, or another async iterable.

    It is closed with the block; its failure to close goes into `unclosed`.
    """
    if isinstance(answer, Stream | HopContext):
        async with cast("Stream[Any] | HopContext[AsyncIterable[Any]]", answer) as items:
            yield items
        return
    iterator = reading(cast("AsyncIterable[Any]", answer))
    try:
        yield iterator
    finally:
        await close(iterator, unclosed)


def at_least_one(**numbers: int) -> None:
    """Raise `PipelineError` for anything but a whole number of 1 or more."""
    for name, given in numbers.items():
        number = cast(object, given)
        if isinstance(number, bool) or not isinstance(number, int):
            found = shown(number) if isinstance(number, bool | float) else kind_of(number)
            raise PipelineError(f"expected a {name} that is a whole number, found {found}")
        if number < 1:
            raise PipelineError(f"expected a {name} of 1 or more, found {shown(number)}")
