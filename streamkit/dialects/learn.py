"""Fast path: decode chunks that differ only in one string, as most chunks of an answer do, into a type made for them.

A chunk that has only text is turned into a struct type: the text is a string, noise fields have their type, and every other
field is a constant. A payload that decodes as that type is thereby *proved* to be the same chunk with another text, in any order
of keys. Nothing else is decoded, which makes it several times cheaper than reading the chunk.

A type is made once per process for each form of chunk. Fields that differ between answers, such as ids and times, have only
their type in it and are compared after decoding.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgspec

from streamkit.events import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from streamkit.sse.events import ServerSentEvent
from streamkit.sse.json_text import NOT_JSON

Path: TypeAlias = tuple[str | int, ...]
_KINDS: Final = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
_NOISE: Final = {"obfuscation": str, "p": str}
"""Fields without meaning: padding that hides the length of tokens."""
_ACCOUNTS: Final = {"usageMetadata"}
"""Top-level objects of a chunk with running counts: the dialect reads only those of the last chunk."""
_SEQUENCE: Final = "sequence_number"
"""The number of an event. It must increase from chunk to chunk; otherwise the fast path does not apply."""
_OF_AN_ANSWER: Final = frozenset(
    {"id", "created", "created_at", "item_id", "response_id", "responseId", "generation_id", "system_fingerprint"}
)
_MAX_CONSTANT = 128
"""Longest string, in characters, that becomes a constant of a form; a longer one is compared."""
_FORMS = 256
_NAME = re.compile(r'[^\\"\x00-\x1f]*')
_NEVER = 1024
_COLD = 4
"""Chunks to read before learning from one, which costs as much as reading these. Short answers have no more chunks."""


class Noted(msgspec.Struct):
    """The texts of chunks that were read without calling the dialect, and the payload of the last one."""

    texts: list[str] = []
    payload: bytes = b""


ChunkReader: TypeAlias = Callable[[list[ServerSentEvent], list[Event], Noted], None]


class Learnt(NamedTuple):
    """A learnt form of chunk, and the event that such a chunk becomes."""

    read: ChunkReader
    """Read chunks up to the first of another form: append the event of each, and note its text."""
    kind: Any
    choice: int
    tool_index: int | None
    seen: list[int]
    """The number of the last chunk that was read; empty if the chunks are not numbered."""

    @property
    def sequence(self) -> int | None:
        """The number of the last chunk that was read, `None` if the chunks are not numbered."""
        return self.seen[0] if self.seen else None


class Learner:
    """Learns the forms of chunks of one answer. It tries less and less often if no two chunks have the same form."""

    def __init__(self) -> None:
        self.chunks_to_read = 1
        """Number of chunks to read before learning from the next one."""
        self.used = False
        """Whether the last learnt form has read a chunk since."""
        self._next = 1
        self._cold = _COLD  # chunks to read before the first one is learnt from

    def learn_from(self, items: list[ServerSentEvent], events: list[Event], places: tuple[Path, ...]) -> Learnt | None:
        """Learn from a single chunk that was read, if it became one text event whose text is at one of `places` in its JSON."""
        if self.used:
            self.chunks_to_read = self._next = 1
            self.used = False
        if len(items) > 1 or self.chunks_to_read > 1:
            self.chunks_to_read = max(1, self.chunks_to_read - len(items))
            return None
        if not places or len(events) != 1 or not isinstance(events[0], _KINDS):
            return None
        if self._cold:
            self._cold -= 1
            return None
        self._next = min(self._next * 2, _NEVER)
        self.chunks_to_read = self._next
        return _learn(items[0], events[0], places)


def _learn(item: ServerSentEvent, event: Any, places: tuple[Path, ...]) -> Learnt | None:
    call = isinstance(event, ToolCallDelta)
    if call and (event.id or event.name or event.type):
        return None
    text = event.arguments if call else event.text
    try:
        chunk = msgspec.json.decode(item.payload)
    except NOT_JSON:
        return None  # it has one surrogate of a split pair, whose other half was received
    found = [place for place in places if _at(chunk, place) == text]
    if len(found) != 1 or not _has_plain_names(chunk):
        return None
    form = _form(_shape(chunk, found[0]), call)
    constants = [_at(chunk, place) for place in form.compared]
    number = chunk.get(_SEQUENCE)
    seen = [number] if type(number) is int else []
    tool_index = event.tool_index if call else None
    read = form.reader(*constants, seen, item.event, type(event), event.index, tool_index)
    return Learnt(read, type(event), event.index, tool_index, seen)


def _has_plain_names(value: Any) -> bool:
    # Not every name can be a field of a struct.
    if isinstance(value, dict):
        return all(
            _NAME.fullmatch(name) and _has_plain_names(inner) for name, inner in cast("dict[str, Any]", value).items()
        )
    return not isinstance(value, list) or all(map(_has_plain_names, cast("list[Any]", value)))


def _at(value: Any, place: Path) -> Any:
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


class _Form(NamedTuple):
    reader: Callable[..., ChunkReader]
    """Makes the function `Learnt.read` for one answer, given its values at `compared`."""
    compared: tuple[Path, ...]


# A shape is a hashable key of the cache: for an object the sorted names with their shapes, for a list the shapes of its items,
# for anything else the mark of the text, a type, or a constant (never a boolean, which would be equal to a number).
_TEXT: Final = "text"
_Shape: TypeAlias = Any


def _shape(value: Any, text: Path | None, name: str = "", depth: int = 0) -> _Shape:
    if text == ():
        return (_TEXT,)
    if name in _ACCOUNTS and depth == 1:
        return "noise", msgspec.Raw
    if isinstance(value, dict):
        fields = sorted(cast("dict[str, Any]", value).items())
        return "object", tuple((key, _shape(inner, _below(text, key), key, depth + 1)) for key, inner in fields)
    if isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
        return "array", tuple(_shape(inner, _below(text, at), "", depth + 1) for at, inner in items)
    if _NOISE.get(name) is type(value):
        return "noise", type(value)
    if name == _SEQUENCE and type(value) is int and depth == 1:
        return ("sequence",)
    if name in _OF_AN_ANSWER or not _is_constant(value):
        return "compared", type(value)
    return "constant", value


def _below(text: Path | None, step: str | int) -> Path | None:
    return text[1:] if text and text[0] == step else None


def _is_constant(value: Any) -> bool:
    # msgspec's `Literal` holds strings and 64-bit integers; null is a type. Booleans and floats can't be constants.
    if isinstance(value, str):
        return len(value) <= _MAX_CONSTANT
    return value is None or (type(value) is int and -(2**63) <= value < 2**63)


_READER: Final = """
def reader({constants}seen, name, kind, choice, tool_index):
    def read(items, events, noted):
        texts = noted.texts
        for item in items:
            if item.event != name:
                return
            payload = item.payload
            try:
                chunk = decode(payload)
            except NOT_JSON:
                return
            text = {text}
            if not text{differs}:
                return
            {note}
            events.append(kind({values}, payload=payload))
            texts.append(text)
            noted.payload = payload
    return read
