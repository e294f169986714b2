"""Which item of a response an event is about, and whether the event was there before.

https://platform.openai.com/docs/api-reference/responses-streaming. OpenAI numbers the items (`output_index`) and names them
(`item_id`). llama.cpp names them only; others number all of them 0, or name one otherwise in each event.
"""

from typing import Any

import msgspec

from streamkit.dialects.fields import count, mapping, text

_MOST_NAMES = 8


class Places(msgspec.Struct):
    """Items by their ids, else by their numbers."""

    ids: dict[str, int] = {}
    # The place that a number stands for, where several items have one.
    numbers: dict[int, int] = {}
    begun: dict[int, str] = {}
    names: dict[int, int] = {}
    last: int = 0
    top: int = -1
    sequence: int = -1
    # Whether the numbers of the events were seen to increase; `None` once they were seen to do something else.
    counts: bool | None = False

    def of(self, fields: dict[str, Any]) -> tuple[int, int]:
        """The place of an item and its part: of the item that was last spoken of, if the event says nothing."""
        id, number = text(fields.get("item_id")), count(fields.get("output_index"))
        place = self.ids.get(id) if id else None
        if place is None:
            place = self._unnamed(number, is_new=bool(id))
            if id:
                self._name(place, id)
        self.last, self.top = place, max(self.top, place)
        return place, count(fields.get("content_index", fields.get("summary_index"))) or 0

    def begin(self, item: dict[str, Any], number: int | None) -> int:
        """The place of an item that begins."""
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
        """The place of an item of the whole response; `kind` is that of the item at the same position."""
        place = next((self.ids[id] for id in _ids(item) if id in self.ids), None)
        if place is None:
            place = self.numbers.get(at, at)
            if kind is not None and kind != item.get("type"):
                place = self.top + 1
        self.top = max(self.top, place)
        return place

    def is_replayed(self, fields: dict[str, Any], response: str | None) -> bool:
        """Whether an event with this number was there before, as after a reconnect.

        A server that numbers its events in another way than OpenAI is not believed: what is about another item or another
        response is new.
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
        """Events up to this number, each greater than the one before, were read elsewhere."""
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
        # One that has another id in each event does not fill the memory.
        if (known := self.names.get(place, 0)) < _MOST_NAMES:
            self.names[place], self.ids[id] = known + 1, place


def _ids(item: dict[str, Any]) -> list[str]:
    return [id for id in (text(item.get("id")), text(item.get("call_id"))) if id]
