"""The driver of an engine over a source: the iterator of a stream.

It owns no task. Everything runs inside the consumer's `__anext__`: items that are ready are returned immediately; if there are
none, the engine determines the next action. The source is read only if nothing else is left to do, with one `await` for all data
of one network read.
"""

import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from inspect import iscoroutinefunction
from operator import length_hint
from types import GeneratorType, coroutine
from typing import Any, Generic, TypeVar, cast

from streamkit.core.checkpoint import Checkpoint, fitting, pack, unpack
from streamkit.core.engine import Engine, Todo, fresh
from streamkit.core.source import BYTES, Source, amount, broke_off
from streamkit.core.timer import Timer
from streamkit.core.waiting import Expired, Interrupted, Waiting, waiting
from streamkit.errors import DeadlineExceeded, PipelineError, StreamInterrupted
from streamkit.events import EndReason, StreamEnd

Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
CLOSE_SECONDS = 5.0
"""Timeout for closing a stage or the source; after it the stream continues without waiting for it."""
DRAIN_SECONDS = 0.25
"""Timeout for reading the rest of the source after the end marker."""
BURST_BYTES = 128 * 1024
"""The number of bytes read from a source that always has data before the stream yields to other tasks."""
BURST_ITEMS = 64
"""The same for a source of other items."""
INTERRUPTED = (
    "a read was cancelled from outside (by a timeout around the consumer?), so this stream can't continue; "
    "the items delivered so far are incomplete"
)


