"""The synchronous driver of an engine, over an iterable."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from streamkit.core.checkpoint import Checkpoint, fitting, pack, unpack
from streamkit.core.engine import Engine, Runnable, StageMetrics, Todo, find_stage
from streamkit.core.source import BURST, amount, broke_off
from streamkit.core.wrong_input import wrong_source
from streamkit.errors import PipelineError, StreamInterrupted

Out = TypeVar("Out", covariant=True)
A = TypeVar("A")


class Run(Iterator[Out], Generic[Out]):
    """A sync pipeline running over an iterable. After a failure each `next` raises the same error instead of `StopIteration`.

    Created by `Stage.run`.
    """

    def __init__(
        self,
        stages: Sequence[Runnable],
        items: Iterable[Any],
        clock: Callable[[], float],
        checkpoint: dict[str, Any] | None = None,
    ) -> None:
        if problem := wrong_source(items):
            raise PipelineError(problem)
        if not isinstance(items, Iterable):
            raise PipelineError(
                f"run takes an iterable, found an object of type {type(items).__name__}; open(source) takes async ones"
            )
        self._engine = Engine(stages, clock)
        self._bursts = _bursts(items)
        self._ready: Iterator[Out] = iter(())
        self._received = 0
        self._names = [type(stage).__name__ for stage in stages]
        if checkpoint is not None:
            known = Checkpoint.from_dict(checkpoint, self._names)
            with fitting("this pipeline"):
                self._engine.restore(known.run)
                self._received, self._ready = known.received, iter(unpack(known.ready))
        self._engine.begin()

    def __next__(self) -> Out:
        for item in self._ready:
            return item
        engine = self._engine
        while engine.todo is not Todo.END:
            self._ready = ready = iter(self._step(engine))
            for item in ready:
                return item
        if engine.failure:
            raise engine.failure
        raise StopIteration

    def _step(self, engine: Engine) -> list[Any]:
        try:
            if engine.todo is Todo.READ:
                burst = next(self._bursts, None)
                if burst is not None:
                    self._received += amount(burst)
                return engine.receive(burst)
            return engine.closed() if engine.todo is Todo.CLOSE else engine.proceed()
        except Exception as error:
            # The answer is complete: only the end marker of the body is missing.
            return engine.receive(None) if broke_off(error) and engine.answered else engine.fail(error)
        except BaseException as error:
            # Ctrl-C, for example. The next call of `next` must not look like the end. (Law 5)
            engine.fail(
                StreamInterrupted(f"a read was interrupted by {type(error).__name__}; the output is incomplete")
            )
            raise

    def stage(self, kind: type[A]) -> A:
        """This run's copy of the stage of that class, to read its state. Raises `PipelineError` if there is none."""
        return find_stage(self._engine.stages, kind)

    @property
    def metrics(self) -> list[StageMetrics]:
        """The profile of each stage so far, for a run of a measured pipeline (`measure`)."""
        return self._engine.metrics

    def checkpoint(self) -> dict[str, Any]:
        """The state of this run between two items, as plain data. See `Stream.checkpoint`."""
        ready = [*self._ready, *self._engine.finish()]
        self._ready = iter(ready)
        if (self._engine.todo is Todo.END and not ready) or self._engine.failure:
            raise PipelineError("this run has ended, so there is nothing to resume")
        return Checkpoint(self._names, self._received, self._engine.state(), pack(ready)).to_dict()


def _bursts(items: Iterable[A]) -> Iterator[list[A]]:
    if isinstance(items, bytes | bytearray | memoryview | str):
        yield [cast("A", items)]
        return
    if isinstance(items, list | tuple):
        for start in range(0, len(items), BURST):
            yield list(items[start : start + BURST])
        return
    for item in items:
        yield [item]
