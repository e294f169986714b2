"""What a pipeline says about an answer: one union of small frozen values, consumed with `match`.

Every event that belongs to one of several answers (`n` > 1) carries that choice's `index`. Offsets and lengths are in code
points. `event.raw` is the provider's own chunk that the event was taken from, decoded when asked for.

As JSON (`msgspec.json.encode(event)`) an event is an object whose `event` names its class; `msgspec.json.decode(…, type=Event)`
reads it back.
"""

import json
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from streamkit.ends import EndReason as EndReason
from streamkit.errors import OutputProblem
from streamkit.gaps import Stall, gaps, percentile, stalls
from streamkit.response_forms import CHAT, write

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
PartChannel: TypeAlias = Literal["code", "tool_input", "tool_output", "other"]
"""What text of a part can be: a program or a command, the input of a provider's tool, its output, or anything else."""
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
"""What a verdict comes from; `too_long` and `timeout` are of a rule that could not decide within its bounds."""
CheckOutcome: TypeAlias = Literal["passed", "flagged", "failed_open", "failed_closed", "skipped"]


def _integer(digits: str) -> int | float:
    # Python converts 4,300 digits; a longer number is what it is for readers whose numbers are all of 64 bits.
    try:
        return int(digits)
    except ValueError:
        return float(digits)


class _Event(
    msgspec.Struct, frozen=True, gc=False, eq=False, kw_only=True, tag=True, tag_field="event", omit_defaults=True
):
    # The provider's JSON that the event was taken from. It is neither compared nor shown: two recordings of one answer
    # give equal events, and a log line of an event holds no more than the event.
    payload: bytes | None = None

    @property
    def raw(self) -> Json:
        """The provider's chunk, decoded anew at each call; `None` for an event that streamkit made."""
        if self.payload is None:
            return None
        raw: Json
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


class ResponseStart(_Event, frozen=True, gc=False, eq=False):
    """Who answers. Sent with the first chunk, and again when a later chunk says something else."""

    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None


class ResponseDetails(_Event, frozen=True, gc=False, eq=False):
    """What the provider's response object has beside the answer's text, of the response or, with an `index`, of one choice.

    Later ones add to earlier ones. `shape` names the dialect in which `Completion.to_dict` writes the response.
    """

    details: dict[str, Any] = {}
    shape: str | None = None
    index: int | None = None


class PartStart(_Event, frozen=True, gc=False, eq=False):
    """A part of the answer begins: a content block, an output item, a content part. Sent again where it goes on after another.

    `kind` is the provider's word, `data` the structure of the part: ids, states, signatures, and in its empty form what comes
    in deltas. Deltas of `channel` belong to this part until the channel's next one starts, those of the call `tool_index` to
    the part that names it, and a `PartDelta` to the part that it names. `within` is the number of the part that this one is
    inside of.
    """

    kind: str
    number: int = 0
    data: dict[str, Any] = {}
    channel: Channel | None = None
    tool_index: int | None = None
    within: int | None = None
    index: int = 0


class PartEnd(_Event, frozen=True, gc=False, eq=False):
    """Part `number` is complete. `data` is what is known only then, a signature or a status; it adds to the first."""

    number: int = 0
    data: dict[str, Any] = {}
    index: int = 0


class PartDelta(_Event, frozen=True, gc=False, eq=False):
    """A piece of text that part `part` has in its `data`, never empty: code, a search query, what a tool returned.

    `path` names the field of `data` that the text belongs to. With `json` it is a piece of JSON: of the field's value, or of
    the JSON in it if the field is a string. The text begins anew where a `PartStart` gives its field again, or where some of
    it comes after the `PartEnd`. What a client executes is complete with the `PartEnd`.
    """

    text: str
    channel: PartChannel = "other"
    part: int = 0
    path: tuple[str, ...] = ()
    json: bool = False
    index: int = 0


class RoleDelta(_Event, frozen=True, gc=False, eq=False):
    """The author's role of one choice; sent when it is first given, and when it changes."""

    role: str
    index: int = 0


class TextDelta(_Event, frozen=True, gc=False, eq=False):
    """A piece of the answer's text, never empty."""

    text: str
    index: int = 0


class ReasoningDelta(_Event, frozen=True, gc=False, eq=False):
    """A piece of the visible reasoning, never empty."""

    text: str
    index: int = 0


class RefusalDelta(_Event, frozen=True, gc=False, eq=False):
    """A piece of a refusal, never empty."""

    text: str
    index: int = 0


class ToolCallDelta(_Event, frozen=True, gc=False, eq=False):
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


class AudioDelta(_Event, frozen=True, gc=False, eq=False):
    """A piece of spoken answer: base64 data, its transcript, or both."""

    data: str | None = None
    transcript: str | None = None
    id: str | None = None
    expires_at: int | None = None
    index: int = 0


