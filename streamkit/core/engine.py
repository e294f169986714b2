"""One run of a pipeline as a state machine: no I/O, no await, no task. The laws are implemented here and nowhere else.

A driver reads, waits and closes; the engine does everything else:

    items = engine.receive(burst)       pass the result of one read, or None at the end of the input
    engine.todo                         the next action of the driver

    READ        read the source, then `receive`
    CALL        await `call()`, then `answer` or `refuse`
    CLOSE       a stage needs no more input: close the source, then `closed`
    CONTINUE    nothing to wait for: `proceed`; if the engine is `working`, yield to other tasks first
    END         raise `failure` if there is one; otherwise the run has ended with `end`

Each of these methods returns items for the consumer. A driver's fast path checks `reading` and `calling`: while one of them is
true, `todo` is READ or CALL, and the last step changed nothing else that the driver must react to.

Adjacent sync stages form one level: a burst moves through them as a list. An async stage is a level of its own, with a queue of
the items that it was not called with yet. Pending items of the deepest level are processed first, so that everything that was
produced is delivered before more is read or a failure is raised (law 1). After a failure nothing is flushed (law 5). A stage with
long-running work returns `Slices`: each slice passes through the following stages before the next slice is produced.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from enum import Enum
from operator import attrgetter
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import msgspec

from streamkit.core.checkpoint import LevelState, RunState, fitting, pack, unfit, unpack, usable
from streamkit.core.hints import check_item
from streamkit.errors import PipelineError
from streamkit.events import CONTENT, StreamEnd

A = TypeVar("A")
_CONTENT = frozenset(CONTENT)
_ITERATES = (__name__, "streamkit.core.stage")
"""The modules that iterate over the results of stages."""
_BUILT_IN = (list, tuple)
"""Iterating over these types never raises."""


class Todo(Enum):
    """The next action of a driver."""

    READ = "read"
    CALL = "call"
    CLOSE = "close"
    CONTINUE = "continue"
    END = "end"


class Phase(Enum):
    """The phase of a run."""

    READING = "reading"
    DRAINING = "draining"  # no more input; the stages are being flushed
    ENDED = "ended"


class Runnable(Protocol):
    """The interface between a stage and the engine. A sync stage also has `feed_all(items)`, an async one `async feed(item)`."""

    done: bool
    waits: bool
    measured: bool

    @property
    def answered(self) -> bool: ...

    def flush(self) -> Any: ...
    def tick(self, now: float) -> None: ...
    def content_arrived(self) -> None: ...
    def inner(self) -> "Iterable[Runnable]": ...
    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...


class Alarm:
    """A flag that a stage sets when it becomes `done`, so that the engine need not check every stage after every read."""

    def __init__(self) -> None:
        self.is_set = False


class Slices(Iterable[A]):
    """The result of a `feed_all` with long-running work: an iterator that does part of the work per step and returns its items.

    A stream yields to other tasks between two slices. Iterating over this object returns all items.
    """

    def __init__(self, slices: Iterator[Iterable[A]]) -> None:
        self.slices = slices

    def __iter__(self) -> Iterator[A]:
        for items in self.slices:
            yield from items


class _Work(NamedTuple):
    # The remaining slices of stage `at` of a level.
    level: int
    at: int
    slices: Iterator[Iterable[Any]]


class StageMetrics(msgspec.Struct):
    """The profile of one stage of a measured run.

    `seconds` is the time spent in the stage's own code; for an async stage it includes waiting. `held` is the amount that the
    stage buffers, in characters or items, `None` if it does not report it. `error` is the class of the exception that it raised.
    """

    stage: str
    bursts: int = 0
    """The number of calls with input."""
    items_in: int = 0
    """The number of items received."""
    items_out: int = 0
    """The number of items returned."""
    seconds: float = 0.0
    held: int | None = None
    error: str | None = None


class _Level:
    def __init__(self, first: int, stages: list[Any], *, waits: bool) -> None:
        self.first = first
        self.stages = stages
        self.waits = waits
        self.pending: deque[Any] = deque()


class Engine:
    """One run of `stages`, which must not be shared with any other run.

    `clock` returns the time for stages with a `tick`. Without a clock the engine calls neither `tick` nor `content_arrived`: this
    is for a pipeline inside another stage, because the outer engine calls them for inner stages too (`inner`). `watch_content`:
    set `content` to true after each step that contained content of the answer, even if a stage still buffers it. `place` is used
    in error notes: the number of stages before these in the whole pipeline, and the total number of its stages.
    """

    # Instances with more than 29 attributes don't share their dict keys; without slots an idle stream would take 1.3 KiB more.
    __slots__ = (
        "_alarm",
        "_began",
        "_clock",
        "_closing",
        "_content_read",
        "_deep",
        "_flushed",
        "_given",
        "_levels",
        "_listeners",
        "_metrics",
        "_place",
        "_plain",
        "_plain_calls",
        "_polled",
        "_restored",
        "_start",
        "_started",
        "_steps",
        "_ticks",
        "_turn",
        "_unchecked",
        "_watching",
        "_work",
        "calling",
        "content",
        "end",
        "failure",
        "phase",
        "reading",
        "stages",
        "todo",
    )

    def __init__(
        self,
        stages: Sequence[Runnable],
        clock: Callable[[], float] | None,
        *,
        watch_content: bool = False,
        place: tuple[int, int] | None = None,
    ) -> None:
        self.stages = tuple(stages)
        self._place = place or (0, len(self.stages))
        self.reading = True
        self.calling = False
        self.todo = Todo.READ
        self.phase = Phase.READING
        self.end: StreamEnd | None = None
        self.failure: Exception | None = None
        self.content = False
        self._clock = clock or perf_counter
        self._alarm = Alarm()
        self._levels = _levels(self.stages)
        first = self._levels[0]
        self._steps = [] if first.waits else [(stage.feed_all, at) for at, stage in enumerate(first.stages)]
        self._work: list[_Work] = []  # the deepest last
        self._flushed = 0  # the level to flush next
        self._start = 0  # and the stage in it to begin with
        self._turn = 0  # the level of the async stage to call
        self._began = 0.0
        self._given: tuple[Any, ...] = ()  # the item that it was called with
        self._content_read = False
        self._closing = False
        self._started = False  # whether the source has returned anything, for stages with a `tick`
        self._ticks: list[Callable[[float], None]] = []
        self._listeners: list[Callable[[], None]] = []
        for stage in with_inner(self.stages) if clock else ():
            if not hasattr(tick := stage.tick, "unused"):
                self._ticks.append(tick)
            if not hasattr(content_arrived := stage.content_arrived, "unused"):
                self._listeners.append(content_arrived)
        self._watching = watch_content or bool(self._listeners)
        self._metrics = {at: StageMetrics(stage_name(stage)) for at, stage in enumerate(self.stages) if stage.measured}
        # A class with its own `done` attribute does not set the alarm; its stages are checked after each burst.
        self._polled = not all([sets_alarm(stage, self._alarm) for stage in self.stages])  # noqa: C419 -- all of them
        self._deep = len(self._levels) > 1 or first.waits
        self._restored = False
        self._unchecked = set(range(len(self.stages)))  # stages that have not received an item yet
        self._plain = False
        self._plain_calls = False

    @property
    def answered(self) -> bool:
        """Whether only the end marker of the answer is missing, so that a disconnect of the source now is a natural end."""
        return any(stage.answered for stage in with_inner(self.stages))

    @property
    def metrics(self) -> list[StageMetrics]:
        """The metrics of the measured stages so far. Raises `PipelineError` if no stage is measured."""
        if not self._metrics:
            raise PipelineError(
                "this run is not measured: open it with streamkit.plugins.pipeline_files.measure(pipeline)"
            )
        for position, metrics in self._metrics.items():
            metrics.held = getattr(self.stages[position], "held", None)
        return list(self._metrics.values())

    @property
    def working(self) -> bool:
        """Whether slices of a stage's work remain."""
        return bool(self._work)

    @property
    def pending(self) -> bool:
        """Whether async stages have items that they were not called with yet."""
        return any(level.pending for level in self._levels)

    # Steps

    def begin(self) -> None:
        """Start the clock of the stages. Called when the source is open."""
        try:
            self._tick()
        except Exception as error:
            self.fail(error)

    def untime(self) -> None:
        """Stop calling `tick`, for a source without arrival times."""
        self._ticks = []

    def receive(self, burst: list[Any] | None) -> list[Any]:
        """Process the result of one read, at least one item; `None` is the end of the input."""
        if burst is None:
            return self._receive_end()
        if self._ticks:
            self._started = True
            self._tick()
        if not self._plain:
            return self._receive_slowly(burst)
        items: Any = burst
        at = -1
        try:
            for feed_all, at in self._steps:
                items = feed_all(items)
                if items.__class__ is not list:
                    return self._settle(0, *self._through(0, [], at, returned=items))
                if not items:
                    break
                if type(items[-1]) is StreamEnd:
                    self.end, self.reading = items[-1], False
        except Exception as error:
            return self._settle(0, [], _Failure(self._named(error, at, items), at))
        if self._deep or self._alarm.is_set:
            return self._settle(0, items)
        return items  # type: ignore[no-any-return]

    def call(self) -> Awaitable[Iterable[Any]]:
        """Call the async stage whose turn it is, and return the awaitable for the driver."""
        level = self._levels[self._turn]
        if self._ticks:
            self._tick()
        if self._metrics:
            self._began = perf_counter()
        stage = level.stages[0]
        if not level.pending:
            self._given = ()
            self._flushed += 1
            return cast("Awaitable[Iterable[Any]]", stage.flush())
        item = level.pending.popleft()
        self._given = (item,)
        if self._unchecked:
            self._check(level.first, item)
        returned: Awaitable[Iterable[Any]] = stage.feed(item)
        return returned

    def answer(self, returned: Iterable[Any]) -> list[Any]:
        """Collect the items that the call returned. An exception raised by this iterable is a failure of the stage."""
        level = self._levels[-1]
        if self._plain_calls and self._turn == len(self._levels) - 1 and returned.__class__ in _BUILT_IN:
            items = list(returned)
            if not self._alarm.is_set and StreamEnd not in map(type, items):
                # If the last stage has more pending items, the next action stays the same.
                if not level.pending:
                    self._decide()
                return items
        return self._answered(returned, None)

    def refuse(self, error: Exception) -> list[Any]:
        """Record that the call raised `error`."""
        return self._answered((), error)

    def fail(self, error: Exception) -> list[Any]:
        """End the run because the source or the driver failed."""
        self.failure = unfit(self._without_stop(error)) if self._restored else self._without_stop(error)
        self.todo, self.phase, self.reading, self.calling = Todo.END, Phase.ENDED, False, False
        self._work.clear()
        return []

    def closed(self) -> list[Any]:
        """Continue after the driver has closed the source, as CLOSE requested."""
        self._closing = False
        self._decide()
        return []

    def proceed(self) -> list[Any]:
        """Run the next slice of the deepest stage's work, or flush the next level."""
        if self._work:
            return self._slice()
        index, start = self._flushed, self._start
        self._flushed, self._start = index + 1, 0
        if self._started:
            self._tick()
        return self._settle(index, *self._through(index, [], start, flushing=True))

    def finish(self) -> list[Any]:
        """Run all remaining slices, so that the state can be taken between two reads."""
        items: list[Any] = []
        while self._work:
            items += self._slice()
        return items

    # Implementation of the steps

    def _slice(self) -> list[Any]:
        index, at, slices = self._work[-1]
        failure: _Failure | None = None
        position, items, began = self._levels[index].first + at, list[Any](), perf_counter()
        try:
            if (given := next(slices, None)) is None:
                self._work.pop()
            else:
                items.extend(given)
        except Exception as error:
            failure = _Failure(self._named(error, position, ()), at)
        if self._metrics:
            self._measure(position, began, 0, len(items), failure.error if failure else None)
        self._observe(items)
        items, later = self._through(index, items, at + 1)
        return self._settle(index, items, later or failure)

    def _receive_end(self) -> list[Any]:
        self.phase = Phase.DRAINING
        self._decide()
        return self.proceed() if self.todo is Todo.CONTINUE else []

    def _receive_slowly(self, items: list[Any]) -> list[Any]:
        self.content = False
        self._observe(items)
        if self._levels[0].waits:
            self._levels[0].pending.extend(items)
            self._decide()
            items = []
        else:
            items = self._settle(0, *self._through(0, items, 0))
        self._content_read |= self.content
        return items

    def _answered(self, returned: Iterable[Any], error: Exception | None) -> list[Any]:
        index = self._turn
        items: list[Any] = []
        self.content = False
        try:
            items.extend(returned)
        except Exception as failed:
            error = failed
        position = self._levels[index].first
        if self._metrics:
            self._measure(position, self._began, len(self._given), len(items), error)
        if self._ticks:
            self._tick()
        # Content that passes through an async stage was already recognized when it was read.
        self._observe(items, anywhere=True, content=not self._content_read)
        return self._settle(index, items, _Failure(self._named(error, position, self._given), 0) if error else None)

    def _through(
        self, index: int, items: list[Any], start: int, *, returned: Any = None, flushing: bool = False
    ) -> "tuple[list[Any], _Failure | None]":
        """Pass a burst through the stages of a level, beginning at `start`. `returned` is the result of that stage if it was
        called already."""
        level, failure = self._levels[index], None
        for at in range(start, len(level.stages)):
            stage, error = level.stages[at], None
            produced: list[Any] = []
            received, began = len(items), perf_counter() if self._metrics else 0.0
            try:
                given: Any = () if returned is None else returned
                if returned is None and items:
                    self._check(level.first + at, items[0])
                    given = stage.feed_all(items)
                if given.__class__ is Slices and not flushing:
                    self._work.append(_Work(index, at, given.slices))
                    given = next(given.slices, ())
                produced.extend(given)
                # After a failure of an earlier stage the run has no natural end. (Law 5)
                if flushing and failure is None:
                    produced.extend(stage.flush())
            except Exception as raised:
                error = raised
                failure = _Failure(self._named(raised, level.first + at, items), at)
            items, returned = produced, None
            if self._metrics:
                self._measure(level.first + at, began, received, len(items), error)
            self._observe(items, anywhere=flushing)
        return items, failure

    def _settle(self, index: int, items: list[Any], failure: "_Failure | None" = None) -> list[Any]:
        """Process the result of a level: record its failure or stop, and pass its items to the next level."""
        while True:
            self._conclude(index, failure)
            index += 1
            if not items or index == len(self._levels):
                break
            level = self._levels[index]
            if level.waits:
                level.pending.extend(items)
                items = []
                break
            items, failure = self._through(index, items, 0)
        self._decide()
        return items

    def _conclude(self, index: int, failure: "_Failure | None") -> None:
        is_set = self._alarm.is_set or self._polled
        if failure is None and not is_set:
            return
        done = [at for at, stage in enumerate(self._levels[index].stages) if stage.done] if is_set else []
        if done and index >= self._flushed:
            self._stop(index, done[-1])
            # A failure of an earlier stage happened after the point at which this stage ended the run, so it is dropped.
            if failure is None or failure.at < done[-1]:
                self.failure = failure = None
        if failure is not None:
            self.failure = failure.error
            self._abandon(index, failure.at)

    def _stop(self, index: int, at: int) -> None:
        self._closing = self.phase is Phase.READING
        self.phase = Phase.DRAINING
        self._flushed, self._start = index, at
        self._abandon(index, at)

    def _abandon(self, index: int, at: int) -> None:
        # Discard the remaining work and pending items of that stage and of those before it.
        self._work = [work for work in self._work if (work.level, work.at) > (index, at)]
        for level in self._levels[: index + 1]:
            level.pending.clear()

    def _decide(self) -> None:
        self.reading = self.calling = False
        pending = -1
        if self._deep:
            for index, level in enumerate(self._levels):
                if level.pending:
                    pending = index
        if self._closing and self.failure is None:
            self.todo = Todo.CLOSE
        elif pending > (working := self._work[-1].level if self._work else -1):
            self.todo, self._turn = Todo.CALL, pending
            self.calling = self.end is None and self.failure is None
        elif working >= 0:
            self.todo = Todo.CONTINUE
        elif self.failure is not None:
            self.todo, self.phase = Todo.END, Phase.ENDED
        elif self.phase is Phase.READING:
            self.todo = Todo.READ
            self.reading = self.end is None
        elif self._flushed == len(self._levels):
            self.todo, self.phase = Todo.END, Phase.ENDED
        elif self._levels[self._flushed].waits:
            self.todo, self._turn = Todo.CALL, self._flushed
        else:
            self.todo = Todo.CONTINUE

    def _tick(self) -> None:
        if self._ticks:
            now = self._clock()
            for tick in self._ticks:
                tick(now)

    def _observe(self, items: list[Any], *, anywhere: bool = False, content: bool = True) -> None:
        # In a burst a `StreamEnd` can only be the last item; in the output of a flush it can be any.
        if not items:
            return
        for item in reversed(items) if anywhere else items[-1:]:
            if type(item) is StreamEnd:
                self.end = item
                break
        if self._watching and content and not self.content and not _CONTENT.isdisjoint(map(type, items)):
            self.content = True
            for content_arrived in self._listeners:
                content_arrived()

    def _measure(self, position: int, began: float, received: int, returned: int, error: Exception | None) -> None:
        if metrics := self._metrics.get(position):
            metrics.bursts += 1 if received else 0
            metrics.items_in += received
            metrics.items_out += returned
            metrics.seconds += perf_counter() - began
            if error:
                metrics.error = type(error).__name__

    def _without_stop(self, error: Exception) -> Exception:
        if not isinstance(error, StopIteration | StopAsyncIteration):
            return error
        # A consumer would mistake this exception for the end of the stream; generators convert theirs too. (PEP 479, law 5)
        failure = RuntimeError(f"a stage or the source raised {type(error).__name__}")
        failure.__cause__ = error
        return failure

    def _check(self, position: int, item: object) -> None:
        if position in self._unchecked:
            self._unchecked.discard(position)
            if not (self._watching or self._metrics or self._polled):
                first, count = self._levels[0], len(self._levels[0].stages)
                self._plain = not first.waits and min(self._unchecked, default=count) >= count
                self._plain_calls = not (self._ticks or self._unchecked)
            check_item(self.stages[position], item)

    def _named(self, error: Exception, position: int, items: Iterable[object]) -> Exception:
        failure, stage = self._without_stop(error), self.stages[position]
        if self._restored:
            failure = unfit(failure)
        elif type(stage).__module__.startswith("streamkit.") and isinstance(error, AttributeError | TypeError):
            failure = _wrong_among(items, stage) or failure
            failure.__cause__ = None if failure is error else error
        if hint := _of_no_iterable(error):
            failure.add_note(hint)
        before, total = self._place
        failure.add_note(f"in stage {before + position + 1} of {total}: {called(stage)}")
        return failure

    # Checkpoints

    def state(self) -> RunState:
        """Return the state of all stages and the items between them."""
        levels = [LevelState([stage.state() for stage in level.stages], pack(level.pending)) for level in self._levels]
        return RunState(levels, self.phase.value, self._flushed, self._start, self._started, pack([self.end]))

    def restore(self, known: RunState) -> None:
        """Resume from `state()`, before the first step."""
        self._restored = True
        for level, saved in zip(self._levels, known.levels, strict=True):
            for stage, state in zip(level.stages, saved.stages, strict=True):
                with fitting(type(stage).__name__):
                    stage.restore(state)
                    usable(stage)
            level.pending.extend(unpack(saved.pending))
        if not 0 <= known.flushed <= len(self._levels) or known.start < 0:
            raise IndexError("no such level or stage to flush next")
        self.phase, self._flushed, self._start = Phase(known.phase), known.flushed, known.start
        self._started = known.started
        (self.end,) = unpack(known.end)
        self._decide()


