"""Amazon's binary event stream: frames with typed headers, a payload and two checksums.

A frame consists of a prelude (the length of the frame, the length of the headers, a checksum of both), the headers, the payload,
and a checksum of everything before it. Numbers are big-endian, checksums are CRC-32.
(https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html,
https://smithy.io/2.0/aws/amazon-eventstream.html)
"""

from struct import Struct
from struct import error as StructError  # noqa: N812 # a class with the name of a variable
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.sse.events import ServerSentEvent, UnfinishedEvent
from streamkit.sse.json_text import NOT_JSON

HeaderValue: TypeAlias = bool | int | bytes | str
PRELUDE_BYTES: Final = 12
LEAST_BYTES: Final = PRELUDE_BYTES + 4
"""The length of a frame without headers and payload."""
MAX_HEADER_BYTES: Final = 128 * 1024
"""The maximum that the format allows."""
_PRELUDE: Final = Struct(">III").unpack_from
_CHECKSUM: Final = Struct(">I").unpack_from
_LENGTH: Final = Struct(">H").unpack_from
_NUMBERS: Final = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q")}
_UUID_BYTES: Final = 16
_KNOWN_HEADERS: Final = 256


class AmazonEvent(ServerSentEvent, frozen=True, gc=False):
    """One frame of Amazon's event stream.

    `event` is the `:event-type`, `:exception-type` or `:error-code` of the frame, depending on `message_type`: `event`,
    `exception` or `error`. If a `chunk` contains a model's own chunk as base64, as Bedrock's `invoke-with-response-stream` sends
    it, `payload` is the decoded chunk. `head` contains the encoded headers.
    """

    message_type: str = "event"
    head: bytes = b""

    @property
    def headers(self) -> dict[str, HeaderValue]:
        """The headers, decoded at each access: timestamps in milliseconds since 1970, UUIDs as 16 bytes."""
        return read_headers(self.head)

    @property
    def reason(self) -> object:
        """The provider's error object for an exception or error; `None` for an event."""
        if self.message_type == "event":
            return None
        if self.message_type == "error":
            return {"error": {"code": self.event, "message": self.headers.get(":error-message", "")}}
        try:
            details = msgspec.json.decode(self.payload)
        except NOT_JSON:
            details = {"message": self.data}
        return {self.event: details}


class _Base64Chunk(msgspec.Struct):
    bytes: bytes


class _Kind(msgspec.Struct, frozen=True):
    # The properties of a frame that follow from its headers.
    name: str
    message_type: str
    wraps: bool


