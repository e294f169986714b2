"""Stages and their composition.

A stage is a dataclass: its fields are configuration, those with `field(init=False)` are state. It takes items and returns items
without I/O; an `AsyncStage` may wait. `|` composes stages into a pipeline, which is itself a stage. A pipeline has no state:
every run uses `fresh()` copies of its stages, so one pipeline object serves any number of concurrent streams.
"""

import copy
import dataclasses
from collections import deque
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import cache
from time import perf_counter
from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from streamkit.core.buffers import Buffer
from streamkit.core.checkpoint import fitting, restore, state_of, usable
from streamkit.core.engine import DONE, Engine, Slices, Todo, fresh, stage_name, with_inner
from streamkit.core.hints import (
    Classes,
    Composable,
    check_class,
    check_names,
    check_order,
    declared_types,
    misplaced,
    source_types,
)
from streamkit.core.joined import HopContext
from streamkit.core.options import NamedOptions
from streamkit.core.reading import close_all
from streamkit.core.run import Run
from streamkit.core.source import AT_THE_LEFT, Source, as_source
from streamkit.core.stream import Stream
from streamkit.core.wrong_input import wrong_source
from streamkit.errors import PipelineError

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Next = TypeVar("Next")
A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Any])
_MUTABLE = (list, dict, set, bytearray, deque)


def _unused(hook: F) -> F:
    # Marks the default implementation of a hook, so that the engine need not call it.
    cast("Any", hook).unused = True
    return hook


