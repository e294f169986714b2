"""Parse bytes, text or lines into server-sent events. (WHATWG HTML, 9.2.5 and 9.2.6)"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

import msgspec

from streamkit.core.stage import Stage, cut_short
from streamkit.core.wrong_input import kind_of
from streamkit.errors import LimitExceeded, PipelineError, ProtocolError
from streamkit.sse.amazon import AmazonFrames
from streamkit.sse.events import Comment, JsonBody, ServerSentEvent, UnfinishedEvent, encoded
from streamkit.sse.json_array import JsonArray
from streamkit.sse.json_text import NOT_JSON
from streamkit.sse.lines import UnfinishedLine

Input: TypeAlias = bytes | bytearray | memoryview | str | ServerSentEvent
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
MAX_BYTES_WITHOUT_EVENT: Final = 32 * 1024 * 1024
_FIELD: Final = re.compile(r"(data|event|id|retry)?(:|$)")
_NAMES_OF_FIELDS: Final = (b"", b"data", b"event", b"id", b"retry")
"""The field names; empty for a comment. (WHATWG HTML, 9.2.6)"""
_BLANKS: Final = b" \t\r\n"
_LF: Final = 10
_CR: Final = 13
_LONG_NAME: Final = 100
_SHORT: Final = 4096
"""The maximum size of a piece, including the incomplete event before it, that is read event by event on the fast path. An
incomplete event at its end is copied to the buffer."""
_BOM: Final = b"\xef\xbb\xbf"
_is_json = msgspec.json.Decoder(msgspec.Raw).decode


class _BodyStart(msgspec.Struct, frozen=True):
    # The beginning of an event, up to its data.
    text: bytes
    size: int
    name: str
    lines: int  # of the whole event


_DATA: Final = _BodyStart(b"data: ", 6, "message", 2)


class _Lead(msgspec.Struct):
    # A piece of a body, as it was received.
    kind: Literal["bytes", "text", "unfinished"]
    data: bytes

    @classmethod
    def of(cls, item: bytes | str) -> "_Lead":
        if isinstance(item, bytes):
            return cls("bytes", item)
        return cls("unfinished" if isinstance(item, UnfinishedLine) else "text", encoded(item))

    @property
    def item(self) -> bytes | str:
        if self.kind == "bytes":
            return self.data
        text = self.data.decode("utf-8", "surrogatepass")
        return text if self.kind == "text" else UnfinishedLine(text)


@dataclass
class Parse(Stage[Input, ServerSentEvent]):
    """Parse an event stream, cut anywhere: bytes, pieces of text, or lines without line ends. Events pass through unchanged.

    A body that begins with a zero byte is Amazon's binary event stream: its frames are returned as `AmazonEvent`s, and a frame
    with a wrong checksum raises `ProtocolError`.

    A body that begins with `{` or `[` is not an event stream: its documents, a single one or one per line, are returned as
    `JsonBody`. For an array of objects, as Gemini streams it, each object is returned as soon as it is complete; if the body ends
    within the array, the rest is an `UnfinishedEvent`. A body that begins with `<` (a web page) raises `ProtocolError`, and so
    does text without any event. An event without its blank line at the end of the body is returned as an `UnfinishedEvent`, since
    some language model APIs end their answers like this. `strict` follows a browser's `EventSource` exactly: such an event is
    discarded, and JSON, web pages and text are lines with unknown fields.

    Bytes are decoded as UTF-8 when `data` is read; one leading byte order mark is dropped. A text without a line end is a line or
    the beginning of one, which the following text decides. `comments`: return each comment as a `Comment`, immediately, even
    inside a block.

    Raises `LimitExceeded`, after the events before it, for an event with more than `max_event_bytes` of data, for a longer line,
    and after more than `max_bytes_without_event` without a complete event. `resume_from` is the initial last event ID.
    `last_event_id` and `retry` (milliseconds) are the values that the stream has set.
    """

    strict: bool = False
    comments: bool = False
    max_event_bytes: int = MAX_EVENT_BYTES
    max_bytes_without_event: int = MAX_BYTES_WITHOUT_EVENT
    resume_from: str = ""
    last_event_id: str = field(default="", init=False, repr=False)
    retry: int | None = field(default=None, init=False, repr=False)
    # The current block.
    _event: str = field(default="", init=False, repr=False)
    _data: list[bytes] = field(default_factory=list[bytes], init=False, repr=False)
    _size: int = field(default=0, init=False, repr=False)
    _id: str = field(default="", init=False, repr=False)
    _retry: int | None = field(default=None, init=False, repr=False)
    # The current line.
    _rest: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _after_cr: bool = field(default=False, init=False, repr=False)
    _number: int = field(default=0, init=False, repr=False)
    # The body.
    _started: bool = field(default=False, init=False, repr=False)
    _between: bool = field(
        default=False, init=False, repr=False
    )  # whether this is an event stream whose current block is completely in `_rest`
    _body: list[bytes] | None = field(default=None, init=False, repr=False)
    # The first line and its number, if it is not a line of an event stream; cleared when an event arrives anyway.
    _foreign: bytes = field(default=b"", init=False, repr=False)
    _foreign_number: int = field(default=0, init=False, repr=False)
    # A JSON array: whether one may still begin, the array, and the pieces received before it is known to contain objects.
    _undecided: bool = field(default=True, init=False, repr=False)
    _array: JsonArray | None = field(default=None, init=False, repr=False)
    _lead: list[_Lead] = field(default_factory=list[_Lead], init=False, repr=False)
    _lead_number: int = field(default=0, init=False, repr=False)
    _frames: AmazonFrames | None = field(default=None, init=False, repr=False)  # for Amazon's binary event stream
    _lines: bool | None = field(
        default=None, init=False, repr=False
    )  # for text: whether items are lines; None is unknown
    _texts: list[str] = field(default_factory=list[str], init=False, repr=False)
    _silent: int = field(default=0, init=False, repr=False)  # bytes since the last event
    _head: _BodyStart = field(default=_DATA, init=False, repr=False, compare=False, metadata={"state": False})

    def __post_init__(self) -> None:
        self._id = self.last_event_id = self.resume_from
        self._undecided = not self.strict

    def feed(self, item: Input) -> Iterable[ServerSentEvent]:
        return self.feed_all([item])

    def feed_all(self, items: list[Input]) -> Iterable[ServerSentEvent]:
        alone = len(items) == 1
        if alone and self._between and (event := self._one_event(items[0])):
            return [event]
        if alone and not self._started and (event := self._first_event(items[0])):
            return [event]
        events: list[ServerSentEvent] = []
        try:
            for item in items:
                if type(item) is not bytes:
                    self._take(item, events)
                elif not self._between:
                    self._take_bytes(item, events)
                elif not alone and (event := self._one_event(item)):
                    events.append(event)
                elif left := self._take_short(item, events):
                    self._take_bytes(left, events)
        except (LimitExceeded, ProtocolError, PipelineError) as error:
            return cut_short(events, error)
        if self._foreign and events:
            self._foreign = b""
        return events

    def flush(self) -> Iterable[ServerSentEvent]:
        if self._frames is not None:
            return self._frames.flush()
        events: list[ServerSentEvent] = []
        try:
            if self._texts and not _FIELD.match(self._texts[0]):
                # The texts were pieces of a body without any line end.
                self._rest += encoded("".join(self._texts))
                self._texts = []
            self._take_lines([], events)
            # `EventSource` ignores a line without a line end.
            if self._rest and not self.strict:
                self._interpret(self._from_start(bytes(self._rest)).splitlines(), events, unfinished=True)
            if self._foreign and not events and not self._data:
                raise self._no_stream()
        except (LimitExceeded, ProtocolError) as error:
            return cut_short(events, error)
        if self._array is not None and self._array.lead is not None:
            events.append(JsonBody(payload=self._array.lead))
        elif self._array is not None and not self._array.closed:
            events.append(UnfinishedEvent(payload=b"".join(self._array.pieces)))
        elif self._body:
            events.append(JsonBody(payload=b"\n".join(self._body)))
        elif self._data and not self.strict:
            events.append(UnfinishedEvent(self._event or "message", b"\n".join(self._data), self._id, self._retry))
        return events

    # Bytes

    def _one_event(self, piece: Input) -> ServerSentEvent | None:
        # Fast path for nearly every read of a live stream: one event with one line of data, with or without an `event:` line.
        # Anything else is left to the general reader; a property test checks that both give the same result. The part before
        # the data usually equals that of the previous event.
        if type(piece) is not bytes or self._rest:
            return None
        head = self._head
        if not piece.startswith(head.text):
            if (found := _head(piece)) is None:
                return None
            self._head = head = found
        start = head.size
        end = piece.find(b"\n", start)
        if end != len(piece) - 2 or piece[-1] != _LF or _CR in piece or end > self.max_event_bytes:
            return None
        self.last_event_id = id = self._id
        self._number += head.lines
        self._silent = 0
        return ServerSentEvent(head.name, piece[start:end], id)

    def _first_event(self, piece: Input) -> ServerSentEvent | None:
        # The same for the first read, if it begins with a field and therefore an event stream.
        begun = self._number or self._silent or self._after_cr or self._texts or self._lines is not None
        other = self._array is not None or self._frames is not None
        if begun or other or (event := self._one_event(piece)) is None:
            return None
        self._started = self._between = True
        self._undecided = False
        return event

    def _take_short(self, piece: bytes, events: list[ServerSentEvent]) -> bytes:
        # Fast path for a short read that ends anywhere: parse its events in the same way, and buffer the beginning of the next
        # one. Returns the bytes that are left for the general reader.
        rest, head, id = self._rest, self._head, self._id
        size = len(rest) + len(piece)
        if size > _SHORT or size > self.max_event_bytes or _CR in piece:
            return piece
        block = b"".join((rest, piece)) if rest else piece
        at = lines = 0
        unusual = False
        while at < size:
            if not block.startswith(head.text, at):
                if head.text.startswith(block[at : at + head.size]):
                    break
                if unusual := (found := _head(block[at : at + _LONG_NAME + 8])) is None:
                    break
                self._head = head = found
            start = at + head.size
            end = block.find(b"\n", start)
            if end < 0 or end + 1 == size or (unusual := block[end + 1] != _LF):
                break
            events.append(ServerSentEvent(head.name, block[start:end], id))
            lines += head.lines
            at = end + 2
        if at:
            # The buffer held the beginning of the first of these events.
            self._number += lines
            self.last_event_id, self._silent, piece = id, 0, block[at:]
            rest.clear()
        if unusual:
            return piece
        if piece:
            rest += piece
            self._silent += len(piece)
            self._check_silence()
        return b""

    def _with_rest(self, piece: bytes) -> bytes:
        # A buffered beginning of an event may contain a line end and is read again here; a buffered partial line has none.
        rest = self._rest
        if len(rest) > _SHORT or _LF not in rest:
            return piece
        block = b"".join((rest, piece))
        self._silent -= len(rest)
        rest.clear()
        return block

    def _take_bytes(self, piece: bytes, events: list[ServerSentEvent]) -> None:
        if self._frames is not None or self._begins_frames(piece):
            assert self._frames is not None
            self._frames.feed(piece, events, self.max_event_bytes)
            return
        if self._undecided and self._take_array(piece, piece, events):
            return
        if self._rest:
            piece = self._with_rest(piece)
        # A CR ended its line immediately; an LF at the start of the next piece belongs to the same line end.
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        # `rfind` reads each byte of a piece once, and the buffer is only appended to: linear for any cuts. (Law 7)
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        known, self._silent = len(events), self._silent + len(piece)
        if self._started and self._body is None and len(piece) <= _SHORT and (last := piece.rfind(b"\n\n") + 2) > 1:
            # The beginning of an event is buffered as it is, for `_take_short`.
            end = last if _CR not in piece and _begins(self._head, piece[last:]) else end
        if end:
            block = bytes(self._rest) + piece[:end] if self._rest else piece[:end]
            self._rest = bytearray(piece[end:])
            self._after_cr = piece.endswith(b"\r")
            if self._started and self._body is None and (middle := block.find(b"\n\n", len(block) // 2, -2)) != -1:
                block = self._read_same_heads(block, middle + 2, events)
            else:
                block = self._from_start(block)
            self._interpret(block.splitlines(), events)
        else:
            self._rest += piece
        if len(events) > known:
            self._silent = len(self._rest)
        self._between = (
            self._started and self._body is None and not (self._foreign or self._after_cr) and self._is_between()
        )
        if len(self._rest) > self.max_event_bytes and len(self._from_start(bytes(self._rest))) > self.max_event_bytes:
            if not self._started:
                # A web page is reported as one, wherever its first line is split.
                self._start([self._from_start(bytes(self._rest))], unfinished=True)
            raise self._too_long(self._number + 1)
        self._check_silence()

    def _begins_frames(self, piece: bytes) -> bool:
        # The first byte belongs to the length and is 0 in every frame below 16 MiB; no text begins with it.
        if piece[:1] != b"\0" or not self._undecided or self._array is not None or self._silent or self._number:
            return False
        self._frames = AmazonFrames()
        return True

    def _check_silence(self) -> None:
        if self._silent > self.max_bytes_without_event:
            raise LimitExceeded(
                f"line {self._number + 1}: expected an event within {self.max_bytes_without_event} bytes "
                "(max_bytes_without_event), found none",
                line=self._number + 1,
            )

    def _from_start(self, block: bytes) -> bytes:
        return block if self._number else block.removeprefix(_BOM)

    def _is_between(self) -> bool:
        return not self._data and not self._event and self._retry is None

    # Text

    def _take(self, item: object, events: list[ServerSentEvent]) -> None:
        match item:
            case ServerSentEvent():
                events.append(item)
            case bytes() | bytearray() | memoryview():
                self._take_bytes(bytes(memoryview(cast("bytes", item))), events)
            case UnfinishedLine():
                if not (self._undecided and self._take_array(item, encoded(item), events)):
                    self._take_lines([] if self.strict else [item], events, unfinished=True)
            case str():
                self._take_text(item, events)
            case _:
                raise PipelineError(
                    f"Parse takes bytes, lines or pieces of text, or ServerSentEvent; found {kind_of(item)}"
                )

    def _take_text(self, text: str, events: list[ServerSentEvent]) -> None:
        # A piece of a body without a line end looks like a line. A line end in a text proves that the texts are pieces; an empty
        # text or a complete document proves that they are lines. Until then nothing can be dispatched.
        if self._undecided and self._take_array(text, encoded(text), events):
            return
        if self._lines is not False and ("\n" in text or "\r" in text):
            self._lines = False
            text, self._texts = "".join([*self._texts, text]), []
        if self._lines is False:
            self._take_bytes(encoded(text), events)
        elif self._lines or not text or (not self._texts and self._is_document(text)):
            self._lines = True
            self._take_lines([text], events)
        else:
            self._texts.append(text)
            self._silent += len(text)
            self._check_silence()

    def _take_lines(self, lines: list[str], events: list[ServerSentEvent], *, unfinished: bool = False) -> None:
        texts, self._texts = self._texts, []
        self._interpret([encoded(line) for line in (*texts, *lines)], events, unfinished=unfinished)
        self._silent = 0

    def _is_document(self, text: str) -> bool:
        return not self.strict and text.lstrip()[:1] in ("{", "[") and _whole(encoded(text))

    # Lines

    def _interpret(self, lines: list[bytes], events: list[ServerSentEvent], *, unfinished: bool = False) -> None:
        if not self._started and not self._start(lines, unfinished=unfinished):
            self._number += len(lines)
        elif self._body is not None:
            self._read_body(lines, events)
        else:
            self._read_lines(lines, events)

    def _start(self, lines: list[bytes], *, unfinished: bool) -> bool:
        # The first non-blank line determines the kind of body.
        first = next((at for at, line in enumerate(lines) if line.strip()), None)
        if first is None:
            return False
        self._started = True
        begins = lines[first].lstrip()
        if self.strict:
            return True
        if begins[:1] in (b"{", b"["):
            self._body = []
        elif begins[:1] == b"<":
            found = begins[:9].decode("utf-8", "replace")
            raise ProtocolError(
                f"line {self._number + first + 1}: expected an event stream or JSON, found a page: {found!r}",
                line=self._number + first + 1,
                excerpt=lines[first][:80].decode("utf-8", "replace"),
            )
        elif not _is_field(lines[first], unfinished=unfinished and first == len(lines) - 1):
            self._foreign, self._foreign_number = lines[first], self._number + first + 1
        return True

    def _read_same_heads(self, block: bytes, middle: int, events: list[ServerSentEvent]) -> bytes:
        # Fast path for a large read, most of whose blocks begin alike: with `data: ` alone or after the same `event:` line. Split
        # it wherever a block begins like the one in its middle, and read everything else line by line. A property test checks
        # that both give the same result. Returns the rest after the last blank line.
        stop = block.rfind(b"\n\n") + 2
        head = _head(block[middle : middle + _LONG_NAME + 8])
        if head is None or _CR in block or stop > self.max_event_bytes:
            return block
        first, *others = block[: stop - 2].split(b"\n\n" + head.text)
        self._read_lines([*first.split(b"\n"), b""], events)
        name, id, regular = head.name, self._id, 0
        for data in others:
            if _LF in data:
                self._read_lines([*(head.text + data).split(b"\n"), b""], events)
                id = self._id
            else:
                events.append(ServerSentEvent(name, data, id))
                regular += 1
        self._number += regular * head.lines
        self.last_event_id = id
        return block[stop:]

    def _read_lines(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        data, size, limit, number = self._data, self._size, self.max_event_bytes, self._number
        for line in lines:
            number += 1
            if line:
                # Most lines are `data: …`.
                if line[:6] == b"data: ":
                    data.append(line[6:])
                elif len(line) > limit:
                    raise self._too_long(number)
                elif line[:1] == b":":
                    if self.comments:
                        events.append(Comment("comment", id=self._id, text=line[1:].decode("utf-8", "replace")))
                    continue
                elif not self._field(line):
                    continue
                # Only the data of an event is accumulated, so only it counts; repeated comments and ids are not stored.
                size += len(line)
                if size > limit:
                    raise self._too_long(number)
            else:
                if data:
                    payload = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(ServerSentEvent(self._event or "message", payload, self._id, self._retry))
                    data.clear()
                self._event, self._retry, size = "", None, 0
                self.last_event_id = self._id
        self._number, self._size = number, size

    def _field(self, line: bytes) -> bool:
        # Returns whether the field is `data`.
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry = self._retry = int(value[:19])
            case _:
                pass  # a field that the standard does not define
        return name == b"data"

    def _read_body(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        assert self._body is not None
        for line in lines:
            self._number += 1
            if not self._body:
                if not line.strip():
                    continue
                # A line that is a complete document is NDJSON. Any other is the first line of a document with several lines.
                if len(line) <= self.max_event_bytes and _whole(line):
                    events.append(JsonBody(payload=line))
                    continue
            self._body.append(line)
            self._size += len(line) + 1
            if self._size > self.max_event_bytes:
                raise self._too_long(self._number)

    # An array of objects

    def _take_array(self, item: bytes | str, piece: bytes, events: list[ServerSentEvent]) -> bool:
        """Whether the piece belongs, or may belong, to an array and was consumed. Otherwise it is read as any other body."""
        if self._array is None:
            # Everything so far was white space, possibly after a byte order mark.
            begun = bytes(self._rest if len(self._rest) < 4 else b"") + piece
            if _BOM.startswith(begun) or not (piece := begun.removeprefix(_BOM).lstrip(_BLANKS)):
                return False
            self._undecided = piece.startswith(b"[")
            if not self._undecided:
                return False
            blank = begun[: -len(piece)].removeprefix(b"\n" if self._after_cr else b"")
            self._array, self._lead_number = JsonArray(), self._number
            self._number += len(blank.splitlines()) - (not blank.endswith((b"\n", b"\r")) and bool(blank))
            # White space before it belongs to another document that begins with `[`.
            self._lead += map(_Lead.of, [bytes(self._rest)] if self._rest else self._texts)
            self._rest.clear()
            self._texts.clear()
        if self._array.lead is not None:
            self._lead.append(_Lead.of(item))
        self._silent += len(piece)
        if not self._read_array(self._array, piece, events):
            self._read_other(events)
        elif self._array.lead is None and self._lead:
            self._lead = []
        if isinstance(item, str) and "\n" not in item:
            self._number += 1
        self._check_silence()
        return True

    def _read_array(self, array: JsonArray, piece: bytes, events: list[ServerSentEvent]) -> bool:
        for part in piece.splitlines(keepends=True):
            is_line = part.endswith((b"\n", b"\r"))
            self._number += is_line and not (self._after_cr and part == b"\n")
            self._after_cr = part.endswith(b"\r")
            elements = array.feed(part)
            if elements is None:
                return False
            number = self._number + (not is_line)
            for element in elements:
                if len(element) > self.max_event_bytes:
                    raise self._too_long(number)
                events.append(JsonBody(payload=element))
                self._silent = 0
            if array.broken:
                raise ProtocolError(f"line {number}: expected {array.expected}, found something else", line=number)
            if array.size > self.max_event_bytes:
                raise self._too_long(number)
        return True

    def _read_other(self, events: list[ServerSentEvent]) -> None:
        # A body that begins with `[` and is not an array of objects is read again as any other document or text.
        lead, self._lead = self._lead, []
        self._array, self._number, self._silent = None, self._lead_number, 0
        self._undecided = self._after_cr = False
        for each in lead:
            item = each.item
            if isinstance(item, bytes):
                self._take_bytes(item, events)
            else:
                self._take(item, events)

    def _no_stream(self) -> ProtocolError:
        found = f"found {len(self._foreign.decode('utf-8', 'replace'))} characters that are neither"
        return ProtocolError(
            f"line {self._foreign_number}: expected an event stream or JSON, {found}",
            line=self._foreign_number,
            excerpt=self._foreign[:80].decode("utf-8", "replace"),
        )

    def _too_long(self, line: int) -> LimitExceeded:
        return LimitExceeded(
            f"line {line}: expected at most {self.max_event_bytes} bytes in an event (max_event_bytes), found more",
            line=line,
        )


def _head(piece: bytes) -> _BodyStart | None:
    """The beginning of a piece that may be one event with one line of data; `None` for any other piece."""
    at = piece.find(b"\n") + 1 if piece.startswith(b"event: ") else 0
    if at > _LONG_NAME or not piece.startswith(b"data: ", at):
        return None
    return _BodyStart(piece[: at + 6], at + 6, _name(piece[: at - 1]), 3) if at else _DATA


def _begins(head: _BodyStart, piece: bytes) -> bool:
    """Whether the piece may be the beginning of an event with one line of data, and does not complete it."""
    if not piece.startswith(head.text):
        return head.text.startswith(piece)
    return piece.find(b"\n", head.size) in (-1, len(piece) - 1)


_NAMES: Final[dict[bytes, str]] = {}


def _name(line: bytes) -> str:
    # There are few event names, and a table is faster than decoding. It is bounded, so that a server can't fill it.
    if (known := _NAMES.get(line)) is not None:
        return known
    name = line[7:].decode("utf-8", "replace") or "message"
    if len(_NAMES) < 256 and len(line) < _LONG_NAME:
        _NAMES[line] = name
    return name


def _is_field(line: bytes, *, unfinished: bool) -> bool:
    """Whether a line is a field of an event stream, or if `unfinished` may be the beginning of one."""
    name, colon, _ = line.lstrip().partition(b":")
    if unfinished and not colon:
        return any(field.startswith(name) for field in _NAMES_OF_FIELDS)
    return name in _NAMES_OF_FIELDS


def _whole(line: bytes) -> bool:
    try:
        _is_json(line)
    # Nesting too deep for this decoder is reported by the code that reads the document.
    except NOT_JSON:
        return _has_halves(line)
    return True


def _has_halves(line: bytes) -> bool:
    # Only Python's own decoder accepts a lone surrogate. (RFC 8259, 8.2)
    try:
        json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return False
    return True
