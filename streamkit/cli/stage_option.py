"""`--stage`: a stage by its name, with options as Python writes them: `Smooth`, `Smooth("word")`, `StopAt(stops=["END"])`."""

import argparse
import ast
import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import streamkit as sk
from streamkit.core.hints import is_stage_class
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins.pipeline_files import AnyStage, from_data
from streamkit.plugins.stage_names import BUILT_IN, stage_named

_FORM = re.compile(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


class StageOption(NamedTuple):
    """A stage as it was named on the command line."""

    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = MappingProxyType({})


def stage_option(text: str) -> StageOption:
    """Parse the option. Raises as argparse has it."""
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
    """The stage. Unknown names, and options that it does not have, raise `PipelineError`."""
    try:
        return _made(option)
    except PluginError:
        raise
    except PipelineError as error:
        # The place is that of a file, where there is none.
        raise PipelineError(f"--stage: {str(error).removeprefix('stage 1: ')}") from error


def _made(option: StageOption) -> AnyStage:
    kind = stage_named(option.name)
    options = dict(option.named)
    if option.positional:
        fields = [one.name for one in dataclasses.fields(kind) if one.init] if is_stage_class(kind) else []
        if len(option.positional) > len(fields):
            raise PipelineError(f"{option.name}: expected {len(fields)} options without a name, found more")
        if twice := fields[: len(option.positional)] and options.keys() & set(fields[: len(option.positional)]):
            raise PipelineError(f"{option.name}: the option {min(twice)} is given twice")
        options = dict(zip(fields, option.positional, strict=False)) | options
    # What an installed package offers may be a function that makes the stage.
    if ":" not in option.name and not is_stage_class(kind) and not isinstance(kind, sk.Stage | sk.AsyncStage):
        return _called(option.name, kind, options)
    return from_data([{"use": option.name, **options}])


def _called(name: str, make: Any, options: dict[str, Any]) -> AnyStage:
    try:
        made = make(**options)
    except TypeError as error:
        raise PipelineError(f"{name!r} can't be made with these options: {error}") from error
    if not isinstance(made, sk.Stage | sk.AsyncStage):
        raise PluginError(f"--stage: expected {name!r} to make a stage, found an object of type {type(made).__name__}")
    return cast("AnyStage", made)


def complete_stage(prefix: str, **_: object) -> list[str]:
    """Names for the shell."""
    return [name for name in (*BUILT_IN, *sk.plugins.names("stages")) if name.startswith(prefix)]
