"""Read and write requests of Gemini's generateContent. https://ai.google.dev/api/generate-content"""

from collections import deque
from collections.abc import Iterator
from mimetypes import guess_type
from typing import Any, Literal

import msgspec

from streamkit.requests.conversation import (
    AudioPart,
    CallPart,
    Content,
    Conversation,
    FilePart,
    ImagePart,
    OfferedTool,
    Option,
    OutputFormat,
    RefusalPart,
    ResultPart,
    TextPart,
    ToolPreference,
    Turn,
    TurnPart,
)
from streamkit.requests.fields import Fields, unknown
from streamkit.requests.losses import REASONING, Losses, below
from streamkit.requests.openai import arguments_object, content_only, lose_cache, lose_names, write_rest
from streamkit.requests.openapi import json_schema

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
"""The names of options in `generationConfig`, by OpenAI's names."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Thinking budgets in tokens by effort, from Google's API for OpenAI clients (ai.google.dev/gemini-api/docs/openai)."""
LEVELS = ("minimal", "low", "medium", "high", "xhigh")
_ANSWERS = ("output", "result", "error")
"""Fields that hold the whole result if they are the only field of the response."""
_PROVIDER_FILE = "a Google file URI is only valid at Google"
_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "AUTO": "auto",
    "NONE": "none",
    "ANY": "required",
    "VALIDATED": "auto",
    "MODE_UNSPECIFIED": "auto",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_FILES = "https://generativelanguage.googleapis.com/"
