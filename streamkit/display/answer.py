"""The state of a response displayed live: text, reasoning, tool calls, verdicts, and a line of metrics."""

import re
from collections.abc import Callable
from decimal import Decimal

import msgspec

from streamkit.core.stream import Stream
from streamkit.errors import PipelineError
from streamkit.events import (
    Blocked,
    Completion,
    Event,
    Flagged,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Reset,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    ToolOutput,
    Usage,
    UsageReport,
)
from streamkit.stages.count import Count

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
AT_ONCE_SECONDS = 0.01
MOST_VERDICTS = 5
"""Maximum number of verdicts shown, the latest ones; earlier ones are only counted."""


def printable(text: str) -> str:
    """Replace control characters that a terminal would execute: a model's text must not move the cursor or set the title."""
    return _OBEYED.sub("\ufffd", text.replace("\r\n", "\n"))


class ShownAnswer:
    """The first choice of a response, as far as it has arrived. `now` is a clock in seconds."""

    def __init__(self, stream: Stream[Event], now: Callable[[], float]) -> None:
        self.completion: Completion | None = None
        self.end: str | None = None
        self.verdicts: list[str] = []
        self.calls: list[str] = []
        self._count = _count_of(stream)
        self._now = now
        self._began = now()
        self._first: float | None = None
        self._last: float | None = None
        self._ended: float | None = None
        self._usage: Usage | None = None
        self._cost: Decimal | None = None
        self._currency: str | None = None
        self._clear()

    def _clear(self) -> None:
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._open_calls: dict[int, str] = {}
        self._deltas = 0

    @property
    def text(self) -> str:
        """All text so far."""
        # Joined in place, so that the next call joins only the new pieces.
        self._texts[:] = ["".join(self._texts)]
        return self._texts[0]

    @property
    def reasoning(self) -> str:
        """All visible reasoning so far."""
        self._reasoning[:] = ["".join(self._reasoning)]
        return self._reasoning[0]

    def take(self, event: Event) -> None:
        """Update the state from an event."""
        match event:
            case TextDelta(text=text, index=0) | RefusalDelta(text=text, index=0):
                self._texts.append(text)
                self._content()
            case ReasoningDelta(text=text, index=0):
                self._reasoning.append(text)
                self._content()
            case ToolCallDelta(index=0):
                self._call(event)
                self._content()
            case ToolOutput(name=name, content=content, failed=failed):
                shown = content if isinstance(content, str) else msgspec.json.encode(content).decode()
                self.calls.append(f"{name} {'failed' if failed else 'returned'}: {shown[:200]}")
            case Flagged() | Redacted() | Blocked():
                place = f"{event.channel} {event.start}-{event.end}"
                self.verdicts.append(f"{type(event).__name__.lower()} {event.category} ({place})")
            case Usage():
                self._usage = event
            case UsageReport(cost=cost, currency=currency) if cost is not None:
                self._cost, self._currency = cost, currency
            case Completion():
                self.completion = event
                self._close_calls()
            case Reset():
                self._clear()
            case StreamEnd(reason=reason):
                self.finish(reason)
            case _:
                pass

    def finish(self, end: str) -> None:
        """Set the end reason, unless it is set already."""
        if self.end is None:
            self.end, self._ended = end, self._now()
            self._close_calls()

    def metrics(self) -> str:
        """Return the line of metrics: tokens (deltas if tokens are unknown), rate, cost, seconds, and the end reason."""
        tokens = self._tokens()
        parts = [f"{self._deltas} deltas" if tokens is None else f"{tokens} tokens"]
        if (rate := self._rate(tokens)) is not None:
            parts.append(f"{rate:.1f} tokens/s")
        if (cost := self._costs()) is not None:
            parts.append(f"cost {cost:.6f}{f' {self._currency}' if self._currency else ''}")
        parts.append(f"{(self._now() if self._ended is None else self._ended) - self._began:.1f} s")
        return "  ".join([*parts, *([self.end] if self.end else [])])

    def shown_verdicts(self) -> list[str]:
        """Return the latest verdicts, preceded by the number of earlier ones."""
        before = len(self.verdicts) - MOST_VERDICTS
        return [*([f"{before} verdicts before"] if before > 0 else []), *self.verdicts[-MOST_VERDICTS:]]

    def shown_calls(self) -> list[str]:
        """Return the tool calls and their results, including incomplete calls."""
        return [*self.calls, *self._open_calls.values()]

    def _content(self) -> None:
        self._deltas += 1
        self._last = self._now()
        if self._first is None:
            self._first = self._last

    def _call(self, event: ToolCallDelta) -> None:
        before = self._open_calls.get(event.tool_index, "")
        name = f"{event.name}: " if event.name and not before else ""
        self._open_calls[event.tool_index] = before + name + event.arguments

    def _close_calls(self) -> None:
        self.calls += self._open_calls.values()
        self._open_calls = {}

    def _tokens(self) -> int | None:
        if self._usage and self._usage.completion_tokens is not None:
            return self._usage.completion_tokens
        return self._count.tokens() if self._count else None

    def _rate(self, tokens: int | None) -> float | None:
        # A response that arrived at once, such as a replay without waiting, has no rate.
        if tokens is None or self._first is None or self._last is None or self._last - self._first < AT_ONCE_SECONDS:
            return None
        return (tokens - 1) / (self._last - self._first)

    def _costs(self) -> Decimal | None:
        if self._cost is None and self._count is not None:
            report = self._count.report
            self._currency = report.currency
            return report.cost
        return self._cost


def _count_of(stream: Stream[Event]) -> Count | None:
    try:
        return stream.stage(Count)
    except PipelineError:
        return None
