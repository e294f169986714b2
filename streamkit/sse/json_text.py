"""JSON as text: the exceptions of decoding it, and a limit on its depth.

RFC 8259, section 9, allows a limit. The one of msgspec depends on the version of Python, and is far above that of recursive code
that walks over the decoded value.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Exceptions of decoding: malformed JSON, half of a surrogate pair, bytes that are not UTF-8, nesting too deep."""
DEEPEST = 128
"""Objects and arrays within each other that an event may have. Answers of providers have about ten."""
TOO_DEEP = RecursionError(f"nested deeper than {DEEPEST} levels")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def is_too_deep(payload: bytes) -> bool:
    """Whether JSON has more than `DEEPEST` levels. Linear in its length."""
    # Each level has its end as well, or it is no JSON.
    if len(payload) <= 2 * DEEPEST or payload.count(b"[") + payload.count(b"{") <= DEEPEST:
        return False
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", payload)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST


def depth_of(value: object) -> int:
    """The levels of objects and arrays in a decoded value, counted up to one more than `DEEPEST`."""
    depth, level = 0, [value]
    while depth <= DEEPEST:
        inner: list[object] = []
        found = False
        for item in level:
            if isinstance(item, Mapping):
                found = True
                inner.extend(cast("Mapping[Any, object]", item).values())
            elif isinstance(item, list | tuple):
                found = True
                inner.extend(cast("list[object]", item))
        if not found:
            break
        depth, level = depth + 1, inner
    return depth
