"""Work that takes long in slices, between which other tasks have their turn."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, cast

from streamkit.events import (
    Annotation,
    AudioDelta,
    Event,
    Logprobs,
    PartDelta,
    PartEnd,
    PartStart,
    ProviderNotice,
    ResponseDetails,
    ToolCallDelta,
)
from streamkit.moderation.channels import CHANNEL_OF, channel_of, text_of, with_text

SLICE = 8_192
"""Characters that are searched between two turns of other tasks, at most."""
_TIMED = 256
_FIRST, _LEAST, _AT_ONCE = 512, 64, 1_024
_LONG, _SHORT = 0.003, 0.0015
"""Seconds."""
_PER_STRING = 64
_MOST_EVENTS = 128
_WITH_TEXT = (*CHANNEL_OF, AudioDelta, PartDelta)
_STRUCTURE: dict[type, Callable[[Any], Any]] = {
    Annotation: attrgetter("annotation"),
    Logprobs: attrgetter("logprobs"),
    PartStart: attrgetter("data"),
    PartEnd: attrgetter("data"),
    ProviderNotice: attrgetter("data"),
    ResponseDetails: attrgetter("details"),
}


class Pace:
    """How many characters a slice has: fewer where they take long, as those of a text full of matches do."""

    def __init__(self) -> None:
        self.size = _FIRST
        self.at_once = _AT_ONCE
        """How many characters need no slices."""
        self.timed = _TIMED
        """Characters beyond which it is worth to take the time."""

    def adapt(self, characters: int, seconds: float) -> None:
        """So many characters took so long."""
        if seconds > _LONG:
            self.size = self.at_once = max(min(self.size, characters) // 2, _LEAST)
        elif seconds * 2 * self.size < _SHORT * characters:
            # At this rate a slice of twice the size is short too.
            self.size = min(2 * self.size, SLICE)
            self.at_once = max(self.at_once, self.size)
        self.timed = min(_TIMED, self.size // 2)


def has_text(event: object) -> bool:
    """Whether an event is a piece of a text, and so may come in smaller pieces."""
    return isinstance(event, (*_WITH_TEXT, ToolCallDelta))


def weight_of(event: object) -> int:
    """How many characters an event has that are searched; of structure, where strings are searched each, a little more."""
    if has_text(event):
        return len(text_of(event))
    data = _STRUCTURE.get(type(event))
    return _weight(data(event)) if data else 0


def _weight(value: object) -> int:
    match value:
        case str():
            return len(value) + _PER_STRING
        case dict():
            return sum(map(_weight, cast("dict[str, object]", value).values()))
        case list():
            return sum(map(_weight, cast("list[object]", value)))
        case _:
            return 0


def in_slices(event: Any, pace: Pace | None = None) -> Iterator[Event]:
    """The events that carry the text of one in slices; the event itself if it has no more than one."""
    text = text_of(event) if has_text(event) else ""
    at, size = 0, pace.size if pace else SLICE
    if len(text) <= size:
        yield event
        return
    while at < len(text):
        end = at + (pace.size if pace else SLICE)
        yield _slice(event, text[at:end], first=not at, last=end >= len(text))
        at = end


def _slice(event: Any, text: str, *, first: bool, last: bool) -> Event:
    if not isinstance(event, ToolCallDelta):
        return with_text(event, channel_of(event), text, last=last)
    if first:
        return ToolCallDelta(event.tool_index, event.id, event.name, text, event.index, event.type)
    return ToolCallDelta(event.tool_index, None, None, text, event.index)


def batches(items: list[Event], pace: Pace) -> Iterator[list[Event]]:
    """Adjacent events that together have as much text as a slice; one that has more is alone."""
    batch, spent = list[Event](), 0
    for event in items:
        weight = weight_of(event)
        if batch and (spent + weight > pace.size or len(batch) >= _MOST_EVENTS):
            yield batch
            batch, spent = [], 0
        batch.append(event)
        spent += weight
    if batch:
        yield batch
