"""Cohere's chat response, version 2. (https://docs.cohere.com/reference/chat)"""

from typing import Any

from streamkit.events import Choice, Completion, Part, ToolCall
from streamkit.plain.fields import calls_of, mapping, quotes, released


def chat(completion: Completion) -> dict[str, Any]:
    """The response with its message: plan, content, calls and citations."""
    whole = dict(completion.details)
    if not completion.choices:
        return whole
    choice = completion.choices[0]
    whole |= {"finish_reason": choice.finish_reason, "message": _message(mapping(whole.get("message")), choice)}
    if completion.usage:
        whole["usage"] = completion.usage.details
    if choice.logprobs:
        whole["logprobs"] = choice.logprobs.get("items")
    return whole


def _message(fields: dict[str, Any], choice: Choice) -> dict[str, Any]:
    plan = next((part.text for part in choice.parts if part.kind == "tool_plan"), None)
    content = [_content(part) for part in choice.parts if part.kind != "tool_plan" and part.tool_index is None]
    known = calls_of(choice)
    calls = [_call(part, known[part.tool_index]) for part in released(choice) if part.tool_index is not None]
    citations = [citation for citation in choice.annotations if quotes(choice, citation.get("text"))]
    said = {"tool_plan": plan, "content": content, "tool_calls": calls, "citations": citations}
    return {**fields, **{name: value for name, value in said.items() if value}}


def _content(part: Part) -> dict[str, Any]:
    if part.channel is None:
        return dict(part.data)
    return {**part.data, "thinking" if part.channel == "reasoning" else "text": part.text}


def _call(part: Part, call: ToolCall) -> dict[str, Any]:
    function = {**mapping(part.data.get("function")), "arguments": call.arguments}
    if call.name is not None:
        function["name"] = call.name
    return {**part.data, "function": function}
