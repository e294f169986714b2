"""The text of one channel of one choice: what has arrived, what of it is buffered, and what is decided about it."""

from collections import deque
from typing import Any

import msgspec

from streamkit.core.checkpoint import pack, unpack
from streamkit.events import Channel, Event, PartDelta
from streamkit.moderation.channels import MAKE
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Judge, Ruling


class ModeratedText:
    """One channel of a choice. Positions count in all of its text; times are the stream's."""

    def __init__(self, channel: Channel, judge: Judge, *, simple: bool, holds: bool) -> None:
        self.channel: Channel = channel
        self.judge = judge
        self.make = MAKE[channel]
        """Creates the event that carries a piece of this text."""
        self.simple = simple
        """Whether its order counts in this channel alone, and no sound belongs to it that must not be released."""
        self.shifts = simple and holds and channel != "transcript"
        """Whether of more text without a ruling only the end is buffered, if any, and nothing but that."""
        self.rulings: deque[Ruling] = deque()
        self.length = 0
        self.left = 0
        """Text before that was released or removed."""
        self.removed = 0
        """Where the last text ends that was removed."""
        self.grown = 0
        """How many characters more were released, replacements too, than the text before `left` has."""
        self.digest = 0
        """Of the released text, if it keeps its order over channels."""
        self.over = False
        """Whether the rest was replaced; no more of it is released."""
        self.pieces: deque[tuple[int, float | None, str]] = deque()  # where it ends, when it arrived, the piece
        self.fresh = 0  # pieces at the end that are released by themselves
        self.stops: deque[int] = deque()  # where marks stand
        self.places: deque[tuple[int, PartDelta]] = (
            deque()
        )  # which field of which part its text belongs to, from where on
        self.beside: deque[tuple[int, int]] = deque()
        """Where it is the text of whole events, which are released without it or as they are, that is not decided yet."""

    @property
    def settled(self) -> bool:
        """Whether everything that has arrived is decided, and released or removed."""
        return self.over or (self.judge.complete and self.left == self.length and not self.rulings)

    @property
    def out(self) -> int:
        """Characters that were released, replacements too."""
        return self.left + self.grown

    def is_elsewhere(self, delta: Any) -> bool:
        """Whether the text of a delta belongs to another field than the text before it."""
        return bool(self.places) and _field(self.places[-1][1]) != _field(delta)

    def place(self, delta: PartDelta) -> None:
        """The text that follows belongs to the field that the delta names."""
        if not self.places or self.is_elsewhere(delta):
            self.places.append((self.length, msgspec.structs.replace(delta, text="", payload=None)))

    def delta(self, piece: str, at: int, index: int) -> Event:
        """The event that carries a piece of it which begins there, or stands in the place of one."""
        if not self.places:
            return self.make(piece, index)
        while len(self.places) > 1 and self.places[1][0] <= at:
            self.places.popleft()
        return msgspec.structs.replace(self.places[0][1], text=piece)

    def is_beside(self, at: int) -> bool:
        """Whether the text there is that of a whole event."""
        return any(start <= at < end for start, end in self.beside)

    def released_between(self, start: int, end: int) -> int:
        """How many characters of that released text were released as such, and not as that of a whole event."""
        beside = (min(end, stop) - max(start, at) for at, stop in self.beside)
        return end - start - sum(length for length in beside if length > 0)

    def take_joined(self, until: int, cost: Cost, now: float | None) -> str:
        """Remove the text before `until` from the buffer."""
        self.fresh = 0
        return "".join(self.take(until, cost, now))

    def take(self, until: int, cost: Cost, now: float | None) -> list[str]:
        """The same; what was buffered before this call is joined, what came with it is in its pieces."""
        cost.held -= until - self.left
        parts: list[str] = []
        joined: list[str] = []
        while self.left < until:
            end, arrived, piece = self.pieces[0]
            stop = min(end, until)
            part = piece[len(piece) - (end - self.left) : len(piece) - (end - stop)]
            if len(self.pieces) > self.fresh:
                joined.append(part)
            else:
                parts += ["".join(joined), part] if joined else [part]
                joined = []
            self.left = stop
            if stop == end:
                self.pieces.popleft()
                cost.end_held(arrived, now)
        return [*parts, "".join(joined)] if joined else parts

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        shifted = ((end, None if arrived is None else arrived + later, piece) for end, arrived, piece in self.pieces)
        self.pieces = deque(shifted)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint. Only rulings of windows can be pending."""
        return {
            **{name: getattr(self, name) for name in _OF_TEXT},
            "pieces": list(self.pieces),
            "stops": list(self.stops),
            "beside": list(self.beside),
            "places": [[at, pack([delta])] for at, delta in self.places],
            "rulings": [
                [ruling.start, ruling.end, pack([ruling.by, ruling.note]), *ruling[3:5]] for ruling in self.rulings
            ],
            "judge": self.judge.state(),
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for name in _OF_TEXT:
            setattr(self, name, state[name])
        self.pieces = deque((end, arrived, piece) for end, arrived, piece in state["pieces"])
        self.stops = deque(state["stops"])
        self.beside = deque((start, end) for start, end in state["beside"])
        self.places = deque((at, unpack(packed)[0]) for at, packed in state["places"])
        for start, end, packed, source, kind in state["rulings"]:
            by, note = unpack(packed)
            self.rulings.append(Ruling(start, end, by, source, kind, note))
        self.judge.restore(state["judge"])


def _field(delta: PartDelta) -> tuple[int, tuple[str, ...]]:
    return delta.part, delta.path


_OF_TEXT = ("simple", "length", "left", "removed", "grown", "digest", "over", "fresh")
