"""When things came, told by the source's clock. The stage itself has none."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.events import CONTENT, Channel, Event, ReasoningDelta, StreamEnd, Timings, TokenCount, Usage
from streamkit.stage import Stage


@dataclass
class Timing(Stage[Event, Event]):
    """Pass every event on, and put `Timings` before the `StreamEnd`.

    Seconds count from the moment when the stream is opened. A replay's clock is the recording's, so that its times are what
    they were. Placed last, it knows both when content arrived, which `Extract` tells all stages after it, and when what
    `Moderate` released of it left. Without a stage that knows content, content arrives when it comes here.

    A time is kept for every delta, so that memory grows by 8 bytes for each, and 24 for each network read.
    """

    _opened: float | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _first_byte: float | None = field(default=None, init=False, repr=False)
    _first_content: float | None = field(default=None, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)
    _deltas: list[float] = field(default_factory=list[float], init=False, repr=False)
    _usage: Usage | None = field(default=None, init=False, repr=False)
    _counts: dict[tuple[int, Channel], int] = field(
        default_factory=dict[tuple[int, Channel], int], init=False, repr=False
    )
    _reasoning_shown: bool = field(default=False, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        reported = self._usage.completion_tokens if self._usage else None
        counted = sum(self._counts.values()) if self._counts else None
        return Timings(
            self._first_byte,
            self._first_content,
            tuple(self._deltas),
            self._now,
            counted if reported is None else reported,
            0 if reported is None else self._hidden(),
        )

    def tick(self, now: float) -> None:
        if self._opened is None:
            # After a checkpoint the clock is another one; the time in between does not count.
            self._opened = now - self._now
            return
        self._now = now - self._opened
        if self._first_byte is None:
            self._first_byte = self._now

    def heard_content(self) -> None:
        if self._first_content is None:
            self._first_content = self._now

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        # The deltas of one read share one float.
        self._deltas += [self._now for item in items if isinstance(item, CONTENT)]
        if self._deltas and self._first_content is None:
            self._first_content = self._deltas[0]
        if not _TOLD.isdisjoint(map(type, items)):
            self._note(items)
        if not items or not isinstance(items[-1], StreamEnd):
            return items
        self._ended = True
        return [*items[:-1], self.timings, items[-1]]

    def flush(self) -> Iterable[Event]:
        return () if self._ended else (self.timings,)

    def _note(self, items: Iterable[Event]) -> None:
        for item in items:
            match item:
                case Usage():
                    self._usage = item
                case TokenCount(tokens=tokens, channel=channel, index=index):
                    self._counts[index, channel] = tokens
                case ReasoningDelta():
                    self._reasoning_shown = True
                case _:
                    pass

    def _hidden(self) -> int:
        # OpenAI's names, those of the chat completions and those of the Responses API.
        match None if self._usage is None or self._reasoning_shown else self._usage.details:
            case {"completion_tokens_details": {"reasoning_tokens": int(tokens)}}:
                return tokens
            case {"output_tokens_details": {"reasoning_tokens": int(tokens)}}:
                return tokens
            case _:
                return 0


_TOLD = {Usage, TokenCount, ReasoningDelta}
