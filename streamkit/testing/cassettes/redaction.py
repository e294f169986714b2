"""Credentials are replaced before anything of an exchange is stored: in headers, queries, bodies and in the answer.

What is a credential is decided in three ways: by the name that it has; by its shape, as of the keys of well-known services and
of what stands before the `@` of an address; and by its value, since one that a request has in a header, in its query or in a
field is replaced wherever else it occurs. In an answer every replacement has the length of what it replaces, so that its pieces
stay as they were cut.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from streamkit.moderation.detectors import Detector, named
from streamkit.sources.recording import REDACTED
from streamkit.testing.cassettes.secret_names import is_secret_field, is_secret_header, is_secret_parameter

LEAST = 8
"""A value that is shorter is no credential that could be told from ordinary text."""
Span: TypeAlias = tuple[int, int]

_KEYS = ("api_key", "jwt", "private_key")
# https://platform.openai.com/docs/api-reference/realtime-sessions/create-realtime-client-secret: the key of a browser's session
_EPHEMERAL = Detector(r"(?<![A-Za-z0-9])ek_[A-Za-z0-9]{20,200}")
# What stands in an address before `@`, also with slashes that JSON has escaped. (RFC 3986, 3.2.1)
_USER = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}:(?:\\?/){2}([^\s/?#\"'<>\\@]{1,500})@")
# A field of an address's query or fragment, or of a form that is the whole text.
_PARAMETER = re.compile(r"(?:^|[?&#;]|\\u0026)([A-Za-z0-9_.%\[\]-]{1,64})=([^\s&#\"'<>\\;]+)")
# A field of JSON, also of JSON in a string, whose quotation marks have backslashes.
_FIELD = re.compile(r'"([A-Za-z0-9_.-]{1,64})"\s{0,8}:\s{0,8}"((?:[^"\\]|\\.)+)"')
_ESCAPED_FIELD = re.compile(r'\\{1,8}"([A-Za-z0-9_.-]{1,64})\\{1,8}"\s{0,8}:\s{0,8}\\{1,8}"([^"\\]+)')
_NESTED = re.compile(r'"([A-Za-z0-9_.-]{1,64})"\s{0,8}:\s{0,8}([\[{])')
_JSON_PART = re.compile(r'"(?:[^"\\]|\\.)*"(\s{0,8}:)?|[\[\]{}]')
# A picture or a sound, which has none of these and is large.
_FILE = re.compile(r"(?:data:[\w.+/;=-]{0,100},)?[A-Za-z0-9+/]{1000,}={0,2}")
_LONGEST_NESTED = 64 * 1024
_SCHEMA_HEAD = 512
"""In how many characters of an object it shows that it is a JSON Schema."""
_SCHEMA_WORDS = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "oneOf", "properties"})
_SCHEMA_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_SCHEMA = re.compile(
    r'"(?:\$ref|allOf|anyOf|const|enum|oneOf|properties|type"\s{0,8}:\s{0,8}\[?\s{0,8}"'
    r'(?:array|boolean|integer|null|number|object|string))"'
)
# A credential by its look; a `token` in an answer is mostly a piece of its text.
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9._~+/=%-]{16,}")


class Redaction:
    """Replacements in one exchange. `names` are further names of headers, fields of a query and of a body."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {name.lower() for name in names}
        self._values: set[str] = set()

    def learn(self, headers: Mapping[str, str], query: Iterable[tuple[str, str]]) -> None:
        """Note the credentials that a request has in its headers and its query."""
        for name, value in headers.items():
            if self._in_header(name):
                self._values.update(_credentials(value))
        self._note(value for name, value in query if self._in_query(name))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with the values of secret ones replaced."""
        return {
            name: REDACTED if self._in_header(name) and name.lower() != "location" else self.text(value)
            for name, value in headers.items()
        }

    def query(self, query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The query with the values of secret names replaced."""
        return [(name, REDACTED if self._in_query(name) else self.text(value)) for name, value in query]

    def body(self, value: Any) -> Any:
        """A request's JSON with the values of secret fields replaced."""
        self._note(_strings_of(value, self._in_body))
        return self._replaced(value)

    def form(self, text: str) -> str:
        """A form's body."""
        pairs = parse_qsl(text, keep_blank_values=True)
        self._note(value for name, value in pairs if self._in_query(name))
        return urlencode(self.query(pairs))

    def text(self, text: str) -> str:
        """Text with what is a credential in it replaced."""
        return _cut(text, self._spans(text), lambda _: REDACTED)

    def pieces(self, pieces: list[bytes]) -> list[bytes]:
        """An answer's pieces, in which stars stand for credentials, as many as they have bytes."""
        # One character for each byte.
        body = b"".join(pieces).decode("latin-1")
        hidden = _cut(body, self._spans(body, answer=True), lambda length: "*" * length).encode("latin-1")
        replaced, at = list[bytes](), 0
        for piece in pieces:
            replaced.append(hidden[at : at + len(piece)])
            at += len(piece)
        return replaced

    def _note(self, values: Iterable[str]) -> None:
        self._values.update(value for value in values if len(value) >= LEAST and value != REDACTED)

    # What is replaced

    def _spans(self, text: str, *, answer: bool = False) -> Iterator[Span]:
        for value in self._values:
            for form in _forms(value, latin=answer):
                at = -1
                while (at := text.find(form, at + 1)) >= 0:
                    yield at, at + len(form)
        if _FILE.fullmatch(text):
            return
        for expression, detector in _detectors():
            for found in expression.finditer(text):
                yield found.start(), found.start() + detector.accept(found[0])
        for found in _USER.finditer(text):
            yield found.span(1)
        # In what a model writes, such names often stand before a placeholder.
        for found in _PARAMETER.finditer(text):
            if self._in_query(found[1]) and (not answer or _RANDOM.fullmatch(found[2])):
                yield found.span(2)
        for found in _FIELD.finditer(text):
            if self._in_body(found[1]) and (found[1] != "token" or _RANDOM.fullmatch(found[2])):
                yield found.span(2)
        for found in _ESCAPED_FIELD.finditer(text):
            if self._in_body(found[1]) and (not answer or _RANDOM.fullmatch(found[2])):
                yield found.span(2)
        end = 0
        for found in _NESTED.finditer(text):
            if found.start() >= end and self._in_body(found[1]):
                spans, end = _strings_within(text, found.start(2))
                yield from spans

    def _in_header(self, name: str) -> bool:
        return is_secret_header(name) or name.lower() in self._names

    def _in_query(self, name: str) -> bool:
        return is_secret_parameter(name) or name.lower() in self._names

    def _in_body(self, name: str) -> bool:
        return is_secret_field(name) or name.lower() in self._names

    # A request's JSON

    def _replaced(self, value: Any) -> Any:
        match value:
            case dict():
                fields = cast("dict[str, Any]", value)
                named = _name_in_pair(fields, self._in_header)
                return {self.text(name): self._field(name, inner, named) for name, inner in fields.items()}
            case list():
                return [self._replaced(inner) for inner in cast("list[Any]", value)]
            case str():
                return self.text(value)
            case _:
                return value

    def _field(self, name: str, value: Any, named: bool) -> Any:
        if isinstance(value, dict) and name.lower().endswith("headers"):
            return {
                each: REDACTED if isinstance(inner, str) and self._in_header(each) else self._replaced(inner)
                for each, inner in cast("dict[str, Any]", value).items()
            }
        if self._in_body(name) or (named and name == "value"):
            return _all_replaced(value) if not _is_schema(value) else self._replaced(value)
        return self._replaced(value)


