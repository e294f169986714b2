"""The API-independent form of a request: every format has a reader into it and a writer from it.

Every value has a `path`, its place in the body that was read, so that a writer can report what it can't express.
"""

from typing import Any, Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "developer", "user", "assistant"]


class TextPart(msgspec.Struct, frozen=True):
    """Text of any role. `cache` is OpenAI's prompt cache breakpoint after it."""

    text: str
    cache: dict[str, Any] | None = None
    path: str = ""


class RefusalPart(msgspec.Struct, frozen=True):
    """A refusal of the assistant."""

    text: str
    path: str = ""


class ImagePart(msgspec.Struct, frozen=True):
    """An image: `data` in base64 with its `media_type`, or a `url`. `detail` is OpenAI's; `None` for its default."""

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
    """Audio in base64; `format` is `wav` or `mp3`."""

    data: str
    format: str
    path: str = ""


class CallPart(msgspec.Struct, frozen=True):
    """A tool call. `arguments` is JSON text, or free text for a `custom` tool."""

    id: str
    name: str
    arguments: str
    custom: bool = False
    path: str = ""


Content: TypeAlias = TextPart | ImagePart | FilePart | AudioPart


class ResultPart(msgspec.Struct, frozen=True):
    """The result of the tool call with this id."""

    id: str
    content: list[Content]
    failed: bool = False
    path: str = ""


TurnPart: TypeAlias = Content | RefusalPart | CallPart | ResultPart


class Turn(msgspec.Struct, frozen=True):
    """One turn of one role. Tool results are a turn of the user; all results for one answer are in one turn."""

    role: Role
    parts: list[TurnPart]
    name: str | None = None
    path: str = ""


class OfferedTool(msgspec.Struct, frozen=True):
    """A function, or a `custom` tool, which takes free text or text in OpenAI's `format`."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    format: dict[str, Any] | None = None
    path: str = ""


class ToolPreference(msgspec.Struct, frozen=True):
    """The tools that the model may call: `auto`, `none`, or `required`; only those in `names` if there are any."""

    mode: Literal["auto", "none", "required"]
    names: list[str] = []
    custom: bool = False
    path: str = ""


class OutputFormat(msgspec.Struct, frozen=True):
    """A request for JSON output, valid for `schema` if there is one."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    path: str = ""


class Option(msgspec.Struct, frozen=True):
    """An option of the request. An `implied` option was not in the body, so a target without it is no loss."""

    value: Any
    path: str = ""
    implied: bool = False


STREAMED = {
    name: Option(value, implied=True) for name, value in (("stream", True), ("include_usage", True), ("store", False))
}
"""The implied options of a front end's request: the answer is always streamed, with usage, and nothing is stored."""


class Conversation(msgspec.Struct):
    """A request. `options` have OpenAI's names; those of reasoning are `thinking` (`on`, `off` or `auto`), `effort`, `budget`
    (in tokens) and `summary`."""

    turns: list[Turn] = []
    tools: list[OfferedTool] = []
    choice: ToolPreference | None = None
    format: OutputFormat | None = None
    options: dict[str, Option] = {}
    prefills: bool = False
    """Whether the model continues a final assistant turn (prefill) instead of answering it."""
