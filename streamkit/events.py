"""The events of a pipeline: one union of small frozen values, consumed with `match`.

Every event that belongs to one of several answers (`n` > 1) carries that choice's `index`. Offsets and lengths are in code
points. `event.raw` is the provider's own chunk that the event was taken from, decoded when asked for.

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
from streamkit.latency import Stall, gaps, percentile, stalls


class ResponseStart(EventBase, frozen=True, gc=False, eq=False):
    """Who answers. Sent with the first chunk, and again when a later chunk says something else."""

    id: str | None = None
    """The response's id."""
    object: str | None = None
    """The provider's word for the kind of object, such as `chat.completion.chunk`."""
    created: int | float | None = None
    """When, in seconds since 1970."""
    model: str | None = None
    """The model that answered, by the provider's name."""
    system_fingerprint: str | None = None
    """OpenAI's fingerprint of the back end."""
    service_tier: str | None = None
    """The tier in which the request was processed."""


class ResponseDetails(EventBase, frozen=True, gc=False, eq=False):
    """Fields of the provider's response object beside the answer's text, of the response or, with an `index`, of one choice.

    Later ones add to earlier ones. `shape` names the dialect in which `Completion.to_dict` writes the response.
    """

    details: dict[str, Any] = {}
    """The fields, by the provider's names."""
    shape: str | None = None
    index: int | None = None


class PartStart(EventBase, frozen=True, gc=False, eq=False):
    """A part of the answer begins: a content block, an output item, a content part. Sent again where it continues after another.

    `kind` is the provider's word, `data` the structure of the part: ids, states, signatures, and in its empty form what comes
    in deltas. Deltas of `channel` belong to this part until the channel's next one starts, those of the call `tool_index` to
    the part that names it, and a `PartDelta` to the part that it names. `within` is the number of the part that this one is
    inside of.
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
    """Part `number` is complete. `data` is what is known only then, a signature or a status; it adds to the first."""

    number: int = 0
    data: dict[str, Any] = {}
    index: int = 0


class PartDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of text that part `part` has in its `data`, never empty: code, a search query, what a tool returned.

    `path` names the field of `data` that the text belongs to. With `json` it is a piece of JSON: of the field's value, or of
    the JSON in it if the field is a string. The text begins anew where a `PartStart` gives its field again, or where some of
    it comes after the `PartEnd`. What a client executes is complete with the `PartEnd`.
    """

    text: str
    channel: PartChannel = "other"
    """The kind of text."""
    part: int = 0
    path: tuple[str, ...] = ()
    json: bool = False
    index: int = 0


class RoleDelta(EventBase, frozen=True, gc=False, eq=False):
    """The author's role of one choice; sent when it is first given, and when it changes."""

    role: str
    """Mostly `assistant`."""
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
    """A piece of a tool call: number `tool_index` of choice `index`. What was not sent is `None`, `arguments` empty.

    `id`, `name` and `type` come with the first piece, or in pieces, or again with every one: `Identity` merges them. A call that
    is complete and has no arguments has the arguments `{}`.
    """

    tool_index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    index: int = 0
    type: str | None = None


class AudioDelta(EventBase, frozen=True, gc=False, eq=False):
    """A piece of spoken answer: base64 data, its transcript, or both."""

    data: str | None = None
    """Base64."""
    transcript: str | None = None
    """The piece of the transcript."""
    id: str | None = None
    """The provider's id of the sound."""
    expires_at: int | None = None
    """When the provider forgets the sound, in seconds since 1970."""
    index: int = 0


class Annotation(EventBase, frozen=True, gc=False, eq=False):
    """A citation or another note on the text, as the provider sent it. `part` is the number of the part that it is of."""

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
    """One choice has ended. `finish_reason` is the provider's word."""

    finish_reason: str
    index: int = 0


class TokenCount(EventBase, frozen=True, gc=False, eq=False):
    """Tokens counted here in the text that passed, by `encoding`: one channel of one choice.

    In `tool_arguments` it is those of call `tool_index`. `exact` is false where the model's encoding is not known and another
    stands in for it.
    """

    tokens: int
    """So far."""
    channel: Channel = "content"
    """The channel that was counted."""
    index: int = 0
    encoding: str = ""
    exact: bool = True
    tool_index: int | None = None


