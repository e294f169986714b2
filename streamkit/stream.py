"""A running pipeline over a source: an async iterator and an async context manager.

It owns no task. Everything happens inside the consumer's own `__anext__`: items that are there are handed out without a
detour; when there are none, the deepest stage that still has input works first, and only when nothing is left to do is the
source read, one `await` for all that one network read brings.
"""

import sys
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio

from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import Completion, EndReason, StreamEnd, TextDelta
from streamkit.source import Source, broke_off
from streamkit.state import Checkpoint, Level, fitting, pack, unfit, unpack

if TYPE_CHECKING:
    from types import TracebackType

    from streamkit.figures import Figures
    from streamkit.stage import AsyncStage, Joinable, Pipeline, Stage

Out = TypeVar("Out", covariant=True)
Next = TypeVar("Next")
A = TypeVar("A")
CLOSE_SECONDS = 5.0
"""How long a stage or the source may take to close; after that the stream lets go of it without having heard from it."""
INTERRUPTED = (
    "a read was cancelled from outside (by a timeout around the consumer?), so that this stream can't go on; "
    "what it delivered is not complete"
)


class Stream(Generic[Out]):
    """One run of a pipeline. Use it with `async with`, or iterate it to its end; both close the source.

    It has one consumer. Every way out of `async with` closes the source before control returns. If the iteration is left
    early without `async with`, the source is closed when the iterator is dropped, with one `ResourceWarning`.
    """

    def __init__(
        self, source: Source[Any], pipeline: "Joinable[Any, Out]", checkpoint: dict[str, Any] | None = None
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._checkpoint = checkpoint
        self._run = _Run[Out](source, pipeline, checkpoint)
        self._taken = False

    def __or__(self, following: "Stage[Out, Next] | AsyncStage[Out, Next]") -> "Stream[Next]":
        """The stream with one more stage, so that `source | stage | stage` reads as it should. Not after it was opened."""
        if self._run.opened:
            raise PipelineError("this stream is open already: join all stages before you use it")
        pipeline: Any = self._pipeline
        return Stream(self._source, pipeline | following, self._checkpoint)

    @property
    def source(self) -> Source[Any]:
        """What the stream reads from."""
        return self._source

    @property
    def end(self) -> StreamEnd | None:
        """Why the stream ended; `None` while it has not."""
        return self._run.end

    def stage(self, kind: type[A]) -> A:
        """This run's own copy of the stage of that class, to read its state. `PipelineError` if there is none."""
        from streamkit.stage import find_stage

        return find_stage([part for level in self._run.levels for part in level.stage.parts()], kind)

    @property
    def figures(self) -> "list[Figures]":
        """What each stage did so far, in a stream over a pipeline that is `measured()`. After a retry, of the last try."""
        from streamkit.figures import figures_of

        return figures_of([part for level in self._run.levels for part in level.stage.parts()])

    async def collect(self) -> "list[Out | StreamEnd]":
        """Read to the end, and give all items. What a failed stream delivered before its error is lost with it."""
        return [item async for item in self]

    async def text(self, index: int = 0) -> str:
        """Read to the end, and give the text of one choice: all that came. `end` tells whether it is complete.

        A pipeline that gives no events raises `PipelineError` before anything is sent.
        """
        gives = self._pipeline.parts()[-1].item_types()[1]
        if gives is not None and not any(issubclass(TextDelta, kind) for kind in gives):
            names = ", ".join(kind.__name__ for kind in gives[:3])
            raise PipelineError(
                f"text() needs a pipeline that gives TextDelta, as after Extract(); this one gives {names}"
            )
        pieces: list[str] = []
        async for item in self:
            if isinstance(item, TextDelta) and item.index == index:
                pieces.append(item.text)
        return "".join(pieces)

    async def final(self) -> Completion:
        """Read to the end, and give the last `Completion`; its `end` tells whether it is complete.

        Without a stage that makes one it raises `PipelineError` before anything is sent. A stream that fails raises its
        error, and one that was cancelled `StreamInterrupted`; what came before is in `stream.stage(Accumulate).snapshot`.
        """
        if not any(part.completes for part in self._pipeline.parts()):
            raise PipelineError("final() needs a stage that makes a Completion: join Accumulate() to the pipeline")
        completion: Completion | None = None
        async for item in self:
            if isinstance(item, Completion):
                completion = item
        if completion is None:
            if self.end and self.end.reason == "cancelled":
                raise StreamInterrupted("the stream was cancelled before its Completion came")
            raise PipelineError("a stage after the one that makes a Completion drops it")
        return completion

    def checkpoint(self) -> dict[str, Any]:
        """All that this run knows, between two items, as plain data: `pipeline.open(rest, checkpoint=…)` goes on with it.

        `received` in it tells how much of the source was read, in bytes or else in items; the new source begins behind that.
        It holds what the stages hold, text that waits for moderation too. `PipelineError` if the stream has ended, or another
        task is waiting for the next item.
        """
        return self._run.checkpoint()

    def cancel(self) -> None:
        """End the stream early, from any task of the same event loop.

        What was already produced is still delivered, then `StreamEnd(reason="cancelled")`; a consumer that waits is woken.
        The source is closed before that last item is delivered.
        """
        self._run.cancel()

    async def aclose(self) -> None:
        """Close the source, and end the iteration if another task is at it. Does nothing the second time."""
        await self._run.leave()

    async def __aenter__(self) -> "Stream[Out]":
        await self._run.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self._run.leave(because=error)

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
        from streamkit.stage import Pipeline

        self.stage = stage
        self.fused = stage if isinstance(stage, Pipeline) else None
        self.waiting: deque[Any] = deque()
        self.flushed = False
        self.checked = False  # whether an async stage has had an item


class _Run(AsyncIterator["Out | StreamEnd"]):
    def __init__(
        self, source: Source[Any], pipeline: "Joinable[Any, Any]", checkpoint: dict[str, Any] | None = None
    ) -> None:
        from streamkit.stage import hears_time

        self.opened = False
        self._closed = False
        self._drains = False  # the source stays open until it was drained
        self._ended = False  # nothing changes the end any more
        self.source = source
        self.levels: list[_Level] = []
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._end: StreamEnd | None = None
        self._pipeline = pipeline
        self._framed: bool | None = None  # whether a stage had to be put first; `None` before anything came
        self._received = 0
        self._timed = any(map(hears_time, pipeline.parts()))
        self._opened_at = 0.0
        self._delivered = False
        self._restored = False
        self._begin()
        self._ready: Iterator[Out | StreamEnd] = iter(())
        self._failure: Exception | None = None
        self._unclosed: Exception | None = None
        self._exhausted = False  # nothing more will be read
        self._finished = False  # nothing more will be produced
        self._busy = False
        self._cancelled = False
        self._scope: anyio.CancelScope | None = None
        self._idle: anyio.Event | None = None
        self._guard: AsyncGenerator[None, None] | None = None
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def end(self) -> StreamEnd | None:
        # It came with the last burst; while the consumer has not seen all of that, the stream has not ended.
        return None if length_hint(self._ready) else self._end

    # Opening and closing

    async def open(self, *, guarded: bool) -> None:
        if self.opened:
            return
        if self.source.used:
            raise PipelineError("this source was opened before; make a new one for each stream")
        self.opened = self.source.used = True
        if guarded:
            self._guard = _guard(self._closing)
            await anext(self._guard)
        if self.source.watches_content and all(
            part.heard is None for level in self.levels for part in level.stage.parts()
        ):
            raise PipelineError("deadlines on content need a stage that knows content when it passes, such as Extract")
        self._opened_at = self.source.now()
        self._tick(self.levels, self._opened_at)
        await self._open_source()

    async def _open_source(self) -> None:
        while True:
            try:
                return await self.source.open()
            except Exception as error:
                if not await self.source.again(error):
                    raise

    async def enter(self) -> None:
        if self._closed:
            raise PipelineError("this stream is closed; open another one")
        try:
            with anyio.CancelScope() as self._scope:
                if not self._cancelled:
                    await self.open(guarded=False)
        except BaseException as error:
            await self.fail(error)
            raise
        finally:
            self._scope = None

    def _begin(self) -> None:
        from streamkit.stage import AsyncStage, segments

        self.levels = [_Level(stage) for stage in segments(self._pipeline)]
        stages = [level.stage for level in reversed(self.levels)]
        # In place, since the guard has this list.
        self._closing[:] = [*(stage.close for stage in stages if isinstance(stage, AsyncStage)), self.source.close]
        self._framed, self._received = None, 0
        self._passed: StreamEnd | None = None  # the end of the answer, as the deepest stage had it that gave it on

    async def _try_again(self, error: Exception) -> bool:
        # Only while nothing was released: what was, can't be taken back.
        if self._delivered or not await self.source.again(error):
            return False
        await close_all(self._closing[:-1])
        self._begin()
        self._exhausted, self._failure, self._end = False, None, None
        self._tick(self.levels, self._opened_at)
        await self._open_source()
        return True

    async def leave(self, because: BaseException | None = None) -> None:
        """Close from outside the iteration."""
        if self._busy:
            # Another task waits for the next item. It is woken and closes the source, and this one waits for that.
            self.cancel()
            self._idle = self._idle or anyio.Event()
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._idle.wait()
        await self.aclose(because)

    async def aclose(self, because: BaseException | None = None) -> None:
        if self._closed:
            return
        self._end = self.end or StreamEnd("cancelled")
        self._ready = iter(())
        self._closed = self._finished = self._exhausted = True
        guard, self._guard = self._guard, None
        if not self.opened:
            return
        try:
            if self._drains and because is None:
                await self._drain(guard)
            await self._close(guard)
            if self._unclosed:
                raise self._unclosed
        except Exception as error:
            if because is None:
                raise
            because.add_note(f"and closing the stream failed: {type(error).__name__}: {error}")

    async def _drain(self, guard: AsyncGenerator[None, None] | None) -> None:
        # The end was delivered; a connection that can't be used again changes nothing about it.
        try:
            with anyio.move_on_after(CLOSE_SECONDS), suppress(Exception):
                await self.source.drain()
        except BaseException:
            # Cancelled after the end, which stays what it is.
            self._ended = True
            await self._close(guard)
            raise

    async def _close(self, guard: AsyncGenerator[None, None] | None) -> None:
        # Not by the guard, in which a stage's `close` would find its GeneratorExit in place of the failure that ends the run.
        closing = self._closing.copy()
        self._closing.clear()
        try:
            await close_all(closing)
        finally:
            if guard:
                await guard.aclose()

    async def fail(self, error: BaseException) -> None:
        """Close, and say the same from now on. (Law 5)"""
        if isinstance(error, Exception):
            self._failure, reason = error, cast(EndReason, getattr(error, "end_reason", "error"))
        else:
            self._failure, reason = StreamInterrupted(INTERRUPTED), "cancelled"
        if not self._ended:
            self._end = StreamEnd(reason)
        if isinstance(error, GeneratorExit):
            # The consumer's coroutine was dropped in mid-read and may not wait any more; the guard is left to close.
            self._finished = True
        else:
            await self.aclose(because=error)

    def __del__(self) -> None:
        if not self.opened or self._closed or sys.is_finalizing():
            return
        # trio warns by itself when it takes over the guard.
        if not getattr(sys.get_asyncgen_hooks().finalizer, "__module__", "").startswith("trio"):
            warnings.warn(
                "a stream was dropped before its end; use `async with`", ResourceWarning, source=self, stacklevel=2
            )
        # Whoever records warnings keeps this object; the source is closed all the same.
        self._guard = None

    # Checkpoints

    def checkpoint(self) -> dict[str, Any]:
        if self._busy:
            raise PipelineError("a checkpoint is taken between two items, but another task is waiting for the next one")
        ready = list(self._ready)
        self._ready = iter(ready)
        if self._failure or (self._finished and not ready):
            raise PipelineError("this stream has ended, so that there is nothing to go on with")
        levels = [Level(level.stage.state(), pack(level.waiting), level.flushed) for level in self.levels]
        return Checkpoint(
            self._names(),
            self._received,
            self._framed,
            self._exhausted,
            levels,
            pack(ready),
            pack([self._end, self._passed]),
        ).to_dict()

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self._restored = True
        known = Checkpoint.from_dict(checkpoint, self._names())
        with fitting("this pipeline"):
            if known.framed is not None:
                self._frame(known.framed)
            for level, saved in zip(self.levels, known.levels, strict=True):
                level.stage.restore(saved.state)
                level.waiting.extend(unpack(saved.waiting))
                level.flushed = saved.flushed
            self._received, self._exhausted, self._ready = known.received, known.exhausted, iter(unpack(known.ready))
            self._end, self._passed = unpack(known.end)
        # What was given to the consumer can't be taken back.
        self._delivered = True

    def _names(self) -> list[str]:
        return [type(part).__name__ for part in self._pipeline.parts()]

    # Cancelling

    def cancel(self) -> None:
        # Once the last event is there only a consumer that still waits, for what a stage has left, needs to be woken.
        if self._end is None or self._scope:
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
                    self._delivered = True
                    return item
        finally:
            self._busy = False
            if self._idle:
                self._idle.set()
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
            if self._ended:
                return []
            self._end = StreamEnd("cancelled")
            await self.aclose()
            return [self._end]
        except StopAsyncIteration as error:
            # `async for` would take it for the end; generators do the same with theirs. (PEP 479, law 5)
            failure = RuntimeError("a stage or the source raised StopAsyncIteration")
            failure.__cause__ = error
            await self.fail(failure)
            raise failure from error
        # A cancellation from outside too: it cut a read in two. (Law 5)
        except BaseException as error:
            told = unfit(error) if self._restored and isinstance(error, Exception) else error
            await self.fail(told)
            if told is not error:
                raise told from None
            raise
        finally:
            self._scope = None

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
        # A stage that writes the answer out gives no `StreamEnd` on; what it ended with is true all the same. (Law 5)
        self._end = self._end or self._passed or StreamEnd("completed")
        await self.aclose()
        return []

    async def _read(self) -> None:
        try:
            burst = await self.source.read()
        except Exception as error:
            if not self._is_end(error):
                if await self._try_again(error):
                    return
                raise
            burst = ()
        if not burst:
            self._exhausted = True
            return
        if self._framed is None:
            from streamkit.stage import unframed

            self._frame(unframed(burst[0]))
        self._received += amount(burst)
        self.levels[0].waiting.extend(burst)

    def _is_end(self, error: Exception) -> bool:
        # The answer is complete, and what broke off is a body without its end marker.
        return broke_off(error) and any(part.answered for level in self.levels for part in level.stage.parts())

    def _frame(self, unframed: bool) -> None:
        from streamkit.stage import Pipeline

        stage = self._pipeline.framing() if unframed else None
        self._framed = stage is not None
        if stage and (head := self.levels[0].fused):
            head.stages = (stage, *head.stages)
        elif stage:
            self.levels.insert(0, _Level(Pipeline((stage,))))

    async def _advance(self, depth: int, work: "Callable[[_Level, list[Any]], Awaitable[None]]") -> list[Any]:
        level, produced = self.levels[depth], list[Any]()
        failed = False
        try:
            await work(level, produced)
        except Exception as error:
            if await self._try_again(error):
                return []
            failed, self._failure = True, unfit(error) if self._restored else error
            self._abandon(self.levels[: depth + 1])
        ended = level.fused.ended if level.fused else last_end(produced)
        self._passed = ended or self._passed
        if level.stage.done and not level.flushed:
            self._drains = bool(ended and ended.saw_done) and not failed and self.source.undrained
            await self._stop_reading(depth, failed)
        if depth + 1 < len(self.levels):
            self.levels[depth + 1].waiting.extend(produced)
            return []
        # The last event of a burst, and of what is left at the end any: a stage may add to it in `flush`.
        self._end = last_end(produced if self._exhausted else produced[-1:]) or self._end
        return produced

    async def _feed(self, level: _Level, produced: list[Any]) -> None:
        # The first level takes what was read just now; that moment is also the first byte's, for all.
        self._tick(self.levels if level is self.levels[0] else [level], None)
        if pipeline := level.fused:
            burst = list(level.waiting)
            level.waiting.clear()
            produced.extend(pipeline.feed_all(burst))
            if self.source.watches_content or level is not self.levels[-1]:
                self._listen(level, pipeline)
        else:
            item = level.waiting.popleft()
            await _produce(level, item, lambda stage: stage.feed(item), produced)

    def _listen(self, level: _Level, pipeline: "Pipeline[Any, Any]") -> None:
        for part in pipeline.stages:
            if part.heard:
                # It is about this burst; the next one may not even reach that stage.
                part.heard = False
                if self.source.watches_content:
                    self.source.heard_content()
                following = self.levels[self.levels.index(level) + 1 :]
                self._tick(following, None)
                for deeper in following:
                    deeper.stage.heard_content()

    async def _flush(self, level: _Level, produced: list[Any]) -> None:
        level.flushed = True
        # The end is told its time too, unless nothing ever came.
        if self._framed is not None:
            self._tick([level], None)
        if pipeline := level.fused:
            produced.extend(pipeline.flush())
        else:
            await _produce(level, None, lambda stage: stage.flush(), produced)

    async def _stop_reading(self, depth: int, failed: bool) -> None:
        # Whatever the stages further up still have, or failed at, lies behind the end that this stage has set.
        if not failed:
            self._failure = None
        self._abandon(self.levels[: depth + 1])
        for level in self.levels[:depth]:
            level.flushed = True
        self._exhausted = True
        if self._drains:
            return
        try:
            await close_all([self.source.close])
        except Exception as error:
            # The answer is complete; this is raised when all of it was delivered.
            self._unclosed = error

    def _abandon(self, levels: list[_Level]) -> None:
        for level in levels:
            level.waiting.clear()

    def _tick(self, levels: list[_Level], at: float | None) -> None:
        if self._timed and (at is not None or self.source.timed):
            now = self.source.now() if at is None else at
            for level in levels:
                level.stage.tick(now)


def amount(burst: Sequence[Any]) -> int:
    """How much a read brought: bytes, or else items."""
    return sum(map(len, burst)) if isinstance(burst[0], bytes | bytearray | memoryview) else len(burst)


def last_end(items: Sequence[Any]) -> StreamEnd | None:
    """The last end of an answer among the items."""
    return next((item for item in reversed(items) if isinstance(item, StreamEnd)), None)


async def _produce(
    level: _Level, item: Any, work: "Callable[[AsyncStage[Any, Any]], Awaitable[Iterable[Any]]]", produced: list[Any]
) -> None:
    from streamkit.stage import check_first, explained

    stage = cast("AsyncStage[Any, Any]", level.stage)
    try:
        if not (level.checked or level.flushed):
            level.checked = True
            check_first(stage, item)
        produced.extend(await work(stage))
    except Exception as error:
        failure = explained(error, stage, (item,))
        raise failure from failure.__cause__


async def close_all(closing: list[Callable[[], Awaitable[None]]]) -> None:
    """Call all of them, also if one fails or hangs. Several failures are raised as a group."""
    failures: list[Exception] = []
    for close in closing:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
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
        await close_all(closing)