class _Failure(msgspec.Struct):
    error: Exception
    at: int  # the index of the stage in its level


def sets_alarm(stage: Runnable, alarm: Alarm) -> bool:
    """Let the stage set the alarm when it is done. Return False if its class defines `done` itself, which can't set the alarm."""
    object.__setattr__(stage, "_alarm", alarm)
    return getattr(type(stage), "done", None) is DONE


def _set_done(stage: Any, value: bool) -> None:
    object.__setattr__(stage, "_done", value)
    if value and stage._alarm is not None:
        stage._alarm.is_set = True


DONE = property(attrgetter("_done"), _set_done)
"""The attribute `done` of every stage. Reading it does not run Python code."""


def stage_name(stage: object) -> str:
    """Return the name of a stage for messages: its class, or the function that it was created from."""
    name: str = getattr(stage, "function_name", None) or type(stage).__name__
    return name.rpartition(".")[2]


def called(stage: Any) -> str:
    """Return the name of a stage for an error note: its function's name or its class, including the stages that it wraps."""
    inner = stage.inner()
    if stages := getattr(stage, "stages", None):
        return " | ".join(map(called, stages))
    wrapped = getattr(stage, "stage", None)
    return f"{stage_name(stage)}({called(wrapped)})" if wrapped is not None and wrapped in inner else stage_name(stage)