class Annotation(_Event, frozen=True, gc=False, eq=False):
    """A citation or another note on the text, as the provider sent it. `part` is the number of the part that it is of."""

    annotation: dict[str, Any]
    index: int = 0
    part: int | None = None


class Logprobs(_Event, frozen=True, gc=False, eq=False):
    """Log probabilities of the tokens in this chunk, as the provider sent them. `part` is the number of their part."""

    logprobs: dict[str, Any]
    index: int = 0
    part: int | None = None


class Finish(_Event, frozen=True, gc=False, eq=False):
    """One choice has ended. `reason` is the provider's word."""

    reason: str
    index: int = 0


class Usage(_Event, frozen=True, gc=False, eq=False):
    """What the response cost so far, as the provider reports it. `None` is unknown, never zero.

    `prompt_tokens` are all tokens of the input, those that a cache served or stored included, and `completion_tokens` all of the
    output, reasoning included, whatever the provider's own figures leave out. `details` is the provider's whole object. Usage is
    cumulative: the latest of a response counts. One with more `responses` is their sum, and `details` are the latest one's.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    details: dict[str, Any] = {}
    responses: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The provider's own object."""
        return dict(self.details)


class TokenCount(_Event, frozen=True, gc=False, eq=False):
    """Tokens counted here in the text that passed, by `encoding`: one channel of one choice.

    In `tool_arguments` it is those of call `tool_index`. `exact` is false where the model's encoding is not known and another
    stands in for it.
    """

    tokens: int
    channel: Channel = "content"
    index: int = 0
    encoding: str = ""
    exact: bool = True
    tool_index: int | None = None


class UsageReport(_Event, frozen=True, gc=False, eq=False):
    """What a stream cost, as the provider reports it and as it was counted here, side by side. `None` is unknown, never zero.

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
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    counted: int = 0
    counted_prompt: int | None = None
    exact: bool = True
    difference: int | None = None
    provider: Usage | None = None
    cost: Decimal | None = None
    currency: str | None = None
    model: str | None = None
    name: str = ""
    cache_write_tokens: int | None = None
    provider_cost: Decimal | None = None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What was decided about one place of a text, as `Completion` keeps it. The matched text is not in it."""

    action: VerdictAction
    category: str
    start: int
    end: int
    channel: Channel = "content"
    severity: str | None = None
    tool_index: int | None = None
    source: VerdictSource = "rules"


class _Decided(_Event, frozen=True, gc=False, eq=False):
    # `start` and `end` count in the channel's original text; in `tool_arguments` that is the JSON with its escapes decoded.
    # A verdict of the provider's that has no place is about the text so far.
    category: str
    start: int
    end: int
    channel: Channel = "content"
    index: int = 0
    severity: str | None = None
    tool_index: int | None = None
    source: VerdictSource = "rules"
    action: VerdictAction = "annotate"

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


class Retracted(_Event, frozen=True, gc=False, eq=False):
    """Text that was released already is taken back: `replacement` should stand in its place. Follows the verdict.

    `start` and `end` count in the channel's original text, `released_start` and `released_end` in all that was released of
    the channel before this event, as it came: earlier retractions don't move them.
    """

    category: str
    start: int
    end: int
    released_start: int
    released_end: int
    channel: Channel = "content"
    index: int = 0
    replacement: str = ""


class HoldExceeded(_Event, frozen=True, gc=False, eq=False):
    """The moderation buffer exceeded `max_hold_chars` or `max_hold_seconds`. With `release` the text `start:end` is released
    undecided."""

    limit: Literal["characters", "seconds"]
    action: Literal["release", "block"]
    start: int
    end: int
    channel: Channel = "content"
    index: int = 0
    tool_index: int | None = None


