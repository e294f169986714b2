"""The choice between several `StreamEnd` events."""

from streamkit.completion import SUCCESSES
from streamkit.events import StreamEnd


def less_complete(one: StreamEnd | None, other: StreamEnd | None) -> StreamEnd | None:
    """The end that is not a success, or else the one that is not `completed`; `one` if both rank the same."""

    def rank(end: StreamEnd) -> int:
        return (end.reason not in SUCCESSES) + (end.reason != "completed")

    if one is None or other is None:
        return one or other
    return other if rank(other) > rank(one) else one
