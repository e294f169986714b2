"""Read and write requests of Anthropic's Messages. https://docs.anthropic.com/en/api/messages"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from streamkit.requests.conversation import (
    AudioPart,
    CallPart,
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
from streamkit.requests.openai import arguments_object, content_only, from_data_url, lose_cache, lose_names, write_rest

OWN = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
"""Options that have the same name in Messages and in OpenAI's APIs."""
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
LEAST_BUDGET = 1024
"""Smallest `budget_tokens`, in tokens."""
USER_ID_CHARS = 128
"""Longest `safety_identifier` that OpenAI accepts, in characters."""
_FOREIGN_ID = re.compile(r"[^A-Za-z0-9_-]")
_TIERS = {"auto": "auto", "standard_only": "default"}


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body."""
    fields = Fields(body, "", losses)
    options = {name: option for name in OWN if (option := fields.known(name)) is not None}
    # Messages always return the usage and store nothing.
    options |= {"include_usage": Option(True, implied=True), "store": Option(False, implied=True)}
    conversation = Conversation(options=options, prefills=True)
    _read_options(fields, conversation)
    system = fields.value("system")
    if system is not None:
        conversation.turns.append(Turn("system", [*_texts(system, "system", losses)], path="system"))
    for path, value in fields.items("messages"):
        message = Fields(value, path, losses)
        role = message.needed("role")
        if role not in ("user", "assistant", "system"):
            raise unknown(below(path, "role"), "user, assistant or system")
        content = message.value("content")
        conversation.turns += _turns(role, _blocks(content, message.at("content"), losses), path, losses)
        message.close()
    conversation.tools = [
        tool for path, value in fields.items("tools") if (tool := _tool(value, path, losses)) is not None
    ]
    _read_choice(fields, conversation)
    fields.close()
    return conversation


def _read_options(fields: Fields, conversation: Conversation) -> None:
    options = conversation.options
    stop = fields.option("stop_sequences", fields.texts)
    if stop is not None and stop.value:
        options["stop"] = stop
    metadata = fields.fields("metadata")
    user = metadata.option("user_id", metadata.text)
    metadata.close()
    if user is not None and len(user.value) > USER_ID_CHARS:
        fields.losses.add(user.path, f"longer than OpenAI's limit of {USER_ID_CHARS} characters")
    elif user is not None:
        options["safety_identifier"] = user
    tier = fields.option("service_tier", fields.text)
    if tier is not None and tier.value in _TIERS:
        options["service_tier"] = Option(_TIERS[tier.value], tier.path)
    elif tier is not None:
        fields.losses.add(tier.path)
    _read_thinking(fields.fields("thinking"), options)
    output = fields.fields("output_config")
    if effort := output.option("effort", output.text):
        options["effort"] = effort
    shape = output.fields("format")
    if shape.text("type") == "json_schema":
        schema = shape.mapping("schema")
        # Schemas of Messages are always strict and have no name.
        conversation.format = OutputFormat(schema or {}, strict=True, path=shape.path)
    shape.close()
    output.close()


def _read_thinking(thinking: Fields, options: dict[str, Option]) -> None:
    kind = thinking.text("type")
    if kind == "disabled":
        options["thinking"] = Option("off", thinking.path)
    elif kind in ("enabled", "adaptive"):
        options["thinking"] = Option("on", thinking.path)
        if budget := thinking.option("budget_tokens", thinking.number):
            options["budget"] = budget
        display = thinking.option("display", thinking.text)
        if display is None:
            options["summary"] = Option("auto", implied=True)
        elif display.value == "summarized":
            options["summary"] = Option("auto", display.path)
    elif kind is not None:
        thinking.losses.add(thinking.path)
    thinking.close()


def _texts(value: object, path: str, losses: Losses) -> Iterator[TextPart]:
    for part in content_only(_blocks(value, path, losses), losses):
        if isinstance(part, TextPart):
            yield part
        else:
            losses.add(part.path)


def _turns(role: Any, parts: Iterable[TurnPart], path: str, losses: Losses) -> Iterator[Turn]:
    """Split a message into a turn with its tool results and a turn with the rest."""
    found = list(parts)
    results: list[TurnPart] = [part for part in found if isinstance(part, ResultPart)]
    if results:
        yield Turn("user", results, path=path)
    rest: list[TurnPart] = [part for part in found if not isinstance(part, ResultPart)]
    if role != "assistant":
        rest = [*content_only(rest, losses)]
    if rest or not results:
        yield Turn(role, rest, path=path)


def _blocks(value: object, path: str, losses: Losses) -> Iterator[TurnPart]:
    if isinstance(value, str):
        yield TextPart(value, path=path)
    elif value is not None:
        for place, item in items_of(value, path):
            yield from _block(Fields(item, place, losses))


def _block(block: Fields) -> Iterator[TurnPart]:
    path, losses = block.path, block.losses
    match block.text("type"):
        case "text":
            yield TextPart(block.needed("text"), path=path)
        case "image":
            source = block.fields("source")
            if (image := _image(source, path)) is None:
                return
            yield image
            source.close()
        case "document":
            yield from _document(block)
        case "search_result":
            yield from _texts(block.value("content"), block.at("content"), losses)
        case "tool_use":
            arguments = msgspec.json.encode(block.mapping("input") or {}).decode()
            yield CallPart(block.needed("id"), block.needed("name"), arguments, path=path)
        case "tool_result":
            content = [*content_only(_blocks(block.value("content"), block.at("content"), losses), losses)]
            yield ResultPart(block.needed("tool_use_id"), content, bool(block.flag("is_error")), path)
        case "thinking" | "redacted_thinking":
            losses.add(path, REASONING)
            return
        case _:
            losses.add(path)
            return
    block.close()


def _image(source: Fields, path: str) -> ImagePart | None:
    match source.text("type"):
        case "base64":
            return ImagePart(source.needed("data"), source.needed("media_type"), path=path)
        case "url":
            url = source.needed("url")
            data, media_type = from_data_url(url)
            return ImagePart(data, media_type, path=path) if data else ImagePart(url=url, path=path)
        case _:
            source.losses.add(path, PROVIDER_FILE)
            return None


def _document(block: Fields) -> Iterator[TurnPart]:
    path, losses = block.path, block.losses
    source, citations = block.fields("source"), block.fields("citations")
    citations.default("enabled", False)
    citations.close()
    title = block.text("title")
    kind = source.text("type")
    match kind:
        case "base64" | "url":
            data = source.needed("data") if kind == "base64" else None
            url = source.needed("url") if kind == "url" else None
            yield FilePart(data, source.text("media_type"), url, title, path=path)
        case "text" | "content":
            source.text("media_type")
            losses.add(path, "written as its parts instead of a document")
            if title:
                losses.add(block.at("title"))
            name = "data" if kind == "text" else "content"
            yield from _blocks(source.value(name), source.at(name), losses)
        case _:
            losses.add(path, PROVIDER_FILE)
            return
    source.close()


def _tool(value: object, path: str, losses: Losses) -> OfferedTool | None:
    tool = Fields(value, path, losses)
    if tool.text("type") not in (None, "custom"):
        losses.add(path, "a provider-specific tool")
        return None
    found = OfferedTool(
        tool.needed("name"),
        tool.text("description"),
        tool.mapping("input_schema"),
        tool.flag("strict"),
        path=path,
    )
    tool.close()
    return found


def _read_choice(fields: Fields, conversation: Conversation) -> None:
    choice = fields.fields("tool_choice")
    path = choice.path
    match choice.text("type"):
        case None:
            return
        case "auto" | "none" as mode:
            conversation.choice = ToolPreference(mode, path=path)
        case "any":
            conversation.choice = ToolPreference("required", path=path)
        case "tool":
            conversation.choice = ToolPreference("required", [choice.needed("name")], path=path)
        case _:
            raise unknown(below(path, "type"), "auto, none, any or tool")
    if (disabled := choice.option("disable_parallel_tool_use", choice.flag)) is not None:
        conversation.options["parallel_tool_calls"] = Option(not disabled.value, disabled.path)
    choice.close()


def write(conversation: Conversation, losses: Losses, max_tokens: int) -> dict[str, Any]:
    """Build a request body."""
    options = dict(conversation.options)
    options.pop("include_usage", None)  # always returned
    for name, value in (("store", False), ("include_obfuscation", False)):
        if name in options and options[name].value == value:
            del options[name]  # the behaviour of Messages
    parallel = options.pop("parallel_tool_calls", None)
    tools = _tools(conversation, losses)
    found: dict[str, Any] = {
        "max_tokens": _fit_budget(options, max_tokens, losses),
        "stop_sequences": _stops(options, losses),
        "metadata": _user(options),
        "service_tier": _tier(options),
        **_reasoning(options, conversation, losses),
        "tools": tools,
        "tool_choice": _choice(conversation.choice, parallel, bool(tools), losses),
    }
    match found["thinking"]:
        case {"type": "enabled" | "adaptive"}:
            _drop_sampling(options, losses, thinking=True)
        case _:
            _drop_sampling(options, losses, thinking=False)
    leading = next((n for n, turn in enumerate(conversation.turns) if not _instructs(turn)), len(conversation.turns))
    writer = _Messages(losses)
    system = [block for turn in conversation.turns[:leading] for block in writer.content(turn)]
    found["system"] = _content(system) if system else None
    found["messages"] = writer.messages(conversation.turns[leading:])
    found |= write_rest(options, OWN, losses)
    return {name: value for name, value in found.items() if value is not None}


def _instructs(turn: Turn) -> bool:
    return turn.role in ("system", "developer")


def _stops(options: dict[str, Option], losses: Losses) -> list[Any] | None:
    stop = options.pop("stop", None)
    if stop is None:
        return None
    kept: list[Any] = []
    for number, text in enumerate(stop.value):
        if not text.strip():
            losses.add(f"{stop.path}[{number}]", "Messages reject stop sequences of only white space")
        else:
            kept.append(text)
    return kept or None


def _user(options: dict[str, Option]) -> dict[str, Any] | None:
    user = options.pop("safety_identifier", None) or options.pop("user", None)
    return {"user_id": user.value} if user else None


def _tier(options: dict[str, Option]) -> str | None:
    tiers = {theirs: ours for ours, theirs in _TIERS.items()}
    if "service_tier" in options and options["service_tier"].value in tiers:
        return tiers[options.pop("service_tier").value]
    return None


def _drop_sampling(options: dict[str, Option], losses: Losses, *, thinking: bool) -> None:
    """Remove sampling options that the API rejects. (docs.claude.com, extended thinking, feature compatibility)"""
    temperature = options.get("temperature")
    if temperature is not None and isinstance(temperature.value, int | float) and temperature.value > 1:
        losses.add(options.pop("temperature").path, "Messages accept temperatures up to 1")
    for name in ("temperature", "top_p", "top_k") if thinking else ():
        if name in options:
            losses.add(options.pop(name).path, "Messages accept no sampling options with thinking")


def _fit_budget(options: dict[str, Option], max_tokens: int, losses: Losses) -> int:
    """Return the token limit, which must exceed the thinking budget. A budget too large for an explicit limit is removed."""
    limit, budget = options.get("max_tokens"), options.get("budget")
    if budget is None:
        return max_tokens
    if budget.value < LEAST_BUDGET:
        losses.add(budget.path, f"written as {LEAST_BUDGET:,}, the smallest budget of Messages")
        budget = options["budget"] = Option(LEAST_BUDGET, budget.path)
    if limit is None:
        return int(budget.value) + max_tokens
    if budget.value >= limit.value:
        losses.add(
            options.pop("budget").path, "written as adaptive thinking, because the token limit is not above the budget"
        )
    return max_tokens


def _reasoning(options: dict[str, Option], conversation: Conversation, losses: Losses) -> dict[str, Any]:
    format, choice = conversation.format, conversation.choice
    thinking, effort, budget, summary = (
        options.pop(name, None) for name in ("thinking", "effort", "budget", "summary")
    )
    config: dict[str, Any] = {}
    if effort is not None:
        config["effort"] = effort.value
        if effort.value not in EFFORTS:
            losses.add(effort.path, "written as low, the nearest effort")
            config["effort"] = "low"
    if format is not None:
        config |= _format(format, losses)
    written: dict[str, Any] | None = None
    if thinking is not None and thinking.value == "off":
        written = {"type": "disabled"}
    elif (wanted := budget or effort or thinking) is not None and choice is not None and choice.mode == "required":
        losses.add(wanted.path, "written without thinking, which Messages do not allow with a required tool call")
    elif budget is not None:
        written = {"type": "enabled", "budget_tokens": budget.value}
    elif thinking is not None or effort is not None:
        written = {"type": "adaptive"}
    if summary is not None and written is not None and written["type"] != "disabled":
        written["display"] = "summarized"
        if summary.value != "auto":
            losses.add(summary.path, "written as summarized")
    elif summary is not None:
        losses.add(summary.path)
    return {"thinking": written, "output_config": config or None}


def _format(format: OutputFormat, losses: Losses) -> dict[str, Any]:
    if format.schema is None:
        losses.add(format.path, "Messages support JSON output only with a schema")
        return {}
    lose_names(format, losses)
    return {"format": {"type": "json_schema", "schema": format.schema}}


def _tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]] | None:
    choice = conversation.choice
    allowed = set(choice.names) if choice and (choice.mode == "auto" or len(choice.names) > 1) else set[str]()
    if choice and allowed - {tool.name for tool in conversation.tools}:
        losses.add(choice.path, "allows a tool that is not in the request")
    found: list[dict[str, Any]] = []
    for tool in conversation.tools:
        if allowed and tool.name not in allowed:
            losses.add(tool.path, "left out, because tool_choice does not allow it")
            continue
        schema = {"type": "object", **(tool.parameters or {"properties": {}})}
        if tool.custom:
            losses.add(tool.path, "written as a function with one string parameter, `input`")
            schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        written = {"name": tool.name, "description": tool.description, "input_schema": schema, "strict": tool.strict}
        found.append({name: value for name, value in written.items() if value is not None})
    return found or None


def _choice(
    choice: ToolPreference | None, parallel: Option | None, offered: bool, losses: Losses
) -> dict[str, Any] | None:
    if parallel is not None and not offered:
        losses.add(parallel.path, "Messages accept it only in requests with tools")
        parallel = None
    if choice is None and parallel is None:
        return None
    mode = choice.mode if choice else "auto"
    if mode == "none":
        return {"type": "none"}  # without calls none are parallel
    written: dict[str, Any] = {"type": "any" if mode == "required" else "auto"}
    if choice and mode == "required" and len(choice.names) == 1:
        written = {"type": "tool", "name": choice.names[0]}
    if parallel is not None:
        written["disable_parallel_tool_use"] = not parallel.value
    return written


class _Messages:
    """Writes the turns. A call id that Messages would reject is replaced, also in the call's result."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._ids: dict[str, str] = {}
        self._written: set[str] = set()

    def messages(self, turns: list[Turn]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for turn in turns:
            blocks = self.content(turn)
            if turn.parts and isinstance(turn.parts[0], ResultPart):
                results += blocks
                continue
            # Results must come first in the message after the calls.
            if results and turn.role == "user":
                blocks, results = [*results, *blocks], []
            elif results:
                found.append({"role": "user", "content": results})
                results = []
            role = "system" if _instructs(turn) else turn.role
            found.append({"role": role, "content": _content(blocks)})
        return [*found, {"role": "user", "content": results}] if results else found

    def content(self, turn: Turn) -> list[dict[str, Any]]:
        """Return the blocks of a turn. Empty texts are left out if there are other blocks, because Messages reject them."""
        if turn.name:
            self._losses.add(below(turn.path, "name"))
        blocks = [block for part in turn.parts if (block := self._block(part)) is not None]
        texts = [block for block in blocks if block.get("text") != ""]
        return texts if texts else blocks

    def _block(self, part: TurnPart) -> dict[str, Any] | None:
        match part:
            case CallPart():
                return {
                    "type": "tool_use",
                    "id": self._id(part.id),
                    "name": part.name,
                    "input": arguments_object(part, self._losses),
                }
            case ResultPart():
                content = [block for item in part.content if (block := self._block(item)) is not None]
                failed = {"is_error": True} if part.failed else {}
                block = {"type": "tool_result", "tool_use_id": self._id(part.id), **failed}
                return block | ({"content": _content(content)} if content else {})
            case RefusalPart():
                self._losses.add(part.path, "written as text")
                return {"type": "text", "text": part.text}
            case TextPart():
                lose_cache(part, self._losses)
                return {"type": "text", "text": part.text}
            case ImagePart():
                return self._image(part)
            case FilePart():
                return self._file(part)
            case AudioPart():
                self._losses.add(part.path)
                return None

    def _id(self, id: str) -> str:
        if id not in self._ids:
            valid = _FOREIGN_ID.sub("_", id) or "call"
            while valid in self._written:
                valid += "_"
            self._ids[id] = valid
            self._written.add(valid)
        return self._ids[id]

    def _image(self, image: ImagePart) -> dict[str, Any] | None:
        lose_cache(image, self._losses)
        if image.detail:
            self._losses.add(below(image.path, "detail"))
        if image.url:
            return {"type": "image", "source": {"type": "url", "url": image.url}}
        if image.media_type not in IMAGES:
            self._losses.add(image.path, f"Messages accept only images of the types {', '.join(IMAGES)}")
            return None
        return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}

    def _file(self, file: FilePart) -> dict[str, Any] | None:
        lose_cache(file, self._losses)
        title = {"title": file.name} if file.name else {}
        if file.url:
            return {"type": "document", "source": {"type": "url", "url": file.url}, **title}
        media_type = file.media_type or "application/pdf"
        if media_type != "application/pdf":
            self._losses.add(file.path, "Messages accept only documents of the type application/pdf")
            return None
        source = {"type": "base64", "media_type": media_type, "data": file.data}
        return {"type": "document", "source": source, **title}


def _content(blocks: list[dict[str, Any]]) -> Any:
    match blocks:
        case [{"type": "text", "text": text}]:
            return text
        case []:
            return ""
        case _:
            return blocks
