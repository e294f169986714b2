"""Plain functions as stages."""

import dataclasses
import inspect
import pkgutil
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any, ClassVar, TypeVar, cast, get_args, overload

from streamkit.errors import PipelineError
from streamkit.events import Event
from streamkit.joining import classes_of, is_stage_class
from streamkit.misfits import kind_of
from streamkit.stage import AsyncStage, In, Out, Stage

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Event)


class _Function:
    # What both kinds of function stage share.
    function: Callable[[Any], Any]
    passes_others: ClassVar[bool] = True  # items of classes that its parameter does not name

    def __repr__(self) -> str:
        return _function_name(self.function)

    def item_types(self) -> tuple[tuple[type, ...] | None, tuple[type, ...] | None]:
        takes = _parameter_classes(self.function)
        # Events of other kinds pass, so that what it takes and gives is events of any kind.
        if takes and set(takes) <= set(get_args(Event)):
            return get_args(Event), get_args(Event)
        return takes, None

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        return

    def __reduce__(self) -> Any:
        name = f"{self.function.__module__}:{_function_name(self.function)}"
        try:
            found = pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError):
            found = None
        # The decorated name stands for the stage; by that name pickle would not find the function.
        if isinstance(found, _Function) and found.function is self.function:
            return pkgutil.resolve_name, (name,)
        return type(self), (self.function,)


@dataclasses.dataclass(repr=False)
class FunctionStage(_Function, Stage[In, Out]):
    """A function as a stage; made by `stage`."""

    function: Callable[[Any], Any]
    _takes: tuple[type, ...] | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._takes = _parameter_classes(self.function)

    def feed(self, item: In) -> Iterable[Out]:
        if self._takes is not None and not isinstance(item, self._takes):
            return (cast(Out, item),)
        return _as_many(self.function(item))


@dataclasses.dataclass(repr=False)
class AsyncFunctionStage(_Function, AsyncStage[In, Out]):
    """A coroutine function as a stage; made by `stage`."""

    function: Callable[[Any], Awaitable[Any]]
    _takes: tuple[type, ...] | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._takes = _parameter_classes(self.function)

    async def feed(self, item: In) -> Iterable[Out]:
        if self._takes is not None and not isinstance(item, self._takes):
            return (cast(Out, item),)
        return _as_many(await self.function(item))


# The four overlap, since what is awaited is an object too; checkers take the first that fits, which is the right one.
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
def stage(function: Callable[[Any], Any]) -> Any:
    """Make a stage of a function: one item in; `None`, one item, or a list, tuple or generator of items out.

    If the parameter is annotated with a class or a union of classes, items of other classes pass by untouched. A coroutine
    function becomes an `AsyncStage`. The function is shared by all runs, so keep no state in it.
    """
    if inspect.isasyncgenfunction(function):
        raise PipelineError(
            f"{_function_name(function)} is an async generator function: return a list, or write an AsyncStage"
        )
    if not callable(function):
        raise PipelineError(f"@stage takes a function, found {kind_of(function)}")
    if is_stage_class(function):
        raise PipelineError(f"@stage takes a function, found {_function_name(function)}, which is a stage already")
    # An object may be a coroutine function by its `__call__`.
    if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        return AsyncFunctionStage[Any, Any](function)
    return FunctionStage[Any, Any](function)


def _as_many(result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    return cast(Iterable[Any], result) if isinstance(result, list | tuple | Iterator) else (result,)


def _function_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _parameter_classes(function: Callable[..., Any]) -> tuple[type, ...] | None:
    # What the function returns is not looked at; it may be named for type checkers alone.
    try:
        hint = next(iter(inspect.signature(function).parameters.values())).annotation
        if isinstance(hint, str):
            hint = eval(hint, getattr(inspect.unwrap(function), "__globals__", {}))
    # A builtin has no signature, and a hint may name what only a type checker imports: then nothing is known.
    except (StopIteration, ValueError, TypeError, NameError, AttributeError, SyntaxError):
        return None
    return None if hint is inspect.Parameter.empty else classes_of(hint)
