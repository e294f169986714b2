"""Long-running work of a stage is done in slices; between two of them the stream yields to other tasks."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk
from streamkit.core.engine import Slices
from streamkit.plugins.pipeline_files import measure

pytestmark = pytest.mark.anyio


@dataclass
class Repeated(sk.Stage[int, int]):
    """Each item repeated `times` times, each time in its own slice."""

    times: int = 3
    fails_at: int = -1
    stops_at: int = -1
    made: int = field(default=0, init=False)

    def feed(self, item: int) -> Iterable[int]:
        return self.feed_all([item])

    def feed_all(self, items: list[int]) -> Iterable[int]:
        return Slices(self._slices(items))

    def flush(self) -> Iterable[int]:
        return [-1]

    def _slices(self, items: list[int]) -> Iterator[list[int]]:
        for item in items:
            for _ in range(self.times):
                self.made += 1
                if self.made == self.fails_at:
                    raise ValueError("no")
                if self.made == self.stops_at:
                    self.done = True
                yield [item]


@dataclass
class Added(sk.AsyncStage[int, int]):
    amount: int = 10

    async def feed(self, item: int) -> Iterable[int]:
        await anyio.lowlevel.checkpoint()
        return [item + self.amount]


@dataclass
class Passing(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        return [item]


async def numbers(*items: int) -> AsyncGenerator[int, None]:
    for item in items:
        yield item


PIPELINES: dict[str, Any] = {
    "one": Repeated(),
    "two": Repeated(2) | Repeated(3),
    "others around it": Passing() | Repeated() | Passing(),
    "before an async stage": Repeated() | Added(0),
    "behind one": Added(0) | Repeated(),
    "around one": Repeated(2) | Added(0) | Repeated(3),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
async def test_all_items_come_in_order_and_each_slice_before_the_next(pipeline: Any) -> None:
    times = 3 if str(pipeline).count("Repeated") == 1 else 6
    whole = [item for item in (1, 2) for _ in range(times)]
    async with numbers(1, 2) | pipeline as stream:
        found = [item async for item in stream]

    assert [item for item in found if item > 0] == whole
    assert found[-1] == -1


@pytest.mark.parametrize("pipeline", [Repeated(4), Repeated(2) | Repeated(2), Passing() | (Repeated(4) | Passing())])
def test_without_an_event_loop_the_items_are_the_same(pipeline: Any) -> None:
    assert [item for item in pipeline.run([1, 2]) if item > 0] == [1] * 4 + [2] * 4


async def test_other_tasks_have_their_turn_between_two_slices() -> None:
    stage = Repeated(50)
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(stream.stage(Repeated).made)
            await anyio.lowlevel.checkpoint()

    # Also as an inner pipeline of an async one.
    for pipeline in (stage | Passing(), Passing() | Repeated(50), Added(0) | (Passing() | Repeated(50))):
        turns.clear()
        async with numbers(1) | pipeline as stream, anyio.create_task_group() as group:
            group.start_soon(other)
            count = len([item async for item in stream if item > 0])
            group.cancel_scope.cancel()
        made = [after - before for before, after in pairwise(turns)]
        assert count == 50
        assert max(made) <= 2  # trio chooses the next task randomly


async def test_what_was_made_before_a_failure_is_delivered_and_nothing_is_flushed() -> None:
    for pipeline in (
        Repeated(5, fails_at=3),
        Repeated(5, fails_at=3) | Added(0),
        Repeated(5) | Repeated(1, fails_at=3),
    ):
        found: list[int] = []
        with pytest.raises(ValueError, match="no") as caught:
            async with numbers(1, 2) | pipeline as stream:
                async for item in stream:
                    found.append(item)
        assert found == [1, 1]
        assert "Repeated" in caught.value.__notes__[0]


@pytest.mark.parametrize("behind", [Passing(), Repeated(1), Added(0)], ids=repr)
async def test_a_stage_that_is_done_makes_no_more_slices(behind: Any) -> None:
    async with numbers(1, 2) | (Repeated(5, stops_at=2) | behind) as stream:
        found = [item async for item in stream]

    assert [item for item in found if item > 0] == [1, 1]
    assert found[-1] == -1


async def test_a_stage_that_stops_ends_the_slices_of_those_before_it() -> None:
    async with numbers(1, 2) | (Repeated(5) | sk.ops.Take[int](2)) as stream:
        assert [item async for item in stream] == [1, 1]


async def test_a_cancellation_ends_the_stream_between_two_slices() -> None:
    found: list[Any] = []
    async with numbers(1, 2) | Repeated(5) as stream:
        async for item in stream:
            found.append(item)
            if len(found) == 2:
                stream.cancel()

    assert found == [1, 1, sk.StreamEnd("cancelled")]


@pytest.mark.parametrize("at", range(1, 7))
async def test_a_checkpoint_between_two_slices_finishes_them(at: int) -> None:
    for pipeline in (Repeated(3) | Passing(), Repeated(3) | Added(0)):
        found: list[Any] = []
        async with numbers(1, 2) | pipeline as stream:
            async for item in stream:
                found.append(item)
                if len(found) == at:
                    break
            checkpoint = stream.checkpoint()
        rest = numbers(*(1, 2)[checkpoint["received"] :])
        async with pipeline.open(rest, checkpoint=checkpoint) as stream:
            found += [item async for item in stream]
        assert found == [1, 1, 1, 2, 2, 2, -1] if isinstance(pipeline, sk.Pipeline) else [1, 1, 1, 2, 2, 2, 9]


def test_a_checkpoint_of_a_run_finishes_them() -> None:
    run = Repeated(3).run([1])
    first = next(run)
    checkpoint = run.checkpoint()

    assert [first, *Repeated(3).run([], checkpoint=checkpoint)] == [1, 1, 1, -1]
    assert list(run) == [1, 1, -1]


async def test_inside_of_other_stages_nothing_is_lost() -> None:
    switch = sk.ops.Switch[int, int](lambda item: "a", {"a": Passing() | Repeated(3)})
    for stage in (switch, sk.hops.Threaded(Repeated(3))):
        async with numbers(1, 2) | stage as stream:
            assert [item async for item in stream if item > 0] == [1, 1, 1, 2, 2, 2]


async def test_the_profile_counts_all_slices() -> None:
    run = measure(Repeated(3)).run([1, 2])

    assert len(list(run)) == 7
    assert [(one.items_in, one.items_out) for one in run.metrics] == [(2, 7)]
