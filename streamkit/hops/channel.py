"""The queues between the tasks of a hop and its consumers, and helpers to read a hop's input."""

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import UnionType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, get_args

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.core.buffers import Buffer
from streamkit.core.joined import HopContext
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.source import Source, as_source
from streamkit.core.stray import stray_cancellation_fails
from streamkit.core.stream import Stream
from streamkit.core.views import Views
from streamkit.core.waiting import Wakeup, wakeup
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import PipelineError, QueueOverflow, StreamInterrupted
from streamkit.events import StreamEnd

T = TypeVar("T")
Readable: TypeAlias = AsyncIterable[T] | HopContext[AsyncIterable[T]] | Source[T] | Iterable[T]
"""Input of a hop: a stream or another async iterable, a hop, which is entered and left in the task that reads it, or a source, as
on the left of `|`: a list, a file, a response."""
LEFT = "the block of this hop was left before its input had ended; the items delivered so far are incomplete"
Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "error"]


class Signal:
    """Wakes the one task that waits for it."""

    def __init__(self) -> None:
        self._wakeup: Wakeup | None = None  # created in the event loop, at the first wait

    def set(self) -> None:
        """Wake the waiting task, if there is one."""
        if self._wakeup is not None:
            self._wakeup.set()

    async def wait(self) -> None:
        """Wait for the next `set`."""
        if self._wakeup is None:
            self._wakeup = wakeup()
        await self._wakeup.wait()


class Branch(AsyncIterator[T], Views, Generic[T]):
    """The items of a hop for one consumer. Created by `tee`, `prefetch` and other hops.

    A read may be cancelled, for example by a timeout, and repeated without losing an item. An error is raised after the items
    before it, and again by every further read.
    """

    def __init__(self, size: int, overflow: Overflow = "wait", arrival: Signal | None = None) -> None:
        self.dropped = 0
        """Number of items that this consumer missed because it was too far behind."""
        self._items: deque[T] = deque()
        self._size = size
        self._overflow = overflow
        self._arrival = arrival or Signal()
        self._room = Signal()
        self._finished = False
        self._closed = False
        self._error: Exception | None = None
        self._left: Callable[[], Awaitable[None]] | None = None

    @property
    def waiting(self) -> int:
        """Number of buffered items that this consumer has not read."""
        return len(self._items)

    def buffers(self) -> list[Buffer]:
        """Return the number of items read ahead, for `Stream.buffers`."""
        return [Buffer("", len(self._items), "items", f"read ahead of the consumer, at most {self._size}")]

    @property
    def ready(self) -> bool:
        """Whether the next read returns or raises without waiting."""
        return bool(self._items) or self._finished or self._closed

    @property
    def closed(self) -> bool:
        """Whether the consumer has closed this branch."""
        return self._closed

    @property
    def failure(self) -> Exception | None:
        """The error that follows the items, once the reader has encountered it."""
        return self._error

    async def aclose(self) -> None:
        """Close this branch; buffered items are discarded. When all branches of a hop are closed, its input is closed too."""
        self._closed = True
        self._items.clear()
        self._room.set()
        self._arrival.set()
        if self._left:
            await self._left()

    def at_once(self) -> list[T]:
        """Return all buffered items without waiting; an empty list if there are none."""
        items = list(self._items)
        if items:
            self._items.clear()
            self._room.set()
        return items

    async def __anext__(self) -> T:
        while not self.ready:
            await self._arrival.wait()
        if self._items:
            item = self._items.popleft()
            self._room.set()
            return item
        if self._error:
            raise self._error
        raise StopAsyncIteration

    # The reader's side

    def give(self, item: T) -> None:
        """Buffer an item, or apply `overflow` if the queue is full. With `wait`, call `room` before the next item."""
        if self._closed or self._finished:
            return
        # A `StreamEnd` is never dropped.
        if len(self._items) >= self._size and self._overflow != "wait" and not isinstance(item, StreamEnd):
            self.dropped += 1
            if self._overflow == "error":
                self.finish(QueueOverflow(f"this consumer fell behind by more than the {self._size} items allowed"))
                return
            if self._overflow == "drop_newest":
                return
            self._items.popleft()
        self._items.append(item)
        self._arrival.set()

    @property
    def full(self) -> bool:
        """Whether `room` must be awaited before the next item."""
        return len(self._items) >= self._size and self._overflow == "wait" and not self._closed

    async def room(self) -> None:
        """With the overflow `wait`, wait until there is room."""
        while self.full:
            await self._room.wait()

    def on_closed(self, left: "Callable[[], Awaitable[None]]") -> None:
        """Await `left` when the consumer closes this branch."""
        self._left = left

    def finish(self, error: Exception | None = None) -> None:
        """End the input, or fail after the buffered items with `error`."""
        if not self._finished:
            self._finished, self._error = True, error
            self._arrival.set()

    def leave(self) -> None:
        """End what is not read to its end, since no task fills this branch any more."""
        self.finish(StreamInterrupted(LEFT))


