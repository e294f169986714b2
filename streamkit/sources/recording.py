"""The file format of a recorded body: JSON lines with a header line.

    {"streamkit": "recording/1", "method": "POST", "url": "https://api.example/v1", "status": 200, "headers": {…}}
    {"t": 0.41, "text": "data: {…}\\n\\n"}
    {"t": 0.43, "b64": "4oI="}
    {"t": 0.52, "end": "eof"}

The first line names the format and its version. Its other fields are for people, except `headers`, whose content type `replay`
checks, and `"timed": false`: the source had no arrival times, and those in the file are meaningless. Each further line is one
piece as it was received: `t` in seconds since the opening, and its bytes as `text`, or as `b64` if they are not valid UTF-8 by
themselves. The last line is the end: `eof`, `error` with the error's class, or `closed` by the reader. A file without it is
incomplete.
"""

import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, Literal, TypeAlias, cast

import msgspec

from streamkit.core.wrong_input import bounded, word_shown
from streamkit.errors import Disconnected, LimitExceeded, ProtocolError, RecordingError
from streamkit.sources.request import address
from streamkit.sse.json_text import NOT_JSON

Piece: TypeAlias = tuple[float, bytes]
"""Arrival time in seconds since the opening, and the bytes. Empty bytes mark a time only, such as that of the end."""
End: TypeAlias = Literal["eof", "error", "closed"]

VERSION = "recording/1"
RECORDING = b'{"streamkit":'
"""How the first line of a recording begins, as `head_line` writes it."""
GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""
GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
"""The exceptions of gzip data that ends too early or is damaged."""
MAX_BYTES = 256 * 1024 * 1024
"""The maximum size of an exchange that is decompressed, so that a gzip bomb does not exhaust the memory."""
REDACTED = "[redacted]"
MAX_SECONDS = 366 * 24 * 3600
"""The latest time that a recording may contain: a year after its opening."""
_SECRET = re.compile(
    r".*auth.*|.*cookie.*|(?:content-)?location|referer"  # a URL may contain a key in its query
    r"|(?:.*[-_])?(?:api-?key|assertion|bearer|credentials?|csrf|hmac|jwt|key|pass-?phrase|passw(?:or)?d|pat|secret|session"
    r"|signature|token|xsrf)"
    r"|.*(?:account|organi[sz]ation|project)(?:[-_]id)?",
    re.IGNORECASE,
)


class _RecordingHead(msgspec.Struct):
    streamkit: str
    timed: Any = True


class _Facts(_RecordingHead):
    headers: dict[str, object] = {}


class _Identified(_RecordingHead):
    id: str | int | None = None


class _Piece(msgspec.Struct, omit_defaults=True):
    t: float
    text: str | None = None
    b64: bytes | None = None
    end: End | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.b64 is None and self.end is None:
            raise ValueError("Expected one of `text`, `b64` and `end`")

    @property
    def data(self) -> bytes:
        return self.b64 if self.b64 is not None else (self.text or "").encode()


_decode_head = msgspec.json.Decoder(_RecordingHead).decode
_decode_entry = msgspec.json.Decoder(_Piece).decode


def read_recording(content: bytes) -> Iterator[Piece]:
    """Yield the pieces of a recording; any other content is yielded as a body in one piece.

    A recorded error raises `Disconnected`, and an invalid line `ProtocolError`, each after the pieces before it. A recorded end
    is yielded as an empty piece.
    """
    lines = BytesIO(content)
    head = _head(lines.readline())
    if head is None:
        yield 0.0, content
        return
    if head.streamkit != VERSION:
        raise ProtocolError(f"line 1: expected {VERSION!r}, found {head.streamkit!r}", line=1)
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        entry = _entry(number, line)
        yield entry.t, entry.data
        if entry.end == "error":
            raise Disconnected(
                f"the recorded stream ended with {word_shown(entry.error) if entry.error else 'an error'}"
            )
        if entry.end:
            return


