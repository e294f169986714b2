"""Read providers that resend the whole text with every chunk: emit only the part that is new.

If a server cuts texts at bytes, the last character may be U+FFFD until its remaining bytes arrive; it is buffered. A text
shorter than before adds nothing. A text that differs from before is an error, because emitted text can't be taken back.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from streamkit.dialects.surrogates import mended
from streamkit.errors import ProtocolError
from streamkit.events import Event, Finish, ReasoningDelta, RefusalDelta, StreamEnd, TextDelta, ToolCallDelta

_CHANNELS: dict[type[Any], str] = {
    TextDelta: "content",
    ReasoningDelta: "reasoning",
    RefusalDelta: "refusal",
    ToolCallDelta: "tool_arguments",
}
_REPLACEMENT = "\ufffd"
# Placeholders of a character whose last bytes, or second surrogate, have not arrived.
_UNFINISHED = _REPLACEMENT + "".join(map(chr, range(0xD800, 0xDC00)))


class Cumulative(msgspec.Struct):
    """The text emitted so far for each channel of each choice; never longer than the text of one chunk."""

    texts: dict[str, str] = {}
    # The number of unfinished characters at the end of each text, by choice.
    unfinished: dict[int, dict[str, int]] = {}

    def began(self, channel: str, index: int, call: int = 0) -> bool:
        """Whether any part of this text was emitted."""
        return f"{channel} {index} {call}" in self.texts

    def adds(self, channel: str, index: int, whole: str, call: int = 0) -> bool:
        """Whether a whole text is longer than the part received before."""
        place = f"{channel} {index} {call}"
        finished, unfinished = _parts(whole)
        known = self.unfinished.get(index, {}).get(place, 0)
        return len(finished) > len(self.texts.get(place, "")) or unfinished > known

    def continues(self, channel: str, index: int, whole: str, call: int = 0) -> bool:
        """Whether a whole text begins with the text so far."""
        return _parts(whole)[0].startswith(self.texts.get(f"{channel} {index} {call}", ""))

    def rest(self, channel: str, index: int, whole: str, call: int = 0) -> str:
        """Return the new part of a whole text. A text that contradicts the emitted one raises `ProtocolError`."""
        place = f"{channel} {index} {call}"
        known, (finished, unfinished) = self.texts.get(place, ""), _parts(whole)
        if finished.startswith(known):
            self.texts[place] = finished
            self.unfinished.get(index, {}).pop(place, None)
            if unfinished:
                self.unfinished.setdefault(index, {})[place] = unfinished
            return finished[len(known) :]
        if known.startswith(finished):
            return ""
        raise ProtocolError(
            f"choice {index}: expected {channel} that begins with the {len(known)} characters received so far, because each "
            f"chunk has the whole text; found {len(finished)} characters with another beginning"
        )

    def end(self, index: int | None = None) -> list[Event]:
        """Return the unfinished characters of a choice that has ended, or of all choices, as deltas of U+FFFD."""
        found: list[Event] = []
        for choice in list(self.unfinished) if index is None else [index]:
            for place, size in self.unfinished.pop(choice, {}).items():
                channel, _, call = place.split()
                found.append(_delta(channel, choice, int(call), _REPLACEMENT * size))
        return found

    def take(self, events: Iterable[Event], out: list[Event]) -> None:
        """Append the events to `out`, each text reduced to its new part."""
        for event in events:
            if (channel := _CHANNELS.get(type(event))) is not None:
                self._cut(event, channel, out)
                continue
            if isinstance(event, Finish | StreamEnd):
                out += self.end(event.index if isinstance(event, Finish) else None)
            out.append(event)

    def _cut(self, event: Any, channel: str, out: list[Event]) -> None:
        if isinstance(event, ToolCallDelta):
            whole = event.arguments
            rest = self.rest(channel, event.index, whole, event.tool_index) if whole else ""
            if rest or event.id or event.name or event.type:
                out.append(msgspec.structs.replace(event, arguments=rest))
        elif rest := self.rest(channel, event.index, event.text):
            out.append(msgspec.structs.replace(event, text=rest))


def _parts(whole: str) -> tuple[str, int]:
    whole = mended(whole)
    finished = whole.rstrip(_UNFINISHED)
    return finished, len(whole) - len(finished)


def _delta(channel: str, index: int, call: int, text: str) -> Event:
    if channel == "tool_arguments":
        return ToolCallDelta(call, arguments=text, index=index)
    kind = next(kind for kind, name in _CHANNELS.items() if name == channel)
    event: Event = kind(text, index)
    return event