class ModerationReport(_Event, frozen=True, gc=False, eq=False):
    """What the moderation of a stream cost, by rules or by a classifier.

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
    deltas_held: int = 0
    characters_held: int = 0
    max_characters_held: int = 0
    seconds_held: float | None = None
    max_seconds_held: float | None = None
    stopped: bool = False
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


class Checked(_Event, frozen=True, gc=False, eq=False):
    """The outcome for one window of text that was given to a classifier.

    `passed` and `flagged` windows were classified. A `skipped` one contains only white space, and the classifier was not
    called. A `failed_open` one was released and a `failed_closed` one blocked without a decision; `failure` is the kind of
    failure. `scores` are the classifier's. `calls` were made and took `seconds`; the first character was buffered for `held`
    seconds; neither time is compared. `context` counts characters of earlier text that were sent again.
    """

    outcome: CheckOutcome
    start: int
    end: int
    channel: Channel = "content"
    index: int = 0
    category: str = ""
    scores: dict[str, float] = {}
    failure: str = ""
    calls: int = 1
    context: int = 0
    seconds: float = 0.0
    held: float = 0.0

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in _NOT_COMPARED)


_NOT_COMPARED = ("payload", "seconds", "held")


class ProviderNotice(_Event, frozen=True, gc=False, eq=False):
    """Something the provider said beside the answer: a filter's verdict, a ping, an event of a kind not known here.

    `conflict`: a text that was streamed came again as a whole, and is another one. `data` names the channel, and neither text.
    """

    kind: str
    data: Any = None
    index: int | None = None


class Reset(_Event, frozen=True, gc=False, eq=False):
    """All that came before is void: the answer begins anew, from another source. `reason` says why, without any text of it."""

    reason: str


class PartialOutput(_Event, frozen=True, gc=False, eq=False):
    """The JSON of structured output, or of the arguments of tool call `tool_index`, as far as it has come.

    `complete` says that the JSON is whole; that the answer is, says a `StructuredOutput`. Don't change the value.
    """

    value: Any
    complete: bool = False
    tool_index: int | None = None
    id: str | None = None
    name: str | None = None
    index: int = 0


class StructuredOutput(_Event, frozen=True, eq=False):
    """The whole value, as the type that was asked for. With a `tool_index` it is the arguments of the tool `name`."""

    value: Any
    tool_index: int | None = None
    id: str | None = None
    name: str | None = None
    index: int = 0


class InvalidOutput(_Event, frozen=True, gc=False, eq=False):
    """Structured output that can't be given, and why: `path` is the place in the value, `detail` quotes none of it.

    `truncated` is an answer that was cut short, `missing` one without any JSON, as a refusal is, `malformed` one that is no
    JSON, `invalid` does not fit the type, and `limit` is too long or too deep.
    """

    problem: OutputProblem
    path: str = "$"
    detail: str = ""
    tool_index: int | None = None
    id: str | None = None
    name: str | None = None
    index: int = 0


class Timings(_Event, frozen=True, gc=False, eq=False):
    """When things came, in seconds since the stream was opened. `None` is what never came or is unknown: for a source without
    times, such as the body of an answer in a file, `total` is `None` too, and `deltas` is empty.

    `first_content` is when content of the answer arrived, also if a stage such as `Moderate` held it back. `deltas` has the
    time at which every piece of content, reasoning, refusal or tool call left; all pieces of one network read came at one
    time, so that the gaps between them are zero. `tokens` are those of the answer by the provider's usage, else as
    `Count` found them, as in a `UsageReport`; `hidden_tokens` of them were for reasoning that was not shown.
    """

    first_byte: float | None
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


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """An assembled tool call. `arguments` is verbatim, also where it is no valid JSON."""

    id: str | None = None
    name: str | None = None
    arguments: str = ""
    index: int = 0
    type: str = "function"


class Part(msgspec.Struct, frozen=True):
    """One part of an assembled answer, in the provider's order: what `PartStart` and `PartEnd` said, with the text it got.

    `data` has the text of its `PartDelta`s in its fields.
    """

    kind: str
    number: int = 0
    data: dict[str, Any] = {}
    text: str = ""
    channel: Channel | None = None
    tool_index: int | None = None
    within: int | None = None
    annotations: tuple[dict[str, Any], ...] = ()
    logprobs: dict[str, Any] | None = None


class Choice(msgspec.Struct, frozen=True, eq=False):
    """One assembled answer. `content` is `None` where no text was sent, as in a call of tools; `text` is then empty.

    Behind `Moderate` it is what was released, and `verdicts` says where that is not what the provider sent. `details`, what
    the provider's choice has beside the rest, are not compared: a plain answer can have more of them.
    """

    index: int
    content: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    role: str | None = None
    logprobs: dict[str, Any] | None = None
    annotations: tuple[dict[str, Any], ...] = ()
    audio: dict[str, Any] | None = None
    verdicts: tuple[Verdict, ...] = ()
    parts: tuple[Part, ...] = ()
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


class Completion(_Event, frozen=True, eq=False):
    """The assembled response. `end` is the `StreamEnd.reason` known when it was assembled, `None` in mid-stream.

    `conflicts` names the identity fields for which a later chunk said something else, with what it said. `shape` is the
    dialect that `to_dict` writes, `details`, which are not compared, what its response has beside the rest.
    """

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    end: EndReason | None = None
    conflicts: dict[str, Any] = {}
    moderation: ModerationReport | None = None
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
        return write(self, self.shape)

    def to_openai(self) -> dict[str, Any]:
        """The response as OpenAI's chat completion, whoever sent it, so that a program can change the provider."""
        return write(self, CHAT)


class StreamEnd(_Event, frozen=True, gc=False, eq=False):
    """The last event of every stream, and why it is the last.

    `completed` needs the terminal evidence of the provider's format; a stream that simply stopped is `truncated`, and one that
    ended in a word that is not known is `unknown`. `saw_done` tells whether the end marker came, `open_choices` which choices
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
    | PartialOutput
    | StructuredOutput
    | InvalidOutput
    | Timings
    | Completion
    | StreamEnd
)

CONTENT = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, AudioDelta, PartDelta)
"""The events that are part of the answer itself."""
