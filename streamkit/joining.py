"""What `|` does: join stages, and say what is wrong with those that can't be joined, before anything runs."""

import inspect
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, cast, get_args, get_origin, is_typeddict
from weakref import WeakKeyDictionary

from streamkit.errors import PipelineError
from streamkit.misfits import kind_of, way_in, wrong_item
from streamkit.source import Source
from streamkit.stage import AsyncPipeline, AsyncStage, Joinable, Pipeline, Stage

Types: TypeAlias = tuple[type, ...] | None
# Looked up for each stage of each run.
_DECLARED: WeakKeyDictionary[type, tuple[Types, Types]] = WeakKeyDictionary()


def join(left: Joinable[Any, Any], right: object) -> Any:
    """The pipeline of two stages or pipelines. Raises `PipelineError` for what can't be joined."""
    if not isinstance(right, Joinable):
        raise PipelineError(misplaced(right))
    following = cast(Joinable[Any, Any], right)
    before, after = left.parts(), following.parts()
    for stage in before + after:
        check_class(stage)
    _check_order(before[-1], after[0])
    stages = [*before, *after]
    # From the right, since a stage that was fitted may change what the one before it has to do.
    for at in reversed(range(len(before))):
        stages[at] = stages[at].before(stages[at + 1])
    if any(isinstance(stage, AsyncStage) for stage in stages):
        return AsyncPipeline[Any, Any](tuple(stages))
    return Pipeline[Any, Any](cast(tuple[Stage[Any, Any], ...], tuple(stages)))


def misplaced(found: object) -> str:
    """What to say of something that stands where a stage belongs."""
    name: str = getattr(found, "__name__", type(found).__name__)
    if is_stage_class(found):
        return f"expected a stage, found the class {name}: write {name}()"
    if isinstance(found, Source):
        return "a source stands at the left end: write source | stage | …"
    if callable(found):
        return f"expected a stage, found the function {name}: decorate it with @streamkit.stage"
    return f"expected a stage, found {kind_of(found)}"


def is_stage_class(found: object) -> bool:
    """Whether it is a class of stages, and not a stage."""
    return isinstance(found, type) and issubclass(cast(type[object], found), Joinable)


def check_class(stage: Joinable[Any, Any]) -> None:
    """Raise `PipelineError` for a class of stages that could not do its work."""
    kind: Any = type(stage)
    if "__dataclass_fields__" not in vars(kind):
        raise PipelineError(
            f"{kind.__name__} is not a dataclass: decorate it with @dataclass, so that every run gets a fresh copy of its fields"
        )
    for name in ("feed", "flush"):
        method = getattr(kind, name)
        if inspect.isasyncgenfunction(method):
            raise PipelineError(
                f"{kind.__name__}.{name} is an async generator: make the class an AsyncStage and return a list, don't yield"
            )
        if isinstance(stage, Stage) and inspect.iscoroutinefunction(method):
            raise PipelineError(f"{kind.__name__}.{name} is a coroutine function: make the class an AsyncStage")


def check_source(source: Source[Any], pipeline: Joinable[Any, Any]) -> None:
    """Raise `PipelineError` if what the source gives, as its class declares, is not what the first stage takes."""
    first = pipeline.parts()[0]
    # A stage that can be put before it takes what the source gives.
    if first.framing() is None:
        _check_types(type(source).__name__, _source_types(type(source)), _name(first), first.item_types()[0])


def _check_order(left: Joinable[Any, Any], right: Joinable[Any, Any]) -> None:
    _check_types(_name(left), left.item_types()[1], _name(right), right.item_types()[0])


def _check_types(left: str, gives: Types, right: str, takes: Types) -> None:
    if gives is None or takes is None or any(issubclass(g, t) or issubclass(t, g) for g in gives for t in takes):
        return
    raise PipelineError(
        f"{left} | {right}: {left} gives {_names(gives)}, but {right} takes {_names(takes)}{way_in(takes, gives)}"
    )


def check_item(stage: Joinable[Any, Any], item: object) -> None:
    """Raise `PipelineError` if this item can't be one that the stage takes, as far as it declares that."""
    if getattr(stage, "passes_others", False):
        return
    own = type(stage).item_types is not Joinable.item_types  # pyright: ignore[reportUnknownMemberType]
    takes = (stage.item_types() if own else declared_types(type(stage)))[0]
    if takes and (problem := wrong_item(item, _name(stage), takes)):
        raise PipelineError(problem)


def declared_types(stage: type) -> tuple[Types, Types]:
    """The classes that a class of stages takes and gives, as its `Stage[…, …]` base says; `None` where that can't be known."""
    if (known := _DECLARED.get(stage)) is None:
        known = _DECLARED[stage] = _declared_types(stage)
    return known


def _declared_types(stage: type) -> tuple[Types, Types]:
    for kind in stage.__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            # A base of the author's own may have other parameters than these two.
            if get_origin(base) in (Joinable, Stage, AsyncStage):
                takes, gives = get_args(base)
                return classes_of(takes), classes_of(gives)
    return None, None


def _source_types(source: type) -> Types:
    for kind in source.__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            if get_origin(base) is Source:
                return classes_of(get_args(base)[0])
    return None


def classes_of(hint: Any) -> Types:
    """The classes that a type hint stands for; `None` for anything that no `isinstance` could tell."""
    hint = getattr(hint, "__value__", hint)  # of `type Name = …`
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        members = [classes_of(member) for member in get_args(hint)]
        return None if None in members else tuple(kind for member in members for kind in cast(tuple[type, ...], member))
    if origin is Annotated:
        return classes_of(get_args(hint)[0])
    known = isinstance(origin, type) and origin not in (object, Any)
    return (origin,) if known and not is_typeddict(origin) and not getattr(origin, "_is_protocol", False) else None


def _name(stage: Joinable[Any, Any]) -> str:
    return type(stage).__name__


def _names(kinds: tuple[type, ...]) -> str:
    shown = ", ".join(kind.__name__ for kind in kinds[:3])
    return shown + (", …" if len(kinds) > 3 else "")
