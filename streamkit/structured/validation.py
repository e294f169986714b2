"""Convert a complete JSON value to the requested type, with the library that the type belongs to.

The message of a validator may quote the value, which is text of the answer. The messages here have only the place and the
expected type.
"""

import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, cast, get_origin

import msgspec

from streamkit.errors import OutputError, PipelineError
from streamkit.events import Json

# Messages of msgspec that depend on the type alone and do not quote the value.
_PLAIN = re.compile(r"(?P<what>Expected [^'\"]*?|Object missing required field `\w+`)(?: - at `(?P<path>[^`]*)`)?")
_PLACE = re.compile(r" - at `([^`]*)`$")


def check_type(kind: Any) -> None:
    """Raise `PipelineError` unless `kind` is a type or a function."""
    if _reads_json(kind) or _is_type(kind) or callable(kind):
        return
    raise PipelineError(f"expected a type or a function, found an object of type {type(kind).__name__}")


def validate(kind: Any, value: Json, text: str) -> Any:
    """Convert `value`, whose JSON is `text`, to `kind`. Raises `OutputError` if it does not fit.

    A pydantic model, a pydantic dataclass and a `TypeAdapter` parse the JSON themselves. msgspec converts to any other type
    (Struct, dataclass, TypedDict, `list[int]`, …). A function is called with the value, and rejects it by raising ValueError,
    TypeError, LookupError or AssertionError.
    """
    if read := _reads_json(kind):
        try:
            return read(text)
        except ValueError as error:
            raise _refused(error, kind) from None
    if _is_type(kind):
        try:
            return msgspec.convert(value, kind, str_keys=True)
        except msgspec.ValidationError as error:
            raise _unfit(error) from None
    try:
        return kind(value)
    except (ValueError, TypeError, LookupError, AssertionError) as error:
        raise OutputError(
            f"expected what {_name(kind)} takes, but it raised {type(error).__name__}", problem="invalid"
        ) from None


def _reads_json(kind: Any) -> Callable[[str], Any] | None:
    # Recognized by its methods, so that pydantic is not imported here.
    for name in ("model_validate_json", "validate_json"):
        if callable(read := getattr(kind, name, None)):
            return cast("Callable[[str], Any]", read)
    return getattr(getattr(kind, "__pydantic_validator__", None), "validate_json", None)


def _is_type(kind: Any) -> bool:
    if kind in (Any, object):
        return True
    known = isinstance(kind, type | UnionType) or get_origin(kind) or hasattr(kind, "__supertype__")
    if not known and not hasattr(kind, "__value__"):
        return False
    from msgspec import inspect

    try:
        # A class that msgspec does not support is called like a function.
        return not isinstance(inspect.type_info(kind), inspect.CustomType)
    except TypeError as error:
        raise PipelineError(f"{_name(kind)} is not a type that JSON can be converted to: {error}") from None


def _unfit(error: msgspec.ValidationError) -> OutputError:
    message = str(error)
    place = _PLACE.search(message)
    path = place[1] if place else "$"
    # The message of a method of the type, such as `__post_init__`, may contain any text.
    plain = _PLAIN.fullmatch(message) if error.__cause__ is None else None
    what = plain["what"] if plain else "expected what the type allows"
    return OutputError(f"{what[0].lower()}{what[1:]} at {path}", problem="invalid", path=path)


def _refused(error: ValueError, kind: Any) -> OutputError:
    errors: Any = getattr(error, "errors", None)
    if not callable(errors):
        return OutputError(
            f"expected what {_name(kind)} takes, but it raised {type(error).__name__}", problem="invalid"
        )
    found = cast(list[dict[str, Any]], errors(include_url=False, include_context=False, include_input=False))
    names = set(_fields(_schema(kind)))
    path = "$" + "".join(_step(part, names) for part in found[0]["loc"])
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return OutputError(
        f"expected what {_name(kind)} allows at {path}: {found[0]['type']}{more}", problem="invalid", path=path
    )


def _step(part: object, names: set[str]) -> str:
    # A name that the type does not define is a key from the answer.
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part in names else "[...]"


def _schema(kind: Any) -> object:
    make = getattr(kind, "model_json_schema", None) or getattr(kind, "json_schema", None)
    return make() if callable(make) else {"properties": getattr(kind, "__annotations__", {})}


def _fields(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, inner in cast(dict[str, object], schema).items():
            if name == "properties" and isinstance(inner, dict):
                yield from cast(dict[str, object], inner)
            yield from _fields(cast(object, inner))
    elif isinstance(schema, list):
        for inner in cast(list[object], schema):
            yield from _fields(inner)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or type(kind).__name__
