"""Coalesces equal requests that are in flight at the same time into one upstream answer."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.core.joined import HopContext
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.source import Source
from streamkit.core.stray import stray_cancellation_fails
from streamkit.core.stream import Stream
from streamkit.core.views import Views
from streamkit.errors import PipelineError, QueueOverflow, StreamInterrupted
from streamkit.hops.channel import Signal, at_least_one, opened
from streamkit.hops.context import block, hop
from streamkit.hops.keys import check_functions, digest
from streamkit.hops.tasks import beside

T = TypeVar("T")
Request = TypeVar("Request")
Answer: TypeAlias = "Stream[T] | Source[T] | AsyncIterable[T] | HopContext[AsyncIterable[T]]"


@block
async def shared(
    key: Callable[[Request], object],
    open: "Callable[[Request], Answer[T] | Awaitable[Answer[T]]]",
    *,
    ahead: int = 64,
    history: int = 10_000,
) -> AsyncGenerator["SharedAnswers[Request, T]", None]:
    """Share one upstream answer among equal requests: `async with shared(key, open) as answers`, once per application.

    `answers(request)` returns a hop for each request: `async with answers(request) as events`, or `answers(request) | Emit()`.
    Requests are equal if `key` returns equal JSON-compatible data for them. The first request calls `open`, a function or a
    coroutine function that returns an unopened stream (`source | pipeline`) or another async iterable. An equal request that
    arrives while the upstream is being read receives all items from the beginning. An equal request that arrives after the
    upstream has ended or failed calls `open` again.

    Closing or cancelling one request does not affect the others. When the last request is closed, the upstream is closed
    before control returns. An error of the upstream is raised for each request after the items before it.

    The upstream is read at most `ahead` items ahead of the fastest request. The last `history` items are kept: after more
    than `history` items, an equal request calls `open` again, and a request that has not read the discarded items raises
    `QueueOverflow`.

    Each upstream is read in its own task. Leaving the block closes all upstreams; requests that are still being read raise
    `StreamInterrupted`.
    """
    at_least_one(number_ahead=ahead, history=history)
    check_functions(key=key, open=open)
    answers = SharedAnswers[Request, T](key, open, ahead, history)
    async with beside(answers.work):
        await answers.ready.wait()
        yield answers


class SharedAnswers(Generic[Request, T]):
    """Callable that returns the hop for a request's answer. Created by `shared`."""

    def __init__(
        self, key: Callable[[Request], object], open: Callable[[Request], Any], ahead: int, history: int
    ) -> None:
        self.ready = anyio.Event()
        self._key = key
        self._open = open
        self._bounds = (ahead, history)
        self._flights: dict[str, _Flight[T]] = {}
        self._group: TaskGroup | None = None

    @property
    def in_flight(self) -> int:
        """Number of upstream answers that are being read."""
        return len(self._flights)

    def __call__(self, request: Request) -> "HopContext[Share[T]]":
        """Return the hop for a request's answer. Nothing is opened before its `async with`."""
        return _joined(self, request)

    async def work(self) -> None:
        """Run the tasks of all upstream answers. Called by `shared` in a task."""
        async with anyio.create_task_group() as group:
            self._group = group
            self.ready.set()
            try:
                await anyio.sleep_forever()
            finally:
                # A task group that is ending must not receive more tasks.
                self._group = None

    def join(self, request: Request) -> "Share[T]":
        """Return a view of the upstream answer of an equal request, or of a new one. Raises `PipelineError` after the block."""
        if self._group is None:
            raise PipelineError("the block of hops.shared has ended; enter it once for the whole application")
        name = digest(self._key(request))
        flight = self._flights.get(name)
        if flight is None or not flight.joinable:
            flight = self._flights[name] = _Flight[T](*self._bounds)
            self._group.start_soon(self._fly, name, flight, request)
        return flight.share()

    async def _fly(self, name: str, flight: "_Flight[T]", request: Request) -> None:
        def on_end() -> None:
            if self._flights.get(name) is flight:
                del self._flights[name]

        await flight.run(lambda: self._open(request), on_end)


