"""Reading the fields of a request so that none is overlooked."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from mimetypes import guess_type
from typing import Any, TypeVar, cast

from streamkit.errors import ProtocolError
from streamkit.requests.conversation import AudioPart, FilePart, ImagePart, Option
from streamkit.requests.losses import Losses, below

T = TypeVar("T")

SOUNDS = {"wav": "wav", "x-wav": "wav", "wave": "wav", "mp3": "mp3", "mpeg": "mp3"}
"""Types of sound that OpenAI takes, too, by their names in `audio/…`."""

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
"""The type in JSON of each option, by OpenAI's names."""


class Fields:
    """The fields of one object of a request. What is not taken until `close` is reported as a loss.

    A field of another type than expected raises `ProtocolError`, with its place and its type. `camel_case`: a field may have its
    name in snake case as well, as in the JSON form of protocol buffers.
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
        """Whether a field is there and was not taken."""
        return self._left.get(name) is not None

    def at(self, name: str) -> str:
        """The place of a field."""
        return below(self.path, self._written.get(name, name))

    def value(self, name: str) -> Any:
        """A field of any type; `None` if it is not there."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        """A field that is a string, or is not there."""
        return self._typed(name, str, "string")

    def needed(self, name: str) -> str:
        """A field that must be a string."""
        value = self._left.pop(name, None)
        return value if isinstance(value, str) else _wrong(self.at(name), "string", value)

    def flag(self, name: str) -> bool | None:
        """A field that is true or false, or is not there."""
        return self._typed(name, bool, "boolean")

    def fields(self, name: str) -> "Fields":
        """The fields of an object; none if it is not there."""
        value = self._left.pop(name, None)
        return Fields({} if value is None else value, self.at(name), self.losses, camel_case=self._camel_case)

    def number(self, name: str) -> int | None:
        """A field that is a whole number, or is not there."""
        return cast("int | None", self._of("whole number", name))

    def texts(self, name: str) -> list[str] | None:
        """A field that is a list of strings, or is not there."""
        items = self.value(name)
        if items is None:
            return None
        return [
            text if isinstance(text, str) else _wrong(at, "string", text) for at, text in items_of(items, self.at(name))
        ]

    def mapping(self, name: str) -> dict[str, Any] | None:
        """A field that is an object, carried as it is, or is not there."""
        return cast("dict[str, Any] | None", self._typed(name, dict, "object"))

    def media(
        self, path: str, data: str | None, url: str | None, media_type: str | None, named: str | None = None
    ) -> ImagePart | FilePart | AudioPart | None:
        """The part at `path` by its media type, from its data in base64 or else its address; `None` for what no format takes.

        `named` is the field with its name, which is a loss for a part that has no place for one.
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
        """The items of a list with their places; none if it is not there."""
        return items_of(self._left.pop(name, None), self.at(name))

    def option(self, name: str, read: "Callable[[str], Any] | None" = None) -> Option | None:
        """A field as an option, if it is there."""
        value = (read or self.value)(name)
        return None if value is None else Option(value, self.at(name))

    def known(self, name: str, called: str | None = None) -> Option | None:
        """An option of `KINDS`, if it is there, under the name that the body has for it."""
        return self.option(called or name, partial(self._of, KINDS[name]))

    def _of(self, kind: str, name: str) -> Any:
        value = self._left.pop(name, None)
        return value if value is None or _is(kind, value) else _wrong(self.at(name), kind, value)

    def lose(self, name: str, reason: str | None = None) -> None:
        """Take a field and report it, if it is there and says something."""
        self.losses.rest({self._written.get(name, name): self._left.pop(name, None)}, self.path, reason)

    def default(self, name: str, value: object) -> None:
        """Take a field that has this value, which says what is so without it."""
        if self._left.get(name) == value:
            self._left.pop(name, None)

    def close(self, reason: str | None = None) -> None:
        """Report what was not taken."""
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
    """The items of a list with their places; none for `None`."""
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
    """The error for a value that the format does not know, without the value."""
    return ProtocolError(f"{path}: expected {what}, found something else")
