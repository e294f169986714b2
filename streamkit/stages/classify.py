"""Classifiers in the stream: text leaves when its window was judged, in the consumer's own pull."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.errors import PipelineError
from streamkit.events import Channel, Event
from streamkit.moderation.checking import Classifier, Failures, Policy, as_failures, check
from streamkit.moderation.deltas import Mode
from streamkit.moderation.gate import Gate, Report
from streamkit.moderation.lanes import CHANNELS
from streamkit.moderation.windows import Windows
from streamkit.naming import written
from streamkit.stage import AsyncStage


@dataclass(repr=False)
class Classify(AsyncStage[Event, Event]):
    """Have a classifier judge the text of each choice, window by window, and wait for each verdict.

    Each window gives `Checked`, and `Flagged`, `Redacted` or `Blocked` by its verdict. `mode` is `hold` (text leaves when it
    was judged), `optimistic` (at once, and `Retracted` takes it back) or `observe` (nothing is changed, only told). A choice
    that is blocked ends with `Finish("content_filter")`; when `choices` of them (the request's `n`) are, the source is closed
    and the stream ends with `StreamEnd("moderated")`.

    The channels named are judged, each by itself; tool calls and all else pass, in their place. `failures` says what happens
    where no verdict comes, `deadline` how many seconds one may take. A stream that is cancelled or fails does not release
    what was held. While a verdict is waited for nothing is read: `streamkit.hops.classify` reads ahead.
    """

    classifier: Classifier
    windows: Windows = field(default=Windows(sentences=1, overlap=200))
    mode: Mode = "hold"
    channels: tuple[Channel, ...] = CHANNELS
    choices: int = 1
    failures: Failures | Policy = "closed"
    deadline: float | None = None
    _gate: Gate = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.classifier):
            raise PipelineError(f"expected a classifier, found an object of type {type(self.classifier).__name__}")
        self.failures = as_failures(self.failures)
        self._gate = Gate(self.windows, self.mode, self.channels, self.choices)

    def __repr__(self) -> str:
        return written(self)

    @property
    def report(self) -> Report:
        """What it has cost so far, and what it found."""
        return self._gate.report

    def tick(self, now: float) -> None:
        self._gate.tick(now)

    async def feed(self, item: Event) -> Iterable[Event]:
        released: list[Event] = []
        if self.mode != "hold":
            # What is released at once is judged when the consumer, who has it, asks for more.
            released += await self._judge()
        released += self._gate.feed(item)
        if self.mode == "hold" or self._gate.ending:
            released += await self._judge()
        return released

    async def flush(self) -> Iterable[Event]:
        return [*self._gate.end(), *await self._judge()]

    async def _judge(self) -> list[Event]:
        released: list[Event] = []
        while window := self._gate.take():
            outcome = await check(window, self.classifier, as_failures(self.failures), self.deadline)
            released += self._gate.decide(window.id, outcome)
        self.done = self._gate.done
        return released
