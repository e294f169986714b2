"""Latency of the answer on the source's clock: time to first token, inter-token latency. The stage has no clock of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.core.stage import Stage
from streamkit.events import (
    CONTENT,
    EndReason,
    Event,
    ReasoningDelta,
    Reset,
    StreamEnd,
    Timings,
    TokenCount,
    UsageReport,
)
from streamkit.tokens.counters import Key
from streamkit.tokens.responses import RELEVANT, Responses


@dataclass
class Timing(Stage[Event, Event]):
    """Pass every event through, and emit `Timings` before the `StreamEnd`.

    Times are in seconds since the stream was opened. The clock of a replay is that of the recording, so it reproduces the
    original times. As the last stage it measures both the arrival of content, which the engine signals to all stages
    (`content_arrived`), and its release by an earlier stage such as `Moderate`. In a pipeline without an earlier stage that
    emits content events, content arrives when this stage receives it. A `Reset` restarts content, deltas and tokens. For a
    source without times, such as a stored response body, all times are unknown.

    A time is stored for every delta: memory grows by 8 bytes per delta and 24 bytes per network read.
    """

    emits_result = True
    _opened: float | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _first_byte: float | None = field(default=None, init=False, repr=False)
    _first_content: float | None = field(default=None, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)
    _untimed: bool = field(default=False, init=False, repr=False)  # events arrived without a `tick` since the opening
    _deltas: list[float] = field(default_factory=list[float], init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _counts: dict[Key, int] = field(default_factory=dict[Key, int], init=False, repr=False)
    _reported: int | None = field(default=None, init=False, repr=False)
    _reasoning_shown: bool = field(default=False, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)

    @property
    def timings(self) -> Timings:
        """The latencies so far."""
        tokens, hidden = self._tokens()
        if self._untimed:
            return Timings(None, None, (), None, tokens, hidden)
        return Timings(self._first_byte, self._first_content, tuple(self._deltas), self._now, tokens, hidden)

    @property
    def passed(self) -> int:
        """The number of deltas so far, even if their times are unknown."""
        return len(self._deltas)

    def tick(self, now: float) -> None:
        if self._opened is None:
            # After a checkpoint there is a new clock; the time in between is excluded.
            self._opened = now - self._now
            return
        self._now = now - self._opened
        if self._first_byte is None:
            self._first_byte = self._now

    def content_arrived(self) -> None:
        self._untimed = self._first_byte is None
        if self._first_content is None:
            self._first_content = self._now

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        self._untimed = self._first_byte is None
        # The deltas of one read share one float.
        self._deltas += [self._now for item in items if isinstance(item, CONTENT)]
        if self._deltas and self._first_content is None:
            self._first_content = self._deltas[0]
        if self._responses.announced or not _NOTED.isdisjoint(map(type, items)):
            self._note(items)
        if not items or not isinstance(items[-1], StreamEnd):
            return items
        return [*items[:-1], self.timings, items[-1]]

    def flush(self) -> Iterable[Event]:
        self._untimed = self._first_byte is None
        return () if self._end else (self.timings,)

    def _note(self, items: list[Event]) -> None:
        for at, item in enumerate(items):
            self._responses.take(item, self._counted)
            match item:
                case TokenCount(tokens=tokens, channel=channel, index=index, tool_index=tool_index):
                    self._counts[index, channel, tool_index] = tokens
                case UsageReport(completion_tokens=tokens):
                    # The report also includes local counts for responses without usage.
                    self._reported = tokens
                case ReasoningDelta():
                    self._reasoning_shown = True
                case Reset():
                    self._restart(items[at:])
                case StreamEnd(reason=reason):
                    self._end = reason
                case _:
                    pass

    def _restart(self, items: list[Event]) -> None:
        # In this read only the items after the reset belong to the valid answer.
        self._deltas = [self._now for item in items if isinstance(item, CONTENT)]
        self._first_content = self._now if self._deltas else None
        self._counts.clear()
        self._reported, self._reasoning_shown = None, False

    def _tokens(self) -> tuple[int | None, int]:
        """The tokens of the answer, and how many of them are reasoning that was not visible."""
        rows = self._responses.rows(self._counted(), end=self._end)
        if all(row.reported is None for row in rows):
            return self._counted() if self._counts else None, 0
        hidden = 0 if self._reasoning_shown else self._responses.parts.reasoning or 0
        return self._reported or sum(row.completion for row in rows), hidden

    def _counted(self) -> int:
        return sum(self._counts.values())


_NOTED = RELEVANT | {TokenCount, UsageReport, ReasoningDelta}
