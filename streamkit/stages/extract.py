"""Server-sent events into what they say about the answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from streamkit.dialects import by_name, for_event
from streamkit.dialects.base import Dialect
from streamkit.events import CONTENT, Event, ProviderNotice, StreamEnd
from streamkit.stage import Stage
from streamkit.wire.events import Comment, ServerSentEvent


@dataclass
class Extract(Stage[ServerSentEvent, Event]):
    """Read the provider's dialect: chosen by the first event, or `dialect` by name.

    The last event is a `StreamEnd`, given as soon as the format's end marker is there, which also stops the reading.
    `errors`: an error that the provider sends in the stream ends it with `StreamEnd("provider_error")` and then raises
    `ProviderError`; with `emit` it only ends it so. An event that is no JSON raises `ProtocolError`.
    """

    dialect: str | None = None
    errors: Literal["raise", "emit"] = "raise"
    reads_json_bodies: ClassVar[bool] = True
    heard = False
    _reader: Dialect | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dialect is not None:
            by_name(self.dialect)

    def feed(self, item: ServerSentEvent) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        if (reader := self._reader) is None:
            # Comments, which any server may send first, tell nothing of the dialect.
            first = next((item for item in items if not isinstance(item, Comment)), None)
            if first is None:
                return [ProviderNotice("comment", item.text) for item in items if isinstance(item, Comment)]
            kind = by_name(self.dialect) if self.dialect else for_event(first)
            reader = self._reader = kind(errors=self.errors)
        events = reader.feed_all(items)
        self.done = reader.done
        self.heard = _holds_content(events)
        return events

    def flush(self) -> Iterable[Event]:
        # Not one event came, so that there is no dialect either.
        return self._reader.flush() if self._reader else (StreamEnd("truncated"),)


def _holds_content(events: Iterable[Event]) -> bool:
    # A generator is what a reader that failed gives; the run ends with it.
    return isinstance(events, list) and any(isinstance(event, CONTENT) for event in events)