class Reading(AsyncIterator["Out | StreamEnd"], Generic[Out]):
    """The items of one run. Created by `Stream`; its consumer receives it from `aiter`."""

    def __init__(
        self,
        source: Source[Any],
        stages: Sequence[Any],
        checkpoint: dict[str, Any] | None,
        place: tuple[int, int] | None = None,
    ) -> None:
        self._source = source
        self._place = place or (0, len(stages))
        self._stages = tuple(stages)
        self._ready: Iterator[Out | StreamEnd] = iter(())
        self._end: StreamEnd | None = None
        self._fast = False  # whether `__anext__` may run the next step on the fast path
        self._quick = False  # whether this stream can use the fast path at all
        self._steps: GeneratorType[Any, Any, None] | None = None
        self._advance: Callable[[None], Any]  # runs the next step of `_steps`
        self._resume: Callable[..., Awaitable[Sequence[Any]]]  # awaits the rest of a step that has to wait
        self._read: Callable[[], Any] = source.read
        self._single = False  # whether `_read` returns one item instead of a sequence
        self.opened = self.closed = False
        self._dropped = self._delivered = self._busy = self._cancelled = False
        self._drains = False  # whether the source stays open until it is drained
        self._ended = False  # whether the end is final
        self._failure: Exception | None = None
        self._unclosed: Exception | None = None
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._guard: AsyncGenerator[None, None] | None = None
        self._idle: Any = None
        self._waiting: Waiting | None = None
        self._timer: Timer | None = None
        self.engine = self._begin()
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def end(self) -> StreamEnd | None:
        """The end of the stream; `None` until it has ended and the consumer has read all items."""
        return None if length_hint(self._ready) else self._end

    def cancel(self) -> None:
        """End the run early; see `Stream.cancel`."""
        # After the last event, only a consumer that is still waiting for the rest of a stage's output must be woken.
        if self._end is None or self._in_use or self._ended:
            self._cancelled, self._fast = True, False
            if self._waiting:
                self._waiting.interrupt()

    async def enter(self) -> None:
        """Open the source unless it is open already."""
        if self.closed:
            raise PipelineError("this stream is closed; open another one")
        try:
            if not (self.opened or self._cancelled):
                await self._open(guarded=False)
                self._rest()
        except Interrupted:
            return  # the first read ends as cancelled
        except BaseException as error:
            await self._fail(error)
            raise

    async def leave(self, because: BaseException | None) -> None:
        """Close the stream, even while another task is waiting for an item."""
        if self._in_use:
            import anyio

            # Wake the reader, which closes the source, and wait for that.
            self.cancel()
            self._idle = self._idle or anyio.Event()
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._idle.wait()
        await self._shut(because)

    async def aclose(self) -> None:
        """Close as `Stream.aclose` does, for callers that only have the iterator."""
        await self.leave(None)

    def __aiter__(self) -> "Reading[Out]":
        return self

    # Reading

    async def __anext__(self) -> "Out | StreamEnd":
        for item in self._ready:
            return item
        failed: BaseException | None = None
        while self._fast:
            try:
                items = self._advance(None)
                if items.__class__ is not list and items.__class__ is not tuple:
                    self._busy, self._fast = True, False
                    try:
                        items = await self._resume(self._steps, items, interrupted=self._cancelled)
                    finally:
                        self._rest()
                        self._intake.set_next_yield()
            except Interrupted:
                break  # `_pull` ends the run
            except GeneratorExit as error:
                await self._fail(error)
                raise
            except BaseException as error:
                failed = error
                break
            if items.__class__ is tuple or self._cancelled:
                return await self._pull(None, items)
            if items:
                self._delivered = True
                if len(items) > 1:
                    self._ready = ready = iter(items)
                    next(ready)
                return items[0]  # type: ignore[no-any-return]
        # Called outside of `except`, because a stage's `close` may inspect the exception that is being handled.
        return await self._pull(failed, None)

    def _prepare(self) -> None:
        steps = _steps(self.engine, self._read, self._single, self._intake)
        self._steps = cast("GeneratorType[Any, Any, None]", steps)
        self._advance = self._steps.send
        next(self._steps)

    @property
    def _in_use(self) -> bool:
        # Whether a task is waiting for the next item, or a stage or the source calls this from inside a step.
        return self._busy or (self._steps is not None and self._steps.gi_running)

    def _rest(self) -> None:
        self._busy, self._fast = False, self._quick and not (self._cancelled or self.closed or self._dropped)

    async def _pull(self, failed: BaseException | None, items: Sequence[Any] | None) -> "Out | StreamEnd":
        # The slow path: everything that may wait, end or fail. `failed` is the exception that a step of the fast path raised,
        # `items` the result of such a step.
        if self._in_use:
            raise PipelineError(
                "another task is waiting for this stream's next item; a stream has one consumer, "
                "for a second one use streamkit.hops.tee"
            )
        self._busy, self._fast = True, False
        if failed is not None:
            self._prepare()
        if self._timer:
            self._timer.resume(self._now())
        try:
            while not (self.closed or self._dropped):
                items = await self._step(failed, items)
                if items:
                    self._delivered = True
                    self._ready = ready = iter(items)
                    for item in ready:
                        return cast("Out", item)
                failed = items = None
        # This includes a cancellation from outside: it interrupted a read, so data may be lost. (Law 5)
        except BaseException as error:
            await self._fail(error)
            raise
        finally:
            if self._timer:
                self._timer.pause(self._now())
            self._rest()
            if self._idle:
                self._idle.set()
        if self._failure:
            raise self._failure
        raise StopAsyncIteration

    async def _step(self, failed: BaseException | None, items: Sequence[Any] | None) -> Sequence[Any]:
        """Perform the engine's next action and return items for the consumer. No items and a closed stream are the end."""
        try:
            if not self._cancelled or failed is not None or items is not None:
                return await self._proceed(failed, items)
        except Interrupted:
            pass
        if self._ended:
            await self._shut(None)
            return []
        self._end = StreamEnd("cancelled")
        await self._shut(None)
        return [self._end]

    async def _proceed(self, failed: BaseException | None, items: Sequence[Any] | None) -> Sequence[Any]:
        if not self.opened:
            await self._open(guarded=True)
        engine = self.engine
        if items is None:
            items = await self._work(engine, failed)
        if self._timer and engine.content:
            self._timer.content(self._now())
        if engine.failure and await self._try_again(engine.failure):
            return []
        if engine.todo is Todo.CLOSE:
            await self._stop_reading(engine)
        if engine.end and engine.todo is not Todo.CALL and not engine.working:
            self._end = engine.end
        if not items and engine.todo is Todo.END:
            if engine.failure:
                raise engine.failure
            self._end = engine.end or StreamEnd("completed")
            await self._shut(None)
        return items

    async def _work(self, engine: Engine, failed: BaseException | None) -> list[Any]:
        if failed is not None and not isinstance(failed, Exception):
            raise failed
        match engine.todo:
            case Todo.READ:
                return await self._read_once(engine, failed)
            case Todo.CALL:
                return await self._call(engine)
            case Todo.CLOSE:
                return await self._stop_reading(engine)
            case Todo.CONTINUE:
                if engine.working:
                    await self._wait(self._yield_to_tasks(), reading=False)
                return engine.proceed()
            case Todo.END:
                return []

    async def _read_once(self, engine: Engine, failed: Exception | None) -> list[Any]:
        if failed is None and self._intake.count >= self._intake.yield_at:
            await self._wait(self._yield_to_tasks(), reading=False)
        try:
            if failed is not None:
                raise failed
            burst = await self._wait(self._read(), reading=True)
            if self._single:
                burst = [burst]
        except StopAsyncIteration as end:
            return engine.receive(None) if self._single else engine.fail(end)
        except Exception as error:
            if isinstance(error, Interrupted):
                raise
            # The answer is complete: only the end marker of the body is missing.
            return engine.receive(None) if broke_off(error) and engine.answered else engine.fail(error)
        return engine.receive(self._intake.add(burst) if burst else None)

    async def _call(self, engine: Engine) -> list[Any]:
        try:
            returned = await self._wait(engine.call(), reading=False)
        except Exception as error:
            if isinstance(error, Interrupted):
                raise
            return engine.refuse(error)
        return engine.answer(returned)

    async def _yield_to_tasks(self) -> None:
        # A source that always has data would otherwise block all other tasks and the consumer's timeouts.
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        self._intake.set_next_yield()

    async def _wait(self, work: Awaitable[A], *, reading: bool) -> A:
        assert self._waiting is not None, "nothing is awaited before the stream is opened"
        if self._timer is None:
            return await self._waiting.run(work)
        try:
            deadline = self._timer.nearest(self._now(), reading=reading)
        except DeadlineExceeded:
            cast("Any", work).close()
            raise
        try:
            return await self._waiting.run(work, deadline.rest if deadline else None)
        except Expired:
            assert deadline is not None
            raise self._timer.exceeded(deadline) from None

    @staticmethod
    def _now() -> float:
        import anyio

        return anyio.current_time()

    # Opening

    def _begin(self) -> Engine:
        stages = [fresh(stage) for stage in self._stages]
        deadlines = self._source.deadlines
        watch = deadlines is not None and (deadlines.first_content is not None or deadlines.idle_content is not None)
        # Changed in place, since the guard refers to this list.
        self._closing[:] = [*(stage.close for stage in reversed(stages) if stage.waits), self._source.close]
        self._intake = _Intake()
        return Engine(stages, self._source.now, watch_content=watch, place=self._place)

    async def _open(self, *, guarded: bool) -> None:
        source = self._source
        if source.used:
            raise PipelineError("this source was already opened; create a new one for each stream")
        self.opened = source.used = True
        self._waiting = waiting()
        self._resume = self._waiting.resume
        if source.deadlines is not None and source.deadlines.in_stream:
            self._timer = Timer(source.deadlines, repr(source))
        if guarded:
            self._guard = _guard(self._closing)
            await anext(self._guard)
        self.engine.begin()
        await self._open_source()

    async def _open_source(self) -> None:
        if self._timer:
            self._timer.start(self._now())
        while True:
            try:
                await self._wait(self._source.open(), reading=False)
                break
            except Interrupted:
                raise
            except Exception as error:
                if not await self._wait(self._source.again(error), reading=False):
                    raise
        if not self._source.timed:
            self.engine.untime()
        if (items := self._source.items()) is not None:
            self._read, self._single = items.__anext__, True
        self._quick = (
            cast("Waiting", self._waiting).steps
            and self._timer is None
            and (self._single or iscoroutinefunction(self._read))
        )
        if self._quick:
            self._prepare()

    async def _try_again(self, error: Exception) -> bool:
        # Retry only if nothing was delivered: delivered items can't be withdrawn.
        if self._delivered or not await self._wait(self._source.again(error), reading=False):
            return False
        try:
            raise error  # so that `close` of a stage sees the error that ended this attempt
        except Exception:
            await close_all(self._closing[:-1])
        self.engine = self._begin()
        self.engine.begin()
        await self._open_source()
        return True

    # Closing

    async def _stop_reading(self, engine: Engine) -> list[Any]:
        end = engine.end
        # After the end marker the provider generates nothing more, and draining makes the connection reusable.
        self._drains = end is not None and end.saw_done and engine.failure is None and self._source.undrained
        if not self._drains:
            # Close now: the provider bills all tokens that it generates from here on.
            self._closing.remove(self._source.close)
            try:
                await close_all([self._source.close])
            except Exception as error:
                # The answer is complete; this error is raised after all of it was delivered.
                self._unclosed = error
        return engine.closed()

    async def _drain_or_close(self, guard: AsyncGenerator[None, None] | None) -> None:
        try:
            await self._drain()
        except BaseException:
            # Cancelled after the end, which does not change it.
            await self._close(guard)
            raise

    async def _drain(self) -> None:
        import anyio

        # The end was delivered; a cancellation from here on does not change it.
        self._ended = True

        with anyio.move_on_after(DRAIN_SECONDS):
            try:
                await cast("Waiting", self._waiting).run(self._source.drain())
            except Exception:
                # The answer is complete: an error of the connection after the end marker does not matter.
                return

    async def _shut(self, because: BaseException | None) -> None:
        if self.closed:
            return
        self._end = self.end or StreamEnd("cancelled")
        self._ready = iter(())
        self.closed, self._fast = True, False
        guard, self._guard = self._guard, None
        if not self.opened:
            return
        try:
            if because is None and self._drains:
                await self._drain_or_close(guard)
            await self._close(guard)
            if self._unclosed:
                raise self._unclosed
        except Exception as error:
            if because is None:
                raise
            because.add_note(f"and closing the stream failed: {type(error).__name__}: {error}")

    async def _close(self, guard: AsyncGenerator[None, None] | None) -> None:
        # Not done by the guard, where a stage's `close` would see GeneratorExit instead of the failure that ended the run.
        closing = self._closing.copy()
        self._closing.clear()
        try:
            await close_all(closing)
        finally:
            if guard:
                await guard.aclose()

    async def _fail(self, error: BaseException) -> None:
        """Close the stream, and raise the same error from now on. (Law 5)"""
        if isinstance(error, Exception):
            self._failure, reason = error, cast("EndReason", getattr(error, "end_reason", "error"))
        else:
            self._failure, reason = StreamInterrupted(INTERRUPTED), "cancelled"
        self._ready = iter(())
        if not self._ended:
            self._end = StreamEnd(reason)
        if isinstance(error, GeneratorExit):
            # The consumer's coroutine was dropped during a read and must not await any more; the guard closes the source.
            self._dropped, self._fast = True, False
        else:
            await self._shut(error)

    def __del__(self) -> None:
        if not self.opened or self.closed or sys.is_finalizing():
            return
        # trio warns itself when it finalizes the guard.
        if not getattr(sys.get_asyncgen_hooks().finalizer, "__module__", "").startswith("trio"):
            warnings.warn(
                "a stream was dropped before its end; use `async with`", ResourceWarning, source=self, stacklevel=2
            )
        # Code that records warnings keeps a reference to this object; dropping the guard closes the source anyway.
        self._guard = None

    # Checkpoints

    @property
    def drained(self) -> bool:
        """Whether nothing is pending and the next step is to read; see `Stream.drained`."""
        reads = self.engine.todo is Todo.READ and self.engine.failure is None
        return reads and self.opened and not (self.closed or self._busy or length_hint(self._ready))

    def checkpoint(self) -> dict[str, Any]:
        """The state of this run; see `Stream.checkpoint`."""
        if self._in_use:
            raise PipelineError("a checkpoint is taken between two items, but another task is waiting for the next one")
        ready = [*self._ready, *self.engine.finish()]
        self._ready = iter(ready)
        if self.engine.failure or ((self.closed or self.engine.todo is Todo.END) and not ready):
            raise PipelineError("this stream has ended, so there is nothing to resume")
        return Checkpoint(self._names(), self._intake.count, self.engine.state(), pack(ready)).to_dict()

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        known = Checkpoint.from_dict(checkpoint, self._names())
        with fitting("this pipeline"):
            self.engine.restore(known.run)
            self._intake.count, self._ready = known.received, iter(unpack(known.ready))
        # Items delivered before the checkpoint can't be withdrawn, so there is no retry.
        self._delivered = True

    def _names(self) -> list[str]:
        return [type(stage).__name__ for stage in self._stages]