def unzipped(content: bytes) -> bytes:
    """Decompress content that starts with the gzip signature (RFC 1952, 2.3.1), and return any other content unchanged.

    Raises `RecordingError` if it is damaged or ends too early, and `LimitExceeded` above `MAX_BYTES`.
    """
    if not content.startswith(GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            found = file.read(MAX_BYTES + 1)
    except GZIP_ERRORS as error:
        raise RecordingError(gzip_problem(error)) from error
    check_size(len(found))
    return found


def gzip_problem(error: Exception) -> str:
    """Return the reason why gzip data can't be decompressed; empty for an error of another kind."""
    if isinstance(error, EOFError):
        return "its gzip data ends too early"
    return "its gzip data is damaged" if isinstance(error, GZIP_ERRORS) else ""


def check_size(size: int) -> None:
    """Raise `LimitExceeded` for an exchange of more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise LimitExceeded(f"expected an exchange of at most {MAX_BYTES} bytes, found more")


def is_recording(line: bytes) -> bool:
    """Whether a file with this first line is a recording, of any version."""
    return _head(line) is not None


def is_whole(content: bytes) -> bool:
    """Whether the content is a recording of this version that was finished, without an error, and can be read to its end."""
    head = _head(content.partition(b"\n")[0])
    if head is None or head.streamkit != VERSION:
        return False
    try:
        for _ in read_recording(content):
            pass
        return _decode_entry(content.rstrip().rpartition(b"\n")[2]).end in ("eof", "closed")
    except (ProtocolError, Disconnected, *NOT_JSON):
        return False


def is_timed(content: bytes) -> bool:
    """Whether the content has arrival times. A plain body has none, nor does the recording of a source without times."""
    head = _head(content.partition(b"\n")[0])
    return head is not None and head.timed is not False


def recorded_headers(content: bytes) -> dict[str, str]:
    """Return the recorded response headers, with names in lower case; empty if there are none."""
    try:
        facts = msgspec.convert(msgspec.json.decode(content.partition(b"\n")[0]), _Facts)
    except NOT_JSON:
        return {}
    return {name.lower(): str(value) for name, value in facts.headers.items()} if facts.streamkit == VERSION else {}


def recorded_id(content: bytes) -> str | None:
    """Return the `id` in the first line, as `record(…, about={"id": …})` writes it; `None` if there is none."""
    with suppress(*NOT_JSON):
        head = msgspec.json.decode(content.partition(b"\n")[0], type=_Identified)
        return None if head.id is None or head.streamkit != VERSION else str(head.id)
    return None


def is_secret(header: str) -> bool:
    """Whether a header's name suggests that its value identifies or authenticates somebody."""
    return _SECRET.fullmatch(header) is not None


def cleaned(facts: Mapping[str, object], keep_headers: Collection[str] = ()) -> dict[str, object]:
    """Return the fields for a first line: `url` without query and user part, `headers` with secret values redacted."""
    clean = dict(facts)
    if "url" in clean:
        clean["url"] = address(str(clean["url"]))
    if "headers" in clean:
        clean["headers"] = _redacted(dict(cast("Mapping[str, object]", clean["headers"])), keep_headers)
    return clean


def head_line(facts: Mapping[str, object]) -> bytes:
    """Return the first line of a recording."""
    return _line({"streamkit": VERSION, **facts})


def piece_line(at: float, data: bytes) -> bytes:
    """Return the line for a piece received `at` seconds after the opening."""
    try:
        return _line(_Piece(at, text=data.decode()))
    except UnicodeDecodeError:
        return _line(_Piece(at, b64=data))


def end_line(at: float, end: End, error: str | None = None) -> bytes:
    """Return the last line of a recording."""
    return _line(_Piece(at, end=end, error=error))


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _head(line: bytes) -> _RecordingHead | None:
    try:
        return _decode_head(line)
    except NOT_JSON:
        return None


def _entry(number: int, line: bytes) -> _Piece:
    try:
        entry = _decode_entry(line)
    except NOT_JSON as error:
        raise ProtocolError(f"line {number}: expected a recorded piece: {bounded(str(error))}", line=number) from error
    if not 0 <= entry.t <= MAX_SECONDS:
        raise ProtocolError(f"line {number}: expected t from 0 to {MAX_SECONDS} seconds, found {entry.t}", line=number)
    return entry


def _redacted(headers: Mapping[str, object], keep: Collection[str]) -> dict[str, str]:
    kept = {name.lower() for name in keep}
    return {
        name: REDACTED if is_secret(name) and name.lower() not in kept else str(value)
        for name, value in headers.items()
    }
