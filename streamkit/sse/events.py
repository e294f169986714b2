"""Server-sent events as values. (WHATWG HTML, 9.2 Server-sent events)"""

from typing import Any, Self

import msgspec

_ESCAPED = frozenset(map(chr, range(0xDC80, 0xDD00)))


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event.

    `event` is its type, `message` where none was given, and `payload` its data as the bytes that came: most readers never need
    the text, and JSON is decoded from bytes. `id` is the last event ID at that moment, which persists from earlier events and
    is what a reconnection sends; `retry` is the reconnection time in milliseconds, if this block set one.
    """

    event: str = "message"
    payload: bytes = b""
    id: str = ""
    retry: int | None = None

    @classmethod
    def of(cls, data: str, event: str = "message", id: str = "", retry: int | None = None, **fields: Any) -> Self:
        """An event of this class with that text as its data."""
        return cls(event, encoded(data), id, retry, **fields)

    @property
    def data(self) -> str:
        """The data as text. Bytes that are not UTF-8 are U+FFFD, as the standard has it (9.2.6)."""
        return self.payload.decode("utf-8", "replace")


class UnfinishedEvent(ServerSentEvent, frozen=True, gc=False):
    """An event that the end of the body cut off before its blank line. `EventSource` would discard it."""


class Comment(ServerSentEvent, frozen=True, gc=False):
    """A comment line; `text` is what stands after its colon. It has no data. Servers send them to keep a connection alive."""

    text: str = ""


class JsonBody(ServerSentEvent, frozen=True, gc=False):
    """A JSON document that came where an event stream was expected: a plain response, an error, or a line of NDJSON."""


def encoded(text: str) -> bytes:
    """Text as UTF-8. Lone surrogates that stand for bytes which are not UTF-8 (`surrogateescape`) become these bytes again."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        lone = {character for character in text if "\ud800" <= character <= "\udfff"}
        return text.encode("utf-8", "surrogateescape" if lone <= _ESCAPED else "surrogatepass")