class Output(AsyncIterator[T], Views, Generic[T]):
    """The results of a hop's tasks for one consumer: the ready items, then the failure or the end.

    A read may be cancelled, for example by a timeout, and repeated without losing an item. A failure is raised after the items
    before it, and again by every further read.
    """

    def __init__(self) -> None:
        self.unclosed: list[Exception] = []
        """Errors raised when the input was closed."""
        self._ready: deque[T] = deque()
        self._arrival = Signal()
        self._blocked: list[anyio.Event] = []
        self._failure: Exception | None = None
        self._closed = self._ended = False
        self._tasks_ended = anyio.Event()
        self._group: TaskGroup | None = None

    async def __anext__(self) -> T:
        while not self._ready:
            if self._ended:
                raise self._failure or StopAsyncIteration
            await self._arrival.wait()
        item = self._ready.popleft()
        self._release_blocked()
        return item

    def at_once(self) -> list[T]:
        """Return all ready items without waiting; an empty list if there are none."""
        items = list(self._ready)
        if items:
            self._ready.clear()
            self._release_blocked()
        return items

    def buffers(self) -> list[Buffer]:
        """Return the number of ready results, for `Stream.buffers`."""
        return [Buffer("", len(self._ready), "items", "results that the consumer has not read")]

    async def aclose(self) -> None:
        """Cancel the tasks, and return when their input is closed; unread items are discarded."""
        self._closed = True
        if self._group:
            self._group.cancel_scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._tasks_ended.wait()
        self._ready.clear()
        self._arrival.set()

    # The tasks' side

    @abstractmethod
    async def run(self, group: TaskGroup) -> None:
        """Read the input, and start further tasks in `group`. Begin with a checkpoint, inside the `try` that closes the input."""

    def last(self) -> Sequence[T]:
        """Return the items to emit after all others, if no task has failed."""
        return ()

    async def work(self) -> None:
        """Call `run`, as a task of the hop. Raises nothing but cancellation."""
        try:
            async with anyio.create_task_group() as self._group:
                if self._closed:
                    self._group.cancel_scope.cancel()
                await self.run(self._group)
            if not self._closed:
                self._ready.extend(self.last())
        except Exception as error:
            # Such as a function of the caller's that a task calls beside the one that it is for.
            self._failure = self._failure or _single(error)
        finally:
            self._ended = True
            self._tasks_ended.set()
            self._arrival.set()

    def put(self, *items: T) -> None:
        """Emit items to the consumer. Await `room` before the next ones, unless their number is bounded in another way."""
        if items:
            self._ready.extend(items)
            self._arrival.set()

    async def room(self, size: int, held: Callable[[], int] = int) -> None:
        """Wait until fewer than `size` items are ready or counted by `held`."""
        while len(self._ready) + held() >= size:
            read = anyio.Event()
            self._blocked.append(read)
            await read.wait()

    def fail(self, error: Exception, note: str = "") -> None:
        """Cancel all tasks. The first failure is raised after the ready items; later ones, of cancelled tasks, are ignored."""
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


