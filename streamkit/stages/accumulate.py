"""Events into the response that would have come without streaming."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Choice,
    Completion,
    EndReason,
    Event,
    Finish,
    Flagged,
    Logprobs,
    ModerationReport,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    ResponseStart,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    Verdict,
)
from streamkit.stage import Stage

_IDENTITY = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


class _Call:
    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.type: str | None = None
        self.arguments: list[str] = []


class _Parts:
    # What one choice has gathered so far; texts stay in pieces until someone looks.
    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.role: str | None = None
        self.finish: str | None = None
        self.logprobs: dict[str, Any] | None = None
        self.annotations: list[dict[str, Any]] = []
        self.audio: dict[str, Any] = {}
        self.verdicts: list[Verdict] = []


@dataclass
class Accumulate(Stage[Event, Event]):
    """Pass every event on, and put a `Completion` before the `StreamEnd`.

    `snapshot` is the completion so far, at any time; on a running stream ask `stream.stage(Accumulate).snapshot`.
    Identity (ids, model, the name of a tool) is set once; what a later chunk says instead is in `Completion.conflicts`.
    """

    _choices: dict[int, _Parts] = field(default_factory=dict[int, _Parts], init=False, repr=False)
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _conflicts: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _usage: Usage | None = field(default=None, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)
    _moderation: ModerationReport | None = field(default=None, init=False, repr=False)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        choices = self._choices
        for event in items:
            if type(event) is TextDelta:
                parts = choices.get(event.index)
                if parts is None:
                    parts = choices[event.index] = _Parts()
                parts.text.append(event.text)
            else:
                self._take(event)
        if self._end is None or type(items[-1]) is not StreamEnd:
            return items
        return [*items[:-1], self.snapshot, items[-1]]

    def flush(self) -> Iterable[Event]:
        # Events that came without an `Extract` before them have no `StreamEnd`.
        return () if self._end else (self.snapshot,)

    @property
    def snapshot(self) -> Completion:
        """The completion so far. Costs one join of the pieces."""
        return Completion(
            tuple(_choice(index, parts) for index, parts in sorted(self._choices.items())),
            self._usage,
            end=self._end,
            conflicts=dict(self._conflicts),
            moderation=self._moderation,
            **self._identity,
        )

    def _take(self, event: Event) -> None:
        match event:
            case ToolCallDelta():
                self._call(event)
            case ReasoningDelta(text=text, index=index):
                self._parts(index).reasoning.append(text)
            case RefusalDelta(text=text, index=index):
                self._parts(index).refusal.append(text)
            case Finish(reason=reason, index=index):
                self._parts(index).finish = reason
            case RoleDelta(role=role, index=index):
                self._parts(index).role = role
            case Logprobs(logprobs=logprobs, index=index):
                parts = self._parts(index)
                parts.logprobs = _longer(parts.logprobs or {}, logprobs)
            case Annotation(annotation=annotation, index=index):
                self._parts(index).annotations.append(annotation)
            case AudioDelta(index=index):
                _hear(self._parts(index).audio, event)
            case Flagged(index=index) | Redacted(index=index) | Blocked(index=index):
                self._parts(index).verdicts.append(event.verdict)
            case ModerationReport():
                self._moderation = event
            case Usage():
                self._usage = event
            case ResponseStart():
                self._identify(event)
            case StreamEnd(reason=reason):
                self._end = reason
            case _:
                pass

    def _parts(self, index: int) -> _Parts:
        parts = self._choices.get(index)
        if parts is None:
            parts = self._choices[index] = _Parts()
        return parts

    def _identify(self, event: ResponseStart) -> None:
        for name in _IDENTITY:
            self._set_once(self._identity, name, getattr(event, name), name)

    def _call(self, event: ToolCallDelta) -> None:
        calls = self._parts(event.index).calls
        call = calls.get(event.tool_index)
        if call is None:
            call = calls[event.tool_index] = _Call()
        if event.arguments:
            call.arguments.append(event.arguments)
        if event.id or event.name or event.type:
            for name in ("id", "name", "type"):
                path = f"choices[{event.index}].tool_calls[{event.tool_index}].{name}"
                self._set_once(vars(call), name, getattr(event, name), path)

    def _set_once(self, known: dict[str, Any], name: str, value: Any, path: str) -> None:
        if not known.get(name):
            known[name] = value
        elif value and known[name] != value:
            self._conflicts[path] = value


def _choice(index: int, parts: _Parts) -> Choice:
    spoke = parts.text or not (parts.calls or parts.refusal or parts.audio)
    return Choice(
        index,
        "".join(parts.text) if spoke else None,
        parts.finish,
        "".join(parts.refusal) if parts.refusal else None,
        "".join(parts.reasoning) if parts.reasoning else None,
        tuple(
            ToolCall(call.id, call.name, "".join(call.arguments), number, call.type or "function")
            for number, call in sorted(parts.calls.items())
        ),
        parts.role,
        _longer({}, parts.logprobs) if parts.logprobs else None,
        tuple(parts.annotations),
        dict(parts.audio) if parts.audio else None,
        tuple(parts.verdicts),
    )


def _longer(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    # Both APIs send lists that belong end to end: `content` and `refusal`, or `tokens`, `token_logprobs`, ….
    for name, value in more.items():
        if isinstance(value, list) and isinstance(known.get(name), list):
            known[name].extend(value)
        elif value is not None or name not in known:
            known[name] = list(cast(list[Any], value)) if isinstance(value, list) else value
    return known


def _hear(known: dict[str, Any], audio: AudioDelta) -> None:
    # https://platform.openai.com/docs/api-reference/chat-streaming: data and transcript come in pieces.
    for name in ("data", "transcript"):
        if piece := getattr(audio, name):
            known[name] = known.get(name, "") + piece
    for name in ("id", "expires_at"):
        if (value := getattr(audio, name)) is not None:
            known.setdefault(name, value)
