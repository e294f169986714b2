"""Several streams as one, in order of arrival."""

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
    """Merge streams in order of arrival. Each is read by its own task, at most `size` items ahead.

    Streams that have items at the same time take turns, so a fast one does not starve the others. `Merged.number` is the index of
    the last item's stream. An error of a stream is raised after the items of that stream before it, and ends the merged stream.
    Leaving the block closes all streams.
    """
    at_least_one(size=size)
    arrival, unclosed = Signal(), list[Exception]()
    iterators = [reading(each) for each in items]
    branches = [Branch[T](size, arrival=arrival) for _ in iterators]
    works = [partial(pump, iterator, (branch,), unclosed) for iterator, branch in zip(iterators, branches, strict=True)]
    async with beside(*works, unclosed=unclosed, left=[branch.leave for branch in branches]):
        yield Merged(branches, arrival)


class Merged(AsyncIterator[T], Views, Generic[T]):
    """The result of `merge`."""

    def __init__(self, branches: Sequence[Branch[T]], arrival: Signal) -> None:
        self.number: int | None = None
        """The index of the stream of the last item, from 0; `None` before the first."""
        self._branches = list(enumerate(branches))
        self._arrival = arrival
        self._error: Exception | None = None

    async def aclose(self) -> None:
        """Stop reading, and return when all streams are closed; buffered items are discarded."""
        branches, self._branches = self._branches, []
        for _, branch in branches:
            await branch.aclose()
        self._arrival.set()

    async def __anext__(self) -> T:
        if self._error:
            raise self._error
        while self._branches:
            for place, (number, branch) in enumerate(self._branches):
                if branch.ready:
                    # The stream just served moves to the end of the queue.
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
                # `aclose` empties the branches while this waits.
                await self._arrival.wait()
        raise StopAsyncIteration
