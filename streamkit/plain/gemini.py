"""Gemini's `GenerateContentResponse`. (https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse)"""

from typing import Any, cast

from streamkit.events import Choice, Completion, Part, ToolCall
from streamkit.plain.fields import arguments_of, calls_of, mapping, quotes, released

# Of a citation; any other annotation is the grounding.
_CITATION = {"startIndex", "endIndex", "uri", "title", "license", "publicationDate"}


def generated(completion: Completion) -> dict[str, Any]:
    """The response with the parts of its candidates in order."""
    whole = dict(completion.details)
    if "candidates" in whole:
        whole["candidates"] = [_candidate(choice) for choice in completion.choices]
    if completion.usage:
        whole["usageMetadata"] = completion.usage.details
    return whole


def _candidate(choice: Choice) -> dict[str, Any]:
    candidate = dict(choice.details)
    if "content" in candidate or choice.parts:
        content = dict(mapping(candidate.get("content")))
        if "parts" in content or choice.parts:
            calls = calls_of(choice)
            content["parts"] = [_part(part, calls) for part in released(choice)]
        candidate["content"] = content
    if choice.finish_reason:
        candidate["finishReason"] = choice.finish_reason
    if "citationMetadata" in candidate:
        citations = [annotation for annotation in choice.annotations if annotation.keys() <= _CITATION]
        candidate["citationMetadata"] = dict.fromkeys(mapping(candidate["citationMetadata"]), citations)
    if "groundingMetadata" in candidate:
        grounding = [annotation for annotation in choice.annotations if not annotation.keys() <= _CITATION]
        # Several chunks may each say more of it.
        candidate["groundingMetadata"] = _released(
            {name: value for said in grounding for name, value in said.items()}, choice
        )
    if "logprobsResult" in candidate:
        candidate["logprobsResult"] = choice.logprobs or {}
    return candidate


def _released(grounding: dict[str, Any], choice: Choice) -> dict[str, Any]:
    supports = grounding.get("groundingSupports")
    if not isinstance(supports, list):
        return grounding
    found = [mapping(support) for support in cast(list[object], supports)]
    kept = [support for support in found if quotes(choice, mapping(support.get("segment")).get("text"))]
    return {**grounding, "groundingSupports": kept}


def _part(part: Part, calls: dict[int | None, ToolCall]) -> dict[str, Any]:
    whole = dict(part.data)
    if part.kind == "text":
        whole["text"] = part.text
    elif call := calls.get(part.tool_index):
        said = {**whole["functionCall"], "name": call.name}
        # A call without arguments may have been sent without them.
        whole["functionCall"] = {**said, "args": arguments_of(call)} if "args" in said else said
    return whole
