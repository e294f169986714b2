"""Encode server-sent events as bytes, which `Parse` reads back as the same events. (WHATWG HTML, 9.2.6)"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.sse.events import Comment, ServerSentEvent, UnfinishedEvent

_LINE_END = re.compile("\r\n|\r|\n")
_LINE_END_BYTES = re.compile(b"\r\n|\r|\n")
_MALFORMED = "surrogateescape"  # restores the invalid UTF-8 bytes that `Lines` may have decoded to lone surrogates


def encode(event: ServerSentEvent, *, last_id: str = "") -> bytes:
    """Encode one event with the blank line that dispatches it. An `UnfinishedEvent`, the last of a body, has no blank line.

    `event:` is written unless it is `message`. `id:` is written if it differs from `last_id`, even if it is empty, which resets
    the last event ID. Each line of the data becomes a `data:` line; CR and CRLF are line ends like LF and are read back as LF,
    because the format can't represent them. A `Comment` becomes a comment line, a `JsonBody` an event. Raises `PipelineError`
    for a line end in `event` or `id`, a NUL in `id`, or a negative `retry`.
    """
    head = f"id: {_one_line('id', event.id)}\n" if event.id != last_id else ""
    if isinstance(event, Comment):
        # No blank line, since a comment may be inside a block.
        return f"{head}:{_prefixed(':', event.text)}\n".encode("utf-8", _MALFORMED)
    if event.event not in ("message", ""):
        head += f"event: {_one_line('event', event.event)}\n"
    if event.retry is not None:
        head += f"retry: {_milliseconds(event.retry)}\n"
    end = b"" if isinstance(event, UnfinishedEvent) else b"\n"
    return b"%bdata: %b\n%b" % (head.encode("utf-8", _MALFORMED), _data_lines(event.payload), end)


def encode_comment(text: str, *, alone: bool = True) -> bytes:
    """Encode a comment, which readers ignore, to be sent between two events. Each line of `text` becomes a comment line.

    `alone`: append a blank line, so that readers that split at blank lines don't treat it as part of the next event.
    """
    end = "\n" if alone else ""
    return f": {_prefixed(': ', text)}\n{end}".encode("utf-8", _MALFORMED)


@dataclass
class Encode(Stage[ServerSentEvent, bytes]):
    """Encode events, writing `id:` only where it changes. Raises as `encode` does.

    `last_id` is the last event ID that a reader has now.
    """

    last_id: str = field(default="", init=False, repr=False)

    def feed(self, item: ServerSentEvent) -> Iterable[bytes]:
        data = encode(item, last_id=self.last_id)
        self.last_id = item.id
        return (data,)


def _prefixed(field: str, text: str) -> str:
    # Most texts are one line, and the check is cheaper than a replacement.
    return _LINE_END.sub("\n" + field, text) if "\n" in text or "\r" in text else text


def _data_lines(payload: bytes) -> bytes:
    return _LINE_END_BYTES.sub(b"\ndata: ", payload) if b"\n" in payload or b"\r" in payload else payload


def _one_line(name: str, value: str) -> str:
    # Otherwise a name or id from untrusted input could inject fields and events.
    forbidden = "\r\n\0" if name == "id" else "\r\n"  # readers ignore an id with a NUL
    for position, character in enumerate(value):
        if character in forbidden:
            raise PipelineError(f"{name}: expected one line of text, found {character!r} at position {position}")
    return value


def _milliseconds(retry: int) -> int:
    if retry < 0:
        raise PipelineError(f"retry: expected milliseconds, 0 or more, found {retry}")
    return retry
