"""Fallback, deadlines and rate limits."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.hops import deadlines, fallback, rate_limit
from streamkit.testing import HANG, Scripted

pytestmark = pytest.mark.anyio
START, HI, YOU, END = sk.events.ResponseStart("1"), sk.TextDelta("Hi"), sk.TextDelta(" you"), sk.StreamEnd("completed")


@sk.stage
def pass_on(event: sk.TextDelta) -> sk.TextDelta:
    return event


def stream(*steps: Any) -> sk.Stream[sk.Event]:
    return Scripted[sk.Event](*steps) | pass_on


async def read(source: sk.Source[sk.Event]) -> list[sk.Event]:
    async with source | pass_on as events:
        return [event async for event in events]


FAILURES = [
    (sk.errors.Disconnected("broken"), "Disconnected"),
    (sk.ProviderError("overloaded", retryable=True), "ProviderError"),
    (sk.StreamEnd("truncated"), "truncated"),
    (sk.StreamEnd("provider_error"), "provider_error"),
    (sk.StreamEnd("unknown"), "unknown"),
]
every_failure = pytest.mark.parametrize(("failure", "name"), FAILURES, ids=[name for _, name in FAILURES])


@every_failure
async def test_the_next_one_is_read_when_one_fails_before_content(failure: Any, name: str) -> None:
    source = fallback(stream(failure), stream(START, HI, END))

    assert await read(source) == [START, HI, END]
    assert source.failures == [name]


@every_failure
async def test_what_was_released_is_not_said_twice(failure: Any, name: str) -> None:
    source = fallback(stream(START, HI, failure), stream(HI, END))

    if isinstance(failure, Exception):
        with pytest.raises(type(failure)):
            await read(source)
    else:
        assert await read(source) == [START, HI, failure]
    assert source.failures == []


@every_failure
async def test_a_reset_says_that_what_was_released_is_void(failure: Any, name: str) -> None:
    source = fallback(stream(START, HI, failure), stream(START, YOU, END), after_release="reset")

    assert await read(source) == [START, HI, sk.events.Reset(name), START, YOU, END]


async def test_the_completion_of_a_failed_stream_is_not_given_if_another_follows() -> None:
    failed = Scripted[sk.Event](START, sk.StreamEnd("truncated")) | sk.Accumulate()
    async with fallback(failed, stream(HI, END)) | sk.Accumulate() as events:
        found = [event async for event in events]

    (completion,) = [event for event in found if isinstance(event, sk.Completion)]
    assert (completion.text, completion.end) == ("Hi", "completed")


async def test_each_failed_stream_is_closed_before_the_next_is_opened() -> None:
    first = Scripted[sk.Event](sk.errors.Disconnected("broken"))

    def second() -> sk.Stream[sk.Event]:
        assert first.closed
        return stream(HI, END)

    assert await read(fallback(first | pass_on, second)) == [HI, END]


async def test_one_that_can_not_be_opened_has_failed() -> None:
    class Refused(Scripted[sk.Event]):
        async def open(self) -> None:
            raise sk.errors.ConnectFailed("refused")

    source = fallback(Refused() | pass_on, Refused() | pass_on, stream(HI, END))

    assert await read(source) == [HI, END]
    assert source.failures == ["ConnectFailed", "ConnectFailed"]


async def test_the_last_ones_error_is_raised_and_a_mistake_at_once() -> None:
    with pytest.raises(sk.errors.Disconnected, match="two"):
        await read(fallback(stream(sk.errors.Disconnected("one")), stream(sk.errors.Disconnected("two"))))
    with pytest.raises(LookupError, match="mine"):
        await read(fallback(stream(LookupError("mine")), stream(HI)))
    with pytest.raises(sk.PipelineError, match="found none"):
        fallback()


async def test_the_same_source_again_is_a_retry_with_waits() -> None:
    attempts: list[int] = []
    asked: list[int] = []

    def attempt() -> sk.Stream[sk.Event]:
        attempts.append(len(attempts))
        return stream(HI, END) if len(attempts) == 3 else stream(sk.errors.Disconnected("broken"))

    def wait(failed: int) -> float:
        asked.append(failed)
        return 0

    assert await read(fallback(*[attempt] * 4, wait=wait)) == [HI, END]
    assert (attempts, asked) == ([0, 1, 2], [1, 2])


async def test_leaving_a_fallback_closes_the_stream_that_runs() -> None:
    running = Scripted[sk.Event](HI, HANG)
    async with fallback(stream(sk.errors.Disconnected("broken")), running | pass_on) | pass_on as events:
        await anext(aiter(events))
    assert running.closed


async def silent(*first: sk.Event) -> AsyncIterator[sk.Event]:
    for event in first:
        yield event
    await anyio.sleep_forever()


async def pings() -> AsyncIterator[sk.Event]:
    while True:
        await anyio.sleep(0.001)
        yield sk.events.ProviderNotice("ping")


@pytest.mark.parametrize(
    ("items", "allowed", "name", "seen"),
    [
        (partial(silent, START), {"first_content": 0.01}, "first_content", 1),
        (partial(silent, START, HI, YOU), {"first_content": 60, "idle_content": 0.01}, "idle_content", 3),
        (partial(silent, HI), {"idle_content": 60, "total": 0.01}, "total", 1),
        (pings, {"first_content": 0.02}, "first_content", None),
    ],
    ids=["first_content", "idle_content", "total", "pings are no content"],
)
async def test_a_deadline_that_passes_names_itself(
    items: Callable[[], AsyncIterator[sk.Event]], allowed: dict[str, float], name: str, seen: int | None
) -> None:
    found: list[sk.Event] = []
    async with deadlines(items(), **allowed) as watched:
        for _ in range(2):
            with pytest.raises(sk.errors.DeadlineExceeded) as caught:
                async for event in watched:
                    found.append(event)
    assert (caught.value.deadline, caught.value.seconds) == (name, allowed[name])
    assert seen is None or len(found) == seen


async def test_reads_that_the_consumer_cancels_count_as_waiting() -> None:
    async with deadlines(silent(START), first_content=0.05) as events:
        assert await anext(events) == START
        with pytest.raises(sk.errors.DeadlineExceeded), anyio.fail_after(60):
            while True:
                with anyio.move_on_after(0.01):
                    await anext(events)


async def test_a_stream_in_time_is_not_disturbed() -> None:
    async with deadlines(stream(START, HI, END), first_content=60, idle_content=60, total=60) as events:
        assert [event async for event in events] == [START, HI, END]


async def test_items_come_no_faster_than_they_may() -> None:
    began = anyio.current_time()
    async with rate_limit(stream(*[HI] * 5, END), per_second=200) as events:
        found = [event async for event in events]

    assert found == [*[HI] * 5, END]
    assert anyio.current_time() - began >= 5 / 200 * 0.99


async def test_the_first_burst_comes_at_once_and_costs_are_what_they_are_said_to_be() -> None:
    began = anyio.current_time()
    async with rate_limit(
        stream(HI, YOU, END), per_second=0.001, burst=6, cost=lambda event: len(getattr(event, "text", ""))
    ) as events:
        assert [event async for event in events] == [HI, YOU, END]
    assert anyio.current_time() - began < 100


async def test_a_wait_that_was_cancelled_loses_no_item() -> None:
    async with rate_limit(stream(HI, YOU, END), per_second=10) as events:
        assert await anext(events) == HI
        with anyio.move_on_after(0.0001) as waited:
            await anext(events)
        assert waited.cancelled_caught
        assert [event async for event in events] == [YOU, END]


async def test_a_rate_of_none_is_refused() -> None:
    with pytest.raises(
        sk.PipelineError, match="expected per_second and burst that are finite and more than 0, found 0 and 1"
    ):
        async with rate_limit(stream(HI), per_second=0):
            pass
