"""Every place where work goes on in a task beside the consumer's own. Nothing else in streamkit starts one.

Each is an async context manager: leaving it ends the task, and what the task held open, before control returns. Its price
is a switch of tasks for every item.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from streamkit.errors import PipelineError
from streamkit.stream import CLOSE_SECONDS

T = TypeVar("T")


@asynccontextmanager
async def prefetch(items: AsyncIterable[T], *, size: int = 1) -> AsyncGenerator[AsyncIterator[T], None]:
    """Read in a task of its own, at most `size` items ahead of the consumer.

    Unlike a stream's own, a read of the iterator that this gives may be cancelled, by a timeout for example, and asked
    again: no item is lost. An error of `items` is raised after the items before it, and again whenever it is asked.
    Leaving the block closes `items`; if that fails and nothing else has, it raises.
    """
    async with tee(items, 1, size=size) as (ahead,):
        yield ahead


@asynccontextmanager
async def tee(
    items: AsyncIterable[T], consumers: int = 2, *, size: int = 16
) -> AsyncGenerator[tuple["Branch[T]", ...], None]:
    """Give all items to each of several consumers, by one task that reads at most `size` items ahead of the slowest.

    The others wait for the slowest, so that nothing is dropped and nothing grows; `Branch.waiting` tells how far each is
    behind. A consumer that stops early calls its branch's `aclose`, or it would hold the others up; when all have, the
    reading stops. For the rest each branch is as the iterator of `prefetch`.
    """
    for name, number in (("size", size), ("consumers", consumers)):
        if number < 1:
            raise PipelineError(f"expected a {name} of 1 or more, found {number}")
    iterator, unclosed = aiter(items), list[Exception]()
    # One item is in the task's hands while it waits for room.
    pairs = [anyio.create_memory_object_stream["T | _Failed"](size - 1) for _ in range(consumers)]
    with ExitStack() as streams:
        for pair in pairs:
            for stream in pair:
                streams.enter_context(stream)
        sends = [send for send, _ in pairs]
        async with _beside(lambda _: _feed(iterator, sends, unclosed)):
            yield tuple(Branch(receive) for _, receive in pairs)
    if unclosed:
        raise unclosed[0]


@asynccontextmanager
async def until(done: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    """Run the block beside `done`, and cancel it when `done` returns. Leaving the block cancels `done`."""
    failure: list[Exception] = []

    async def watch(scope: anyio.CancelScope) -> None:
        try:
            await done()
        except Exception as error:
            failure.append(error)
        scope.cancel()

    async with _beside(watch):
        yield
    if failure:
        raise failure[0]


class _Failed:
    # An error on its way through the queue.
    def __init__(self, error: Exception) -> None:
        self.error = error


class Branch(AsyncIterator[T], Generic[T]):
    """What one consumer reads. Made by `prefetch` and `tee`."""

    def __init__(self, items: "MemoryObjectReceiveStream[T | _Failed]") -> None:
        self._items = items
        self._error: Exception | None = None

    @property
    def waiting(self) -> int:
        """Items that were read and wait for this consumer."""
        return self._items.statistics().current_buffer_used

    async def aclose(self) -> None:
        """Want no more."""
        self._items.close()

    async def __anext__(self) -> T:
        if self._error:
            raise self._error
        try:
            item = await self._items.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        if isinstance(item, _Failed):
            self._error = item.error
            raise item.error
        return item


@asynccontextmanager
async def _beside(work: Callable[[anyio.CancelScope], Coroutine[Any, Any, None]]) -> AsyncGenerator[None, None]:
    """Run `work`, which raises nothing, in a task beside the block, and cancel it when the block is left.

    It is given the scope that both run in.
    """
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(work, group.cancel_scope)
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        # The block's own error leaves as it is; a task group would wrap it.
        except BaseException as error:
            failure = error
        group.cancel_scope.cancel()
    if failure:
        try:
            raise failure
        finally:
            del failure  # or it would hold its own traceback, and all that is in it


async def _feed(
    items: AsyncIterator[T], sends: "list[MemoryObjectSendStream[T | _Failed]]", unclosed: list[Exception]
) -> None:
    failure: Exception | None = None
    try:
        # Nothing is opened for a block that was cancelled before it began.
        await anyio.lowlevel.checkpoint()
        async for item in items:
            await _hand_out(item, sends)
            if not sends:
                break
    except Exception as error:
        failure = error
    finally:
        await _close(items, unclosed)
    if failure:
        await _hand_out(_Failed(failure), sends)
    for send in sends:
        send.close()


async def _hand_out(item: "T | _Failed", sends: "list[MemoryObjectSendStream[T | _Failed]]") -> None:
    for send in sends.copy():
        try:
            await send.send(item)
        except anyio.BrokenResourceError:
            sends.remove(send)


async def _close(items: object, unclosed: list[Exception]) -> None:
    if aclose := getattr(items, "aclose", None):
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await aclose()
            except Exception as error:
                unclosed.append(error)
