"""Answers whose pace a test sets, and what viewers see of them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

import streamkit as sk
from streamkit.relay import Relay

TEXTS = tuple(f"{number} " for number in range(30))
EVENTS = (
    sk.events.ResponseStart(id="r1", model="m"),
    *map(sk.TextDelta, TEXTS),
    sk.Finish("stop"),
    sk.StreamEnd("completed"),
)
SECONDS = 5.0


@dataclass
class Gated:
    """An answer that sends its first `pieces` texts and waits, until `go_on` is set or it is closed."""

    pieces: int = 5
    go_on: anyio.Event = field(default_factory=anyio.Event)
    waiting: anyio.Event = field(default_factory=anyio.Event)
    closed: anyio.Event = field(default_factory=anyio.Event)
    opened: int = 0

    async def events(self) -> AsyncGenerator[sk.Event, None]:
        self.opened += 1
        try:
            for text in TEXTS[: self.pieces]:
                yield sk.TextDelta(text)
            self.waiting.set()
            await self.go_on.wait()
            for text in TEXTS[self.pieces :]:
                yield sk.TextDelta(text)
            yield sk.StreamEnd("completed")
        finally:
            self.closed.set()

    def stream(self) -> Any:
        return self.events() | sk.ops.Map(lambda event: event)


async def answer(events: Sequence[sk.Event] = EVENTS) -> AsyncGenerator[sk.Event, None]:
    """These events, each at once."""
    for event in events:
        yield event


async def seen(streams: Relay, key: str, *, after: str | None = None) -> list[sk.Event]:
    """All events that a viewer receives."""
    with anyio.fail_after(SECONDS):
        return [event async for event in streams.follow(key, after=after) | sk.ops.Map(lambda event: event)]


def text(events: Sequence[sk.Event]) -> str:
    """The text of events, behind the last `Reset`."""
    found = ""
    for event in events:
        match event:
            case sk.events.Reset():
                found = ""
            case sk.TextDelta(text=piece):
                found += piece
    return found
