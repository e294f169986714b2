"""The classes that a stage takes and returns, according to its type hints, and errors for stages that can't be composed."""

import inspect
import sys
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeAlias, Union, cast, get_args, get_origin, is_typeddict
from weakref import WeakKeyDictionary

from streamkit.core.wrong_input import kind_of, missing_stages, wrong_item
from streamkit.errors import PipelineError

if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations

    def _annotations(kind: type) -> dict[str, Any]:
        # Annotations are evaluated on demand, and may use names that are defined later. (PEP 649)
        return get_annotations(kind, format=Format.FORWARDREF)

else:
    _annotations = inspect.get_annotations

Classes: TypeAlias = tuple[type, ...] | None
"""The classes of items; `None` if they are unknown."""
# A cache, read for each stage and source of each run.
_DECLARED: WeakKeyDictionary[type, tuple[Classes, ...]] = WeakKeyDictionary()


_MAY_BE_FIELDS = ("done", "answered", "completes")
"""Attributes that a stage may define itself."""


class Composable:
    """Base class of everything that `|` composes."""

    declares_items: ClassVar[bool] = False
    """Set in a class body: the class's type parameters are the items that a stage takes and returns, or that a source returns."""


def declared_types(stage: type) -> tuple[Classes, Classes]:
    """The item classes that a stage class takes and returns, from its base `Stage[…, …]`."""
    takes, returns = _declared(stage) or (None, None)
    return takes, returns


def source_types(source: type) -> Classes:
    """The item classes of a source class, from its base `Source[…]`."""
    return next(iter(_declared(source)), None)


def _declared(kind: type) -> tuple[Classes, ...]:
    if (known := _DECLARED.get(kind)) is None:
        known = _DECLARED[kind] = _of_bases(kind)
    return known


def _of_bases(kind: type) -> tuple[Classes, ...]:
    for ancestor in kind.__mro__:
        for base in getattr(ancestor, "__orig_bases__", ()):
            # A user-defined generic base may have other type parameters.
            if vars(get_origin(base) or object).get("declares_items"):
                return tuple(map(classes_of, get_args(base)))
    return ()


def classes_of(hint: Any) -> Classes:
    """The classes in a type hint; `None` for a hint that `isinstance` can't check."""
    hint = getattr(hint, "__value__", hint)  # of `type Name = …`
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        members = [classes_of(member) for member in get_args(hint)]
        return (
            None if None in members else tuple(kind for member in members for kind in cast("tuple[type, ...]", member))
        )
    if origin is Annotated:
        return classes_of(get_args(hint)[0])
    known = isinstance(origin, type) and origin not in (object, Any)
    return (origin,) if known and not is_typeddict(origin) and not getattr(origin, "_is_protocol", False) else None


def check_item(stage: Any, item: object) -> None:
    """Raise `PipelineError` if the stage declares its item classes and can't take this item.

    Checked for the first item of each stage, where a wrong class means that another stage or source is missing before it.
    """
    if stage.passes_others:
        return
    takes = stage.item_types()[0]
    if takes and not isinstance(item, takes) and (problem := wrong_item(item, type(stage).__name__, takes)):
        raise PipelineError(problem)


def check_order(left: object, returns: Classes, right: object, takes: Classes) -> None:
    """Raise `PipelineError` if `right` can't take any item that `left` returns."""
    if returns is None or takes is None or any(issubclass(r, t) or issubclass(t, r) for r in returns for t in takes):
        return
    one, other = type(left).__name__, type(right).__name__
    raise PipelineError(
        f"{one} | {other}: {one} gives {_names(returns)}, but {other} takes {_names(takes)}{missing_stages(takes, returns)}"
    )


def check_class(kind: type[Any], *, waits: bool) -> None:
    """Raise `PipelineError` for a stage class that is not a dataclass or whose methods have the wrong kind."""
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
        if not waits and inspect.iscoroutinefunction(method):
            raise PipelineError(f"{kind.__name__}.{name} is a coroutine function: make the class an AsyncStage")


def check_names(kind: type, reserved: Mapping[str, object]) -> None:
    """Raise `PipelineError` for a field, or a value in the class body, that hides one of the `reserved` attributes of stages.

    Called when the class is created, before `dataclass` processes it.
    """
    fields = [name for name, hint in _annotations(kind).items() if not _is_class_variable(hint)]
    # A dataclass of another kind may add its fields.
    fields += [name for base in kind.__mro__[1:] for name in vars(base).get("__dataclass_fields__", ())]
    hidden = [name for name in fields if name in reserved and name not in _MAY_BE_FIELDS]
    hidden += [name for name, value in vars(kind).items() if callable(reserved.get(name)) and _is_value(value)]
    if hidden:
        name = hidden[0]
        attribute, way_out = f"the method {name}()", ""
        if not callable(reserved[name]):
            attribute, way_out = f"the attribute {name}", ", or set the attribute without an annotation"
        raise PipelineError(
            f"{kind.__name__}: the field {name} hides {attribute} of every stage: rename the field{way_out}"
        )


def _is_class_variable(hint: object) -> bool:
    return "ClassVar" in hint if isinstance(hint, str) else ClassVar in (hint, get_origin(hint))


def _is_value(value: object) -> bool:
    return not callable(value) and not hasattr(value, "__get__")


def misplaced(found: object) -> str:
    """The error message for an object that is not a stage."""
    name: str = getattr(found, "__name__", type(found).__name__)
    if is_stage_class(found):
        return f"expected a stage, found the class {name}: write {name}()"
    if callable(found):
        return f"expected a stage, found the function {name}: decorate it with @streamkit.stage"
    return f"expected a stage, found {kind_of(found)}"


def is_stage_class(found: object) -> bool:
    """Whether the object is a stage class, not an instance."""
    return isinstance(found, type) and issubclass(cast("type[object]", found), Composable)


def _names(kinds: tuple[type, ...]) -> str:
    shown = ", ".join(kind.__name__ for kind in kinds[:3])
    return shown + (", …" if len(kinds) > 3 else "")
