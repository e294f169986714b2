"""Stop sequences, for providers that do not support them or that include them in the answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Channel,
    Event,
    Finish,
    Logprobs,
    ReasoningDelta,
    RefusalDelta,
    Reset,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.operators.each import check_number, choice_of
from streamkit.operators.pieces import CHANNELS, DELTAS, Delta, bare

_OF_A_CHOICE = (
    TextDelta,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
    AudioDelta,
    Annotation,
    Logprobs,
    Finish,
)


@dataclass(repr=False)
class StopAt(ReadsAsWritten, Stage[Event, Event]):
    """End the text of a choice before the first of `stops` (a string or a tuple), even if it is split between deltas.

    The stop sequence that is complete first counts; of several that end at the same place, the longest. No part of it is
    released, or with `include` all of it and nothing after it. The choice then ends with `Finish("stop")`, as a provider reports
    it, and its later events are dropped. When as many choices as `choices` (the request's `n`) have stopped, the source is closed
    and the stream ends with `StreamEnd("completed")`, since the request was fulfilled. The provider's `Usage`, which arrives
    later, is then missing. Place this stage before `Count`, `Accumulate`, `Structured` and `Timing`, as `|` requires, because
    the results of earlier stages would be lost.

    Text is buffered while it could still become a stop sequence. The choice's `Logprobs`, which contain the same text, are
    buffered with it, and released or dropped with it. Other events are not delayed. Emitted events have no `raw`. Each of the
    `channels` is searched separately. A `Reset` discards the buffered text, and no choice is stopped any more.
    """

    ends_early = True
    stops: str | tuple[str, ...]
    include: bool = False
    choices: int = 1
    channels: tuple[Channel, ...] = ("content",)
    _texts: dict[tuple[int, Channel], str] = field(
        default_factory=dict[tuple[int, Channel], str], init=False, repr=False
    )
    _logprobs: dict[int, list[Logprobs]] = field(default_factory=dict[int, list[Logprobs]], init=False, repr=False)
    _stopped: set[int] = field(default_factory=set[int], init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        found = cast("tuple[object, ...]", self.stops if isinstance(self.stops, tuple) else (self.stops,))
        if not found or not all(isinstance(stop, str) and stop for stop in found):
            raise PipelineError("stops: expected a text, or a tuple of texts, of at least one character each")
        check_number("choices", self.choices)
        for channel in self.channels:
            if channel not in DELTAS:
                raise PipelineError(f"expected channels of {', '.join(DELTAS)}; found {channel!r}")

    @property
    def held(self) -> int:
        """The number of buffered characters, which may be the beginning of a stop sequence."""
        return sum(map(len, self._texts.values()))

    def buffers(self) -> Iterable[Buffer]:
        return (Buffer(stage_name(self), self.held, "characters", "may become a stop sequence"),)

    def feed(self, item: Event) -> Iterable[Event]:
        if self.done:
            return
        index = choice_of(item)
        match item:
            case StreamEnd():
                self._ended = True
                yield from self.flush()
                still_open = tuple(choice for choice in item.open_choices if choice not in self._stopped)
                yield msgspec.structs.replace(item, open_choices=still_open, payload=None)
            case _ if index in self._stopped and isinstance(item, _OF_A_CHOICE):
                return
            case TextDelta() | ReasoningDelta() | RefusalDelta() if CHANNELS[type(item)] in self.channels:
                yield from self._text(item)
            case Logprobs():
                yield from self._beside(item)
            case Reset():
                for state in (self._texts, self._logprobs, self._stopped):
                    state.clear()
                yield item
            case Finish(index=of):
                yield from self._release(of)
                yield bare(item)
            case _:
                yield bare(item)

    def flush(self) -> Iterable[Event]:
        for index in dict.fromkeys([*(key[0] for key in self._texts), *self._logprobs]):
            yield from self._release(index)

    def _text(self, delta: Delta) -> Iterable[Event]:
        index, channel = delta.index, CHANNELS[type(delta)]
        text = self._texts.pop((index, channel), "") + delta.text
        stops = self.stops if isinstance(self.stops, tuple) else (self.stops,)
        if stop := _first(text, stops):
            start, end = stop
            shown = text[: end if self.include else start]
            if shown:
                yield DELTAS[channel](shown, index)
            yield from self._stop(index)
            return
        keep = _undecided(text, stops)
        if released := text[: len(text) - keep]:
            yield DELTAS[channel](released, index)
        if keep:
            self._texts[index, channel] = text[-keep:]
        elif not self._holds(index):
            yield from self._logprobs.pop(index, ())

    def _beside(self, logprobs: Logprobs) -> Iterable[Event]:
        if self._holds(logprobs.index):
            self._logprobs.setdefault(logprobs.index, []).append(msgspec.structs.replace(logprobs, payload=None))
        else:
            yield bare(logprobs)

    def _stop(self, index: int) -> Iterable[Event]:
        self._stopped.add(index)
        self._logprobs.pop(index, None)
        self._texts = {key: text for key, text in self._texts.items() if key[0] != index}
        yield Finish("stop", index)
        if len(self._stopped) >= self.choices:
            self.done = self._ended = True
            yield StreamEnd("completed")

    def _release(self, index: int) -> Iterable[Event]:
        for key in [key for key in self._texts if key[0] == index]:
            yield DELTAS[key[1]](self._texts.pop(key), index)
        yield from self._logprobs.pop(index, ())

    def _holds(self, index: int) -> bool:
        return any(key[0] == index for key in self._texts)


def _first(text: str, stops: tuple[str, ...]) -> tuple[int, int] | None:
    found = [(start, start + len(stop)) for stop in stops if (start := text.find(stop)) >= 0]
    return min(found, key=lambda place: (place[1], place[0])) if found else None


def _undecided(text: str, stops: tuple[str, ...]) -> int:
    # The number of characters at the end that may be the beginning of a stop sequence.
    longest = min(len(text), max(map(len, stops)) - 1)
    ends = (text[-size:] for size in range(longest, 0, -1))
    return next((len(end) for end in ends if any(stop.startswith(end) for stop in stops)), 0)