class UsageReport(EventBase, frozen=True, gc=False, eq=False):
    """The usage of a stream, as the provider reports it and as it was counted here, side by side. `None` is unknown, never zero.

    `source` is where the three figures are from: `provider`; `local`, counted here, where the provider reported nothing;
    `partial`, what is known of an answer that did not come to its own end (the provider may have generated and billed more): the
    larger of what came and of what the provider had reported until then.

    `cached_tokens` and `cache_write_tokens` of the prompt were served and stored by a cache, `reasoning_tokens` are part of the
    completion. `counted` are the tokens of all text that passed here, `exact` whether that is by the model's own encoding.
    `difference` is the provider's completion tokens less `counted`, and less the `reasoning_tokens` where no reasoning was to be
    seen; what is left is mostly the token that ends an answer. `cost` is by your prices, in `currency`; `provider_cost` is the
    charge that the provider itself reports, mostly in US dollars. `name` is that of the `Count`.

    Of several responses in one stream, such as the turns of an agent, every figure is the sum; see `streamkit.tokens.responses`.
    """

    source: Literal["provider", "local", "partial"]
    prompt_tokens: int | None = None
    """Tokens of the prompt."""
    completion_tokens: int | None = None
    """Tokens of the completion."""
    total_tokens: int | None = None
    """Their sum, as reported."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    counted: int = 0
    counted_prompt: int | None = None
    """The prompt as counted here, if `Count` was given it."""
    exact: bool = True
    difference: int | None = None
    provider: Usage | None = None
    cost: Decimal | None = None
    currency: str | None = None
    model: str | None = None
    """The model that answered, by which the prices were found."""
    name: str = ""
    cache_write_tokens: int | None = None
    provider_cost: Decimal | None = None


class _Decided(EventBase, frozen=True, gc=False, eq=False):
    # `start` and `end` count in the channel's original text; in `tool_arguments` that is the JSON with its escapes decoded.
    # A verdict of the provider's that has no place is about the text so far.
    category: str
    """The rule's or the classifier's category."""
    start: int
    """Where the text begins, in code points of the channel's original text."""
    end: int
    """Where it ends."""
    channel: Channel = "content"
    """The channel that the text is in."""
    index: int = 0
    severity: str | None = None
    """That of the rule or the decision, if it has one."""
    tool_index: int | None = None
    """The call, in the channels of tool calls."""
    source: VerdictSource = "rules"
    """Who decided."""
    action: VerdictAction = "annotate"
    """The decision."""

    @property
    def verdict(self) -> Verdict:
        """The decision without the choice that it belongs to."""
        place = (self.start, self.end, self.channel)
        return Verdict(self.action, self.category, *place, self.severity, self.tool_index, self.source)


class Flagged(_Decided, frozen=True, gc=False, eq=False):
    """A rule or a classifier flagged text that is released. `start` and `end` count in the channel's original text."""


class Redacted(_Decided, frozen=True, gc=False, eq=False):
    """Other text was released in the place of this; with the action `replace`, also in that of all that follows in this
    channel. The text itself is in no event.

    Matches that overlap are replaced together: the first is reported when it is decided, and then once what the others add.
    """

    action: VerdictAction = "redact"


class Blocked(_Decided, frozen=True, gc=False, eq=False):
    """Nothing more of this choice is released; with the action `stop`, of any choice."""

    action: VerdictAction = "block"


class Retracted(EventBase, frozen=True, gc=False, eq=False):
    """Text that was released already is taken back: `replacement` should stand in its place. Follows the verdict.

    `start` and `end` count in the channel's original text, `released_start` and `released_end` in all that was released of
    the channel before this event, as it came: earlier retractions don't move them.
    """

    category: str
    """That of the verdict."""
    start: int
    end: int
    released_start: int
    released_end: int
    channel: Channel = "content"
    index: int = 0
    replacement: str = ""


class HoldExceeded(EventBase, frozen=True, gc=False, eq=False):
    """The moderation buffer exceeded `max_hold_chars` or `max_hold_seconds`. With `release` the text `start:end` is released
    undecided."""

    limit: Literal["characters", "seconds"]
    """Which of the two was exceeded."""
    action: Literal["release", "block"]
    """The consequence."""
    start: int
    end: int
    channel: Channel = "content"
    """The channel that was buffered."""
    index: int = 0
    tool_index: int | None = None
    """The call, in the channels of tool calls."""


class Checked(EventBase, frozen=True, gc=False, eq=False):
    """The outcome for one window of text that was given to a classifier.

    `passed` and `flagged` windows were classified. A `skipped` one contains only white space, and the classifier was not
    called. A `failed_open` one was released and a `failed_closed` one blocked without a decision; `failure` is the kind of
    failure. `scores` are the classifier's. `calls` were made and took `seconds`; the first character was buffered for `held`
    seconds; neither time is compared. `context` counts characters of earlier text that were sent again.
    """

    outcome: CheckOutcome
    """The outcome for the window."""
    start: int
    """Where the window begins, in code points of the channel's text."""
    end: int
    """Where it ends."""
    channel: Channel = "content"
    """The channel of the window."""
    index: int = 0
    category: str = ""
    """That of the decision; empty if it has none."""
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
    """Something the provider said beside the answer: a filter's verdict, a ping, an event of a kind not known here.

    `conflict`: a text that was streamed came again as a whole, and is another one. `data` names the channel, and neither text.
    """

    kind: str
    """The kind: `ping`, the name of an event, or of a filter."""
    data: Any = None
    index: int | None = None


class Skipped(EventBase, frozen=True, gc=False, eq=False):
    """The function of a `ConcurrentMap` failed for an item of class `item`, which is left out. `error` is the exception's class.

    Nothing of the item or of the exception's message is in it. `attempts` is how many times the function was called.
    """

    item: str
    error: str
    attempts: int = 1


