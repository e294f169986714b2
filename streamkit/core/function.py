"""Functions as stages."""

import dataclasses
import inspect
import pkgutil
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeVar, cast, get_args, overload

from streamkit.core.hints import Classes, classes_of, is_stage_class
from streamkit.core.lazy import attribute
from streamkit.core.stage import AsyncStage, Hop, In, Out, Stage, cut_short
from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.events import Event

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Event)
_EVENTS = frozenset(get_args(Event))
TASKS: Final = {"concurrent": "streamkit.hops.concurrent_map:concurrent_stage"}
"""The implementation of concurrent calls, imported by name because core starts no tasks."""


class RunsConcurrently(Protocol):
    """Creates the context that calls a function for several items concurrently and iterates over the results."""

    def __call__(
        self,
        items: AsyncIterable[Any],
        function: Callable[[Any], Awaitable[Any]],
        *,
        of: Classes,
        concurrency: int,
        ordered: bool,
        spread: Callable[[Any], Iterable[Any]],
    ) -> AbstractAsyncContextManager[AsyncIterable[Any]]: ...


class _Function:
    # Shared by sync and async function stages.
    function: Callable[[Any], Any]
    passes_others: ClassVar[bool] = True
    _takes: Classes = None
    _exactly: frozenset[type[Any]] = frozenset()  # the same classes, for a lookup that is faster than `isinstance`

    def __post_init__(self) -> None:
        self._takes = parameter_classes(self.function)
        self._exactly = frozenset(self._takes or ())

    def fresh(self: A) -> A:
        # Avoids inspecting the signature again.
        made: Any = object.__new__(type(self))
        known = cast("Any", self)
        made.function, made._takes, made._exactly = known.function, known._takes, known._exactly
        return cast("A", made)

    def __repr__(self) -> str:
        return self.function_name

    @property
    def function_name(self) -> str:
        """The name of the stage."""
        return short_name(self.function)

    def item_types(self) -> tuple[Classes, Classes]:
        # Events of other classes pass through, so the stage takes and returns events of any class.
        if self._takes and set(self._takes) <= _EVENTS:
            return tuple(_EVENTS), tuple(_EVENTS)
        return self._takes, None

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        return

    def __reduce__(self) -> Any:
        name = f"{self.function.__module__}:{short_name(self.function)}"
        try:
            found = pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError):
            found = None
        # With `@stage` the name refers to the stage, so pickle can't find the function by it.
        if isinstance(found, _Function) and found.function is self.function:
            return pkgutil.resolve_name, (name,)
        return type(self), (self.function,)


@dataclasses.dataclass(repr=False)
class FunctionStage(_Function, Stage[In, Out]):
    """A function as a stage. Created by `stage`."""

    function: Callable[[Any], Any]

    def feed(self, item: In) -> Iterable[Out]:
        return self.feed_all([item])

    def feed_all(self, items: list[In]) -> Iterable[Out]:
        function, takes, exactly = self.function, self._takes, self._exactly
        produced: list[Any] = []
        add = produced.append
        try:
            for item in items:
                if takes is not None and item.__class__ not in exactly and not isinstance(item, takes):
                    add(item)
                    continue
                result = function(item)
                # There are few item classes, and a dict lookup is cheaper than a check for an iterator.
                if (many := _MANY.get(result.__class__)) is None:
                    many = _is_many(result.__class__)
                if many:
                    produced.extend(result)
                elif result is not None:
                    add(result)
        except Exception as error:
            return cut_short(produced, error)
        return produced


@dataclasses.dataclass(repr=False)
class AsyncFunctionStage(_Function, AsyncStage[In, Out]):
    """A coroutine function as a stage. Created by `stage`."""

    function: Callable[[Any], Awaitable[Any]]

    async def feed(self, item: In) -> Iterable[Out]:
        takes = self._takes
        if takes is not None and item.__class__ not in self._exactly and not isinstance(item, takes):
            return (cast("Out", item),)
        return _spread(await self.function(item))


@dataclasses.dataclass(repr=False)
class ConcurrentFunctionStage(_Function, Hop[In, Out]):
    """A coroutine function as a stage with concurrent calls. Created by `stage(concurrency=…)`."""

    function: Callable[[Any], Awaitable[Any]]
    concurrency: int
    ordered: bool = True

    def fresh(self) -> "ConcurrentFunctionStage[In, Out]":
        return ConcurrentFunctionStage(self.function, self.concurrency, self.ordered)

    def join(self, items: AsyncIterable[In]) -> AbstractAsyncContextManager[AsyncIterable[Out]]:
        concurrent = cast("RunsConcurrently", attribute(__name__, "concurrent", TASKS))
        return concurrent(
            items,
            self.function,
            of=self._takes,
            concurrency=self.concurrency,
            ordered=self.ordered,
            spread=_spread,
        )

    def __reduce__(self) -> Any:
        make, options = super().__reduce__()
        return make, options if make is pkgutil.resolve_name else (self.function, self.concurrency, self.ordered)