class Step(NamedOptions, Composable, Generic[In, Out]):
    """Common base of `Stage` and `AsyncStage`."""

    declares_items = True
    waits: ClassVar[bool] = False
    measured: bool = False
    _done: bool = False
    _alarm: Any = None

    done: bool = cast("bool", DONE)
    """Set this to true if the stage needs no more input: the source is closed, and this stage and those after it are flushed."""

    assembles: ClassVar[bool] = False
    """Whether events of this stage repeat text of earlier deltas, as a `Completion` does. It then belongs after moderation."""

    moderates: ClassVar[bool] = False
    """Whether this stage withholds text. `|` rejects it after a stage that assembles text, which would have a copy of it."""

    emits_result: ClassVar[bool] = False
    """Whether this stage emits an event about the whole answer at its end. It then belongs after the stages that end it early."""

    ends_early: ClassVar[bool] = False
    """Whether this stage ends the stream at a limit of its own. `|` rejects it after a stage whose result would be lost."""

    passes_others: ClassVar[bool] = False
    """Whether this stage passes through items of classes that it does not declare."""

    completes: bool = False
    """Whether this stage returns a `Completion`, which `Stream.final` needs."""

    joins: ClassVar[bool] = False
    """Whether this is a hop: a task boundary between the stages before and after it, which is never fed itself."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = [base for base in reversed(cls.__mro__[1:]) if base.__module__ == __name__]
        check_names(cls, {name: value for base in bases for name, value in vars(base).items()})

    @property
    def answered(self) -> bool:
        """Whether only the end marker of the answer is missing, so that a disconnect of the source now is a natural end."""
        return False

    def fresh(self: A) -> A:
        """A copy with the same configuration and new state. Lists, dicts and sets in the configuration are copied."""
        kind: Any = type(self)
        check(kind)
        config: dict[str, Any] = {}
        for name in _config(kind):
            config[name] = value = getattr(self, name)
            # Otherwise a list of state whose field lacks `init=False` by mistake would be shared between all runs. (Law 4)
            if isinstance(value, _MUTABLE):
                config[name] = copy.copy(cast("Any", value))
        if kind.__new__ is not _NEW:
            return kind(**config)  # type: ignore[no-any-return]
        # The names of these options need no check.
        made = object.__new__(kind)
        made.__init__(**config)
        return made  # type: ignore[no-any-return]

    def item_types(self) -> tuple[Classes, Classes]:
        """The item classes that this stage takes and returns, which `|` checks; `None` if they are unknown."""
        return declared_types(type(self))

    def inner(self) -> "Iterable[Step[Any, Any]]":
        """The stages that this one runs internally. A wrapper must list them, so that their hooks (`tick`, …) are called too."""
        return ()

    def buffers(self) -> "Iterable[Buffer]":
        """The amounts that this stage of a run buffers now, for `Stream.buffers`. By default the attribute `held`, in items."""
        held = getattr(self, "held", None)
        return (Buffer(stage_name(self), held, "items", "not released yet"),) if isinstance(held, int) and held else ()

    @_unused
    def tick(self, now: float) -> None:
        """Called with the time in seconds on the source's clock: when the source opens, before every burst, and at the end."""

    @_unused
    def content_arrived(self) -> None:
        """Called when the current read contained content of the answer, even if an earlier stage still buffers it."""

    def state(self) -> Any:
        """The state of this run as plain data: by default the fields with `init=False`; see `streamkit.core.checkpoint`."""
        return state_of(self)

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on a fresh copy."""
        restore(self, state)

    def open(
        self,
        source: Source[In] | AsyncIterable[In] | Iterable[In] | bytes | HopContext[AsyncIterable[In]],
        *,
        checkpoint: dict[str, Any] | None = None,
    ) -> Stream[Out]:
        """Run over `source`. It is opened at the first read or `async with`; the stream closes it.

        With a `checkpoint` of an earlier run (`Stream.checkpoint`) the run resumes from there, and `source` must return the
        items that follow. Raises `PipelineError` for a checkpoint of another pipeline.
        """
        stages = parts(self)
        for stage in stages:
            check(cast("Any", type(stage)))
            # A hop runs its inner stages as streams, so these may contain hops.
            for inside in () if stage.joins else with_inner(stage.inner()):
                if inside.joins:
                    raise PipelineError(
                        f"{stage_name(inside)} is a task boundary and runs only in a stream, not inside a stage"
                    )
        opened = as_source(source)
        check_order(opened, source_types(type(opened)), stages[0], stages[0].item_types()[0])
        return Stream(opened, stages, checkpoint)

    def __ror__(
        self,
        source: Stream[In] | Source[In] | AsyncIterable[In] | Iterable[In] | bytes | HopContext[AsyncIterable[In]],
    ) -> Stream[Out]:
        if isinstance(source, type) or callable(source):
            raise PipelineError(wrong_source(source) or misplaced(source))
        if isinstance(source, Stream):
            stream = cast("Stream[Any]", source)
            return stream.extended(compose_parts(cast("Any", stream.stages), parts(self)))
        return self.open(source)


class Stage(Step[In, Out]):
    """A step without I/O. Implement `feed`, and `flush` if the stage buffers anything.

    `feed` is called for every item, `flush` once at the natural end, never after a failure or a cancellation. Both return an
    iterable, for example a generator, which is exhausted before the consumer receives its items. Pass through items of unknown
    classes.
    """

    declares_items = True

    def feed(self, item: In) -> Iterable[Out]:
        """The output for one item."""
        raise NotImplementedError(f"{type(self).__name__} needs a feed method")

    def flush(self) -> Iterable[Out]:
        """Return the remaining output at the natural end. Not called after a failure or an early exit."""
        return ()

    def feed_all(self, items: list[In]) -> Iterable[Out]:
        """The output for a burst. Override this if one loop over the burst is faster than a call of `feed` for each item.

        Items that it yields before it raises are delivered; a method that builds a list returns `cut_short(list, error)`
        instead of raising. Do not modify `items`.
        """
        feed = self.feed
        produced: list[Out] = []
        extend = produced.extend
        try:
            for item in items:
                # `extend` keeps what a generator yielded before it raised. (Law 1)
                extend(feed(item))
                if self.done:
                    break
        except Exception as error:
            return cut_short(produced, error)
        return produced

    def run(
        self,
        items: Iterable[In] | bytes,
        *,
        clock: Callable[[], float] = perf_counter,
        checkpoint: dict[str, Any] | None = None,
    ) -> Run[Out]:
        """Run over `items` without an event loop. The iterator raises an exception of a stage after the items before it.

        With a `checkpoint` (of `Run` or `Stream`) it resumes from there, as `open` does.
        """
        return Run([fresh(cast("Any", stage)) for stage in parts(self)], items, clock, checkpoint)

    @overload
    def __or__(self, following: "Stage[Out, Next]") -> "Pipeline[In, Next]": ...
    @overload
    def __or__(self, following: "AsyncStage[Out, Next]") -> "AsyncPipeline[In, Next]": ...
    def __or__(
        self, following: "Stage[Out, Next] | AsyncStage[Out, Next]"
    ) -> "Pipeline[In, Next] | AsyncPipeline[In, Next]":
        return cast("Pipeline[In, Next]", compose(self, following))


class AsyncStage(Step[In, Out]):
    """A step that may wait: `feed` and `flush` are coroutines that return an iterable. `close` is called however a run ends."""

    declares_items = True
    waits = True

    async def feed(self, item: In) -> Iterable[Out]:
        """The output for one item."""
        raise NotImplementedError(f"{type(self).__name__} needs an async feed method")

    async def flush(self) -> Iterable[Out]:
        """Return the remaining output at the natural end. Not called after a failure or an early exit."""
        return ()

    async def close(self) -> None:
        """Release connections. Called once at the end of a run, also after a failure, with a timeout.

        If a failure or cancellation ended the run, `sys.exception()` returns it here.
        """
        return

    def __or__(self, following: "Stage[Out, Next] | AsyncStage[Out, Next]") -> "AsyncPipeline[In, Next]":
        return cast("AsyncPipeline[In, Next]", compose(self, following))


class Hop(AsyncStage[In, Out]):
    """A task boundary that is composed like a stage: `source | pipeline | Prefetch(64) | Accumulate()`.

    A subclass is a dataclass whose fields are its configuration, and implements `join`. The `async with` of the stream enters and
    exits the context. A hop runs only in a stream, not inside another stage.
    """

    declares_items = True
    joins = True

    def join(self, items: AsyncIterable[In]) -> AbstractAsyncContextManager[AsyncIterable[Out]]:
        """The context whose tasks read `items`. Entering it returns the async iterable that the stages after the hop read.

        The optional `aclose` of its iterator stops the tasks and closes `items` before it returns. The optional `at_once`
        returns the items that are already available, as one list.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a join method")

    async def feed(self, item: In) -> Iterable[Out]:
        raise PipelineError(
            f"{type(self).__name__} is a task boundary: compose it with | in a stream, not inside another stage"
        )


