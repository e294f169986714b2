"""What waits at the gate: for each choice a queue of text and events, for each of its channels the windows of its text.

All of it can be kept as JSON has it, and gone on with.
"""

from collections import deque
from typing import Any, cast

import msgspec

from streamkit import events
from streamkit.errors import PipelineError
from streamkit.events import Channel, Event
from streamkit.moderation.checking import Outcome
from streamkit.moderation.deltas import DELTA_OF
from streamkit.moderation.windows import Cutter, Window, Windows

CHANNELS: tuple[Channel, ...] = tuple(DELTA_OF)


class Open:
    """A window on its way: cut, then sent, then decided, then released."""

    def __init__(self, window: Window, waited: float) -> None:
        self.window = window
        self.waited = waited
        self.sent = False
        self.outcome: Outcome | None = None
        self.told = False

    def state(self) -> Any:
        """What is kept, as JSON has it."""
        kept = msgspec.to_builtins({"window": self.window, "outcome": self.outcome})
        return {**kept, "waited": self.waited, "told": self.told}

    @classmethod
    def of(cls, state: Any) -> "Open":
        """What `state` was made of."""
        open = cls(msgspec.convert(state["window"], Window), state["waited"])
        open.outcome, open.told = msgspec.convert(state["outcome"], Outcome | None), state["told"]
        return open


class Lane:
    """One channel of one choice. `start` is where the window that is not complete begins in the channel's text."""

    def __init__(self, windows: Windows, channel: Channel, index: int) -> None:
        self.channel: Channel = channel
        self.index = index
        self.cutter = Cutter(windows)
        self.start = 0
        self.released = 0
        self.context = ""
        self.since: float | None = None
        self.open: deque[Open] = deque()

    @property
    def fed(self) -> int:
        """Characters that came."""
        return self.start + len(self.cutter.text)

    @property
    def tells(self) -> bool:
        """Whether there is anything to judge yet."""
        return bool(self.cutter.text.strip())

    def state(self) -> Any:
        """What is kept, as JSON has it."""
        own = {name: getattr(self, name) for name in ("start", "released", "context", "since")}
        return {**own, "text": self.cutter.state(), "open": [open.state() for open in self.open]}

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        for name in ("start", "released", "context", "since"):
            setattr(self, name, state[name])
        self.cutter.restore(state["text"])
        self.open = deque(map(Open.of, state["open"]))


class Piece:
    """Text in a queue, released up to `at`."""

    def __init__(self, text: str, lane: Lane) -> None:
        self.text = text
        self.lane = lane
        self.at = 0


class Waiting:
    """What waits of one choice. `queue` is empty where text does not wait for its verdict."""

    def __init__(self) -> None:
        self.lanes: dict[Channel, Lane] = {}
        self.queue: deque[Piece | Event] = deque()
        self.others = 0  # events in the queue that are no text
        self.condemned = False  # a verdict blocks it; windows before that one are still to be decided
        self.blocked = False
        self.altered = False
        self.tokens = 0

    def state(self) -> Any:
        """What is kept, as JSON has it."""
        return {
            **{name: getattr(self, name) for name in ("others", "condemned", "blocked", "altered", "tokens")},
            "lanes": {channel: lane.state() for channel, lane in self.lanes.items()},
            "queue": [
                {"text": item.text[item.at :], "channel": item.lane.channel}
                if isinstance(item, Piece)
                else kept_event(item)
                for item in self.queue
            ],
        }

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        for name in ("others", "condemned", "blocked", "altered", "tokens"):
            setattr(self, name, state[name])
        self.queue = deque(
            Piece(kept["text"], self.lanes[kept["channel"]]) if "text" in kept else event_of(kept)
            for kept in state["queue"]
        )

    @property
    def undecided(self) -> bool:
        """Whether any of its text waits for a verdict, or for the end of its window."""
        return any(lane.open or lane.cutter.text for lane in self.lanes.values())


def kept_event(event: Event) -> dict[str, Any]:
    """An event as JSON has it. `PipelineError` for what is none of streamkit's."""
    kind = type(event).__name__
    if getattr(events, kind, None) is not type(event):
        raise PipelineError(f"expected streamkit's own events in what is kept, found an object of type {kind}")
    return {"event": kind, "fields": msgspec.to_builtins(event)}


def event_of(kept: dict[str, Any]) -> Event:
    """The event that `kept_event` made this of."""
    return cast(Event, msgspec.convert(kept["fields"], getattr(events, kept["event"])))
