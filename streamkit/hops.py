"""Every place where work goes on in a task beside the consumer's own. Nothing else in streamkit starts one.

Each is an async context manager: leaving it ends the task, and what the task held open, before control returns. Its price
is a switch of tasks for every item.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
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
    if size < 1:
        raise PipelineError(f"prefetch: expected a size of 1 or more, found {size}")
    iterator, unclosed = aiter(items), list[Exception]()
    # One item is in the task's hands while it waits for room.
    send, receive = anyio.create_memory_object_stream["T | _Failed"](size - 1)
    with send, receive:
        async with _beside(lambda _: _feed(iterator, send, unclosed)):
            yield _Prefetched(receive)
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


class _Prefetched(AsyncIterator[T], Generic[T]):
    def __init__(self, items: "MemoryObjectReceiveStream[T | _Failed]") -> None:
        self._items = items
        self._error: Exception | None = None

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
    items: AsyncIterator[T], send: "MemoryObjectSendStream[T | _Failed]", unclosed: list[Exception]
) -> None:
    failure: Exception | None = None
    with send:
        try:
            # Nothing is opened for a block that was cancelled before it began.
            await anyio.lowlevel.checkpoint()
            async for item in items:
                await send.send(item)
        except Exception as error:
            failure = error
        finally:
            await _close(items, unclosed)
        if failure:
            await send.send(_Failed(failure))


async def _close(items: object, unclosed: list[Exception]) -> None:
    if aclose := getattr(items, "aclose", None):
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await aclose()
            except Exception as error:
                unclosed.append(error)
