"""Verdict events and the metrics of moderation."""

from typing import Any, NamedTuple

import msgspec

from streamkit.events import Blocked, Channel, Event, Flagged, ModerationReport, Redacted, VerdictSource
from streamkit.moderation.rule import Verdicts

_KINDS: dict[str, Any] = {
    "annotate": Flagged,
    "redact": Redacted,
    "replace": Redacted,
    "block": Blocked,
    "stop": Blocked,
}


class Subject(NamedTuple):
    """The call, or the field of a part, that a decision is about, if it is not about a channel as a whole."""

    tool_index: int | None = None
    part: int | None = None
    path: tuple[str, ...] = ()


CHANNEL = Subject()
"""The channel as a whole."""


def verdict(
    by: Verdicts, place: tuple[int, int, Channel, int], source: VerdictSource, subject: Subject = CHANNEL
) -> Event:
    """The event that reports a decision at `place`: where it starts and ends in which channel of which choice."""
    call, part, path = subject
    kind = _KINDS[by.action]
    event: Event = kind(by.category, *place, by.severity, call, source, by.action, part=part, path=path)
    return event


class Cost(msgspec.Struct):
    """Metrics of the moderation of a running stream; the fields are those of `ModerationReport`."""

    checks: int = 0
    verdicts: int = 0
    deltas_held: int = 0
    characters_held: int = 0
    max_characters_held: int = 0
    seconds_held: float | None = None
    max_seconds_held: float | None = None
    held: int = 0
    released: int = 0
    withheld: int = 0
    windows: int = 0
    calls: int = 0
    characters: int = 0
    context: int = 0
    seconds: float = 0.0
    passed: int = 0
    flagged: int = 0
    failed_open: int = 0
    failed_closed: int = 0
    skipped: int = 0

    def add_held(self, deltas: int, characters: int) -> None:
        """So much of what has just arrived could not be released at once."""
        self.deltas_held += deltas
        self.characters_held += characters
        if self.held > self.max_characters_held:
            self.max_characters_held = self.held

    def end_held(self, arrived: float | None, now: float | None, pieces: int = 1) -> None:
        """Pieces that arrived then are buffered no longer."""
        if arrived is not None and now is not None:
            self.seconds_held = (self.seconds_held or 0.0) + (now - arrived) * pieces
            self.max_seconds_held = max(self.max_seconds_held or 0.0, now - arrived)

    def report(self, *, stopped: bool, tokens_saved: int | None) -> ModerationReport:
        """The same as an event."""
        return ModerationReport(**msgspec.structs.asdict(self), stopped=stopped, tokens_saved=tokens_saved)

    def restore(self, state: Any) -> None:
        """Continue from the state of another one, as plain data. All that count with this one continue with it."""
        known = msgspec.convert(state, Cost)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(known, name))
