"""What may leave: text is held while it could still become part of what a rule forbids, and not a character longer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from streamkit.events import (
    Blocked,
    Channel,
    Event,
    Finish,
    Flagged,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    StreamEnd,
    TextDelta,
)
from streamkit.moderation.hold import Hold, Released
from streamkit.moderation.rules import Rule, as_rules
from streamkit.stage import Stage

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
_CHANNELS: dict[type, Channel] = {TextDelta: "content", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
_DELTAS: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
_VERDICTS: dict[str, type[Flagged | Redacted | Blocked]] = {"flag": Flagged, "redact": Redacted, "block": Blocked}


@dataclass
class Moderate(Stage[Event, Event]):
    """Apply rules to the text of each choice, held back so that no part of a forbidden match is released before the decision.

    A match gives `Flagged`, `Redacted` or `Blocked`. A choice that is blocked ends with `Finish("content_filter")`; when
    `choices` of them (the request's `n`) are blocked, the source is closed and the stream ends with `StreamEnd("moderated")`.
    The channels named in `channels` are moderated, each by itself; tool calls and everything else are exempt and pass.
    A stream that is cancelled or fails does not release what was held.
    """

    rules: Rule | Iterable[Rule]
    channels: tuple[Channel, ...] = ("content", "reasoning", "refusal")
    choices: int = 1
    _holds: dict[tuple[int, Channel], Hold] = field(
        default_factory=dict[tuple[int, Channel], Hold], init=False, repr=False
    )
    _finishes: dict[int, Finish] = field(default_factory=dict[int, Finish], init=False, repr=False)
    _blocked: set[int] = field(default_factory=set[int], init=False, repr=False)

    def __post_init__(self) -> None:
        self.rules = as_rules(self.rules)
        Hold(self.rules)  # a bad pattern is this program's mistake, and shows when the stage is made

    @property
    def held(self) -> int:
        """Characters that wait for a decision now."""
        return sum(hold.held for hold in self._holds.values())

    def feed(self, item: Event) -> Iterable[Event]:
        if self.done:
            return ()
        match item:
            case TextDelta() | ReasoningDelta() | RefusalDelta() if _CHANNELS[type(item)] in self.channels:
                return self._text(item)
            case Finish(index=index) if index in self._blocked:
                return ()
            case Finish(index=index) if any(hold.held for (choice, _), hold in self._holds.items() if choice == index):
                # More text may come after a finish reason; what it would complete must not have left.
                self._finishes[index] = item
                return ()
            case StreamEnd():
                return [*self._rest(), StreamEnd("moderated", item.saw_done) if self._blocked else item]
            case _:
                return (item,)

    def flush(self) -> Iterable[Event]:
        return () if self.done else self._rest()

    def _text(self, delta: Delta) -> Iterable[Event]:
        index, channel = delta.index, _CHANNELS[type(delta)]
        if index in self._blocked:
            return ()
        hold = self._holds.get((index, channel))
        if hold is None:
            hold = self._holds[index, channel] = Hold(self._rules())
        released = hold.feed(delta.text)
        if len(released) == 1 and released[0].rule is None and released[0].text == delta.text:
            return (delta,)
        return self._events(released, channel, index)

    def _rules(self) -> tuple[Rule, ...]:
        return as_rules(self.rules)

    def _events(self, released: list[Released], channel: Channel, index: int) -> Iterable[Event]:
        for piece in released:
            if piece.rule:
                verdict = _VERDICTS[piece.rule.action](piece.rule.category, piece.start, piece.end, channel, index)
                yield verdict
                if isinstance(verdict, Blocked):
                    yield from self._block(index)
                    return
            if piece.text:
                yield _DELTAS[channel](piece.text, index)

    def _block(self, index: int) -> Iterable[Event]:
        self._blocked.add(index)
        self._finishes.pop(index, None)
        yield Finish("content_filter", index)
        if len(self._blocked) >= self.choices:
            self.done = True
            yield StreamEnd("moderated")

    def _rest(self) -> list[Event]:
        rest: list[Event] = []
        for (index, channel), hold in self._holds.items():
            if index not in self._blocked:
                rest += self._events(hold.feed("", final=True), channel, index)
        return rest + list(self._finishes.values())
