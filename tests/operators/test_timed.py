"""By time: what is due leaves with the next burst or at the end, by the clock that the source has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit import ops

END = sk.StreamEnd("completed", True)


class Script(sk.Source[Any]):
    """Bursts at times of its own."""

    def __init__(self, bursts: list[tuple[float, list[Any]]]) -> None:
        self.bursts: Iterator[tuple[float, list[Any]]] = iter(bursts)
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def read(self) -> list[Any]:
        self.time, burst = next(self.bursts, (self.time, []))
        return burst


@pytest.mark.parametrize(
    ("stage", "bursts", "expected"),
    [
        (ops.Batch(seconds=1), [(0, [1]), (0.5, [2, 3]), (1.0, [4]), (9, [5])], [[1, 2, 3], [4], [5]]),
        (ops.Batch(2, 1), [(0, [1, 2, 3]), (0.5, [4]), (0.6, [5]), (1.7, [6, END])], [[1, 2], [3, 4], [5], [6], END]),
        (ops.Debounce(1), [(0, [1]), (0.5, [2]), (1.5, [3]), (2, [4])], [2, 4]),
        (ops.Debounce(1), [(0, [1, 2]), (1, [3, END])], [2, 3, END]),
        (ops.Debounce(1), [(0, [END])], [END]),
        (ops.Throttle(1), [(0, [1, 2, 3]), (0.5, [4]), (1.0, [5]), (1.5, [6])], [1, 4, 6]),
        (ops.Throttle(1), [(0, [1]), (1, [2]), (2, [3, 4]), (3, [END])], [1, 2, 3, 4, END]),
        (ops.Throttle(1), [(5, [END])], [END]),
    ],
    ids=str,
)
@pytest.mark.anyio
async def test_what_leaves_when(
    stage: sk.Stage[Any, Any], bursts: list[tuple[float, list[Any]]], expected: list[Any]
) -> None:
    assert [item async for item in Script(bursts) | stage] == expected


@pytest.mark.anyio
async def test_a_replays_time_is_its_recordings(tmp_path: Path) -> None:
    path = tmp_path / "slow.jsonl"
    path.write_text(
        '{"streamkit": "recording/1"}\n'
        '{"t": 0.25, "text": "a\\n"}\n{"t": 0.5, "text": "b\\n"}\n{"t": 3.5, "text": "c\\n"}\n'
    )

    assert [line async for line in sk.replay(path) | sk.sse.Lines() | ops.Debounce(1)] == ["b", "c"]


def test_without_a_loop_the_clock_is_the_runs() -> None:
    clock = iter([0.0, 0.0, 0.5, 2.0, 2.5]).__next__

    assert list(ops.Throttle[int](1.0).run(iter([1, 2, 3]), clock=clock)) == [1, 2, 3]
    # 2 was due when 3 came, so 3 waited for its own second, and the end came first.
