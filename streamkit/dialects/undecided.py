"""Read events before the one that identifies the dialect, or all events if none does."""

from dataclasses import dataclass, field
from typing import Any

from streamkit.completion import EndReason
from streamkit.dialects.base import EXPECTED, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import mapping, text
from streamkit.dialects.shapes import event_name, shape
from streamkit.events import Event
from streamkit.sse.events import JsonBody, ServerSentEvent


@dataclass
class Undecided(Dialect):
    """Comments, pings, an error without other events, and events that no dialect recognizes. All except errors become notices.

    After an unrecognized event the stream ends as `error`, even with `[DONE]`, which many dialects share. Otherwise it ends as
    `truncated`, because there was no answer.
    """

    first: str | None = field(default=None, init=False, repr=False)
    """The shape of the first event that should have identified the dialect."""

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return False

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        error = error_in(data, whole=isinstance(item, JsonBody))
        if error:
            self.fail(error, number, out)
            return
        # An empty value identifies no dialect, like a ping.
        if not {item.event, text(mapping(data).get("type"))} & EXPECTED and data not in ({}, [], "", None):
            self._record_first(item, shape(data))
        self.unknown_event(item.event, data, item.payload, out)

    def _skip(self, item: ServerSentEvent, number: int, found: str, out: list[Event]) -> None:
        self._record_first(item, found)
        super()._skip(item, number, found, out)

    def _record_first(self, item: ServerSentEvent, found: str) -> None:
        body = isinstance(item, JsonBody)
        self.first = self.first or (
            f"a JSON body with {found}" if body else f"event {event_name(item.event)} with {found}"
        )

    def _outcome(self, *, saw_done: bool) -> tuple[EndReason, str | None]:
        return ("error" if self.first else "truncated"), None
