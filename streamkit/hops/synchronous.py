"""Streams for synchronous code: the stream runs in an event loop in a separate thread."""

import atexit
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from streamkit.core.stream import Stream
from streamkit.errors import PipelineError
from streamkit.events import Completion, StreamEnd

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Synchronous(Iterator["T | StreamEnd"], Generic[T]):
    """A stream for code without an event loop, or inside a running one, as in a notebook. Created by `sync`.

    Each read runs in the context of the call, so stages see the caller's context variables. Leaving the block, the end of the
    stream and an error close the stream and end its thread. If it is used without `with` and garbage-collected, it is closed
    with a `ResourceWarning`. Not thread-safe, except for `cancel`.
    """

    def __init__(self, stream: Stream[T], backend: Literal["asyncio", "trio"]) -> None:
        self._stream = stream
        self._backend = backend
        self._thread = ExitStack()
        self._portal: BlockingPortal | None = None
        self._closed = False
        self._items: AsyncIterator[T | StreamEnd] | None = None
        self._failure: Exception | None = None
        self._at_exit = partial(_close_left_open, weakref.ref(self))

    @property
    def end(self) -> StreamEnd | None:
        """The end of the stream; `None` before it."""
        return self._stream.end

    def stage(self, kind: type[A]) -> A:
        """Return this run's copy of the stage of that class, like `Stream.stage`."""
        return self._stream.stage(kind)

    def collect(self) -> "list[T | StreamEnd]":
        """Read to the end, like `Stream.collect`."""
        return self._read(self._stream.collect)

    def text(self, index: int = 0) -> str:
        """Read to the end, like `Stream.text`."""
        return self._read(partial(self._stream.text, index))

    def final(self) -> Completion:
        """Read to the end, like `Stream.final`."""
        return self._read(self._stream.final)

    def cancel(self) -> None:
        """End the stream early, like `Stream.cancel`. May be called from any thread."""
        if self._portal and not self._closed:
            self._portal.start_task_soon(self._stream.cancel)
        else:
            self._stream.cancel()

    def close(self) -> None:
        """Close the stream and end the thread. Idempotent."""
        self._leave(None, None, None)

    def __enter__(self) -> "Synchronous[T]":
        try:
            if self._stream.joins:
                self._start()
            else:
                self._call(self._stream.__aenter__)
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(kind, error, traceback)

    def __next__(self) -> "T | StreamEnd":
        if self._failure:
            raise self._failure
        if self._closed:
            raise StopIteration
        if self._items is None:
            self._items = aiter(self._stream)
        try:
            return self._call(self._items.__anext__)
        except StopAsyncIteration:
            self._end_thread()
            raise StopIteration from None
        except Exception as error:
            # The stream has closed itself.
            self._failure = error
            self._end_thread()
            raise

    def __del__(self) -> None:
        if self._portal and not self._closed:
            warnings.warn("a stream was dropped before its end; use `with`", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def _read(self, work: Callable[[], Awaitable[B]]) -> B:
        try:
            return self._call(work)
        finally:
            self.close()

    def _call(self, work: Callable[[], Awaitable[B]]) -> B:
        if self._closed:
            raise PipelineError("this stream is closed; open another one")
        return self._start().call(work)

    def _start(self) -> BlockingPortal:
        if self._portal is None:
            self._portal = self._thread.enter_context(start_blocking_portal(self._backend))
            # Later in interpreter shutdown the thread no longer runs, and joining it would block forever.
            atexit.register(self._at_exit)
            if self._stream.joins:
                # Each portal call is a separate task, but a hop must be entered and left in the same task.
                self._thread.enter_context(self._portal.wrap_async_context_manager(self._stream))
        return self._portal

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._portal is None or self._closed:
            self._closed = True
            return
        try:
            if not self._stream.joins:
                self._portal.call(self._stream.__aexit__, kind, error, traceback)
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        self._closed = True
        atexit.unregister(self._at_exit)
        self._thread.close()


def _close_left_open(bridge: "weakref.ref[Synchronous[Any]]") -> None:
    if left_open := bridge():
        left_open.close()


def sync(stream: Stream[T], *, backend: Literal["asyncio", "trio"] = "asyncio") -> Synchronous[T]:
    """Read a stream from synchronous code: `with sync(source | pipeline) as events: for event in events: …`.

    The stream runs in an event loop in a separate thread, which starts with the first read or `with`. Each item costs a thread
    switch, some tens of microseconds. `backend` is the event loop.
    """
    if not isinstance(cast(object, stream), Stream):
        raise PipelineError(f"sync takes a stream (source | pipeline), found an object of type {type(stream).__name__}")
    return Synchronous(stream, backend)
