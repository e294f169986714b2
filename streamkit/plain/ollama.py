"""Ollama's answers, those of `/api/chat` and of `/api/generate`.

https://docs.ollama.com/api/chat and …/api/generate.
"""

from typing import Any

from streamkit.events import Choice, Completion, Part, ToolCall
from streamkit.plain.fields import arguments_of, calls_of, mapping, released


def answer(completion: Completion) -> dict[str, Any]:
    """The one object that holds all of the answer, with its counts and durations."""
    whole = {**completion.details, **(completion.usage.details if completion.usage else {})}
    if not completion.choices:
        return whole
    choice = completion.choices[0]
    if isinstance(message := whole.get("message"), dict):
        whole["message"] = {**message, "content": choice.text, **_beside(choice)}
    else:
        whole |= {"response": choice.text, **_beside(choice)}
    if choice.finish_reason:
        whole["done_reason"] = choice.finish_reason
    if choice.logprobs:
        whole["logprobs"] = choice.logprobs.get("content")
    return whole


def _beside(choice: Choice) -> dict[str, Any]:
    known = calls_of(choice)
    calls = [_call(part, known[part.tool_index]) for part in released(choice)]
    said = {"thinking": choice.reasoning, "tool_calls": calls}
    return {name: value for name, value in said.items() if value}


def _call(part: Part, call: ToolCall) -> dict[str, Any]:
    function = dict(mapping(part.data.get("function")))
    if call.name is not None:
        function["name"] = call.name
    if "arguments" in function:
        # Some servers send the arguments as OpenAI does, in a string.
        function["arguments"] = call.arguments if isinstance(function["arguments"], str) else arguments_of(call)
    return {**part.data, "function": function}
