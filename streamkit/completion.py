"""The assembled answer: `Completion` and its parts, end reasons, and the base class of all events.

The function that writes a completion as a provider's response is registered by the dialect, so this module imports no dialect.
"""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from streamkit.errors import PipelineError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
PartChannel: TypeAlias = Literal["code", "tool_input", "tool_output", "other"]
"""Kinds of text in a part: a program or command, the input of a provider's tool, its output, or any other text."""
Channel: TypeAlias = Literal[
    "content",
    "reasoning",
    "refusal",
    "transcript",
    "tool_arguments",
    "tool_name",
    "code",
    "tool_input",
    "tool_output",
    "other",
    "prompt",
]
VerdictAction: TypeAlias = Literal["annotate", "redact", "replace", "block", "stop"]
VerdictSource: TypeAlias = Literal["rules", "too_long", "timeout", "classifier", "provider", "max_hold"]
"""The origin of a verdict. `too_long` and `timeout`: a rule could not decide within its limits."""
RequestFormat: TypeAlias = Literal["openai", "anthropic", "responses", "gemini"]
"""A format of requests: OpenAI's chat completions and Responses, Anthropic's messages, Gemini's contents."""
CheckOutcome: TypeAlias = Literal["passed", "flagged", "failed_open", "failed_closed", "skipped"]
EndReason: TypeAlias = Literal[
    "completed",
    "length",
    "content_filter",
    "tool_calls",
    "unknown",
    "truncated",
    "provider_error",
    "moderated",
    "cancelled",
    "timeout",
    "limit",
    "error",
]

SUCCESSES: Final[frozenset[EndReason]] = frozenset({"completed", "length", "content_filter", "tool_calls", "moderated"})
"""The answer ended normally, possibly cut by a limit or a filter. It may be passed on as finished."""
FAILURES: Final[frozenset[EndReason]] = frozenset({"unknown", "truncated", "provider_error", "timeout", "error"})
"""The answer failed, or may have failed: a retry with another source makes sense."""


