"""The assembled answer: a `Completion` and its parts, why answers end, and the base of all events.

A completion is written as a provider's response by a form that its dialect registers, so that values import no dialect.
"""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

import msgspec

from streamkit.errors import PipelineError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
PartChannel: TypeAlias = Literal["code", "tool_input", "tool_output", "other"]
"""Kinds of text in a part: a program or a command, the input of a provider's tool, its output, or anything else."""
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
"""The origin of a verdict; `too_long` and `timeout` are of a rule that could not decide within its bounds."""
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
"""The answer ended properly, though it may have been cut by a limit or a filter: it may be passed on as finished."""
FAILURES: Final[frozenset[EndReason]] = frozenset({"unknown", "truncated", "provider_error", "timeout", "error"})
"""The answer failed, or may have failed: another source may do better."""


class EventBase(
    msgspec.Struct, frozen=True, gc=False, eq=False, kw_only=True, tag=True, tag_field="event", omit_defaults=True
):
    # The provider's JSON that the event was taken from. It is neither compared nor shown: two recordings of one answer
    # give equal events, and a log line of an event holds no more than the event.
    payload: bytes | None = None

    @property
    def raw(self) -> Any:
        """The provider's chunk, decoded anew at each call; `None` for an event that streamkit made."""
        if self.payload is None:
            return None
        raw: Any
        try:
            raw = msgspec.json.decode(self.payload)
        except (msgspec.DecodeError, UnicodeError):
            # It holds half of a surrogate pair, which only this one reads, and leaves as it is.
            raw = json.loads(_text(self.payload), parse_int=_integer)
        return raw

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "payload")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __ne__(self, other: object) -> bool:
        # The Struct's own would be found before Python's, and compares by identity here.
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
    # Python converts 4,300 digits; a longer number is what it is for readers whose numbers are all of 64 bits.
    try:
        return int(digits)
    except ValueError:
        return float(digits)


class Usage(EventBase, frozen=True, gc=False, eq=False):
    """The usage of the response so far, as the provider reports it. `None` is unknown, never zero.

    `prompt_tokens` are all tokens of the input, those that a cache served or stored included, and `completion_tokens` all of the
    output, reasoning included, whatever the provider's own figures leave out. `details` is the provider's whole object. Usage is
    cumulative: the latest of a response counts. One with more `responses` is their sum, and `details` are the latest one's.
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
    """A moderation decision about one place of a text, as `Completion` keeps it. It does not contain the matched text."""

    action: VerdictAction
    """The decision."""
    category: str
    """The rule's or the classifier's."""
    start: int
    """Where the text begins, in code points of the channel's original text."""
    end: int
    """Where it ends."""
    channel: Channel = "content"
    """The channel that the text is in."""
    severity: str | None = None
    """That of the rule or the decision."""
    tool_index: int | None = None
    """The call, in the channels of tool calls."""
    source: VerdictSource = "rules"
    """Who decided."""


class ModerationReport(EventBase, frozen=True, gc=False, eq=False):
    """Metrics of the moderation of a stream, by rules or by a classifier.

    `characters_held` of `deltas_held` deltas were still buffered after the read in which they arrived, at most
    `max_characters_held` at once, and together for `seconds_held` (`None` without a clock). `held` characters are buffered
    now, `released` ones were released, `withheld` ones never will be. `checks` counts searches of text. `tokens_saved` is the
    most that can have been saved by closing the source: zero if it was not, `None` if unknown.

    A classifier was called for `windows` with `characters`, in `calls` that took `seconds` together; `context` counts the
    characters that were sent again with them. Of the windows so many were `passed`, `flagged`, `failed_open`,
    `failed_closed` or `skipped`, see `Checked`.
    """

    checks: int = 0
    verdicts: int = 0
    """How many there were."""
    deltas_held: int = 0
    characters_held: int = 0
    max_characters_held: int = 0
    seconds_held: float | None = None
    max_seconds_held: float | None = None
    """The longest that one delta was buffered."""
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
    """An assembled tool call. `arguments` is verbatim, also where it is no valid JSON."""

    id: str | None = None
    """The provider's id of the call."""
    name: str | None = None
    """The function's name."""
    arguments: str = ""
    index: int = 0
    """Its number in the answer, from 0."""
    type: str = "function"
    """The provider's word: `function`, `custom`, …"""


class ToolResult(msgspec.Struct, frozen=True):
    """The result of a tool call: text, or anything that JSON can hold. `failed`: `content` describes the error."""

    call: ToolCall
    """The call that it answers."""
    content: Any = ""
    failed: bool = False


class Part(msgspec.Struct, frozen=True):
    """One part of an assembled answer, in the provider's order: what `PartStart` and `PartEnd` said, with the text it got.

    `data` has the text of its `PartDelta`s in its fields.
    """

    kind: str
    """The provider's word."""
    number: int = 0
    """Its number in the answer, from 0."""
    data: dict[str, Any] = {}
    text: str = ""
    channel: Channel | None = None
    """The channel of its text."""
    tool_index: int | None = None
    """The number of the call that it is."""
    within: int | None = None
    """The number of the part that it is inside of."""
    annotations: tuple[dict[str, Any], ...] = ()
    """Citations of its text."""
    logprobs: dict[str, Any] | None = None
    """Log probabilities of its text."""


