"""Stages and functions that have a name in a module, for the tests of what is written down."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import streamkit as sk


@sk.stage
def shout(delta: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(delta.text.upper(), delta.index)


@sk.stage
async def wait(delta: sk.TextDelta) -> sk.TextDelta:
    return delta


def identity(event: sk.Event) -> sk.Event:
    return event


def way(event: sk.Event) -> str:
    return type(event).__name__


def add(so_far: str, event: sk.Event) -> str:
    return so_far + way(event)


def half(text: str) -> int | None:
    return len(text) // 2


async def judge(window: sk.moderation.Window) -> sk.moderation.Decision:
    return sk.moderation.Decision()


async def translated(event: sk.Event) -> sk.Event:
    return event


async def repeated(events: AsyncIterator[sk.Event]) -> AsyncIterator[sk.Event]:
    async for event in events:
        yield event


@dataclass
class Translate(sk.AsyncStage[sk.Event, sk.Event]):
    """Asks a service, with a key that is not to be seen."""

    language: str
    key: str = field(default="", repr=False)

    async def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        return (item,)
