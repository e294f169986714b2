"""The observers of a watched stream: two stages that pass everything on unchanged, and a source that records its end."""

import sys
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from streamkit.core.source import Source
from streamkit.core.stage import Stage
from streamkit.core.stream import Stream
from streamkit.emitters.emit import Emit
from streamkit.events import Blocked, Event, Flagged, Redacted, Reset, Retracted, StreamEnd, ToolCallDelta
from streamkit.moderation.channels import CHANNEL_OF, text_of
from streamkit.moderation.match.scanner import Scanner
from streamkit.moderation.rule import Rule
from streamkit.moderation.rule_file import as_rules
from streamkit.sinks.watch.board import Piece, Watched
from streamkit.sse.encode import Encode
from streamkit.stages.moderate import Moderate

A = TypeVar("A")
MOST_RULES = 50
"""With more rules, the reason for buffering is not shown, because each rule has to be matched a second time for it."""


def observed(stream: Stream[A], watched: Watched) -> Stream[A]:
    """Return the stream with observers before the first moderating stage and after the last stage that emits events."""
    stream.extended(stream.stages)  # raises if the stream is open
    stages = stream.stages
    end = next((at for at, stage in enumerate(stages) if isinstance(stage, Emit | Encode)), len(stages))
    start = next((at for at, stage in enumerate(stages[:end]) if stage.moderates), end)
    arrived = ObserveArrival(watched, _undecided(stages))
    observers = (*stages[:start], arrived, *stages[start:end], ObserveRelease(watched), *stages[end:])
    source = WatchedSource(stream.source, watched)
    return cast("Stream[A]", Stream[Any](source, observers))


def _undecided(stages: Iterable[Any]) -> tuple[Rule, ...]:
    # The rules whose possible matches cause text to be buffered.
    found = [rule for stage in stages if isinstance(stage, Moderate) for rule in as_rules(stage.rules)]
    # A user's check function must not be called a second time.
    return tuple(rule for rule in found if rule.check is None) if len(found) <= MOST_RULES else ()


@dataclass
class ObserveArrival(Stage[Event, Event]):
    """Passes every event on; records how much text arrives, and which rules can't decide about it yet."""

    watched: Watched
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        self._scanners: dict[tuple[str, int, int | None], list[tuple[str, Scanner]]] = {}

    def tick(self, now: float) -> None:
        self.watched.tick(now)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        arrived: list[Piece] = []
        for event in items:
            if (piece := _piece(event)) is not None:
                arrived.append(piece)
                self._search(piece)
            elif isinstance(event, Reset):
                self._scanners.clear()
        if arrived:
            waiting = {
                category for found in self._scanners.values() for category, scanner in found if not scanner.complete
            }
            self.watched.arrived(arrived, sorted(waiting))
        return items

    def _search(self, piece: Piece) -> None:
        place = (piece.channel, piece.index, piece.tool)
        scanners = self._scanners.get(place)
        if scanners is None:
            # Rules that apply to this channel. Tool-call arguments are buffered as a whole anyway.
            scanners = self._scanners[place] = [
                (rule.category, Scanner((rule,)))
                for rule in self.rules
                if rule.channels is None or piece.channel in rule.channels
            ]
        try:
            for _, scanner in scanners:
                scanner.feed(piece.text)
        except Exception:
            # `Moderate` raises the same error or handles it by the rule's `fail`; an observer must not change that.
            self._scanners[place] = []


@dataclass
class ObserveRelease(Stage[Event, Event]):
    """Passes every event on; records the text and the decisions that the consumer receives."""

    watched: Watched

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        run: list[Piece] = []
        for event in items:
            piece = _piece(event)
            if run and (piece is None or not piece.continues(run[-1])):
                self.watched.released(run)
                run = []
            if piece is not None:
                run.append(piece)
                continue
            match event:
                case Flagged() | Redacted() | Blocked() | Retracted():
                    self.watched.decided(event)
                case Reset():
                    self.watched.began_again()
                case StreamEnd(reason=reason):
                    self.watched.ended(reason)
                case _:
                    pass
        if run:
            self.watched.released(run)
        return items


def _piece(event: Any) -> Piece | None:
    if isinstance(event, ToolCallDelta):
        return Piece("tool", event.index, event.arguments, event.tool_index, event.name)
    channel = CHANNEL_OF.get(event.__class__)
    return Piece(channel, event.index, text_of(event)) if channel and not channel.startswith("tool") else None


class WatchedSource(Source[Any]):
    """Delegates to a source, and records when it is closed and with what error."""

    def __init__(self, source: Source[Any], watched: Watched) -> None:
        self.source = source
        self.deadlines = source.deadlines
        self._watched = watched

    def __repr__(self) -> str:
        return repr(self.source)

    async def open(self) -> None:
        self.source.used = True
        await self.source.open()
        self.timed = self.source.timed

    async def read(self) -> Sequence[Any]:
        return await self.source.read()

    async def again(self, error: Exception) -> bool:
        again = await self.source.again(error)
        if again:
            self._watched.began_again()
        return again

    def items(self) -> AsyncGenerator[Any, None] | None:
        return self.source.items()

    @property
    def undrained(self) -> bool:
        return self.source.undrained

    async def drain(self) -> None:
        await self.source.drain()

    async def close(self) -> None:
        error = sys.exception()
        try:
            await self.source.close()
        finally:
            self._watched.closed(type(error).__name__ if error else None)

    def now(self) -> float:
        return self.source.now()
