"""Read JSON of unknown form: a field of an unexpected type counts as absent."""

from collections.abc import Container
from typing import Any, cast

import msgspec

from streamkit.events import Choice, Part, ToolCall
from streamkit.sse.json_text import NOT_JSON, is_too_deep


def mapping(value: Any) -> dict[str, Any]:
    """The object; an empty one for any other type."""
    # Without a cast: this is the most frequent call of the dialects.
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def mappings(value: object) -> list[dict[str, Any]]:
    """The objects of a list; items of other types are left out."""
    items = cast(list[object], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in items if isinstance(item, dict)]


def numbers(value: object) -> list[int]:
    """The integers of a list; items of other types are left out."""
    return [item for item in cast(list[object], value) if type(item) is int] if isinstance(value, list) else []


def calls_of(choice: Choice) -> dict[int | None, ToolCall]:
    """The calls by index. Calls that moderation did not release are absent; `released` leaves out their parts."""
    return {call.index: call for call in choice.tool_calls}


def released(choice: Choice) -> list[Part]:
    """The parts without those of tool calls that were not released."""
    calls = calls_of(choice)
    return [part for part in choice.parts if part.tool_index is None or part.tool_index in calls]


def quotes(choice: Choice, text: object) -> bool:
    """Whether the answer contains the text. A citation may quote text that moderation did not release."""
    return not isinstance(text, str) or text in choice.text or text in (choice.reasoning or "")


def arguments_of(call: ToolCall) -> Any:
    """The decoded arguments; the string itself if it is not valid JSON, as after a truncated stream."""
    return decoded(call.arguments)


def decoded(text: str) -> Any:
    """The decoded JSON; the text itself if it is invalid or nested too deep."""
    try:
        return text if is_too_deep(text.encode()) else msgspec.json.decode(text)
    except NOT_JSON:
        return text


MOST = 2**63 - 1
_MOST_NAMES = 200


def text(value: object) -> str | None:
    """The string; `None` for any other type."""
    return value if isinstance(value, str) else None


def word(value: object) -> str | None:
    """A finish reason: a string, the string in an object (SGLang, AI21), else the value's JSON; `None` if it is absent.

    A value of another form is kept as JSON: an end that is not understood must not count as a success.
    """
    fields = mapping(value)
    value = text(fields.get("type")) or text(fields.get("reason")) or value
    return text(value) if isinstance(value, str) or not value else msgspec.json.encode(value).decode()


def count(value: object) -> int | None:
    """The integer; `None` for any other type and for an integer beyond 64 bits."""
    return value if type(value) is int and -MOST <= value <= MOST else None


def number(value: object) -> int | float | None:
    """The number; `None` for any other type, Booleans included."""
    return value if type(value) is float else count(value)


def without(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The fields except those named, which are emitted as events of their own."""
    return {name: value for name, value in fields.items() if name not in names}


def emptied(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The fields, with those named replaced by their empty form; their content is emitted as events of its own."""
    return {name: empty(value) if name in names else value for name, value in fields.items()}


def empty(value: object) -> Any:
    """The empty string for a string, an empty list for a list, `None` for anything else."""
    return "" if isinstance(value, str) else list[Any]() if isinstance(value, list) else None


def changed(fields: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The fields that are missing in `known` or differ from it."""
    return {name: value for name, value in fields.items() if name not in known or known[name] != value}


def grown(known: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Merge later counts of the same answer into the earlier ones: no count decreases, and nulls are ignored."""
    found = {name: _larger(known.get(name), value) for name, value in _bounded(known, later).items()}
    return {**known, **found}


def spent(known: dict[str, Any], later: dict[str, Any], names: tuple[str, str, str]) -> dict[str, Any]:
    """Merge later usage of the same answer into the earlier one. `names`: the fields of the input, output and total counts.

    The total is at least the sum of the others, even if a later usage left one of them out.
    """
    used = grown(known, later)
    prompt, completion, both = (count(used.get(name)) for name in names)
    if known and prompt is not None and completion is not None and both is not None:
        used[names[2]] = max(both, prompt + completion)
    return used


def corrected(known: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Like `grown`, for counts that begin as estimates: a later count may be lower, but not zero."""
    found = _bounded(known, later)
    return {
        **known,
        **{name: value for name, value in found.items() if value or (value is not None and not known.get(name))},
    }


def _bounded(known: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    # Every usage holds all known fields. Bound the memory for a server that generates new names.
    return later if len(known) < _MOST_NAMES else {name: value for name, value in later.items() if name in known}


def _larger(known: Any, later: Any) -> Any:
    if later is None or (known and later in ({}, [])):
        return known
    if _is_number(known) and _is_number(later):
        return max(known, later)
    inner = mapping(known), mapping(later)
    return grown(*inner) if all(inner) else cast(object, later)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
