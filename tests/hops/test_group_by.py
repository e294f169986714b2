"""A stream split by a key: order, bounds, ends, failures, and clean-up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit import hops, ops
from streamkit.testing import HANG, Scripted, no_leaks
from tests.kit import Same, all_of

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed")


def choice(event: Any) -> int | None:
    return getattr(event, "index", None)


def odd(number: int) -> bool:
    return number % 2 == 1


def failing(number: int) -> bool:
    if number == 3:
        raise ValueError("no key")
    return False


async def grouped(source: Any, key: Any, **options: Any) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    async with hops.group_by(source | Same(), key, **options) as groups, anyio.create_task_group() as tasks:

        async def consume(group: hops.Group[Any, Any]) -> None:
            found[group.key] = [item async for item in group]

        async for group in groups:
            tasks.start_soon(consume, group)
    return found


async def test_each_group_has_the_items_of_its_key_in_their_order_and_the_end() -> None:
    events = [sk.TextDelta("a", 0), sk.TextDelta("x", 1), sk.TextDelta("b", 0), sk.TextDelta("y", 1), END]

    assert await grouped(events, choice) == {
        0: [sk.TextDelta("a", 0), sk.TextDelta("b", 0), END],
        1: [sk.TextDelta("x", 1), sk.TextDelta("y", 1), END],
    }


async def test_no_more_is_read_than_the_slowest_group_has_room_for_and_a_closed_one_holds_up_nobody() -> None:
    source = Scripted[Any](*range(100))

    async with hops.group_by(source | Same(), odd, size=3) as groups:
        even, other = await anext(groups), await anext(groups)
        assert (even.key, other.key) == (False, True)
        await wait_all_tasks_blocked()
        assert (even.waiting, other.waiting) == (3, 2)
        assert len(source.left) >= 94
        await other.aclose()
        assert [item async for item in even] == list(range(0, 100, 2))

    assert source.closed


async def test_a_consumer_too_far_behind_loses_what_the_overflow_says() -> None:
    async with hops.group_by([1, 2, 3, 4] | Same(), odd, size=1, overflow="drop_oldest") as groups:
        found = [group async for group in groups]
        assert [(group.key, group.dropped, [item async for item in group]) for group in found] == [
            (True, 1, [3]),
            (False, 1, [4]),
        ]


async def test_more_keys_than_allowed_are_an_error_after_what_came_before() -> None:
    async with hops.group_by([1, 2, 3] | Same(), int, groups=2) as groups:
        first, second = await anext(groups), await anext(groups)
        for items in (groups, first, second):
            with pytest.raises(sk.errors.QueueOverflow, match="expected at most 2 groups, found another key"):
                while True:
                    await anext(items)


async def test_an_error_of_the_stream_or_the_key_is_raised_by_every_group_after_its_items() -> None:
    for source, key, error in (
        (Scripted[Any](1, 2, sk.errors.Disconnected("gone")), odd, sk.errors.Disconnected),
        (Scripted[Any](1, 2, 3), failing, ValueError),
    ):
        seen: list[Any] = []
        async with hops.group_by(source | Same(), key) as groups:
            with pytest.raises(error):
                async for group in groups:
                    with pytest.raises(error):
                        async for item in group:
                            seen.append(item)
        assert seen == [1, 2]
        assert source.closed


async def test_closing_all_groups_closes_the_source() -> None:
    source = Scripted[Any](1, HANG)

    async with hops.group_by(source | Same(), odd) as groups:
        group = await anext(groups)
        await groups.aclose()
        assert source.closed
        assert [item async for item in group] == [item async for item in groups] == []


@pytest.mark.parametrize(("options", "message"), [({"size": 0}, "a size"), ({"groups": 0}, "a number_of_groups")])
async def test_bounds_that_can_t_work_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        async with hops.group_by([1] | Same(), odd, **options):
            pass
    with pytest.raises(sk.PipelineError, match=message):
        hops.GroupBy(odd, Same(), **options)


async def test_options_that_can_t_work_are_refused() -> None:
    wrong: Any = "name"
    with pytest.raises(sk.PipelineError, match="key: expected a function, found an object of type str"):
        async with hops.group_by([1] | Same(), wrong):
            pass
    with pytest.raises(
        sk.PipelineError, match="overflow: expected one of wait, drop_oldest, drop_newest, error, found 'name'"
    ):
        async with hops.group_by([1] | Same(), odd, overflow=wrong):
            pass


# As a stage


async def test_each_group_runs_through_a_copy_of_the_pipeline() -> None:
    events = [
        sk.TextDelta("a", 0),
        sk.Usage(1, 2),
        sk.TextDelta("x", 1),
        sk.TextDelta("b", 0),
        sk.Finish("stop", 0),
        sk.Finish("stop", 1),
        END,
    ]

    *found, end = await all_of(events | hops.GroupBy(choice, ops.Sentences()))

    assert [item for item in found if choice(item) == 0] == [sk.TextDelta("ab", 0), sk.Finish("stop", 0)]
    assert [item for item in found if choice(item) == 1] == [sk.TextDelta("x", 1), sk.Finish("stop", 1)]
    assert [item for item in found if choice(item) is None] == [sk.Usage(1, 2)]
    assert end == END


async def test_groups_run_at_the_same_time_and_a_pipeline_may_have_hops() -> None:
    running = most = 0

    async def wait(event: sk.TextDelta) -> sk.TextDelta:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await wait_all_tasks_blocked()
        running -= 1
        return event

    events = [sk.TextDelta(str(index), index) for index in range(4)]
    pipeline = Same() | hops.Prefetch(2) | sk.stage(wait)

    found = await all_of([*events, END] | hops.GroupBy(choice, pipeline))

    assert sorted(found[:-1], key=choice) == events
    assert (found[-1], most) == (END, 4)


@dataclass
class Ends(sk.Stage[Any, Any]):
    """Emits a `StreamEnd` whose reason is the text."""

    def feed(self, item: Any) -> Iterable[Any]:
        return (sk.StreamEnd(item.text),) if isinstance(item, sk.TextDelta) else ()


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], "completed"),
        (["completed", "moderated"], "moderated"),
        (["length", "tool_calls"], "length"),
        (["moderated", "limit", "truncated"], "limit"),
    ],
)
async def test_one_end_is_released_the_least_complete(ends: Sequence[str], expected: str) -> None:
    events = [sk.TextDelta(end, index) for index, end in enumerate(ends)]

    assert await all_of([*events, END] | hops.GroupBy(choice, Ends())) == [sk.StreamEnd(expected)]  # type: ignore[arg-type]


async def test_a_failure_of_one_group_cancels_the_others_and_comes_after_what_is_ready() -> None:
    cancelled: list[int] = []

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

    source = Scripted[Any](1, 2, 3, HANG)
    seen: list[int] = []
    with pytest.raises(ValueError, match="two"):
        async with source | hops.GroupBy(int, sk.stage(work)) as numbers:
            async for number in numbers:
                seen.append(number)

    assert (seen, cancelled, bool(source.closed)) == ([1], [3], True)


async def test_an_error_of_the_stream_comes_after_the_results_of_all_groups() -> None:
    source = Scripted[Any](1, 2, 3, sk.errors.Disconnected("gone"))
    seen: list[int] = []

    async with source | hops.GroupBy(odd, Same()) as numbers:
        with pytest.raises(sk.errors.Disconnected):
            async for number in numbers:
                seen.append(number)

    assert sorted(seen) == [1, 2, 3]


async def test_a_group_whose_pipeline_is_done_takes_no_more() -> None:
    found = await all_of([1, 2, 3, 4, 5] | hops.GroupBy(odd, ops.Take(1)))

    assert sorted(found) == [1, 2]


async def test_leaving_early_and_cancelling_leave_nothing() -> None:
    with no_leaks():
        source = Scripted[Any](1, 2, HANG)
        async with source | hops.GroupBy(odd, Same()) as numbers:
            await anext(numbers)
        assert source.closed

        source = Scripted[Any](1, 2, HANG)
        async with source | hops.GroupBy(odd, Same()) as numbers, anyio.create_task_group() as group:

            async def consume() -> None:
                assert [item async for item in numbers][-1] == sk.StreamEnd("cancelled")
                assert source.closed

            group.start_soon(consume)
            await wait_all_tasks_blocked()
            numbers.cancel()


async def test_a_pipeline_that_assembles_text_belongs_behind_moderation_here_too() -> None:
    with pytest.raises(sk.PipelineError, match="put Moderate first"):
        hops.GroupBy(choice, sk.Accumulate()) | sk.Moderate(sk.Rule("a", ("b",)))
    with pytest.raises(
        sk.PipelineError, match="expected a stage or a pipeline for the groups, found an object of type int"
    ):
        hops.GroupBy(choice, 1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_a_pipeline_file_may_name_it() -> None:
    pipeline: Any = sk.pipelines.loads(
        """
        [[stage]]
        use = "GroupBy"
        key = { named = "tests.hops.test_group_by:choice" }
        pipeline = [{ use = "Sentences" }, { use = "Accumulate" }]
        """
    )

    found = await all_of([sk.TextDelta("a", 0), sk.TextDelta("b", 1), END] | pipeline)

    assert sorted(item.choices[0].text for item in found if isinstance(item, sk.Completion)) == ["a", "b"]


@given(st.lists(st.integers(0, 5)), st.integers(1, 4))
def test_any_items_come_once_and_in_the_order_of_their_key(numbers: list[int], size: int) -> None:
    async def main() -> list[int]:
        return await all_of(enumerate(numbers) | hops.GroupBy(lambda pair: pair[1], Same(), size))

    found = anyio.run(main)

    assert sorted(found) == list(enumerate(numbers))
    for key in set(numbers):
        assert [pair for pair in found if pair[1] == key] == [pair for pair in enumerate(numbers) if pair[1] == key]
