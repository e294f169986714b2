"""The state of the watched streams: an ordered list of updates, and metrics that are read when a viewer requests them."""

import itertools
import time
from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.errors import StreamkitError
from streamkit.events import Blocked, Channel, Flagged, Redacted, Retracted, StreamEnd
from streamkit.stages.count import Count
from streamkit.stages.moderate import Moderate

Decision = Flagged | Redacted | Blocked | Retracted
MOST_UPDATES = 20_000
"""Maximum number of updates per stream. Further updates are not shown, but still counted in the metrics."""


class Piece(msgspec.Struct, frozen=True):
    """Text of one channel of one choice. For a tool call: its arguments, and its name if the delta has one."""

    channel: Channel | str
    index: int
    text: str
    tool: int | None = None
    name: str | None = None

    def continues(self, other: "Piece") -> bool:
        """Whether both belong to the same text."""
        return (self.channel, self.index, self.tool) == (other.channel, other.index, other.tool)


class Staged(Protocol):
    """A running stream whose stages can be read."""

    @property
    def end(self) -> StreamEnd | None:
        """The end of the stream, once the consumer has received it."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
        ...

    @property
    def buffers(self) -> list[Buffer]:
        """The amounts that the stages and hops buffer."""
        ...

    def stage(self, kind: type[Any]) -> Any:
        """Return this run's stage of that class; `PipelineError` if there is none."""
        ...


class Watched:
    """One watched stream. Observers call its methods; viewers read `updates` and `metrics`."""

    def __init__(self, number: int, title: str, *, withheld: bool) -> None:
        self.number = number
        self.updates: list[dict[str, Any]] = [{"title": title}]
        self.stream: Staged | None = None
        self._withheld = withheld
        self._opened: float | None = None
        self._opened_here = time.monotonic()
        self._now = 0.0
        self._end: str | None = None
        self._waiting: list[str] = []
        self._texts: dict[tuple[Any, int, int | None], list[str]] = {}
        self._metrics: dict[str, Any] = {}

    # For the observers

    def tick(self, now: float) -> None:
        """Update the time, on the source's clock."""
        if self._opened is None:
            self._opened, self._opened_here = now, time.monotonic()
        self._now = now - self._opened

    def arrived(self, pieces: list[Piece], waiting: list[str]) -> None:
        """Record the text of one read. `waiting`: categories of the rules that can't decide about all of it yet."""
        self._waiting = waiting
        self._add({"arrived": sum(len(piece.text) for piece in pieces)})
        if self._withheld:
            for piece in pieces:
                self._texts.setdefault((piece.channel, piece.index, piece.tool), []).append(piece.text)

    def released(self, run: list[Piece]) -> None:
        """Record text that the consumer receives: pieces of one read and one channel, as one update."""
        first, text = run[0], "".join(piece.text for piece in run)
        name = next((piece.name for piece in run if piece.name), None)
        self._add({"out": [first.channel, first.index, text, first.tool, name]})

    def decided(self, decision: Decision) -> None:
        """Record a moderation decision. The text is included only if withheld text is shown."""
        found: dict[str, Any] = {
            "decision": type(decision).__name__.lower(),
            "category": decision.category,
            "channel": decision.channel,
            "from": decision.start,
            "to": decision.end,
        }
        if self._withheld:
            text = "".join(self._texts.get((decision.channel, decision.index, None), ()))
            found["text"] = text[decision.start : decision.end]
        self._add(found)

    def began_again(self) -> None:
        """Record that the response starts over, for example after a retry."""
        self._texts.clear()
        self._add({"reset": True})

    def ended(self, reason: str) -> None:
        """Record the end of the stream and its reason."""
        if self._end is None:
            self._end = reason
            self._waiting = []
            self._add({"end": reason}, always=True)

    def closed(self, error: str | None) -> None:
        """Record that the source is closed, and the class of the error, if any."""
        if error is not None:
            self.ended(error)
        self.metrics()

    # For viewers

    def metrics(self) -> dict[str, Any]:
        """Return the current metrics: buffered amounts per stage with the reason, tokens, cost, seconds since the opening."""
        stream = self.stream
        if stream is not None:
            if self._end is None and stream.closed:
                # Some ends pass no stage: the consumer leaves the stream, or the source breaks off.
                self.ended(stream.end.reason if stream.end else "closed")
            self._metrics = self._read(stream)
            if self._end is not None:
                self.stream = None
        return self._metrics

    def _read(self, stream: Staged) -> dict[str, Any]:
        held = getattr(_stage(stream, Moderate), "held", 0) if self._end is None else 0
        buffers = stream.buffers if self._end is None else []
        found: dict[str, Any] = {
            "held": sum(buffer.amount for buffer in buffers if buffer.unit == "characters" and not buffer.released),
            "why": self._waiting if held else [],
            "buffers": [self._shown(buffer) for buffer in buffers],
        }
        if held and self._withheld:
            text = "".join(self._texts.get(("content", 0, None), ()))
            found["text"] = text[-held:]
        if (count := _stage(stream, Count)) is not None:
            report = count.report
            found["tokens"] = count.tokens()
            found["prompt"] = report.prompt_tokens
            found["cost"] = None if report.cost is None else f"{report.cost:.6f}"
            found["currency"] = report.currency or ""
        # `tick` is only called when something arrives, so the wall clock covers the time in between.
        found["elapsed"] = self._now if self._end else max(self._now, time.monotonic() - self._opened_here)
        return found

    def _shown(self, buffer: Buffer) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(buffer)
        if buffer.stage == Moderate.__name__ and self._waiting:
            found["reason"] = f"may become part of a match of {', '.join(self._waiting)}"
        return found

    def _add(self, update: dict[str, Any], *, always: bool = False) -> None:
        if len(self.updates) < MOST_UPDATES or always:
            self.updates.append({"t": round(self._now, 4), **update})
        elif len(self.updates) == MOST_UPDATES:
            self.updates.append({"t": round(self._now, 4), "cut": True})


def _stage(stream: Staged, kind: type[Any]) -> Any:
    try:
        return stream.stage(kind)
    except StreamkitError:
        return None


class Board:
    """The latest `most` streams."""

    def __init__(self, most: int, *, withheld: bool) -> None:
        self._most = most
        self._withheld = withheld
        self._numbers = itertools.count(1)
        self._streams: OrderedDict[int, Watched] = OrderedDict()

    def begin(self, title: str) -> Watched:
        """Add a stream. Above `most` streams, the oldest is removed."""
        watched = Watched(number := next(self._numbers), title or f"stream {number}", withheld=self._withheld)
        self._streams[number] = watched
        while len(self._streams) > self._most:
            self._streams.popitem(last=False)
        return watched

    def changes(self, seen: dict[int, int]) -> list[dict[str, Any]]:
        """Return the new updates and metrics of each stream. `seen` has the number of updates sent per stream, and is updated."""
        found: list[dict[str, Any]] = [{"id": gone, "gone": True} for gone in seen.keys() - self._streams.keys()]
        for message in found:
            del seen[message["id"]]
        for number, watched in list(self._streams.items()):
            metrics, begun = watched.metrics(), seen.get(number, 0)
            updates = watched.updates[begun:]
            if updates or watched.stream is not None:
                found.append({"id": number, "updates": updates, "metrics": metrics})
            seen[number] = begun + len(updates)
        return found