def _of_no_iterable(error: Exception) -> str | None:
    # A hint if a method of a stage returned one item, or nothing, instead of an iterable of items.
    if not isinstance(error, TypeError) or not str(error).endswith("object is not iterable"):
        return None
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    # Otherwise the stage's own code iterates over a wrong object.
    if innermost is None or innermost.tb_frame.f_globals.get("__name__") not in _ITERATES:
        return None
    return "feed, feed_all and flush return an iterable of items: (item,) for one item, () for none"


def _wrong_among(items: Iterable[object], stage: Any) -> PipelineError | None:
    # The error for an item that a built-in stage can't take, if that is the reason for its failure.
    try:
        for item in items:
            check_item(stage, item)
    except PipelineError as error:
        return error
    return None


def with_inner(stages: Iterable[Any]) -> Iterator[Any]:
    """The stages and those that run inside them, at any depth."""
    for stage in stages:
        yield stage
        if inner := stage.inner():
            yield from with_inner(inner)


def fresh(stage: A) -> A:
    """A copy of a stage for one run. If the stage is measured, so is the copy."""
    step: Any = stage
    copy = step.fresh()
    if step.measured:
        object.__setattr__(copy, "measured", True)
    return copy  # type: ignore[no-any-return]


def find_stage(stages: Iterable[Any], kind: type[A]) -> A:
    """The first stage of that class, including stages inside others. Raises `PipelineError` if there is none."""
    for stage in with_inner(stages):
        if isinstance(stage, kind):
            return stage
    raise PipelineError(f"there is no {kind.__name__} in this pipeline")


def _levels(stages: tuple[Any, ...]) -> list[_Level]:
    levels: list[_Level] = []
    adjacent: list[Any] = []
    for position, stage in enumerate(stages):
        if stage.waits:
            levels.append(_Level(position, [stage], waits=True))
            adjacent = []
        elif adjacent:
            adjacent.append(stage)
        else:
            adjacent = [stage]
            levels.append(_Level(position, adjacent, waits=False))
    return levels or [_Level(0, [], waits=False)]
