"""Helpers shared by many tests: small stages, events, and pieces."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.events import Blocked, Event, Flagged, Redacted, TextDelta


@dataclass
class Same(sk.Stage[Any, Any]):
    """Return every item unchanged."""

    def feed(self, item: Any) -> Iterable[Any]:
        return (item,)


# Events


def text(*pieces: str, index: int = 0) -> list[Event]:
    """A delta for each piece."""
    return [TextDelta(piece, index) for piece in pieces]


def moderate(stage: sk.Moderate, events: Iterable[Event]) -> list[Event]:
    """All output of `Moderate`, with a clock that always returns 0."""
    return list(stage.run(iter(list(events)), clock=lambda: 0.0))


def verdicts(events: Iterable[Event]) -> list[Event]:
    """The moderation events."""
    return [event for event in events if isinstance(event, Flagged | Redacted | Blocked)]


# Pieces


def cut(body: bytes, at: set[int]) -> list[bytes]:
    """The body in pieces, cut at the places that lie within it."""
    places = sorted({0, len(body), *(place for place in at if place < len(body))})
    return [body[start:end] for start, end in pairwise(places)]


def cut_text(text: str, at: Iterable[int]) -> list[TextDelta]:
    """The text in non-empty deltas, cut at the places that lie within it."""
    places = [0, *sorted({place for place in at if 0 < place < len(text)}), len(text)]
    return [TextDelta(text[start:end]) for start, end in pairwise(places) if start < end]


# Streams and tasks


async def all_of(items: Any) -> list[Any]:
    """All items of an async context manager whose target is a stream."""
    async with items as found:
        return [item async for item in found]


async def settled() -> None:
    """Let every task run until it waits. Faster than anyio's `wait_all_tasks_blocked`, which takes 0.1 s per call on asyncio."""
    for _ in range(40):
        await checkpoint()
