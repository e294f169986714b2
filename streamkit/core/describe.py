"""Pipelines as plain data and as diagrams, and pipelines with metrics."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from os import PathLike, fspath
from typing import Any, TypeVar, cast, get_args

import msgspec

from streamkit.core.engine import fresh, stage_name
from streamkit.core.function import AsyncFunctionStage, FunctionStage
from streamkit.core.naming import chosen, name_of
from streamkit.core.stage import AsyncPipeline, Pipeline, Step, parts
from streamkit.errors import PipelineError
from streamkit.events import Event, Json

A = TypeVar("A")
_EVENTS: tuple[type, ...] = get_args(Event)


def describe(pipeline: Step[Any, Any]) -> list[dict[str, Json]]:
    """The stages in order, each with its name, non-default options, item classes, and whether it is async.

    Options that a stage hides from its `repr` are omitted.
    """
    return [_described(stage) for stage in parts(pipeline)]


def to_data(pipeline: Step[Any, Any]) -> list[dict[str, Json]]:
    """The pipeline in the format of `streamkit.plugins.pipeline_files.from_data`: per stage a table of `use` and its options.

    Raises `PipelineError` for a function or class that has no name in a module.
    """
    return [{"use": _use(stage), **_options(stage, _unwritable(stage))} for stage in parts(pipeline)]


def mermaid(pipeline: Step[Any, Any]) -> str:
    """The pipeline as a Mermaid flowchart. Edges are labeled with the item classes; async stages have rounded ends."""
    lines = ["flowchart LR"]
    stages = parts(pipeline)
    for number, stage in enumerate(stages):
        shown = [stage_name(stage), *(f"{name}={_short(value)}" for name, value in _described_options(stage).items())]
        label = "<br/>".join(map(_escaped, shown))
        left, right = ("([", "])") if stage.waits else ("[", "]")
        lines.append(f'    s{number}{left}"{label}"{right}')
    lines.append(f"    in(( )) -->{_edge(stages[0].item_types()[0])} s0")
    for number, stage in enumerate(stages):
        following = f"s{number + 1}" if number + 1 < len(stages) else "out(( ))"
        lines.append(f"    s{number} -->{_edge(stage.item_types()[1])} {following}")
    return "\n".join(lines) + "\n"


def measure(stage: A) -> A:
    """A copy of the stage or pipeline whose runs collect metrics for each stage (`Stream.metrics`, `Run.metrics`).

    Stages that are composed later are not measured.
    """
    measured = [_measured(part) for part in parts(cast("Step[Any, Any]", stage))]
    if len(measured) == 1 and not isinstance(cast("Any", stage), Pipeline | AsyncPipeline):
        return cast("A", measured[0])
    return cast("A", cast("Any", type(stage))(tuple(measured)))


def _measured(stage: Step[Any, Any]) -> Step[Any, Any]:
    made = fresh(stage)
    object.__setattr__(made, "measured", True)
    return made


def _described(stage: Step[Any, Any]) -> dict[str, Json]:
    takes, gives = stage.item_types()
    return {
        "stage": stage_name(stage),
        "options": _described_options(stage),
        "takes": _class_names(takes),
        "gives": _class_names(gives),
        "waits": stage.waits,
    }


def _described_options(stage: Step[Any, Any]) -> dict[str, Json]:
    shown = {field.name for field in dataclasses.fields(cast(Any, stage)) if field.repr}
    if isinstance(stage, FunctionStage | AsyncFunctionStage):
        return {}
    return {name: value for name, value in _options(stage, _unnamed).items() if name in shown}


def _class_names(kinds: tuple[type, ...] | None) -> Json:
    if kinds is None:
        return None
    if set(_EVENTS) <= set(kinds):
        return ["Event"]
    return [kind.__name__ for kind in kinds]


def _use(stage: Step[Any, Any]) -> str:
    kind: Any = type(stage)
    name: str | None
    if isinstance(stage, FunctionStage | AsyncFunctionStage):
        # A decorated function is pickled by the name of its module attribute, which is the stage.
        make, arguments = cast(Any, stage).__reduce__()
        name = name_of(arguments[0]) if make is kind else arguments[0]
    else:
        name = kind.__name__ if kind.__module__.startswith("streamkit.") else name_of(kind)
    if name is None:
        raise PipelineError(f"{stage_name(stage)} has no name in a module, so it can't be found again")
    return name


def _options(stage: Any, otherwise: Callable[[object], Json]) -> dict[str, Json]:
    if isinstance(stage, FunctionStage | AsyncFunctionStage):
        return {}
    return {name: _plain(value, otherwise) for name, value in chosen(stage).items()}


def _plain(value: Any, otherwise: Callable[[object], Json]) -> Json:
    match value:
        case None | str() | bool() | int() | float():
            return value
        case Step():
            stage = cast(Step[Any, Any], value)
            return cast(Json, to_data(stage) if otherwise is not _unnamed else describe(stage))
        case msgspec.Struct():
            fields = msgspec.structs.fields(value)
            return {
                field.name: _plain(getattr(value, field.name), otherwise)
                for field in fields
                if getattr(value, field.name) != field.default
            }
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {str(key): _plain(item, otherwise) for key, item in items}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, otherwise) for item in cast("Iterable[Any]", value)]
        case Decimal():
            return str(value)
        case PathLike():
            return str(fspath(cast("PathLike[str]", value)))
        case type() if value in _EVENTS:
            return value.__name__
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {name: _plain(item, otherwise) for name, item in chosen(value).items()}
        case _ if callable(value) and (name := name_of(value)):
            return {"named": name}
        case _:
            return otherwise(value)


def _unnamed(value: object) -> Json:
    return f"<{getattr(value, '__qualname__', type(value).__name__)}>"


def _unwritable(stage: Step[Any, Any]) -> Callable[[object], Json]:
    def fail(value: object) -> Json:
        found = (
            "a function that has no name in a module"
            if callable(value)
            else f"an object of type {type(value).__name__}"
        )
        raise PipelineError(f"{stage_name(stage)} can't be serialized: it has {found} as an option")

    return fail


def _short(value: Json) -> str:
    text = str(value["named"] if isinstance(value, dict) and list(value) == ["named"] else value)
    return text if len(text) <= 40 else text[:39] + "…"


def _escaped(text: str) -> str:
    # Mermaid's own escapes: https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _edge(kinds: tuple[type, ...] | None) -> str:
    names = _class_names(kinds)
    if not isinstance(names, list):
        return ""
    shown = ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")
    return f'|"{_escaped(shown)}"|'
