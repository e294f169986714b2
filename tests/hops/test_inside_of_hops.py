"""Hops, streams with a hop, and sources as input of a hop: they are entered or opened, and left, in the task that reads them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit import hops
from streamkit.moderation import Decision, Window
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
    "a source": lambda source: source,
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


ITEMS: dict[str, Callable[[], Any]] = {
    "a list": lambda: EVENTS,
    "a tuple": lambda: tuple(EVENTS),
    "a generator": lambda: (event for event in EVENTS),
    "an iterator": lambda: iter(EVENTS),
}
CLASSIFYING: dict[str, Callable[[Any], Any]] = {
    "guarded": lambda events: hops.guarded(events, allowed),
    "classify": lambda events: hops.classify(events, allowed),
}


async def allowed(*window: Window) -> Decision:
    await anyio.lowlevel.checkpoint()
    return Decision()


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
@outer
async def test_any_iterable_comes_through_as_it_does_left_of_a_pipeline(items: Any, outer: Any) -> None:
    async with outer(items()) as events:
        assert [event async for event in events] == EVENTS


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize("moderating", CLASSIFYING.values(), ids=CLASSIFYING)
async def test_any_iterable_of_events_can_be_moderated(items: Any, moderating: Any) -> None:
    async with moderating(items()) as events:
        assert [event async for event in events if isinstance(event, sk.TextDelta)] == [EVENTS[0], EVENTS[2]]


async def test_any_iterable_can_be_read_by_several_consumers() -> None:
    async with hops.tee(EVENTS, 2) as branches:
        for branch in branches:
            assert [event async for event in branch] == EVENTS
    async with hops.broadcast(EVENTS) as hub:
        assert [event async for event in hub.subscribe()] == EVENTS
    async with hops.group_by(range(4), lambda number: number % 2) as groups:
        found = [[number async for number in group] async for group in groups]
    assert found == [[0, 2], [1, 3]]


async def test_a_response_and_a_file_are_bytes_as_left_of_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "answer.sse").write_bytes(b"data: 1\n\n")

    async with hops.prefetch(tmp_path / "answer.sse") as pieces:  # type: ignore[var-annotated, arg-type]
        assert [piece async for piece in pieces] == [b"data: 1\n\n"]


@pytest.mark.parametrize("wrong", [None, 1, object()], ids=["None", "1", "an object"])
@outer
async def test_what_can_t_be_read_is_refused_with_the_message_of_a_pipeline(wrong: object, outer: Any) -> None:
    with pytest.raises(sk.PipelineError, match=r"expected a source .* or an iterable, found an object of type"):
        async with outer(wrong):
            pass
