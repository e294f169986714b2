"""Several streams read at once; the first one with content is used."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

from streamkit.completion import FAILURES
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.views import Views
from streamkit.events import CONTENT, StreamEnd
from streamkit.hops.channel import Branch, Readable, at_least_one, close, entered, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

T = TypeVar("T")


def is_content(item: object) -> bool:
    """Whether an event is content of the response."""
    return isinstance(item, CONTENT)


@hop
async def race(
    *contenders: Readable[T],
    after: float | None = None,
    wins: Callable[[T], bool] = is_content,
    head: int = 1024,
    size: int = 16,
) -> AsyncGenerator["Winner[T]", None]:
    """Read several streams at once; the first with content wins, and the others are cancelled and closed.

    The block begins when one has won and the others are closed. It yields all items of the winner, from its first on;
    `Winner.number` is its index. With `after` (hedging), the streams start at intervals of that many seconds, or as soon as the
    one before has failed. A stream that fails before any content, with an error or a failed end, drops out. If all do, the last
    one to fail wins, and its items and error are passed on.

    `head`: maximum number of items buffered per stream before its first content; a stream with more wins. `size` is that of
    `prefetch`.
    """
    at_least_one(contenders=len(contenders), head=head, size=size)
    runners = _Race([reading(contender) for contender in contenders], after, wins, head, size)
    works = [partial(runners.run, number) for number in range(len(contenders))]
    async with beside(*works, unclosed=runners.unclosed):
        yield await runners.decided()


class Winner(AsyncIterator[T], Views, Generic[T]):
    """The stream that won. `number`: the index of the contender, from 0; `failures`: the errors of the others."""

    def __init__(
        self,
        number: int,
        items: Branch[T],
        failures: dict[int, Exception | StreamEnd],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.number = number
        self.failures = failures
        self._items = items
        self._close = close

    async def __anext__(self) -> T:
        return await anext(self._items)

    def at_once(self) -> list[T]:
        """Return all buffered items without waiting; an empty list if there are none."""
        return self._items.at_once()

    async def aclose(self) -> None:
        """Stop reading, and return when the winner is closed too; buffered items are discarded."""
        await self._items.aclose()
        await self._close()


class _Race(Generic[T]):
    def __init__(
        self,
        contenders: Sequence[AsyncIterator[T]],
        after: float | None,
        wins: Callable[[T], bool],
        head: int,
        size: int,
    ) -> None:
        self.unclosed: list[Exception] = []
        self._contenders = contenders
        self._after = after
        self._wins = wins
        self._head = head
        self._branches = [Branch[T](size) for _ in contenders]
        self._scopes = [anyio.CancelScope() for _ in contenders]
        self._finished = [anyio.Event() for _ in contenders]
        self._closed = [anyio.Event() for _ in contenders]
        self._failures: dict[int, Exception | StreamEnd] = {}
        self._won = anyio.Event()
        self._winner = 0

    async def decided(self) -> Winner[T]:
        """Return the winner, once the others are closed."""
        await self._won.wait()
        for number, closed in enumerate(self._closed):
            if number != self._winner:
                await closed.wait()
        failures = {number: why for number, why in self._failures.items() if number != self._winner}
        return Winner(self._winner, self._branches[self._winner], failures, self._close)

    async def _close(self) -> None:
        self._scopes[self._winner].cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._closed[self._winner].wait()

    async def run(self, number: int) -> None:
        """Read one contender."""
        items, branch, failure = self._contenders[number], self._branches[number], None
        try:
            with self._scopes[number]:
                await self._turn(number)
                async with entered(items) as given:
                    async for item in given:
                        branch.give(item)
                        self._look(number, item)
                        if self._won.is_set():
                            await branch.room()
        except Exception as error:
            failure = self._failures[number] = error
        finally:
            await close(items, self.unclosed)
            self._closed[number].set()
        branch.finish(failure)
        self._ended(number)

    async def _turn(self, number: int) -> None:
        # A block cancelled before it began must not open anything.
        await anyio.lowlevel.checkpoint()
        if self._after is not None and number:
            with anyio.move_on_after(self._after * number):
                await self._finished[number - 1].wait()

    def _look(self, number: int, item: T) -> None:
        if self._won.is_set():
            return
        if isinstance(item, StreamEnd) and item.reason in FAILURES:
            self._failures[number] = item
        elif self._wins(item) or self._branches[number].waiting > self._head:
            self._win(number)

    def _ended(self, number: int) -> None:
        self._finished[number].set()
        if not self._won.is_set() and (number not in self._failures or len(self._failures) == len(self._contenders)):
            self._win(number)

    def _win(self, number: int) -> None:
        self._winner = number
        self._won.set()
        for other, scope in enumerate(self._scopes):
            if other != number:
                scope.cancel()
