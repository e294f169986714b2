"""Functions and classes by name, for the `repr`, the pickle and the files of pipelines."""

import dataclasses
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar, cast

from streamkit.core.wrong_input import bounded, kind_of, shown
from streamkit.errors import PipelineError


def named(name: str) -> Callable[..., Any]:
    """Import the function or class `package.module:name`. Raises `PipelineError` if it can't be found."""
    found = resolved(name)
    if not callable(found):
        raise PipelineError(f"{shown(name)}: expected a function or class, found {kind_of(found)}")
    return cast(Callable[..., Any], found)


def resolved(name: str) -> object:
    """Import the object `package.module:name`. Raises `PipelineError` if it can't be found."""
    module, _, path = name.partition(":") if isinstance(cast(object, name), str) else ("", "", "")
    if not module or not path:
        raise PipelineError(f"expected a name as package.module:name, found {shown(name)}")
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PipelineError(bounded(f"{shown(name)} can't be found: {error}")) from error
    # Importing a third-party module can raise anything, `sys.exit` included.
    except (Exception, SystemExit) as error:
        raise PipelineError(f"{shown(name)} can't be imported: {type(error).__name__}") from error


def name_of(function: object) -> str | None:
    """The name with which `named` finds this same object; `None` for a lambda, a local function or a bound method."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name:
        return None
    try:
        found = pkgutil.resolve_name(f"{module}:{name}")
    except (ImportError, AttributeError, ValueError):
        return None
    return f"{module}:{name}" if found is function else None


class ReadsAsWritten:
    """Base of the stages of `streamkit.operators` and `hops`: their `repr` is `ops.Name(…)` with the non-default options."""

    room: ClassVar[str] = "ops"

    def __repr__(self) -> str:
        return f"{self.room}.{written(self)}"


def written(stage: Any) -> str:
    """The expression that creates the stage, with its non-default options."""
    return f"{type(stage).__name__}({', '.join(f'{name}={shown_as(value)}' for name, value in chosen(stage).items())})"


def chosen(stage: Any) -> dict[str, Any]:
    """The non-default options of a stage, by name."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        if field.init and (_default(field) is dataclasses.MISSING or value != _default(field)):
            found[field.name] = value
    return found


def shown_as(value: Any) -> str:
    """The `repr` of an option: an expression that creates it again after `from streamkit import *`, if its value has a name."""
    match value:
        case type() if value.__module__.startswith("streamkit."):
            return value.__name__
        case tuple() | list():
            items: list[str] = [shown_as(item) for item in cast("tuple[Any, ...] | list[Any]", value)]
            inner = ", ".join(items)
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        case dict():
            pairs = cast("dict[Any, Any]", value).items()
            return "{" + ", ".join(f"{key!r}: {shown_as(item)}" for key, item in pairs) + "}"
        # A stage has its own repr, including one created from a function.
        case _ if callable(value) and not dataclasses.is_dataclass(value):
            name = name_of(value)
            # A function without such a name can be shown but not created again.
            return f"ops.named({name!r})" if name else f"<{getattr(value, '__qualname__', type(value).__name__)}>"
        case _:
            return repr(value)


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