class _Composed(Step[In, Out]):
    # Shared by sync and async pipelines.
    stages: Any  # a tuple of steps
    _engine: Engine | None = None

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.stages))

    def fresh(self: A) -> A:
        stages: tuple[Any, ...] = cast("Any", self).stages
        return cast("A", cast("Any", type(self))(tuple(map(fresh, stages))))

    def item_types(self) -> tuple[Classes, Classes]:
        return self.stages[0].item_types()[0], self.stages[-1].item_types()[1]

    def inner(self) -> Iterable[Step[Any, Any]]:
        return cast("tuple[Step[Any, Any], ...]", self.stages)

    def state(self) -> Any:
        return [stage.state() for stage in self.stages]

    def restore(self, state: Any) -> None:
        for stage, known in zip(self.stages, state, strict=True):
            with fitting(type(stage).__name__):
                stage.restore(known)
                usable(stage)
        self.done = any(stage.done for stage in self.stages)

    def _running(self) -> Engine:
        # Inside another stage, which calls `feed` itself, a pipeline has its own engine.
        if self._engine is None:
            object.__setattr__(self, "_engine", Engine(self.stages, None))
        return cast("Engine", self._engine)

    def _given(self, engine: Engine, produced: list[Any]) -> Iterable[Any]:
        if engine.failure:
            return cut_short(produced, engine.failure)
        if engine.todo is Todo.CLOSE:
            self.done = True
        return produced


@dataclasses.dataclass(repr=False)
class Pipeline(_Composed[In, Out], Stage[In, Out]):
    """Sync stages composed by `|`, listed in order in `stages`: a burst moves through them as a list, stage by stage."""

    stages: tuple[Stage[Any, Any], ...]

    def feed(self, item: In) -> Iterable[Out]:
        return self.feed_all([item])

    def feed_all(self, items: list[In]) -> Iterable[Out]:
        engine = self._running()
        produced = engine.receive(items) if items else []
        return Slices(self._slices(engine, produced)) if engine.working else self._given(engine, produced)

    def _slices(self, engine: Engine, produced: list[Any]) -> Iterator[Iterable[Out]]:
        while engine.working:
            yield produced
            produced = engine.proceed()
        yield self._given(engine, produced)

    def flush(self) -> Iterable[Out]:
        engine = self._running()
        produced = engine.receive(None) if engine.todo is Todo.READ else engine.closed()
        while engine.todo is Todo.CONTINUE:
            produced = produced + engine.proceed()
        return self._given(engine, produced)


