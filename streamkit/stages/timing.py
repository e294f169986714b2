"""When things came, told by the source's clock. The stage itself has none."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.events import CONTENT, Event, StreamEnd, Timings
from streamkit.stage import Stage


@dataclass
class Timing(Stage[Event, Event]):
    """Pass every event on, and put `Timings` before the `StreamEnd`.

    Seconds count from the moment when the stream is opened. Place it after `Moderate` to time what was released. A replay's
    clock is the recording's, so that its times are what they were.
    """

    _opened: float | None = field(default=None, init=False, repr=False)
    _first_byte: float | None = field(default=None, init=False, repr=False)
    _now: float = field(default=0.0, init=False, repr=False)
    _deltas: list[float] = field(default_factory=list[float], init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        return Timings(self._first_byte, self._deltas[0] if self._deltas else None, tuple(self._deltas), self._now)

    def tick(self, now: float) -> None:
        if self._opened is None:
            self._opened = now
            return
        self._now = now - self._opened
        if self._first_byte is None:
            self._first_byte = self._now

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        self._deltas += [self._now for item in items if isinstance(item, CONTENT)]
        if not isinstance(items[-1], StreamEnd):
            return items
        self._ended = True
        return [*items[:-1], self.timings, items[-1]]

    def flush(self) -> Iterable[Event]:
        return () if self._ended else (self.timings,)
