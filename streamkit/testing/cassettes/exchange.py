"""One request and its answer as a cassette stores them: a recording, whose first line has the request as well.

    {"streamkit": "recording/1", "method": "POST", "url": "https://api.example/v1/chat", "status": 200, "headers": {…},
     "request": {"upstream": "", "query": […], "headers": {…}, "body": {…}}, "answered": 0.35}

`sk.replay` reads it as any recording. `body` is JSON where the request's is, text where that is text, and else a digest.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import parse_qsl

import msgspec

from streamkit.errors import Disconnected, ProtocolError, RecordingError
from streamkit.sources.recording import End, Piece, end_line, head_line, piece_line, read_recording
from streamkit.testing.cassettes.redaction import Redaction

Part: TypeAlias = Literal["method", "path", "query", "headers", "body"]
MATCHED: tuple[Part, ...] = ("method", "path", "query", "body")
_TEXT = re.compile(r"text/.*|application/(?:.*[+-])?(?:xml|javascript)|application/x-ndjson|application/jsonl")
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
# What every client sends in its own way, and nothing of the request.
_NOT_STORED = (
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "transfer-encoding",
    "user-agent",
)
_UNSTABLE = re.compile(r"x-stainless-.*|traceparent|tracestate|baggage|.*request-id|idempotency-key", re.IGNORECASE)


class ReceivedRequest(msgspec.Struct, frozen=True):
    """A request as the client sent it, credentials included; they are not shown.

    `method` and `path`, which is below the provider's base URL; `raw_query` as it was received; `headers` by their names in lower
    case; `body`; and `upstream`, the provider's name where a cassette has several.
    """

    method: str
    """In capitals."""
    path: str
    """Below the base URL."""
    raw_query: str = ""
    """The query as it was sent."""
    headers: dict[str, str] = {}
    """With the names as the client wrote them."""
    body: bytes = b""
    """As it was sent."""
    upstream: str = ""
    """The name of the provider, of several."""

    @property
    def query(self) -> list[tuple[str, str]]:
        """The names and values of the query."""
        return parse_qsl(self.raw_query, keep_blank_values=True)

    @property
    def json(self) -> Any:
        """The body as JSON; `None` for an empty one. Raises `msgspec.DecodeError` for any other."""
        return msgspec.json.decode(self.body) if self.body else None

    @property
    def media_type(self) -> str:
        """The type of the body, in lower case and without parameters."""
        return self._content_type.partition(";")[0].strip().lower()

    @property
    def _content_type(self) -> str:
        return next((value for name, value in self.headers.items() if name.lower() == "content-type"), "")

    @property
    def boundary(self) -> bytes:
        """The boundary of a multipart form, which differs for each request."""
        found = _BOUNDARY.search(self._content_type)
        return found[1].encode() if found else b""

    def __repr__(self) -> str:
        return f"ReceivedRequest({self.method} {self.path})"


class StoredRequest(msgspec.Struct):
    """A request without its credentials, as a cassette has it."""

    method: str
    path: str
    upstream: str = ""
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    body: Any = None

    @classmethod
    def of(cls, request: ReceivedRequest, redaction: Redaction) -> "StoredRequest":
        """The request as it is stored."""
        redaction.learn(request.headers, request.query)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_STORED}
        return cls(
            request.method,
            redaction.text(request.path),
            request.upstream,
            redaction.query(request.query),
            redaction.headers(headers),
            _body(request, redaction),
        )

    def differs(self, other: "StoredRequest", match: Sequence[Part], ignore: Collection[str]) -> list[str]:
        """Where the two differ, by names and places, without a value; empty if they match."""
        found: list[str] = [] if self.upstream == other.upstream else ["upstream"]
        for part in match:
            mine, its = self._part(part, ignore), other._part(part, ignore)
            if mine != its:
                found += list(_places(part if part != "body" else "$", mine, its))
        return found

    def _part(self, part: Part, ignore: Collection[str]) -> Any:
        match part:
            case "query":
                names = {name for name, _ in self.query if name not in ignore}
                return {name: [value for each, value in self.query if each == name] for name in names}
            case "headers":
                kept = {name.lower(): value for name, value in self.headers.items() if not _UNSTABLE.fullmatch(name)}
                return {name: value for name, value in kept.items() if name not in ignore}
            case "body":
                return _without(self.body, ignore)
            case _:
                return getattr(self, part)


class _Request(msgspec.Struct):
    upstream: str = ""
    path: str = ""
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    body: Any = None


class _Head(msgspec.Struct):
    request: _Request
    method: str = "GET"
    status: int = 200
    headers: dict[str, str] = {}
    answered: float = 0.0


class _Last(msgspec.Struct):
    end: str = "closed"


class Exchange(msgspec.Struct):
    """A recorded exchange. `answered` is when the answer's head came, in seconds since the request."""

    request: StoredRequest
    status: int
    headers: dict[str, str]
    content: bytes
    answered: float = 0.0
    name: str = ""

    @property
    def was_left(self) -> bool:
        """Whether the recording ended before the answer did."""
        return msgspec.json.decode(self.content.splitlines()[-1], type=_Last).end == "closed"

    @property
    def pieces(self) -> Iterator[Piece]:
        """The answer's pieces; a recorded failure is raised as `Disconnected`."""
        return read_recording(self.content)


