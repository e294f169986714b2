"""A stream reports the amounts that its stages and hops buffer, and the reasons."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.core import Buffer
from streamkit.moderation import Window
from streamkit.moderation.classifiers.classifier import Decision
from streamkit.operators import Batch, Debounce, Sentences, Smooth, StopAt, Throttle
from tests.kit import Same

pytestmark = pytest.mark.anyio
RULE = sk.Rule("secret", phrases=("blue heron 42",))


@dataclass
class Collect(sk.Stage[Any, Any]):
    """A user's stage that has only the attribute `held`."""

    held: int = field(default=0, init=False)

    def feed(self, item: Any) -> list[Any]:
        self.held += 1
        return []


async def allow(window: Window) -> Decision:
    return Decision()


STAGES: list[tuple[Any, list[str], list[Buffer]]] = [
    (Smooth(), ["Hel"], [Buffer("Smooth", 3, "characters", "the rest of the word has not arrived")]),
    (Smooth("line"), ["Hello "], [Buffer("Smooth", 6, "characters", "the rest of the line has not arrived")]),
    (Smooth(r"\d+"), ["a1"], [Buffer("Smooth", 2, "characters", "the rest of the piece has not arrived")]),
    (Sentences(), ["Hi. Yo"], [Buffer("Sentences", 2, "characters", "the rest of the sentence has not arrived")]),
    (StopAt("END"), ["It is E", "N"], [Buffer("StopAt", 2, "characters", "may become a stop sequence")]),
    (Batch(3), ["a", "b"], [Buffer("Batch", 2, "items", "a list is released after 3 items")]),
    (Batch(3, 9), ["a"], [Buffer("Batch", 1, "items", "a list is released after 3 items or 9 s")]),
    (Debounce(9), ["a", "b"], [Buffer("Debounce", 1, "items", "released after a pause of 9 s")]),
    (Throttle(9), ["a", "b"], [Buffer("Throttle", 1, "items", "at most one is released every 9 s")]),
    (sk.Moderate([RULE]), ["blue her"], [Buffer("Moderate", 8, "characters", "may become part of a match of a rule")]),
    (sk.Classify(allow), ["Hi. Yo"], [Buffer("Classify", 2, "characters", "the window is not complete")]),
    (
        sk.Structured(dict),
        ['{"a": '],
        [Buffer("Structured", 6, "characters", "the JSON of an object is incomplete", released=True)],
    ),
    (Collect(), ["a", "b"], [Buffer("Collect", 2, "items", "not released yet")]),
    (sk.Extract(), [], []),
    (
        sk.Moderate([RULE]) | Sentences(),
        ["It is blue"],
        [
            Buffer("Moderate", 4, "characters", "may become part of a match of a rule"),
            Buffer("Sentences", 6, "characters", "the rest of the sentence has not arrived"),
        ],
    ),
]


@pytest.mark.parametrize(("stage", "texts", "expected"), STAGES, ids=lambda value: repr(value)[:40])
async def test_the_buffers_of_a_stage_while_it_waits(stage: Any, texts: list[str], expected: list[Buffer]) -> None:
    seen: list[list[Buffer]] = []

    async def source() -> AsyncIterator[Any]:
        for text in texts:
            yield sk.TextDelta(text)
        seen.append(stream.buffers)

    stream = source() | stage
    async with stream as events:
        with pytest.raises(sk.StreamkitError) if isinstance(stage, sk.Structured) else anyio.CancelScope():
            async for _ in events:
                pass

    assert seen == [expected]
    assert [buffer for buffer in stream.buffers if buffer.unit == "characters"] == []


async def never_ends(*texts: str) -> AsyncIterator[Any]:
    for text in texts:
        yield sk.TextDelta(text)
    await anyio.sleep_forever()


async def forever(event: sk.TextDelta) -> sk.TextDelta:
    if event.text == "a":
        await anyio.sleep_forever()
    return event


HOPS: list[tuple[Any, list[Buffer]]] = [
    (sk.hops.Prefetch(4), [Buffer("Prefetch", 4, "items", "read ahead of the consumer, at most 4")]),
    (sk.hops.RateLimit(0.001, 1, size=2), [Buffer("RateLimit", 2, "items", "at most 0.001 per second are released")]),
    (sk.hops.ConcurrentMap(forever), [Buffer("ConcurrentMap", 5, "items", "results are awaited, in order")]),
    (sk.hops.ConcurrentMap(forever, ordered=False), [Buffer("ConcurrentMap", 1, "items", "results are awaited")]),
]


@pytest.mark.parametrize(("hop", "expected"), HOPS, ids=lambda value: repr(value)[:40])
async def test_the_buffers_of_a_hop(hop: Any, expected: list[Buffer]) -> None:
    stream = never_ends("x", "a", "b", "c", "d", "e") | (Same() | hop)
    async with stream as events:
        with anyio.fail_after(5):
            await anext(events)
            await anyio.wait_all_tasks_blocked()
        found = stream.buffers

    assert found[-len(expected) :] == expected


async def test_a_classifier_that_reads_ahead_shows_what_it_has_not_decided() -> None:
    async def wait(window: Window) -> Decision:
        await anyio.sleep_forever()
        return Decision()

    async def passed(events: AsyncIterator[Any]) -> None:
        async for _ in events:
            pass

    stream = sk.hops.classify(never_ends("Hello. ", "You"), wait) | Collect()
    async with stream as events, anyio.create_task_group() as group:
        group.start_soon(passed, events)
        await anyio.wait_all_tasks_blocked()
        found = stream.buffers
        group.cancel_scope.cancel()

    assert found == [Buffer("classify", 10, "characters", "the classifier has not decided")]
