"""Hops compose as stages do: no line here is an error, and no type unknown."""

from typing import assert_type

import streamkit as sk
from streamkit import hops, ops
from streamkit.sse.parse import Input

events = sk.Parse() | sk.Extract()


async def shout(delta: sk.TextDelta) -> sk.TextDelta:
    return delta


async def speak(sentence: sk.TextDelta) -> bytes:
    return sentence.text.encode()


async def size(text: str) -> int:
    return len(text)


def text_of(event: sk.Event) -> str:
    return event.text if isinstance(event, sk.TextDelta) else ""


assert_type(events | hops.Prefetch(64) | sk.Accumulate(), sk.AsyncPipeline[Input, sk.Event])
assert_type(events | hops.ConcurrentMap(shout) | sk.Accumulate(), sk.AsyncPipeline[Input, sk.Event])
assert_type(events | hops.ConcurrentMap(speak, 4), sk.AsyncPipeline[Input, sk.Event | bytes])
sizes = events | ops.Map(text_of) | hops.ConcurrentMap(size)  # error (ty, pyrefly): as in bad_hops.py
assert_type(sizes, sk.AsyncPipeline[Input, int])  # error (ty, pyrefly): as in bad_hops.py


async def consume(body: bytes) -> None:
    assert_type(body | events | hops.Prefetch[sk.Event](64) | sk.Accumulate(), sk.Stream[sk.Event])
    assert_type(hops.race(events.open(body), events.open(body)) | sk.Accumulate(), sk.Stream[sk.Event])
    assert_type(hops.merge(events.open(body)) | sk.Emit(), sk.Stream[sk.sse.ServerSentEvent])
    raced = hops.merge(hops.race(events.open(body)), events.open(body) | hops.Prefetch[sk.Event](4))
    assert_type(raced | sk.Accumulate(), sk.Stream[sk.Event])
    async with hops.race(events.open(body)) as winner:
        assert_type(winner.number, int)
        async for text in winner.texts():
            assert_type(text, str)


@sk.stage(concurrency=4)
async def translated_at_once(delta: sk.TextDelta) -> sk.TextDelta:
    return delta


assert_type(translated_at_once, sk.AsyncStage[sk.Event, sk.Event])
