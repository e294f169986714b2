"""Reading JSON that may be anything: a field of another type than expected is a field that is not there."""

from typing import Any, cast


def text(value: object) -> str | None:
    """The string, `None` for anything else."""
    return value if isinstance(value, str) else None


def count(value: object) -> int | None:
    """The whole number, `None` for anything else."""
    return value if type(value) is int else None


def mapping(value: object) -> dict[str, Any]:
    """The object, an empty one for anything else."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """The objects of a list; what else it holds is left out."""
    items = cast(list[object], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in items if isinstance(item, dict)]


def total(*counts: int | None) -> int | None:
    """The sum of the counts that are known, `None` where none is."""
    known = [value for value in counts if value is not None]
    return sum(known) if known else None
