"""A running pipeline over a source: an async iterator and an async context manager.

It owns no task. Everything happens inside the consumer's own `__anext__`: items that are there are handed out without a
detour; when there are none, the deepest stage that still has input works first, and only when nothing is left to do is the
source read, one `await` for all that one network read brings.
"""

import sys
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio

from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import EndReason, StreamEnd
from streamkit.source import Source

if TYPE_CHECKING:
    from types import TracebackType

    from streamkit.stage import AsyncStage, Joinable, Pipeline, Stage

Out = TypeVar("Out", covariant=True)
Next = TypeVar("Next")
A = TypeVar("A")
CLOSE_SECONDS = 5.0
"""How long closing may take; after that the stream lets go of the source without having heard from it."""
INTERRUPTED = (
    "a read was cancelled from outside (by a timeout around the consumer?), so that this stream can't go on; "
    "what it delivered is not complete"
)


class Stream(Generic[Out]):
    """One run of a pipeline. Use it with `async with`, or iterate it to its end; both close the source.

    It has one consumer. Every way out of `async with` closes the source before control returns. If the iteration is left
    early without `async with`, the source is closed when the iterator is dropped, with one `ResourceWarning`.
    """

    def __init__(self, source: Source[Any], pipeline: "Joinable[Any, Out]") -> None:
        from streamkit.stage import segments

        self._source = source
        self._pipeline = pipeline
        self._run = _Run[Out](source, segments(pipeline), pipeline.framing)
        self._taken = False

    def __or__(self, following: "Stage[Out, Next] | AsyncStage[Out, Next]") -> "Stream[Next]":
        """The stream with one more stage, so that `source | stage | stage` reads as it should. Not after it was opened."""
        if self._run.opened:
            raise PipelineError("this stream is open already: join all stages before you use it")
        pipeline: Any = self._pipeline
        return Stream(self._source, pipeline | following)

    @property
    def end(self) -> StreamEnd | None:
        """Why the stream ended; `None` while it has not."""
        return self._run.end

    def stage(self, kind: type[A]) -> A:
        """This run's own copy of the stage of that class, to read its state. `PipelineError` if there is none."""
        from streamkit.stage import find_stage

        return find_stage([part for level in self._run.levels for part in level.stage.parts()], kind)

    def cancel(self) -> None:
        """End the stream early, from any task of the same event loop.

        What was already produced is still delivered, then `StreamEnd(reason="cancelled")`; a consumer that waits is woken.
        The source is closed before that last item is delivered.
        """
        self._run.cancel()

    async def aclose(self) -> None:
        """Close the source. Does nothing the second time."""
        await self._run.aclose()

    async def __aenter__(self) -> "Stream[Out]":
        await self._run.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self._run.aclose(because=error)

    def __aiter__(self) -> "AsyncIterator[Out | StreamEnd]":
        if self._taken:
            raise PipelineError(
                "this stream already has a consumer; to go on after a break keep its iterator (items = aiter(stream)), "
                "for a second consumer use streamkit.hops.tee"
            )
        self._taken = True
        return self._run

    async def __anext__(self) -> "Out | StreamEnd":
        return await self._run.__anext__()


class _Level:
    # A stage, and what waits in front of it.
    def __init__(self, stage: "Pipeline[Any, Any] | AsyncStage[Any, Any]") -> None:
        self.stage = stage
        self.waiting: deque[Any] = deque()
        self.flushed = False


