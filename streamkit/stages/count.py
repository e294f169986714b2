"""The tokens of the text that passes, exact while it is still coming."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamkit.events import (
    Channel,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
)
from streamkit.stage import Stage
from streamkit.tokens import RunningCount, encoding_name, load_encoding

if TYPE_CHECKING:
    import tiktoken


@dataclass
class Count(Stage[Event, Event]):
    """Pass every event on, and put a `TokenCount` for each channel of each choice before the `StreamEnd`.

    `model` is a model's name, or an encoding's. `running` gives a `TokenCount` after each delta too. Read the count at any
    time with `stream.stage(Count).tokens()`. Place it after `Moderate` to count what was released, before it to count what
    was generated. The encoding is loaded when a run begins, some tenths of a second, once in a process.
    """

    model: str
    running: bool = False
    _counts: dict[tuple[int, Channel], RunningCount] = field(
        default_factory=dict[tuple[int, Channel], RunningCount], init=False, repr=False
    )
    _encoding: "tiktoken.Encoding | None" = field(default=None, init=False, repr=False)
    _exact: bool = field(default=True, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def fresh(self) -> "Count":
        # Before anything is sent, where a wait disturbs nobody, and not in the middle of the answer.
        fresh = super().fresh()
        fresh._load()
        return fresh

    def tokens(self, channel: Channel | None = None, index: int | None = None) -> int:
        """Tokens so far: of all channels and choices, or of those named."""
        return sum(
            count.tokens
            for (choice, name), count in self._counts.items()
            if channel in (None, name) and index in (None, choice)
        )

    def feed(self, item: Event) -> Iterable[Event]:
        match item:
            case TextDelta(text=text, index=index):
                found = self._feed("content", index, text)
            case ReasoningDelta(text=text, index=index):
                found = self._feed("reasoning", index, text)
            case RefusalDelta(text=text, index=index):
                found = self._feed("refusal", index, text)
            case ToolCallDelta(arguments=text, index=index) if text:
                found = self._feed("tool_arguments", index, text)
            case StreamEnd():
                self._ended = True
                return [*self._events(), item]
            case _:
                return (item,)
        return (item, found) if found else (item,)

    def flush(self) -> Iterable[Event]:
        return () if self._ended else self._events()

    def _feed(self, channel: Channel, index: int, text: str) -> TokenCount | None:
        count = self._counts.get((index, channel))
        if count is None:
            count = self._counts[index, channel] = RunningCount(self._load())
        count.feed(text)
        return self._event(channel, index, count) if self.running else None

    def _load(self) -> "tiktoken.Encoding":
        if self._encoding is None:
            name, self._exact = encoding_name(self.model)
            self._encoding = load_encoding(name)
        return self._encoding

    def _events(self) -> list[TokenCount]:
        return [
            self._event(channel, index, count) for (index, channel), count in sorted(self._counts.items(), key=_key)
        ]

    def _event(self, channel: Channel, index: int, count: RunningCount) -> TokenCount:
        return TokenCount(count.tokens, channel, index, self._load().name, self._exact)


def _key(entry: tuple[tuple[int, Channel], RunningCount]) -> tuple[int, Channel]:
    return entry[0]
