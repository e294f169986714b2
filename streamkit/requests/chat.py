"""Read and write requests of chat completions. https://platform.openai.com/docs/api-reference/chat/create"""

from collections.abc import Iterable, Iterator
from typing import Any

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
from streamkit.requests.fields import Fields, items_of, unknown
from streamkit.requests.losses import PROVIDER_FILE, REASONING, Losses, below
from streamkit.requests.openai import (
    SHARED,
    STREAM_OPTIONS,
    cached,
    choice_of,
    content_only,
    effort_of,
    file_data,
    from_data_url,
    image_url,
    lose_cache,
    one_or_many,
    read_choice,
    read_effort,
    read_format,
    read_image,
    read_shared,
    schema_fields,
    strict_of,
    write_rest,
)

OWN = ("stop", "seed", "n", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "verbosity")
"""Options beyond `SHARED`, by their names in chat completions."""
MOST_STOPS = 4
_DEFAULTS: dict[str, Any] = {"n": 1, "store": False, "logprobs": False, "logit_bias": {}}
_OTHER_TIERS = ("ultrafast",)


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body."""
    fields = Fields(body, "", losses)
    options = read_shared(fields)
    options |= _stops(fields)
    options |= {name: option for name in (*OWN[1:], "top_k") if (option := fields.known(name)) is not None}
    older, limit = fields.known("max_tokens"), fields.known("max_tokens", "max_completion_tokens")
    if older and limit:
        losses.add(older.path, "max_completion_tokens is also set")
    if found := limit or older:
        options["max_tokens"] = found
    options |= read_effort(fields.option("reasoning_effort", fields.text))
    _normalize(options)
    conversation = Conversation(options=options)
    _ChatMessages(conversation.turns, losses).read(fields)
    _read_tools(fields, conversation)
    shape = fields.fields("response_format")
    schema = shape.fields("json_schema")
    conversation.format = read_format(shape, schema)
    schema.close()
    shape.close()
    fields.default("modalities", ["text"])
    fields.close()
    return conversation


def _stops(fields: Fields) -> dict[str, Option]:
    value = fields.value("stop")
    stops = [value] if isinstance(value, str) else Fields({"stop": value}, "", fields.losses).texts("stop")
    return {"stop": Option(stops, "stop")} if stops else {}


def _normalize(options: dict[str, Option]) -> None:
    # An option that equals its default is dropped.
    for name, value in _DEFAULTS.items():
        if name in options and options[name].value == value:
            del options[name]
    options.setdefault("store", Option(False, "store", implied=True))


class _ChatMessages:
    def __init__(self, turns: list[Turn], losses: Losses) -> None:
        self._turns = turns
        self._losses = losses
        self._functions: dict[str, str] = {}

    def read(self, fields: Fields) -> None:
        for path, value in fields.items("messages"):
            message = Fields(value, path, self._losses)
            match message.needed("role"):
                case "system" | "developer" | "user" as role:
                    parts = [*content_only(_content(message), self._losses)]
                    self._turns.append(Turn(role, [*parts], message.text("name"), path))
                case "assistant":
                    self._assistant(message)
                case "tool":
                    self._result(message.needed("tool_call_id"), message)
                case "function":
                    self._result(self._called(message.needed("name"), path), message)
                case _:
                    raise unknown(below(path, "role"), "system, developer, user, assistant, tool or function")
            message.close()

    def _result(self, id: str, message: Fields) -> None:
        content = [*content_only(_content(message), self._losses)]
        part = ResultPart(id, content, path=message.path)
        if self._turns and isinstance(self._turns[-1].parts[0] if self._turns[-1].parts else None, ResultPart):
            self._turns[-1].parts.append(part)
        else:
            self._turns.append(Turn("user", [part], path=message.path))

    def _called(self, name: str, path: str) -> str:
        # Results of legacy functions have no call id, and each function has at most one open call.
        if name not in self._functions:
            self._losses.add(below(path, "name"), "the result of a call that is not in the request")
        return self._functions.pop(name, f"call_function_{len(self._turns)}")

    def _assistant(self, message: Fields) -> None:
        parts: list[TurnPart] = [*_content(message)]
        if refusal := message.text("refusal"):
            parts.append(RefusalPart(refusal, message.at("refusal")))
        parts += [self._call(path, value) for path, value in message.items("tool_calls")]
        function = message.fields("function_call")
        if name := function.text("name"):
            self._functions[name] = id = f"call_function_{len(self._turns)}"
            parts.append(CallPart(id, name, function.text("arguments") or "", path=function.path))
        function.close()
        for name in ("reasoning_content", "reasoning", "reasoning_details"):
            message.lose(name, REASONING)
        message.lose("annotations")
        if len(parts) > 1:
            parts = [part for part in parts if not isinstance(part, TextPart) or part.text]
        self._turns.append(Turn("assistant", parts, message.text("name"), message.path))

    def _call(self, path: str, value: object) -> CallPart:
        call = Fields(value, path, self._losses)
        kind = call.text("type") or "function"
        if kind not in ("function", "custom"):
            raise unknown(below(path, "type"), "function or custom")
        inner = call.fields(kind)
        arguments = inner.text("input" if kind == "custom" else "arguments") or ""
        found = CallPart(call.needed("id"), inner.needed("name"), arguments, kind == "custom", path)
        call.value("index")  # added by compatible servers and repeated by clients
        inner.close()
        call.close()
        return found


def _content(message: Fields) -> Iterator[Content | RefusalPart]:
    value = message.value("content")
    if isinstance(value, str):
        yield TextPart(value, path=message.at("content"))
    elif value is not None:
        for path, item in items_of(value, message.at("content")):
            part = Fields(item, path, message.losses)
            found = _part(part)
            if found is not None:
                yield found
                part.close()


def _part(part: Fields) -> Content | RefusalPart | None:
    path = part.path
    match part.text("type"):
        case "text":
            return TextPart(part.needed("text"), part.mapping("prompt_cache_breakpoint"), path)
        case "refusal":
            return RefusalPart(part.needed("refusal"), path)
        case "image_url":
            image = part.fields("image_url")
            cache = part.mapping("prompt_cache_breakpoint")
            found = read_image(image.needed("url"), image.text("detail"), cache, path)
            image.close()
            return found
        case "input_audio":
            audio = part.fields("input_audio")
            sound = AudioPart(audio.needed("data"), audio.needed("format"), path)
            audio.close()
            return sound
        case "file":
            return _file(part)
        case _:
            part.losses.add(path)
            return None


def _file(part: Fields) -> FilePart | None:
    file = part.fields("file")
    data = file.text("file_data")
    if data is None:
        part.losses.add(part.path, PROVIDER_FILE)
        return None
    inline, media_type = from_data_url(data)
    name = file.text("filename")
    file.close()
    return FilePart(inline or data, media_type, None, name, part.mapping("prompt_cache_breakpoint"), part.path)


def _read_tools(fields: Fields, conversation: Conversation) -> None:
    losses = fields.losses
    for path, value in fields.items("tools"):
        tool = Fields(value, path, losses)
        kind = tool.text("type") or "function"
        if kind not in ("function", "custom"):
            losses.add(path, "a provider-specific tool")
            continue
        inner = tool.fields(kind)
        conversation.tools.append(_tool(inner, kind == "custom", path))
        inner.close()
        tool.close()
    for path, value in fields.items("functions"):
        function = Fields(value, path, losses)
        conversation.tools.append(_tool(function, False, path))
        function.close()
    conversation.choice = read_choice(fields.value("tool_choice"), "tool_choice", losses, nested=True)
    if conversation.choice:
        fields.lose("function_call", "tool_choice is also set")
    match fields.value("function_call"):
        case None:
            pass
        case "none" | "auto" as mode:
            conversation.choice = ToolPreference(mode, path="function_call")
        case value:
            function = Fields(value, "function_call", losses)
            conversation.choice = ToolPreference("required", [function.needed("name")], path="function_call")
            function.close()


def _tool(fields: Fields, custom: bool, path: str) -> OfferedTool:
    return OfferedTool(
        fields.needed("name"),
        fields.text("description"),
        fields.mapping("parameters"),
        fields.flag("strict"),
        custom,
        _custom_format(fields) if custom else None,
        path,
    )


def _custom_format(fields: Fields) -> dict[str, Any] | None:
    # Chat completions nest a grammar in an object; Responses put its fields next to the type.
    format = fields.mapping("format")
    return {"type": "grammar", **format["grammar"]} if format and isinstance(format.get("grammar"), dict) else format


def write(conversation: Conversation, losses: Losses, max_tokens: int) -> dict[str, Any]:
    """Build a request body."""
    options = dict(conversation.options)
    effort = effort_of(options, losses)
    stop = options.get("stop")
    if stop is not None:
        for number in range(MOST_STOPS, len(stop.value)):
            losses.add(f"{stop.path}[{number}]", f"chat completions accept at most {MOST_STOPS} stop sequences")
        options["stop"] = Option(stop.value[:MOST_STOPS])
    limit, store = options.pop("max_tokens", None), options.get("store")
    if store is not None and store.value is False:
        del options["store"]  # the default
    _lose_newer(options, losses)
    streaming = {name: options.pop(name) for name in STREAM_OPTIONS if name in options}
    streams = "stream" in options and options["stream"].value is True
    stream_options = {name: option.value for name, option in streaming.items() if streams or not option.implied}
    body: dict[str, Any] = write_rest(options, (*SHARED, *OWN), losses)
    messages = [message for turn in conversation.turns for message in _messages(turn, losses)]
    found = {
        "max_completion_tokens": limit.value if limit else None,
        "messages": messages,
        "reasoning_effort": effort,
        "stream_options": stream_options or None,
        "tools": [_write_tool(tool, losses) for tool in conversation.tools] or None,
        "tool_choice": choice_of(conversation.choice, conversation, nested=True) if conversation.choice else None,
        "response_format": _format(conversation.format, losses) if conversation.format else None,
    }
    return body | {name: value for name, value in found.items() if value is not None}


def _lose_newer(options: dict[str, Option], losses: Losses) -> None:
    # Values that only Responses support.
    if "service_tier" in options and options["service_tier"].value in _OTHER_TIERS:
        losses.add(options.pop("service_tier").path)
    if (cache := options.pop("prompt_cache_options", None)) is None:
        return
    kept = {name: value for name, value in cache.value.items() if name == "mode" or (name, value) == ("ttl", "30m")}
    losses.rest({name: value for name, value in cache.value.items() if name not in kept}, cache.path)
    if kept:
        options["prompt_cache_options"] = Option(kept, cache.path)


def _format(format: OutputFormat, losses: Losses) -> dict[str, Any]:
    if format.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": schema_fields(format, losses)}


def _write_tool(tool: OfferedTool, losses: Losses) -> dict[str, Any]:
    format = tool.format
    if format and format.get("type") == "grammar":
        format = {"type": "grammar", "grammar": {name: value for name, value in format.items() if name != "type"}}
    found = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": strict_of(tool.strict, tool.parameters, tool.path, losses),
        "format": format,
    }
    kind = "custom" if tool.custom else "function"
    return {"type": kind, kind: {name: value for name, value in found.items() if value is not None}}


def _messages(turn: Turn, losses: Losses) -> Iterator[dict[str, Any]]:
    results = [part for part in turn.parts if isinstance(part, ResultPart)]
    if results:
        yield from _results(results, losses)
        return
    if turn.role == "assistant":
        message = _assistant(turn.parts, losses)
    else:
        content: Iterable[Content] = (part for part in turn.parts if isinstance(part, Content))
        message = {"content": one_or_many(content, lambda part: _write_part(part, losses))}
    named = {"name": turn.name} if turn.name else {}
    yield {"role": turn.role, **named, **message}


def _results(results: list[ResultPart], losses: Losses) -> Iterator[dict[str, Any]]:
    beside: list[Content] = []
    for result in results:
        texts = [part for part in result.content if isinstance(part, TextPart)]
        for part in result.content:
            if not isinstance(part, TextPart):
                losses.add(part.path, "moved to a user message after the results")
                beside.append(part)
        if result.failed:
            losses.add(below(result.path, "is_error"))
        content = one_or_many(texts, lambda part: _write_part(part, losses))
        yield {"role": "tool", "tool_call_id": result.id, "content": content}
    if beside:
        yield {"role": "user", "content": [value for part in beside if (value := _write_part(part, losses))]}


def _assistant(parts: list[TurnPart], losses: Losses) -> dict[str, Any]:
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    refusals = [part.text for part in parts if isinstance(part, RefusalPart)]
    calls = [_write_call(part) for part in parts if isinstance(part, CallPart)]
    for part in parts:
        if isinstance(part, ImagePart | FilePart | AudioPart):
            losses.add(part.path, "assistant messages can only have text")
        elif isinstance(part, TextPart):
            lose_cache(part, losses)
    # One string, which every compatible server accepts; a list of parts would be concatenated too.
    message: dict[str, Any] = {"content": "".join(texts) if texts else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    if calls:
        message["tool_calls"] = calls
    return message


def _write_call(call: CallPart) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _write_part(part: Content, losses: Losses) -> dict[str, Any] | None:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text, **cached(part)}
        case ImagePart(detail=detail):
            return {
                "type": "image_url",
                "image_url": {"url": image_url(part), **({"detail": detail} if detail else {})},
                **cached(part),
            }
        case AudioPart(data=data, format=format):
            return {"type": "input_audio", "input_audio": {"data": data, "format": format}}
        case FilePart(data=str()):
            return {"type": "file", "file": file_data(part), **cached(part)}
        case _:
            losses.add(part.path, "chat completions accept a document's data but no URL")
            return None
