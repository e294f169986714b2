"""Several streams at once: merged in turns, or only the first one with content."""

from collections.abc import AsyncGenerator

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.hops import merge, race, tee
from streamkit.testing import HANG, Scripted, no_leaks

pytestmark = pytest.mark.anyio
START, HI, END = sk.events.ResponseStart("1"), sk.TextDelta("Hi"), sk.StreamEnd("completed", saw_done=True)


@sk.stage
def pass_on(event: sk.TextDelta) -> sk.TextDelta:
    return event


class Watched:
    """An async generator that records whether it was closed."""

    def __init__(self, *items: object, gate: anyio.Event | None = None, error: Exception | None = None) -> None:
        self.items = items
        self.gate = gate
        self.error = error
        self.begun = self.closed = False

    async def __call__(self) -> AsyncGenerator[object, None]:
        try:
            self.begun = True
            for item in self.items:
                await checkpoint()
                yield item
            if self.gate:
                await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            self.closed = True


async def test_streams_that_have_items_take_turns() -> None:
    async with merge(Watched(1, 2, 3)(), Watched("a", "b", "c")(), size=5) as items:
        await wait_all_tasks_blocked()
        assert [item async for item in items] == [1, "a", 2, "b", 3, "c"]


async def test_a_silent_stream_holds_nobody_up_and_each_item_says_whose_it_is() -> None:
    gate = anyio.Event()
    async with merge(Watched(gate=gate)(), Watched("a", "b")()) as items:
        assert await anext(items) == "a"
        assert items.number == 1
        assert await anext(items) == "b"
        gate.set()
        assert [item async for item in items] == []


async def test_an_error_comes_after_the_items_of_its_stream_and_ends_the_whole() -> None:
    other = Watched("a", gate=anyio.Event())
    seen: list[object] = []
    async with merge(Watched(1, 2, error=LookupError("gone"))(), other(), size=5) as items:
        for _ in range(2):
            with pytest.raises(LookupError, match="gone"):
                async for item in items:
                    seen.append(item)
    assert sorted(map(str, seen)) == ["1", "2", "a"]
    assert other.closed


async def test_leaving_a_merge_closes_all() -> None:
    told = [Watched(number, gate=anyio.Event()) for number in range(3)]
    async with merge(*(each() for each in told)) as items:
        await anext(items)
    assert all(each.closed for each in told)


async def test_a_merge_of_nothing_is_empty() -> None:
    async with merge() as items:
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_the_first_with_content_wins_and_the_others_are_closed_before_its_first_item() -> None:
    slow, fast = Watched(START, gate=anyio.Event()), Watched(START, HI, END)
    async with race(slow(), fast()) as items:
        assert slow.closed
        assert items.number == 1
        assert [item async for item in items] == [START, HI, END]
    assert items.failures == {}


async def test_streams_race_and_the_losers_source_is_closed() -> None:
    slow, fast = Scripted[sk.Event](START, HANG), Scripted[sk.Event](START, HI, END)
    with no_leaks():
        async with race(slow | pass_on, fast | pass_on) as items:
            assert (slow.opened, slow.closed) == (1, 1)
            assert [item async for item in items] == [START, HI, END]
    assert fast.closed


@pytest.mark.parametrize(
    "failure", [LookupError("refused"), sk.StreamEnd("truncated"), sk.StreamEnd("unknown")], ids=str
)
async def test_one_that_fails_without_content_is_out(failure: Exception | sk.StreamEnd) -> None:
    gate = anyio.Event()
    bad = Watched(START, error=failure) if isinstance(failure, Exception) else Watched(START, failure)
    late = Watched()

    async def good() -> AsyncGenerator[object, None]:
        await gate.wait()
        yield HI

    async with anyio.create_task_group() as group:

        async def open_the_gate() -> None:
            await wait_all_tasks_blocked()
            gate.set()

        group.start_soon(open_the_gate)
        async with race(bad(), good()) as items:
            assert items.number == 1
            assert items.failures == {0: failure}
            assert [item async for item in items] == [HI]
    assert not late.begun


async def test_when_all_fail_the_last_ones_items_and_error_are_given() -> None:
    seen: list[object] = []
    async with race(Watched(error=LookupError("one"))(), Watched(START, error=LookupError("two"))()) as items:
        with pytest.raises(LookupError, match="two"):
            async for item in items:
                seen.append(item)
    assert seen == [START]
    assert str(items.failures[0]) == "one"


async def test_an_answer_that_is_complete_without_content_wins() -> None:
    async with race(Watched(START, END)(), Watched(gate=anyio.Event())()) as items:
        assert [item async for item in items] == [START, END]


async def test_a_hedge_begins_only_when_the_first_is_late() -> None:
    second = Watched(HI)
    async with race(Watched(HI, END)(), second(), after=60) as items:
        assert [item async for item in items] == [HI, END]
    assert not second.begun


async def test_a_hedge_begins_at_once_when_the_first_has_failed() -> None:
    async with race(Watched(error=LookupError("refused"))(), Watched(HI, END)(), after=60) as items:
        assert items.number == 1
        assert [item async for item in items] == [HI, END]


async def test_a_hedge_begins_when_its_time_has_come() -> None:
    async with race(Watched(START, gate=anyio.Event())(), Watched(HI, END)(), after=0.001) as items:
        assert items.number == 1


async def test_leaving_a_race_closes_the_winner_and_a_cancelled_race_all() -> None:
    winner = Watched(HI, gate=anyio.Event())
    async with race(winner(), Watched(gate=anyio.Event())()) as items:
        await anext(items)
    assert winner.closed

    told = [Watched(START, gate=anyio.Event()) for _ in range(2)]
    async with anyio.create_task_group() as group:

        async def enter() -> None:
            async with race(*(each() for each in told)):
                raise AssertionError("nobody has won")

        group.start_soon(enter)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert all(each.closed for each in told)


async def test_one_that_talks_long_without_content_wins() -> None:
    async with race(Watched(*[START] * 20, gate=anyio.Event())(), Watched(gate=anyio.Event())(), head=5) as items:
        assert items.number == 0


async def test_a_race_of_nobody_is_refused() -> None:
    with pytest.raises(sk.PipelineError, match="expected a contenders of 1 or more, found 0"):
        async with race():
            pass


async def test_a_hop_of_several_streams_that_was_not_entered_is_no_stream() -> None:
    with pytest.raises(sk.PipelineError, match="found an object of type EnteredOnce, which is a context manager"):
        async with merge(tee(Watched(HI)()), Watched(HI)()):  # type: ignore[arg-type]
            pass
    with pytest.raises(sk.PipelineError, match=r"expected a source .* or an iterable, found an object of type int"):
        async with race(1):  # type: ignore[arg-type]
            pass
