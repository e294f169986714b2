"""The events of a pipeline: one union of small frozen values, consumed with `match`.

Every event that belongs to one of several answers (`n` > 1) has the `index` of that choice. Offsets and lengths are in code
points. `event.raw` is the provider's chunk that the event was read from, decoded on access.

As JSON (`msgspec.json.encode(event)`) an event is an object whose `event` names its class; `msgspec.json.decode(…, type=Event)`
reads it back.
"""

from decimal import Decimal
from typing import Any, Literal, TypeAlias

from streamkit.completion import Channel as Channel
from streamkit.completion import CheckOutcome as CheckOutcome
from streamkit.completion import Choice as Choice
from streamkit.completion import Completion as Completion
from streamkit.completion import EndReason as EndReason
from streamkit.completion import EventBase
from streamkit.completion import Json as Json
from streamkit.completion import ModerationReport as ModerationReport
from streamkit.completion import Part as Part
from streamkit.completion import PartChannel as PartChannel
from streamkit.completion import ToolCall as ToolCall
from streamkit.completion import Usage as Usage
from streamkit.completion import Verdict as Verdict
from streamkit.completion import VerdictAction as VerdictAction
from streamkit.completion import VerdictSource as VerdictSource
from streamkit.errors import OutputProblem
from streamkit.latency import Stall, intervals, percentile, stalls


class ResponseStart(EventBase, frozen=True, gc=False, eq=False):
    """The identity of the response. Emitted with the first chunk, and again when a later chunk has other values."""

    id: str | None = None
    """The response's id."""
    object: str | None = None
    """The provider's `object` field, such as `chat.completion.chunk`."""
    created: int | float | None = None
    """Time of creation, in seconds since 1970."""
    model: str | None = None
    """The model that answered, as the provider names it."""
    system_fingerprint: str | None = None
    """OpenAI's fingerprint of the backend."""
    service_tier: str | None = None
    """The tier in which the request was processed."""


class ResponseDetails(EventBase, frozen=True, gc=False, eq=False):
    """Other fields of the provider's response object, or of one choice if `index` is set.

    A later event adds its fields to those of earlier ones. `shape` names the dialect in which `Completion.to_dict` writes the
    response.
    """

    details: dict[str, Any] = {}
    """The fields, under the provider's names."""
    shape: str | None = None
    index: int | None = None


class PartStart(EventBase, frozen=True, gc=False, eq=False):
    """A part of the answer begins: a content block, an output item, a content part. Emitted again if the part continues after
    another one.

    `kind` is the provider's name for it. `data` is the structure of the part: ids, states, signatures, and empty values for the
    fields that are sent as deltas. Deltas of `channel` belong to this part until the next part of that channel starts; deltas of
    the tool call `tool_index` belong to the part with that `tool_index`; a `PartDelta` belongs to the part whose number it has.
    `within` is the number of the enclosing part.
    """

    kind: str
    number: int = 0
    """The number of the part in the answer, from 0."""
    data: dict[str, Any] = {}
    channel: Channel | None = None
    tool_index: int | None = None
    within: int | None = None
    index: int = 0


class PartEnd(EventBase, frozen=True, gc=False, eq=False):
    """Part `number` is complete. `data` has the fields known only now, such as a signature or status; it extends the `data` of
    `PartStart`."""

    number: int = 0
    data: dict[str, Any] = {}
    index: int = 0


class PartDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of text of a field in the `data` of part `part`, never empty: code, a search query, the output of a tool.

    `path` names the field of `data` that the text belongs to. With `json` it is a piece of JSON: of the field's value, or of
    the JSON text in the field if that is a string. The text starts again from empty if a `PartStart` contains its field again,
    or if a delta arrives after the `PartEnd`. Input that a client executes is complete at the `PartEnd`.
    """

    text: str
    channel: PartChannel = "other"
    """The kind of text."""
    part: int = 0
    path: tuple[str, ...] = ()
    json: bool = False
    index: int = 0


class RoleDelta(EventBase, frozen=True, gc=False, eq=False):
    """The author's role of one choice. Emitted when it is first known and when it changes."""

    role: str
    """Usually `assistant`."""
    index: int = 0


class TextDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of the answer's text, never empty."""

    text: str
    """The piece."""
    index: int = 0


class ReasoningDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of the visible reasoning, never empty."""

    text: str
    """The piece."""
    index: int = 0


class RefusalDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of a refusal, never empty."""

    text: str
    """The piece."""
    index: int = 0


class ToolCallDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of tool call number `tool_index` of choice `index`. Fields that were not sent are `None`, or empty (`arguments`).

    Depending on the provider, `id`, `name` and `type` arrive with the first piece, in pieces, or with every piece; `Identity`
    merges them. A complete call without arguments has the arguments `{}`.
    """

    tool_index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    index: int = 0
    type: str | None = None


class AudioDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of a spoken answer: base64 data, its transcript, or both."""

    data: str | None = None
    """Base64."""
    transcript: str | None = None
    """The piece of the transcript."""
    id: str | None = None
    """The provider's id of the audio."""
    expires_at: int | None = None
    """Time at which the provider deletes the audio, in seconds since 1970."""
    index: int = 0


class Annotation(EventBase, frozen=True, gc=False, eq=False):
    """A citation or another note on the text, as the provider sent it. `part` is the number of the part that has the text."""

    annotation: dict[str, Any]
    """The provider's object."""
    index: int = 0
    part: int | None = None


class Logprobs(EventBase, frozen=True, gc=False, eq=False):
    """Log probabilities of the tokens in this chunk, as the provider sent them. `part` is the number of their part."""

    logprobs: dict[str, Any]
    """The provider's object."""
    index: int = 0
    part: int | None = None


class Finish(EventBase, frozen=True, gc=False, eq=False):
    """One choice has ended. `finish_reason` is the provider's value."""

    finish_reason: str
    index: int = 0


class TokenCount(EventBase, frozen=True, gc=False, eq=False):
    """The tokens that `Count` counted in one channel of one choice, with the tokenizer `encoding`.

    For `tool_arguments` they are those of the call `tool_index`. `exact` is false if the model's encoding is unknown and another
    one is used instead.
    """

    tokens: int
    """The tokens so far."""
    channel: Channel = "content"
    """The channel that was counted."""
    index: int = 0
    encoding: str = ""
    exact: bool = True
    tool_index: int | None = None


class UsageReport(EventBase, frozen=True, gc=False, eq=False):
    """The usage of a stream, as the provider reports it and as counted locally. `None` means unknown, never zero.

    `source` is the origin of `prompt_tokens`, `completion_tokens` and `total_tokens`: `provider`; `local`, counted locally
    because the provider reported nothing; or `partial`, for an answer that ended early: the larger of the tokens received and
    of those that the provider had reported until then. The provider may have generated and billed more.

    `cached_tokens` and `cache_write_tokens` are the tokens of the prompt that a cache served and stored. `reasoning_tokens` are
    part of the completion. `counted` is the number of tokens of all text that passed `Count`; `exact` is whether the model's
    own encoding was used. `difference` is the provider's completion tokens minus `counted`, and minus `reasoning_tokens` if the
    reasoning was not visible; usually the remainder is the token that ends an answer. `cost` is computed from your prices, in
    `currency`; `provider_cost` is the charge that the provider reports, usually in US dollars. `name` is the name of the `Count`.

    For several responses in one stream, such as the turns of an agent, each number is the sum; see `streamkit.tokens.responses`.
    """

    source: Literal["provider", "local", "partial"]
    prompt_tokens: int | None = None
    """Tokens of the prompt."""
    completion_tokens: int | None = None
    """Tokens of the completion."""
    total_tokens: int | None = None
    """The total, as reported."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    counted: int = 0
    counted_prompt: int | None = None
    """The tokens of the prompt, counted locally, if `Count` has the prompt."""
    exact: bool = True
    difference: int | None = None
    provider: Usage | None = None
    cost: Decimal | None = None
    currency: str | None = None
    model: str | None = None
    """The model that answered, used to look up the prices."""
    name: str = ""
    cache_write_tokens: int | None = None
    provider_cost: Decimal | None = None


class _Decided(EventBase, frozen=True, gc=False, eq=False):
    # `start` and `end` are offsets in the channel's original text; in `tool_arguments` that is the JSON with its escapes decoded.
    # Rules search each field of a part by itself: with `part` they are offsets in the text of that field, decoded if it is JSON.
    # A verdict of the provider without a position covers the text so far.
    category: str
    """The category of the rule or classifier."""
    start: int
    """Start of the text, in code points of the channel's original text."""
    end: int
    """End of the text (exclusive)."""
    channel: Channel = "content"
    """The channel of the text."""
    index: int = 0
    severity: str | None = None
    """The severity of the rule or decision, if it has one."""
    tool_index: int | None = None
    """The tool call, for the channels of tool calls."""
    source: VerdictSource = "rules"
    """The origin of the decision."""
    action: VerdictAction = "annotate"
    """The decision."""
    part: int | None = None
    """The part with the field that a rule searched, for the channels of parts."""
    path: tuple[str, ...] = ()
    """The field, as in `PartDelta`."""

    def __rich_repr__(self) -> Any:
        # Few verdicts are about a part.
        return (field for field in super().__rich_repr__() if self.part is not None or field[0] not in ("part", "path"))

    @property
    def verdict(self) -> Verdict:
        """The decision without the index of the choice."""
        place = (self.start, self.end, self.channel)
        return Verdict(
            self.action, self.category, *place, self.severity, self.tool_index, self.source, self.part, self.path
        )