class EventBase(
    msgspec.Struct, frozen=True, gc=False, eq=False, kw_only=True, tag=True, tag_field="event", omit_defaults=True
):
    # The provider's JSON that the event was read from. Excluded from comparison and `repr`: two recordings of the same
    # answer give equal events, and a logged event contains only its own fields.
    payload: bytes | None = None

    @property
    def raw(self) -> Any:
        """The provider's chunk, decoded at each access; `None` for an event that streamkit created."""
        if self.payload is None:
            return None
        raw: Any
        try:
            raw = msgspec.json.decode(self.payload)
        except (msgspec.DecodeError, UnicodeError):
            # The payload contains a lone surrogate, which msgspec rejects and `json` preserves.
            raw = json.loads(_text(self.payload), parse_int=_integer)
        return raw

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "payload")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __ne__(self, other: object) -> bool:
        # Without this method Struct's own `__ne__` would be used, which compares by identity with `eq=False`.
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __rich_repr__(self) -> Any:
        for name in self.__struct_fields__:
            if name != "payload":
                yield name, getattr(self, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace")


def _integer(digits: str) -> int | float:
    # Python refuses to convert more than 4,300 digits. Read a longer number as a float, as parsers with 64-bit numbers do.
    try:
        return int(digits)
    except ValueError:
        return float(digits)


class Usage(EventBase, frozen=True, gc=False, eq=False):
    """The usage of the response so far, as the provider reports it. `None` means unknown, never zero.

    `prompt_tokens` counts all input tokens, including those that a cache served or stored; `completion_tokens` counts all output
    tokens, including reasoning. This also holds for providers whose own numbers exclude them. `details` is the provider's whole
    object. Usage is cumulative: the latest event of a response replaces the earlier ones. If `responses` is greater than 1, the
    counts are the sum over that many responses, and `details` is that of the latest one.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    """As reported."""
    details: dict[str, Any] = {}
    responses: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The provider's own object."""
        return dict(self.details)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A moderation decision about a range of text, as stored in `Choice.verdicts`. It does not contain the matched text."""

    action: VerdictAction
    """The decision."""
    category: str
    """The category of the rule or classifier."""
    start: int
    """Start of the text, in code points of the channel's original text."""
    end: int
    """End of the text (exclusive)."""
    channel: Channel = "content"
    """The channel of the text."""
    severity: str | None = None
    """The severity of the rule or decision."""
    tool_index: int | None = None
    """The tool call, for the channels of tool calls."""
    source: VerdictSource = "rules"
    """The origin of the decision."""
    part: int | None = None
    """The part with the field that a rule searched, for the channels of parts; `start` and `end` are offsets in its text."""
    path: tuple[str, ...] = ()
    """The field, as in `PartDelta`."""


class ModerationReport(EventBase, frozen=True, gc=False, eq=False):
    """Metrics of the moderation of a stream, by rules or by a classifier.

    `deltas_held` deltas with `characters_held` characters were still buffered after the read in which they arrived, at most
    `max_characters_held` at the same time, for `seconds_held` in total (`None` without a clock). `held` characters are buffered
    now, `released` were released, and `withheld` will never be released: what was removed, and what arrived after a block or a
    `replace`. `checks` counts searches of text. `tokens_saved` is an upper bound of the tokens saved by closing the source early:
    zero if it was not closed early, `None` if unknown.

    For a classifier: `windows` with `characters` in total were submitted, in `calls` that took `seconds` in total; `context`
    counts the characters of earlier text that were sent again. `passed`, `flagged`, `failed_open`, `failed_closed` and `skipped`
    count windows by outcome, see `Checked`.
    """

    checks: int = 0
    verdicts: int = 0
    """The number of verdicts."""
    deltas_held: int = 0
    characters_held: int = 0
    max_characters_held: int = 0
    seconds_held: float | None = None
    max_seconds_held: float | None = None
    """The longest time that one delta was buffered."""
    stopped: bool = False
    """Whether the source was closed early."""
    tokens_saved: int | None = 0
    held: int = 0
    released: int = 0
    withheld: int = 0
    windows: int = 0
    calls: int = 0
    characters: int = 0
    context: int = 0
    seconds: float = 0.0
    passed: int = 0
    flagged: int = 0
    failed_open: int = 0
    failed_closed: int = 0
    skipped: int = 0


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """An assembled tool call. `arguments` is verbatim, even if it is not valid JSON."""

    id: str | None = None
    """The provider's id of the call."""
    name: str | None = None
    """The function's name."""
    arguments: str = ""
    index: int = 0
    """The number of the call in the answer, from 0."""
    type: str = "function"
    """The provider's type: `function`, `custom`, …"""


class ToolResult(msgspec.Struct, frozen=True):
    """The result of a tool call: text, or any JSON-compatible data. If `failed`, `content` describes the error."""

    call: ToolCall
    """The call."""
    content: Any = ""
    failed: bool = False


class Part(msgspec.Struct, frozen=True):
    """One part of an assembled answer, in the provider's order: the data of `PartStart` and `PartEnd`, and the text of the part.

    `data` includes the text of the part's `PartDelta`s, in the fields that their `path` names.
    """

    kind: str
    """The provider's name for this kind of part."""
    number: int = 0
    """The number of the part in the answer, from 0."""
    data: dict[str, Any] = {}
    text: str = ""
    channel: Channel | None = None
    """The channel of the text."""
    tool_index: int | None = None
    """The number of the tool call, for a part that is one."""
    within: int | None = None
    """The number of the enclosing part."""
    annotations: tuple[dict[str, Any], ...] = ()
    """Citations and other notes on the text."""
    logprobs: dict[str, Any] | None = None
    """Log probabilities of the text."""


class Choice(msgspec.Struct, frozen=True, eq=False):
    """One assembled answer. If no text was sent, as in an answer of tool calls only, `content` is `None` and `text` is empty.

    After `Moderate` it contains the released text, and `verdicts` lists the places where that differs from what the provider
    sent. `details` contains the other fields of the provider's choice. It is excluded from comparison, since a non-streaming
    response can have more of them.
    """

    index: int
    """The choice's number, from 0."""
    content: str | None = None
    finish_reason: str | None = None
    """The provider's finish reason."""
    refusal: str | None = None
    """The text of the refusal."""
    reasoning: str | None = None
    """The visible reasoning."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tool calls, in order."""
    role: str | None = None
    """The author's role."""
    logprobs: dict[str, Any] | None = None
    """Log probabilities of all chunks, merged, in the provider's format."""
    annotations: tuple[dict[str, Any], ...] = ()
    """Citations and other notes, in order."""
    audio: dict[str, Any] | None = None
    """The spoken answer in the provider's format."""
    verdicts: tuple[Verdict, ...] = ()
    parts: tuple[Part, ...] = ()
    """The structure of the answer, if the provider's format has one."""
    details: dict[str, Any] = {}

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "details")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._values())

    @property
    def text(self) -> str:
        """The text; empty if none was sent."""
        return self.content or ""


