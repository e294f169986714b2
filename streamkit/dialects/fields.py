"""Reading JSON that may be anything: a field of another type than expected is a field that is not there."""

from collections.abc import Container
from typing import Any, cast

import msgspec

from streamkit.events import Choice, Part, ToolCall
from streamkit.sse.json_text import NOT_JSON, is_too_deep


def mapping(value: object) -> dict[str, Any]:
    """The object, an empty one for anything else."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """The objects of a list; what else it holds is left out."""
    items = cast(list[object], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in items if isinstance(item, dict)]


def numbers(value: object) -> list[int]:
    """The whole numbers of a list; what else it holds is left out."""
    return [item for item in cast(list[object], value) if type(item) is int] if isinstance(value, list) else []


def calls_of(choice: Choice) -> dict[int | None, ToolCall]:
    """The calls by their numbers. A call that was not released is not there, and then neither is its part."""
    return {call.index: call for call in choice.tool_calls}


def released(choice: Choice) -> list[Part]:
    """The parts, but for the calls that are not there."""
    calls = calls_of(choice)
    return [part for part in choice.parts if part.tool_index is None or part.tool_index in calls]


def quotes(choice: Choice, text: object) -> bool:
    """Whether the answer has that text. A citation may quote what a moderation has not released."""
    return not isinstance(text, str) or text in choice.text or text in (choice.reasoning or "")


def arguments_of(call: ToolCall) -> Any:
    """The arguments as JSON; the string itself where they are none, as in an answer that was cut."""
    return decoded(call.arguments)


def decoded(text: str) -> Any:
    """The JSON, or the text itself if it is none, or is nested too deep."""
    try:
        return text if is_too_deep(text.encode()) else msgspec.json.decode(text)
    except NOT_JSON:
        return text


MOST = 2**63 - 1
_MOST_NAMES = 200


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
    """The whole number, `None` for anything else, as for one that has more than 64 bits."""
    return value if type(value) is int and -MOST <= value <= MOST else None


def number(value: object) -> int | float | None:
    """The number, `None` for anything else; a Boolean is none."""
    return value if type(value) is float else count(value)


def without(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The other fields: those of a part that are not emitted as events of their own."""
    return {name: value for name, value in fields.items() if name not in names}


def emptied(fields: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """The fields, those named in their empty form: their content is emitted as events of its own."""
    return {name: empty(value) if name in names else value for name, value in fields.items()}


def empty(value: object) -> Any:
    """The empty form: of a string, of a list, `None` of anything else."""
    return "" if isinstance(value, str) else list[Any]() if isinstance(value, list) else None


def changed(fields: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The fields that `known` has not, or has otherwise."""
    return {name: value for name, value in fields.items() if name not in known or known[name] != value}


def grown(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Counts that were said, after others of the same answer: none of them gets smaller, and a null is none."""
    found = {name: _larger(known.get(name), value) for name, value in _bounded(known, said).items()}
    return {**known, **found}


def spent(known: dict[str, Any], said: dict[str, Any], names: tuple[str, str, str]) -> dict[str, Any]:
    """Usage after other usage of the same answer. By these names it has counts of the input, of the output, and of both.

    The last is at least the sum of the others, also where a later usage left one of them out.
    """
    used = grown(known, said)
    prompt, completion, both = (count(used.get(name)) for name in names)
    if known and prompt is not None and completion is not None and both is not None:
        used[names[2]] = max(both, prompt + completion)
    return used


def corrected(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """The same where the first counts are estimates, which a later one may correct downwards, but not to nothing."""
    found = _bounded(known, said)
    return {
        **known,
        **{name: value for name, value in found.items() if value or (value is not None and not known.get(name))},
    }


def _bounded(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    # Every usage has all that is known. A server that makes names up with every chunk does not fill the memory.
    return said if len(known) < _MOST_NAMES else {name: value for name, value in said.items() if name in known}


def _larger(known: Any, said: Any) -> Any:
    if said is None or (known and said in ({}, [])):
        return known
    if _is_number(known) and _is_number(said):
        return max(known, said)
    inner = mapping(known), mapping(said)
    return grown(*inner) if all(inner) else cast(object, said)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
