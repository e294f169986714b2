"""Fields that chat completions and Responses share."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from streamkit.dialects.fields import decoded, mapping
from streamkit.requests.conversation import (
    CallPart,
    Content,
    Conversation,
    FilePart,
    ImagePart,
    Option,
    OutputFormat,
    TextPart,
    ToolPreference,
    TurnPart,
)
from streamkit.requests.fields import Fields, unknown
from streamkit.requests.losses import Losses, below

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[^,;]+)*;base64,(?P<data>.*)", re.DOTALL)

SHARED = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "top_logprobs",
    "parallel_tool_calls",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "store",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
)
"""Options that have one name and one meaning in both."""
UNNAMED = "response"
"""The name of a schema that has none, which OpenAI demands."""
STREAM_OPTIONS = ("include_usage", "include_obfuscation")


def read_shared(fields: Fields) -> dict[str, Option]:
    """The options of both."""
    found = {name: option for name in SHARED if (option := fields.known(name)) is not None and option.value != {}}
    streaming = fields.fields("stream_options")
    found |= {name: option for name in STREAM_OPTIONS if (option := streaming.known(name)) is not None}
    streaming.close()
    return found


def read_effort(option: Option | None) -> dict[str, Option]:
    """The options of reasoning that OpenAI's effort stands for."""
    if option is None:
        return {}
    return {"thinking": Option("off", option.path)} if option.value == "none" else {"effort": option}


def effort_of(options: dict[str, Option], losses: Losses) -> str | None:
    """Take the options of reasoning: OpenAI's effort for them."""
    thinking, effort, budget = (options.pop(name, None) for name in ("thinking", "effort", "budget"))
    if thinking is not None and thinking.value == "off":
        if effort:
            losses.add(effort.path, f"{losses.target} state no effort without reasoning")
        return "none"
    if effort is not None:
        if budget:
            losses.add(budget.path)
        return str(effort.value)
    if budget is not None:
        losses.add(budget.path, "written as the nearest effort")
        # The shares that Google documents for its own efforts: up to 1,024 tokens are low, up to 8,192 medium.
        return "low" if budget.value <= 1024 else "medium" if budget.value <= 8192 else "high"
    if thinking is not None and thinking.value == "auto":
        return None  # which leaves it to the model
    return "high" if thinking is not None else None  # which is Anthropic's effort where none is stated


def read_format(fields: Fields, schema: Fields) -> OutputFormat | None:
    """The format of the answer; `schema` has the fields of a JSON schema."""
    kind, path = fields.text("type"), fields.path
    match kind:
        case None | "text":
            return None
        case "json_object":
            return OutputFormat(path=path)
        case "json_schema":
            return OutputFormat(
                schema.mapping("schema") or {},
                schema.text("name"),
                schema.text("description"),
                schema.flag("strict"),
                schema.path,
            )
        case _:
            fields.losses.add(path)
            return None


def strict_of(strict: bool | None, schema: object, path: str, losses: Losses) -> bool | None:
    """`strict`, unless OpenAI would refuse the schema with it."""
    if not strict or closed(schema):
        return strict
    losses.add(path, "written without strict, for which OpenAI demands objects with only required properties")
    return False


def schema_fields(format: OutputFormat, losses: Losses) -> dict[str, Any]:
    """The fields with which OpenAI writes a JSON schema."""
    found = {
        "name": format.name or UNNAMED,
        "description": format.description,
        "schema": format.schema,
        "strict": strict_of(format.strict, format.schema, format.path, losses),
    }
    return {name: value for name, value in found.items() if value is not None}


def lose_names(format: OutputFormat, losses: Losses) -> None:
    """Report the words that OpenAI has beside a schema, for formats that have none."""
    name = None if format.name == UNNAMED else format.name
    losses.rest({"name": name, "description": format.description}, format.path)
    if format.strict is False:
        losses.add(below(format.path, "strict"), f"in {losses.target} a schema always holds")


def closed(schema: object) -> bool:
    """Whether OpenAI's strict mode accepts a schema: all properties of each object are required, and there are no others."""
    if isinstance(schema, list):
        return all(map(closed, cast("list[object]", schema)))
    if not isinstance(schema, dict):
        return True
    found = cast("dict[str, Any]", schema)
    properties = mapping(found.get("properties"))
    if found.get("type") == "object" or properties:
        listed: object = found.get("required")
        required = cast("list[object]", listed) if isinstance(listed, list) else []
        if found.get("additionalProperties") is not False or any(name not in required for name in properties):
            return False
    return all(closed(value) for value in found.values())


