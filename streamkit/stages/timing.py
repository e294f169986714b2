"""Latency of the answer by the source's clock: time to first token, inter-token latency. The stage has no clock of its own."""

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
    """Pass every event on, and put `Timings` before the `StreamEnd`.

    Seconds count from the moment when the stream is opened. A replay's clock is the recording's, so that its times are what
    they were. Placed last, it measures both when content arrived, which `Extract` reports to all later stages, and when what
    `Moderate` released of it left. Without a stage that knows content, content arrives when it comes here. After a `Reset`
    content, deltas and tokens begin anew. Of a source without times, such as the body of an answer in a file, none are known.

    A time is kept for every delta, so that memory grows by 8 bytes for each, and 24 for each network read.
    """

    _opened: float | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _first_byte: float | None = field(default=None, init=False, repr=False)
    _first_content: float | None = field(default=None, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)
    _untimed: bool = field(default=False, init=False, repr=False)  # something came without a `tick` since the opening
    _deltas: list[float] = field(default_factory=list[float], init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _counts: dict[Key, int] = field(default_factory=dict[Key, int], init=False, repr=False)
    _reported: int | None = field(default=None, init=False, repr=False)
    _reasoning_shown: bool = field(default=False, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        tokens, hidden = self._tokens()
        if self._untimed:
            return Timings(None, None, (), None, tokens, hidden)
        return Timings(self._first_byte, self._first_content, tuple(self._deltas), self._now, tokens, hidden)

    @property
    def passed(self) -> int:
        """How many deltas have passed, also where no times are known."""
        return len(self._deltas)

    def tick(self, now: float) -> None:
        if self._opened is None:
            # After a checkpoint the clock is another one; the time in between does not count.
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
                    # It has also what was counted in each of several responses.
                    self._reported = tokens
                case ReasoningDelta():
                    self._reasoning_shown = True
                case Reset():
                    self._begin_anew(items[at:])
                case StreamEnd(reason=reason):
                    self._end = reason
                case _:
                    pass

    def _begin_anew(self, items: list[Event]) -> None:
        # Of this read only what stands behind the reset belongs to the answer that is not void.
        self._deltas = [self._now for item in items if isinstance(item, CONTENT)]
        self._first_content = self._now if self._deltas else None
        self._counts.clear()
        self._reported, self._reasoning_shown = None, False

    def _tokens(self) -> tuple[int | None, int]:
        """The tokens of the answer, and those of them that were spent on reasoning that was not shown."""
        rows = self._responses.rows(self._counted(), end=self._end)
        if all(row.reported is None for row in rows):
            return self._counted() if self._counts else None, 0
        hidden = 0 if self._reasoning_shown else self._responses.parts.reasoning or 0
        return self._reported or sum(row.completion for row in rows), hidden

    def _counted(self) -> int:
        return sum(self._counts.values())


_NOTED = RELEVANT | {TokenCount, UsageReport, ReasoningDelta}