class Flagged(_Decided, frozen=True, gc=False, eq=False):
    """A rule or classifier flagged text that is released. `start` and `end` are offsets in the channel's original text."""


class Redacted(_Decided, frozen=True, gc=False, eq=False):
    """Replacement text was released instead of this range; with the action `replace`, also instead of everything that follows in
    this channel. No event contains the original text.

    Overlapping matches are replaced together: the first is reported when it is decided, then one event reports the range that
    the others add.
    """

    action: VerdictAction = "redact"


class Blocked(_Decided, frozen=True, gc=False, eq=False):
    """No more text of this choice is released; with the action `stop`, no more text of any choice."""

    action: VerdictAction = "block"


class Retracted(EventBase, frozen=True, gc=False, eq=False):
    """Text that was already released is withdrawn: show `replacement` instead. Emitted after the verdict.

    `start` and `end` are offsets in the channel's original text. `released_start` and `released_end` are offsets in the text that
    was released for the channel before this event; earlier retractions do not shift them.
    """

    category: str
    """The category of the verdict."""
    start: int
    end: int
    released_start: int
    released_end: int
    channel: Channel = "content"
    index: int = 0
    replacement: str = ""


class HoldExceeded(EventBase, frozen=True, gc=False, eq=False):
    """The moderation buffer exceeded `max_hold_chars` or `max_hold_seconds`. With `release` the text `start:end` is released
    without a decision."""

    limit: Literal["characters", "seconds"]
    """The limit that was exceeded."""
    action: Literal["release", "block"]
    """The consequence."""
    start: int
    end: int
    channel: Channel = "content"
    """The channel that was buffered."""
    index: int = 0
    tool_index: int | None = None
    """The tool call, for the channels of tool calls."""
    part: int | None = None
    """The part with the field that was buffered, for the channels of parts."""
    path: tuple[str, ...] = ()
    """The field, as in `PartDelta`."""


class Checked(EventBase, frozen=True, gc=False, eq=False):
    """The outcome for one window of text that was submitted to a classifier.

    `passed` and `flagged` windows were classified. A `skipped` window contains only white space; the classifier was not called.
    A `failed_open` window was released and a `failed_closed` one blocked, both without a decision; `failure` is the kind of
    failure. `scores` are the classifier's. `calls` is the number of calls made, which took `seconds`; the first character was
    buffered for `held` seconds. Both times are excluded from comparison. `context` counts characters of earlier text that were
    sent again.
    """

    outcome: CheckOutcome
    """The outcome for the window."""
    start: int
    """Start of the window, in code points of the channel's text."""
    end: int
    """End of the window (exclusive)."""
    channel: Channel = "content"
    """The channel of the window."""
    index: int = 0
    category: str = ""
    """The category of the decision; empty if it has none."""
    scores: dict[str, float] = {}
    failure: str = ""
    calls: int = 1
    context: int = 0
    seconds: float = 0.0
    held: float = 0.0

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in _NOT_COMPARED)


_NOT_COMPARED = ("payload", "seconds", "held")


class ProviderNotice(EventBase, frozen=True, gc=False, eq=False):
    """A message of the provider beside the answer: a filter's verdict, a ping, an event of an unknown kind.

    Kind `conflict`: the provider repeated streamed text as a whole, and the two differ. `data` names the channel but contains
    neither text.
    """

    kind: str
    """The kind: `ping`, the name of an event, or of a filter."""
    data: Any = None
    index: int | None = None


