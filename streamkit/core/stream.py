"""A running pipeline over a source: an async iterator and an async context manager."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from streamkit.core.engine import StageMetrics, find_stage
from streamkit.core.reading import Reading
from streamkit.core.source import Source, refuse
from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import Completion, StreamEnd, TextDelta

if TYPE_CHECKING:
    from types import TracebackType

Out = TypeVar("Out", covariant=True)
A = TypeVar("A")


class Stream(AsyncIterator["Out | StreamEnd"], Generic[Out]):
    """One run of a pipeline. Use it with `async with`, or iterate it to its end; both close the source.

    It has one consumer. Every way out of `async with` closes the source before control returns. If the iteration is left
    early without `async with`, the source is closed when the stream is dropped, with one `ResourceWarning`.
    """

    def __init__(self, source: Source[Any], stages: Sequence[Any], checkpoint: dict[str, Any] | None = None) -> None:
        self._source = source
        self._stages = tuple(stages)
        self._checkpoint = checkpoint
        self._reading = Reading[Out](source, stages, checkpoint)
        self._taken = False

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
        """What the stream reads from."""
        return self._source

    @property
    def end(self) -> StreamEnd | None:
        """Why the stream ended; `None` while it has not, or while the consumer has not seen all of it."""
        return self._reading.end

    def stage(self, kind: type[A]) -> A:
        """This run's own copy of the stage of that class, to read its state. `PipelineError` if there is none."""
        return find_stage(self._reading.engine.stages, kind)

    @property
    def metrics(self) -> list[StageMetrics]:
        """What each stage did so far, of a pipeline that is measured (`measure`). After a retry, of the last attempt."""
        return self._reading.engine.metrics

    async def collect(self) -> "list[Out | StreamEnd]":
        """Read to the end, and return all items. What a failed stream delivered before its error is lost with it."""
        return [item async for item in self]

    async def text(self, index: int = 0) -> str:
        """Read to the end, and return the text of one choice: all that came. `end` says whether it is complete.

        A pipeline that returns no events raises `PipelineError` before anything is sent.
        """
        returns = self._stages[-1].item_types()[1]
        if returns is not None and not any(issubclass(TextDelta, kind) for kind in returns):
            names = ", ".join(kind.__name__ for kind in returns[:3])
            raise PipelineError(
                f"text() needs a pipeline that gives TextDelta, as after Extract(); this one gives {names}"
            )
        pieces: list[str] = []
        async for item in self:
            if isinstance(item, TextDelta) and item.index == index:
                pieces.append(item.text)
        return "".join(pieces)

    async def final(self) -> Completion:
        """Read to the end, and return the last `Completion`; its `end` says whether it is complete.

        Without a stage that makes one it raises `PipelineError` before anything is sent. A stream that fails raises its
        error, one that was cancelled `StreamInterrupted`; what came before is in `stream.stage(Accumulate).snapshot`.
        """
        if not any(stage.completes for stage in self._stages):
            raise PipelineError("final() needs a stage that makes a Completion: add Accumulate() to the pipeline")
        completion: Completion | None = None
        async for item in self:
            if isinstance(item, Completion):
                completion = item
        if completion is None:
            if self.end and self.end.reason == "cancelled":
                raise StreamInterrupted("the stream was cancelled before its Completion came")
            raise PipelineError("a stage after the one that makes a Completion drops it")
        return completion

    def cancel(self) -> None:
        """End the stream early, from any task of the same event loop.

        What was already produced is still delivered, then `StreamEnd(reason="cancelled")`; a consumer that waits is woken.
        The source is closed before that last item is delivered.
        """
        self._reading.cancel()

    async def aclose(self) -> None:
        """Close the source, and end the iteration if another task is at it. Does nothing the second time."""
        await self._reading.leave(None)

    async def __aenter__(self) -> "Stream[Out]":
        await self._reading.enter()
        return self

    async def __aexit__(
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

    def checkpoint(self) -> dict[str, Any]:
        """The state of this run, between two items, as plain data: `pipeline.open(rest, checkpoint=…)` resumes it.

        `received` in it tells how much of the source was read, in bytes or else in items; the new source begins behind that.
        It holds what the stages hold, buffered text too. `PipelineError` if the stream has ended, or another task is waiting
        for the next item.
        """
        return self._reading.checkpoint()


setattr(Stream, "__or__", refuse)  # noqa: B010 -- `stream | stage` is the stage's `__ror__`
