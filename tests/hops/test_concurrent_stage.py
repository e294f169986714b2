"""`@stage(concurrency=…)`: an async function as a stage with several calls at a time."""

import pickle
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import hops
from streamkit.testing import HANG, Scripted, no_leaks
from tests.kit import Same, all_of

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed")


@sk.stage(concurrency=4)
async def words(delta: sk.TextDelta) -> list[sk.TextDelta] | None:
    await checkpoint()
    return [sk.TextDelta(word) for word in delta.text.split()] or None


async def test_results_are_those_of_a_stage_in_the_place_of_their_items() -> None:
    reasoning = sk.ReasoningDelta("hm")
    events = [sk.TextDelta("a b"), reasoning, sk.TextDelta(" "), sk.TextDelta("c"), END]

    expected = [sk.TextDelta("a"), sk.TextDelta("b"), reasoning, sk.TextDelta("c"), END]
    assert await all_of(events | words) == expected
    assert await all_of(events | sk.stage(words.function)) == expected  # type: ignore[attr-defined] # pyright: ignore


async def test_as_many_calls_run_at_a_time_as_it_says() -> None:
    running = most = 0

    @sk.stage(concurrency=3, ordered=False)
    async def busy(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await wait_all_tasks_blocked()
        running -= 1
        return number

    assert sorted(await all_of(range(10) | busy)) == list(range(10))
    assert most == 3


async def test_many_calls_without_a_result_do_not_hold_up_the_reading() -> None:
    @sk.stage(concurrency=2)
    async def nothing(number: int) -> None:
        await checkpoint()

    assert await all_of(range(500) | Same() | nothing) == []


async def test_the_first_failure_cancels_the_others_and_comes_after_what_is_ready() -> None:
    cancelled: list[int] = []

    @sk.stage(concurrency=3)
    async def work(number: int) -> int:
        if number == 2:
            await wait_all_tasks_blocked()
            raise ValueError("two")
        try:
            await (checkpoint() if number == 1 else anyio.sleep_forever())
        except anyio.get_cancelled_exc_class():
            cancelled.append(number)
            raise
        return number

    source, seen = Scripted[Any](1, 2, 3, HANG), list[int]()
    with no_leaks(), pytest.raises(ValueError, match="two"):
        async with source | work as numbers:
            async for number in numbers:
                seen.append(number)

    assert (seen, cancelled, bool(source.closed)) == ([1], [3], True)


async def test_it_composes_is_shown_by_its_name_and_can_be_pickled() -> None:
    pipeline = Same() | words | hops.Prefetch(2)

    assert repr(pipeline) == "Same() | words | hops.Prefetch(size=2)"
    assert pickle.loads(pickle.dumps(words)) is words
    assert await all_of([sk.TextDelta("a b"), END] | pickle.loads(pickle.dumps(pipeline))) == [
        sk.TextDelta("a"),
        sk.TextDelta("b"),
        END,
    ]


async def test_a_pipeline_file_names_it() -> None:
    pipeline: Any = sk.pipelines.loads('[[stage]]\nuse = "tests.hops.test_concurrent_stage:words"\n')

    assert await all_of([sk.TextDelta("a b"), END] | pipeline) == [sk.TextDelta("a"), sk.TextDelta("b"), END]


def plain(number: int) -> int:
    return number


async def later(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sk.stage(concurrency=2)(plain), "expected a coroutine function, found plain, which can't wait"),
        (lambda: sk.stage(concurrency=0)(later), "expected a concurrency of 1 or more, found 0"),
        (lambda: sk.stage(), "write @stage or @stage\\(concurrency=8\\)"),
    ],
)
async def test_what_can_t_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        make()