class Completion(EventBase, frozen=True, eq=False):
    """The assembled response. `end` is the `StreamEnd.reason` known when it was assembled, `None` in mid-stream.

    `conflicts` maps identity fields (`id`, `model`, …) to the differing value that a later chunk had. `shape` is the dialect
    that `to_dict` writes. `details` contains the other fields of the provider's response and is excluded from comparison.
    """

    choices: tuple[Choice, ...] = ()
    """The choices, sorted by `index`."""
    usage: Usage | None = None
    """The usage that the provider reported."""
    id: str | None = None
    """The response's id."""
    object: str | None = None
    """The provider's `object` field, such as `chat.completion`."""
    created: int | float | None = None
    """Time of creation, in seconds since 1970."""
    model: str | None = None
    """The model that answered."""
    system_fingerprint: str | None = None
    """OpenAI's fingerprint of the backend."""
    service_tier: str | None = None
    """The tier in which the request was processed."""
    end: EndReason | None = None
    conflicts: dict[str, Any] = {}
    moderation: ModerationReport | None = None
    """The moderation metrics, with `Moderate(reports=True)`."""
    shape: str | None = None
    details: dict[str, Any] = {}

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in ("payload", "details"))

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text if self.choices else ""

    def to_dict(self) -> dict[str, Any]:
        """The provider's non-streaming response, as JSON-compatible data.

        For a dialect without its own form it is OpenAI's chat completion.
        """
        return write_response(self, self.shape)

    def to_openai(self) -> dict[str, Any]:
        """The response as OpenAI's chat completion, whichever provider sent it."""
        return write_response(self, OPENAI_CHAT)

    def messages(self, to: RequestFormat | None = None, index: int = 0) -> list[dict[str, Any]]:
        """The answer of one choice as messages to append to the conversation, as JSON-compatible data.

        `to` is the request format. By default it is the format of the provider that answered, or OpenAI's chat if streamkit has
        no message format for that provider. The provider's own format receives signatures, ids and reasoning exactly as the
        provider sent them; any other format receives text and tool calls. The result is one message, except for `responses`,
        whose conversations consist of items, and for an empty answer in a format without empty messages, which gives none.
        Call arguments that are not a JSON object are put into one, as `INVALID_JSON`, where a format accepts only objects.
        Raises `PipelineError` if there is no choice with this index.
        """
        form = message_form(to or self._format())
        return form.messages(self, self._choice(index), own=to in (None, self._format()))

    def message(self, to: RequestFormat | None = None, index: int = 0) -> dict[str, Any]:
        """The single message of `messages`. Raises `PipelineError` if the answer has several items (`responses`)."""
        found = self.messages(to, index)
        if len(found) != 1:
            raise PipelineError(f"the answer has {len(found) or 'no'} items: extend the conversation with messages()")
        return found[0]

    def tool_results(
        self, results: Iterable[ToolResult], to: RequestFormat | None = None, index: int = 0
    ) -> list[dict[str, Any]]:
        """The messages with the results of this answer's tool calls, to append after `messages`. Pass all results at once.

        Raises `PipelineError` for a content that can't be represented as JSON.
        """
        given = list(results)
        for result in cast("list[object]", given):
            call = result.call if isinstance(result, ToolResult) else result
            if call is result or not isinstance(cast("object", call), ToolCall):
                raise PipelineError(f"expected the result of a ToolCall, found {type(call).__name__}")
        return message_form(to or self._format()).results(self, self._choice(index), given)

    def tool_result(
        self, call: ToolCall, content: Any, to: RequestFormat | None = None, *, failed: bool = False
    ) -> dict[str, Any]:
        """The message with the result of one tool call. For several calls use `tool_results`: Anthropic expects one message.

        `content` is text or any JSON-compatible data. If `failed`, it describes the error.
        """
        return self.tool_results([ToolResult(call, content, failed)], to)[0]

    def _format(self) -> RequestFormat:
        match self.shape:
            case "anthropic" | "responses" | "gemini":
                return self.shape
            case _:
                return "openai"

    def _choice(self, index: int) -> Choice:
        for choice in self.choices:
            if choice.index == index:
                return choice
        raise PipelineError(f"the answer has no choice {index}")


