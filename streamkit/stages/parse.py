"""Lines into server-sent events, by the rules of `EventSource`. (WHATWG HTML, 9.2.6)"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import msgspec

from streamkit.dialects.surrogates import mark
from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.stage import Joinable, Stage, cut_short
from streamkit.wire.events import Comment, JsonBody, ServerSentEvent, UnfinishedEvent
from streamkit.wire.json_array import JsonArray
from streamkit.wire.lines import LinePart, Lines, Piece, UnfinishedLine

MAX_EVENT_BYTES = 16 * 1024 * 1024
_FIELDS = ("", "data", "event", "id", "retry")
"""The names of fields; a comment has none. (WHATWG HTML, 9.2.6)"""
Policy: TypeAlias = Literal["emit", "discard"]
_is_json = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass
class Parse(Stage[str, ServerSentEvent]):
    """Put lines together to events, exactly as a browser's `EventSource` does, with exceptions that can be chosen.

    `unfinished`: an event that the end of the body cuts off before its blank line is discarded, or emitted as an
    `UnfinishedEvent`. `json_body`: a body that begins with `{` or `[` is no event stream; its documents (one, or one a line)
    are discarded, as unknown fields are, or emitted as `JsonBody`, and a body that begins with `<`, a web page, or that is text
    without any event, then raises `ProtocolError`. Of an array of objects, as Gemini streams it, each object is emitted as soon
    as it is whole, and an `UnfinishedEvent` with what is left where the end of the body cuts the array off. The default of
    both, `None`, is what `EventSource` does unless an `Extract` follows: answers of language models do come so. `comments`:
    emit each as a `Comment`, at once, also inside a block.

    An event with more than `max_event_bytes` characters of data raises `LimitExceeded`, after the events before it.
    `resume_from` is the last event ID to begin with. `last_event_id` and `retry` (milliseconds) are what the stream set.
    """

    unfinished: Policy | None = None
    json_body: Policy | None = None
    comments: bool = False
    max_event_bytes: int = MAX_EVENT_BYTES
    resume_from: str = ""
    last_event_id: str = field(default="", init=False, repr=False)
    retry: int | None = field(default=None, init=False, repr=False)
    _event: str = field(default="", init=False, repr=False)
    _data: list[str] = field(default_factory=list[str], init=False, repr=False)
    _size: int = field(default=0, init=False, repr=False)
    _id: str = field(default="", init=False, repr=False)
    _retry: int | None = field(default=None, init=False, repr=False)
    _started: bool = field(default=False, init=False, repr=False)
    # The first line if it is that of no event stream, until an event comes all the same.
    _foreign: str = field(default="", init=False, repr=False)
    _body: list[str] | None = field(default=None, init=False, repr=False)
    _array: JsonArray | None = field(default=None, init=False, repr=False)
    # A line that has no end yet, and its length.
    _parts: list[str] = field(default_factory=list[str], init=False, repr=False)
    _held: int = field(default=0, init=False, repr=False)
    _line: int = field(default=0, init=False, repr=False)
    _first: int = field(default=0, init=False, repr=False)  # the number of the first line

    def __post_init__(self) -> None:
        self._id = self.last_event_id = self.resume_from

    @property
    def takes_parts(self) -> bool:
        """Whether it reads JSON, of which it takes parts of lines."""
        return self.json_body == "emit"

    def before(self, following: Joinable[Any, Any]) -> "Parse":
        if not getattr(following, "reads_json_bodies", False):
            return self
        return replace(self, unfinished=self.unfinished or "emit", json_body=self.json_body or "emit")

    def framing(self) -> Stage[Piece, str]:
        return Lines().before(self)

    def feed(self, item: str) -> Iterable[ServerSentEvent]:
        return self.feed_all([item])

    def feed_all(self, items: list[str]) -> Iterable[ServerSentEvent]:
        if not items:
            return ()
        if not self._started and not self._start(items):
            return ()
        if self._parts or type(items[-1]) is LinePart:
            items = self._whole_lines(items)
        if items and type(items[-1]) is UnfinishedLine:
            # `EventSource` does not look at a line that has no end.
            unseen = self._body is None and self.unfinished != "emit"
            items = items[:-1] if unseen else [*items[:-1], str(items[-1])]
        events: list[ServerSentEvent] = []
        try:
            if self._array is not None:
                self._read_array(self._array, items, events)
            elif self._body is not None:
                self._read_body(items, events)
            elif items:
                self._read(items, events)
            if self._held > self.max_event_bytes:
                raise self._too_long(self._line + 1)
        except ProtocolError as error:
            return cut_short(events, error)
        if events and self._foreign:
            self._foreign = ""
        return events

    def flush(self) -> Iterable[ServerSentEvent]:
        if self._parts:
            # The body ended with a part of a line.
            yield from self.feed_all([UnfinishedLine("")])
        if self._array and self._array.lead is not None:
            yield JsonBody(data=self._array.lead)
        elif self._array and not self._array.closed:
            yield UnfinishedEvent(data="".join(self._array.pieces))
        elif self._body:
            yield JsonBody(data="\n".join(self._body))
        elif self._foreign and not self._data:
            found = f"found {len(self._foreign)} characters that are neither"
            raise ProtocolError(
                f"line {self._first}: expected an event stream or JSON, {found}",
                line=self._first,
                excerpt=self._foreign[:80],
            )
        elif self._data and self.unfinished == "emit":
            yield UnfinishedEvent(self._event or "message", "\n".join(self._data), self._id, self._retry)

    def _start(self, lines: list[str]) -> bool:
        # The first line that is not blank shows what kind of body this is.
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            self._line += len(lines)
            return False
        self._started = True
        if self.json_body == "emit" and first.lstrip()[0] in "{[":
            self._body = []
            self._array = JsonArray() if first.lstrip()[0] == "[" else None
        elif self.json_body == "emit" and first.lstrip()[0] == "<":
            raise ProtocolError(
                f"line {self._line + lines.index(first) + 1}: expected an event stream or JSON, found a page: "
                f"{first.lstrip()[:9]!r}",
                line=self._line + lines.index(first) + 1,
                excerpt=first[:80],
            )
        elif self.json_body == "emit" and not _is_field(first):
            self._foreign, self._first = first, self._line + lines.index(first) + 1
        return True

    def _read(self, lines: list[str], events: list[ServerSentEvent]) -> None:
        if not self._data and not self._event and self._retry is None and self._read_regular(lines, events):
            return
        data, size, limit, number = self._data, self._size, self.max_event_bytes, self._line
        for line in lines:
            number += 1
            if line:
                # By far the most lines are `data: …`, alone in their block.
                if line.startswith("data: "):
                    data.append(line[6:])
                elif line[0] == ":":
                    if self.comments:
                        events.append(Comment("comment", id=self._id, text=line[1:]))
                    continue
                elif not self._field(line):
                    continue
                # Of an event only its data is gathered; a comment or an `id`, however often it comes, is not kept.
                size += len(line)
                if size > limit:
                    raise self._too_long(number)
            else:
                if data:
                    text = data[0] if len(data) == 1 else "\n".join(data)
                    events.append(ServerSentEvent(self._event or "message", text, self._id, self._retry))
                    data.clear()
                self._event, self._retry, size = "", None, 0
                self.last_event_id = self._id
        self._line, self._size = number, size

    def _read_regular(self, lines: list[str], events: list[ServerSentEvent]) -> bool:
        # What most bursts are: whole blocks of one `data: …` line each. Anything else is left to the general reader, and a
        # property test says that the two agree.
        blocks = lines[::2]
        if not blocks or len(lines) % 2 or any(lines[1::2]):
            return False
        # A list, for a generator would cost more than what it looks at.
        if not all([line.startswith("data: ") for line in blocks]):  # noqa: C419
            return False
        if len(max(blocks, key=len)) > self.max_event_bytes:
            return False
        id = self.last_event_id = self._id
        events += [ServerSentEvent("message", line[6:], id) for line in blocks]
        self._line += len(lines)
        self._size = 0
        return True

    def _field(self, line: str) -> bool:
        # Whether it was data.
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = self._retry = int(value[:19])
            case _:
                pass  # A field that the standard does not know.
        return name == "data"

    def _whole_lines(self, items: list[str]) -> list[str]:
        # Only an array is read in parts; whatever else begins with `[` has lines.
        if self._array is not None:
            return items
        lines: list[str] = []
        for item in items:
            self._parts.append(item)
            self._held += len(item)
            if type(item) is not LinePart:
                line = "".join(self._parts)
                lines.append(UnfinishedLine(line) if type(item) is UnfinishedLine else line)
                self._parts, self._held = [], 0
        return lines

    def _read_array(self, array: JsonArray, lines: list[str], events: list[ServerSentEvent]) -> None:
        for at, line in enumerate(lines):
            text = line if type(line) is LinePart else line + "\n"
            self._line += text.endswith("\n")
            elements = array.feed(text)
            if elements is None:
                self._read_other(array.lead or "", lines[at + 1 :], events)
                return
            for element in elements:
                if len(element) > self.max_event_bytes:
                    raise self._too_long(self._line + (type(line) is LinePart))
                events.append(JsonBody(data=element))
            if array.broken:
                found = "expected ',' or ']' after an element of a JSON array, found something else"
                number = self._line + (type(line) is LinePart)
                raise ProtocolError(f"line {number}: {found}", line=number)
            if array.size > self.max_event_bytes:
                raise self._too_long(self._line + (type(line) is LinePart))

    def _read_other(self, lead: str, rest: list[str], events: list[ServerSentEvent]) -> None:
        # What begins with `[` and is no array of objects is a document, or a text, as any other.
        self._array = None
        *lines, part = lead.split("\n")
        self._line -= len(lines)
        self._read_body(lines, events)
        self._parts, self._held = ([part], len(part)) if part else ([], 0)
        if rest:
            self._read_body(self._whole_lines(rest), events)

    def _read_body(self, lines: list[str], events: list[ServerSentEvent]) -> None:
        assert self._body is not None
        for line in lines:
            self._line += 1
            if not self._body:
                if not line.strip():
                    continue
                # A line that is a document by itself is one of NDJSON. What is not is the first of a document in many lines.
                if len(line) <= self.max_event_bytes and _whole(line):
                    events.append(JsonBody(data=line))
                    continue
            self._body.append(line)
            self._size += len(line) + 1
            if self._size > self.max_event_bytes:
                raise self._too_long(self._line)

    def _too_long(self, line: int) -> LimitExceeded:
        return LimitExceeded(
            f"line {line}: expected at most {self.max_event_bytes} characters in an event (max_event_bytes), found more",
            line=line,
        )


def _is_field(line: str) -> bool:
    """Whether a line is that of an event stream, or may be the beginning of one that was cut off."""
    name, colon, _ = line.lstrip().partition(":")
    if type(line) is UnfinishedLine and not colon:
        return any(field.startswith(name) for field in _FIELDS)
    return name in _FIELDS


def _whole(line: str) -> bool:
    try:
        _is_json(line)
    # Nesting too deep for the decoder is its reader's to report.
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        marked = mark(line)
        return marked is not None and _whole(marked)
    return True
