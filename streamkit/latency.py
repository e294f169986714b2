"""Latency between points in time: percentiles, and stalls."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from streamkit.errors import PipelineError


class Stall(msgspec.Struct, frozen=True, gc=False):
    """An interval between two deltas that was longer than a threshold."""

    after: int
    """The number of deltas before the stall."""
    at: float
    """The start of the stall, in seconds on the clock of the deltas."""
    seconds: float
    """The length of the stall."""


def intervals(moments: Iterable[float]) -> list[float]:
    """The intervals between consecutive moments, in order: one fewer than there are moments."""
    return [later - earlier for earlier, later in pairwise(moments)]


def stalls(moments: Iterable[float], seconds: float) -> list[Stall]:
    """The intervals longer than `seconds`."""
    return [
        Stall(after, earlier, later - earlier)
        for after, (earlier, later) in enumerate(pairwise(moments), 1)
        if later - earlier > seconds
    ]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of the values lie, by linear interpolation between the two closest ranks.

    This is type 7 of Hyndman and Fan (1996), numpy's default and the `inclusive` method of `statistics.quantiles`: 0 gives the
    minimum, 100 the maximum. `None` if there are no values. Raises `PipelineError` for a `percent` outside of 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise PipelineError(f"expected 0 to 100 percent, found {percent!r}")
    if not values:
        return None
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)