class Choice(msgspec.Struct, frozen=True, eq=False):
    """One assembled answer. `content` is `None` where no text was sent, as in a call of tools; `text` is then empty.

    Behind `Moderate` it is what was released, and `verdicts` says where that is not what the provider sent. `details`, what
    the provider's choice has beside the rest, are not compared: a plain answer can have more of them.
    """

    index: int
    """The choice's number, from 0."""
    content: str | None = None
    finish_reason: str | None = None
    """The provider's word."""
    refusal: str | None = None
    """The refusal's text."""
    reasoning: str | None = None
    """The visible reasoning."""
    tool_calls: tuple[ToolCall, ...] = ()
    """In their order."""
    role: str | None = None
    """The author's role."""
    logprobs: dict[str, Any] | None = None
    """As the provider sent them, put together."""
    annotations: tuple[dict[str, Any], ...] = ()
    """Citations and other notes, in their order."""
    audio: dict[str, Any] | None = None
    """The spoken answer in the provider's form."""
    verdicts: tuple[Verdict, ...] = ()
    parts: tuple[Part, ...] = ()
    """The structure of the answer, where the provider's format has one."""
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
        """The text, empty where none was sent."""
        return self.content or ""


class Completion(EventBase, frozen=True, eq=False):
    """The assembled response. `end` is the `StreamEnd.reason` known when it was assembled, `None` in mid-stream.

    `conflicts` names the identity fields for which a later chunk said something else, with what it said. `shape` is the
    dialect that `to_dict` writes, `details`, which are not compared, what its response has beside the rest.
    """

    choices: tuple[Choice, ...] = ()
    """By their `index`."""
    usage: Usage | None = None
    """As the provider reports it."""
    id: str | None = None
    """The response's id."""
    object: str | None = None
    """The provider's word for the kind of object."""
    created: int | float | None = None
    """When, in seconds since 1970."""
    model: str | None = None
    """The model that answered."""
    system_fingerprint: str | None = None
    """OpenAI's fingerprint of the back end."""
    service_tier: str | None = None
    """The tier in which the request was processed."""
    end: EndReason | None = None
    conflicts: dict[str, Any] = {}
    moderation: ModerationReport | None = None
    """The metrics of moderation, with `Moderate(reports=True)`."""
    shape: str | None = None
    details: dict[str, Any] = {}

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in ("payload", "details"))

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text if self.choices else ""

    def to_dict(self) -> dict[str, Any]:
        """The response that the provider would have sent without streaming, ready for JSON.

        A dialect without a form of its own gives OpenAI's chat completion.
        """
        return write_response(self, self.shape)

    def to_openai(self) -> dict[str, Any]:
        """The response as OpenAI's chat completion, whoever sent it, so that a program can change the provider."""
        return write_response(self, OPENAI_CHAT)

    def messages(self, to: RequestFormat | None = None, index: int = 0) -> list[dict[str, Any]]:
        """The answer of one choice as the messages to append to the conversation, ready for JSON.

        `to` is the request format; by default that of the provider that answered, and OpenAI's chat where it has none here. The
        provider's own format gets back signatures, ids and reasoning as the provider sent them; another one text and calls.
        All formats but `responses`, whose conversation consists of items, have one message. Raises `PipelineError` for a choice
        that is not there.
        """
        form = message_form(to or self._format())
        return form.messages(self, self._choice(index), own=to in (None, self._format()))

    def message(self, to: RequestFormat | None = None, index: int = 0) -> dict[str, Any]:
        """The one message of `messages`. An answer of several items (`responses`) raises `PipelineError`."""
        found = self.messages(to, index)
        if len(found) != 1:
            raise PipelineError(f"the answer has {len(found)} items: extend the conversation with messages()")
        return found[0]

    def tool_results(
        self, results: Iterable[ToolResult], to: RequestFormat | None = None, index: int = 0
    ) -> list[dict[str, Any]]:
        """The messages that answer this answer's tool calls, to append behind `messages`: all of them at once."""
        return message_form(to or self._format()).results(self, self._choice(index), list(results))

    def tool_result(
        self, call: ToolCall, content: Any, to: RequestFormat | None = None, *, failed: bool = False
    ) -> dict[str, Any]:
        """The message that answers one tool call. For several calls use `tool_results`, as Anthropic wants one message of all.

        `content` is text, or anything that JSON can hold. `failed`: it says what went wrong.
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
"""Takes a `Completion`, and returns the JSON object that its provider would have sent without streaming."""
OPENAI_FORM: Final = "openai"
"""The form of OpenAI's own completions, chat and legacy, and of every dialect that has no other."""
OPENAI_CHAT: Final = "openai.chat"
"""OpenAI's chat completion, whoever answered."""

_forms: dict[str, ResponseForm] = {}


def register_form(name: str, form: ResponseForm) -> None:
    """Write completions whose `shape` is this name in this form."""
    _forms[name] = form


def unregister_form(name: str) -> None:
    """Forget the form of that name."""
    del _forms[name]


def write_response(completion: Any, name: str | None) -> dict[str, Any]:
    """The completion in the form of that name; in OpenAI's if that is not registered."""
    if OPENAI_FORM not in _forms or (name and name not in _forms):
        # A completion may be older than the process, as one of a checkpoint is: then no dialect is loaded yet. They are a room
        # above this one, and register their forms themselves.
        import_module("streamkit.dialects")
    return _forms.get(name or OPENAI_FORM, _forms[OPENAI_FORM])(completion)


# Message forms


class MessageForm:
    """How a request format writes answers and tool results as messages. Registered by the modules that know the formats."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[dict[str, Any]]:
        """The answer of a choice; `own`: of a completion of the same provider."""
        raise NotImplementedError

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[dict[str, Any]]:
        """The results of its calls."""
        raise NotImplementedError


_message_forms: dict[str, MessageForm] = {}


def register_message_form(name: str, form: MessageForm) -> None:
    """Write messages of that request format in this form."""
    _message_forms[name] = form


def message_form(name: str) -> MessageForm:
    """The form of that request format. `PipelineError` if it is not registered."""
    if name not in _message_forms:
        import_module("streamkit.dialects.message_forms")  # a room above this one, which registers its forms
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
