"""Select events by class or by choice, and route items to different pipelines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar, cast

from streamkit.core.ends import less_complete
from streamkit.core.engine import called, with_inner
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage, Step
from streamkit.core.wrong_input import name_shown
from streamkit.errors import PipelineError
from streamkit.events import Event, Reset, StreamEnd
from streamkit.operators.each import check_function, choice_of

A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K", bound=Event)


@dataclass(repr=False)
class Select(ReadsAsWritten, Stage[Event, K | StreamEnd], Generic[K]):
    """Keep the events of a class, or of a tuple of classes (`types`), and the `StreamEnd`.

    All other events are dropped, including unknown ones.
    """

    types: type[K] | tuple[type[K], ...]

    def __post_init__(self) -> None:
        kinds = cast("tuple[object, ...]", self.types if isinstance(self.types, tuple) else (self.types,))
        if not kinds or not all(isinstance(kind, type) for kind in kinds):
            raise PipelineError("Select takes a class of events, or a tuple of them: Select((TextDelta, Finish))")

    def item_types(self) -> tuple[tuple[type, ...] | None, tuple[type, ...] | None]:
        kinds = self.types if isinstance(self.types, tuple) else (self.types,)
        return super().item_types()[0], (*kinds, StreamEnd)

    def feed(self, item: Event) -> Iterable[K | StreamEnd]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[K | StreamEnd]:
        kinds = self.types
        return [item for item in items if type(item) is StreamEnd or isinstance(item, kinds)]


@dataclass(repr=False)
class Choices(ReadsAsWritten, Stage[Event, Event]):
    """Keep the events of one choice, or of a tuple of choices, by `index`, and events that belong to no choice."""

    index: int | tuple[int, ...]

    def __post_init__(self) -> None:
        wanted: tuple[object, ...] = self.index if isinstance(self.index, tuple) else (self.index,)
        if not all(isinstance(index, int) for index in wanted):
            raise PipelineError("Choices takes the index of a choice, or a tuple of them: Choices((0, 2))")

    def feed(self, item: Event) -> Iterable[Event]:
        wanted = self.index if isinstance(self.index, tuple) else (self.index,)
        index = choice_of(item)
        return (item,) if index is None or index in wanted else ()


@dataclass(repr=False)
class Switch(ReadsAsWritten, Stage[A, A | B], Generic[A, B]):
    """Pass each item to the pipeline in `branches` that `choose` names. An item with any other name passes through unchanged.

    The branches are sync. Each run has its own copies, which are flushed in order at the end. A `StreamEnd` is passed to all
    branches and emitted once, last. If branches change it, the changed one is emitted: of several, the first that is not a
    success, or else the first that is not `completed`. A `Reset` is passed to all branches too, and emitted once. When a branch
    needs no more input, the whole stage ends.
    """

    choose: Callable[[A], str]
    branches: dict[str, Stage[A, B]]
    _running: dict[str, Stage[A, B]] = field(
        default_factory=dict[str, Stage[A, B]], init=False, repr=False, compare=False, metadata={"state": False}
    )
    _ended: bool = field(default=False, init=False, repr=False)
    _own: StreamEnd | None = field(default=None, init=False, repr=False)  # the end that a branch created or changed

    def __post_init__(self) -> None:
        check_function(self, self.choose)
        for name, branch in self.branches.items():
            found = cast(object, branch)
            if not isinstance(found, Stage):
                raise PipelineError(
                    f"Switch takes sync stages and pipelines, found an object of type {type(found).__name__} for {name!r}"
                )
        self.completes = any(part.completes for part in with_inner(self.branches.values()))

    def fresh(self) -> "Switch[A, B]":
        fresh = replace(self)
        fresh._running = {name: branch.fresh() for name, branch in self.branches.items()}
        return fresh

    def state(self) -> Any:
        return super().state() | {"branches": {name: branch.state() for name, branch in self._running.items()}}

    def restore(self, state: Any) -> None:
        own = dict(state)
        running = own.pop("branches", {})
        if running.keys() != self._running.keys():
            found = [name_shown(name) for name in [*running][:20]]
            raise PipelineError(
                f"Switch: expected a state of the branches {[*self._running]}, found {', '.join(found)}"
            )
        super().restore(own)
        for name, branch in self._running.items():
            branch.restore(running[name])

    def inner(self) -> Iterable[Step[Any, Any]]:
        return (self._running or self.branches).values()

    def feed(self, item: A) -> Iterable[A | B]:
        if self._ended:
            return
        if isinstance(item, StreamEnd):
            yield from self._conclude(item)
        elif isinstance(item, Reset):
            yield from self._restart(item)
        elif branch := self._running.get(name := self.choose(item)):
            yield from self._without_end(None, _named(name, branch, partial(branch.feed, item)))
            if branch.done:
                self.done = True
                yield from self._conclude(self._own, besides=branch)
        else:
            yield item

    def flush(self) -> Iterable[A | B]:
        if not self._ended:
            yield from self._conclude(None)

    def _restart(self, reset: Reset) -> Iterable[A | B]:
        # All branches discard the abandoned answer, whichever of them `choose` names.
        after: list[B] = []
        for name, branch in self._running.items():
            restarted = False
            for item in self._without_end(None, _named(name, branch, partial(branch.feed, cast(Any, reset)))):
                if isinstance(item, Reset):
                    restarted = True
                elif restarted:
                    after.append(item)
                else:
                    yield item
        yield cast(Any, reset)
        yield from after
        if finished := next((branch for branch in self._running.values() if branch.done), None):
            self.done = True
            yield from self._conclude(self._own, besides=finished)

    def _conclude(self, end: StreamEnd | None, besides: Stage[A, B] | None = None) -> Iterable[A | B]:
        self._ended = True
        for name, branch in self._running.items():
            rest = partial(_rest, branch, end if branch is not besides else None)
            yield from self._without_end(end, _named(name, branch, rest))
        if last := self._own or end:
            yield cast(Any, last)

    def _without_end(self, end: StreamEnd | None, given: Iterable[B]) -> Iterable[B]:
        for item in given:
            if not isinstance(item, StreamEnd):
                yield item
            elif item != end:
                self._own = less_complete(self._own, item)


def _rest(branch: Stage[Any, B], end: StreamEnd | None) -> Iterable[B]:
    if end:
        yield from branch.feed(end)
    yield from branch.flush()


def _named(name: str, branch: Stage[Any, B], work: Callable[[], Iterable[B]]) -> Iterable[B]:
    try:
        yield from work()
    except Exception as error:
        error.add_note(f"in branch {name!r}: {called(branch)}")
        raise
