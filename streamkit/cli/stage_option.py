"""`--stage`: a stage by name, with options in Python syntax: `Smooth`, `Smooth("word")`, `StopAt(stops=["END"])`."""

import argparse
import ast
import dataclasses
import inspect
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import streamkit as sk
from streamkit.core.hints import is_stage_class
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins.pipeline_files import AnyStage, from_data, makes_a_stage
from streamkit.plugins.stage_names import BUILT_IN, stage_named

_FORM = re.compile(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


class StageOption(NamedTuple):
    """A stage and its options, parsed from the command line."""

    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = MappingProxyType({})


def stage_option(text: str) -> StageOption:
    """Parse the option. Raises `argparse.ArgumentTypeError`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a stage such as Smooth or 'Smooth(\"word\")', found {text!r}")
    name, inside = match[1], match[2]
    try:
        call = ast.parse(f"_({inside or ''})", mode="eval").body
        assert isinstance(call, ast.Call)
        keywords = {one.arg: ast.literal_eval(one.value) for one in call.keywords if one.arg}
        if len(keywords) == len(call.keywords):
            return StageOption(name, tuple(map(ast.literal_eval, call.args)), keywords)
    except (SyntaxError, ValueError, TypeError, AssertionError, MemoryError, RecursionError):
        pass
    raise argparse.ArgumentTypeError(
        f'expected the options of {name} as Python writes them, such as {name}(option="text", other=3)'
    )


def make_stage(option: StageOption) -> AnyStage:
    """Return the stage. Unknown names and options raise `PipelineError`."""
    try:
        return _made(option)
    except PluginError:
        raise
    except PipelineError as error:
        # Remove the position in a pipeline file, since there is no file.
        message = str(error).removeprefix("stage 1: ")
        name = "" if option.name in message else f" {option.name}"
        raise PipelineError(f"--stage{name}: {message}") from error


def _made(option: StageOption) -> AnyStage:
    kind = stage_named(option.name)
    options = dict(option.named)
    if option.positional:
        fields = _fields(option.name, kind)
        if len(option.positional) > len(fields):
            raise PipelineError(f"{option.name}: expected {len(fields)} options without a name, found more")
        if twice := options.keys() & set(fields[: len(option.positional)]):
            raise PipelineError(f"{option.name}: the option {min(twice)} is given twice")
        options = dict(zip(fields, option.positional, strict=False)) | options
    return from_data([{"use": option.name, **options}])


def _fields(name: str, kind: Any) -> list[str]:
    """Return the names of the options that may be positional."""
    if is_stage_class(kind):
        return [one.name for one in dataclasses.fields(kind) if one.init]
    if makes_a_stage(name, kind):
        return [
            one.name for one in inspect.signature(kind).parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD
        ]
    return []


def complete_stage(prefix: str, **_: object) -> list[str]:
    """Return the stage names for shell completion."""
    return [name for name in (*BUILT_IN, *sk.plugins.names("stages")) if name.startswith(prefix)]