class AmazonFrames(msgspec.Struct):
    """A body of frames, received in pieces. Each byte is processed once."""

    rest: bytearray = msgspec.field(default_factory=bytearray)
    needed: int = PRELUDE_BYTES
    """The length that `rest` must have before the next step: that of a prelude or of the whole frame."""
    offset: int = 0
    """The offset of `rest` in the body."""

    def feed(self, piece: bytes, events: list[ServerSentEvent], max_bytes: int) -> None:
        """Append the events of the frames that this piece completes.

        Raises `ProtocolError` for a wrong checksum, an invalid length or invalid headers, and `LimitExceeded` for a payload of
        more than `max_bytes`. The events of earlier frames are appended before.
        """
        if self.rest:
            self.rest += piece
            if len(self.rest) < self.needed:
                return
            piece = bytes(self.rest)
        at = total = 0
        size = len(piece)
        try:
            while (left := size - at) >= PRELUDE_BYTES:
                total, length, checksum = _PRELUDE(piece, at)
                if crc32(piece[at : at + 8]) != checksum:
                    raise self._fault(
                        at, "expected a prelude with a matching checksum (CRC-32), found another checksum"
                    )
                if length > MAX_HEADER_BYTES or total < LEAST_BYTES + length:
                    raise self._fault(
                        at, f"expected the lengths of a frame, found {total} bytes with {length} of headers"
                    )
                if total - length - LEAST_BYTES > max_bytes:
                    raise self._too_long(at, max_bytes)
                if left < total:
                    break
                end = at + total - 4
                if crc32(piece[at:end]) != _CHECKSUM(piece, end)[0]:
                    raise self._fault(at, "expected a frame with a matching checksum (CRC-32), found another checksum")
                events.append(self._event(piece, at, at + PRELUDE_BYTES + length, end))
                at += total
            self.needed = total if left >= PRELUDE_BYTES else PRELUDE_BYTES
        finally:
            self.rest = bytearray(piece[at:])
            self.offset += at

    def flush(self) -> list[ServerSentEvent]:
        """Handle the end of the body: an incomplete frame is an `UnfinishedEvent` without data, since its checksum is missing."""
        return [UnfinishedEvent()] if self.rest else []

    def _event(self, piece: bytes, at: int, start: int, end: int) -> AmazonEvent:
        head, payload = piece[at + PRELUDE_BYTES : start], piece[start:end]
        if (kind := _KINDS.get(head)) is None:
            try:
                kind = _kind(read_headers(head))
            except (StructError, UnicodeError, ProtocolError):
                raise self._fault(at, "expected headers of the format's types, found others") from None
            # Events of the same type have equal headers. The table is bounded, so that a server can't fill the memory.
            if len(_KINDS) < _KNOWN_HEADERS and len(head) < _KNOWN_HEADERS:
                _KINDS[head] = kind
        if kind.wraps:
            payload = _unwrapped(payload)
        return AmazonEvent(kind.name, payload, message_type=kind.message_type, head=head)

    def _fault(self, at: int, found: str) -> ProtocolError:
        offset = self.offset + at
        return ProtocolError(f"byte {offset} of Amazon's event stream: {found}", offset=offset)

    def _too_long(self, at: int, max_bytes: int) -> LimitExceeded:
        offset = self.offset + at
        return LimitExceeded(
            f"byte {offset} of Amazon's event stream: expected at most {max_bytes} bytes in an event (max_event_bytes), "
            "found more",
            offset=offset,
        )


_KINDS: Final[dict[bytes, _Kind]] = {}
_decode_chunk = msgspec.json.Decoder(_Base64Chunk).decode


def begins_frame(piece: bytes) -> bool:
    """Whether a body that begins with this piece may consist of frames: checks the prelude, or the first byte of a shorter
    piece."""
    if len(piece) < PRELUDE_BYTES:
        return piece[:1] == b"\0"
    checksum: int = _PRELUDE(piece)[2]
    return crc32(piece[:8]) == checksum


def read_headers(head: bytes) -> dict[str, HeaderValue]:
    """The headers by name. Raises `ProtocolError`, `UnicodeDecodeError` or `struct.error` for malformed bytes."""
    headers: dict[str, HeaderValue] = {}
    at, size = 0, len(head)
    while at < size:
        begin = at + 1
        at = begin + head[at] + 1
        if at > size:
            raise ProtocolError("expected the name of a header and its type, found the end of the headers")
        name, kind = head[begin : at - 1].decode(), head[at - 1]
        if name in headers:
            raise ProtocolError("expected one header of each name, found two")
        headers[name], at = _value(head, kind, at)
    return headers


def _value(head: bytes, kind: int, at: int) -> tuple[HeaderValue, int]:
    if kind < 2:
        return kind == 0, at
    if number := _NUMBERS.get(kind):
        return number.unpack_from(head, at)[0], at + number.size
    if kind in (6, 7):
        end = at + 2 + _LENGTH(head, at)[0]
        value: bytes = head[at + 2 : end]
    elif kind == 9:
        end = at + _UUID_BYTES
        value = head[at:end]
    else:
        raise ProtocolError(f"expected a type of header from 0 to 9, found {kind}")
    if end > len(head):
        raise ProtocolError("expected the value of a header, found the end of the headers")
    return value.decode() if kind == 7 else value, end


def _kind(headers: dict[str, HeaderValue]) -> _Kind:
    message_type = str(headers.get(":message-type", "event"))
    named = {"exception": ":exception-type", "error": ":error-code"}.get(message_type, ":event-type")
    name = str(headers.get(named) or "message")
    return _Kind(name, message_type, message_type == "event" and name == "chunk")


def _unwrapped(payload: bytes) -> bytes:
    # (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_PayloadPart.html)
    try:
        return _decode_chunk(payload).bytes
    except (msgspec.DecodeError, UnicodeError):
        return payload
