"""The deadlines of one stream. It has no clock; the driver passes the current time."""

from typing import NamedTuple

from streamkit.core.source import Deadlines
from streamkit.errors import DeadlineExceeded


class Deadline(NamedTuple):
    """One deadline of a stream: its length and the time left."""

    name: str
    seconds: float
    rest: float


class Timer:
    """Measures the time of a stream, excluding the time that its consumer takes between two items.

    Deadlines are checked before every read, not only while waiting: with a server that always has data (comments, pings, deltas)
    the stream never waits, so the timeout of a wait would never expire.
    """

    def __init__(self, deadlines: Deadlines, name: str) -> None:
        self._deadlines = deadlines
        self._name = name
        self._ends_at: float | None = None
        self._had_content = False
        self._without_content = 0.0
        self._since: float | None = None  # when the consumer requested the item that it is waiting for

    def start(self, now: float) -> None:
        """Start before the source is opened. Called again for a retry; `total` includes all attempts."""
        if self._ends_at is None and self._deadlines.total is not None:
            self._ends_at = now + self._deadlines.total
        self._had_content, self._without_content, self._since = False, 0.0, now

    def resume(self, now: float) -> None:
        """Continue when the consumer requests an item."""
        self._since = now

    def pause(self, now: float) -> None:
        """Pause when the consumer receives an item."""
        if self._since is not None:
            self._without_content += now - self._since
            self._since = None

    def content(self, now: float) -> None:
        """Restart the content deadline when content arrived."""
        self._had_content, self._without_content = True, 0.0
        self._since = now

    def nearest(self, now: float, *, reading: bool) -> "Deadline | None":
        """The deadline that expires next, if there is one. Raises `DeadlineExceeded` if it has expired already."""
        limits = self._deadlines
        name = "idle_content" if self._had_content else "first_content"
        allowed: float | None = getattr(limits, name)
        spent = self._without_content + (0.0 if self._since is None else now - self._since)
        found: list[Deadline] = []
        if limits.idle_bytes is not None and reading:
            found.append(Deadline("idle_bytes", limits.idle_bytes, limits.idle_bytes))
        if allowed is not None:
            found.append(Deadline(name, allowed, allowed - spent))
        if limits.total is not None and self._ends_at is not None:
            found.append(Deadline("total", limits.total, self._ends_at - now))
        nearest = min(found, key=lambda deadline: deadline.rest, default=None)
        if nearest and nearest.rest <= 0:
            raise self.exceeded(nearest)
        return nearest

    def exceeded(self, deadline: "Deadline") -> DeadlineExceeded:
        """The error for an expired deadline."""
        name, seconds, _ = deadline
        return DeadlineExceeded(
            f"{self._name}: the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds
        )
