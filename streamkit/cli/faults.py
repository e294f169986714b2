"""Faults of the demo provider's responses: the values of the header `x-demo-fault`, and their implementation."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from streamkit.errors import StreamkitError
from streamkit.sources.faults import Cut, Drip, Duplicate, Fault, Garbage, Pause, Tape
from streamkit.sources.recording import Piece

EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}
HTML = b"<!doctype html>\n<title>502 Bad Gateway</title>\n<h1>Bad Gateway</h1>\n"
WRONG_JSON = b'{"object":"list","data":[]}'
JSON_ERROR = (
    b'{"error":{"message":"The server had an error while processing your request","type":"server_error",'
    b'"param":null,"code":null}}'
)
_BYTES, _SECONDS = r"([0-9]{1,12})", r"([0-9]{1,6}(?:\.[0-9]{1,9})?)"
_DONE = re.compile(rb"(?:(?<=[\r\n])|\A)data: ?\[DONE\][\r\n]*")


@dataclass(frozen=True)
class Sending:
    """A response to send. If its pieces raise `Disconnected`, the connection is closed, or with `reset` it is reset."""

    pieces: Iterator[Piece]
    headers: Mapping[str, str]
    reset: bool = False


Make: TypeAlias = Callable[..., Sending]


def sending(pieces: Iterator[Piece], demand: str | None, content_type: str | None = None) -> Sending:
    """Return the response with these pieces and the fault that the header requests. Raises `ValueError` for an invalid header.

    `content_type` is the content type of a response that is not an event stream.
    """
    answer = _sending(pieces, demand)
    if content_type and answer.headers["content-type"] == EVENT_STREAM["content-type"]:
        return replace(answer, headers={**answer.headers, "content-type": content_type})
    return answer


def _sending(pieces: Iterator[Piece], demand: str | None) -> Sending:
    if demand is None:
        return Sending(pieces, EVENT_STREAM)
    name, _, value = demand.strip().partition("=")
    if name not in KINDS:
        raise ValueError(f"x-demo-fault: expected one of {', '.join(KINDS)}, found {demand!r}")
    form, pattern, make = KINDS[name]
    found = re.fullmatch(pattern, value)
    if not found:
        raise ValueError(f"x-demo-fault: expected {form}, found {demand!r}")
    return make(pieces, *found.groups())


def _of(fault: Callable[..., Fault]) -> Make:
    # Faults of the bytes are those of `replay`, so both deliver the same body.
    def make(pieces: Iterator[Piece], *values: str | None) -> Sending:
        return Sending(fault(*values)(pieces), EVENT_STREAM)

    return make


def _cut(after: str, clean: str | None) -> Fault:
    return Cut(int(after), clean=clean is not None)


def _stall(after: str, seconds: str | None) -> Fault:
    return Pause(int(after), seconds=None if seconds is None else float(seconds))


def _garbage(after: str) -> Fault:
    return Garbage(int(after))


def _duplicate(after: str, length: str) -> Fault:
    return Duplicate(int(after), int(length))


def _drip(size: str, seconds: str) -> Fault:
    return Drip(int(size), float(seconds))


def _without_done() -> Fault:
    return lambda pieces: ((at, _DONE.sub(b"", data)) for at, data in pieces)


def _endless_line(after: str | None) -> Fault:
    def endless(pieces: Iterator[Piece]) -> Iterator[Piece]:
        tape = Tape(pieces)
        yield from tape.take(int(after or 0))
        yield tape.at, b"data: "
        while True:
            yield tape.at, b"x" * 4096

    return endless


def _reset(pieces: Iterator[Piece], after: str) -> Sending:
    return Sending(Cut(int(after))(pieces), EVENT_STREAM, reset=True)


def _html(pieces: Iterator[Piece]) -> Sending:
    return Sending(iter([(0.0, HTML)]), {"content-type": "text/html; charset=utf-8"})


def _json_error(pieces: Iterator[Piece]) -> Sending:
    return Sending(iter([(0.0, JSON_ERROR)]), {"content-type": "application/json"})


def _wrong_json(pieces: Iterator[Piece]) -> Sending:
    return Sending(iter([(0.0, WRONG_JSON)]), {"content-type": "application/json"})


def _wrong_length(pieces: Iterator[Piece]) -> Sending:
    body = _whole(pieces)
    length = sum(len(data) for _, data in body)
    return Sending(Cut(length)(iter(body)), EVENT_STREAM | {"content-length": str(length + 1)})


def _gzip_cut(pieces: Iterator[Piece], after: str | None) -> Sending:
    body = _whole(pieces)
    packed = gzip.compress(b"".join(data for _, data in body), mtime=0)
    sent = packed[: int(after) if after else len(packed) // 2]
    return Sending(iter([(body[0][0], sent)] if body else []), EVENT_STREAM | {"content-encoding": "gzip"})


def _whole(pieces: Iterator[Piece]) -> list[Piece]:
    came: list[Piece] = []
    # A recording may end with a recorded error; the pieces before it are the body.
    with suppress(StreamkitError):
        for piece in pieces:
            came.append(piece)
    return came


KINDS: dict[str, tuple[str, str, Make]] = {
    "cut": ("cut=BYTES or cut=BYTES:clean", f"{_BYTES}(:clean)?", _of(_cut)),
    "stall": ("stall=BYTES or stall=BYTES:SECONDS", f"{_BYTES}(?::{_SECONDS})?", _of(_stall)),
    "garbage": ("garbage=BYTES", _BYTES, _of(_garbage)),
    "duplicate": ("duplicate=BYTES:LENGTH", f"{_BYTES}:0*([1-9][0-9]{{0,11}})", _of(_duplicate)),
    "drip": ("drip=BYTES:SECONDS", f"0*([1-9][0-9]{{0,11}}):{_SECONDS}", _of(_drip)),
    "reset": ("reset=BYTES", _BYTES, _reset),
    "html": ("html", "", _html),
    "json-error": ("json-error", "", _json_error),
    "wrong-json": ("wrong-json", "", _wrong_json),
    "wrong-length": ("wrong-length", "", _wrong_length),
    "gzip-cut": ("gzip-cut or gzip-cut=BYTES", f"(?:{_BYTES})?", _gzip_cut),
    "no-done": ("no-done", "", _of(_without_done)),
    "endless-line": ("endless-line or endless-line=BYTES", f"(?:{_BYTES})?", _of(_endless_line)),
}
