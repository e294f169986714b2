"""Join emoji that a provider split: the two halves of a surrogate pair, each in a chunk of its own.

A provider that splits text at UTF-16 units, as JavaScript does, sends `"\\ud83d"` and then `"\\ude00"`. JSON allows that without
defining it (RFC 8259, section 8.2); msgspec rejects it. Therefore each lone half is encoded in other characters before a payload
is decoded, and adjacent halves of one text are joined afterwards. A half without the other becomes U+FFFD.
"""

import json
import re
from typing import Any, Final, cast

import msgspec

from streamkit.events import (
    AudioDelta,
    Event,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    r"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
    "|([\ud800-\udfff])",
    re.DOTALL,
)
# U+FDD0–U+FDEF are for internal use and never interchanged. (Unicode, 23.7 Noncharacters)
_MARK, _DIGITS = "\ufdd0", [chr(0xFDD1 + digit) for digit in range(16)]
_MARKED = re.compile(f"{_MARK}([{_DIGITS[0]}-{_DIGITS[7]}][{_DIGITS[0]}-{_DIGITS[15]}]{{2}})")
_LONE = re.compile("[\ud800-\udfff]")
_UNSHOWN = re.compile(f"{_MARKED.pattern}|{_LONE.pattern}")
_REPLACEMENT = "\ufffd"
TEXTS: Final[dict[type[Any], str]] = {
    TextDelta: "text",
    ReasoningDelta: "text",
    RefusalDelta: "text",
    ToolCallDelta: "arguments",
    AudioDelta: "transcript",
    PartDelta: "text",
}
"""Events that continue a text, and the field that holds it."""
_KINDS = {kind.__name__: kind for kind in TEXTS}

Place = tuple[str, int, int]
"""A text that may continue: the kind of event (for a `PartDelta` also its field), the choice, and the call or part."""
Waiting = dict[Place, list[Any]]
"""High surrogates at the end of their texts, each with the payload of its chunk."""


def mark(payload: bytes) -> bytes | None:
    """Return the payload with lone halves and invalid UTF-8 replaced, so that it can be decoded; `None` if it has neither."""
    marked = _ESCAPE.sub(_mark_one, text_of(payload)).encode("utf-8")
    return None if marked == payload else marked


def text_of(payload: bytes) -> str:
    """Return the payload as text, with unescaped halves kept; other invalid UTF-8 becomes U+FFFD."""
    try:
        return payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace")


def has_halves(text: str) -> bool:
    """Whether the text has a lone half."""
    return not text.isascii() and _LONE.search(text) is not None


def _mark_one(found: re.Match[str]) -> str:
    half = int(found[1], 16) if found[1] else ord(found[2]) if found[2] else None
    if half is None:
        return found[0]
    offset = half - 0xD800
    return _MARK + "".join(_DIGITS[offset >> shift & 15] for shift in (8, 4, 0))


def unmark(event: Event, payload: bytes) -> Event:
    """Return the event of a marked payload with the halves restored in its text, and U+FFFD for them in other fields."""
    text = TEXTS.get(type(event))
    changed = {
        name: _MARKED.sub(_half, value) if name == text and isinstance(value, str) else clean(value)
        for name in event.__struct_fields__
        if (value := getattr(event, name)) is not None and name != "payload"
    }
    return msgspec.structs.replace(event, **changed, payload=payload if event.payload else None)


def mended(text: str) -> str:
    """Return text of marked payloads with adjacent halves joined. It may begin with the half that ended an earlier text."""
    if text.isascii() or not (_MARK in text or "\ud800" <= text[0] < "\udc00"):
        return text
    halves = _MARKED.sub(_half, text)
    return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def join(events: list[Event], waiting: Waiting) -> list[Event]:
    """Return the events with halves joined. A high surrogate at the end of a text is moved to `waiting`."""
    out: list[Event] = []
    for event in events:
        if type(event) in TEXTS:
            out += _take(cast(TextDelta, event), waiting)
            continue
        if isinstance(event, PartStart | PartEnd):
            place = event.index, event.number
            out += [_alone(known, waiting.pop(known)[1]) for known in _of_part(place, waiting)]
        if isinstance(event, Finish | StreamEnd):
            index = event.index if isinstance(event, Finish) else None
            out += release(waiting, index)
        out.append(_cleaned(event))
    return out


def release(waiting: Waiting, index: int | None = None) -> list[Event]:
    """Return U+FFFD for each remaining half of a choice, or of all choices."""
    alone = [place for place in waiting if index in (None, place[1])]
    return [_alone(place, waiting.pop(place)[1]) for place in alone]


def _of_part(place: tuple[int, int], waiting: Waiting) -> list[Place]:
    return [known for known in waiting if known[0].startswith(PartDelta.__name__) and known[1:] == place]


def _place(event: Any) -> Place:
    name = type(event).__name__
    if isinstance(event, PartDelta):
        return f"{name} {json.dumps([event.channel, event.path, event.json])}", event.index, event.part
    return name, event.index, getattr(event, "tool_index", 0)


def _cleaned(event: Event) -> Event:
    # The dialect may have stored a field of an earlier marked payload.
    found = {name: value for name in event.__struct_fields__ if name != "payload" and (value := getattr(event, name))}
    changed = {name: kept for name, value in found.items() if (kept := clean(value)) != value}
    return msgspec.structs.replace(event, **changed) if changed else event


def _alone(place: Place, payload: bytes | None) -> Event:
    name, _, field = place[0].partition(" ")
    kind = _KINDS[name]
    fields: dict[str, Any] = {TEXTS[kind]: _REPLACEMENT, "index": place[1], "payload": payload}
    if kind is ToolCallDelta:
        fields["tool_index"] = place[2]
    if field:
        channel, path, is_json = json.loads(field)
        fields |= {"channel": channel, "path": tuple(path), "json": is_json, "part": place[2]}
    event: Event = kind(**fields)
    return event


def _take(event: Any, waiting: Waiting) -> list[Event]:
    name = TEXTS[type(event)]
    text: str = getattr(event, name) or ""
    place = _place(event)
    if not text or (place not in waiting and not _LONE.search(text)):
        return [event]
    if earlier := waiting.pop(place, None):
        text = chr(earlier[0]) + text
    if 0xD800 <= ord(text[-1]) < 0xDC00:
        waiting[place] = [ord(text[-1]), event.payload]
        text = text[:-1]
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # Text events are never empty. Keep an event that has other fields, such as the name of a call.
    if not whole and not _has_more(event, name):
        return []
    return [msgspec.structs.replace(event, **{name: whole})]


def _has_more(event: Any, name: str) -> bool:
    if isinstance(event, PartDelta):
        return False
    silent = {name, "index", "tool_index", "payload"}
    return any(getattr(event, other) is not None for other in event.__struct_fields__ if other not in silent)


def _half(found: re.Match[str]) -> str:
    first, second, third = (ord(digit) - ord(_DIGITS[0]) for digit in found[1])
    return chr(0xD800 + (first << 8 | second << 4 | third))


def clean(value: Any) -> Any:
    """Return a value of a marked payload with U+FFFD for each half."""
    if isinstance(value, str):
        return _UNSHOWN.sub(_REPLACEMENT, value)
    if isinstance(value, dict):
        return {clean(name): clean(inner) for name, inner in cast(dict[Any, Any], value).items()}
    if isinstance(value, list):
        return [clean(inner) for inner in cast(list[Any], value)]
    if isinstance(value, tuple):
        return tuple(clean(inner) for inner in cast("tuple[Any, ...]", value))
    return value