class _Run(AsyncIterator["Out | StreamEnd"]):
    def __init__(
        self,
        source: Source[Any],
        segments: "list[Pipeline[Any, Any] | AsyncStage[Any, Any]]",
        framing: "Callable[[], Stage[bytes, Any] | None]",
    ) -> None:
        from streamkit.stage import hears_time

        self.source = source
        self.levels = [_Level(stage) for stage in segments]
        self.end: StreamEnd | None = None
        self._framing: Callable[[], Stage[bytes, Any] | None] | None = framing
        self._timed = any(hears_time(part) for stage in segments for part in stage.parts())
        self._ready: Iterator[Out | StreamEnd] = iter(())
        self._failure: Exception | None = None
        self._exhausted = False  # nothing more will be read
        self._finished = False  # nothing more will be produced
        self.opened = False
        self._closed = False
        self._busy = False
        self._cancelled = False
        self._scope: anyio.CancelScope | None = None
        self._guard: AsyncGenerator[None, None] | None = None

    # Opening and closing

    async def open(self, *, guarded: bool) -> None:
        if self.opened:
            return
        if self.source.used:
            raise PipelineError("this source was opened before; make a new one for each stream")
        self.opened = self.source.used = True
        if guarded:
            self._guard = _guard(self._closing())
            await anext(self._guard)
        if self._timed:
            self._tick(self.levels)
        await self.source.open()

    async def enter(self) -> None:
        try:
            await self.open(guarded=False)
        except BaseException as error:
            await self.fail(error)
            raise

    async def aclose(self, because: BaseException | None = None) -> None:
        if self._closed:
            return
        self._closed = self._finished = self._exhausted = True
        self._ready = iter(())
        if self.end is None:
            self.end = StreamEnd("cancelled")
        guard, self._guard = self._guard, None
        if not self.opened:
            return
        try:
            await (guard.aclose() if guard else _close_all(self._closing()))
        except Exception as error:
            if because is None:
                raise
            because.add_note(f"and closing the stream failed: {type(error).__name__}: {error}")

    async def fail(self, error: BaseException) -> None:
        """Close, and say the same from now on. (Law 5)"""
        if isinstance(error, Exception):
            self._failure, reason = error, cast(EndReason, getattr(error, "end_reason", "error"))
        else:
            self._failure, reason = StreamInterrupted(INTERRUPTED), "cancelled"
        self.end = self.end or StreamEnd(reason)
        await self.aclose(because=error)

    def _closing(self) -> list[Callable[[], Awaitable[None]]]:
        from streamkit.stage import AsyncStage

        stages = [level.stage for level in self.levels]
        return [*(stage.close for stage in reversed(stages) if isinstance(stage, AsyncStage)), self.source.close]

    def __del__(self) -> None:
        if not self.opened or self._closed or sys.is_finalizing():
            return
        # trio warns by itself when it takes over the guard.
        if not getattr(sys.get_asyncgen_hooks().finalizer, "__module__", "").startswith("trio"):
            warnings.warn(
                "a stream was dropped before its end; use `async with`", ResourceWarning, source=self, stacklevel=2
            )

    # Cancelling

    def cancel(self) -> None:
        if self.end is None:
            self._cancelled = True
            if self._scope:
                self._scope.cancel()

    # Iterating

    def __aiter__(self) -> "AsyncIterator[Out | StreamEnd]":
        return self

    async def __anext__(self) -> "Out | StreamEnd":
        for item in self._ready:
            return item
        return await self._pull()

    async def _pull(self) -> "Out | StreamEnd":
        if self._busy:
            raise PipelineError(
                "another task is waiting for this stream's next item; a stream has one consumer, "
                "for a second one use streamkit.hops.tee"
            )
        self._busy = True
        try:
            while not self._finished:
                self._ready = iter(await self._produce())
                for item in self._ready:
                    return item
        finally:
            self._busy = False
        if self._failure:
            raise self._failure
        raise StopAsyncIteration

    async def _produce(self) -> Iterable[Any]:
        try:
            with anyio.CancelScope() as self._scope:
                while not self._cancelled:
                    if not self.opened:
                        await self.open(guarded=True)
                    produced = await self._step()
                    if produced or self._finished:
                        return produced
        # A cancellation from outside too: it cut a read in two. (Law 5)
        except BaseException as error:
            await self.fail(error)
            raise
        finally:
            self._scope = None
        await self._conclude(StreamEnd("cancelled"))
        return [self.end]

    async def _step(self) -> list[Any]:
        # The deepest work first: whatever was produced is delivered before more is read, or a failure raised. (Law 1)
        for depth in reversed(range(len(self.levels))):
            if self.levels[depth].waiting:
                return await self._advance(depth, self._feed)
        if self._failure:
            raise self._failure
        if not self._exhausted:
            await self._read()
            return []
        for depth, level in enumerate(self.levels):
            if not level.flushed:
                return await self._advance(depth, self._flush)
        await self._conclude(StreamEnd("completed"))
        return []

    async def _read(self) -> None:
        burst = await self.source.read()
        if not burst:
            self._exhausted = True
            return
        if self._framing:
            self._frame(burst[0], self._framing)
            self._framing = None
        self.levels[0].waiting.extend(burst)

    def _frame(self, first: object, framing: "Callable[[], Stage[bytes, Any] | None]") -> None:
        from streamkit.stage import Pipeline

        if isinstance(first, bytes | bytearray | memoryview) and (stage := framing()):
            head = self.levels[0].stage
            if isinstance(head, Pipeline):
                head.stages = (stage, *head.stages)
            else:
                self.levels.insert(0, _Level(Pipeline((stage,))))

    async def _advance(self, depth: int, work: "Callable[[_Level, list[Any]], Awaitable[None]]") -> list[Any]:
        level, produced = self.levels[depth], list[Any]()
        failed = False
        try:
            await work(level, produced)
        except Exception as error:
            failed, self._failure = True, error
            self._abandon(self.levels[: depth + 1])
        if level.stage.done and not level.flushed:
            await self._stop_reading(depth, failed)
        if depth + 1 < len(self.levels):
            self.levels[depth + 1].waiting.extend(produced)
            return []
        if self._exhausted:
            self.end = next((item for item in reversed(produced) if isinstance(item, StreamEnd)), self.end)
        return produced

    async def _feed(self, level: _Level, produced: list[Any]) -> None:
        from streamkit.stage import Pipeline

        if self._timed:
            self._tick([level])
        if isinstance(stage := level.stage, Pipeline):
            burst = list(level.waiting)
            level.waiting.clear()
            produced.extend(stage.feed_all(burst))
        else:
            produced.extend(await _named(stage, stage.feed(level.waiting.popleft())))

    async def _flush(self, level: _Level, produced: list[Any]) -> None:
        from streamkit.stage import Pipeline

        level.flushed = True
        if isinstance(stage := level.stage, Pipeline):
            produced.extend(stage.flush())
        else:
            produced.extend(await _named(stage, stage.flush()))

    async def _stop_reading(self, depth: int, failed: bool) -> None:
        # Whatever the stages further up still have, or failed at, lies behind the end that this stage has set.
        if not failed:
            self._failure = None
        self._abandon(self.levels[: depth + 1])
        for level in self.levels[:depth]:
            level.flushed = True
        self._exhausted = True
        await _close_all([self.source.close])

    def _abandon(self, levels: list[_Level]) -> None:
        for level in levels:
            level.waiting.clear()

    def _tick(self, levels: list[_Level]) -> None:
        now = self.source.now()
        for level in levels:
            level.stage.tick(now)

    async def _conclude(self, end: StreamEnd) -> None:
        self.end = self.end or end
        await self.aclose()


async def _named(stage: "AsyncStage[Any, Any]", work: Awaitable[Iterable[Any]]) -> Iterable[Any]:
    try:
        return await work
    except Exception as error:
        error.add_note(f"in stage {type(stage).__name__}")
        raise


async def _close_all(closing: list[Callable[[], Awaitable[None]]]) -> None:
    failures: list[Exception] = []
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        for close in closing:
            try:
                await close()
            except Exception as error:
                failures.append(error)
    if len(failures) > 1:
        raise ExceptionGroup("closing the stream failed", failures)
    if failures:
        raise failures[0]


async def _guard(closing: list[Callable[[], Awaitable[None]]]) -> AsyncGenerator[None, None]:
    # The event loop finalizes async generators that are dropped, or that are left when it shuts down. This one lends that
    # service to a stream without `async with`, and so the stream needs no task of its own.
    try:
        yield
    finally:
        await _close_all(closing)
