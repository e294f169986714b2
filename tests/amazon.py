"""Frames of Amazon's event stream, for tests."""

import json
from base64 import b64encode
from struct import pack
from typing import Any
from zlib import crc32

STRING = 7


def frame(payload: bytes = b"", headers: bytes = b"") -> bytes:
    """One frame, with headers as they are on the wire."""
    prelude = pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + pack(">I", crc32(prelude)) + headers + payload
    return body + pack(">I", crc32(body))


def header(name: str, kind: int, value: bytes) -> bytes:
    """One header; `value` is as on the wire."""
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + value


def text_header(name: str, value: str) -> bytes:
    return header(name, STRING, pack(">H", len(value.encode())) + value.encode())


def headers(**named: str) -> bytes:
    """Text headers; `message_type` is `:message-type`."""
    return b"".join(text_header(":" + name.replace("_", "-"), value) for name, value in named.items())


def event(name: str, payload: Any) -> bytes:
    """An event as Bedrock sends it."""
    said = headers(event_type=name, content_type="application/json", message_type="event")
    return frame(json.dumps(payload).encode(), said)


def failure(name: str, message: str) -> bytes:
    """An exception as Bedrock sends it in a stream."""
    said = headers(exception_type=name, content_type="application/json", message_type="exception")
    return frame(json.dumps({"message": message}).encode(), said)


def chunk(payload: Any) -> bytes:
    """A model's own chunk, as `invoke-with-response-stream` sends it, padded."""
    return event("chunk", {"bytes": b64encode(json.dumps(payload).encode()).decode(), "p": "abcdefgh"})
