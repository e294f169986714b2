"""The requests of Gemini's generateContent, as a target. https://ai.google.dev/api/generate-content"""

from collections.abc import Iterator
from mimetypes import guess_type
from typing import Any

from streamkit.requests.conversation import (
    AudioPart,
    CallPart,
    Conversation,
    FilePart,
    ImagePart,
    Option,
    RefusalPart,
    ResultPart,
    TextPart,
    Turn,
    TurnPart,
)
from streamkit.requests.losses import Losses, below
from streamkit.requests.openai import arguments_object, lose_cache, lose_names, write_rest

CONFIG = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Options by their names in `generationConfig`."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens for an effort, as Google's own API for OpenAI's clients has them (ai.google.dev/gemini-api/docs/openai)."""
LEVELS = ("minimal", "low", "medium", "high")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# For calls that another model made, which Gemini else refuses. (ai.google.dev/gemini-api/docs/thought-signatures)
_UNSIGNED = "skip_thought_signature_validator"


def write(conversation: Conversation, losses: Losses, max_tokens: int) -> dict[str, Any]:
    """The body of this request. The model and whether it streams are in the address of Gemini's API."""
    options = dict(conversation.options)
    model = options.pop("model", None)
    for name in ("stream", "include_usage"):
        options.pop(name, None)
    for name, value in (("store", False), ("include_obfuscation", False), ("parallel_tool_calls", True)):
        if name in options and options[name].value == value:
            del options[name]  # as it is there
    config: dict[str, Any] = {}
    if thinking := _thinking(options, str(model.value) if model else "", losses):
        config["thinkingConfig"] = thinking
    if format := conversation.format:
        config["responseMimeType"] = "application/json"
        if format.schema is not None:
            config["responseJsonSchema"] = format.schema
            lose_names(format, losses)
    config |= {CONFIG[name]: value for name, value in write_rest(options, CONFIG, losses).items()}
    turns = conversation.turns
    leading = next((n for n, turn in enumerate(turns) if turn.speaker not in ("system", "developer")), len(turns))
    writer = _Contents(conversation, losses)
    system = [part for turn in turns[:leading] for part in writer.parts(turn)]
    found: dict[str, Any] = {
        "systemInstruction": {"parts": system} if system else None,
        "contents": writer.contents(turns[leading:]),
        "tools": _tools(conversation, losses),
        "toolConfig": _tool_config(conversation),
        "generationConfig": config or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _thinking(options: dict[str, Option], model: str, losses: Losses) -> dict[str, Any]:
    thinking, effort, budget, summary = (
        options.pop(name, None) for name in ("thinking", "effort", "budget", "summary")
    )
    if thinking is not None and thinking.value == "off":
        for option in (effort, summary):
            if option and not option.implied:
                losses.add(option.path)
        return {"thinkingBudget": 0}
    found: dict[str, Any] = {}
    if budget is not None:
        found["thinkingBudget"] = budget.value
        if effort is not None:
            losses.add(effort.path)
    elif effort is not None:
        found |= _effort(effort, model, losses)
    if summary is not None:
        found["includeThoughts"] = True
        if summary.value != "auto":
            losses.add(summary.path, "written as includeThoughts")
    return found


def _effort(effort: Option, model: str, losses: Losses) -> dict[str, Any]:
    level = effort.value
    if level not in LEVELS:
        losses.add(effort.path, "written as high, the nearest level")
        level = "high"
    # Levels came with the third generation, which takes budgets no longer.
    return {"thinkingBudget": BUDGETS[level]} if "gemini-2" in model else {"thinkingLevel": level}


def _tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    for tool in conversation.tools:
        schema = tool.parameters
        if tool.custom:
            losses.add(tool.path, "written as a function with one string, `input`")
            schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        if tool.strict:
            losses.add(below(tool.path, "strict"))
        written = {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema}
        found.append({name: value for name, value in written.items() if value is not None})
    return [{"functionDeclarations": found}] if found else None


def _tool_config(conversation: Conversation) -> dict[str, Any] | None:
    if (choice := conversation.choice) is None:
        return None
    names = {"allowedFunctionNames": choice.names} if choice.names else {}
    mode = "VALIDATED" if choice.names and choice.mode == "auto" else _MODES[choice.mode]
    return {"functionCallingConfig": {"mode": mode, **names}}


class _Contents:
    def __init__(self, conversation: Conversation, losses: Losses) -> None:
        self._losses = losses
        parts = (part for turn in conversation.turns for part in turn.parts)
        self._names = {part.id: part.name for part in parts if isinstance(part, CallPart)}

    def contents(self, turns: list[Turn]) -> list[dict[str, Any]]:
        return [{"role": self._role(turn), "parts": [*self.parts(turn)]} for turn in turns]

    def _role(self, turn: Turn) -> str:
        if turn.speaker in ("system", "developer"):
            self._losses.add(turn.path, "written as a turn of the user: Gemini has instructions at the beginning only")
        return "model" if turn.speaker == "assistant" else "user"

    def parts(self, turn: Turn) -> Iterator[dict[str, Any]]:
        if turn.name:
            self._losses.add(below(turn.path, "name"))
        for part in turn.parts:
            yield from self._part(part)

    def _part(self, part: TurnPart) -> Iterator[dict[str, Any]]:
        match part:
            case TextPart(text=text):
                lose_cache(part, self._losses)
                yield {"text": text}
            case RefusalPart(text=text):
                self._losses.add(part.path, "written as text")
                yield {"text": text}
            case ImagePart() | FilePart():
                lose_cache(part, self._losses)
                yield from self._file(part)
            case AudioPart(data=data, format=format):
                yield {"inlineData": {"mimeType": f"audio/{format}", "data": data}}
            case CallPart():
                call = {"id": part.id, "name": part.name, "args": arguments_object(part, self._losses)}
                yield {"functionCall": call, "thoughtSignature": _UNSIGNED}
            case ResultPart():
                yield from self._result(part)

    def _file(self, part: ImagePart | FilePart) -> Iterator[dict[str, Any]]:
        if isinstance(part, ImagePart) and part.detail:
            self._losses.add(below(part.path, "detail"))
        if isinstance(part, FilePart) and part.name:
            self._losses.add(part.path, "written without its name")
        default = "application/pdf" if isinstance(part, FilePart) else "image/png"
        if part.data is not None:
            yield {"inlineData": {"mimeType": part.media_type or default, "data": part.data}}
            return
        media_type = guess_type(part.url or "")[0]
        yield {"fileData": {"fileUri": part.url, "mimeType": media_type or default}}

    def _result(self, result: ResultPart) -> Iterator[dict[str, Any]]:
        text = "".join(part.text for part in result.content if isinstance(part, TextPart))
        name = self._names.get(result.id)
        if name is None:
            self._losses.add(result.path, "the result of a call that is not in the request")
        response = {"error" if result.failed else "output": text}
        yield {"functionResponse": {"id": result.id, "name": name or "unknown", "response": response}}
        for part in result.content:
            if not isinstance(part, TextPart):
                self._losses.add(part.path, "moved behind the result")
                yield from self._part(part)