@hop
async def _joined(answers: SharedAnswers[Request, T], request: Request) -> AsyncGenerator["Share[T]", None]:
    # A block that is already cancelled must not open anything.
    await anyio.lowlevel.checkpoint_if_cancelled()
    share = answers.join(request)
    try:
        yield share
    finally:
        await share.aclose()


class Share(AsyncIterator[T], Views, Generic[T]):
    """One request's view of a shared answer. A read may be cancelled and repeated without losing an item."""

    def __init__(self, flight: "_Flight[T]") -> None:
        self.position = 0
        """Number of items that this request has received."""
        self.arrival = Signal()
        self._flight = flight
        self._closed = False

    async def __anext__(self) -> T:
        while not self._closed:
            flight = self._flight
            at = self.position - flight.dropped
            if at < 0:
                raise QueueOverflow(f"this request fell behind by more than the {flight.history} items that are kept")
            if at < len(flight.items):
                self.position += 1
                flight.room.set()
                return flight.items[at]
            if flight.finished:
                raise flight.error or StopAsyncIteration
            await self.arrival.wait()
        raise StopAsyncIteration

    def at_once(self) -> list[T]:
        """Return all available items without waiting; an empty list if there are none."""
        flight = self._flight
        at = self.position - flight.dropped
        if at < 0 or self._closed:
            return []
        items = flight.items[at:]
        self.position += len(items)
        if items:
            flight.room.set()
        return items

    async def aclose(self) -> None:
        """Close this view. If it is the last one, also close the upstream, and return when that is done."""
        if not self._closed:
            self._closed = True
            self.arrival.set()
            await self._flight.leave(self)


class _Flight(Generic[T]):
    """An upstream answer and the requests that read it."""

    def __init__(self, ahead: int, history: int) -> None:
        self.items: list[T] = []
        self.dropped = 0
        self.history = history
        self.room = Signal()
        self.finished = False
        self.error: Exception | None = None
        self._ahead = ahead
        self._shares: list[Share[T]] = []
        self._unclosed: list[Exception] = []
        self._scope = anyio.CancelScope()
        self._left = False
        self._read_ended = anyio.Event()

    @property
    def joinable(self) -> bool:
        return not (self.finished or self._left or self.dropped)

    def share(self) -> Share[T]:
        share = Share(self)
        self._shares.append(share)
        return share

    async def leave(self, share: Share[T]) -> None:
        self._shares.remove(share)
        self.room.set()
        if self._shares:
            return
        self._left = True
        self._scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._read_ended.wait()
        if self._unclosed:
            raise self._unclosed.pop()

    async def run(self, open: "Callable[[], Any]", on_end: Callable[[], None]) -> None:
        try:
            with self._scope:
                # A request that was cancelled before it began must not open anything.
                await anyio.lowlevel.checkpoint()
                await self._read(open)
                self._finish()
        except Exception as error:
            (self._unclosed.append if self._left or self.finished else self._finish)(error)
        finally:
            self._finish(StreamInterrupted("the block of hops.shared was left while this answer was read"))
            on_end()
            self._read_ended.set()

    async def _read(self, open: "Callable[[], Any]") -> None:
        answer = open()
        if inspect.isawaitable(answer):
            with stray_cancellation_fails:
                answer = await answer
        if isinstance(answer, Source):
            answer = Stream[Any](cast("Source[Any]", answer), ())
        async with opened(answer, self._unclosed) as items:
            await self._take_all(items)

    async def _take_all(self, items: AsyncIterable[T]) -> None:
        async for item in items:
            self._take(item)
            while self._shares and self._lead() >= self._ahead:
                await self.room.wait()

    def _take(self, item: T) -> None:
        self.items.append(item)
        if len(self.items) > self.history:
            # Deleting one item at a time would move the whole list for each.
            excess = max(1, self.history // 8)
            del self.items[:excess]
            self.dropped += excess
        for share in self._shares:
            share.arrival.set()

    def _lead(self) -> int:
        """Return the number of items read ahead of the fastest request."""
        return self.dropped + len(self.items) - max(share.position for share in self._shares)

    def _finish(self, error: Exception | None = None) -> None:
        if not self.finished:
            self.finished, self.error = True, error
            for share in self._shares:
                share.arrival.set()