# Without this Gemini rejects calls that another model made. (ai.google.dev/gemini-api/docs/thought-signatures)
_UNSIGNED = "skip_thought_signature_validator"


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body. The model is in the URL, and in the body only in batches."""
    fields = Fields(body, "", losses, camel_case=True)
    options = {name: option for name in ("model", "store") if (option := fields.known(name)) is not None}
    # Gemini always returns the usage, and stores nothing by default.
    options |= {"include_usage": Option(True, implied=True), "store": Option(False, implied=True), **options}
    conversation = Conversation(options=options)
    _read_config(fields.fields("generationConfig"), conversation)
    fields.lose("cachedContent", "content stored at Google is not in the request")
    reader = _GeminiTurns(conversation.turns, losses)
    system = fields.fields("systemInstruction")
    system.value("role")  # without meaning here
    texts = [*content_only(reader.parts(system), losses)]
    if texts:
        conversation.turns.append(Turn("system", [*texts], path=system.path))
    system.close()
    for path, value in fields.items("contents"):
        reader.content(Fields(value, path, losses, camel_case=True))
    for path, value in fields.items("tools"):
        conversation.tools += _read_tools(Fields(value, path, losses, camel_case=True))
    _read_choice(fields.fields("toolConfig"), conversation)
    fields.close()
    return conversation


def _read_config(config: Fields, conversation: Conversation) -> None:
    options = conversation.options
    stop = config.option("stopSequences", config.texts)
    if stop is not None and stop.value:
        options["stop"] = stop
    for name, called in CONFIG.items():
        if name != "stop" and (option := config.known(name, called)) is not None:
            options[name] = option
    for name, value in (("n", 1), ("logprobs", False)):
        if name in options and options[name].value == value:
            del options[name]  # the default
    _read_thinking(config.fields("thinkingConfig"), options)
    _read_format(config, conversation)
    config.default("responseModalities", ["TEXT"])
    config.close()


def _read_thinking(thinking: Fields, options: dict[str, Option]) -> None:
    budget = thinking.option("thinkingBudget", thinking.number)
    level = thinking.option("thinkingLevel", thinking.text)
    if thinking.flag("includeThoughts"):
        options["summary"] = Option("auto", thinking.at("includeThoughts"))
    if budget is not None and budget.value == 0:
        options["thinking"] = Option("off", budget.path)
    elif budget is not None and budget.value < 0:
        options["thinking"] = Option("auto", budget.path)
    elif budget is not None:
        options |= {"thinking": Option("on", budget.path), "budget": budget}
    if level is not None and level.value.lower() in LEVELS:
        options["effort"] = Option(level.value.lower(), level.path)
    elif level is not None and level.value != "THINKING_LEVEL_UNSPECIFIED":
        thinking.losses.add(level.path)
    thinking.close()


def _read_format(config: Fields, conversation: Conversation) -> None:
    # Gemini's schemas are always strict and have no name.
    kind, path = config.text("responseMimeType"), config.at("responseMimeType")
    for name in ("responseJsonSchema", "responseSchema"):
        schema = config.mapping(name)
        if schema is not None and conversation.format is not None:
            config.losses.add(config.at(name), "another schema is also set")
        elif schema is not None:
            given = schema if name == "responseJsonSchema" else json_schema(schema, config.at(name), config.losses)
            conversation.format = OutputFormat(given, strict=True, path=config.at(name))
    if kind == "application/json" and conversation.format is None:
        conversation.format = OutputFormat(path=path)
    elif kind not in (None, "application/json", "text/plain"):
        config.losses.add(path)


class _GeminiTurns:
    """Reads contents. Consecutive contents of one role become one turn, so that calls precede all of their results."""

    def __init__(self, turns: list[Turn], losses: Losses) -> None:
        self._turns = turns
        self._losses = losses
        self._calls = 0
        self._open: dict[str, str] = {}  # names of calls without a result, by their ids
        self._named: dict[str, deque[str]] = {}

    def content(self, content: Fields) -> None:
        role = content.text("role")
        if role not in (None, "user", "model", "function"):
            raise unknown(content.at("role"), "user or model")
        parts = [*self.parts(content)]
        content.close()
        results: list[TurnPart] = [part for part in parts if isinstance(part, ResultPart)]
        rest: list[TurnPart] = [part for part in parts if not isinstance(part, ResultPart)]
        if results:
            self._add("user", results, content.path)
        if role != "model":
            rest = [*content_only(rest, self._losses)]
        if rest or not results:
            self._add("assistant" if role == "model" else "user", rest, content.path)

    def _add(self, role: Literal["user", "assistant"], parts: list[TurnPart], path: str) -> None:
        last = self._turns[-1] if self._turns else None
        if last and last.role == role and last.parts and parts and _answers(last.parts[0]) == _answers(parts[0]):
            last.parts.extend(parts)
        else:
            self._turns.append(Turn(role, parts, path=path))

    def parts(self, content: Fields) -> Iterator[TurnPart]:
        for path, value in content.items("parts"):
            part = Fields(value, path, self._losses, camel_case=True)
            if part.flag("thought"):
                self._losses.add(path, REASONING)
                continue
            part.default("thoughtSignature", _UNSIGNED)
            part.lose("thoughtSignature", REASONING)
            found = self._part(part)
            if found is None:
                self._losses.add(path)
            else:
                yield from found
                part.close()

    def _part(self, part: Fields) -> list[TurnPart] | None:
        if part.has("functionCall"):
            return [self._call(part.fields("functionCall"), part.path)]
        if part.has("functionResponse"):
            return [self._result(part.fields("functionResponse"), part.path)]
        for name in ("inlineData", "fileData"):
            if part.has(name):
                return _data(part.fields(name), part.path)
        text = part.text("text")
        return None if text is None else [TextPart(text, path=part.path)]

    def _call(self, call: Fields, path: str) -> CallPart:
        self._calls += 1
        arguments = msgspec.json.encode(call.mapping("args") or {}).decode()
        found = CallPart(call.text("id") or f"call_gemini_{self._calls}", call.needed("name"), arguments, path=path)
        self._open[found.id] = found.name
        self._named.setdefault(found.name, deque()).append(found.id)
        call.close()
        return found

    def _next_call(self, function: str) -> str | None:
        # A result without an id belongs to the first call of its function that has no result.
        waiting = self._named.get(function, deque())
        while waiting:
            if (id := waiting.popleft()) in self._open:
                return id
        return None

    def _result(self, result: Fields, path: str) -> ResultPart:
        function, id = result.needed("name"), result.text("id")
        id = id or self._next_call(function)
        if id is None or self._open.pop(id, None) is None:
            self._losses.add(result.at("name"), "the result of a call that is not in the request")
        response = result.mapping("response") or {}
        content: list[Content] = []
        match [*response.items()]:
            case [(name, str() as text)] if name in _ANSWERS:
                content.append(TextPart(text, path=result.at("response")))
            case []:
                pass
            case [(name, value)] if name in _ANSWERS:
                content.append(TextPart(msgspec.json.encode(value).decode(), path=result.at("response")))
            case _:
                content.append(TextPart(msgspec.json.encode(response).decode(), path=result.at("response")))
        content += content_only(self.parts(result), self._losses)
        result.close()
        return ResultPart(id or f"call_gemini_{function}", content, [*response] == ["error"], path)


def _answers(part: TurnPart) -> bool:
    return isinstance(part, ResultPart)


def _data(data: Fields, path: str) -> list[TurnPart] | None:
    """Read an image, a document or audio, from its data or its URL."""
    inline, url = data.text("data"), data.text("fileUri")
    kind = data.text("mimeType")
    if url is not None and (not url.startswith("https://") or url.startswith(_FILES)):
        data.losses.add(path, _PROVIDER_FILE)
        return []
    if inline is None and url is None:
        raise unknown(data.path, "data or fileUri")
    found = data.media(path, inline, url, kind, "displayName")
    data.close()
    return None if found is None else [found]


def _read_tools(tool: Fields) -> Iterator[OfferedTool]:
    for path, value in tool.items("functionDeclarations"):
        function = Fields(value, path, tool.losses, camel_case=True)
        schema, older = function.mapping("parametersJsonSchema"), function.mapping("parameters")
        if schema is not None and older is not None:
            tool.losses.add(function.at("parameters"), "parametersJsonSchema is also set")
        elif older is not None:
            schema = json_schema(older, function.at("parameters"), tool.losses)
        yield OfferedTool(function.needed("name"), function.text("description"), schema, path=path)
        function.close()
    tool.close("a provider-specific tool")


def _read_choice(config: Fields, conversation: Conversation) -> None:
    calling = config.fields("functionCallingConfig")
    mode, names = calling.text("mode"), calling.texts("allowedFunctionNames")
    if mode is not None and mode.upper() not in _CHOICES:
        raise unknown(calling.at("mode"), "AUTO, ANY, NONE or VALIDATED")
    if mode is not None or names:
        kind = (mode or "AUTO").upper()
        if kind == "NONE" and names:
            calling.losses.add(calling.at("allowedFunctionNames"), "the mode NONE allows no function")
            names = []
        if kind == "VALIDATED":
            calling.losses.add(
                calling.at("mode"), "written as auto, which does not validate arguments against a schema"
            )
        conversation.choice = ToolPreference(_CHOICES[kind], names or [], path=calling.path)
    calling.close()
    config.close()


def write(conversation: Conversation, losses: Losses, max_tokens: int) -> dict[str, Any]:
    """Build a request body. In Gemini's API the URL has the model and whether to stream."""
    options = dict(conversation.options)
    model = options.pop("model", None)
    for name in ("stream", "include_usage"):
        options.pop(name, None)
    for name, value in (("store", False), ("include_obfuscation", False), ("parallel_tool_calls", True)):
        if name in options and options[name].value == value:
            del options[name]  # the behaviour of Gemini
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
    leading = next((n for n, turn in enumerate(turns) if turn.role not in ("system", "developer")), len(turns))
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
    level, newer = effort.value, "gemini-2" not in model
    if level not in LEVELS or (level not in BUDGETS and not newer):
        losses.add(effort.path, "written as high, the nearest level")
        level = "high"
    # Gemini 3 and later take levels instead of budgets.
    return {"thinkingLevel": level} if newer else {"thinkingBudget": BUDGETS[level]}


def _tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    for tool in conversation.tools:
        schema = tool.parameters
        if tool.custom:
            losses.add(tool.path, "written as a function with one string parameter, `input`")
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
        if turn.role in ("system", "developer"):
            self._losses.add(turn.path, "written as a user turn: Gemini accepts instructions only at the beginning")
        return "model" if turn.role == "assistant" else "user"

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
                self._losses.add(part.path, "moved after the result")
                yield from self._part(part)
