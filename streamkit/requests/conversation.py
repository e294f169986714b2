"""A request in no API's form: each format has a reader to it and a writer from it.

Every value has its place in the body that was read, so that a writer can name what it has no place for.
"""

from typing import Any, Literal, TypeAlias

import msgspec

Speaker: TypeAlias = Literal["system", "developer", "user", "assistant"]


class TextPart(msgspec.Struct, frozen=True):
    """Text of any speaker. `cache` is OpenAI's breakpoint of the prompt cache behind it."""

    text: str
    cache: dict[str, Any] | None = None
    path: str = ""


class RefusalPart(msgspec.Struct, frozen=True):
    """Text with which the assistant refused."""

    text: str
    path: str = ""


class ImagePart(msgspec.Struct, frozen=True):
    """An image: `data` in base64 with its `media_type`, or a `url`. `detail` is OpenAI's, without its default."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    detail: str | None = None
    cache: dict[str, Any] | None = None
    path: str = ""


class FilePart(msgspec.Struct, frozen=True):
    """A document: `data` in base64 with its `media_type`, or a `url`."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    name: str | None = None
    cache: dict[str, Any] | None = None
    path: str = ""


class AudioPart(msgspec.Struct, frozen=True):
    """Sound in base64; `format` is `wav` or `mp3`."""

    data: str
    format: str
    path: str = ""


class CallPart(msgspec.Struct, frozen=True):
    """A call of a tool. `arguments` is JSON as text, or any text for a `custom` tool."""

    id: str
    name: str
    arguments: str
    custom: bool = False
    path: str = ""


Content: TypeAlias = TextPart | ImagePart | FilePart | AudioPart


class ResultPart(msgspec.Struct, frozen=True):
    """A tool's result for the call with that id."""

    id: str
    content: list[Content]
    failed: bool = False
    path: str = ""


TurnPart: TypeAlias = Content | RefusalPart | CallPart | ResultPart


class Turn(msgspec.Struct, frozen=True):
    """One turn of one speaker. The results of tools are turns of the user, all results for one answer in one turn."""

    speaker: Speaker
    parts: list[TurnPart]
    name: str | None = None
    path: str = ""


class OfferedTool(msgspec.Struct, frozen=True):
    """A function, or a `custom` tool, which takes any text, in OpenAI's `format` if it has one."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    format: dict[str, Any] | None = None
    path: str = ""


class ToolPreference(msgspec.Struct, frozen=True):
    """Which tools the model may call: `auto`, `none`, or `required`, one of `names` if there are any."""

    mode: Literal["auto", "none", "required"]
    names: list[str] = []
    custom: bool = False
    path: str = ""


class OutputFormat(msgspec.Struct, frozen=True):
    """JSON as the answer, of a `schema` if there is one."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    path: str = ""


class Option(msgspec.Struct, frozen=True):
    """An option of the request. One that is `implied` was not in the body: a target without it lacks nothing."""

    value: Any
    path: str = ""
    implied: bool = False


STREAMED = {
    name: Option(value, implied=True) for name, value in (("stream", True), ("include_usage", True), ("store", False))
}
"""Options of a front end's request: it has none of them, its answer always streams, and nothing is stored."""


class Conversation(msgspec.Struct):
    """A request. `options` are by OpenAI's names for them; those of reasoning are `thinking` (`on` or `off`), `effort`, `budget`
    (in tokens) and `summary`."""

    turns: list[Turn] = []
    tools: list[OfferedTool] = []
    choice: ToolPreference | None = None
    format: OutputFormat | None = None
    options: dict[str, Option] = {}
    prefills: bool = False
    """Whether a last turn of the assistant is a beginning that the model continues."""
