"""Which end counts, where several came."""

from streamkit.completion import SUCCESSES
from streamkit.events import StreamEnd


def less_complete(one: StreamEnd | None, other: StreamEnd | None) -> StreamEnd | None:
    """The one that is no success, or else not `completed`; `one` where both are alike."""

    def rank(end: StreamEnd) -> int:
        return (end.reason not in SUCCESSES) + (end.reason != "completed")

    if one is None or other is None:
        return one or other
    return other if rank(other) > rank(one) else one
