"""Deadlines for content, and rate limits."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Generic, TypeVar, cast

import anyio

from streamkit.core.buffers import Buffer
from streamkit.core.views import Views
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import DeadlineExceeded, PipelineError
from streamkit.hops.channel import Branch, Readable, at_least_one
from streamkit.hops.context import hop
from streamkit.hops.race import is_content
from streamkit.hops.tee import prefetch

T = TypeVar("T")


@hop
async def deadlines(
    items: Readable[T],
    *,
    first_content: float | None = None,
    idle_content: float | None = None,
    total: float | None = None,
    counts: Callable[[T], bool] = is_content,
    size: int = 1,
) -> AsyncGenerator[AsyncIterator[T], None]:
    """Raise `DeadlineExceeded` if a stream does not deliver content in time, in seconds; pings don't count.

    At most `size` items are read ahead.

    `first_content` and `idle_content` count only the time that the consumer waits in a read, so a slow consumer does not exceed
    them; `total` counts from the start of the block. `counts` returns whether an item is content. Sources of `http` support
    these deadlines themselves, without a task.
    """
    began = anyio.current_time()
    async with prefetch(items, size=size) as ahead:
        ends_at = None if total is None else began + total
        yield _Watched(ahead, (first_content, idle_content), (total, ends_at), counts)


class _Watched(AsyncIterator[T], Views, Generic[T]):
    def __init__(
        self,
        items: Branch[T],
        content: tuple[float | None, float | None],
        total: tuple[float | None, float | None],
        counts: Callable[[T], bool],
    ) -> None:
        self._items = items
        self._first, self._idle = content
        self._total, self._ends_at = total
        self._counts = counts
        self._had_content = False
        self._waited = 0.0  # seconds since the last content, or since the start
        self._error: DeadlineExceeded | None = None

    async def aclose(self) -> None:
        """Stop reading, and return when the stream is closed."""
        await self._items.aclose()

    async def __anext__(self) -> T:
        if self._error:
            raise self._error
        name, seconds, rest = self._nearest()
        began, content = anyio.current_time(), False
        # A read that the consumer cancels has waited too.
        try:
            with anyio.move_on_after(rest):
                item = await anext(self._items)
                content = self._counts(item)
                return item
        finally:
            self._had_content = self._had_content or content
            self._waited = 0.0 if content else self._waited + anyio.current_time() - began
        self._error = DeadlineExceeded(f"the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds)
        raise self._error

    def _nearest(self) -> tuple[str, float, float]:
        allowed = self._idle if self._had_content else self._first
        found = [("none", float("inf"), float("inf"))]
        if allowed is not None:
            name = "idle_content" if self._had_content else "first_content"
            found.append((name, allowed, max(0.0, allowed - self._waited)))
        if self._total is not None and self._ends_at is not None:
            found.append(("total", self._total, max(0.0, self._ends_at - anyio.current_time())))
        return min(found, key=lambda deadline: deadline[2])


@hop
async def rate_limit(
    items: Readable[T],
    *,
    per_second: float,
    burst: float = 1,
    cost: Callable[[T], float] = lambda item: 1,
    size: int = 16,
) -> AsyncGenerator[AsyncIterator[T], None]:
    """Limit the rate of items with a token bucket: a total `cost` of `per_second` per second, after an initial `burst`.

    By default each item costs 1; `lambda event: len(getattr(event, "text", ""))` counts characters. At most `size` items are
    read ahead; then back-pressure reaches the source.
    """
    check_rate(per_second, burst, cost, size)
    async with prefetch(items, size=size) as ahead:
        yield _Limited(ahead, per_second, burst, cost)


def check_rate(per_second: float, burst: float, cost: object, size: int) -> None:
    """Raise `PipelineError` for invalid options of `rate_limit`."""
    for number in (per_second, burst):
        if (
            not isinstance(cast(object, number), int | float)
            or isinstance(number, bool)
            or not 0 < number < float("inf")
        ):
            found = f"{shown(per_second)} and {shown(burst)}"
            raise PipelineError(f"expected per_second and burst that are finite and more than 0, found {found}")
    if not callable(cost):
        raise PipelineError(f"cost: expected a function of an item, found {kind_of(cost)}")
    at_least_one(size=size)


class _Limited(AsyncIterator[T], Views, Generic[T]):
    def __init__(self, items: Branch[T], per_second: float, burst: float, cost: Callable[[T], float]) -> None:
        self._items = items
        self._per_second = per_second
        self._burst = burst
        self._cost = cost
        self._saved = burst
        self._at = anyio.current_time()
        self._held: list[T] = []  # the item that is not due yet; kept if the wait is cancelled

    async def aclose(self) -> None:
        """Stop reading, and return when the stream is closed."""
        await self._items.aclose()

    def buffers(self) -> list[Buffer]:
        """Return the number of items that are not due, for `Stream.buffers`."""
        waiting = self._items.waiting + len(self._held)
        return [Buffer("", waiting, "items", f"at most {self._per_second:g} per second are released")]

    async def __anext__(self) -> T:
        if not self._held:
            self._held.append(await anext(self._items))
        # An item that costs more than `burst` is released when the bucket is full, and leaves a negative balance.
        cost = self._cost(self._held[0])
        if (missing := min(cost, self._burst) - self._save()) > 0:
            await anyio.sleep(missing / self._per_second)
            self._save()
        self._saved -= cost
        return self._held.pop()

    def _save(self) -> float:
        now = anyio.current_time()
        self._saved = min(self._burst, self._saved + (now - self._at) * self._per_second)
        self._at = now
        return self._saved
