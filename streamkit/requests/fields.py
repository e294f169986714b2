"""Read the fields of a request and report every field that was not read."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from mimetypes import guess_type
from typing import Any, TypeVar, cast

from streamkit.errors import ProtocolError
from streamkit.requests.conversation import AudioPart, FilePart, ImagePart, Option
from streamkit.requests.losses import Losses, below

T = TypeVar("T")

SOUNDS = {"wav": "wav", "x-wav": "wav", "wave": "wav", "mp3": "mp3", "mpeg": "mp3"}
"""OpenAI's audio formats by media subtype (`audio/…`)."""

KINDS = {
    "model": "string",
    "max_tokens": "whole number",
    "temperature": "number",
    "top_p": "number",
    "top_k": "number",
    "seed": "whole number",
    "n": "whole number",
    "frequency_penalty": "number",
    "presence_penalty": "number",
    "logit_bias": "object",
    "logprobs": "boolean",
    "top_logprobs": "whole number",
    "verbosity": "string",
    "stream": "boolean",
    "include_usage": "boolean",
    "include_obfuscation": "boolean",
    "parallel_tool_calls": "boolean",
    "metadata": "object",
    "user": "string",
    "safety_identifier": "string",
    "service_tier": "string",
    "store": "boolean",
    "prompt_cache_key": "string",
    "prompt_cache_options": "object",
    "prompt_cache_retention": "string",
    "moderation": "object",
}
"""The JSON type of each option, by OpenAI's names."""


class Fields:
    """The fields of one object of a request. Reading a field removes it; `close` reports the remaining ones as losses.

    A field of an unexpected type raises `ProtocolError` with its path and its type. `camel_case`: names may also be in snake
    case, as in the JSON form of protocol buffers.
    """

    def __init__(self, value: object, path: str, losses: Losses, *, camel_case: bool = False) -> None:
        found = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else _wrong(path, "object", value)
        for name in found:
            if not isinstance(cast("object", name), str):
                raise ProtocolError(
                    f"{path or 'request'}: expected names that are strings, found {type(name).__name__}"
                )
        self._left: dict[str, Any] = found
        self._written: dict[str, str] = {}
        self._camel_case = camel_case
        if camel_case:
            self._read_snake_case()
        self.path = path
        self.losses = losses

    def has(self, name: str) -> bool:
        """Whether a field is present, not null, and not read yet."""
        return self._left.get(name) is not None

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return below(self.path, self._written.get(name, name))

    def value(self, name: str) -> Any:
        """Read a field of any type; `None` if it is absent."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        """Read an optional string."""
        return self._typed(name, str, "string")

    def needed(self, name: str) -> str:
        """Read a required string."""
        value = self._left.pop(name, None)
        return value if isinstance(value, str) else _wrong(self.at(name), "string", value)

    def flag(self, name: str) -> bool | None:
        """Read an optional boolean."""
        return self._typed(name, bool, "boolean")

    def fields(self, name: str) -> "Fields":
        """Read the fields of an object; no fields if it is absent."""
        value = self._left.pop(name, None)
        return Fields({} if value is None else value, self.at(name), self.losses, camel_case=self._camel_case)

    def number(self, name: str) -> int | None:
        """Read an optional integer."""
        return cast("int | None", self._of("whole number", name))

    def texts(self, name: str) -> list[str] | None:
        """Read an optional list of strings."""
        items = self.value(name)
        if items is None:
            return None
        return [
            text if isinstance(text, str) else _wrong(at, "string", text) for at, text in items_of(items, self.at(name))
        ]

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Read an optional object as a whole, without reading its fields."""
        return cast("dict[str, Any] | None", self._typed(name, dict, "object"))

    def media(
        self, path: str, data: str | None, url: str | None, media_type: str | None, named: str | None = None
    ) -> ImagePart | FilePart | AudioPart | None:
        """Build the part at `path` from base64 data or a URL, by its media type; `None` for types that no format supports.

        `named`: the field with the file's name, which is reported as a loss for images and audio.
        """
        kind, name = media_type or guess_type(url or "")[0] or "", self.text(named) if named else None
        family, _, rest = kind.partition("/")
        if family in ("application", "text"):
            return FilePart(data, kind, url, name, path=path)
        found: ImagePart | AudioPart | None = None
        if family == "image":
            found = ImagePart(data, kind if data is not None else None, url, path=path)
        elif family == "audio" and rest in SOUNDS and data is not None:
            found = AudioPart(data, SOUNDS[rest], path)
        if name and named and found:
            self.losses.add(self.at(named))
        return found

    def items(self, name: str) -> Iterator[tuple[str, Any]]:
        """Read the items of a list with their paths; no items if it is absent."""
        return items_of(self._left.pop(name, None), self.at(name))

    def option(self, name: str, read: "Callable[[str], Any] | None" = None) -> Option | None:
        """Read a field as an option; `None` if it is absent."""
        value = (read or self.value)(name)
        return None if value is None else Option(value, self.at(name))

    def known(self, name: str, called: str | None = None) -> Option | None:
        """Read an option of `KINDS`; `None` if it is absent. `called`: its name in the body, if that differs."""
        return self.option(called or name, partial(self._of, KINDS[name]))

    def _of(self, kind: str, name: str) -> Any:
        value = self._left.pop(name, None)
        return value if value is None or _is(kind, value) else _wrong(self.at(name), kind, value)

    def lose(self, name: str, reason: str | None = None) -> None:
        """Remove a field, and report it as a loss unless it is absent, null or empty."""
        self.losses.rest({self._written.get(name, name): self._left.pop(name, None)}, self.path, reason)

    def default(self, name: str, value: object) -> None:
        """Remove a field if it has this value, its default."""
        if self._left.get(name) == value:
            self._left.pop(name, None)

    def close(self, reason: str | None = None) -> None:
        """Report the fields that were not read as losses."""
        self.losses.rest(
            {self._written.get(name, name): value for name, value in self._left.items()}, self.path, reason
        )

    def _read_snake_case(self) -> None:
        for name in [name for name in self._left if "_" in name]:
            first, *rest = name.split("_")
            camel = first + "".join(word.capitalize() for word in rest)
            if first and camel not in self._left:
                self._left[camel] = self._left.pop(name)
                self._written[camel] = name

    def _typed(self, name: str, kind: type[T], expected: str) -> T | None:
        value = self._left.pop(name, None)
        return value if value is None or isinstance(value, kind) else _wrong(self.at(name), expected, value)


def items_of(value: object, path: str) -> Iterator[tuple[str, Any]]:
    """Return the items of a list with their paths; no items for `None`."""
    items = (
        [] if value is None else cast("list[Any]", value) if isinstance(value, list) else _wrong(path, "array", value)
    )
    return ((f"{path}[{number}]", item) for number, item in enumerate(items))


def _is(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, int) and not isinstance(value, bool)


_JSON: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


def _wrong(path: str, expected: str, value: object) -> Any:
    found = _JSON.get(type(value), type(value).__name__)
    article = "an" if expected[0] in "ao" else "a"
    raise ProtocolError(
        f"{path or 'request'}: expected {article} {expected}, found {found if value is not None else 'nothing'}"
    )


def unknown(path: str, what: str) -> ProtocolError:
    """Return the error for a value that the format does not define. It does not quote the value."""
    return ProtocolError(f"{path}: expected {what}, found something else")
