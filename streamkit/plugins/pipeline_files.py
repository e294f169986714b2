"""Pipelines as data, in TOML or JSON.

    [[stage]]
    use = "Parse"

    [[stage]]
    use = "Moderate"
    rules = "rules.toml"

`use` is the name of a streamkit stage or of a plugin, or `package.module:name` of a class, a stage or a function; the other
keys are the options. A function as an option is written `{ named = "package.module:name" }`. The named modules are imported, so
a pipeline file must be trusted like a program.
"""

import dataclasses
import inspect
import json
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from streamkit import events
from streamkit.core.describe import describe, measure, mermaid, to_data
from streamkit.core.function import stage as function_stage
from streamkit.core.hints import is_stage_class
from streamkit.core.naming import named
from streamkit.core.stage import AsyncStage, Stage, Step, parts
from streamkit.core.wrong_input import bounded, kind_of, shown
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins import json_lines, toml_lines
from streamkit.plugins.config_files import NameOrFile, as_path, is_file, read_text
from streamkit.plugins.stage_names import BUILT_IN, stage_named
from streamkit.plugins.toml_lines import Path as TomlPath

Format: TypeAlias = Literal["toml", "json"]
AnyStage: TypeAlias = Stage[Any, Any] | AsyncStage[Any, Any]
__all__ = ["describe", "dumps", "from_data", "from_file", "loads", "measure", "mermaid", "to_data"]
_TOO_DEEP = "expected data nested at most 50 deep, found deeper, or data that contains itself"
_DEEPEST = 50
_MOST_STAGES = 500
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_Lines: TypeAlias = dict[TomlPath, int]
"""The lines of stages and options in a document, by path: `("stage", 0, "use")`."""


class _Misfit(Exception):
    # The value of an option has the wrong type.
    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


def from_file(path: str | PathLike[str]) -> AnyStage:
    """Load a pipeline from a `.json` file, or else from a TOML file. Relative paths in it start at the file's folder.

    Raises `PipelineError`, which names the file and the line.
    """
    file = as_path(path)
    text = read_text(file)
    try:
        return loads(text, "json" if file.suffix == ".json" else "toml", folder=file.parent)
    except PipelineError as error:
        raise PipelineError(f"{file.name}: {error}") from error


def loads(text: str, format: Format = "toml", *, folder: str | PathLike[str] = "") -> AnyStage:
    """Load a pipeline from text in TOML or JSON (`format`). Relative paths in it start at `folder`.

    Raises `PipelineError`, which names the line.
    """
    data = _decoded(text, format)
    match data:
        case {"stage": list()} if len(cast("dict[str, object]", data)) == 1:
            found = cast("list[object]", data["stage"])
        case list() if format == "json":
            found = cast("list[object]", data)
        case _:
            raise PipelineError("expected a list of stages, called stage, and nothing else")
    lines = toml_lines.lines(text) if format == "toml" else json_lines.lines(text)
    if isinstance(data, list):
        lines = {("stage", *path): line for path, line in lines.items()}
    return _read(found, lines, as_path(folder))


def from_data(data: Iterable[Mapping[str, object]]) -> AnyStage:
    """Build a pipeline from the tables that `to_data` returns. Raises `PipelineError`, which names the stage."""
    if isinstance(data, str | Mapping) or not isinstance(data, Iterable):
        raise PipelineError(f"expected a list of stages, found {kind_of(cast(object, data))}")
    return _read(list(data), {}, Path())


def dumps(pipeline: Step[Any, Any], format: Format = "toml") -> str:
    """Return the pipeline as text for `loads`, in TOML or JSON (`format`).

    An object without an importable name, or a value that the format can't represent, raises `PipelineError`.
    """
    data = to_data(pipeline)
    if format == "json":
        return json.dumps({"stage": data}, indent=2, ensure_ascii=False) + "\n"
    tables = ("\n".join(f"{_key(name)} = {_toml(value)}" for name, value in table.items()) for table in data)
    return "\n".join(f"[[stage]]\n{table}\n" for table in tables)