class ToolOutput(EventBase, frozen=True, eq=False):
    """The result of a tool call in `hops.converse`: text or JSON-compatible data; if it `failed`, a description of the error."""

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
    """Turn `number`, from 1, of a `hops.converse` has ended for that reason, and its `calls` were executed.

    `usage` is the provider's usage of all turns so far together; `None` is unknown.
    """

    number: int
    reason: EndReason
    calls: int = 0
    usage: Usage | None = None


class Reset(EventBase, frozen=True, gc=False, eq=False):
    """All that came before is void: the answer begins anew, from another source. `cause` says why, without any text of it."""

    cause: str


class PartialOutput(EventBase, frozen=True, gc=False, eq=False):
    """The JSON of structured output, or of the arguments of tool call `tool_index`, as far as it has come.

    `complete` says that the JSON is whole; that the answer is, says a `StructuredOutput`. Don't change the value.
    """

    value: Any
    """The value as far as it has come."""
    complete: bool = False
    tool_index: int | None = None
    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The tool's name."""
    index: int = 0


class StructuredOutput(EventBase, frozen=True, eq=False):
    """The whole value, as the type that was asked for. With a `tool_index` it is the arguments of the tool `name`."""

    value: Any
    """The object."""
    tool_index: int | None = None
    id: str | None = None
    """The call's id."""
    name: str | None = None
    index: int = 0


class InvalidOutput(EventBase, frozen=True, gc=False, eq=False):
    """Structured output that can't be given, and why: `path` is the place in the value, `detail` quotes none of it.

    `truncated` is an answer that was cut short, `missing` one without any JSON, as a refusal is, `malformed` one that is no
    JSON, `invalid` does not fit the type, and `limit` is too long or too deep.
    """

    problem: OutputProblem
    """The problem."""
    path: str = "$"
    detail: str = ""
    tool_index: int | None = None
    """The tool call whose arguments they are; `None` for the text."""
    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The tool's name."""
    index: int = 0


class Timings(EventBase, frozen=True, gc=False, eq=False):
    """When things came, in seconds since the stream was opened. `None` is what never came or is unknown: for a source without
    times, such as the body of an answer in a file, `total` is `None` too, and `deltas` is empty.

    `first_content` is when content of the answer arrived, also if a stage such as `Moderate` held it back. `deltas` has the
    time at which every piece of content, reasoning, refusal or tool call left; all pieces of one network read came at one
    time, so that the gaps between them are zero. `tokens` are those of the answer by the provider's usage, else as
    `Count` found them, as in a `UsageReport`; `hidden_tokens` of them were for reasoning that was not shown.
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
        """When the first delta left; later than `first_content` by as long as it was held."""
        return self.deltas[0] if self.deltas else None

    def gap(self, percent: float) -> float | None:
        """The wait between two deltas that `percent` of them do not exceed, 50 being the median and 100 the longest.

        Interpolated linearly between the two closest ranks, as numpy does. `None` with fewer than two deltas.
        """
        return percentile(gaps(self.deltas), percent)

    def stalls(self, seconds: float = 1.0) -> list[Stall]:
        """The waits between two deltas that were longer than `seconds`. The wait for the first is none of them."""
        return stalls(self.deltas, seconds)

    @property
    def tokens_per_second(self) -> float | None:
        """The tokens after the first, by the time from the first content to the last delta: the wait for it does not count.

        Nor does reasoning that was not shown, which fell into that wait. `None` where the tokens are not known, or where
        everything came at once, as without streaming.
        """
        if self.tokens is None or self.first_content is None or not self.deltas:
            return None
        seconds, tokens = self.deltas[-1] - self.first_content, self.tokens - self.hidden_tokens - 1
        return tokens / seconds if seconds > 0 and tokens > 0 else None

    def to_dict(self) -> dict[str, float | int | None]:
        """The figures by their names, ready for JSON and for a log; without the single deltas. What is unknown is `None`."""
        waits = sorted(gaps(self.deltas))
        return {
            "first_byte": self.first_byte,
            "first_content": self.first_content,
            "first_released": self.first_released,
            "total": self.total,
            "deltas": None if self.total is None else len(self.deltas),
            "gap_p50": percentile(waits, 50),
            "gap_p95": percentile(waits, 95),
            "gap_p99": percentile(waits, 99),
            "gap_max": waits[-1] if waits else None,
            "tokens": self.tokens,
            "tokens_per_second": self.tokens_per_second,
        }


class StreamEnd(EventBase, frozen=True, gc=False, eq=False):
    """The last event of every stream, and why it is the last.

    `completed` needs the terminal evidence of the provider's format; a stream that simply stopped is `truncated`, and one that
    ended in a word that is not known is `unknown`. `saw_done`: whether the end marker arrived; `open_choices`: which choices
    never got a finish reason.

    `provider_reason` is the provider's word that `reason` was made of, and `None` where it came from elsewhere. Of several
    choices it is that of the first with this reason; of an error that the provider reported, its code, or else its type; of a
    prompt that Gemini blocked, the reason for that. It is not compared, so that one answer ends the same in every dialect.
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
"""The events that are part of the answer itself."""

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
