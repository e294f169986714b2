"""Stages, and how they are joined.

A stage is a dataclass: its fields are configuration, `field(init=False)` are state. It takes items and gives items, and does
no I/O; an `AsyncStage` may wait. `|` joins stages into a pipeline, which is a stage again. A pipeline holds no state: every
run works on `fresh()` copies, so that one pipeline object serves any number of streams at once.

A burst, which is whatever one network read brought, goes through stage by stage as a list. What a stage produced before it
failed goes on through the rest before the error is raised.
"""

import copy
import dataclasses
from collections import deque
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import Event, Json, StreamEnd
from streamkit.misfits import wrong_source
from streamkit.source import BURST, Source, as_source, broke_off
from streamkit.state import Checkpoint, Level, fitting, pack, restore, state_of, unfit, unpack, usable
from streamkit.stream import Stream, amount, close_all, last_end

if TYPE_CHECKING:
    from streamkit.figures import Figures

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Next = TypeVar("Next")
A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Event)
_MUTABLE = (list, dict, set, bytearray, deque)


class Joinable(Generic[In, Out]):
    """What `Stage` and `AsyncStage` share: copies for a run, `open`, and the checks of `|`."""

    done: bool = False
    """Set by a stage that wants nothing more: the source is closed, this stage and those after it are flushed."""

    ended: StreamEnd | None = None
    """How the answer ended that passed through a pipeline, also where its last stage gives no `StreamEnd` on."""

    heard: bool | None = None
    """Whether the last burst held content of the answer; `None` for a stage that can't tell, which most can't."""

    completes: bool = False
    """Whether this stage gives a `Completion`, which `Stream.final` needs."""

    @property
    def answered(self) -> bool:
        """Whether the answer is complete but for its end marker, so that a source that breaks off now ends it naturally."""
        return False

    def fresh(self: A) -> A:
        """A copy with the same configuration and its state as new. Lists, dicts and sets of the configuration are copied."""
        from streamkit.joining import check_class

        check_class(cast(Any, self))
        fresh: A = dataclasses.replace(cast(Any, self))
        for field in dataclasses.fields(cast(Any, self)):
            value: Any = getattr(fresh, field.name)
            # An author who forgets `init=False` on a list of state would else share it between all runs. (Law 4)
            if field.init and isinstance(value, _MUTABLE):
                object.__setattr__(fresh, field.name, copy.copy(cast(Any, value)))
        return fresh

    def item_types(self) -> tuple[tuple[type, ...] | None, tuple[type, ...] | None]:
        """The classes that this stage takes and gives, for the check of `|`; `None` where that can't be known."""
        from streamkit.joining import declared_types

        return declared_types(type(self))

    def before(self: A, following: "Joinable[Any, Any]") -> A:
        """This stage, fitted to the stage that follows it. Called by `|`; most stages return themselves."""
        return self

    def framing(self) -> "Stage[bytes, In] | None":
        """A stage to put first when a source gives bytes to a pipeline that begins with this one and takes lines."""
        return None

    def tick(self, now: float) -> None:
        """Hear the time, in seconds on the source's clock: when the source is opened, before every burst, and at the end."""
        return

    def state(self) -> Any:
        """What this stage knows of its run so far, as plain data. By default its fields with `init=False`; see `state`."""
        return state_of(self)

    def restore(self, state: Any) -> None:
        """Take back what `state` gave, on a fresh copy."""
        restore(self, state)

    def heard_content(self) -> None:
        """Hear that a burst holds content of the answer, which a stage before this one may hold back."""
        return

    def parts(self) -> "tuple[Joinable[Any, Any], ...]":
        """The stages that this one is joined of; for a single stage, itself."""
        return (self,)

    def describe(self) -> "list[dict[str, Json]]":
        """The stages as plain data: name, options that are not the default, classes of items, whether it may wait."""
        from streamkit.description import describe

        return describe(self)

    def mermaid(self) -> str:
        """The pipeline as a picture: the text of a Mermaid flow chart."""
        from streamkit.description import mermaid

        return mermaid(self)

    def to_data(self) -> "list[dict[str, Json]]":
        """The pipeline as plain data, of which `streamkit.pipelines.from_data` makes it again.

        A function or class that has no name in a module raises `PipelineError`.
        """
        from streamkit.description import to_data

        return to_data(self)

    def measured(self: A) -> A:
        """The same pipeline, with `figures` of each stage on its runs. Stages that are joined later are not measured."""
        from streamkit.figures import measured

        return measured(self)

    def open(
        self,
        source: "Source[In] | AsyncIterable[In] | Iterable[In] | Source[bytes] | AsyncIterable[bytes] | Iterable[bytes] | bytes",
        *,
        checkpoint: dict[str, Any] | None = None,
    ) -> Stream[Out]:
        """Run over `source`. Nothing is opened before the first read or `async with`; the stream closes the source.

        With a `checkpoint` of such a run (`Stream.checkpoint`) it goes on from there; `source` gives what follows. One of
        another pipeline raises `PipelineError`.
        """
        from streamkit.joining import check_source

        stream = Stream(as_source(source), self, checkpoint)
        check_source(stream.source, self)
        return stream

    def __ror__(
        self, source: "AsyncIterable[In] | Iterable[In] | AsyncIterable[bytes] | Iterable[bytes] | bytes"
    ) -> Stream[Out]:
        if isinstance(source, type) or callable(source):
            from streamkit.joining import misplaced

            raise PipelineError(wrong_source(source) or misplaced(source))
        return self.open(source)