# Data into stages


def _decoded(text: object, format: str) -> Any:
    if not isinstance(text, str):
        raise PipelineError(f"expected the text of a pipeline, found {kind_of(text)}")
    if format not in get_args(Format):
        raise PipelineError(f"expected the format toml or json, found {shown(format)}")
    try:
        return tomllib.loads(text) if format == "toml" else json.loads(text)
    except RecursionError:
        raise PipelineError(_TOO_DEEP) from None
    # Also raised for an integer of more than 4,300 digits, although its syntax is valid.
    except ValueError as error:
        last = f"at line {_line(text, len(text))}, the end of the document"
        raise PipelineError(bounded(str(error).replace("at end of document", last))) from error


def _line(text: str, at: int) -> int:
    # Not `splitlines`, which also splits at characters that are no line end in TOML and JSON.
    return text.count("\n", 0, at) + 1


def _read(data: list[object], lines: _Lines, folder: Path) -> AnyStage:
    if len(data) > _MOST_STAGES:
        raise PipelineError(f"expected at most {_MOST_STAGES} stages, found {len(data)}")
    _check_data(data, [], set())
    return _joined(data, lines, folder)


def _check_data(value: object, within: list[object], seen: set[int]) -> None:
    """Raise `PipelineError` for text with a lone surrogate, and for data that is nested too deeply."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise PipelineError("expected text, found half of a surrogate pair")
    if not isinstance(value, Mapping | list | tuple):
        return
    # Python data may contain itself.
    if len(within) >= _DEEPEST or any(value is outer for outer in within):
        raise PipelineError(_TOO_DEEP)
    whole = cast(object, value)
    if id(whole) not in seen:
        seen.add(id(whole))
        pairs = cast("Mapping[object, object]", value).items() if isinstance(value, Mapping) else ()
        items = cast("Iterable[object]", () if pairs else value)
        for item in (*items, *(part for pair in pairs for part in pair)):
            _check_data(item, [*within, whole], seen)


def _joined(data: Sequence[object], lines: _Lines, folder: Path) -> AnyStage:
    if not data:
        raise PipelineError("expected at least one stage, found none")
    pipeline: Any = None
    for number, table in enumerate(data, 1):
        try:
            stage = _stage(table, folder)
            pipeline = stage if pipeline is None else pipeline | stage
        except _Misfit as error:
            raise PipelineError(f"{_place(lines, number, error.option)}: {bounded(str(error))}") from error
        except PipelineError as error:
            raise PipelineError(f"{_place(lines, number)}: {bounded(str(error))}") from error
        except PluginError:
            raise
        # The code of a stage or of a named module may raise anything for unexpected options.
        except Exception as error:
            raise PipelineError(f"{_place(lines, number)}: {_called(table)} raised {type(error).__name__}") from error
    return cast(AnyStage, pipeline)


def _called(table: object) -> str:
    use = cast("Mapping[str, object]", table).get("use") if isinstance(table, Mapping) else None
    return use if isinstance(use, str) and use in BUILT_IN else "the stage"


def _place(lines: _Lines, number: int, option: str | None = None) -> str:
    path = ("stage", number - 1, *([option] if option else ()))
    return f"line {toml_lines.line_of(lines, path)}" if lines else f"stage {number}"


def _stage(table: object, folder: Path) -> Step[Any, Any]:
    if not isinstance(table, Mapping) or not isinstance(use := cast(Any, table).get("use"), str):
        raise PipelineError("expected a table with the stage's name as `use`")
    given = cast("Mapping[str, object]", table)
    kind = stage_named(use)
    options = {name: value for name, value in given.items() if name != "use"}
    if makes_a_stage(use, kind):
        return _made_by(use, kind, options, folder)
    if not is_stage_class(kind):
        if options:
            raise PipelineError(f"{use} is a function and has no options, found {_names(options)}")
        return cast("Step[Any, Any]", kind if isinstance(kind, Step) else function_stage(kind))
    if not hasattr(kind, "__dataclass_fields__"):
        raise PipelineError(f"{kind.__name__} is no stage that can be made, but a base of stages")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for name, value in options.items():
        if name not in fields:
            expected = f"it has {', '.join(fields)}" if fields else "it has none"
            raise _Misfit(f"{kind.__name__} has no option {shown(name)}; {expected}", name)
        try:
            options[name] = _fit(value, _hint(kind, fields[name]), folder)
        except (_Misfit, PipelineError) as error:
            raise _Misfit(f"{kind.__name__}, {name}: {error}", name) from error
    missing = [name for name, field in fields.items() if name not in options and _required(field)]
    if missing:
        raise PipelineError(f"{kind.__name__} needs {', '.join(missing)}")
    made: Step[Any, Any] = kind(**options)
    if not parts(made):
        raise PipelineError(f"{kind.__name__} needs at least one stage")
    return made


def makes_a_stage(use: str, kind: object) -> bool:
    """Whether `use` names a plugin that is a function returning a stage."""
    return ":" not in use and not is_stage_class(kind) and not isinstance(kind, Step)


def _made_by(use: str, make: Callable[..., object], options: dict[str, Any], folder: Path) -> Step[Any, Any]:
    parameters = inspect.signature(make).parameters
    hints = _hints_of(make)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name, value in options.items():
        if name not in parameters and not takes_any:
            expected = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise _Misfit(f"{use} has no option {shown(name)}; {expected}", name)
        try:
            options[name] = _fit(value, hints.get(name, Any), folder)
        except (_Misfit, PipelineError) as error:
            raise _Misfit(f"{use}, {name}: {error}", name) from error
    named_ones = [each for each in parameters.values() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if missing := [each.name for each in named_ones if each.default is each.empty and each.name not in options]:
        raise PipelineError(f"{use} needs {', '.join(missing)}")
    made = make(**options)
    if not isinstance(made, Step):
        raise PluginError(f"streamkit.stages: expected {use!r} to make a stage, found {kind_of(made)}")
    return cast("Step[Any, Any]", made)


def _hints_of(make: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(make, include_extras=True)
    # Hints may refer to names imported only for type checking, and a callable object has none; the function checks its arguments.
    except (NameError, TypeError):
        return {}


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _hint(kind: type, field: "dataclasses.Field[Any]") -> Any:
    if not isinstance(cast(object, field.type), str):
        return field.type
    owner = next(base for base in kind.__mro__ if field.name in vars(base).get("__annotations__", {}))
    try:
        return eval(cast(str, field.type), vars(sys.modules[owner.__module__]))
    # The hint may refer to a name imported only for type checking; the stage then checks the value itself.
    except NameError:
        return Any


def _fit(value: object, hint: Any, folder: Path) -> Any:
    """Convert `value`, which is JSON-like data, to the type in `hint`."""
    table = cast("dict[str, Any]", value) if isinstance(value, dict) else None
    if table is not None and list(table) == ["named"]:
        return named(table["named"])
    origin = get_origin(hint) or hint
    if value is None:
        return _converted(value, hint)
    if isinstance(value, str) and NameOrFile in (hint, *get_args(hint)):
        return folder / value if is_file(value) else value
    if origin in (Union, types.UnionType):
        # Paths first: a string would also fit `str`, but a path must be resolved relative to `folder`.
        members = sorted((member for member in get_args(hint) if member is not types.NoneType), key=_is_no_path)
        return _first_that_fits(value, members, folder)
    if table is not None and isinstance(origin, type) and (hints := _fields(origin)):
        return _struct(table, origin, hints, folder)
    arguments, given = get_args(hint), cast(object, value)
    if table is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item_hint = arguments[1] if arguments else Any
        return {name: _fit(item, item_hint, folder) for name, item in table.items()}
    match given:
        case str() if _is_path(hint):
            return folder / given
        case str() if origin is type:
            return getattr(events, given) if hasattr(events, given) else named(given)
        case list() if _is_stage(origin):
            return _joined(cast("list[object]", given), {}, folder)
        case list() if origin is tuple and arguments and arguments[-1] is not ...:
            items = cast("list[Any]", given)
            if len(items) != len(arguments):
                raise _Misfit(f"expected {len(arguments)} values, found {len(items)}")
            return tuple(_fit(item, argument, folder) for item, argument in zip(items, arguments, strict=True))
        case list() if origin is not list and _is_many(origin):
            item_hint = arguments[0] if arguments else Any
            return tuple(_fit(item, item_hint, folder) for item in cast("list[Any]", given))
        case _:
            return _converted(given, hint)


def _fields(kind: Any) -> dict[str, Any]:
    """Return the field types of a Struct or a dataclass; empty for any other class."""
    if issubclass(kind, msgspec.Struct):
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    if dataclasses.is_dataclass(kind):
        return {field.name: _hint(cast(type, kind), field) for field in dataclasses.fields(kind) if field.init}
    return {}


def _struct(table: dict[str, Any], kind: Any, hints: dict[str, Any], folder: Path) -> Any:
    if unknown := table.keys() - hints.keys():
        raise _Misfit(f"{kind.__name__} has no {_names(unknown)}; it has {', '.join(hints)}")
    fitted = {name: _fit(value, hints[name], folder) for name, value in table.items()}
    try:
        return kind(**fitted)
    except TypeError as error:
        raise _Misfit(str(error)) from error


def _first_that_fits(value: Any, members: Iterable[Any], folder: Path) -> Any:
    misfits: list[str] = []
    for member in members:
        try:
            return _fit(value, member, folder)
        except _Misfit as misfit:
            misfits.append(str(misfit))
    raise _Misfit(misfits[0] if len(set(misfits)) == 1 else "; or: ".join(dict.fromkeys(misfits)))


def _converted(value: object, hint: Any) -> Any:
    if (get_origin(hint) or hint) is Callable:
        raise _Misfit(f'expected a function as {{ named = "package.module:name" }}, found {shown(value)}')
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise _Misfit(str(error)) from error
    except TypeError:
        kind = get_origin(hint) or hint
        if isinstance(kind, type) and kind is not object and not getattr(kind, "_is_protocol", False):
            raise _Misfit(f"expected {kind.__name__}, which data can't hold") from None
        # A type variable or a protocol can't be checked here; the stage checks the value itself.
        return value


def _names(names: Iterable[object]) -> str:
    found = sorted(map(shown, names))
    return ", ".join(found[:5]) + (", …" if len(found) > 5 else "")


def _is_no_path(hint: Any) -> bool:
    return not _is_path(hint)


def _is_path(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return origin is PathLike or (isinstance(origin, type) and issubclass(origin, Path))


def _is_stage(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Step)


def _is_many(origin: Any) -> bool:
    # `Iterable`, `Sequence`, `tuple`, …, but not a user's iterable class.
    known = isinstance(origin, type) and origin.__module__ in ("builtins", "collections.abc")
    return known and hasattr(origin, "__iter__") and not issubclass(origin, str | bytes | Mapping)


# Lines in JSON


# Data into TOML (https://toml.io/en/v1.0.0)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            # TOML has the escapes of JSON, and requires one more control character to be escaped (U+007F).
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml, cast('list[Any]', value)))}]"
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return f"{{ {', '.join(f'{_key(name)} = {_toml(item)}' for name, item in pairs)} }}" if value else "{}"
        case _:
            raise PipelineError("TOML has no null, which is an option here; write the pipeline as JSON")
