"""The content types that a response can have.

Event streams, JSON, JSON lines and Amazon's binary event stream have many media types, and servers often send none or an
unspecific one; these are accepted. Any other type is rejected: read as an event stream, a page or an image contains no events
and would look like an empty response.
"""

import re
from collections.abc import Mapping
from typing import cast

from streamkit.errors import ContentTypeError
from streamkit.sse.amazon import begins_frame

HEAD_BYTES = 64 * 1024
"""Maximum size of the head of the body that an error stores."""
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}")
_PAGES = ("html", "xml", "css", "csv", "calendar", "rtf")
_EVENTS = re.compile(r"event-?stream|json|^stream$")
_GENERAL = ("application/octet-stream", "binary/octet-stream")
_BOM = "\ufeff".encode()
# The start of a field, a comment or JSON. None of these contains control characters other than white space.
_READABLE = re.compile(rb"[ \t\r\n]*[A-Za-z:{\[][^\x00-\x08\x0e-\x1f\x7f]*")


def of_headers(headers: object) -> str:
    """Return the media type in a client's headers, in lower case and without parameters; empty if there is none.

    A value that is not a valid media type counts as missing.
    """
    if not isinstance(headers, Mapping):
        return ""
    named = cast("Mapping[str, object]", headers)
    found = next((value for name, value in named.items() if name.lower() == "content-type"), "")
    kind = str(found).partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) and not kind.startswith("*") else ""


def is_readable(media_type: str) -> bool:
    """Whether a body of this media type, as `of_headers` returns it, can be an event stream (binary ones included) or JSON."""
    room, _, kind = media_type.partition("/")
    if not room or media_type in _GENERAL:
        return True
    if room == "text":
        return not any(page in kind for page in _PAGES)
    return room == "application" and _EVENTS.search(kind) is not None


class Sniffer:
    """Checks the start of a body whose media type is unspecific, such as `application/octet-stream`."""

    def __init__(self, media_type: str, name: str) -> None:
        self._media_type = media_type
        self._name = name
        self._done = media_type not in _GENERAL

    def look(self, piece: bytes) -> None:
        """Raise `ContentTypeError` if the first non-empty piece can't be the start of an event stream or JSON."""
        if self._done or not piece:
            return
        self._done = True
        if not _READABLE.fullmatch(piece.removeprefix(_BOM)[:1024]) and not begins_frame(piece):
            raise unreadable(self._name, self._media_type, piece)


def unreadable(name: str, media_type: str, body: bytes) -> ContentTypeError:
    """Return the error for a body of another content type. `name` names its source in the message."""
    return ContentTypeError(
        f"{name}: expected text/event-stream or JSON, found {media_type}",
        content_type=media_type,
        body=body[:HEAD_BYTES],
    )
