"""Split reasoning from text that has it between tags such as `<think>` and `</think>`.

Tags may be split between deltas at any position. A possible beginning of a tag, always shorter than the tag, is buffered until
the next delta decides or another event of the choice arrives, such as a call or the end. The tags are removed, and only this
white space: before the first tag if there is nothing else before it, at the beginning of the reasoning, and between a closing
tag and the answer if the answer begins there. After an unclosed tag everything is reasoning. A closing tag without an opening
one is text. If the configured opening tag is empty, the answer begins with reasoning, as if the prompt ended with the tag.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from streamkit.core.stage import cut_short
from streamkit.errors import StreamkitError
from streamkit.events import (
    AudioDelta,
    Event,
    Finish,
    PartEnd,
    PartStart,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)

_ENDS_A_TAG = (ToolCallDelta, ReasoningDelta, RefusalDelta, AudioDelta, PartStart, PartEnd, Finish)
"""Events that end a run of text, so that no tag can continue after them."""
_MOST_SPACE = 256
"""Most characters of white space that are buffered before a first tag."""


class Split(msgspec.Struct):
    """The state of one choice."""

    held: str = ""
    payload: bytes | None = None
    in_reasoning: bool = False
    # Whether reasoning was emitted, whether text was emitted, and whether a tag was found.
    has_reasoning: bool = False
    has_text: bool = False
    tagged: bool = False


class ReasoningTags:
    """Splits the text of all choices of one stream."""

    def __init__(self, opening: str, closing: str) -> None:
        self._opening, self._closing = opening, closing
        self._choices: dict[int, Split] = {}

    def state(self) -> Any:
        """Return the state of all choices as plain data, for a checkpoint."""
        return [[index, msgspec.to_builtins(split)] for index, split in self._choices.items()]

    def restore(self, state: Any) -> None:
        """Restore from `state()`."""
        self._choices = {index: msgspec.convert(split, Split) for index, split in state}

    def take_all(self, events: Iterable[Event]) -> Iterable[Event]:
        """Return the events, with text between tags as reasoning. Buffered text is emitted before an error that ends them."""
        out: list[Event] = []
        if isinstance(events, list):
            self.take(events, out)
            return out
        try:
            self.take(events, out)
        except StreamkitError as error:
            self.release(out)
            return cut_short(out, error)
        return out

    def take(self, events: Iterable[Event], out: list[Event]) -> None:
        """Append the events to `out`, with text between tags as reasoning."""
        for event in events:
            if isinstance(event, TextDelta):
                self._text(event, out)
                continue
            if isinstance(event, _ENDS_A_TAG):
                self.release(out, event.index)
            elif isinstance(event, StreamEnd):
                self.release(out)
            out.append(event)

    def release(self, out: list[Event], index: int | None = None) -> None:
        """Emit the buffered text of a choice, or of all choices: no tag follows."""
        for choice in list(self._choices) if index is None else [index]:
            if (split := self._choices.get(choice)) and split.held:
                held, split.held = split.held, ""
                self._emit(split, held, choice, out)

    def _text(self, event: TextDelta, out: list[Event]) -> None:
        split = self._choices.get(event.index)
        if split is None:
            # Without an opening tag the answer begins with reasoning.
            begins = not self._opening
            split = self._choices[event.index] = Split(in_reasoning=begins, tagged=begins)
        split.payload = event.payload
        text, split.held, start = split.held + event.text, "", 0
        while (tag := self._tag(split)) and (at := text.find(tag, start)) >= 0:
            self._emit(split, text[start:at], event.index, out, before_tag=True)
            split.in_reasoning, split.tagged, start = not split.in_reasoning, True, at + len(tag)
        self._hold(split, text[start:], tag, event.index, out)

    def _tag(self, split: Split) -> str:
        # With an empty opening tag, reasoning can only begin at the start.
        return self._closing if split.in_reasoning else self._opening

    def _hold(self, split: Split, text: str, tag: str, index: int, out: list[Event]) -> None:
        at = len(text) - _overlap(text, tag)
        if not (split.tagged or split.has_text) and _is_space(text[:at]):
            at = 0  # only white space so far: a first tag may follow
        text, split.held = text[:at], text[at:]
        self._emit(split, text, index, out)

    def _emit(self, split: Split, text: str, index: int, out: list[Event], *, before_tag: bool = False) -> None:
        if split.in_reasoning:
            text = text if split.has_reasoning else text.lstrip()
            split.has_reasoning |= bool(text)
        else:
            beginning = not split.has_text and (split.tagged or (before_tag and _is_space(text)))
            text = text.lstrip() if beginning else text
            split.has_text |= bool(text)
        if text:
            kind = ReasoningDelta if split.in_reasoning else TextDelta
            out.append(kind(text, index, payload=split.payload))


def _is_space(text: str) -> bool:
    return len(text) <= _MOST_SPACE and not text.strip()


def _overlap(text: str, tag: str) -> int:
    """Return the length of the longest end of the text that is a beginning of the tag."""
    most = min(len(text), len(tag) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(tag[:size])), 0)
