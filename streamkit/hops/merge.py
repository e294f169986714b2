"""Several streams as one, in the order in which their items come."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from typing import Generic, TypeVar

from streamkit.core.views import Views
from streamkit.hops.channel import Branch, Readable, Signal, at_least_one, pump, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

T = TypeVar("T")


@hop
async def merge(*items: Readable[T], size: int = 1) -> AsyncGenerator["Merged[T]", None]:
    """Give the items of all as they come, each read by a task of its own, at most `size` items ahead.

    Where several have one, they take turns, so that a fast one does not starve the others. `Merged.number` is the index of the
    last item's source. An error of one is raised in its turn, after the items that this one gave before it, and ends the whole.
    Leaving the block closes all of them.
    """
    at_least_one(size=size)
    news, unclosed = Signal(), list[Exception]()
    iterators = [reading(each) for each in items]
    branches = [Branch[T](size, news=news) for _ in iterators]
    works = [partial(pump, iterator, (branch,), unclosed) for iterator, branch in zip(iterators, branches, strict=True)]
    async with beside(*works, unclosed=unclosed):
        yield Merged(branches, news)


class Merged(AsyncIterator[T], Views, Generic[T]):
    """The result of `merge`."""

    def __init__(self, branches: Sequence[Branch[T]], news: Signal) -> None:
        self.number: int | None = None
        """Which of the streams gave the last item, from 0."""
        self._branches = list(enumerate(branches))
        self._news = news
        self._error: Exception | None = None

    async def aclose(self) -> None:
        """Stop reading, and return when all streams are closed; buffered items are discarded."""
        branches, self._branches = self._branches, []
        for _, branch in branches:
            await branch.aclose()
        self._news.set()

    async def __anext__(self) -> T:
        if self._error:
            raise self._error
        while self._branches:
            for place, (number, branch) in enumerate(self._branches):
                if branch.ready:
                    # Who was served stands last in the line.
                    self._branches = self._branches[place + 1 :] + self._branches[: place + 1]
                    try:
                        item = await anext(branch)
                    except StopAsyncIteration:
                        self._branches.pop()
                        break
                    except Exception as error:
                        self._error = error
                        raise
                    self.number = number
                    return item
            else:
                # Closing it meanwhile leaves none.
                await self._news.wait()
        raise StopAsyncIteration
