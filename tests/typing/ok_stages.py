"""Stages of one's own, as classes and as functions: no line here is an error, and no type unknown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_type

import streamkit as sk
from streamkit.sse.parse import Input

T = TypeVar("T")


@sk.stage
def shout(event: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(event.text.upper(), event.index)


@sk.stage
def drop(event: sk.ReasoningDelta) -> None:
    return None


@sk.stage
def words(event: sk.TextDelta) -> list[sk.TextDelta]:
    return [sk.TextDelta(word, event.index) for word in event.text.split()]


@sk.stage
def words_one_by_one(event: sk.TextDelta) -> Iterator[sk.TextDelta]:
    for word in event.text.split():
        yield sk.TextDelta(word, event.index)


@sk.stage
def either(event: sk.TextDelta | sk.ReasoningDelta) -> sk.Event | None:
    return event if event.text.strip() else None


@sk.stage
async def look_up(event: sk.ToolCallDelta) -> sk.ToolCallDelta | None:
    return event if event.name else None


@sk.stage
def lengths(line: str) -> int:
    return len(line)


assert_type(shout, sk.Stage[sk.Event, sk.Event])
assert_type(drop, sk.Stage[sk.Event, sk.Event])
assert_type(words, sk.Stage[sk.Event, sk.Event])
assert_type(words_one_by_one, sk.Stage[sk.Event, sk.Event])
assert_type(either, sk.Stage[sk.Event, sk.Event])
assert_type(look_up, sk.AsyncStage[sk.Event, sk.Event])
assert_type(lengths, sk.Stage[str, int])

functions = sk.Parse() | sk.Extract() | shout | drop | words | words_one_by_one | either | sk.Accumulate()
assert_type(functions, sk.Pipeline[Input, sk.Event])


@dataclass
class Remote(sk.AsyncStage[sk.Event, sk.Event]):
    """Asks someone."""

    url: str
    asked: int = field(default=0, init=False)

    async def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        self.asked += 1
        return [item]


waiting = sk.Parse() | sk.Extract() | Remote("https://example.org") | look_up | sk.Accumulate()
assert_type(waiting, sk.AsyncPipeline[Input, sk.Event])
assert_type(Remote("…") | shout, sk.AsyncPipeline[sk.Event, sk.Event])


async def waits(body: bytes) -> None:
    async with waiting.open(body) as events:
        assert_type(events.stage(Remote).asked, int)
        async for event in events:
            assert_type(event, sk.Event)
    assert_type(sk.replay("…") | waiting | shout, sk.Stream[sk.Event])


@dataclass
class Texts(sk.Stage[sk.Event, str]):
    """The text alone."""

    def feed(self, item: sk.Event) -> Iterable[str]:
        match item:
            case sk.TextDelta(text=text):
                yield text
            case _:
                pass


@dataclass
class Batch(sk.Stage[T, list[T]], Generic[T]):
    """Lists of `size`."""

    size: int
    items: list[T] = field(default_factory=list[T], init=False)

    def feed(self, item: T) -> Iterable[list[T]]:
        self.items.append(item)
        if len(self.items) == self.size:
            yield self.items
            self.items = []


assert_type(sk.Parse() | sk.Extract() | Texts(), sk.Pipeline[Input, str])
assert_type(Texts() | Batch[str](2), sk.Pipeline[sk.Event, list[str]])
assert_type((Texts() | lengths).run([]), sk.core.Run[int])


@dataclass
class OnlyDeltas(sk.Stage[sk.sse.ServerSentEvent, sk.TextDelta]):
    """Gives fewer kinds of events than the next stage takes, which is fine."""

    def feed(self, item: sk.sse.ServerSentEvent) -> Iterable[sk.TextDelta]:
        yield sk.TextDelta(item.data)


assert_type(sk.Parse() | OnlyDeltas() | sk.Accumulate() | shout, sk.Pipeline[Input, sk.Event])


@dataclass
class Takes(sk.Stage[object, int]):
    """Takes more than the stage before gives, which is fine too."""

    def feed(self, item: object) -> Iterable[int]:
        yield id(item)


assert_type(sk.Parse() | Takes(), sk.Pipeline[Input, int])