def _all_replaced(value: Any) -> Any:
    """The value without any of its strings."""
    match value:
        case str():
            return REDACTED
        case dict():
            return {name: _all_replaced(inner) for name, inner in cast("dict[str, Any]", value).items()}
        case list():
            return [_all_replaced(inner) for inner in cast("list[Any]", value)]
        case _:
            return value


def _is_schema(value: Any) -> bool:
    """Whether it is a JSON Schema, which describes a field of such a name."""
    if not isinstance(value, dict):
        return False
    schema = cast("dict[str, Any]", value)
    kind = schema.get("type")
    kinds = cast("list[Any]", kind) if isinstance(kind, list) else [kind]
    return not _SCHEMA_WORDS.isdisjoint(schema) or any(
        isinstance(each, str) and each in _SCHEMA_TYPES for each in kinds
    )


def _name_in_pair(fields: dict[str, Any], is_secret: Callable[[str], bool]) -> bool:
    """Whether it is a header as a pair: `{"name": "Authorization", "value": …}`."""
    return any(isinstance(name := fields.get(each), str) and is_secret(name) for each in ("name", "key"))


def _strings_of(value: Any, is_secret: Callable[[str], bool], *, inside: bool = False) -> Iterator[str]:
    """The strings of secret fields, at any depth."""
    match value:
        case str() if inside:
            yield value
        case dict():
            for name, inner in cast("dict[str, Any]", value).items():
                secret = (inside or is_secret(name)) and not _is_schema(inner)
                yield from _strings_of(inner, is_secret, inside=secret)
        case list():
            for inner in cast("list[Any]", value):
                yield from _strings_of(inner, is_secret, inside=inside)
        case _:
            pass


