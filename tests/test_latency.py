"""The waits between moments."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import PipelineError
from streamkit.latency import Stall, intervals, percentile, stalls


def test_the_gaps_are_one_fewer_than_the_moments() -> None:
    assert intervals([0.5, 0.75, 0.75, 2.0]) == [0.25, 0.0, 1.25]
    assert intervals([0.5]) == intervals([]) == []


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 0, 3.0),
        ([3.0], 99, 3.0),
        ([1.0, 3.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.5),
        ([4.0, 1.0, 3.0, 2.0], 0, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 100, 4.0),
        ([0.0, 10.0, 20.0, 30.0, 40.0], 95, 38.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 40, 29.0),  # the example of numpy's and Excel's PERCENTILE.INC
    ],
)
def test_a_percentile_lies_between_the_two_closest_ranks(
    values: list[float], percent: float, expected: float | None
) -> None:
    assert percentile(values, percent) == expected


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    found = [percentile(values, percent) for percent in range(1, 100)]

    assert found == pytest.approx(statistics.quantiles(values, n=100, method="inclusive"), abs=1e-6)


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
def test_no_percentile_beyond_all_of_them(percent: float) -> None:
    with pytest.raises(PipelineError, match="expected 0 to 100 percent, found"):
        percentile([1.0], percent)


def test_a_stall_tells_its_place() -> None:
    moments = [0.5, 0.75, 3.0, 3.25, 4.25, 6.0]

    assert stalls(moments, 1.0) == [Stall(after=2, at=0.75, seconds=2.25), Stall(after=5, at=4.25, seconds=1.75)]
    assert stalls(moments, 9.0) == stalls([], 1.0) == []