class Stage(Joinable[In, Out]):
    """A step without I/O. Write `feed`, and `flush` if something may be left at the end.

    `feed` is called for every item, `flush` once, on the natural end only: never after a failure or a cancellation. Either
    returns an iterable, a generator too; it is used up before the consumer sees any of it. Pass on the items that you don't
    know.
    """

    def feed(self, item: In) -> Iterable[Out]:
        """What comes out for one item."""
        raise NotImplementedError(f"{type(self).__name__} needs a feed method")

    def flush(self) -> Iterable[Out]:
        """What is left at the natural end."""
        return ()

    def feed_all(self, items: list[In]) -> Iterable[Out]:
        """What comes out for a burst. Write it where a loop of your own is faster than `feed` for each.

        What it yields before it raises is delivered; a method that builds a list returns `cut_short(list, error)` instead
        of raising. The list that comes in is not yours to change.
        """
        for item in items:
            yield from self.feed(item)
            if self.done:
                return

    def run(
        self,
        items: Iterable[In] | Iterable[bytes] | bytes,
        *,
        clock: Callable[[], float] = perf_counter,
        checkpoint: dict[str, Any] | None = None,
    ) -> "Run[Out]":
        """Run over `items` without an event loop. The iterator raises what a stage raises, after what came before it.

        With a `checkpoint` (of `Run` or `Stream`) it goes on from there, as `open` does.
        """
        pipeline: Pipeline[In, Out] = Pipeline(cast("tuple[Stage[Any, Any], ...]", self.parts()))
        return Run(pipeline.fresh(), items, clock, checkpoint)

    @overload
    def __or__(self, following: "Stage[Out, Next]") -> "Pipeline[In, Next]": ...
    @overload
    def __or__(self, following: "AsyncStage[Out, Next]") -> "AsyncPipeline[In, Next]": ...
    def __or__(
        self, following: "Stage[Out, Next] | AsyncStage[Out, Next]"
    ) -> "Pipeline[In, Next] | AsyncPipeline[In, Next]":
        from streamkit.joining import join

        joined: Pipeline[In, Next] | AsyncPipeline[In, Next] = join(self, following)
        return joined


class AsyncStage(Joinable[In, Out]):
    """A step that may wait: `feed` and `flush` are coroutines that return an iterable. `close` is called at every end."""

    async def feed(self, item: In) -> Iterable[Out]:
        """What comes out for one item."""
        raise NotImplementedError(f"{type(self).__name__} needs an async feed method")

    async def flush(self) -> Iterable[Out]:
        """What is left at the natural end."""
        return ()

    async def close(self) -> None:
        """Let go of connections. Called once at every end of a run, also after a failure; its time is bounded.

        It is awaited while the failure or cancellation that ends the run is handled, so that `sys.exception()` is that one.
        """
        return

    def __or__(self, following: "Stage[Out, Next] | AsyncStage[Out, Next]") -> "AsyncPipeline[In, Next]":
        from streamkit.joining import join

        return cast("AsyncPipeline[In, Next]", join(self, following))


