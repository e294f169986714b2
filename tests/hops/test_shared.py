"""Equal requests that are in flight share one upstream answer."""

import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import hops
from streamkit.hops import sharing
from streamkit.testing import HANG, Scripted, no_leaks
from tests.kit import Same, all_of

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed")


class Upstream:
    """Opens scripted streams, and keeps their sources by request."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.opened: list[Scripted[Any]] = []

    def __call__(self, request: Any) -> Any:
        self.opened.append(Scripted[Any](*self.steps))
        return self.opened[-1] | Same()


def same(request: Any) -> Any:
    return request


async def test_equal_requests_share_an_answer_and_late_ones_receive_what_they_missed() -> None:
    gate = anyio.Event()

    async def upstream() -> AsyncIterator[Any]:
        yield sk.TextDelta("a")
        await gate.wait()
        yield sk.TextDelta("b")
        yield END

    opened: list[Any] = []

    async def open(request: Any) -> Any:
        opened.append(request)
        return upstream()

    async with hops.shared(same, open) as answers, answers({"model": "m", "n": 1}) as first:
        assert await anext(first) == sk.TextDelta("a")
        async with answers({"n": 1, "model": "m"}) as second:
            assert await anext(second) == sk.TextDelta("a")
            gate.set()
            rest = [sk.TextDelta("b"), END]
            assert [item async for item in second] == [item async for item in first] == rest
        assert opened == [{"model": "m", "n": 1}]


async def test_other_requests_and_those_after_the_end_open_their_own() -> None:
    upstream = Upstream(1, 2)

    async with hops.shared(same, upstream) as answers:
        for request in ("a", "b", "a"):
            assert await all_of(answers(request)) == [1, 2]
        assert (len(upstream.opened), answers.in_flight) == (3, 0)


async def test_the_last_one_to_leave_closes_the_upstream_before_control_returns() -> None:
    upstream = Upstream(1, HANG)

    with no_leaks():
        async with hops.shared(same, upstream) as answers:
            async with answers("a") as first:
                async with answers("a") as second:
                    assert (await anext(first), await anext(second)) == (1, 1)
                (source,) = upstream.opened
                assert not source.closed
            assert source.closed
            assert answers.in_flight == 0


async def test_one_that_is_cancelled_changes_nothing_for_the_others() -> None:
    upstream = Upstream(1, [2, 3], HANG)

    async with hops.shared(same, upstream) as answers, answers("a") as first:
        async with anyio.create_task_group() as group:
            group.start_soon(all_of, answers("a"))
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert [await anext(first) for _ in range(3)] == [1, 2, 3]
        assert not upstream.opened[0].closed


async def test_an_error_is_raised_for_each_after_the_items_before_it() -> None:
    upstream = Upstream(1, sk.errors.Disconnected("gone"))

    async with hops.shared(same, upstream) as answers, answers("a") as first, answers("a") as second:
        for share in (first, second):
            assert await anext(share) == 1
            for _ in range(2):
                with pytest.raises(sk.errors.Disconnected):
                    await anext(share)
    assert len(upstream.opened) == 1

    def refuse(request: Any) -> Any:
        raise KeyError("open")

    async with hops.shared(same, refuse) as answers:
        with pytest.raises(KeyError, match="open"):
            await all_of(answers("a"))


async def test_it_is_read_no_further_than_the_fastest_allows() -> None:
    upstream = Upstream(*range(100))

    async with hops.shared(same, upstream, ahead=5) as answers, answers("a") as fast, answers("a") as slow:
        await wait_all_tasks_blocked()
        assert len(upstream.opened[0].left) == 95
        assert [await anext(fast) for _ in range(10)] == list(range(10))
        await wait_all_tasks_blocked()
        assert len(upstream.opened[0].left) == 85
        assert await anext(slow) == 0


async def test_history_is_bounded() -> None:
    upstream = Upstream(*range(100))

    async with hops.shared(same, upstream, ahead=5, history=16) as answers, answers("a") as first:
        async with answers("a") as behind:
            assert [await anext(first) for _ in range(50)] == list(range(50))
            with pytest.raises(sk.errors.QueueOverflow, match="more than the 16 items that are kept"):
                await anext(behind)
        async with answers("a") as late:
            assert await anext(late) == 0
        assert len(upstream.opened) == 2


async def test_it_stands_left_of_a_pipeline() -> None:
    upstream = Upstream(sk.TextDelta("a"), sk.TextDelta("b"), sk.Finish("stop"), END)

    async with hops.shared(same, upstream) as answers:
        assert (await (answers("a") | sk.Accumulate()).final()).text == "ab"
        async with answers("a") as events:
            assert await events.text() == "ab"


async def test_leaving_the_block_closes_all_and_interrupts_who_still_reads() -> None:
    upstream = Upstream(1, HANG)
    async with hops.shared(same, upstream) as answers:
        share = answers.join("a")
        assert await anext(share) == 1
    assert upstream.opened[0].closed
    with pytest.raises(sk.errors.StreamInterrupted):
        await anext(share)
    with pytest.raises(sk.PipelineError, match=r"the block of hops\.shared has ended"):
        await all_of(answers("a"))


async def test_a_key_is_json() -> None:
    async with hops.shared(lambda request: object(), Upstream(1)) as answers:
        with pytest.raises(
            sk.PipelineError, match="expected a key of JSON-compatible data, found an object of type object"
        ):
            await all_of(answers("secret"))


@pytest.mark.parametrize("steps", range(16))
async def test_one_that_is_cancelled_at_any_step_leaves_nothing_and_does_not_wait(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "CLOSE_SECONDS", math.inf)
    upstream = Upstream(*[sk.TextDelta("a")] * 3, END)

    async def read(answers: Any) -> None:
        async with answers("a") as share:
            async for _ in share:
                await checkpoint()

    async def run() -> None:
        async with hops.shared(same, upstream) as answers, anyio.create_task_group() as group:
            group.start_soon(read, answers)
            group.start_soon(read, answers)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()

    assert all(source.closed == 1 for source in upstream.opened if source.opened)
