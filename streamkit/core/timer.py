"""The deadlines of one stream. No clock of its own: the driver says what time it is."""

from typing import NamedTuple

from streamkit.core.source import Deadlines
from streamkit.errors import DeadlineExceeded


class Deadline(NamedTuple):
    """One deadline of a stream: its length, and how much of it is left."""

    name: str
    seconds: float
    rest: float


class Timer:
    """Counts the time of a stream, without the time that its consumer takes between two items.

    Clocks are compared before every read and not only while one waits: a server that never pauses (comments, pings, deltas) is
    always ready to be read, and no timeout of a wait would ever pass.
    """

    def __init__(self, deadlines: Deadlines, name: str) -> None:
        self._deadlines = deadlines
        self._name = name
        self._ends_at: float | None = None
        self._content_came = False
        self._without_content = 0.0
        self._since: float | None = None  # when the consumer asked for an item that is not there yet

    def start(self, now: float) -> None:
        """The source is about to be opened. Called again for another attempt, which `total` includes."""
        if self._ends_at is None and self._deadlines.total is not None:
            self._ends_at = now + self._deadlines.total
        self._content_came, self._without_content, self._since = False, 0.0, now

    def resume(self, now: float) -> None:
        """The consumer asks for an item."""
        self._since = now

    def pause(self, now: float) -> None:
        """The consumer gets its item."""
        if self._since is not None:
            self._without_content += now - self._since
            self._since = None

    def content(self, now: float) -> None:
        """A piece of the answer came."""
        self._content_came, self._without_content = True, 0.0
        self._since = now

    def nearest(self, now: float, *, reading: bool) -> "Deadline | None":
        """The deadline that passes next, if one does. One that has passed already raises `DeadlineExceeded`."""
        limits = self._deadlines
        name = "idle_content" if self._content_came else "first_content"
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
        """The error for a deadline that has passed."""
        name, seconds, _ = deadline
        return DeadlineExceeded(
            f"{self._name}: the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds
        )
