"""Reassemble the data of a part from its structure and the text of its deltas."""

from typing import Any

import msgspec

from streamkit.dialects.fields import decoded
from streamkit.events import PartDelta


class PartText(msgspec.Struct):
    """The text of one field of a part's data. Text after the next `PartEnd` replaces it."""

    path: tuple[str, ...]
    json: bool
    ends: int
    pieces: list[str] = []


class PartData(msgspec.Struct):
    """The data of a part, assembled from its `PartStart`, `PartDelta`s and `PartEnd`."""

    data: dict[str, Any] = {}
    texts: dict[str, PartText] = {}
    ends: int = 0

    def write(self, delta: PartDelta) -> None:
        """Append a piece of text."""
        key = "\0".join(delta.path)
        text = self.texts.get(key)
        if text is None or text.ends != self.ends:
            text = self.texts[key] = PartText(delta.path or ("text",), delta.json, self.ends)
        text.pieces.append(delta.text)

    def add(self, data: dict[str, Any]) -> None:
        """Merge fields into the structure."""
        self.data |= data
        if data:
            # A field that is sent again replaces its text.
            self.texts = {key: text for key, text in self.texts.items() if text.path[0] not in data}

    def end(self, data: dict[str, Any]) -> None:
        """End the part. `data` has the fields that are known only at the end."""
        self.add(data)
        self.ends += 1

    @property
    def whole(self) -> dict[str, Any]:
        """The data with all text inserted."""
        data = dict(self.data)
        for text in self.texts.values():
            _place(data, text.path, "".join(text.pieces), json=text.json)
        return data


def _place(data: dict[str, Any], path: tuple[str, ...], text: str, *, json: bool) -> None:
    *outer, name = path
    for step in outer:
        if not isinstance(data.get(step), dict):
            return
        data[step] = data = dict(data[step])
    if name in data:
        data[name] = decoded(text) if json and not isinstance(data[name], str) else text
