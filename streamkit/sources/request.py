"""Checks of a request before it is sent. No error quotes a part of the request, because any part may contain a key."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from streamkit.errors import PipelineError

# Characters that HTTP forbids in a field value; `\t` is allowed. (RFC 9110, 5.5)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN = (bytes, bytearray, memoryview, str, int, float)


@dataclass(frozen=True)
class RequestToSign:
    """A request as it will be sent: the argument of `sign`."""

    method: str
    """In capitals."""
    url: str = field(repr=False)
    """The whole URL with its query."""
    headers: Mapping[str, str] = field(repr=False)
    """The caller's headers; a JSON body adds `Content-Type`."""
    body: bytes = field(repr=False)
    """The encoded body."""


Sign: TypeAlias = Callable[[RequestToSign], Mapping[str, str]]
"""Returns the headers to add to a request."""


def address(url: str) -> str:
    """Return the URL for messages, without query, fragment and user part, which may contain a key; describe an invalid URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return "an address that can't be read"
    if not parts.netloc:
        return "an address without a host"
    # `http://user:12/key@host` parses as the host `user`, with the key as a part of the path.
    path = "" if "@" in parts.path + parts.query + parts.fragment else parts.path
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"
    # Control characters and lone surrogates would corrupt the log.
    return shown if shown.isprintable() else "".join(mark if mark.isprintable() else "\ufffd" for mark in shown)


def check_asyncio(source: object) -> None:
    """Raise `PipelineError` unless asyncio runs, which aiohttp needs."""
    import sniffio

    if (found := sniffio.current_async_library()) != "asyncio":
        raise PipelineError(
            f"{source!r}: expected asyncio, found {found}; there, read a response of httpx: sk.sources.from_httpx(response)"
        )


def check_method(method: object) -> None:
    """Raise `PipelineError` unless it is a valid method name."""
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise PipelineError("method: expected a word such as GET or POST, found something else")


def check_url(url: object) -> None:
    """Raise `PipelineError` unless it is a string."""
    if not isinstance(url, str):
        raise PipelineError(f"url: expected a str, found {type(url).__name__}")


def check_headers(headers: object) -> None:
    """Raise `PipelineError` for invalid headers. The message has a header's number, not its name, which may be a key."""
    pairs = pairs_of(headers)
    for number, (name, value) in enumerate(pairs, 1):
        if problem := _problem(name, value):
            raise PipelineError(f"headers: {problem} in header {number} of {len(pairs)}")


def pairs_of(headers: object) -> list[tuple[object, object]]:
    """Return the name-value pairs of a mapping, or of an iterable of pairs."""
    if headers is None:
        return []
    kind = type(headers).__name__
    try:
        given = cast("Mapping[object, object]", headers).items() if isinstance(headers, Mapping) else headers
        return [(name, value) for name, value in cast("Iterable[tuple[object, object]]", given)]
    except (TypeError, ValueError):
        raise PipelineError(f"headers: expected a mapping of names to values, found {kind}") from None


def _problem(name: object, value: object) -> str | None:
    for what, text in (("name", name), ("value", value)):
        if not isinstance(text, str):
            return f"expected a str as the {what}, found {type(text).__name__}"
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            return f"expected text that has a UTF-8 form as the {what}, found a lone surrogate"
    if not _TOKEN.fullmatch(cast(str, name)):
        return "expected a name of letters, digits and hyphens, found another character"
    if found := unsendable(cast(str, value)):
        return f"expected a value of one line, found {found!r} (a key read from a file ends with a line end?)"
    return None


def unsendable(value: str) -> str | None:
    """Return the first character that is invalid in a header value; `None` if all are valid."""
    found = _FORBIDDEN.search(value)
    return found.group() if found else None


def sendable_again(data: object) -> bool:
    """Whether a body can be sent again. A file or a generator, also as a form field, is exhausted after the first request."""
    if isinstance(data, Mapping):
        return all(isinstance(value, _PLAIN) for value in cast("Mapping[object, object]", data).values())
    return data is None or isinstance(data, _PLAIN)


def json_problem(value: object, dumps: Callable[[object], str]) -> str | None:
    """Describe why `dumps` can't encode a value, without quoting the value; `None` if it can."""
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        # The message of Python's `json` only names a class; another serializer may quote the value.
        named = dumps is json.dumps and isinstance(error, TypeError)
        return f"json: {error}" if named else f"json: {type(error).__name__}"
    return None