def _strings_within(text: str, at: int) -> tuple[list[Span], int]:
    """The strings that are values in the object or the array that begins there, unless it is a JSON Schema, and its end."""
    head = at + _SCHEMA_HEAD
    spans, end = _strings_until(text, at, min(len(text), head))
    if _SCHEMA.search(text, at, end):
        return [], at
    # One that goes on behind its head is read to its end.
    return (spans, end) if end < head else _strings_until(text, at, min(len(text), at + _LONGEST_NESTED))


def _strings_until(text: str, at: int, limit: int) -> tuple[list[Span], int]:
    depth, found = 0, list[Span]()
    for part in _JSON_PART.finditer(text, at, limit):
        if part[0] in "[{":
            depth += 1
        elif part[0] in "]}":
            depth -= 1
        elif part[1] is None:
            found.append((part.start() + 1, part.end() - 1))
        if depth == 0:
            return found, part.end()
    return found, limit


def _cut(text: str, spans: Iterable[Span], replacement: Callable[[int], str]) -> str:
    """The text with each span replaced; what overlaps or touches is one."""
    parts, end = list[str](), 0
    merged = list[Span]()
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif stop > start:
            merged.append((start, stop))
    for start, stop in merged:
        parts += [text[end:start], replacement(stop - start)]
        end = stop
    return "".join([*parts, text[end:]])


@cache
def _detectors() -> list[tuple[re.Pattern[str], Detector]]:
    return [(re.compile(detector.pattern), detector) for detector in [*named(_KEYS), _EPHEMERAL]]


def _forms(value: str, *, latin: bool) -> set[str]:
    """How a value may be written: as it is, in an address, in JSON."""
    forms = {value, quote(value, safe=""), quote(value), quote_plus(value), value.replace("/", "\\/")}
    return {form.encode("utf-8", "replace").decode("latin-1") for form in forms} if latin else forms


def _credentials(header: str) -> list[str]:
    """The parts of a header's value that identify the sender."""
    scheme, _, rest = header.strip().partition(" ")
    if "=" in scheme.rstrip("="):
        rest = ""  # a cookie, and no scheme of authentication
    found = [part.strip() for part in re.split(r"[;,]", rest or header.strip())]
    found = [part.partition("=")[2].strip('"') or part if "=" in part.rstrip("=") else part for part in found]
    if scheme.lower() == "basic":
        with suppress(ValueError):
            found += b64decode(rest).decode("utf-8", "replace").split(":")
    return [value for value in found if len(value) >= LEAST]
