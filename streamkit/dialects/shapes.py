"""Describe JSON for error messages: the names and types of its fields, never a value."""

import re
from typing import Any, cast

_FIELDS = 8
_DEPTH = 2
# Other names are not shown: they could be user text or secret keys.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
_EVENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def shape(data: object, depth: int = _DEPTH) -> str:
    """Return, for example, `{response: string, usage: {prompt_tokens: number}}`: two levels, at most eight fields each."""
    match data:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return _array(cast(list[object], data), depth)
        case dict():
            return _object(cast(dict[str, Any], data), depth)
        case _:
            return "something else"


def event_name(name: str) -> str:
    """Return the quoted name of a server-sent event, or "of another name" if it is not safe to show."""
    return repr(name) if _EVENT.fullmatch(name) else "of another name"


def _array(items: list[object], depth: int) -> str:
    if not items:
        return "[]"
    return f"[{shape(items[0], depth)}, …]" if len(items) > 1 else f"[{shape(items[0], depth)}]"


def _object(fields: dict[str, Any], depth: int) -> str:
    if not depth:
        return "{…}" if fields else "{}"
    shown = [f"{_shown(name)}: {shape(value, depth - 1)}" for name, value in list(fields.items())[:_FIELDS]]
    return f"{{{', '.join(shown + ['…'] * (len(fields) > _FIELDS))}}}"


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "(another name)"
