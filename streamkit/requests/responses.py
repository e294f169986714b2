"""Read and write requests of Responses. https://platform.openai.com/docs/api-reference/responses/create"""

from collections.abc import Iterator
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
    RefusalPart,
    ResultPart,
    TextPart,
    Turn,
    TurnPart,
)
from streamkit.requests.fields import Fields, items_of, unknown
from streamkit.requests.losses import PROVIDER_FILE, REASONING, Losses, below
from streamkit.requests.openai import (
    SHARED,
    cached,
    choice_of,
    content_only,
    custom_tools,
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

LOGPROBS = "message.output_text.logprobs"
_STORED = "content stored at OpenAI is not in the request"


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body."""
    fields = Fields(body, "", losses)
    options = read_shared(fields)
    options["include_usage"] = Option(True, implied=True)
    if limit := fields.known("max_tokens", "max_output_tokens"):
        options["max_tokens"] = limit
    reasoning = fields.fields("reasoning")
    options |= read_effort(reasoning.option("effort", reasoning.text))
    older, summary = (reasoning.option(name, reasoning.text) for name in ("generate_summary", "summary"))
    if older and summary:
        losses.add(older.path, "summary is also set")
    if found := summary or older:
        options["summary"] = found
    reasoning.close()
    for path, value in fields.items("include"):
        if value == LOGPROBS:
            options["logprobs"] = Option(True, path)
        else:
            losses.add(path)
    conversation = Conversation(options=options)
    for name in ("previous_response_id", "conversation", "prompt"):
        fields.lose(name, _STORED)
    _read_text(fields, conversation)
    if (instructions := fields.text("instructions")) is not None:
        conversation.turns.append(Turn("system", [TextPart(instructions, path="instructions")], path="instructions"))
    _Items(conversation, losses).read(fields)
    _read_tools(fields, conversation)
    fields.default("truncation", "disabled")
    fields.default("background", False)
    fields.close()
    return conversation


def _read_text(fields: Fields, conversation: Conversation) -> None:
    text = fields.fields("text")
    if verbosity := text.known("verbosity"):
        conversation.options["verbosity"] = verbosity
    shape = text.fields("format")
    conversation.format = read_format(shape, shape)
    shape.close()
    text.close()


def _read_tools(fields: Fields, conversation: Conversation) -> None:
    losses = fields.losses
    for path, value in fields.items("tools"):
        tool = Fields(value, path, losses)
        kind = tool.text("type")
        if kind not in ("function", "custom"):
            losses.add(path, "a provider-specific tool")
            continue
        custom = kind == "custom"
        format = tool.mapping("format") if custom else None
        conversation.tools.append(
            OfferedTool(
                tool.needed("name"),
                tool.text("description"),
                tool.mapping("parameters"),
                tool.flag("strict"),
                custom,
                format,
                path,
            )
        )
        tool.close()
    conversation.choice = read_choice(fields.value("tool_choice"), "tool_choice", losses, nested=False)


class _Items:
    """Reads the input. The assistant's items are one turn until their calls have results, as other APIs require."""

    def __init__(self, conversation: Conversation, losses: Losses) -> None:
        self._turns = conversation.turns
        self._losses = losses

    def read(self, fields: Fields) -> None:
        value = fields.value("input")
        if isinstance(value, str):
            self._turns.append(Turn("user", [TextPart(value, path="input")], path="input"))
            return
        for path, item in items_of(value, "input"):
            self._item(Fields(item, path, self._losses))

    def _item(self, item: Fields) -> None:
        path = item.path
        kind = item.text("type")
        if kind is None:
            kind = "message" if item.has("role") or not item.has("id") else "item_reference"
        match kind:
            case "message":
                self._message(item)
            case "function_call":
                self._call(
                    CallPart(item.needed("call_id"), item.needed("name"), item.text("arguments") or "", path=path)
                )
            case "custom_tool_call":
                self._call(CallPart(item.needed("call_id"), item.needed("name"), item.text("input") or "", True, path))
            case "function_call_output" | "custom_tool_call_output" if not item.has("call_id"):
                self._losses.add(path, "a result without a call id")
                return
            case "function_call_output" | "custom_tool_call_output":
                content = [*content_only(_content(item, "output", self._losses), self._losses)]
                self._result(ResultPart(item.needed("call_id"), content, path=path))
            case "reasoning":
                self._losses.add(path, REASONING)
                return
            case "item_reference":
                self._losses.add(path, _STORED)
                return
            case _:
                self._losses.add(path)
                return
        item.default("status", "completed")
        item.value("id")
        item.close()

    def _message(self, item: Fields) -> None:
        role = item.needed("role")
        parts: list[TurnPart] = [*_content(item, "content", self._losses)]
        if role not in ("user", "assistant", "system", "developer"):
            raise unknown(below(item.path, "role"), "user, assistant, system or developer")
        if role != "assistant":
            parts = [*content_only(parts, self._losses)]
        if role == "assistant" and self._open_calls():
            self._turns[-1].parts.extend(parts)
        else:
            self._turns.append(Turn(role, parts, path=item.path))  # type: ignore[arg-type] # checked above

    def _open_calls(self) -> bool:
        return bool(self._turns) and any(isinstance(part, CallPart) for part in self._turns[-1].parts)

    def _call(self, call: CallPart) -> None:
        if self._turns and self._turns[-1].role == "assistant":
            self._turns[-1].parts.append(call)
        else:
            self._turns.append(Turn("assistant", [call], path=call.path))

    def _result(self, result: ResultPart) -> None:
        if self._turns and self._turns[-1].parts and isinstance(self._turns[-1].parts[0], ResultPart):
            self._turns[-1].parts.append(result)
        else:
            self._turns.append(Turn("user", [result], path=result.path))


def _content(item: Fields, name: str, losses: Losses) -> Iterator[Content | RefusalPart]:
    value = item.value(name)
    if isinstance(value, str):
        yield TextPart(value, path=item.at(name))
    else:
        for path, found in items_of(value, item.at(name)):
            part = Fields(found, path, losses)
            read = _part(part)
            if read is not None:
                yield read
                part.close()


def _part(part: Fields) -> Content | RefusalPart | None:
    path = part.path
    match part.text("type"):
        case "input_text" | "output_text" | "text":
            return TextPart(part.needed("text"), part.mapping("prompt_cache_breakpoint"), path)
        case "refusal":
            return RefusalPart(part.needed("refusal"), path)
        case "input_image":
            url = part.text("image_url")
            if url is not None:
                return read_image(url, part.text("detail"), part.mapping("prompt_cache_breakpoint"), path)
        case "input_file":
            if (file := _file(part)) is not None:
                return file
        case _:
            part.losses.add(path)
            return None
    part.losses.add(path, PROVIDER_FILE)
    return None


def _file(part: Fields) -> FilePart | None:
    url, data, name = part.text("file_url"), part.text("file_data"), part.text("filename")
    cache = part.mapping("prompt_cache_breakpoint")
    if url is not None:
        if data is not None:
            part.losses.add(part.at("file_data"), "file_url is also set")
        return FilePart(None, None, url, name, cache, part.path)
    if data is None:
        return None
    inline, media_type = from_data_url(data)
    return FilePart(inline or data, media_type, None, name, cache, part.path)


def write(conversation: Conversation, losses: Losses, max_tokens: int) -> dict[str, Any]:
    """Build a request body."""
    options = dict(conversation.options)
    summary = options.pop("summary", None)
    effort = effort_of(options, losses)
    reasoning = {"effort": effort, "summary": summary.value if summary and effort != "none" else None}
    if summary is not None and effort == "none":
        losses.add(summary.path)
    options.pop("include_usage", None)  # always returned
    obfuscation, logprobs = options.pop("include_obfuscation", None), options.pop("logprobs", None)
    limit, verbosity = options.pop("max_tokens", None), options.pop("verbosity", None)
    format = conversation.format
    text = {
        "format": {"type": "json_schema", **schema_fields(format, losses)} if format and format.schema is not None
        else {"type": "json_object"} if format else None,
        "verbosity": verbosity.value if verbosity else None,
    }  # fmt: skip
    instructions, turns = _instructions(conversation.turns)
    custom = _custom_calls(conversation)
    found: dict[str, Any] = {
        "instructions": instructions,
        "input": [item for turn in turns for item in _items(turn, custom, losses)],
        "max_output_tokens": limit.value if limit else None,
        "reasoning": _without_none(reasoning) or None,
        "text": _without_none(text) or None,
        "include": [LOGPROBS] if logprobs else None,
        "stream_options": {"include_obfuscation": obfuscation.value} if obfuscation else None,
        "tools": [_write_tool(tool, losses) for tool in conversation.tools] or None,
        "tool_choice": choice_of(conversation.choice, conversation, nested=False) if conversation.choice else None,
    }
    return write_rest(options, SHARED, losses) | _without_none(found)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _instructions(turns: list[Turn]) -> tuple[str | None, list[Turn]]:
    match turns:
        case [Turn(role="system", parts=[TextPart(text=text, cache=None)], name=None), *rest]:
            return text, rest
        case _:
            return None, turns


def _write_tool(tool: OfferedTool, losses: Losses) -> dict[str, Any]:
    if tool.custom:
        return _without_none(
            {"type": "custom", "name": tool.name, "description": tool.description, "format": tool.format}
        )
    # Responses treat a function without `strict` as strict; the other APIs do not.
    return _without_none(
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
            "strict": bool(strict_of(tool.strict, tool.parameters, tool.path, losses)),
        }
    )


