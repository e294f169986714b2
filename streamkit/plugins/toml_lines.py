"""The line numbers of tables, keys and array elements in a TOML document, which `tomllib` doesn't return.

Only for documents that `tomllib` has already parsed: they are well-formed, so a few kinds of tokens are sufficient.
(https://toml.io/en/v1.0.0)
"""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r]+ | \#[^\n]* )
    | (?P<line> \n )
    | (?P<sign> [\[\]{},=.] )
    | (?P<text> \"\"\"(?:\\.|[^\\])*?\"{3,5} | '''.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<bare> [^\s\[\]{},=.\#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of each table, key and array element, by path: `("rule", 0, "phrases", 2)`.

    Inside inline arrays and tables, only the elements of a top-level array have their own entry.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    tokens = _tokens(text)
    for kind, token, line in tokens:
        if (kind, token) == ("sign", "["):
            array, keys = _header(tokens)
            if array:
                counts[keys] = counts.get(keys, -1) + 1
            table = _inside(keys, counts)
            found.setdefault(table, line)
        elif kind in ("bare", "text"):
            key = (*table, _key(token), *_keys(tokens, until="="))
            found.setdefault(key, line)
            _value(tokens, key, found)
    return found


def line_of(found: dict[Path, int], path: Path) -> int:
    """Return the line of `path`, or of its innermost parent that has one."""
    while path and path not in found:
        path = path[:-1]
    return found.get(path, 1)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "blank":
            yield kind, match[0], line
        line += match[0].count("\n")


def _header(tokens: Iterator[tuple[str, str, int]]) -> tuple[bool, Path]:
    _, first, _ = token = next(tokens)
    return first == "[", tuple(_keys(tokens if first == "[" else chain([token], tokens), until="]"))


def _keys(tokens: Iterator[tuple[str, str, int]], until: str) -> Iterator[str]:
    for kind, token, _ in tokens:
        if (kind, token) == ("sign", until):
            return
        if kind in ("bare", "text"):
            yield _key(token)


def _key(token: str) -> str:
    return next(iter(tomllib.loads(f"{token} = 0")))


def _inside(keys: Path, counts: dict[Path, int]) -> Path:
    # `[rule.x]` after `[[rule]]` belongs to the last element of that array.
    path: Path = ()
    named: Path = ()
    for key in keys:
        path, named = (*path, key), (*named, key)
        if named in counts:
            path = (*path, counts[named])
    return path


def _value(tokens: Iterator[tuple[str, str, int]], key: Path, found: dict[Path, int]) -> None:
    within: list[str] = []
    element, begins = 0, False
    for kind, token, line in tokens:
        if kind == "line":
            if not within:
                return
            continue
        if begins and (kind, token) != ("sign", "]"):
            found.setdefault((*key, element), line)
            element, begins = element + 1, False
        if kind == "sign" and token in "[{":
            begins = token == "[" and not within
            within.append(token)
        elif kind == "sign" and token in "]}":
            within.pop()
        elif kind == "sign" and token == ",":
            begins = within == ["["]
