"""What is told of a match, and of text that waited for too long."""

from typing import Any, Literal, NamedTuple, TypeAlias

from streamkit.events import Blocked, Channel, Event, Flagged, HoldExceeded, Redacted, VerdictSource
from streamkit.moderation.choices import Ending
from streamkit.moderation.track import Track

Verdict: TypeAlias = Flagged | Redacted | Blocked
Exceeded: TypeAlias = Literal["characters", "seconds"]
_KINDS: dict[str, type[Verdict]] = {
    "annotate": Flagged,
    "redact": Redacted,
    "replace": Redacted,
    "block": Blocked,
    "stop": Blocked,
}


def verdict(
    action: str,
    category: str,
    place: tuple[int, int, Channel, int],
    severity: str | None,
    source: VerdictSource,
    tool_index: int | None = None,
) -> Verdict:
    """The event that tells of `action` at `place`: where it starts and ends in which channel of which choice."""
    kind: Any = _KINDS[action]
    told: Verdict = kind(category, *place, severity, tool_index, source, action)
    return told


class Bounds(NamedTuple):
    """How much of one text may wait, how long, and what happens then."""

    characters: int | None
    seconds: float | None
    then: Literal["block", "release"]

    def exceeded(self, limit: Exceeded, track: Track, start: int, end: int, out: list[Event]) -> Ending | None:
        """Tell that `start:end` has waited beyond a limit. `None` says that it leaves undecided."""
        out.append(HoldExceeded(limit, self.then, start, end, track.channel, track.index, track.tool_index))
        if self.then == "release":
            return None
        track.cost.verdicts += 1
        place = (start, end, track.channel, track.index)
        out.append(verdict("block", "max_hold", place, None, "max_hold", track.tool_index))
        return Ending()
