"""The functions of a Python file as tools, defined in a provider's request format by names, docstrings and annotations."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from streamkit.completion import RequestFormat
from streamkit.errors import PipelineError
from streamkit.hops.tools import Tool, as_tools

Functions = dict[str, Callable[..., Any]]


def load(path: Path) -> Functions:
    """Return the public functions that the file defines, or those in its `__all__`. The file is executed.

    Raises `PipelineError` for a file that can't be imported, and for one without functions.
    """
    module = _imported(path)
    named: Any = getattr(module, "__all__", None)
    names = list(named) if named is not None else [name for name in vars(module) if not name.startswith("_")]
    found: Functions = {}
    for name in names:
        function = getattr(module, name, None)
        own = named is not None or getattr(function, "__module__", None) == module.__name__
        if function is not None and inspect.isroutine(function) and own:
            found[name] = function
    if not found:
        raise PipelineError(f"--tools: expected functions in {path.name}, found none")
    return found


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"streamkit_tools_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PipelineError(f"--tools: expected a Python file, found {path.name}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module in `sys.modules`.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    # A user's file may raise anything, including SystemExit.
    except (Exception, SystemExit) as error:
        raise PipelineError(f"--tools: {path.name} can't be imported: {type(error).__name__}: {error}") from error
    return module


def definitions(functions: Functions, form: RequestFormat) -> list[dict[str, Any]]:
    """Return the functions as `tools` of a request: JSON schemas from the annotations, descriptions from the docstrings."""
    tools = as_tools(functions)
    entries = [_entry(name, functions[name], tools[name]) for name in tools]
    match form:
        case "anthropic":
            return [
                {"name": each["name"], "description": each["description"], "input_schema": each["parameters"]}
                for each in entries
            ]
        case "responses":
            return [{"type": "function", **each} for each in entries]
        case "gemini":
            # Gemini's field for JSON Schema; `parameters` accepts only a subset of OpenAPI. (https://ai.google.dev/api/caching)
            declared = [
                {"name": each["name"], "description": each["description"], "parametersJsonSchema": each["parameters"]}
                for each in entries
            ]
            return [{"functionDeclarations": declared}]
        case _:
            return [{"type": "function", "function": each} for each in entries]


def _entry(name: str, function: Callable[..., Any], tool: Tool) -> dict[str, Any]:
    return {"name": name, "description": inspect.getdoc(function) or "", "parameters": _schema(name, tool.kind)}


def _schema(name: str, kind: Any) -> dict[str, Any]:
    pydantic: Any = getattr(kind, "model_json_schema", None)
    if pydantic is not None:
        schema: dict[str, Any] = pydantic()
        return schema
    try:
        (top,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    except TypeError as error:
        raise PipelineError(f"--tools: the annotations of {name} have no JSON schema: {error}") from error
    # Inline the top-level schema: not every provider resolves a top-level `$ref`.
    own = parts.pop(str(top["$ref"]).rpartition("/")[2]) if "$ref" in top else top
    own.pop("title", None)
    return {**own, "$defs": parts} if parts else own
