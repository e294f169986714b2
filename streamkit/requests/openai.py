"""Read and write fields that chat completions and Responses share."""

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
"""Options with the same name and meaning in both."""
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")
_VALUES = ("enum", "const", "default", "examples")
"""Keywords of JSON Schema that hold values, not schemas."""
UNNAMED = "response"
"""The name for a schema without one, because OpenAI requires a name."""
STREAM_OPTIONS = ("include_usage", "include_obfuscation")


def read_shared(fields: Fields) -> dict[str, Option]:
    """Read the options that both APIs have."""
    found = {name: option for name in SHARED if (option := fields.known(name)) is not None and option.value != {}}
    streaming = fields.fields("stream_options")
    found |= {name: option for name in STREAM_OPTIONS if (option := streaming.known(name)) is not None}
    streaming.close()
    return found


def read_effort(option: Option | None) -> dict[str, Option]:
    """Convert OpenAI's effort to options of reasoning."""
    if option is None:
        return {}
    return {"thinking": Option("off", option.path)} if option.value == "none" else {"effort": option}


def effort_of(options: dict[str, Option], losses: Losses) -> str | None:
    """Remove the options of reasoning, and return OpenAI's effort for them."""
    thinking, effort, budget = (options.pop(name, None) for name in ("thinking", "effort", "budget"))
    if thinking is not None and thinking.value == "off":
        if effort:
            losses.add(effort.path, f"no effort can be set in {losses.target} when reasoning is off")
        return "none"
    if effort is not None:
        if budget:
            losses.add(budget.path)
        return str(effort.value)
    if budget is not None:
        losses.add(budget.path, "written as the nearest effort")
        # Google's documented budgets of its efforts: up to 1,024 tokens is low, up to 8,192 medium.
        return "low" if budget.value <= 1024 else "medium" if budget.value <= 8192 else "high"
    if thinking is not None and thinking.value == "auto":
        return None  # the model decides
    return "high" if thinking is not None else None  # Anthropic's default effort


def read_format(fields: Fields, schema: Fields) -> OutputFormat | None:
    """Read the output format; `schema` has the fields of a JSON schema."""
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
    """Return `strict`, or `False` with a loss if OpenAI's strict mode would reject the schema."""
    if not strict or closed(schema):
        return strict
    losses.add(
        path, "written without strict: in OpenAI's strict mode objects require all properties and allow no others"
    )
    return False


def schema_fields(format: OutputFormat, losses: Losses) -> dict[str, Any]:
    """Return OpenAI's fields for a JSON schema."""
    found = {
        "name": format.name or UNNAMED,
        "description": format.description,
        "schema": format.schema,
        "strict": strict_of(format.strict, format.schema, format.path, losses),
    }
    return {name: value for name, value in found.items() if value is not None}


def lose_names(format: OutputFormat, losses: Losses) -> None:
    """Report OpenAI's fields beside a schema (name, description, `strict`) as losses, for formats without them."""
    name = None if format.name == UNNAMED else format.name
    losses.rest({"name": name, "description": format.description}, format.path)
    if format.strict is False:
        losses.add(below(format.path, "strict"), f"in {losses.target} a schema is always strict")


def closed(schema: object) -> bool:
    """Whether OpenAI's strict mode accepts a schema: every object requires all its properties and allows no others."""
    if isinstance(schema, list):
        return all(map(closed, cast("list[object]", schema)))
    if not isinstance(schema, dict):
        return True
    found = cast("dict[str, Any]", schema)
    properties, types = mapping(found.get("properties")), found.get("type")
    if properties or "object" in (cast("list[object]", types) if isinstance(types, list) else [types]):
        listed: object = found.get("required")
        required = cast("list[object]", listed) if isinstance(listed, list) else []
        if found.get("additionalProperties") is not False or any(name not in required for name in properties):
            return False
    return all(
        all(map(closed, mapping(value).values())) if name in _NAMED_SCHEMAS else closed(value)
        for name, value in found.items()
        if name not in _VALUES
    )


def read_choice(value: Any, path: str, losses: Losses, *, nested: bool) -> ToolPreference | None:
    """Read `tool_choice`. `nested`: a tool's name is in an object named after its kind, as in chat completions."""
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
    """Build `tool_choice`. `nested`: in the form of chat completions, else of Responses."""
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
    """Return the names of the custom tools, which take free text."""
    return {tool.name for tool in conversation.tools if tool.custom}


def read_image(url: str, detail: str | None, cache: dict[str, Any] | None, path: str) -> ImagePart:
    """Read an image from its URL, which may be a data URL."""
    stated = None if detail == "auto" else detail
    data, media_type = from_data_url(url)
    if data is not None:
        return ImagePart(data, media_type, None, stated, cache, path)
    return ImagePart(None, None, url, stated, cache, path)


def from_data_url(url: str) -> tuple[str | None, str | None]:
    """Return the base64 data and the media type of a data URL; `(None, None)` for any other URL."""
    found = _DATA_URL.fullmatch(url)
    return (found["data"], found["type"]) if found else (None, None)


def image_url(image: ImagePart) -> str:
    """Return the URL of an image, or a data URL if it has none."""
    return image.url or f"data:{image.media_type or 'image/png'};base64,{image.data}"


def file_data(file: FilePart) -> dict[str, str]:
    """Return a file's data and name. OpenAI requires a name, so there is a default."""
    media_type = file.media_type or "application/pdf"
    return {"filename": file.name or "document.pdf", "file_data": f"data:{media_type};base64,{file.data}"}


def arguments_object(call: CallPart, losses: Losses) -> dict[str, Any]:
    """Return a call's arguments as an object, for formats that require one; any other text becomes a string in an object."""
    if call.custom:
        return {"input": call.arguments}
    found: object = decoded(call.arguments) if call.arguments else {}
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    losses.add(call.path, "arguments that are not a JSON object, written as the string `arguments` in one")
    return {"arguments": call.arguments}


def content_only(parts: Iterable[TurnPart], losses: Losses) -> Iterator[Content]:
    """Yield the parts that a turn of any role may have; calls, results and refusals are losses."""
    for part in parts:
        if isinstance(part, Content):
            yield part
        else:
            losses.add(part.path, "calls, results and refusals are not allowed here")


def cached(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    """Return the field for the prompt cache breakpoint after a part, if it has one."""
    return {"prompt_cache_breakpoint": part.cache} if part.cache else {}


def one_or_many(parts: Iterable[Content], render: Callable[[Content], dict[str, Any] | None]) -> Any:
    """Return the content of a message: a string for a single text, else a list."""
    found = list(parts)
    match found:
        case []:
            return ""
        case [TextPart(text=text, cache=None)]:
            return text
        case _:
            return [value for part in found if (value := render(part)) is not None]


def write_rest(options: Mapping[str, Option], names: Iterable[str], losses: Losses) -> dict[str, Any]:
    """Return the options with these names, which the format also has; all others are losses, unless implied."""
    known = set(names)
    for name, option in options.items():
        if name not in known and not option.implied:
            losses.add(option.path)
    return {name: option.value for name, option in options.items() if name in known}


def lose_cache(part: Content, losses: Losses) -> None:
    """Report the prompt cache breakpoint of a part as a loss, for formats without OpenAI's breakpoints."""
    if not isinstance(part, TextPart | ImagePart | FilePart) or not part.cache:
        return
    losses.add(below(part.path, "prompt_cache_breakpoint"))