class Skipped(EventBase, frozen=True, gc=False, eq=False):
    """The function of a `ConcurrentMap` failed for an item of class `item`, which is skipped. `error` is the exception's class.

    The event contains neither the item nor the exception's message. `attempts` is the number of calls of the function.
    """

    item: str
    error: str
    attempts: int = 1
    position: int | None = None
    """The number of the item in the input, from 0; for a tool call, that of the event that completed it."""


class ToolOutput(EventBase, frozen=True, eq=False):
    """The result of a tool call in `hops.converse`: text or JSON-compatible data, or if `failed` a description of the error."""

    name: str
    """The tool's name."""
    content: Any
    """The tool's result."""
    id: str | None = None
    """The call's id."""
    tool_index: int = 0
    """The number of the call."""
    failed: bool = False


class TurnEnd(EventBase, frozen=True, gc=False, eq=False):
    """Turn `number` (from 1) of a `hops.converse` has ended for `reason`, and its `calls` tool calls were executed.

    `usage` is the sum of the provider's usage of all turns so far; `None` means unknown.
    """

    number: int
    reason: EndReason
    calls: int = 0
    usage: Usage | None = None


class Reset(EventBase, frozen=True, gc=False, eq=False):
    """Discard everything received so far: the answer starts again from another source. `cause` is the reason, without any text of
    the answer."""

    cause: str


class PartialOutput(EventBase, frozen=True, gc=False, eq=False):
    """The JSON of structured output, or of the arguments of tool call `tool_index`, as received so far.

    `complete`: the JSON is complete. That the answer is complete too is reported by `StructuredOutput`. Do not modify the value.
    """

    value: Any
    """The value as received so far."""
    complete: bool = False
    tool_index: int | None = None
    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The tool's name."""
    index: int = 0


class StructuredOutput(EventBase, frozen=True, eq=False):
    """The complete value, converted to the requested type. With a `tool_index` it is the arguments of the tool `name`."""

    value: Any
    """The object."""
    tool_index: int | None = None
    id: str | None = None
    """The call's id."""
    name: str | None = None
    index: int = 0


class InvalidOutput(EventBase, frozen=True, gc=False, eq=False):
    """The problem for which structured output is unavailable. `path` is the place in the value; `detail` quotes none of it.

    `truncated`: the answer was cut short. `missing`: it has no JSON, for example a refusal. `malformed`: it is not valid JSON.
    `invalid`: the value does not fit the type. `limit`: the JSON is too long or too deep.
    """

    problem: OutputProblem
    """The kind of problem."""
    path: str = "$"
    detail: str = ""
    tool_index: int | None = None
    """The tool call that has the arguments; `None` for the text."""
    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The tool's name."""
    index: int = 0


class Timings(EventBase, frozen=True, gc=False, eq=False):
    """Latencies, in seconds since the stream was opened. `None` means that it never happened or is unknown: for a source without
    times, such as the stored body of a response, `total` is `None` too and `deltas` is empty.

    `first_content` is the time to first token: the arrival of the first content of the answer, even if a stage such as `Moderate`
    still buffers it. `deltas` has the time at which each piece of content, reasoning, refusal or tool call was released; all
    pieces of one network read have the same time, so the intervals between them are zero. `tokens` is the number of tokens of
    the answer, from the provider's usage or else from `Count`, as in `UsageReport`; `hidden_tokens` of them are reasoning that
    was not visible.
    """

    first_byte: float | None
    """Seconds to the first byte."""
    first_content: float | None
    deltas: tuple[float, ...]
    total: float | None
    tokens: int | None = None
    hidden_tokens: int = 0

    @property
    def first_released(self) -> float | None:
        """The time at which the first delta was released: `first_content` plus the time for which it was buffered."""
        return self.deltas[0] if self.deltas else None

    def inter_token_latency(self, percent: float) -> float | None:
        """A percentile of the inter-token latency, the interval between two deltas: 50 is the median, 100 the maximum.

        Interpolated linearly between the two closest ranks, as in numpy. `None` with fewer than two deltas.
        """
        return percentile(intervals(self.deltas), percent)

    def stalls(self, seconds: float = 1.0) -> list[Stall]:
        """The intervals between two deltas that were longer than `seconds`. The wait for the first delta is not included."""
        return stalls(self.deltas, seconds)

    @property
    def tokens_per_second(self) -> float | None:
        """The tokens after the first one, divided by the time from the first content to the last delta.

        The time to the first content and the `hidden_tokens`, which were generated during that time, are excluded. `None` if the
        tokens are unknown or if everything arrived at once, as in a non-streaming response.
        """
        if self.tokens is None or self.first_content is None or not self.deltas:
            return None
        seconds, tokens = self.deltas[-1] - self.first_content, self.tokens - self.hidden_tokens - 1
        return tokens / seconds if seconds > 0 and tokens > 0 else None

    def to_dict(self) -> dict[str, float | int | None]:
        """The metrics by name, for JSON and logs, without the times of the single deltas. Unknown values are `None`."""
        waits = sorted(intervals(self.deltas))
        return {
            "first_byte": self.first_byte,
            "first_content": self.first_content,
            "first_released": self.first_released,
            "total": self.total,
            "deltas": None if self.total is None else len(self.deltas),
            "inter_token_p50": percentile(waits, 50),
            "inter_token_p95": percentile(waits, 95),
            "inter_token_p99": percentile(waits, 99),
            "inter_token_max": waits[-1] if waits else None,
            "tokens": self.tokens,
            "tokens_per_second": self.tokens_per_second,
        }