def read_choice(value: Any, path: str, losses: Losses, *, nested: bool) -> ToolPreference | None:
    """`tool_choice`. `nested`: a tool's name is in an object by the name of its kind, as in chat completions."""
    match value:
        case None:
            return None
        case "auto" | "none" | "required" as mode:
            return ToolPreference(mode, path=path)
        case str():
            raise unknown(path, "auto, none, required or an object")
        case _:
            fields = Fields(value, path, losses)
    kind = fields.text("type")
    inner = fields.fields(kind) if nested and kind in ("function", "custom", "allowed_tools") else fields
    found: ToolPreference | None = None
    match kind:
        case "function" | "custom":
            found = ToolPreference("required", [inner.needed("name")], kind == "custom", path)
        case "allowed_tools":
            names = [
                name
                for place, tool in inner.items("tools")
                if (name := _tool_name(tool, place, losses, nested)) is not None
            ]
            required = inner.text("mode") == "required"
            found = ToolPreference("required" if required else "auto", names, path=path)
        case _:
            losses.add(path)
            return None
    inner.close()
    fields.close()
    return found


def _tool_name(value: object, path: str, losses: Losses, nested: bool) -> str | None:
    fields = Fields(value, path, losses)
    kind = fields.text("type")
    if kind not in ("function", "custom"):
        losses.add(path)
        return None
    inner = fields.fields(kind) if nested else fields
    name = inner.needed("name")
    inner.close()
    fields.close()
    return name


def choice_of(choice: ToolPreference, conversation: Conversation, *, nested: bool) -> Any:
    """`tool_choice`, as one of OpenAI's APIs has it."""
    if not choice.names:
        return choice.mode

    def named(name: str) -> dict[str, Any]:
        kind = "custom" if choice.custom or name in custom_tools(conversation) else "function"
        return {"type": kind, kind: {"name": name}} if nested else {"type": kind, "name": name}

    if choice.mode == "required" and len(choice.names) == 1:
        return named(choice.names[0])
    allowed = {"mode": choice.mode, "tools": [named(name) for name in choice.names]}
    return {"type": "allowed_tools", **({"allowed_tools": allowed} if nested else allowed)}


def custom_tools(conversation: Conversation) -> set[str]:
    """The names of the tools that take any text."""
    return {tool.name for tool in conversation.tools if tool.custom}


def read_image(url: str, detail: str | None, cache: dict[str, Any] | None, path: str) -> ImagePart:
    """An image from its address, which may hold its data."""
    stated = None if detail == "auto" else detail
    data, media_type = from_data_url(url)
    if data is not None:
        return ImagePart(data, media_type, None, stated, cache, path)
    return ImagePart(None, None, url, stated, cache, path)


def from_data_url(url: str) -> tuple[str | None, str | None]:
    """The data in base64 and the type of a data URL; nothing for another URL."""
    found = _DATA_URL.fullmatch(url)
    return (found["data"], found["type"]) if found else (None, None)


def image_url(image: ImagePart) -> str:
    """The address of an image, with its data if it has no other."""
    return image.url or f"data:{image.media_type or 'image/png'};base64,{image.data}"


def file_data(file: FilePart) -> dict[str, str]:
    """A file's data and its name, without which OpenAI takes none."""
    media_type = file.media_type or "application/pdf"
    return {"filename": file.name or "document.pdf", "file_data": f"data:{media_type};base64,{file.data}"}


def arguments_object(call: CallPart, losses: Losses) -> dict[str, Any]:
    """A call's arguments as an object, for formats that have no other; anything else is written as a string in one."""
    if call.custom:
        return {"input": call.arguments}
    found: object = decoded(call.arguments) if call.arguments else {}
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    losses.add(call.path, "arguments that are no JSON object, written as a string in one, `arguments`")
    return {"arguments": call.arguments}


def content_only(parts: Iterable[TurnPart], losses: Losses) -> Iterator[Content]:
    """The parts that anyone but the assistant can have; others are losses."""
    for part in parts:
        if isinstance(part, Content):
            yield part
        else:
            losses.add(part.path, "calls, results and refusals have no place here")


def cached(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    """The breakpoint of the prompt cache behind a part."""
    return {"prompt_cache_breakpoint": part.cache} if part.cache else {}


def one_or_many(parts: Iterable[Content], render: Callable[[Content], dict[str, Any] | None]) -> Any:
    """The content of a message: a string for one text, else a list."""
    found = list(parts)
    match found:
        case []:
            return ""
        case [TextPart(text=text, cache=None)]:
            return text
        case _:
            return [value for part in found if (value := render(part)) is not None]


def write_rest(options: Mapping[str, Option], names: Iterable[str], losses: Losses) -> dict[str, Any]:
    """The options of those names, which the format has too; all others are losses, unless they were implied."""
    known = set(names)
    for name, option in options.items():
        if name not in known and not option.implied:
            losses.add(option.path)
    return {name: option.value for name, option in options.items() if name in known}


def lose_cache(part: Content, losses: Losses) -> None:
    """Report the breakpoint of a part, for formats that have none of OpenAI's."""
    if not isinstance(part, TextPart | ImagePart | FilePart) or not part.cache:
        return
    losses.add(below(part.path, "prompt_cache_breakpoint"))