def read_exchange(path: Path) -> Exchange:
    """The exchange in a file. Raises `RecordingError` for a file that is none."""
    try:
        content = path.read_bytes()
        head = msgspec.json.decode(content.partition(b"\n")[0], type=_Head)
        with suppress(Disconnected):  # it is part of the recording, and raised again when that is replayed
            for _ in read_recording(content):
                pass
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ProtocolError) as error:
        raise RecordingError(f"{path.name}: expected an exchange of a cassette: {type(error).__name__}") from error
    request = StoredRequest(head.method, **msgspec.structs.asdict(head.request))
    return Exchange(request, head.status, head.headers, content, head.answered, path.name)


def write_exchange(
    request: StoredRequest,
    url: str,
    status: int,
    headers: Mapping[str, str],
    answered: float,
    pieces: list[Piece],
    end: End,
) -> bytes:
    """The content of a file. Everything given has no credentials any more."""
    stored_request = {name: value for name, value in msgspec.to_builtins(request).items() if name != "method"}
    facts = {"method": request.method, "url": url, "status": status, "headers": dict(headers)}
    lines = [head_line({**facts, "answered": answered, "request": stored_request})]
    lines += [piece_line(at, data) for at, data in pieces]
    last = pieces[-1][0] if pieces else answered
    return b"".join([*lines, end_line(last, end, "Disconnected" if end == "error" else None)])


def _body(request: ReceivedRequest, redaction: Redaction) -> Any:
    if not request.body:
        return None
    kind = request.media_type
    try:
        if kind == "application/x-www-form-urlencoded":
            return redaction.form(request.body.decode())
        if "json" in kind or not kind:
            return redaction.body(msgspec.json.decode(request.body))
        if _TEXT.fullmatch(kind):
            return redaction.text(request.body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # A file, which may be large.
    whole = request.body.replace(request.boundary, b"") if request.boundary else request.body
    return {"sha256": b64encode(sha256(whole).digest()).decode(), "bytes": len(whole)}


def _without(value: Any, ignore: Collection[str]) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return {name: _without(inner, ignore) for name, inner in fields if name not in ignore}
    return [_without(inner, ignore) for inner in cast("list[Any]", value)] if isinstance(value, list) else value


def _places(place: str, mine: Any, its: Any) -> Iterator[str]:
    """The places in which two values differ."""
    if isinstance(mine, dict) and isinstance(its, dict):
        ours, theirs = cast("dict[str, Any]", mine), cast("dict[str, Any]", its)
        for name in sorted({*ours, *theirs}):
            if name not in ours or name not in theirs:
                yield f"{place}.{name} ({'only recorded' if name in theirs else 'not recorded'})"
            else:
                yield from _places(f"{place}.{name}", ours[name], theirs[name])
    elif (
        isinstance(mine, list) and isinstance(its, list) and len(cast("list[Any]", mine)) == len(cast("list[Any]", its))
    ):
        for at, (one, other) in enumerate(zip(cast("list[Any]", mine), cast("list[Any]", its), strict=True)):
            yield from _places(f"{place}[{at}]", one, other)
    elif mine != its:
        yield place
