"""Which content types an answer can have.

Event streams, JSON, JSON lines and Amazon's binary event stream have many media types, and servers often send none or an
unspecific one. Any other type is believed: read as an event stream, a page or an image has no events in it, and would be an empty
answer.
"""

import re
from collections.abc import Mapping
from typing import cast

from streamkit.errors import ContentTypeError
from streamkit.sse.amazon import begins_frame

HEAD_BYTES = 64 * 1024
"""How much of the body an error keeps."""
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}")
_PAGES = ("html", "xml", "css", "csv", "calendar", "rtf")
_EVENTS = re.compile(r"event-?stream|json|^stream$")
_GENERAL = ("application/octet-stream", "binary/octet-stream")
_BOM = "\ufeff".encode()
# A field, a comment or JSON. Control characters other than white space are in none of them.
_READABLE = re.compile(rb"[ \t\r\n]*[A-Za-z:{\[][^\x00-\x08\x0e-\x1f\x7f]*")


def of_headers(headers: object) -> str:
    """The media type in a client's headers, in lower case and without parameters; empty where none is named.

    A value that is no media type counts as none: nothing can be concluded from it.
    """
    if not isinstance(headers, Mapping):
        return ""
    named = cast("Mapping[str, object]", headers)
    found = next((value for name, value in named.items() if name.lower() == "content-type"), "")
    kind = str(found).partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) and not kind.startswith("*") else ""


def is_readable(media_type: str) -> bool:
    """Whether a body of that type, as `of_headers` gives it, can be an event stream, a binary one included, or JSON."""
    room, _, kind = media_type.partition("/")
    if not room or media_type in _GENERAL:
        return True
    if room == "text":
        return not any(page in kind for page in _PAGES)
    return room == "application" and _EVENTS.search(kind) is not None


class Sniffer:
    """Checks the beginning of a body whose media type is unspecific, such as `application/octet-stream`."""

    def __init__(self, media_type: str, name: str) -> None:
        self._media_type = media_type
        self._name = name
        self._done = media_type not in _GENERAL

    def look(self, piece: bytes) -> None:
        """Raise `ContentTypeError` if this, the first piece that is not empty, can't begin an event stream or JSON."""
        if self._done or not piece:
            return
        self._done = True
        if not _READABLE.fullmatch(piece.removeprefix(_BOM)[:1024]) and not begins_frame(piece):
            raise unreadable(self._name, self._media_type, piece)


def unreadable(name: str, media_type: str, body: bytes) -> ContentTypeError:
    """The error for a body that is something else. `name` says whose it is."""
    return ContentTypeError(
        f"{name}: expected text/event-stream or JSON, found {media_type}",
        content_type=media_type,
        body=body[:HEAD_BYTES],
    )