class _Joined(Joinable[In, Out]):
    # What both kinds of pipeline have of their stages, whatever these are.
    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts()))

    def framing(self) -> "Stage[bytes, In] | None":
        return self.parts()[0].framing()

    def tick(self, now: float) -> None:
        for stage in self.parts():
            stage.tick(now)

    def state(self) -> Any:
        return [stage.state() for stage in self.parts()]

    def restore(self, state: Any) -> None:
        for stage, known in zip(self.parts(), state, strict=True):
            with fitting(type(stage).__name__):
                stage.restore(known)
                usable(stage)
        self.done = any(stage.done for stage in self.parts())

    def heard_content(self) -> None:
        tell_content(self.parts())

    @property
    def answered(self) -> bool:
        return any(part.answered for part in self.parts())


@dataclasses.dataclass(repr=False)
class Pipeline(_Joined[In, Out], Stage[In, Out]):
    """Sync stages joined by `|`, run fused: a burst goes through as a list, stage by stage."""

    stages: tuple[Stage[Any, Any], ...]
    _checked: int = dataclasses.field(default=0, init=False, repr=False, compare=False)  # stages that have had an item

    def parts(self) -> tuple[Joinable[Any, Any], ...]:
        return self.stages

    def fresh(self) -> "Pipeline[In, Out]":
        return Pipeline(tuple(placed([stage.fresh() for stage in self.stages])))

    def feed(self, item: In) -> Iterable[Out]:
        return self.feed_all([item])

    def feed_all(self, items: list[In]) -> Iterable[Out]:
        return self._advance(items, flushing=False)

    def flush(self) -> Iterable[Out]:
        return self._advance([], flushing=True)

    def _advance(self, items: list[Any], *, flushing: bool) -> Iterable[Any]:
        failure: Exception | None = None
        start = _last_done(self.stages) if flushing else 0
        for position, stage in enumerate(self.stages[start:], start):
            produced: list[Any] = []
            try:
                if items:
                    if position == self._checked:
                        self._checked += 1
                        check_first(stage, items[0])
                    given = stage.feed_all(items)
                    produced = cast(list[Any], given) if type(given) is list else _collect(given, produced)
                    if stage.heard:
                        tell_content(self.stages[position + 1 :])
                # After a failure further up, this run has no natural end. (Law 5)
                if flushing and failure is None:
                    produced = produced.copy()
                    _collect(stage.flush(), produced)
            except Exception as error:
                # It stands before whatever failed further up, in the order of the stream.
                failure = explained(error, stage, items)
            else:
                if stage.done:
                    self.done, failure = True, None
            items = produced
            if items and (end := last_end(items if flushing else items[-1:])):
                self.ended = end
        return items if failure is None else cut_short(items, failure)


@dataclasses.dataclass(repr=False)
class AsyncPipeline(_Joined[In, Out], AsyncStage[In, Out]):
    """Stages joined by `|`, at least one of which may wait."""

    stages: tuple[Joinable[Any, Any], ...]
    _checked: int = dataclasses.field(default=0, init=False, repr=False, compare=False)

    def parts(self) -> tuple[Joinable[Any, Any], ...]:
        return self.stages

    def fresh(self) -> "AsyncPipeline[In, Out]":
        return AsyncPipeline(tuple(placed([stage.fresh() for stage in self.stages])))

    # A stream takes this pipeline apart, to deliver each result as soon as it is there. Only a stage that holds a pipeline
    # of its own calls what follows.

    async def feed(self, item: In) -> Iterable[Out]:
        return await self._advance([item], flushing=False)

    async def flush(self) -> Iterable[Out]:
        return await self._advance([], flushing=True)

    async def close(self) -> None:
        await close_all([stage.close for stage in reversed(self.stages) if isinstance(stage, AsyncStage)])

    async def _advance(self, items: list[Any], *, flushing: bool) -> Iterable[Any]:
        failure: Exception | None = None
        start = _last_done(self.stages) if flushing else 0
        for position, stage in enumerate(self.stages[start:], start):
            produced: list[Any] = []
            try:
                if items and position == self._checked:
                    self._checked += 1
                    check_first(stage, items[0])
                await _feed_async(stage, items, produced)
                if items and stage.heard:
                    tell_content(self.stages[position + 1 :])
                if flushing and failure is None:
                    flushed = (
                        stage.flush() if isinstance(stage, Stage) else await cast(AsyncStage[Any, Any], stage).flush()
                    )
                    _collect(flushed, produced)
            except Exception as error:
                failure = explained(error, stage, items)
            else:
                if stage.done:
                    self.done, failure = True, None
            items = produced
        return items if failure is None else cut_short(items, failure)


