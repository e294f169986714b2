"""Google's interaction. (https://ai.google.dev/api/interactions-api#Resource:Interaction)"""

from typing import Any

from streamkit.events import Choice, Completion, Part, ToolCall
from streamkit.plain.fields import arguments_of, calls_of, released


def interaction(completion: Completion) -> dict[str, Any]:
    """The interaction with its steps in order, or with its outputs where it has those."""
    choice = completion.choices[0] if completion.choices else None
    name = "outputs" if "outputs" in completion.details and "steps" not in completion.details else "steps"
    whole = {**completion.details, name: _steps(choice) if choice else []}
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


def _steps(choice: Choice) -> list[dict[str, Any]]:
    calls, within = calls_of(choice), dict[int | None, "list[Part]"]()
    for part in released(choice):
        within.setdefault(part.within, []).append(part)
    return [_step(part, calls.get(part.tool_index), within.get(part.number, [])) for part in within.get(None, [])]


def _step(part: Part, call: "ToolCall | None", contents: list["Part"]) -> dict[str, Any]:
    step = _content(part)
    if call:
        step |= {"name": call.name, "arguments": arguments_of(call)}
    if contents:
        step["summary" if part.kind == "thought" else "content"] = [_content(content) for content in contents]
    return step


def _content(part: Part) -> dict[str, Any]:
    content = dict(part.data)
    if part.kind == "text":
        content["text"] = part.text
        if part.annotations:
            content["annotations"] = list(part.annotations)
    return content