def _items(turn: Turn, custom: set[str], losses: Losses) -> Iterator[dict[str, Any]]:
    if turn.name:
        losses.add(below(turn.path, "name"))
    if turn.role == "assistant":
        yield from _assistant(turn.parts, losses)
        return
    content = [part for part in turn.parts if isinstance(part, Content)]
    results = [part for part in turn.parts if isinstance(part, ResultPart)]
    for result in results:
        if result.failed:
            losses.add(below(result.path, "is_error"))
        kind = "custom_tool_call_output" if result.id in custom else "function_call_output"
        output = one_or_many(result.content, lambda part: _write_part(part, losses))
        yield {"type": kind, "call_id": result.id, "output": output}
    if content or not results:
        yield {"role": turn.role, "content": one_or_many(content, lambda part: _write_part(part, losses))}


def _custom_calls(conversation: Conversation) -> set[str]:
    names = custom_tools(conversation)
    calls = (part for turn in conversation.turns for part in turn.parts if isinstance(part, CallPart))
    return {call.id for call in calls if call.custom or call.name in names}


def _assistant(parts: list[TurnPart], losses: Losses) -> Iterator[dict[str, Any]]:
    texts = [part for part in parts if isinstance(part, TextPart)]
    refusals = [part for part in parts if isinstance(part, RefusalPart)]
    for part in parts:
        if isinstance(part, ImagePart | FilePart | AudioPart):
            losses.add(part.path, "assistant messages can only have text")
        elif isinstance(part, TextPart):
            lose_cache(part, losses)
    text = "".join(part.text for part in texts)
    if refusals:
        # Only a message with the id of an earlier response may have refusals. OpenAI reads its content but not the id.
        content: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": []}]
        content = content if text else []
        content += [{"type": "refusal", "refusal": part.text} for part in refusals]
        yield {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed", "content": content}
    elif texts:
        yield {"role": "assistant", "content": text}
    for part in parts:
        if not isinstance(part, CallPart):
            continue
        call = {"call_id": part.id, "name": part.name}
        if part.custom:
            yield {"type": "custom_tool_call", **call, "input": part.arguments}
        else:
            yield {"type": "function_call", **call, "arguments": part.arguments}


def _write_part(part: Content, losses: Losses) -> dict[str, Any] | None:
    match part:
        case TextPart(text=text):
            return {"type": "input_text", "text": text, **cached(part)}
        case ImagePart(detail=detail):
            return {"type": "input_image", "image_url": image_url(part), "detail": detail or "auto", **cached(part)}
        case FilePart(url=str() as url, name=name):
            return {"type": "input_file", "file_url": url, **({"filename": name} if name else {}), **cached(part)}
        case FilePart():
            return {"type": "input_file", **file_data(part), **cached(part)}
        case AudioPart():
            losses.add(part.path)
            return None
