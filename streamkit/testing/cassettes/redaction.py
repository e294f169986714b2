"""Credentials are replaced before anything of an exchange is stored: in headers, queries and bodies.

What is a credential is decided by the name that it has, and then by its value: one that is sent in a header or in the query is
replaced wherever else it occurs, in the path, the request's body or the answer. In an answer every replacement has the length of
what it replaces, so that its pieces stay as they were cut.
"""

import re
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from streamkit.sources.recording import REDACTED, is_secret

LEAST = 8
"""A value that is shorter is no credential that could be told from ordinary text."""
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FIELD = re.compile(
    r"(?:.*_)?(?:api_?key|access_?key|private_?key|secret_?key|authorization|client_secret|credentials?|passw(?:or)?d|secret"
    r"|token)"
)
_IN_QUERY = ("sig", "code")
# In an answer a `token` is mostly a piece of its text.
_IN_ANSWER = re.compile(
    rb'"(?:[A-Za-z0-9_-]*(?i:(?:api|access|private|secret)[_-]?key|authorization|client[_-]?secret|password)'
    rb'|[A-Za-z0-9_-]*[_-]token|[A-Za-z0-9]+Token)"\s*:\s*"((?:[^"\\]|\\.)+)"'
)


class Redaction:
    """Replacements in one exchange. `names` are further names of headers, fields of a query and of a body."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {name.lower() for name in names}
        self._values: set[str] = set()

    def learn(self, headers: Mapping[str, str], query: Iterable[tuple[str, str]]) -> None:
        """Note the credentials that a request has in its headers and its query."""
        for name, value in headers.items():
            if self._is_secret(name):
                self._values.update(_credentials(value))
        self._values.update(value for name, value in query if self._is_secret_in_query(name) and len(value) >= LEAST)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with the values of secret ones replaced."""
        return {
            name: REDACTED if self._is_secret(name) and name.lower() != "location" else self._address(value)
            for name, value in headers.items()
        }

    def query(self, query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The query with the values of secret names replaced."""
        return [(name, REDACTED if self._is_secret_in_query(name) else self.text(value)) for name, value in query]

    def body(self, value: Any) -> Any:
        """A request's JSON with the values of secret fields replaced."""
        match value:
            case dict():
                fields = cast("dict[str, Any]", value).items()
                return {name: self._field(name, inner) for name, inner in fields}
            case list():
                return [self.body(inner) for inner in cast("list[Any]", value)]
            case str():
                return self._address(value)
            case _:
                return value

    def form(self, text: str) -> str:
        """A form's body."""
        pairs = parse_qsl(text, keep_blank_values=True)
        return urlencode([(name, str(self._field(name, value))) for name, value in pairs])

    def text(self, text: str) -> str:
        """Text with the known credentials replaced."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, REDACTED).replace(quote(value, safe=""), REDACTED)
        return text

    def pieces(self, pieces: list[bytes]) -> list[bytes]:
        """An answer's pieces, in which stars stand for credentials, as many as they have bytes."""
        body = b"".join(pieces)
        hidden = bytearray(body)
        for found in _IN_ANSWER.finditer(body):
            hidden[found.start(1) : found.end(1)] = b"*" * (found.end(1) - found.start(1))
        for value in self._values:
            secret, at = value.encode(), -1
            while (at := hidden.find(secret, at + 1)) >= 0:
                hidden[at : at + len(secret)] = b"*" * len(secret)
        replaced, at = list[bytes](), 0
        for piece in pieces:
            replaced.append(bytes(hidden[at : at + len(piece)]))
            at += len(piece)
        return replaced

    def _field(self, name: str, value: Any) -> Any:
        # A schema may have a field of such a name, whose value is an object.
        if isinstance(value, str) and (self._is_secret_field(name) or name.lower() in self._names):
            return REDACTED
        return self.body(value)

    def _address(self, text: str) -> str:
        # Addresses of pictures and of remote servers are signed in their query.
        if not text.startswith(("http://", "https://")) or not ("?" in text or "@" in text):
            return self.text(text)
        try:
            parts = urlsplit(text)
            query = urlencode(self.query(parse_qsl(parts.query, keep_blank_values=True)), safe="[]")
        except ValueError:
            return self.text(text)
        return self.text(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query)))

    def _is_secret(self, name: str) -> bool:
        return is_secret(name) or name.lower() in self._names

    def _is_secret_in_query(self, name: str) -> bool:
        return self._is_secret(name) or self._is_secret_field(name) or name.lower() in _IN_QUERY

    @staticmethod
    def _is_secret_field(name: str) -> bool:
        return _FIELD.fullmatch(_WORDS.sub("_", name).replace("-", "_").lower()) is not None


def _credentials(header: str) -> list[str]:
    """The parts of a header's value that identify the sender."""
    scheme, _, rest = header.strip().partition(" ")
    found = [part.strip() for part in re.split(r"[;,]", rest or scheme)]
    found = [part.partition("=")[2].strip('"') or part if "=" in part.rstrip("=") else part for part in found]
    if scheme.lower() == "basic":
        with suppress(ValueError):
            found += b64decode(rest).decode("utf-8", "replace").split(":")
    return [value for value in found if len(value) >= LEAST]
