"""One stream after another, until one succeeds. It needs no task, since only one of them runs at a time."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, Literal, TypeAlias, TypeVar

import anyio

from streamkit.completion import FAILURES
from streamkit.core.source import Source
from streamkit.core.stream import Stream
from streamkit.errors import PipelineError, PluginError, StreamkitError
from streamkit.events import CONTENT, Completion, Event, Reset, StreamEnd

E = TypeVar("E", bound=Event)
Candidate: TypeAlias = Stream[E] | Callable[[], Stream[E]]


def is_failure(error: Exception) -> bool:
    """Whether another source may succeed: any `StreamkitError` except those for a bug in the program or a plugin."""
    return isinstance(error, StreamkitError) and not isinstance(error, PipelineError | PluginError)


def fallback(
    *candidates: "Candidate[E]",
    after_release: Literal["raise", "reset"] = "raise",
    when: Callable[[Exception], bool] = is_failure,
    wait: Callable[[int], float] = lambda failed: 0.0,
) -> "Fallback[E]":
    """Read the first stream; if it fails, read the next one: `hops.fallback(one, other) | Accumulate()`.

    A candidate is an unopened stream, or a function that returns one. The same function several times is a retry, with
    `wait(failed)` seconds after attempt number `failed`. A stream fails if it raises an error for which `when` returns true, or
    if it ends as truncated, timed out, with an error or for an unknown reason. The end of a failed stream is not emitted if
    another candidate follows.

    Content that was already emitted can't be retracted. In that case, `after_release="raise"` ends with the failure;
    `"reset"` emits a `Reset`, which invalidates everything before it, and continues with the next candidate. The stages of
    this package that hold state of the answer start over at a `Reset`; put your own stages that do not into the candidates.
    """
    if not candidates:
        raise PipelineError("expected streams to fall back on, found none")
    return Fallback(candidates, after_release, when, wait)


class Fallback(Source[Event], Generic[E]):
    """The events of the first stream that succeeds. Created by `fallback`."""

    def __init__(
        self,
        candidates: "Sequence[Candidate[E]]",
        after_release: Literal["raise", "reset"],
        when: Callable[[Exception], bool],
        wait: Callable[[int], float],
    ) -> None:
        self.failures: list[str] = []
        """The class of the error, or the reason of the end, of each failed attempt."""
        self._left = list(candidates)
        self._after_release = after_release
        self._when = when
        self._wait = wait
        self._stream: Stream[E] | None = None
        self._items: AsyncIterator[E | StreamEnd] | None = None
        self._released = False

    async def open(self) -> None:
        try:
            await self._begin()
        except Exception as error:
            if not await self._open_next(error, type(error).__name__):
                raise

    async def read(self) -> Sequence[Event]:
        assert self._items is not None, "read before open"
        while True:
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                return ()
            except Exception as error:
                if not await self._open_next(error, type(error).__name__):
                    raise
            else:
                if not self._failed(item) or not await self._open_next(None, _reason(item)):
                    self._released = self._released or isinstance(item, CONTENT)
                    return (item,)
            if self._released:
                self._released = False
                return (Reset(self.failures[-1]),)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _begin(self) -> None:
        candidate = self._left.pop(0)
        self._stream = candidate if isinstance(candidate, Stream) else candidate()
        if self._stream.joins:
            raise PipelineError(
                "a stream with a hop can't be a candidate of fallback: put the hop behind it, fallback(…) | …"
            )
        await self._stream.__aenter__()
        self._items = aiter(self._stream)

    async def _open_next(self, error: Exception | None, why: str) -> bool:
        """Open the next candidate; return False if there is none or it must not be used."""
        while self._left and (error is None or self._when(error)):
            if self._released and self._after_release == "raise":
                return False
            self.failures.append(why)
            await self.close()
            await anyio.sleep(self._wait(len(self.failures)))
            try:
                await self._begin()
            except Exception as another:
                error, why = another, type(another).__name__
                if not self._left or not self._when(error):
                    raise
            else:
                return True
        return False

    def _failed(self, item: object) -> bool:
        # A failed stream emits its `Completion` before its `StreamEnd`, so both are checked.
        return _reason(item) in FAILURES


def _reason(item: object) -> str:
    match item:
        case StreamEnd(reason=reason):
            return reason
        case Completion(end=end):
            return end or ""
        case _:
            return ""
