"""Classifiers in the stream: text is released when its window was classified, in the consumer's own pull."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import anyio.lowlevel

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.naming import written
from streamkit.core.stage import AsyncStage
from streamkit.errors import PipelineError
from streamkit.events import Channel, Event, ModerationReport
from streamkit.moderation.channels import CLASSIFIED, Mode
from streamkit.moderation.classifiers.chunking import Windows
from streamkit.moderation.classifiers.classifier import Classifier, FailurePolicy, Failures, as_failures, check
from streamkit.moderation.classifiers.windows import Classifying
from streamkit.moderation.policy import MAX_HOLD_CHARS, Policy


@dataclass(repr=False)
class Classify(AsyncStage[Event, Event]):
    """Call a classifier for the text of each choice, window by window, and wait for each decision.

    Each window is reported by `Checked`, and by `Flagged`, `Redacted` or `Blocked` where something was decided. `mode`, what
    a decision does, how a choice and the stream end, `choices`, `max_tokens`, `reports`, `max_hold_chars`,
    `max_hold_seconds` and `on_max_hold` are those of `Moderate`, but text, and all else that belongs to a choice, keeps its
    order over the channels.

    The `channels` named are classified, each by itself, and of text of parts each field; `other` includes the strings in
    details and notices, and in events of a class that is not known. Calls of tools and all else pass, in their place. A
    structured value is withheld, and a `Completion` too unless it is what was released. `failures` says what happens where no
    decision arrives, `deadline` how many seconds one may take. A stream that is cancelled or fails does not release what is
    buffered. While a decision is awaited nothing is read: `streamkit.hops.classify` reads ahead.
    """

    moderates = True
    classifier: Classifier
    """An async callable that takes a `Window` and returns a `Decision`."""
    windows: Windows = field(default=Windows(sentences=1, overlap=200))
    """How the text is split."""
    mode: Mode = "hold"
    channels: tuple[Channel, ...] = CLASSIFIED
    choices: int = 1
    failures: Failures | FailurePolicy = "closed"
    deadline: float | None = None
    max_hold_chars: int | None = MAX_HOLD_CHARS
    max_hold_seconds: float | None = None
    on_max_hold: Literal["block", "release"] = "block"
    max_tokens: int | None = None
    reports: bool = False
    _classifying: Classifying = field(init=False, compare=False)
    _now: float | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.classifier):
            raise PipelineError(f"expected a classifier, found an object of type {type(self.classifier).__name__}")
        self.failures = as_failures(self.failures)
        policy = Policy(
            self.mode,
            True,
            self.choices,
            self.max_hold_chars,
            self.max_hold_seconds,
            self.on_max_hold,
            self.max_tokens,
            self.reports,
        )
        self._classifying = Classifying(self.windows, policy, self.channels)

    def __repr__(self) -> str:
        return written(self)

    @property
    def report(self) -> ModerationReport:
        """The metrics of moderation so far."""
        return self._classifying.report

    def buffers(self) -> Iterable[Buffer]:
        return self._classifying.buffers(stage_name(self))

    def tick(self, now: float) -> None:
        self._now = now
        self._classifying.tick(now)

    async def feed(self, item: Event) -> Iterable[Event]:
        released: list[Event] = []
        if self.mode != "hold":
            # What is released at once is classified when the consumer, who has it, reads on.
            released += await self._decide()
        for number, piece in enumerate(self._classifying.slices(item)):
            if number:
                await anyio.lowlevel.checkpoint()
            released += self._classifying.feed(piece)
            if self.mode == "hold" or self._classifying.ending:
                released += await self._decide()
            if self.done:
                break
        return released

    async def flush(self) -> Iterable[Event]:
        return [*self._classifying.end(), *await self._decide()]

    async def _decide(self) -> list[Event]:
        released: list[Event] = []
        while window := self._classifying.take():
            outcome = await check(window, self.classifier, as_failures(self.failures), self.deadline)
            if self._now is not None:
                self.tick(self._now + outcome.seconds)
            released += self._classifying.decide(window.id, outcome)
        self.done = self._classifying.done
        return released
