"""Operators on each item. A `StreamEnd` is not an item: it passes through and is always last."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage, cut_short
from streamkit.errors import PipelineError
from streamkit.events import StreamEnd

A = TypeVar("A")
B = TypeVar("B")


@dataclass(repr=False)
class Map(ReadsAsWritten, Stage[A, B]):
    """Replace each item by `function(item)`."""

    function: Callable[[A], B]

    def __post_init__(self) -> None:
        check_function(self, self.function)

    def feed(self, item: A) -> Iterable[B]:
        yield from (ending(item) or (self.function(item),))

    def feed_all(self, items: list[A]) -> Iterable[B]:
        function = cast("Callable[[Any], Any]", self.function)
        produced: list[Any] = []
        try:
            for item in items:
                produced.append(item if isinstance(item, StreamEnd) else function(item))
        except Exception as error:
            return cut_short(produced, error)
        return produced


@dataclass(repr=False)
class FlatMap(ReadsAsWritten, Stage[A, B]):
    """Replace each item by the items of `function(item)`: none, one or many."""

    function: Callable[[A], Iterable[B]]

    def __post_init__(self) -> None:
        check_function(self, self.function)

    def feed(self, item: A) -> Iterable[B]:
        yield from (ending(item) or self.function(item))


@dataclass(repr=False)
class Filter(ReadsAsWritten, Stage[A, A]):
    """Keep the items for which `predicate` is true."""

    predicate: Callable[[A], object]

    def __post_init__(self) -> None:
        check_function(self, self.predicate)

    def feed(self, item: A) -> Iterable[A]:
        return ending(item) or ((item,) if self.predicate(item) else ())


@dataclass(repr=False)
class Scan(ReadsAsWritten, Stage[A, B]):
    """Emit the running result after each item: `function(result, item)`, where the first `result` is `initial`.

    `initial` is copied for each run. `value` is the current result.
    """

    function: Callable[[B, A], B]
    initial: B
    value: B = field(init=False)

    def __post_init__(self) -> None:
        check_function(self, self.function)
        self.value = copy.deepcopy(self.initial)

    def feed(self, item: A) -> Iterable[B]:
        if end := ending(item):
            return end
        self.value = self.function(self.value, item)
        return (self.value,)


@dataclass(repr=False)
class Tap(ReadsAsWritten, Stage[A, A]):
    """Call `function` with each item, including the `StreamEnd`, and pass the item through. An exception ends the run."""

    function: Callable[[A], object]

    def __post_init__(self) -> None:
        check_function(self, self.function)

    def feed(self, item: A) -> Iterable[A]:
        self.function(item)
        return (item,)


def ending(item: Any) -> tuple[Any, ...]:
    """A tuple of the item if it is a `StreamEnd`, else an empty tuple."""
    return (item,) if isinstance(item, StreamEnd) else ()


def choice_of(event: object) -> int | None:
    """The index of the choice that an event belongs to; `None` if it belongs to none."""
    index = getattr(event, "index", None)
    return index if isinstance(index, int) else None


def check_function(stage: object, function: object) -> None:
    """Raise `PipelineError` unless `function` is callable."""
    if not callable(function):
        raise PipelineError(
            f"{type(stage).__name__} takes a function, found an object of type {type(function).__name__}"
        )


def check_number(name: str, number: object, least: int = 1) -> None:
    """Raise `PipelineError` unless `number` is an integer of at least `least`."""
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise PipelineError(f"{name}: expected a whole number of {least} or more, found {number!r}")


def check_seconds(name: str, seconds: object) -> None:
    """Raise `PipelineError` unless `seconds` is a finite positive number."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < float("inf"):
        raise PipelineError(f"{name}: expected seconds, more than 0, found {seconds!r}")