@dataclasses.dataclass(repr=False)
class AsyncPipeline(_Composed[In, Out], AsyncStage[In, Out]):
    """Stages composed by `|`, listed in order in `stages`; at least one of them is async.

    A stream runs the stages directly and delivers each result as soon as it is available. `feed` and `flush` are for a stage
    that contains a pipeline.
    """

    stages: tuple[Step[Any, Any], ...]

    async def feed(self, item: In) -> Iterable[Out]:
        engine = self._running()
        produced = engine.receive([item])
        if engine.todo is Todo.CLOSE:
            self.done = True
            engine.closed()
        while engine.working or (engine.pending and engine.todo is Todo.CALL):
            produced = produced + (await _call(engine) if engine.todo is Todo.CALL else await _proceed(engine))
        return self._given(engine, produced)

    async def flush(self) -> Iterable[Out]:
        engine = self._running()
        produced = engine.receive(None) if engine.todo is Todo.READ else []
        while engine.todo is Todo.CALL or engine.todo is Todo.CONTINUE:
            produced = produced + (await _call(engine) if engine.todo is Todo.CALL else engine.proceed())
        return self._given(engine, produced)

    async def close(self) -> None:
        await close_all([stage.close for stage in reversed(self.stages) if isinstance(stage, AsyncStage)])


async def _proceed(engine: Engine) -> list[Any]:
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint()
    return engine.proceed()


async def _call(engine: Engine) -> list[Any]:
    try:
        returned = await engine.call()
    except Exception as error:
        return engine.refuse(error)
    return engine.answer(returned)


_NEW = Step.__new__


def parts(stage: Step[Any, Any]) -> tuple[Step[Any, Any], ...]:
    """The stages of a pipeline in order; for a single stage, the stage itself."""
    return stage.stages if isinstance(stage, _Composed) else (stage,)


def compose(left: Step[Any, Any], right: object) -> "Pipeline[Any, Any] | AsyncPipeline[Any, Any]":
    """Compose two stages or pipelines. Raises `PipelineError` if they can't be composed."""
    if not isinstance(right, Step):
        raise PipelineError(AT_THE_LEFT if isinstance(right, Source) else misplaced(right))
    stages = compose_parts(parts(left), parts(cast("Step[Any, Any]", right)))
    if any(stage.waits for stage in stages):
        return AsyncPipeline(stages)
    return Pipeline(cast("tuple[Stage[Any, Any], ...]", stages))


def compose_parts(before: tuple[Step[Any, Any], ...], after: tuple[Step[Any, Any], ...]) -> tuple[Step[Any, Any], ...]:
    """Concatenate the stages. Raises `PipelineError` if their order breaks a law."""
    for stage in (*before, *after):
        check(cast("Any", type(stage)))
    check_order(before[-1], before[-1].item_types()[1], after[0], after[0].item_types()[0])
    _check_moderation(before, after)
    _check_results(before, after)
    return (*before, *after)


def _check_moderation(before: tuple[Step[Any, Any], ...], after: tuple[Step[Any, Any], ...]) -> None:
    if found := _found_behind(before, after, lambda stage: stage.assembles, lambda stage: stage.moderates):
        last, first = found
        raise _wrong_order(last, first, f"{last} assembles text, which {first} could no longer withhold")


def _check_results(before: tuple[Step[Any, Any], ...], after: tuple[Step[Any, Any], ...]) -> None:
    # A stage that ends the run early flushes itself and the stages after it, but not those before it.
    if found := _found_behind(before, after, lambda stage: stage.emits_result, lambda stage: stage.ends_early):
        last, first = found
        lost = f"when {first} ends the stream early, the result that {last} emits at the end is lost"
        raise _wrong_order(last, first, lost)


def _found_behind(
    before: tuple[Step[Any, Any], ...],
    after: tuple[Step[Any, Any], ...],
    is_last: Callable[[Step[Any, Any]], bool],
    is_first: Callable[[Step[Any, Any]], bool],
) -> tuple[str, str] | None:
    # The names of a stage that must come last and one that must come first, if they come in the other order. The first also
    # counts inside another stage; the last is named by the stage that contains it.
    first = next(filter(is_first, with_inner(after)), None)
    last = next((stage for stage in before if any(map(is_last, with_inner([stage])))), None)
    return None if first is None or last is None else (stage_name(last), stage_name(first))


def _wrong_order(last: str, first: str, reason: str) -> PipelineError:
    return PipelineError(f"{last} | {first}: {reason}: put {first} first, … | {first} | {last} | …")


def cut_short(produced: list[Out], error: Exception) -> Generator[Out, None, None]:
    """Yield `produced`, then raise the error. `feed_all` returns this if it fails in the middle of a burst. (Law 1)"""
    yield from produced
    raise error


@cache
def check(kind: type[Step[Any, Any]]) -> None:
    """Raise `PipelineError` for an invalid stage class. See `check_class`."""
    check_class(kind, waits=kind.waits)


@cache
def _config(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)
