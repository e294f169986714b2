"""Hops, and streams with a hop, as input of another hop: they are entered and left in the task that reads them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit import hops
from streamkit.testing import HANG, Scripted

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed", True)
EVENTS = [sk.TextDelta("a"), sk.Usage(1, 2, 3), sk.TextDelta("b"), sk.Finish("stop"), END]


async def same(delta: sk.TextDelta) -> sk.TextDelta:
    await anyio.lowlevel.checkpoint()
    return delta


async def unchanged(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in items:
        yield item


INNER: dict[str, Callable[[Any], Any]] = {
    "a stream with a hop": lambda source: source | hops.ConcurrentMap(same),
    "a stream with two": lambda source: source | hops.Prefetch(2) | sk.ops.Tap(repr) | hops.ConcurrentMap(same),
    "a hop": lambda source: hops.merge(source | sk.ops.Tap(repr)),
    "a race": lambda source: hops.race(source | hops.Prefetch(2)),
}
OUTER: dict[str, Callable[[Any], Any]] = {
    "prefetch": lambda inner: hops.prefetch(inner),
    "merge": lambda inner: hops.merge(inner),
    "race": lambda inner: hops.race(inner),
    "concurrent_map": lambda inner: hops.concurrent_map(inner, same),
    "rate_limit": lambda inner: hops.rate_limit(inner, per_second=1e9),
    "deadlines": lambda inner: hops.deadlines(inner, total=60),
    "from_generator": lambda inner: hops.from_generator(unchanged, inner),
    "latest": lambda inner: hops.latest(inner, same, of=sk.Completion),
}
inner = pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
outer = pytest.mark.parametrize("outer", OUTER.values(), ids=OUTER)


def tasks() -> int:
    return len(anyio.get_running_tasks())


@inner
@outer
async def test_the_events_come_through_and_the_source_is_closed(inner: Any, outer: Any) -> None:
    source, before = Scripted[Any](*EVENTS), tasks()

    async with outer(inner(source)) as events:
        assert [event async for event in events] == EVENTS

    assert (source.opened, source.closed, tasks()) == (1, 1, before)


@inner
@outer
async def test_leaving_early_closes_the_source_before_control_returns(inner: Any, outer: Any) -> None:
    source, before = Scripted[Any](*EVENTS[:3], HANG), tasks()

    async with outer(inner(source)) as events:
        assert await anext(events) == EVENTS[0]

    assert (source.closed, tasks()) == (1, before)


@inner
@outer
async def test_an_error_comes_as_itself_after_what_came_before(inner: Any, outer: Any) -> None:
    error, found = sk.errors.Disconnected("reset"), list[Any]()
    source, before = Scripted[Any](*EVENTS[:3], error), tasks()

    with pytest.raises(sk.errors.Disconnected) as caught:
        async with outer(inner(source)) as events:
            async for event in events:
                found.append(event)

    assert caught.value is error
    assert found == EVENTS[:3]
    assert (source.closed, tasks()) == (1, before)


@inner
async def test_a_contender_is_not_entered_before_its_turn_and_the_loser_is_closed(inner: Any) -> None:
    first, second, before = Scripted[Any](*EVENTS), Scripted[Any](HANG), tasks()

    async with hops.race(inner(first), inner(second), after=3600) as events:
        assert [event async for event in events] == EVENTS
        assert second.opened == 0

    slow = Scripted[Any](HANG)
    async with hops.race(inner(slow), inner(Scripted[Any](*EVENTS))) as events:
        assert events.number == 1
        assert (slow.opened, slow.closed) == (1, 1)
        assert [event async for event in events] == EVENTS
    assert tasks() == before


async def test_consumers_of_their_own_and_groups() -> None:
    async with hops.tee(Scripted[Any](*EVENTS) | hops.Prefetch(2), 2) as (one, other):
        assert [event async for event in one] == [event async for event in other] == EVENTS

    async with hops.broadcast(Scripted[Any](*EVENTS) | hops.Prefetch(2)) as hub:
        assert [event async for event in hub.subscribe()] == EVENTS

    async with hops.group_by(Scripted[Any](*EVENTS) | hops.Prefetch(2), type) as groups:
        assert [group.key async for group in groups] == [sk.TextDelta, sk.Usage, sk.Finish]


async def test_a_stream_that_was_entered_before_is_read_as_it_is() -> None:
    source = Scripted[Any](*EVENTS)

    async with source | hops.Prefetch(2) as entered, hops.merge(entered) as events:
        assert [event async for event in events] == EVENTS

    assert (source.opened, source.closed) == (1, 1)