"""


@lru_cache(_FORMS)
def _form(shape: _Shape, call: bool) -> _Form:
    text: list[str] = []
    compared: list[tuple[str, Path]] = []
    numbers: list[str] = []
    kind = _type(shape, "chunk", (), text, compared, numbers)
    differs = [f" or {place} != constant{at}" for at, (place, _) in enumerate(compared)]
    # The code contains only the names given here, never names or values of the payload. Without generated code each chunk
    # would cost several more calls.
    code = _READER.format(
        constants="".join(f"constant{at}, " for at in range(len(compared))),
        text=text[0],
        differs="".join([*differs, *(f" or {number} <= seen[0]" for number in numbers)]),
        note="".join(f"seen[0] = {number}" for number in numbers) or "pass",
        values="tool_index, None, None, text, choice" if call else "text, choice",
    )
    names: dict[str, Any] = {"decode": msgspec.json.Decoder(kind).decode, "NOT_JSON": NOT_JSON}
    exec(code, names)
    return _Form(names["reader"], tuple(path for _, path in compared))


def _type(
    shape: _Shape, place: str, path: Path, text: list[str], compared: list[tuple[str, Path]], numbers: list[str]
) -> Any:
    match shape:
        case ("object", fields):
            names = {f"f{at}": name for at, (name, _) in enumerate(fields)}
            types = [
                (f"f{at}", _type(inner, f"{place}.f{at}", (*path, name), text, compared, numbers))
                for at, (name, inner) in enumerate(fields)
            ]
            return msgspec.defstruct("Chunk", types, rename=names, forbid_unknown_fields=True, gc=False)
        case ("array", items):
            elements = tuple(
                _type(inner, f"{place}[{at}]", (*path, at), text, compared, numbers) for at, inner in enumerate(items)
            )
            return tuple[elements]  # type: ignore[valid-type]
        case ("sequence",):
            numbers.append(place)
            return int
        case ("noise", kind):
            return kind
        case ("compared", kind):
            compared.append((place, path))
            return kind
        case ("constant", None):
            return None
        case ("constant", value):
            return Literal[value]
        case _:
            text.append(place)
            return str