# Response forms

ResponseForm: TypeAlias = Callable[[Any], dict[str, Any]]
"""Takes a `Completion` and returns the provider's non-streaming response as a JSON object."""
OPENAI_FORM: Final = "openai"
"""The form of OpenAI's completions, chat and legacy, and of every dialect without its own form."""
OPENAI_CHAT: Final = "openai.chat"
"""OpenAI's chat completion, for responses of any provider."""

_forms: dict[str, ResponseForm] = {}


def register_form(name: str, form: ResponseForm) -> None:
    """Register the form for completions whose `shape` is `name`."""
    _forms[name] = form


def unregister_form(name: str) -> None:
    """Remove the form of that name."""
    del _forms[name]


def write_response(completion: Any, name: str | None) -> dict[str, Any]:
    """Write the completion in the form of that name, or in OpenAI's if that form is not registered."""
    if OPENAI_FORM not in _forms or (name and name not in _forms):
        # A completion restored from a checkpoint may exist before any dialect is loaded. Imported here because the dialects
        # are a layer above this module; they register their forms at import.
        import_module("streamkit.dialects")
    return _forms.get(name or OPENAI_FORM, _forms[OPENAI_FORM])(completion)


# Message forms


class MessageForm:
    """Writes answers and tool results as messages of one request format. Each format's module registers its own."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[dict[str, Any]]:
        """The messages for a choice of `completion`. `own`: the completion came from this format's own provider."""
        raise NotImplementedError

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[dict[str, Any]]:
        """The messages with the results of the choice's tool calls."""
        raise NotImplementedError


_message_forms: dict[str, MessageForm] = {}


def register_message_form(name: str, form: MessageForm) -> None:
    """Register the message form of a request format."""
    _message_forms[name] = form


def message_form(name: str) -> MessageForm:
    """The message form of that request format. Raises `PipelineError` if none is registered."""
    if name not in _message_forms:
        import_module("streamkit.dialects.message_forms")  # a layer above this module; it registers its forms at import
    if name not in _message_forms:
        raise PipelineError(f"expected a request format ({', '.join(sorted(_message_forms))}), found {name!r}")
    return _message_forms[name]


__all__ = [
    "FAILURES",
    "OPENAI_CHAT",
    "OPENAI_FORM",
    "SUCCESSES",
    "Channel",
    "CheckOutcome",
    "Choice",
    "Completion",
    "EndReason",
    "Json",
    "MessageForm",
    "ModerationReport",
    "Part",
    "PartChannel",
    "RequestFormat",
    "ResponseForm",
    "ToolCall",
    "ToolResult",
    "Usage",
    "Verdict",
    "VerdictAction",
    "VerdictSource",
]


def __dir__() -> list[str]:
    return sorted(__all__)
