"""Anthropic's message, and its legacy text completion.

https://platform.claude.com/docs/en/api/messages and …/docs/en/api/completions/create.
"""

from typing import Any

from streamkit.events import Choice, Completion, Part, ToolCall
from streamkit.plain.fields import arguments_of, calls_of, released


def message(completion: Completion) -> dict[str, Any]:
    """The message with its content blocks in order, or the text completion."""
    choice = completion.choices[0] if completion.choices else None
    word = choice.finish_reason if choice else None
    if completion.object == "completion":
        return {**completion.details, "completion": choice.text if choice else "", "stop_reason": word}
    return {
        **completion.details,
        "content": _blocks(choice) if choice else [],
        "stop_reason": word,
        **({"usage": completion.usage.details} if completion.usage else {}),
    }


def _blocks(choice: Choice) -> list[dict[str, Any]]:
    calls = calls_of(choice)
    return [_block(part, calls) for part in released(choice)]


def _block(part: Part, calls: dict[int | None, ToolCall]) -> dict[str, Any]:
    block = dict(part.data)
    if part.channel == "content":
        block["text"] = part.text
        if part.annotations:
            block["citations"] = list(part.annotations)
    elif part.channel == "reasoning":
        block["thinking"] = part.text
    elif call := calls.get(part.tool_index):
        block["name"] = call.name
        block["input"] = arguments_of(call) if call.arguments else {}
    return block
