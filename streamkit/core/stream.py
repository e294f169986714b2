"""A running pipeline over a source: an async iterator and an async context manager."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from streamkit.core.buffers import Buffer
from streamkit.core.engine import StageMetrics, find_stage, stage_name, with_inner
from streamkit.core.joined import Joined
from streamkit.core.reading import Reading
from streamkit.core.source import Source, refuse
from streamkit.core.views import Views
from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import Completion, StreamEnd

if TYPE_CHECKING:
    from types import TracebackType

Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
_NO_CHECKPOINT = "a stream with a hop has no checkpoint: what its tasks have read is in no stage's state"


class Stream(AsyncIterator["Out | StreamEnd"], Views, Generic[Out]):
    """One run of a pipeline. Use it with `async with`, or iterate it to its end; both close the source.

    It has one consumer. Every way out of `async with` closes the source before control returns. If the iteration is left
    early without `async with`, the source is closed when the stream is dropped, with one `ResourceWarning`.

    A stream with a hop, such as `source | Prefetch() | …`, needs `async with`: the hop's tasks start and end with the block.

    Made by `source | pipeline`, and by `Stage.open`.
    """

    def __init__(
        self, source: Source[Any], stages: Sequence[Any], checkpoint: dict[str, Any] | None = None, *, total: int = 0
    ) -> None:
        self._source = source
        self._stages = tuple(stages)
        self._checkpoint = checkpoint
        behind = self._behind_hop()
        joined = self._joined(behind, total or len(stages)) if behind else source
        self._hop: Joined[Any] | None = joined if isinstance(joined, Joined) else None
        if self._hop is not None and checkpoint is not None:
            raise PipelineError(_NO_CHECKPOINT)
        self._reading: Reading[Out] = Reading(joined, stages[behind:], checkpoint, (behind, total or len(stages)))
        self._contexts: AsyncExitStack | None = None
        self._hops_entered = False
        self._taken = False

    def _behind_hop(self) -> int:
        """Where the part behind the last hop begins."""
        return next((at for at in range(len(self._stages), 0, -1) if self._stages[at - 1].joins), 0)

    def _joined(self, behind: int, total: int) -> Joined[Any]:
        hop = self._stages[behind - 1]
        upstream = Stream[Any](self._source, self._stages[: behind - 1], total=total)
        return Joined(partial(hop.join, upstream), stage_name(hop), upstream)

    @property
    def joins(self) -> bool:
        """Whether it has a hop, so that it must be entered with `async with`."""
        return self._hop is not None

    @property
    def unentered(self) -> bool:
        """Whether the tasks of a hop are missing, which begin with `async with`."""
        return self._hop is not None and not self._hops_entered

    def extended(self, stages: Sequence[Any]) -> "Stream[Any]":
        """The stream with these stages in place of its own, for `stream | stage`. Not after it was opened."""
        if self._reading.opened:
            raise PipelineError("this stream is open already: compose all stages before you use it")
        return Stream(self._source, stages, self._checkpoint)

    @property
    def stages(self) -> tuple[Any, ...]:
        """The stages as they were composed; `stage` finds this run's own copy of one."""
        return self._stages

    @property
    def source(self) -> Source[Any]:
        """The source of the stream."""
        return self._source

    @property
    def end(self) -> StreamEnd | None:
        """Why the stream ended; `None` while it has not, or while the consumer has not seen all of it."""
        return self._reading.end

    @property
    def closed(self) -> bool:
        """Whether the run is over and its source closed, however it ended."""
        return self._reading.closed

    def stage(self, kind: type[A]) -> A:
        """This run's own copy of the stage of that class, to read its state. `PipelineError` if there is none."""
        return find_stage(self._running(), kind)

    @property
    def metrics(self) -> list[StageMetrics]:
        """The profile of each stage so far, for a pipeline that is measured (`measure`). After a retry, of the last attempt.

        A hop does nothing itself and has none.
        """
        upstream = self._upstream()
        return [*(upstream.metrics if upstream and upstream._running() else []), *self._own_metrics()]

    @property
    def buffers(self) -> list[Buffer]:
        """The amounts that stages and hops buffer now, in their order, and why; those that buffer nothing are not in it."""
        upstream = self._upstream()
        found = [*(upstream.buffers if upstream else []), *(self._hop.buffers() if self._hop else [])]
        found += [buffer for stage in with_inner(self._reading.engine.stages) for buffer in stage.buffers()]
        return [buffer for buffer in found if buffer.amount]

    def _own_metrics(self) -> list[StageMetrics]:
        engine = self._reading.engine
        return engine.metrics if engine.stages or self._hop is None else []

    def _running(self) -> list[Any]:
        # This run's own stages, those before a hop first.
        upstream = self._upstream()
        return [*(upstream._running() if upstream else []), *self._reading.engine.stages]

    def _upstream(self) -> "Stream[Any] | None":
        upstream = self._hop.upstream if self._hop else None
        return cast("Stream[Any]", upstream) if isinstance(upstream, Stream) else None

    async def collect(self) -> "list[Out | StreamEnd]":
        """Read to the end, and return all items. What a failed stream delivered before its error is lost with it."""
        async with self._whole():
            return [item async for item in self]

    def _whole(self) -> AbstractAsyncContextManager[object]:
        return self if self.unentered else nullcontext()

    async def final(self) -> Completion:
        """Read to the end, and return the last `Completion`; its `end` says whether it is complete.

        Without a stage that makes one it raises `PipelineError` before anything is sent. A stream that fails raises its
        error, one that was cancelled `StreamInterrupted`; what came before is in `stream.stage(Accumulate).snapshot`.
        """
        if not any(stage.completes for stage in self._stages):
            raise PipelineError("final() needs a stage that makes a Completion: add Accumulate() to the pipeline")
        completion: Completion | None = None
        async with self._whole():
            async for item in self:
                if isinstance(item, Completion):
                    completion = item
        if completion is None:
            if self.end and self.end.reason == "cancelled":
                raise StreamInterrupted("the stream was cancelled before its Completion came")
            raise PipelineError("a stage after the one that makes a Completion drops it")
        return completion

    def _needs(self, kind: type, what: str) -> None:
        returns = self._stages[-1].item_types()[1]
        if returns is not None and not any(issubclass(kind, one) or issubclass(one, kind) for one in returns):
            names = ", ".join(one.__name__ for one in returns[:3])
            raise PipelineError(
                f"{what} needs a pipeline that gives {kind.__name__}, as after Extract(); this one gives {names}"
            )

    def cancel(self) -> None:
        """End the stream early, from any task of the same event loop.

        What was already produced is still delivered, then `StreamEnd(reason="cancelled")`; a consumer that waits is woken.
        The source is closed before that last item is delivered.
        """
        self._reading.cancel()

    async def aclose(self) -> None:
        """Close the source, and end the iteration if another task is at it. Does nothing the second time."""
        await self._reading.leave(None)

    async def enter_hops(self, stack: AsyncExitStack) -> None:
        """Enter the contexts of the hops, in whose tasks the stream is then read. Called by the hop behind this stream."""
        if self._hop is not None:
            self._hops_entered = True
            await self._hop.enter(stack)

    async def __aenter__(self) -> "Stream[Out]":
        if self._hop is None:
            await self._reading.enter()
            return self
        if self._contexts is not None:
            raise PipelineError("this stream was entered before; open another one")
        self._hops_entered = True
        async with AsyncExitStack() as stack:
            await self._hop.enter(stack)
            stack.push_async_exit(self._leave)
            await self._reading.enter()
            self._contexts = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        if self._contexts is not None:
            await self._contexts.__aexit__(kind, error, traceback)
        else:
            await self._reading.leave(error)

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self._reading.leave(error)

    def __aiter__(self) -> "AsyncIterator[Out | StreamEnd]":
        if self._taken:
            raise PipelineError(
                "this stream already has a consumer; to continue after a break keep its iterator (items = aiter(stream)), "
                "for a second consumer use streamkit.hops.tee"
            )
        self._taken = True
        return self._reading

    async def __anext__(self) -> "Out | StreamEnd":
        return await self._reading.__anext__()

    @property
    def drained(self) -> bool:
        """Whether everything that was produced of what was read so far has been consumed, and more is to be read.

        Then a checkpoint has no pending events, and a source that returns whole events of the provider's stands behind one.
        """
        return self._reading.drained

    def checkpoint(self) -> dict[str, Any]:
        """The state of this run, between two items, as plain data: `pipeline.open(rest, checkpoint=…)` resumes it.

        `received` in it is how much of the source was read, in bytes or else in items; the new source begins behind that.
        It holds what the stages hold, buffered text too. `PipelineError` if the stream has ended, or another task is waiting
        for the next item.
        """
        if self._hop is not None:
            raise PipelineError(_NO_CHECKPOINT)
        return self._reading.checkpoint()


setattr(Stream, "__or__", refuse)  # noqa: B010 -- `stream | stage` is the stage's `__ror__`
