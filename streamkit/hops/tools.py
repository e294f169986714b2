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
OnToolError: TypeAlias = Literal["result", "raise"]


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
        # A synchronous function may block.
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _value(self, arguments: str) -> Any:
        try:
            value = msgspec.json.decode(arguments)
        except NOT_JSON:
            raise OutputError("expected arguments that are JSON", problem="malformed") from None
        return validate(self.kind, value, arguments)


def as_tools(tools: Tools) -> dict[str, Tool]:
    """Return the tools by name: a mapping's keys, or the function names. Raises `PipelineError` for a non-callable value."""
    if isinstance(tools, Mapping):
        named = dict(cast("Mapping[str, Function]", tools))
    else:
        named = {short_name(function).rpartition(".")[2]: function for function in tools}
    return {name: _tool(name, function) for name, function in named.items()}


def _tool(name: str, function: Function) -> Tool:
    if not callable(cast(object, function)):
        raise PipelineError(f"tool {shown(name)}: expected a function, found {kind_of(function)}")
    signature = inspect.signature(function, eval_str=True)
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