def _single(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        first, *others = cast("tuple[Exception, ...]", error.exceptions)
        if others:
            break
        error = first
    return cast("Exception", error)


async def pump(items: AsyncIterator[T], branches: Sequence[Branch[T]], unclosed: list[Exception]) -> None:
    """Read all items, pass each to every branch, and close the input; stop immediately when all branches are closed."""
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
            # A block cancelled before it began must not open anything.
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
    """Close an iterator that has `aclose`, even if this task is cancelled; an error of `aclose` is appended to `unclosed`."""
    if aclose := getattr(items, "aclose", None):
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await aclose()
            except Exception as error:
                unclosed.append(error)


class _Unentered(AsyncIterator[T], Generic[T]):
    # A hop, or a stream with one: it must be entered in the task that reads it.
    def __init__(self, context: "Stream[T] | HopContext[AsyncIterable[T]]") -> None:
        self.context = context

    async def __anext__(self) -> T:
        raise PipelineError("a hop is read where it was entered")


def reading(items: Readable[T]) -> AsyncIterator[T]:
    """Return the iterator of a hop's input, for `entered`. Raises `PipelineError` for an object that can't be read."""
    if isinstance(items, HopContext) or (isinstance(items, Stream) and items.unentered):
        return _Unentered(cast("Stream[T] | HopContext[AsyncIterable[T]]", items))
    if isinstance(items, AsyncIterable):
        return aiter(cast("AsyncIterable[T]", items))
    return cast("AsyncIterator[T]", aiter(Stream[Any](as_source(items), ())))


@asynccontextmanager
async def entered(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """Yield the items of an iterator from `reading`. A hop is entered and left with the block; the caller closes any other."""
    with stray_cancellation_fails:
        if not isinstance(items, _Unentered):
            yield items
            return
        context: Any = items.context
        async with context as given:
            yield reading(given)


@asynccontextmanager
async def opened(answer: object, unclosed: list[Exception]) -> AsyncGenerator[AsyncIterable[Any], None]:
    """Yield the items of a user function's result: a stream or a hop, which is entered, or another async iterable.

    It is closed with the block; an error of closing is appended to `unclosed`.
    """
    with stray_cancellation_fails:
        if isinstance(answer, Stream | HopContext):
            async with cast("Stream[Any] | HopContext[AsyncIterable[Any]]", answer) as items:
                yield items
            return
        if not isinstance(answer, AsyncIterable):
            entered = "; enter it first, with `async with`" if hasattr(answer, "__aenter__") else ""
            raise PipelineError(f"expected a stream or another async iterable, found {kind_of(answer)}{entered}")
        iterator = aiter(cast("AsyncIterable[Any]", answer))
        try:
            yield iterator
        finally:
            await close(iterator, unclosed)


def check_overflow(overflow: object) -> None:
    """Raise `PipelineError` for what is none of the words."""
    if overflow not in get_args(Overflow):
        raise PipelineError(f"overflow: expected one of {', '.join(get_args(Overflow))}, found {shown(overflow)}")


def check_classes(of: object) -> None:
    """Raise `PipelineError` for what `isinstance` does not take; `None` is no restriction."""
    kinds = cast("tuple[object, ...]", of) if isinstance(of, tuple) else (of,)
    if of is not None and not (kinds and all(isinstance(kind, type | UnionType) for kind in kinds)):
        raise PipelineError(f"of: expected a class, or a tuple of them, found {kind_of(cast('object', of))}")


def at_least_one(**numbers: int) -> None:
    """Raise `PipelineError` unless each value is an integer of 1 or more."""
    for name, given in numbers.items():
        number = cast(object, given)
        if isinstance(number, bool) or not isinstance(number, int):
            found = shown(number) if isinstance(number, bool | float) else kind_of(number)
            raise PipelineError(f"expected a {name} that is a whole number, found {found}")
        if number < 1:
            raise PipelineError(f"expected a {name} of 1 or more, found {shown(number)}")
