"""What a reader of event streams yields. (WHATWG HTML, 9.2 Server-sent events)"""

import msgspec


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event.

    `event` is its type, `message` where none was given. `id` is the last event ID at that moment, which persists from
    earlier events and is what a reconnection would send; `retry` is the reconnection time in milliseconds, if this block set
    one.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


class UnfinishedEvent(ServerSentEvent, frozen=True, gc=False):
    """An event that the end of the body cut off before its blank line. `EventSource` would discard it."""


class Comment(ServerSentEvent, frozen=True, gc=False):
    """A comment line; `text` is what stands after its colon. It has no data. Servers send them to keep a connection alive."""

    text: str = ""


class JsonBody(ServerSentEvent, frozen=True, gc=False):
    """A JSON document that came where an event stream was expected: a plain response, an error, or a line of NDJSON."""
