"""The tokens of the text that passes, exact while it is still coming, and beside what the provider says of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from streamkit.errors import PipelineError
from streamkit.events import (
    Channel,
    EndReason,
    Event,
    ReasoningDelta,
    RefusalDelta,
    ResponseStart,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from streamkit.stage import Stage
from streamkit.tokens.counters import Counter, CounterLike, TextCount, find_counter, restored, state_of
from streamkit.tokens.prices import Prices, as_prices
from streamkit.tokens.prompts import PromptTokens
from streamkit.tokens.usage import cached_tokens, merged, reasoning_tokens, summed

_OWN_ENDS: tuple[EndReason, ...] = ("completed", "length", "content_filter", "tool_calls")


@dataclass
class Count(Stage[Event, Event]):
    """Pass every event on, and put a `TokenCount` for each channel of each choice, and a `UsageReport`, before the `StreamEnd`.

    `model` is a model's name, or an encoding's; `counter` counts in its stead: an object, a function of a text, or a name
    (`streamkit.counters`). `running` gives a `TokenCount` after each delta too. With `prompt`, what the prompt costs
    (`prompt_tokens`), and `prices`, the report knows these too.

    Read `tokens()` and `report` at any time, also after a cancellation or a failure, from `stream.stage(Count)`. Place it
    after `Moderate` to count what was released, before it to count what was generated, or both, under a `name` each.
    The encoding is loaded when a run begins, some tenths of a second, once in a process.
    """

    model: str | None = None
    running: bool = False
    counter: CounterLike | None = field(default=None, kw_only=True)
    prompt: int | PromptTokens | None = field(default=None, kw_only=True)
    prices: Prices | Mapping[str, Any] | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)
    _counts: dict[tuple[int, Channel], TextCount] = field(
        default_factory=dict[tuple[int, Channel], TextCount], init=False, repr=False, metadata={"state": False}
    )
    _used: Counter | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _usage: Usage | None = field(default=None, init=False, repr=False)
    _answered_by: str | None = field(default=None, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.model is None and self.counter is None:
            raise PipelineError("expected the name of a model or of an encoding, or a counter; found neither")
        if self.prices is not None:
            self.prices = as_prices(self.prices)

    def fresh(self) -> "Count":
        # Before anything is sent, where a wait disturbs nobody, and not in the middle of the answer.
        fresh = super().fresh()
        fresh._counter()
        return fresh

    def tokens(self, channel: Channel | None = None, index: int | None = None) -> int:
        """Tokens so far: of all channels and choices, or of those named."""
        return sum(
            count.tokens
            for (choice, name), count in self._counts.items()
            if channel in (None, name) and index in (None, choice)
        )

    @property
    def report(self) -> UsageReport:
        """What is known of the cost, at any time. Its `source` is `partial` until the answer has come to its own end."""
        usage, counted = self._usage, self.tokens()
        prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        ours = self.prompt.tokens if isinstance(self.prompt, PromptTokens) else self.prompt
        reasoning = reasoning_tokens(usage)
        unseen = 0 if self._has_reasoning() else reasoning or 0
        difference = None if completion is None else completion - counted - unseen
        ended = self._end in _OWN_ENDS
        source: Literal["provider", "local", "partial"] = (
            "partial" if not ended else "local" if completion is None else "provider"
        )
        if completion is None:
            completion = counted
        elif not ended:
            completion = max(completion, counted)
        prompt = ours if prompt is None else prompt
        total = usage.total_tokens if usage and ended else None
        return UsageReport(
            source,
            prompt,
            completion,
            summed(prompt, completion) if total is None else total,
            reasoning,
            cached_tokens(usage),
            counted,
            ours,
            self._is_exact(),
            difference,
            usage,
            **self._cost(prompt, completion),
            model=self._answered_by or self.model,
            name=self.name,
        )

    def state(self) -> Any:
        return {**super().state(), "counts": state_of(self._counts)}

    def restore(self, state: Any) -> None:
        known = dict(state)
        self._counts = restored(known.pop("counts"), self._counter())
        super().restore(known)

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
            case Usage():
                # The event keeps the provider's chunk; what is known of all of them needs none.
                self._usage = merged(self._usage, item)
                return (item,)
            case ResponseStart(model=str(model)):
                self._answered_by = model
                return (item,)
            case StreamEnd(reason=reason):
                self._end = reason
                return [*self._events(), self.report, item]
            case _:
                return (item,)
        return (item, found) if found else (item,)

    def flush(self) -> Iterable[Event]:
        return () if self._end else [*self._events(), self.report]

    def _feed(self, channel: Channel, index: int, text: str) -> TokenCount | None:
        count = self._counts.get((index, channel))
        if count is None:
            count = self._counts[index, channel] = self._counter().count()
        count.feed(text)
        return self._event(channel, index, count) if self.running else None

    def _counter(self) -> Counter:
        if self._used is None:
            self._used = find_counter(self.counter, self.model)
        return self._used

    def _events(self) -> list[TokenCount]:
        return [
            self._event(channel, index, count) for (index, channel), count in sorted(self._counts.items(), key=_key)
        ]

    def _event(self, channel: Channel, index: int, count: TextCount) -> TokenCount:
        counter = self._counter()
        return TokenCount(count.tokens, channel, index, counter.name, counter.exact)

    def _is_exact(self) -> bool:
        return self._used is None or self._used.exact

    def _has_reasoning(self) -> bool:
        return any(channel == "reasoning" for _, channel in self._counts)

    def _cost(self, prompt: int | None, completion: int) -> dict[str, Any]:
        if self.prices is None:
            return {}
        prices = cast(Prices, self.prices)
        price = prices.of(self._answered_by, self.model)
        if price is None or prompt is None:
            return {"currency": prices.currency}
        cached, reasoning = cached_tokens(self._usage) or 0, reasoning_tokens(self._usage) or 0
        return {
            "cost": price.cost(prompt, completion, cached=cached, reasoning=reasoning),
            "currency": prices.currency,
        }


def _key(entry: tuple[tuple[int, Channel], TextCount]) -> tuple[int, Channel]:
    return entry[0]
