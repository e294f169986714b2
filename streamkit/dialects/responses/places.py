"""Find the item of a response that an event refers to, and detect replayed events.

https://platform.openai.com/docs/api-reference/responses-streaming. OpenAI sends a number (`output_index`) and an id (`item_id`)
for each item. llama.cpp sends only ids; other servers number all items 0, or send another id for the same item in each event.
"""

from typing import Any

import msgspec

from streamkit.dialects.fields import count, mapping, text

_MOST_NAMES = 8


class Places(msgspec.Struct):
    """Positions of items, by their ids or else by their numbers."""

    ids: dict[str, int] = {}
    # The position that a number currently refers to, if several items share the number.
    numbers: dict[int, int] = {}
    begun: dict[int, str] = {}
    names: dict[int, int] = {}
    last: int = 0
    top: int = -1
    sequence: int = -1
    # Whether the sequence numbers of events increase: `False` until shown, `None` once they were found unreliable.
    counts: bool | None = False

    def of(self, fields: dict[str, Any]) -> tuple[int, int]:
        """Return the position of an event's item and part. An event without an id and number refers to the last item."""
        id, number = text(fields.get("item_id")), count(fields.get("output_index"))
        place = self.ids.get(id) if id else None
        if place is None:
            place = self._unnamed(number, is_new=bool(id))
            if id:
                self._name(place, id)
        self.last, self.top = place, max(self.top, place)
        return place, count(fields.get("content_index", fields.get("summary_index"))) or 0

    def begin(self, item: dict[str, Any], number: int | None) -> int:
        """Return the position of an item that begins."""
        ids = _ids(item)
        place = next((self.ids[id] for id in ids if id in self.ids), None)
        if place is None:
            place = self._unnamed(number, is_new=True)
            if ids and self.begun.get(place, ids[0]) != ids[0]:
                place = self.top + 1
                if number is not None:
                    self.numbers[number] = place
        for id in ids:
            self.begun.setdefault(place, id)
            self.ids[id] = place
        self.last, self.top = place, max(self.top, place)
        return place

    def whole(self, item: dict[str, Any], at: int, kind: str | None) -> int:
        """Return the position of an item of the whole response. `kind`: the kind of the known item at the same position."""
        place = next((self.ids[id] for id in _ids(item) if id in self.ids), None)
        if place is None:
            place = self.numbers.get(at, at)
            if kind is not None and kind != item.get("type"):
                place = self.top + 1
        self.top = max(self.top, place)
        return place

    def is_replayed(self, fields: dict[str, Any], response: str | None) -> bool:
        """Whether an event with this sequence number was received before, as after a reconnect.

        An event about an unknown item or another response is new whatever its number. From then on the server's sequence
        numbers are ignored, because it does not number events as OpenAI does.
        """
        number = count(fields.get("sequence_number"))
        if number is None:
            return False
        if number > self.sequence:
            self.counts = None if self.counts is None else self.counts or self.sequence >= 0
            self.sequence = number
            return False
        if self.counts and self._is_new(fields, response):
            self.counts = None
        return bool(self.counts)

    def saw(self, number: int | None) -> None:
        """Record that the fast path read events up to this number, in increasing order."""
        if number is not None and number > self.sequence:
            self.counts, self.sequence = None if self.counts is None else True, number

    def _is_new(self, fields: dict[str, Any], response: str | None) -> bool:
        id = text(mapping(fields.get("response")).get("id"))
        ids = [*_ids(mapping(fields.get("item"))), *filter(None, [text(fields.get("item_id"))])]
        return any(id not in self.ids for id in ids) or bool(id and response and id != response)

    def _unnamed(self, number: int | None, *, is_new: bool) -> int:
        if number is not None:
            return self.numbers.get(number, number)
        return self.top + 1 if is_new else self.last

    def _name(self, place: int, id: str) -> None:
        # Bound the memory for a server that sends another id in each event.
        if (known := self.names.get(place, 0)) < _MOST_NAMES:
            self.names[place], self.ids[id] = known + 1, place


def _ids(item: dict[str, Any]) -> list[str]:
    return [id for id in (text(item.get("id")), text(item.get("call_id"))) if id]
