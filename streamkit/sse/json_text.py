"""JSON text: the exceptions of decoding, and a limit on nesting depth.

RFC 8259, section 9, allows a limit. The limit of msgspec depends on the version of Python and is far above what recursive code
that walks the decoded value can handle.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)
"""The exceptions of decoding: malformed JSON, a lone surrogate, bytes that are not UTF-8, nesting too deep."""
DEEPEST = 128
"""The maximum nesting depth of objects and arrays in an event. Responses of providers have about ten levels."""
TOO_DEEP = RecursionError(f"nested deeper than {DEEPEST} levels")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def is_too_deep(payload: bytes) -> bool:
    """Whether JSON has more than `DEEPEST` levels. Linear in its length."""
    # In valid JSON each level also has a closing bracket.
    if len(payload) <= 2 * DEEPEST or payload.count(b"[") + payload.count(b"{") <= DEEPEST:
        return False
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", payload)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST


def depth_of(value: object) -> int:
    """The nesting depth of objects and arrays in a decoded value, counted up to `DEEPEST + 1`."""
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
