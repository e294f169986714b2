"""The waits between moments: their distribution, and those that were too long."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from streamkit.errors import PipelineError


class Stall(msgspec.Struct, frozen=True, gc=False):
    """A wait between two deltas that was too long: after how many deltas, at what second it began, how many it took."""

    after: int
    """Deltas before it."""
    at: float
    """Seconds at which it began."""
    seconds: float
    """How long it took."""


def gaps(moments: Iterable[float]) -> list[float]:
    """The waits between moments, in their order: one fewer than these."""
    return [later - earlier for earlier, later in pairwise(moments)]


def stalls(moments: Iterable[float], seconds: float) -> list[Stall]:
    """The waits of more than that many `seconds`."""
    return [
        Stall(after, earlier, later - earlier)
        for after, (earlier, later) in enumerate(pairwise(moments), 1)
        if later - earlier > seconds
    ]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of the values lie, by linear interpolation between the two closest ranks.

    That is type 7 of Hyndman and Fan (1996), numpy's default and the `inclusive` method of `statistics.quantiles`: 0 is the
    least, 100 the greatest. `None` where there are no values.
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
