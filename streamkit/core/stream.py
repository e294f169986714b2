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
_NO_CHECKPOINT = (
    "a stream with a hop has no checkpoint: items that its tasks have read are not in the state of any stage"
)


class Stream(AsyncIterator["Out | StreamEnd"], Views, Generic[Out]):
    """One run of a pipeline. Use it with `async with`, or iterate over it to its end; both close the source.

    A stream has one consumer. However the `async with` block is exited, the source is closed when it is left. If iteration stops
    early without `async with`, the source is closed when the stream is garbage-collected, with one `ResourceWarning`.

    A stream with a hop, such as `source | Prefetch() | …`, needs `async with`: the hop's tasks start and end with the block.

    Created by `source | pipeline` and by `Stage.open`.
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
        """The index of the first stage after the last hop; 0 without a hop."""
        return next((at for at in range(len(self._stages), 0, -1) if self._stages[at - 1].joins), 0)

    def _joined(self, behind: int, total: int) -> Joined[Any]:
        hop = self._stages[behind - 1]
        upstream = Stream[Any](self._source, self._stages[: behind - 1], total=total)
        return Joined(partial(hop.join, upstream), stage_name(hop), upstream)

    @property
    def joins(self) -> bool:
        """Whether the stream has a hop and must therefore be entered with `async with`."""
        return self._hop is not None

    @property
    def unentered(self) -> bool:
        """Whether the stream has a hop whose tasks have not been started by `async with`."""
        return self._hop is not None and not self._hops_entered

    def extended(self, stages: Sequence[Any]) -> "Stream[Any]":
        """A stream over the same source with these stages, for `stream | stage`. Raises `PipelineError` if it is open already."""
        if self._reading.opened:
            raise PipelineError("this stream is open already: compose all stages before you use it")
        return Stream(self._source, stages, self._checkpoint)

    @property
    def stages(self) -> tuple[Any, ...]:
        """The stages as they were composed. `stage` returns this run's copy of one."""
        return self._stages

    @property
    def source(self) -> Source[Any]:
        """The source of the stream."""
        return self._source

    @property
    def end(self) -> StreamEnd | None:
        """The end of the stream; `None` until it has ended and the consumer has read all items."""
        return self._reading.end

    @property
    def closed(self) -> bool:
        """Whether the run has ended, for any reason, and the source is closed."""
        return self._reading.closed

    def stage(self, kind: type[A]) -> A:
        """This run's copy of the stage of that class, to read its state. Raises `PipelineError` if there is none."""
        return find_stage(self._running(), kind)

    @property
    def metrics(self) -> list[StageMetrics]:
        """The profile of each stage so far, for a measured pipeline (`measure`). After a retry, that of the last attempt.

        Hops have no profile.
        """
        upstream = self._upstream()
        return [*(upstream.metrics if upstream and upstream._running() else []), *self._own_metrics()]

    @property
    def buffers(self) -> list[Buffer]:
        """The amounts that stages and hops buffer now and the reasons, in pipeline order; without those that buffer nothing."""
        upstream = self._upstream()
        found = [*(upstream.buffers if upstream else []), *(self._hop.buffers() if self._hop else [])]
        found += [buffer for stage in with_inner(self._reading.engine.stages) for buffer in stage.buffers()]
        return [buffer for buffer in found if buffer.amount]

    def _own_metrics(self) -> list[StageMetrics]:
        engine = self._reading.engine
        return engine.metrics if engine.stages or self._hop is None else []

    def _running(self) -> list[Any]:
        # This run's copies of the stages, those before a hop first.
        upstream = self._upstream()
        return [*(upstream._running() if upstream else []), *self._reading.engine.stages]

    def _upstream(self) -> "Stream[Any] | None":
        upstream = self._hop.upstream if self._hop else None
        return cast("Stream[Any]", upstream) if isinstance(upstream, Stream) else None

    async def collect(self) -> "list[Out | StreamEnd]":
        """Read to the end, and return all items. If the stream fails, this raises, and the items before the error are lost."""
        async with self._whole():
            return [item async for item in self]

    def _whole(self) -> AbstractAsyncContextManager[object]:
        return self if self.unentered else nullcontext()

    async def final(self) -> Completion:
        """Read to the end, and return the last `Completion`; its `end` shows whether it is complete.

        Raises `PipelineError` before anything is sent if no stage creates completions. Raises the stream's error if it fails,
        and `StreamInterrupted` if it was cancelled; the answer so far is in `stream.stage(Accumulate).snapshot`.
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
                raise StreamInterrupted("the stream was cancelled before its Completion arrived")
            raise PipelineError("a stage after the one that makes the Completion drops it")
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

        Items that were already produced are still delivered, then `StreamEnd(reason="cancelled")`. A waiting consumer is woken.
        The source is closed before that last item is delivered.
        """
        self._reading.cancel()

    async def aclose(self) -> None:
        """Close the source, and end the iteration if another task is reading. A second call does nothing."""
        await self._reading.leave(None)

    async def enter_hops(self, stack: AsyncExitStack) -> None:
        """Enter the contexts of this stream's hops. Called by the hop after this stream, whose task then reads it."""
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
                "this stream already has a consumer; for its text, usage and calls together add Accumulate() to the pipeline "
                "and read final(), to continue after a break keep its iterator (items = aiter(stream)), "
                "for a second consumer use streamkit.hops.tee"
            )
        self._taken = True
        return self._reading

    async def __anext__(self) -> "Out | StreamEnd":
        return await self._reading.__anext__()

    @property
    def drained(self) -> bool:
        """Whether all items produced so far were consumed and the next step is to read the source.

        In this state a checkpoint has no pending items, and a source that returns whole provider events is positioned after one.
        """
        return self._reading.drained

    def checkpoint(self) -> dict[str, Any]:
        """The state of this run between two items, as plain data: `pipeline.open(rest, checkpoint=…)` resumes it.

        Its `received` is the amount read from the source, in bytes or else in items; the new source must start after that. The
        checkpoint contains the state of the stages, including buffered text. Raises `PipelineError` if the stream has ended or
        has a hop, or if another task is waiting for the next item.
        """
        if self._hop is not None:
            raise PipelineError(_NO_CHECKPOINT)
        return self._reading.checkpoint()


setattr(Stream, "__or__", refuse)  # noqa: B010 -- `stream | stage` is the stage's `__ror__`
