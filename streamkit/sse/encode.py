"""Server-sent events into bytes, which `Parse` reads back as the same events. (WHATWG HTML, 9.2.6)"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.sse.events import Comment, ServerSentEvent, UnfinishedEvent

_LINE_END = re.compile("\r\n|\r|\n")
_LINE_END_BYTES = re.compile(b"\r\n|\r|\n")
_MALFORMED = "surrogateescape"  # what `Lines` may have made of bytes that are no UTF-8 becomes these bytes again


def encode(event: ServerSentEvent, *, last_id: str = "") -> bytes:
    """One event, with the blank line that dispatches it; an `UnfinishedEvent`, the last of a body, without.

    `event:` is written unless it says `message`, `id:` where it differs from `last_id` and then also empty, which resets it.
    Each line of the data becomes a `data:` line; CR and CRLF are line ends as LF is, and arrive as LF, since the format has
    no way to carry them. A `Comment` becomes a comment line, a `JsonBody` an event. A line end in `event` or `id`, a NUL in
    `id` or a negative `retry` raises `PipelineError`.
    """
    head = f"id: {_one_line('id', event.id)}\n" if event.id != last_id else ""
    if isinstance(event, Comment):
        # No blank line, since it may stand within a block.
        return f"{head}:{_prefixed(':', event.text)}\n".encode("utf-8", _MALFORMED)
    if event.event not in ("message", ""):
        head += f"event: {_one_line('event', event.event)}\n"
    if event.retry is not None:
        head += f"retry: {_milliseconds(event.retry)}\n"
    end = b"" if isinstance(event, UnfinishedEvent) else b"\n"
    return b"%bdata: %b\n%b" % (head.encode("utf-8", _MALFORMED), _data_lines(event.payload), end)


def encode_comment(text: str, *, alone: bool = True) -> bytes:
    """A comment, which readers ignore; for the place between two events. Each line of `text` becomes one.

    `alone`: with a blank line after it, so that readers that split at blank lines don't take it for the head of the next
    event.
    """
    end = "\n" if alone else ""
    return f": {_prefixed(': ', text)}\n{end}".encode("utf-8", _MALFORMED)


@dataclass
class Encode(Stage[ServerSentEvent, bytes]):
    """Encode events, each with its `id:` only where it changes. Raises as `encode` does.

    `last_id` is what a reader now holds as its last event ID.
    """

    last_id: str = field(default="", init=False, repr=False)

    def feed(self, item: ServerSentEvent) -> Iterable[bytes]:
        data = encode(item, last_id=self.last_id)
        self.last_id = item.id
        return (data,)


def _prefixed(field: str, text: str) -> str:
    # Most texts are one line, and looking is cheaper than replacing.
    return _LINE_END.sub("\n" + field, text) if "\n" in text or "\r" in text else text


def _data_lines(payload: bytes) -> bytes:
    return _LINE_END_BYTES.sub(b"\ndata: ", payload) if b"\n" in payload or b"\r" in payload else payload


def _one_line(name: str, value: str) -> str:
    # Whoever chooses a name or an id could else write fields, and events, of their own.
    forbidden = "\r\n\0" if name == "id" else "\r\n"  # an id with a NUL is ignored by readers
    for position, character in enumerate(value):
        if character in forbidden:
            raise PipelineError(f"{name}: expected one line of text, found {character!r} at position {position}")
    return value


def _milliseconds(retry: int) -> int:
    if retry < 0:
        raise PipelineError(f"retry: expected milliseconds, 0 or more, found {retry}")
    return retry
