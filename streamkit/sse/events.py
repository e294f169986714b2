"""Server-sent events as values. (WHATWG HTML, 9.2 Server-sent events)"""

from typing import Any, Self

import msgspec

_ESCAPED = frozenset(map(chr, range(0xDC80, 0xDD00)))


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event.

    `event` is its type, `message` if none was given. `payload` is its data as bytes: most readers don't need the text, since
    JSON is decoded from bytes. `id` is the last event ID at that point, which persists from earlier events and is sent on
    reconnection. `retry` is the reconnection time in milliseconds, if this block sets one.
    """

    event: str = "message"
    payload: bytes = b""
    id: str = ""
    retry: int | None = None

    @classmethod
    def of(cls, data: str, event: str = "message", id: str = "", retry: int | None = None, **fields: Any) -> Self:
        """An event of this class with the text `data`."""
        return cls(event, encoded(data), id, retry, **fields)

    @property
    def data(self) -> str:
        """The data as text. Bytes that are not UTF-8 become U+FFFD, as the standard requires (9.2.6)."""
        return self.payload.decode("utf-8", "replace")


class UnfinishedEvent(ServerSentEvent, frozen=True, gc=False):
    """An event that the end of the body cut off before its blank line. `EventSource` would discard it."""


class Comment(ServerSentEvent, frozen=True, gc=False):
    """A comment line; `text` is the text after the colon. It has no data. Servers send comments to keep a connection alive."""

    text: str = ""


class JsonBody(ServerSentEvent, frozen=True, gc=False):
    """A JSON document received instead of an event stream: a non-streaming response, an error, or a line of NDJSON."""


def encoded(text: str) -> bytes:
    """Text as UTF-8. Lone surrogates that represent invalid bytes (`surrogateescape`) become these bytes again."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        lone = {character for character in text if "\ud800" <= character <= "\udfff"}
        return text.encode("utf-8", "surrogateescape" if lone <= _ESCAPED else "surrogatepass")
