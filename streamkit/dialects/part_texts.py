"""Move text out of a part's data, so that the data has only structure and all text is emitted in deltas.

Text of the model or of a tool may be anywhere in a provider's own blocks: in the code of an interpreter, the input and output of
a server's tools, a search query, or an unknown field. Every field that is not known to be structure counts as text.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

from streamkit.dialects.fields import mapping
from streamkit.events import Event, PartChannel, PartDelta, PartEnd, PartStart

# Fields that are not text: the kind, owner and encoding of a part, and binary data.
_STRUCTURE = frozenset(
    {
        *("type", "id", "object", "status", "role", "name", "index", "phase", "execution", "environment", "caller"),
        *("language", "outcome", "format", "mimeType", "mime_type", "media_type", "resolution", "size", "quality"),
        *("signature", "thoughtSignature", "thought_signature", "encrypted_content", "data", "b64_json", "inlineData"),
        *("url", "uri", "fileUri", "image_url", "source", "server_label", "background", "output_format"),
    }
)
_CODE_FIELDS = {"code", "command", "commands", "diff", "patch"}
_CODE_KINDS = {"local_shell_call", "shell_call", "apply_patch_call", "code_interpreter_call", "executableCode"}
_INPUTS = {"action", "actions", "args", "arguments", "input", "operation", "queries", "query"}
_OUTPUTS = {"error", "logs", "output", "outputs", "response", "result", "results", "stderr", "stdout"}
_OUTPUT_KINDS = ("_output", "_result", "Response", "Result")
# Fields with binary data, by kind of part. (https://platform.openai.com/docs/api-reference/responses/object)
_BINARY = {("image_generation_call", "result")}


class TextField(NamedTuple):
    """A text in a part: the path of its field, and whether it is JSON."""

    path: tuple[str, ...]
    text: str
    channel: PartChannel
    json: bool


def start(event: PartStart) -> list[Event]:
    """Return the event without the text in its data, followed by deltas with that text."""
    data, texts = split(event.kind, event.data)
    if not texts:
        return [event]
    bare: Event = msgspec.structs.replace(event, data=data)
    return [bare, *(_delta(field, event.number, event.index, event.payload) for field in texts)]


def end(event: PartEnd, kind: str) -> list[Event]:
    """Return the end of a part. If its data has text, a `PartStart` with these fields, emptied, and their deltas precede it."""
    data, texts = split(kind, event.data)
    if not texts:
        return [event]
    fields = {field.path[0]: None for field in texts}
    given = {name: data.pop(name) for name in fields}
    again = PartStart(kind, event.number, given, index=event.index, payload=event.payload)
    deltas = [_delta(field, event.number, event.index, event.payload) for field in texts]
    return [again, *deltas, msgspec.structs.replace(event, data=data)]


def split(kind: str, data: dict[str, Any]) -> tuple[dict[str, Any], list[TextField]]:
    """Split a part's data into its structure, in which each text is replaced by its empty form, and the texts."""
    kept, texts = dict(data), list[TextField]()
    for name, value in data.items():
        if isinstance(value, dict) and name == kind:
            # Gemini's parts hold everything in one field named after their kind.
            inner, found = split(kind, mapping(cast(object, value)))
            kept[name] = inner
            texts += [field._replace(path=(name, *field.path)) for field in found]
        elif field := _text_field(kind, name, value):
            kept[name] = _empty(cast(object, value))
            texts.append(field)
    return kept, texts


def channel_of(kind: str, name: str) -> PartChannel:
    """Return the channel of the text in a field of a part."""
    if name in _OUTPUTS or kind.endswith(_OUTPUT_KINDS):
        return "tool_output"
    if name in _CODE_FIELDS or kind in _CODE_KINDS:
        return "code"
    return "tool_input" if name in _INPUTS else "other"


def is_structure(name: str) -> bool:
    """Whether a field of that name is structure, not text."""
    return name in _STRUCTURE or name.endswith(("_id", "Id"))


def _text_field(kind: str, name: str, value: Any) -> TextField | None:
    if not value or is_structure(name) or (kind, name) in _BINARY:
        return None
    channel = channel_of(kind, name)
    if isinstance(value, str):
        return TextField((name,), value, channel, json=_is_json(value, channel))
    if isinstance(value, dict | list) and (channel != "other" or any(_texts(cast(object, value)))):
        return TextField((name,), msgspec.json.encode(value).decode(), channel, json=True)
    return None


def _empty(value: object) -> Any:
    return "" if isinstance(value, str) else list[Any]() if isinstance(value, list) else dict[str, Any]()


def _is_json(text: str, channel: PartChannel) -> bool:
    # A string that contains JSON, such as the arguments of an MCP tool, is treated as JSON.
    return channel != "code" and text.lstrip()[:1] in ("{", "[")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            if not is_structure(name):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)


def _delta(field: TextField, part: int, index: int, payload: bytes | None) -> PartDelta:
    return PartDelta(field.text, field.channel, part, field.path, field.json, index, payload=payload)