async def _feed_async(stage: Joinable[Any, Any], items: list[Any], produced: list[Any]) -> None:
    if isinstance(stage, Stage):
        _collect(stage.feed_all(items) if items else (), produced)
        return
    for item in items:
        _collect(await cast(AsyncStage[Any, Any], stage).feed(item), produced)
        if stage.done:
            return


class Run(Iterator[Out]):
    """A sync pipeline at work over an iterable. After a failure it raises the same error again; it never seems complete."""

    def __init__(
        self,
        pipeline: Pipeline[Any, Out],
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
        self._pipeline = pipeline
        self._bursts = _bursts(items)
        self._clock = clock if any(map(hears_time, pipeline.stages)) else None
        self._ready: Iterator[Out] = iter(())
        self._failure: Exception | None = None
        self._names = [type(stage).__name__ for stage in pipeline.stages]
        self._framed: bool | None = None  # whether a stage had to be put first; `None` before anything came
        self._received = 0
        self._ended = False
        self._restored = False
        if checkpoint is not None:
            self._restore(checkpoint)
        if self._clock:
            try:
                pipeline.tick(self._clock())
            except Exception as error:
                raise self._told(error) from None

    def stage(self, kind: type[A]) -> A:
        """This run's own copy of the stage of that class, to read its state. `PipelineError` if there is none."""
        return find_stage(self._pipeline.stages, kind)

    @property
    def figures(self) -> "list[Figures]":
        """What each stage did so far, on a run of a pipeline that is `measured()`."""
        from streamkit.figures import figures_of

        return figures_of(self._pipeline.stages)

    def __next__(self) -> Out:
        while True:
            for item in self._ready:
                return item
            if self._failure:
                raise self._failure
            if self._ended:
                raise StopIteration
            produced: list[Out] = []
            try:
                self._advance(produced)
            except Exception as error:
                self._failure = self._told(error)
            except BaseException as error:
                # Ctrl-C, for example; what comes after it must not look like the end. (Law 5)
                self._failure = StreamInterrupted(
                    f"a read was interrupted by {type(error).__name__}; what came is not complete"
                )
                raise
            self._ready = iter(produced)

    def _advance(self, produced: list[Out]) -> None:
        burst = self._next_burst()
        # The end is told its time too, unless nothing ever came.
        if self._clock and (burst is not None or self._framed is not None):
            self._pipeline.tick(self._clock())
        if burst is not None:
            if self._framed is None:
                self._frame(unframed(burst[0]))
            self._received += amount(burst)
            _collect(self._pipeline.feed_all(burst), produced)
        if burst is None or self._pipeline.done:
            self._ended = True
            _collect(self._pipeline.flush(), produced)

    def _next_burst(self) -> list[Any] | None:
        try:
            return next(self._bursts, None)
        except Exception as error:
            # The answer is complete, and what broke off is a body without its end marker.
            if broke_off(error) and self._pipeline.answered:
                return None
            raise

    def _told(self, error: Exception) -> Exception:
        return unfit(error) if self._restored else error

    def _frame(self, unframed: bool) -> None:
        stage = self._pipeline.framing() if unframed else None
        self._framed = stage is not None
        if stage:
            self._pipeline.stages = (stage, *self._pipeline.stages)

    def checkpoint(self) -> dict[str, Any]:
        """All that this run knows, between two items, as plain data; see `Stream.checkpoint`."""
        ready = list(self._ready)
        self._ready = iter(ready)
        if self._failure or (self._ended and not ready):
            raise PipelineError("this run has ended, so that there is nothing to go on with")
        level = Level(self._pipeline.state(), [], self._ended)
        return Checkpoint(
            self._names,
            self._received,
            self._framed,
            self._ended,
            [level],
            pack(ready),
            pack([None, self._pipeline.ended]),
        ).to_dict()

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self._restored = True
        known = Checkpoint.from_dict(checkpoint, self._names)
        with fitting("this pipeline"):
            if known.framed is not None:
                self._frame(known.framed)
            self._pipeline.restore(known.levels[0].state)
            self._received, self._ended, self._ready = known.received, known.exhausted, iter(unpack(known.ready))


def _bursts(items: Iterable[A]) -> Iterator[list[A]]:
    if isinstance(items, bytes | bytearray | memoryview | str):
        yield [cast(A, items)]
        return
    iterator = iter(items)
    size = BURST if isinstance(items, list | tuple) else 1
    while burst := list(islice(iterator, size)):
        yield burst


def cut_short(produced: list[Out], error: Exception) -> Generator[Out, None, None]:
    """`produced`, and then the error: what `feed_all` returns when it fails in the middle of a burst. (Law 1)"""
    yield from produced
    raise error


def unframed(item: object) -> bool:
    """Whether this is a piece of a body and not a line: bytes, or text that holds the end of a line."""
    return isinstance(item, bytes | bytearray | memoryview) or (
        isinstance(item, str) and ("\n" in item or "\r" in item)
    )


def hears_time(stage: Joinable[Any, Any]) -> bool:
    """Whether a stage has a `tick` of its own; the others need no clock."""
    return type(stage).tick is not Joinable.tick  # pyright: ignore[reportUnknownMemberType] # a method of any of them


def tell_content(stages: Iterable[Joinable[Any, Any]]) -> None:
    """Tell the stages after the one that heard content of it."""
    for stage in stages:
        stage.heard_content()


def find_stage(stages: Iterable[object], kind: type[A]) -> A:
    """The first stage of that class."""
    for stage in stages:
        if isinstance(stage, kind):
            return stage
    raise PipelineError(f"there is no {kind.__name__} in this pipeline")


def check_first(stage: Joinable[Any, Any], item: object) -> None:
    """Raise `PipelineError` if the first item that a stage is given shows that another stage, or source, is missing."""
    from streamkit.joining import check_item

    check_item(stage, item)


def placed(stages: list[A]) -> list[A]:
    """The copies for a run, each with its place in the pipeline as it was written, for the notes of errors."""
    for number, stage in enumerate(stages, 1):
        object.__setattr__(stage, "_place", (number, len(stages)))
    return stages


def explained(error: Exception, stage: Joinable[Any, Any], items: Iterable[object]) -> Exception:
    """The error with a note that names the stage. A stage of streamkit's that failed at an item which it can't take has a
    `PipelineError` in its place."""
    from streamkit.description import called

    ours = type(stage).__module__.startswith("streamkit.") and isinstance(error, AttributeError | TypeError)
    found = _wrong_among(stage, items) if ours else None
    if found:
        found.__cause__, error = error, found
    place = getattr(stage, "_place", None)
    error.add_note(f"in stage {place[0]} of {place[1]}: {called(stage)}" if place else f"in {called(stage)}")
    return error


def _wrong_among(stage: Joinable[Any, Any], items: Iterable[object]) -> PipelineError | None:
    try:
        for item in items:
            check_first(stage, item)
    except PipelineError as error:
        return error
    return None


def segments(pipeline: Joinable[Any, Any]) -> list[Pipeline[Any, Any] | AsyncStage[Any, Any]]:
    """Fresh copies of all stages: neighbouring sync ones fused into a pipeline each, the others by themselves."""
    found: list[Pipeline[Any, Any] | AsyncStage[Any, Any]] = []
    for fresh in placed([stage.fresh() for stage in pipeline.parts()]):
        if isinstance(fresh, AsyncStage):
            found.append(fresh)
        elif found and isinstance(found[-1], Pipeline):
            found[-1].stages += (cast(Stage[Any, Any], fresh),)
        else:
            found.append(Pipeline((cast(Stage[Any, Any], fresh),)))
    return found


def _last_done(stages: tuple[Joinable[Any, Any], ...]) -> int:
    return max((position for position, stage in enumerate(stages) if stage.done), default=0)


def _collect(given: Iterable[A], into: list[A]) -> list[A]:
    # `extend` keeps what a generator yielded before it raised.
    into.extend(given)
    return into
