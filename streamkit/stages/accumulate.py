"""Assemble events into the non-streaming response."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import msgspec

from streamkit.core.stage import Stage
from streamkit.dialects.part_data import PartData
from streamkit.dialects.tool_identity import Identity
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    Choice,
    Completion,
    EndReason,
    Event,
    Finish,
    Flagged,
    Logprobs,
    ModerationReport,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Reset,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Verdict,
)
from streamkit.tokens.responses import RELEVANT, Responses

_IDENTITY = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


class _AccumulatedCall(msgspec.Struct):
    identity: Identity = msgspec.field(default_factory=Identity)
    arguments: list[str] = []


class _Mark(msgspec.Struct):
    # The text of a channel belongs to part `number` from piece `at` on.
    channel: Channel
    number: int
    at: int


class _AccumulatedPart(PartData, kw_only=True):
    kind: str
    channel: Channel | None = None
    tool_index: int | None = None
    within: int | None = None
    annotations: list[dict[str, Any]] = msgspec.field(default_factory=list[dict[str, Any]])
    logprobs: dict[str, Any] | None = None


class _Gathered(msgspec.Struct):
    # The state of one choice. Texts are kept as pieces until `snapshot` joins them.
    text: list[str] = []
    reasoning: list[str] = []
    refusal: list[str] = []
    calls: dict[int, _AccumulatedCall] = {}
    role: str | None = None
    finish: str | None = None
    logprobs: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] = []
    audio: dict[str, Any] = {}
    audio_pieces: dict[str, list[str]] = {}
    parts: dict[int, _AccumulatedPart] = {}
    marks: list[_Mark] = []
    details: dict[str, Any] = {}
    verdicts: list[Verdict] = []

    def pieces(self, channel: Channel) -> list[str]:
        return {"content": self.text, "reasoning": self.reasoning, "refusal": self.refusal}.get(channel, [])


@dataclass
class Accumulate(Stage[Event, Event]):
    """Pass every event through, and emit a `Completion` before the `StreamEnd`.

    `snapshot` is the completion so far; for a running stream use `stream.stage(Accumulate).snapshot`. The identity (ids, model)
    is set once; differing values of later chunks are in `Completion.conflicts`. The id and name of a tool call may arrive in
    pieces or with every chunk. `Completion.usage` is the latest usage, or for several responses in one stream the sum
    (`streamkit.tokens.responses`).

    `max_chars` limits the text of all choices together, including reasoning, audio and the text of parts, in code points;
    `max_tool_chars` limits the arguments of all tool calls. The event that exceeds a limit and all later ones are discarded, the
    source is closed, and the stream ends with the completion so far and `StreamEnd("limit")`.
    """

    max_chars: int | None = None
    max_tool_chars: int | None = None
    completes = True
    assembles = True
    emits_result = True
    _choices: dict[int, _Gathered] = field(default_factory=dict[int, _Gathered], init=False, repr=False)
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _conflicts: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _shape: str | None = field(default=None, init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)
    _moderation: ModerationReport | None = field(default=None, init=False, repr=False)
    _chars: int = field(default=0, init=False, repr=False)
    _tool_chars: int = field(default=0, init=False, repr=False)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        if self.max_chars is not None or self.max_tool_chars is not None:
            within = self._within_limits(items)
            if within < len(items):
                return self._stop(items[:within])
        choices, responses = self._choices, self._responses
        quick = responses.announced is None
        for event in items:
            if type(event) is TextDelta and quick:
                gathered = choices.get(event.index)
                if gathered is None:
                    gathered = choices[event.index] = _Gathered()
                gathered.text.append(event.text)
            elif type(event) is ToolCallDelta and quick:
                self._call(event)
            else:
                self._take(event)
                quick = responses.announced is None
        if self._end is None or not items or type(items[-1]) is not StreamEnd:
            return items
        return [*items[:-1], self.snapshot, items[-1]]

    def flush(self) -> Iterable[Event]:
        # Without an `Extract` before this stage there may be no `StreamEnd`.
        return () if self._end else (self.snapshot,)

    @property
    def snapshot(self) -> Completion:
        """The completion so far. Each access joins the pieces of text."""
        return Completion(
            tuple(_choice(index, gathered) for index, gathered in sorted(self._choices.items())),
            self._responses.usage,
            end=self._end,
            conflicts=dict(self._conflicts),
            moderation=self._moderation,
            shape=self._shape,
            details=dict(self._details),
            **self._identity,
        )

    def _within_limits(self, items: list[Event]) -> int:
        """The number of events before the first one that exceeds a limit."""
        for at, event in enumerate(items):
            match event:
                case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text) | PartDelta(text=text):
                    self._chars += len(text)
                case AudioDelta(data=data, transcript=transcript):
                    self._chars += len(data or "") + len(transcript or "")
                case ToolCallDelta(arguments=arguments):
                    self._tool_chars += len(arguments)
                case Reset():
                    self._chars = self._tool_chars = 0
                case _:
                    continue
            if _over(self._chars, self.max_chars) or _over(self._tool_chars, self.max_tool_chars):
                return at
        return len(items)

    def _stop(self, items: list[Event]) -> list[Event]:
        if self.done:
            return []
        for event in items:
            self._take(event)
        self.done, self._end = True, "limit"
        unfinished = tuple(sorted(index for index, gathered in self._choices.items() if gathered.finish is None))
        return [*items, self.snapshot, StreamEnd("limit", open_choices=unfinished)]

    def _take(self, event: Event) -> None:
        if type(event) in RELEVANT or self._responses.announced:
            self._responses.take(event)
        match event:
            case TextDelta(text=text, index=index):
                self._of(index).text.append(text)
            case ToolCallDelta():
                self._call(event)
            case ReasoningDelta(text=text, index=index):
                self._of(index).reasoning.append(text)
            case RefusalDelta(text=text, index=index):
                self._of(index).refusal.append(text)
            case Finish(finish_reason=reason, index=index):
                self._of(index).finish = reason
            case RoleDelta(role=role, index=index):
                self._of(index).role = role
            case Logprobs(logprobs=logprobs, index=index, part=number):
                gathered = self._of(index)
                gathered.logprobs = _longer(gathered.logprobs or {}, logprobs)
                if number is not None and (part := gathered.parts.get(number)):
                    part.logprobs = _longer(part.logprobs or {}, logprobs)
            case Annotation(annotation=annotation, index=index, part=number):
                gathered = self._of(index)
                gathered.annotations.append(annotation)
                if number is not None and (part := gathered.parts.get(number)):
                    part.annotations.append(annotation)
            case AudioDelta(index=index):
                _add_audio(self._of(index), event)
            case Flagged(index=index) | Redacted(index=index) | Blocked(index=index):
                self._of(index).verdicts.append(event.verdict)
            case ModerationReport():
                self._moderation = event
            case ResponseStart():
                self._identify(event)
            case PartStart(index=index):
                _start_part(self._of(index), event)
            case PartEnd(number=number, data=data, index=index):
                if part := self._of(index).parts.get(number):
                    part.end(data)
            case PartDelta(part=number, index=index):
                if part := self._of(index).parts.get(number):
                    part.write(event)
            case ResponseDetails():
                self._detail(event)
            case Reset():
                self._discard()
            case StreamEnd(reason=reason):
                self._end = reason
            case _:
                pass

    def _discard(self) -> None:
        # Another source has taken over, so the identity and all content are discarded.
        for known in (self._choices, self._identity, self._conflicts, self._details):
            known.clear()
        self._shape = self._moderation = None

    def _of(self, index: int) -> _Gathered:
        gathered = self._choices.get(index)
        if gathered is None:
            gathered = self._choices[index] = _Gathered()
        return gathered

    def _identify(self, event: ResponseStart) -> None:
        if not self._identity:
            self._identity = {name: getattr(event, name) for name in _IDENTITY}
            return
        for name in _IDENTITY:
            self._identity[name] = self._once(self._identity.get(name), getattr(event, name), name)

    def _detail(self, event: ResponseDetails) -> None:
        self._shape = self._shape or event.shape
        if event.index is None:
            self._details |= event.details
        else:
            self._of(event.index).details |= event.details

    def _call(self, event: ToolCallDelta) -> None:
        calls = self._of(event.index).calls
        call = calls.get(event.tool_index)
        if call is None:
            call = calls[event.tool_index] = _AccumulatedCall()
        if event.arguments:
            call.arguments.append(event.arguments)
        if event.id or event.name or event.type:
            _, conflicts = call.identity.merge(event)
            for name, value in conflicts.items():
                self._conflicts[f"choices[{event.index}].tool_calls[{event.tool_index}].{name}"] = value

    def _once(self, known: Any, value: Any, path: str) -> Any:
        if known and value and known != value:
            self._conflicts[path] = value
        return known or value


def _over(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit


def _start_part(gathered: _Gathered, event: PartStart) -> None:
    if part := gathered.parts.get(event.number):
        part.add(event.data)
    else:
        gathered.parts[event.number] = _AccumulatedPart(
            data=dict(event.data),
            kind=event.kind,
            channel=event.channel,
            tool_index=event.tool_index,
            within=event.within,
        )
    if event.channel:
        gathered.marks.append(_Mark(event.channel, event.number, len(gathered.pieces(event.channel))))


def _choice(index: int, gathered: _Gathered) -> Choice:
    return Choice(
        index,
        "".join(gathered.text) if gathered.text else None,
        gathered.finish,
        "".join(gathered.refusal) if gathered.refusal else None,
        "".join(gathered.reasoning) if gathered.reasoning else None,
        tuple(_tool_call(number, call) for number, call in sorted(gathered.calls.items())),
        gathered.role,
        _longer({}, gathered.logprobs) if gathered.logprobs else None,
        tuple(gathered.annotations),
        {**gathered.audio, **{name: "".join(pieces) for name, pieces in gathered.audio_pieces.items()}} or None,
        tuple(gathered.verdicts),
        _parts(gathered),
        dict(gathered.details),
    )


def _tool_call(number: int, call: _AccumulatedCall) -> ToolCall:
    known = call.identity
    return ToolCall(known.id, known.name, "".join(call.arguments), number, known.type or "function")


def _parts(gathered: _Gathered) -> tuple[Part, ...]:
    if not gathered.parts:
        return ()
    texts: dict[int, list[str]] = {number: [] for number in gathered.parts}
    marked: set[Channel] = {mark.channel for mark in gathered.marks}
    for channel in marked:
        pieces, marks = gathered.pieces(channel), [mark for mark in gathered.marks if mark.channel == channel]
        marks[0] = _Mark(channel, marks[0].number, 0)  # text before the first mark belongs to the first part
        for mark, following in pairwise([*marks, _Mark(channel, 0, len(pieces))]):
            texts[mark.number] += pieces[mark.at : following.at]
    return tuple(
        Part(
            part.kind,
            number,
            part.whole,
            "".join(texts[number]),
            part.channel,
            part.tool_index,
            part.within,
            tuple(part.annotations),
            _longer({}, part.logprobs) if part.logprobs else None,
        )
        for number, part in gathered.parts.items()
    )


def _longer(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    # Both APIs send lists to be concatenated: `content` and `refusal`, or `tokens`, `token_logprobs`, ….
    for name, value in more.items():
        if isinstance(value, list) and isinstance(known.get(name), list):
            known[name].extend(value)
        elif value is not None or name not in known:
            known[name] = list(cast(list[Any], value)) if isinstance(value, list) else value
    return known


def _add_audio(gathered: _Gathered, audio: AudioDelta) -> None:
    # Data and transcript arrive in pieces. (https://platform.openai.com/docs/api-reference/chat-streaming)
    for name in ("data", "transcript"):
        if piece := getattr(audio, name):
            gathered.audio.setdefault(name, "")
            gathered.audio_pieces.setdefault(name, []).append(piece)
    for name in ("id", "expires_at"):
        if (value := getattr(audio, name)) is not None:
            gathered.audio.setdefault(name, value)