class _Intake:
    """The amount read, in bytes or else in items, and the amount at which the stream yields to other tasks."""

    def __init__(self) -> None:
        self.count = 0
        self.of_bytes: bool | None = None
        self.yield_at = BURST_ITEMS

    def add(self, burst: Sequence[Any]) -> list[Any]:
        """Count a burst, and return it as a list for the engine."""
        of_bytes = isinstance(burst[0], BYTES)
        if self.of_bytes is None:
            self.of_bytes = of_bytes
            self.set_next_yield()
        self.count += amount(burst) if of_bytes else len(burst)
        return cast("list[Any]", burst) if burst.__class__ is list else list(burst)

    def set_next_yield(self) -> None:
        """Set the next amount at which to yield, after the stream has yielded to other tasks."""
        self.yield_at = self.count + (BURST_BYTES if self.of_bytes else BURST_ITEMS)


@coroutine
def _steps(
    engine: Engine, read: Callable[[], Generator[Any, Any, Any]], single: bool, intake: _Intake
) -> Generator[Any, Any, None]:
    """The fast path as a generator, suspended between two steps so that its local variables are kept.

    After each step it yields the items for the consumer: a list, or a tuple if the next action is neither READ nor CALL. Any
    other yielded object comes from an awaitable and belongs to the event loop. A read that has data immediately therefore needs
    no cancel scope, no task and no exception. The generator has no reference to the stream, so that a dropped stream is closed.
    """
    yield
    while True:
        if engine.reading:
            if intake.count >= intake.yield_at:
                # As `_yield_to_tasks` does, by what `asyncio.sleep(0)` yields. A stage that buffers for long stays on this path.
                yield None
                intake.set_next_yield()
            burst = yield from read()
            if single:
                burst = [burst]
            if intake.of_bytes and len(burst) == 1:
                try:
                    intake.count += len(burst[0])
                except TypeError:
                    intake.count += 1  # not bytes; the stage reports the wrong item
                items = engine.receive(burst)
            else:
                items = engine.receive(intake.add(burst) if burst else None)
        elif engine.calling:
            try:
                returned = yield from engine.call().__await__()
            except Exception as error:
                items = engine.refuse(error)
            else:
                items = engine.answer(returned)
        else:
            yield ()
            continue
        if items or not engine.calling:
            yield items if engine.reading or engine.calling else tuple(items)


async def close_all(closing: list[Callable[[], Awaitable[None]]]) -> None:
    """Call all of them, even if one fails or times out. Several failures are raised as a group."""
    import anyio

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
    # The event loop finalizes async generators that are dropped or still open at its shutdown. A stream without `async with`
    # uses this to be closed, and so needs no task of its own.
    try:
        yield
    finally:
        await close_all(closing)
