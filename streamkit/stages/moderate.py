"""What may leave: text is held while it could still become part of what a rule forbids, and not a character longer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    Event,
    Finish,
    Flagged,
    Logprobs,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.moderation.hold import Hold, Released
from streamkit.moderation.rules import Live, Rule, as_rules
from streamkit.stage import Stage

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
_CHANNELS: dict[type, Channel] = {TextDelta: "content", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
_DELTAS: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
_VERDICTS: dict[str, type[Flagged | Redacted | Blocked]] = {
    "annotate": Flagged,
    "redact": Redacted,
    "replace": Blocked,
    "block": Blocked,
    "stop": Blocked,
}
_OF_A_CHOICE = (*_CHANNELS, ToolCallDelta, AudioDelta, Annotation, Logprobs, Finish)


@dataclass
class Moderate(Stage[Event, Event]):
    """Apply rules to the text of each choice, held back so that no part of a forbidden match is released before the decision.

    A match gives `Flagged`, `Redacted` or `Blocked`. A choice that is blocked ends with `Finish("content_filter")`; when
    `choices` of them (the request's `n`) are blocked, the source is closed and the stream ends with `StreamEnd("moderated")`.
    The channels named in `channels` are moderated, each by itself; tool calls and everything else are exempt and pass.

    What leaves has no `raw`, for a chunk may hold more than was released of it. `Logprobs` spell the text out: they come at
    the end, and not at all for a choice in which something was redacted. A stream that is cancelled or fails does not
    release what was held.
    """

    rules: Rule | Live | Iterable[Rule]
    channels: tuple[Channel, ...] = ("content", "reasoning", "refusal")
    choices: int = 1
    _holds: dict[tuple[int, Channel], Hold] = field(
        default_factory=dict[tuple[int, Channel], Hold], init=False, repr=False
    )
    _finishes: dict[int, Event] = field(default_factory=dict[int, Event], init=False, repr=False)
    _logprobs: list[Logprobs] = field(default_factory=list[Logprobs], init=False, repr=False)
    _altered: set[int] = field(default_factory=set[int], init=False, repr=False)
    _blocked: set[int] = field(default_factory=set[int], init=False, repr=False)
    _now: tuple[Rule, ...] = field(default=(), init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.rules, Live):
            self.rules = as_rules(self.rules)
        self._now = as_rules(self.rules)  # a run keeps the rules that it began with
        Hold(self._now)  # a bad pattern is this program's mistake, and shows when the stage is made
        for channel in self.channels:
            if channel not in _DELTAS:
                raise PipelineError(
                    f"expected channels of {', '.join(_DELTAS)}; found {channel!r}, which is not moderated"
                )

    @property
    def held(self) -> int:
        """Characters that wait for a decision now."""
        return sum(hold.held for hold in self._holds.values())

    def feed(self, item: Event) -> Iterable[Event]:
        if self.done:
            return ()
        match item:
            case StreamEnd():
                return self._conclude(item)
            case _ if isinstance(item, _OF_A_CHOICE) and getattr(item, "index", None) in self._blocked:
                return ()
            case TextDelta() | ReasoningDelta() | RefusalDelta() if _CHANNELS[type(item)] in self.channels:
                return self._text(item)
            case Finish(index=index):
                return self._finish(index, _bare(item))
            case Logprobs():
                self._logprobs.append(msgspec.structs.replace(item, payload=None))
                return ()
            case _:
                return (_bare(item),)

    def flush(self) -> Iterable[Event]:
        return () if self.done or self._ended else self._rest()

    def _text(self, delta: Delta) -> Iterable[Event]:
        index, channel = delta.index, _CHANNELS[type(delta)]
        hold = self._holds.get((index, channel))
        if hold is None:
            hold = self._holds[index, channel] = Hold(self._rules(channel))
        return self._events(hold.feed(delta.text), channel, index)

    def _rules(self, channel: Channel) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._now if rule.channels is None or channel in rule.channels)

    def _events(self, released: list[Released], channel: Channel, index: int) -> Iterable[Event]:
        for piece in released:
            if piece.rule:
                verdict = _VERDICTS[piece.rule.action](piece.rule.category, piece.start, piece.end, channel, index)
                yield verdict
                if not isinstance(verdict, Flagged):
                    self._altered.add(index)
                if isinstance(verdict, Blocked):
                    if piece.text:
                        yield _DELTAS[channel](piece.text, index)
                    yield from self._block(index)
                    return
            if piece.text:
                yield _DELTAS[channel](piece.text, index)

    def _finish(self, index: int, finish: Event) -> Iterable[Event]:
        self._finishes.pop(index, None)
        if not any(hold.held for (choice, _), hold in self._holds.items() if choice == index):
            return (finish,)
        # More text may come after a finish reason; what it would complete must not have left.
        self._finishes[index] = finish
        return ()

    def _block(self, index: int) -> Iterable[Event]:
        self._blocked.add(index)
        self._finishes.pop(index, None)
        self._holds = {key: hold for key, hold in self._holds.items() if key[0] != index}
        yield Finish("content_filter", index)
        if len(self._blocked) >= self.choices:
            self.done = True
            yield StreamEnd("moderated")

    def _conclude(self, end: StreamEnd) -> Iterable[Event]:
        self._ended = True
        if end.reason == "provider_error":
            return (end,)
        rest = self._rest()
        if self.done:
            return rest
        return [*rest, StreamEnd("moderated", end.saw_done) if self._blocked else end]

    def _rest(self) -> list[Event]:
        rest: list[Event] = []
        for (index, channel), hold in self._holds.items():
            if index not in self._blocked:
                rest += self._events(hold.feed("", final=True), channel, index)
            if self.done:
                return rest
        return [*rest, *(item for item in self._logprobs if item.index not in self._altered), *self._finishes.values()]


def _bare(event: Event) -> Event:
    # The chunk that an event was taken from may hold text that waits, or that must never leave.
    return msgspec.structs.replace(event, payload=None) if getattr(event, "payload", None) is not None else event
