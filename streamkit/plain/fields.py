"""What several forms share: JSON that may be anything, and the call that a part is."""

from typing import Any, cast

import msgspec

from streamkit.events import Choice, Part, ToolCall


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
    """The JSON, or the text itself if it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
