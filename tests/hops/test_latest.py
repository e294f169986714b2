"""Work for the newest item only: cancellation, released items, and clean-up."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import hops
from streamkit.events import Reset
from streamkit.testing import HANG, Scripted, no_leaks
from tests.kit import Same

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed")


class Typed:
    """Items that arrive when the test adds them."""

    def __init__(self) -> None:
        self.send, self.receive = anyio.create_memory_object_stream[Any](10)
        self.closed = False

    async def __call__(self) -> AsyncIterator[Any]:
        try:
            async for item in self.receive:
                yield item
        finally:
            self.closed = True
            self.receive.close()

    async def type(self, *items: Any) -> None:
        for item in items:
            await self.send.send(item)
            await wait_all_tasks_blocked()


async def all_of(items: Any) -> list[Any]:
    return [item async for item in items]


async def test_a_new_input_cancels_the_call_for_the_one_before() -> None:
    typed, log = Typed(), list[str]()

    async def search(query: str) -> str:
        log.append(f"begin {query}")
        try:
            await (checkpoint() if query == "ab" else anyio.sleep_forever())
        finally:
            log.append(f"end {query}")
        return query.upper()

    async with hops.latest(typed(), search) as results:
        await typed.type("a", "ab")
        assert log == ["begin a", "end a", "begin ab", "end ab"]
        typed.send.close()
        assert await all_of(results) == ["AB"]

    assert typed.closed


async def test_of_inputs_that_come_while_one_is_being_cancelled_the_newest_is_used() -> None:
    typed, begun, cleaned = Typed(), list[int](), anyio.Event()

    async def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await cleaned.wait()
        return number

    async with hops.latest(typed(), work) as results:
        await typed.type(1, 2, 3, 4)
        assert begun == [1]
        cleaned.set()
        typed.send.close()
        assert await all_of(results) == [4]
        assert begun == [1, 4]


def asked(*steps: Any) -> Any:
    return Scripted[Any](*steps) | Same()


async def test_a_stream_that_is_superseded_is_closed_and_said_to_be_void() -> None:
    typed = Typed()
    sources = {
        "a": Scripted[Any](sk.TextDelta("one"), HANG),
        "b": Scripted[Any](sk.TextDelta("two"), sk.StreamEnd("length")),
        "c": Scripted[Any](sk.TextDelta("three"), END),
    }

    async with hops.latest(typed(), lambda query: sources[query] | Same()) as events:
        await typed.type("a")
        assert await anext(events) == sk.TextDelta("one")
        await typed.type("b", "c")
        assert sources["a"].closed
        typed.send.close()
        assert await all_of(events) == [
            Reset("superseded"),
            sk.TextDelta("two"),
            Reset("superseded"),
            sk.TextDelta("three"),
            END,
        ]


async def test_what_has_released_nothing_needs_no_reset() -> None:
    typed = Typed()
    answers = {"a": asked(HANG), "b": asked(sk.TextDelta("two"), END)}

    async with hops.latest(typed(), answers.__getitem__) as events:
        await typed.type("a", "b")
        typed.send.close()
        assert await all_of(events) == [sk.TextDelta("two"), END]


async def test_hops_and_async_generators_are_streams_too() -> None:
    async def count(number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each

    async with hops.latest([3] | Same(), count) as numbers:
        assert await all_of(numbers) == [0, 1, 2]

    async with hops.latest([1] | Same(), lambda _: hops.prefetch(asked(sk.TextDelta("a"), END))) as events:
        assert await all_of(events) == [sk.TextDelta("a"), END]


async def test_other_events_pass_and_the_end_comes_last() -> None:
    async def shout(delta: sk.TextDelta) -> sk.TextDelta:
        await checkpoint()
        return sk.TextDelta(delta.text.upper())

    stream = asked(sk.ReasoningDelta("hm"), sk.TextDelta("a"), sk.Finish("stop"), END) | hops.Latest(shout)

    async with stream as events:
        found = await all_of(events)

    assert sorted(found[:-1], key=repr) == [sk.Finish("stop"), sk.ReasoningDelta("hm"), sk.TextDelta("A")]
    assert found[-1] == END


async def test_a_consumer_that_falls_behind_slows_the_stream() -> None:
    source = Scripted[Any](*range(100))

    async with hops.latest([1] | Same(), lambda _: source | Same(), size=5) as numbers:
        await wait_all_tasks_blocked()
        assert len(source.left) == 94
        assert await all_of(numbers) == list(range(100))


async def test_a_failure_comes_after_what_was_released_and_closes_the_inputs() -> None:
    typed = Typed()

    async with hops.latest(typed(), lambda _: asked(1, sk.errors.Disconnected("gone"))) as numbers:
        await typed.type("a")
        assert await anext(numbers) == 1
        for _ in range(2):
            with pytest.raises(sk.errors.Disconnected) as caught:
                await anext(numbers)
        assert [note for note in caught.value.__notes__ if note.startswith("in latest: ")]
        assert typed.closed
    typed.send.close()


async def test_an_error_of_the_inputs_waits_for_the_last_call() -> None:
    async def later(number: int) -> int:
        await wait_all_tasks_blocked()
        return number

    seen: list[int] = []
    async with hops.latest(asked(1, sk.errors.Disconnected("gone")), later) as numbers:
        with pytest.raises(sk.errors.Disconnected):
            async for number in numbers:
                seen.append(number)

    assert seen == [1]


async def test_leaving_early_and_cancelling_leave_nothing() -> None:
    with no_leaks():
        source, inner = Scripted[Any](1, HANG), Scripted[Any](2, HANG)
        async with source | hops.Latest(lambda _: inner | Same()) as numbers:
            assert await anext(numbers) == 2
        assert source.closed
        assert inner.closed

        source, inner = Scripted[Any](1, HANG), Scripted[Any](2, HANG)
        async with anyio.create_task_group() as group:

            async def consume() -> None:
                async with source | hops.Latest(lambda _: inner | Same()) as numbers:
                    await all_of(numbers)

            group.start_soon(consume)
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert source.closed
        assert inner.closed


async def test_what_can_t_work_is_refused() -> None:
    with pytest.raises(sk.PipelineError, match="expected a function, found an object of type int"):
        hops.Latest(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(sk.PipelineError, match="expected a size of 1 or more, found 0"):
        hops.Latest(len, size=0)
    with pytest.raises(
        sk.PipelineError, match="expected a stream or another async iterable, found an object of type int"
    ):
        async with [1] | hops.Latest(lambda _: 5) as numbers:  # type: ignore[arg-type,return-value]
            await all_of(numbers)
