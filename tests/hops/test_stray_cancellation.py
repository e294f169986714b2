"""A `CancelledError` that nobody's cancellation caused is a failure, and never an end without an error. (asyncio)"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.events import Skipped
from streamkit.moderation.classifiers.classifier import Decision

pytestmark = pytest.mark.asyncio
STRAY = "CancelledError was raised by the awaited code, though nothing had cancelled this task"


async def stray() -> None:
    inner = asyncio.ensure_future(asyncio.sleep(60))
    inner.cancel()
    await inner


async def numbers() -> AsyncIterator[int]:
    for number in range(4):
        yield number


async def breaking() -> AsyncIterator[int]:
    yield 0
    await stray()


async def broken(number: int) -> int:
    if number == 2:
        await stray()
    return number


async def opening(request: object) -> Any:
    await stray()


def one(item: object) -> int:
    return 1


class Gathered:
    """A hop of several streams, of which the first is read."""

    def __init__(self, context: Any) -> None:
        self.context = context

    async def __aenter__(self) -> Any:
        given = await self.context.__aenter__()
        if hasattr(given, "subscribe"):
            return given.subscribe()
        return given[0] if isinstance(given, tuple) else given

    async def __aexit__(self, *error: Any) -> None:
        await self.context.__aexit__(*error)


class Shared:
    """One request of `shared`."""

    def __init__(self, open: Callable[[Any], Any]) -> None:
        self.shared = sk.hops.shared(lambda request: request, open)

    async def __aenter__(self) -> Any:
        answers = await self.shared.__aenter__()
        self.answer = answers(1)
        return await self.answer.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self.answer.__aexit__(*error)
        await self.shared.__aexit__(*error)


HOPS: dict[str, tuple[Callable[[], Any], list[object]]] = {
    "prefetch": (lambda: sk.hops.prefetch(breaking()), [0]),
    "tee": (lambda: Gathered(sk.hops.tee(breaking(), 1)), [0]),
    "broadcast": (lambda: Gathered(sk.hops.broadcast(breaking())), [0]),
    "merge": (lambda: sk.hops.merge(breaking()), [0]),
    "race": (lambda: sk.hops.race(breaking(), wins=lambda item: True), [0]),
    "concurrent_map, its input": (lambda: sk.hops.concurrent_map(breaking(), broken), [0]),
    "concurrent_map, its function": (lambda: sk.hops.concurrent_map(numbers(), broken), [0, 1]),
    "latest, its input": (lambda: sk.hops.latest(breaking(), broken, size=9), [0]),
    "latest, its function": (lambda: sk.hops.latest(one_number(2), broken), []),
    "latest, its stream": (lambda: sk.hops.latest(one_number(1), lambda item: breaking()), [0]),
    "shared, its stream": (lambda: Shared(lambda request: breaking()), [0]),
    "shared, its function": (lambda: Shared(opening), []),
    "from_generator": (lambda: sk.hops.from_generator(lambda items: breaking(), numbers()), [0]),
}


async def one_number(number: int) -> AsyncIterator[int]:
    yield number


@pytest.mark.parametrize(("make", "before"), HOPS.values(), ids=HOPS)
async def test_it_is_raised_after_what_came_before(make: Callable[[], Any], before: list[object]) -> None:
    seen: list[object] = []

    with anyio.fail_after(10):
        async with make() as items:
            with pytest.raises(sk.errors.StreamInterrupted, match=STRAY) as caught:
                async for item in items:
                    seen.append(item)

    assert seen == before
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_each_group_raises_it() -> None:
    with anyio.fail_after(10):
        async with sk.hops.group_by(breaking(), one) as groups:
            with pytest.raises(sk.errors.StreamInterrupted, match=STRAY):
                async for group in groups:
                    assert await anext(group) == 0
                    with pytest.raises(sk.errors.StreamInterrupted, match=STRAY):
                        await anext(group)


async def test_on_error_takes_it_as_any_failure() -> None:
    with anyio.fail_after(10):
        async with sk.hops.concurrent_map(numbers(), broken, on_error="skip") as items:
            assert [item async for item in items] == [0, 1, Skipped("int", "StreamInterrupted", 1, 2), 3]


async def test_a_check_that_ends_so_has_failed() -> None:
    async def check() -> Decision:
        await stray()
        return Decision("allow")

    async def answer() -> AsyncIterator[sk.Event]:
        yield sk.TextDelta("a")
        yield sk.StreamEnd("completed")

    with anyio.fail_after(10):
        async with sk.hops.guarded(answer(), check) as events:
            assert [event async for event in events][-1] == sk.StreamEnd("moderated")


async def test_a_cancellation_of_the_task_stays_one() -> None:
    async def wait(number: int) -> int:
        cancel()
        await asyncio.sleep(60)
        return number

    async def consume() -> None:
        async with sk.hops.concurrent_map(numbers(), wait) as items:
            await anext(items)

    with anyio.CancelScope() as scope:
        cancel: Callable[[], object] = scope.cancel
        await consume()
    assert scope.cancelled_caught

    consuming = asyncio.ensure_future(consume())
    cancel = consuming.cancel
    with pytest.raises(asyncio.CancelledError):
        await consuming