class ConcurrentDecorator(Protocol):
    """The result of `stage(concurrency=…)`: a decorator that turns a coroutine function into a stage."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[E], Awaitable[Iterable[Event] | Event | None]], /
    ) -> AsyncStage[Event, Event]: ...
    @overload
    def __call__(self, function: Callable[[A], Awaitable[list[B] | B | None]], /) -> AsyncStage[A, B]: ...


# The four overlap, since an awaitable is an object too. Type checkers take the first one that matches, which is correct here.
@overload
def stage(  # type: ignore[overload-overlap]
    function: Callable[[E], Awaitable[Iterable[Event] | Event | None]],
) -> AsyncStage[Event, Event]: ...
@overload
def stage(  # type: ignore[overload-overlap]
    function: Callable[[E], Iterable[Event] | Event | None],
) -> Stage[Event, Event]: ...
@overload
def stage(  # type: ignore[overload-overlap]
    function: Callable[[A], Awaitable[list[B] | B | None]],
) -> AsyncStage[A, B]: ...
@overload
def stage(function: Callable[[A], Generator[B, None, None] | Iterator[B] | list[B] | B | None]) -> Stage[A, B]: ...
@overload
def stage(*, concurrency: int, ordered: bool = True) -> ConcurrentDecorator: ...
def stage(function: Callable[[Any], Any] | None = None, *, concurrency: int | None = None, ordered: bool = True) -> Any:
    """Turn a function into a stage: one item in; `None`, one item, or a list, tuple or generator of items out.

    If the parameter is annotated with a class or a union of classes, items of other classes pass through unchanged. A coroutine
    function becomes an `AsyncStage`, which makes its calls sequentially. The function is shared by all runs, so keep no state in
    it.

    With `@stage(concurrency=8)` up to 8 calls of a coroutine function run concurrently, each in its own task: the stage is a hop,
    and its stream must be used with `async with`. Results are emitted in the order of the items, and all other items keep their
    position; with `ordered=False` results are emitted as they are ready. The first failure cancels the other calls.
    `hops.ConcurrentMap` does the same for a function that is not decorated, and has options for failures.
    """
    if function is None:
        if concurrency is None:
            raise PipelineError(
                "@stage takes a function, or the option concurrency: write @stage or @stage(concurrency=8)"
            )
        return partial(stage, concurrency=concurrency, ordered=ordered)
    if inspect.isasyncgenfunction(function):
        raise PipelineError(
            f"{short_name(function)} is an async generator function: return a list, or write an AsyncStage"
        )
    if not callable(function):
        raise PipelineError(f"@stage takes a function, found {kind_of(function)}")
    if is_stage_class(function):
        raise PipelineError(f"@stage takes a function, found {short_name(function)}, which is a stage already")
    # A callable object counts as a coroutine function if its `__call__` is one.
    waits = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))
    if concurrency is not None:
        if not waits:
            raise PipelineError(
                f"concurrency: expected a coroutine function, found {short_name(function)}, which can't wait; "
                "hops.Threaded runs heavy work in a thread"
            )
        if concurrency < 1:
            raise PipelineError(f"expected a concurrency of 1 or more, found {concurrency}")
        return ConcurrentFunctionStage[Any, Any](function, concurrency, ordered)
    return AsyncFunctionStage[Any, Any](function) if waits else FunctionStage[Any, Any](function)


def _spread(result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    if (many := _MANY.get(result.__class__)) is None:
        many = _is_many(result.__class__)
    return result if many else (result,)


_MANY: dict[type[Any], bool] = {}


def _is_many(kind: type[Any]) -> bool:
    # Whether a result of that class is a collection of items. The table is bounded, for classes created at run time.
    many = issubclass(kind, list | tuple | Iterator)
    if len(_MANY) < 1000:
        _MANY[kind] = many
    return many


def short_name(function: Callable[..., Any]) -> str:
    """The function's name for messages. For a `partial`, the name of its function."""
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return getattr(function, "__qualname__", type(function).__name__)


def parameter_classes(function: Callable[..., Any]) -> Classes:
    """The classes that annotate a function's first parameter; `None` if they are unknown."""
    # The return annotation is not evaluated: it may use names that exist for type checkers only.
    try:
        hint = next(iter(inspect.signature(function).parameters.values())).annotation
        if isinstance(hint, str):
            hint = eval(hint, getattr(inspect.unwrap(function), "__globals__", {}))
    # A builtin has no signature, and a hint may use names that only a type checker imports.
    except (StopIteration, ValueError, TypeError, NameError, AttributeError, SyntaxError):
        return None
    return None if hint is inspect.Parameter.empty else classes_of(hint)