class StreamEnd(EventBase, frozen=True, gc=False, eq=False):
    """The last event of every stream, with the end reason.

    `completed` requires the end evidence of the provider's format. A stream that stopped without it is `truncated`; one with an
    unrecognized finish reason is `unknown`. `saw_done`: whether the end marker arrived. `open_choices`: the choices that never
    received a finish reason.

    `provider_reason` is the provider's value that `reason` was derived from, `None` if `reason` has another origin. With several
    choices it is the value of the first choice with this reason; for an error that the provider reported, its code, or else its
    type; for a prompt that Gemini blocked, the block reason. It is excluded from comparison, so that the same answer has an
    equal end in every dialect.
    """

    reason: EndReason
    saw_done: bool = False
    open_choices: tuple[int, ...] = ()
    provider_reason: str | None = None

    def _values(self) -> tuple[Any, ...]:
        return self.reason, self.saw_done, self.open_choices

    def __rich_repr__(self) -> Any:
        shown = super().__rich_repr__()
        yield from (pair for pair in shown if pair != ("provider_reason", None))


Event: TypeAlias = (
    ResponseStart
    | RoleDelta
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | AudioDelta
    | Annotation
    | Logprobs
    | Finish
    | Usage
    | TokenCount
    | UsageReport
    | Flagged
    | Redacted
    | Blocked
    | Retracted
    | HoldExceeded
    | ModerationReport
    | Checked
    | PartStart
    | PartEnd
    | PartDelta
    | ResponseDetails
    | ProviderNotice
    | Reset
    | Skipped
    | ToolOutput
    | TurnEnd
    | PartialOutput
    | StructuredOutput
    | InvalidOutput
    | Timings
    | Completion
    | StreamEnd
)

CONTENT = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, AudioDelta, PartDelta)
"""The events that are content of the answer."""

__all__ = [
    "CONTENT",
    "Annotation",
    "AudioDelta",
    "Blocked",
    "Channel",
    "CheckOutcome",
    "Checked",
    "Choice",
    "Completion",
    "EndReason",
    "Event",
    "Finish",
    "Flagged",
    "HoldExceeded",
    "InvalidOutput",
    "Json",
    "Logprobs",
    "ModerationReport",
    "Part",
    "PartChannel",
    "PartDelta",
    "PartEnd",
    "PartStart",
    "PartialOutput",
    "ProviderNotice",
    "ReasoningDelta",
    "Redacted",
    "RefusalDelta",
    "Reset",
    "ResponseDetails",
    "ResponseStart",
    "Retracted",
    "RoleDelta",
    "Skipped",
    "StreamEnd",
    "StructuredOutput",
    "TextDelta",
    "Timings",
    "TokenCount",
    "ToolCall",
    "ToolCallDelta",
    "ToolOutput",
    "TurnEnd",
    "Usage",
    "UsageReport",
    "Verdict",
    "VerdictAction",
    "VerdictSource",
]


def __dir__() -> list[str]:
    return sorted(__all__)
