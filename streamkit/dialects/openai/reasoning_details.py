"""OpenRouter's `reasoning_details`: structured reasoning, streamed in pieces, that clients must send back whole and signed.

https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning. Each entry becomes a part. Its text is emitted as
`ReasoningDelta`s, so that moderation sees it; its other fields are in `PartStart` and `PartEnd`.
"""

from typing import Any

import msgspec

from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.fields import text
from streamkit.dialects.part_texts import end, start
from streamkit.events import Channel, Event, PartEnd, PartStart, ReasoningDelta

_TEXTS = ("text", "summary")
_PIECES = (*_TEXTS, "data")


class Detail(msgspec.Struct):
    """One entry: its part number, its known fields, its emitted text, and the pieces of its encrypted data."""

    number: int
    kind: str
    known: dict[str, Any] = {}
    emitted: EmittedText = msgspec.field(default_factory=EmittedText)
    data: list[str] = []
    size: int = 0
    ended: bool = False

    def has(self, data: str) -> bool:
        """Whether this repeats the whole encrypted data."""
        return len(data) == self.size and data == "".join(self.data)


class ReasoningDetails(msgspec.Struct):
    """All entries of one choice."""

    details: list[Detail] = []
    # The number of an entry by its type and index, and by these and its id.
    places: dict[str, int] = {}
    # The entries that changed since the last `settle`.
    unsettled: dict[int, None] = {}
    # The entry that the last reasoning text belongs to.
    current: int = -1

    def take(
        self,
        found: list[dict[str, Any]],
        index: int,
        payload: bytes,
        out: list[Event],
        *,
        whole: bool = False,
        before: EmittedText | None = None,
    ) -> list[str]:
        """Emit the entries of a chunk, and return the emitted texts. `whole`: entries may have been received in pieces before.

        `before`: reasoning received without entries, which the first entries may repeat.
        """
        repeated = before if before and not (before.is_empty or self.details) else None
        if repeated:
            found = _without(found, repeated)
        return [piece for one in found if (piece := self._one(one, index, payload, out, whole))]

    def settle(self, index: int, payload: bytes | None, out: list[Event]) -> None:
        """End the entries that changed: the reasoning is complete."""
        unsettled, self.unsettled = self.unsettled, {}
        for detail in map(self.details.__getitem__, unsettled):
            late = {"data": "".join(detail.data)} if len(detail.data) > 1 else {}
            if late or not detail.ended:
                detail.ended = True
                out += end(PartEnd(detail.number, late, index, payload=payload), detail.kind)

    def _one(self, one: dict[str, Any], index: int, payload: bytes, out: list[Event], whole: bool) -> str:
        field = next((name for name in _TEXTS if name in one), None)
        detail = self._find(one, joins=field is not None) or self._begin(one, field, index, payload, out)
        self.unsettled[detail.number] = None
        found = (text(one.get(field)) if field else "") or ""
        piece = (detail.emitted.rest(found) if whole else found) or ""
        if piece:
            detail.emitted.add(piece)
            self._resume(detail, index, payload, out)
            out.append(ReasoningDelta(piece, index, payload=payload))
        data = text(one.get("data")) or ""
        if data and data not in detail.data[-1:] and not detail.has(data):
            detail.data.append(data)
            detail.size += len(data)
        more = {name: value for name, value in _beside(one).items() if detail.known.get(name) != value}
        if more or (field is None and not detail.ended):
            detail.known |= more
            detail.ended |= field is None or "signature" in more
            out += end(PartEnd(detail.number, more, index, payload=payload), detail.kind)
        return piece

    def _find(self, one: dict[str, Any], *, joins: bool) -> Detail | None:
        # By type and index, and by id if both have one. An entry without an index continues the last entry if both are text.
        place, id = _place(one), text(one.get("id"))
        at = self.places.get(f"{place} {id}", self.places.get(place)) if id else self.places.get(place)
        if at is None:
            return None
        detail = self.details[at]
        same_id = not (id and detail.known.get("id")) or detail.known["id"] == id
        continues = one.get("index") is not None or (joins and at == len(self.details) - 1)
        return detail if same_id and continues else None

    def _begin(self, one: dict[str, Any], field: str | None, index: int, payload: bytes, out: list[Event]) -> Detail:
        detail = Detail(len(self.details), text(one.get("type")) or "reasoning")
        self.details.append(detail)
        place = _place(one)
        self.places[place] = detail.number
        if id := text(one.get("id")):
            self.places[f"{place} {id}"] = detail.number
        # The text is emitted in deltas, the signature in `PartEnd`.
        data = {name: "" if name in _TEXTS else value for name, value in one.items() if name != "signature"}
        detail.known = _beside(data)
        if field:
            self.current = detail.number
        channel: Channel | None = "reasoning" if field else None
        out += start(PartStart(detail.kind, detail.number, data, channel, index=index, payload=payload))
        return detail

    def _resume(self, detail: Detail, index: int, payload: bytes, out: list[Event]) -> None:
        if self.current != detail.number:
            self.current = detail.number
            out += start(PartStart(detail.kind, detail.number, {}, "reasoning", index=index, payload=payload))


def _place(one: dict[str, Any]) -> str:
    return f"{text(one.get('type')) or ''} {one.get('index')}"


def _beside(one: dict[str, Any]) -> dict[str, Any]:
    # Some servers send empty fields until they have a value.
    return {name: value for name, value in one.items() if name not in _PIECES and value not in (None, "")}


def _without(found: list[dict[str, Any]], before: EmittedText) -> list[dict[str, Any]]:
    # The entries repeat reasoning that was received before them: remove the repeated text.
    fields = [next((name for name in _TEXTS if text(one.get(name))), "text") for one in found]
    whole = "".join(text(one.get(name)) or "" for one, name in zip(found, fields, strict=True))
    rest = before.rest(whole)
    if not whole or rest is None or len(whole) < before.length:
        return found
    entries = [{**one, name: ""} if name in one else one for one, name in zip(found, fields, strict=True)]
    entries[-1] = {**entries[-1], fields[-1]: rest}
    return entries
