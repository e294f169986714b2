"""Emit `PartStart` and `PartEnd` for the output items of a response and their parts; the reader emits their content.

https://platform.openai.com/docs/api-reference/responses/object.
"""

from typing import Any

import msgspec

from streamkit.dialects.fields import changed, emptied, text
from streamkit.dialects.part_texts import end, start
from streamkit.events import Channel, Event, PartEnd, PartStart

CHANNELS: dict[str, Channel] = {
    "output_text": "content",
    "refusal": "refusal",
    "reasoning_text": "reasoning",
    "summary_text": "reasoning",
}
_CALLS = ("function_call", "custom_tool_call")
# Fields of an item and of a part that are emitted as events of their own.
_EMITTED = {
    "message": ("content",),
    "reasoning": ("content", "summary"),
    "function_call": ("name", "arguments"),
    "custom_tool_call": ("name", "input"),
    "output_text": ("text", "annotations", "logprobs"),
    "refusal": ("refusal",),
    "reasoning_text": ("text",),
    "summary_text": ("text",),
}


class _OutlinePiece(msgspec.Struct):
    # An item, or a part of one.
    number: int
    kind: str
    data: dict[str, Any]
    parts: dict[str, "_OutlinePiece"] = {}


class Outline(msgspec.Struct):
    """Items and parts that have started. Items are identified by id, or by position if the id is missing or changes."""

    items: list[_OutlinePiece] = []
    ids: dict[str, int] = {}
    places: dict[int, int] = {}
    current: dict[Channel, int] = {}
    count: int = 0

    def enter(self, item: dict[str, Any], place: int, tool_index: int | None, payload: bytes, out: list[Event]) -> int:
        """Emit the `PartStart` of an item if it is new, and return its number. Called when an event refers to the item."""
        kind, at = text(item.get("type")) or "item", self._find(item, place)
        if at is None:
            at = len(self.items)
            self.items.append(self._begin(kind, _beside(item, kind), tool_index, None, payload, out))
        self.places[place] = at
        for name in ("id", "call_id"):
            if id := text(item.get(name)):
                self.ids[f"{kind} {id}"] = at
        return self.items[at].number

    def kind_at(self, place: int) -> str | None:
        """Return the kind of the item at a position; `None` if there is none."""
        at = self.places.get(place)
        return None if at is None else self.items[at].kind

    def leave(self, item: dict[str, Any], place: int, payload: bytes, out: list[Event], *, again: bool = False) -> None:
        """Emit the `PartEnd` of a complete item. `again`: it was complete before, so that only changes are emitted."""
        found = self.items[self.places[place]]
        self._end(found, _beside(item, found.kind), payload, out, again=again)

    def part(self, kind: str, place: tuple[int, int], payload: bytes, out: list[Event]) -> int:
        """Emit the `PartStart` of a part before its text, and again after text of another part. Return its number."""
        found = self._part({"type": kind}, place, payload, out)
        channel = CHANNELS.get(kind)
        if channel and self.current.get(channel) != found.number:
            self.current[channel] = found.number
            out += start(PartStart(kind, found.number, {}, channel, payload=payload))
        return found.number

    def enter_part(self, part: dict[str, Any], place: tuple[int, int], payload: bytes, out: list[Event]) -> int:
        """Emit the `PartStart` of a part if it is new, and return its number. Called when an event refers to the part."""
        return self._part(part, place, payload, out).number

    def leave_part(
        self, part: dict[str, Any], place: tuple[int, int], payload: bytes, out: list[Event], *, again: bool = False
    ) -> None:
        """Emit the `PartEnd` of a complete part. `again`: it was complete before, so that only changes are emitted."""
        found = self._part(part, place, payload, out)
        self._end(found, _beside(part, found.kind), payload, out, again=again)

    def text_part(self, kind: str, name: str, place: int, payload: bytes, out: list[Event]) -> int:
        """Return the number of an item before text of one of its fields; emit its `PartStart` if it is new."""
        if place not in self.places:
            self.enter({"type": kind, name: ""}, place, None, payload, out)
        return self.items[self.places[place]].number

    def set_field(self, place: int, name: str, whole: str) -> None:
        """Record that the whole text of a field was emitted."""
        self.items[self.places[place]].data[name] = whole

    def _find(self, item: dict[str, Any], place: int) -> int | None:
        kind = text(item.get("type"))
        for id in (item.get("id"), item.get("call_id")):
            if id is not None and (at := self.ids.get(f"{kind} {id}")) is not None:
                return at
        at = self.places.get(place)
        if at is None or (known := self.items[at]).kind != kind:
            return None
        call = known.data.get("call_id"), item.get("call_id")
        return None if kind in _CALLS and all(call) and call[0] != call[1] else at

    def _part(self, part: dict[str, Any], place: tuple[int, int], payload: bytes, out: list[Event]) -> _OutlinePiece:
        kind = text(part.get("type")) or "part"
        if place[0] not in self.places:
            reasons = CHANNELS.get(kind) == "reasoning"
            self.enter({"type": "reasoning" if reasons else "message"}, place[0], None, payload, out)
        item = self.items[self.places[place[0]]]
        key = f"{'summary' if kind == 'summary_text' else 'content'}.{place[1]}"
        if key in item.parts and item.parts[key].kind != kind and CHANNELS.keys() >= {kind, item.parts[key].kind}:
            key += f".{kind}"  # Another kind of text at the same index, such as a refusal, is a part of its own.
        if key not in item.parts:
            item.parts[key] = self._begin(kind, _beside(part, kind), None, item.number, payload, out)
        return item.parts[key]

    def _begin(
        self, kind: str, data: dict[str, Any], tool: int | None, within: int | None, payload: bytes, out: list[Event]
    ) -> _OutlinePiece:
        piece = _OutlinePiece(self.count, kind, dict(data))
        self.count += 1
        channel = CHANNELS.get(kind) if tool is None else "tool_arguments"
        if channel:
            self.current[channel] = piece.number
        out += start(PartStart(kind, piece.number, data, channel, tool, within, payload=payload))
        return piece

    def _end(
        self, piece: _OutlinePiece, data: dict[str, Any], payload: bytes, out: list[Event], *, again: bool
    ) -> None:
        more = changed(data, piece.data)
        if more or not again:
            piece.data |= more
            out += end(PartEnd(piece.number, more, payload=payload), piece.kind)


def _beside(fields: dict[str, Any], kind: str) -> dict[str, Any]:
    # Fields that are emitted as events of their own are kept in their empty form.
    return emptied(fields, _EMITTED.get(kind, ()))
