"""Where the parts of an answer begin and end, in text of which some waits."""

from collections.abc import Mapping
from typing import Any

import msgspec

from streamkit.events import Channel, Event, PartEnd, PartStart
from streamkit.moderation.track import Track


class Mark(msgspec.Struct):
    """The beginning or the end of a part of the answer, which stands behind text that waits: `behind` so much of each channel."""

    event: PartStart | PartEnd
    behind: list[tuple[Channel, int]]


class Parts:
    """The marks of each choice that wait. Each leaves when all text that came before it has."""

    def __init__(self, tracks: Mapping[tuple[int, Channel], Track]) -> None:
        self._tracks = tracks
        self._marks: dict[int, list[Mark]] = {}

    def feed(self, event: PartStart | PartEnd, out: list[Event]) -> None:
        """Take a mark, which may leave at once."""
        waits: list[tuple[Channel, int]] = [
            (channel, track.waiting.length)
            for (choice, channel), track in self._tracks.items()
            if choice == event.index and track.waiting.left < track.waiting.length
        ]
        if waits or self._marks.get(event.index):
            self._marks.setdefault(event.index, []).append(Mark(event, waits))
        else:
            out.append(event)

    def release(self, index: int, out: list[Event]) -> None:
        """Give the marks of a choice behind which its texts have come."""
        marks = self._marks.get(index)
        while marks and all(self._tracks[index, channel].waiting.left >= at for channel, at in marks[0].behind):
            out.append(marks.pop(0).event)

    def within(self, track: Track, start: int, end: int) -> list[int]:
        """Where in a piece of text a part of the answer begins or ends."""
        behind = (place for mark in self._marks.get(track.index, ()) for place in mark.behind)
        return sorted({at for channel, at in behind if channel == track.channel and start < at < end})

    def drop(self, index: int) -> None:
        """Forget those of a choice that is blocked."""
        self._marks.pop(index, None)

    def state(self) -> Any:
        """The same as plain data."""
        return [[index, msgspec.to_builtins(marks)] for index, marks in self._marks.items()]

    def restore(self, state: Any) -> None:
        """Go on from where other ones were."""
        self._marks = {index: msgspec.convert(marks, list[Mark]) for index, marks in state}
