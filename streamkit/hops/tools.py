"""Functions as tools: validates their arguments and calls them."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import anyio.to_thread
import msgspec

from streamkit.core.function import short_name
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import OutputError, PipelineError
from streamkit.events import ToolCall
from streamkit.sse.json_text import NOT_JSON
from streamkit.structured.validation import check_type, validate

Function: TypeAlias = Callable[..., Any]
Tools: TypeAlias = Mapping[str, Function] | Iterable[Function]
DecidesOnTool: TypeAlias = Literal["result", "raise"]
OnToolError: TypeAlias = DecidesOnTool | Callable[[Exception, ToolCall], DecidesOnTool]
"""The effect of a failed call: one of these words, or a function of the exception and the call that returns one."""


class Tool(msgspec.Struct, frozen=True):
    """A function and the type of its arguments. With `spread` the arguments are passed by name, otherwise as one object."""

    function: Function
    kind: Any
    spread: bool

    async def __call__(self, call: ToolCall) -> Any:
        """Validate the arguments and call the function. Raises `OutputError` for invalid arguments, without quoting them."""
        value = self._value(call.arguments.strip() or "{}")
        work = partial(self.function, **msgspec.structs.asdict(value)) if self.spread else partial(self.function, value)
        if inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(type(self.function).__call__):
            return await work()
        # A function that is not async may block. In a tuple, since trio refuses a coroutine from a thread.
        (result,) = await anyio.to_thread.run_sync(lambda: (work(),), abandon_on_cancel=True)
        # As `lambda city: look_up(city)` returns one.
        return await result if inspect.isawaitable(result) else result

    def _value(self, arguments: str) -> Any:
        try:
            value = msgspec.json.decode(arguments)
        except NOT_JSON:
            raise OutputError("expected arguments that are JSON", problem="malformed") from None
        if self.spread:
            self._check_names(value)
        return validate(self.kind, value, arguments)

    def _check_names(self, arguments: object) -> None:
        # The names in the message are the function's own, those in the arguments are the model's text.
        known = self.kind.__struct_fields__
        given = cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else {}
        if unknown := len(given.keys() - set(known)):
            raise OutputError(
                f"expected no arguments but {', '.join(known) or '(none)'}, found {unknown} with another name",
                problem="invalid",
            )


def as_tools(tools: Tools) -> dict[str, Tool]:
    """Return the tools by name: a mapping's keys, or the function names.

    Raises `PipelineError` for a value that is not callable or has no signature, and unless each has a name of its own.
    """
    if isinstance(tools, Mapping):
        named = dict(cast("Mapping[str, Function]", tools))
        for name in named:
            if not isinstance(cast(object, name), str) or not name:
                raise PipelineError(f"tools: expected names that are text, found {shown(name)}")
    else:
        named = _by_own_name(tools)
    return {name: _tool(name, function) for name, function in named.items()}


def _by_own_name(tools: object) -> dict[str, Function]:
    if callable(tools) or not isinstance(tools, Iterable):
        raise PipelineError(f"tools: expected a list of functions, or a mapping of names, found {kind_of(tools)}")
    named = dict[str, Function]()
    for function in cast("Iterable[Function]", tools):
        if not callable(cast(object, function)):
            raise PipelineError(f"tools: expected functions, found {kind_of(function)}")
        name = short_name(function).rpartition(".")[2]
        if name == "<lambda>":
            raise PipelineError("tools: expected functions with names, found a lambda; give a mapping of names")
        if name in named:
            raise PipelineError(
                f"tools: expected one function with the name {shown(name)}, found several; give a mapping of names"
            )
        named[name] = function
    return named


def _tool(name: str, function: Function) -> Tool:
    if not callable(cast(object, function)):
        raise PipelineError(f"tool {shown(name)}: expected a function, found {kind_of(function)}")
    try:
        signature = inspect.signature(function, eval_str=True)
    # A builtin may have no signature; an annotation is any expression, whose names may exist for type checkers only.
    except Exception as error:
        raise PipelineError(
            f"tool {shown(name)}: expected a signature and annotations that can be read, but reading them raised "
            f"{type(error).__name__}"
        ) from error
    parameters = list(signature.parameters.values())
    if len(parameters) == 1 and _is_object(kind := parameters[0].annotation):
        return Tool(function, kind, spread=False)
    return Tool(function, _arguments(name, parameters), spread=True)


def _is_object(kind: Any) -> bool:
    """Whether a parameter of this type takes all arguments as one object."""
    if not isinstance(kind, type) or kind in (str, int, float, bool, bytes, list, tuple, set, inspect.Parameter.empty):
        return False
    try:
        check_type(kind)
    except PipelineError:
        return False
    return True


def _arguments(name: str, parameters: list[inspect.Parameter]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for each in parameters:
        if each.kind in (each.POSITIONAL_ONLY, each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise PipelineError(f"tool {shown(name)}: expected parameters that have names, found {each}")
        kind = Any if each.annotation is each.empty else each.annotation
        default = () if each.default is each.empty else (msgspec.field(default_factory=partial(_same, each.default)),)
        fields.append((each.name, kind, *default))
    return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _same(value: Any) -> Any:
    return value
