"""Reading JSON that may be anything: a field of another type than expected is a field that is not there."""

from collections.abc import Container
from typing import Any

import msgspec

from streamkit.plain.fields import mapping as mapping
from streamkit.plain.fields import mappings as mappings


def text(value: object) -> str | None:
    """The string, `None` for anything else."""
    return value if isinstance(value, str) else None


def word(value: object) -> str | None:
    """A finish reason: a string, or the one in an object (SGLang, AI21), else its JSON; `None` where there is none.

    What is no word is not left out, for an end that is not understood is no success.
    """
    fields = mapping(value)
    value = text(fields.get("type")) or text(fields.get("reason")) or value
    return text(value) if isinstance(value, str) or not value else msgspec.json.encode(value).decode()


def count(value: object) -> int | None:
    """The whole number, `None` for anything else."""
    return value if type(value) is int else None


def without(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The other fields: those of a part that are not told in events of their own."""
    return {name: value for name, value in fields.items() if name not in names}


def emptied(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The fields, those named in their empty form: what they hold is told in events of its own."""
    return {name: empty(value) if name in names else value for name, value in fields.items()}


def empty(value: object) -> Any:
    """The empty form: of a string, of a list, `None` of anything else."""
    return "" if isinstance(value, str) else list[Any]() if isinstance(value, list) else None


def changed(fields: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The fields that `known` has not, or has otherwise."""
    return {name: value for name, value in fields.items() if name not in known or known[name] != value}
