"""No more than so many tokens, or so much money, of one answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias, cast

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import (
    Channel,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ResponseStart,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.stage import Stage
from streamkit.tokens.counters import Counter, CounterLike, TextCount, find_counter, restored, state_of
from streamkit.tokens.prices import Price, Prices, as_prices
from streamkit.tokens.prompts import PromptTokens
from streamkit.tokens.usage import merged, reasoning_tokens

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
_CHANNELS: dict[type, Channel] = {
    TextDelta: "content",
    ReasoningDelta: "reasoning",
    RefusalDelta: "refusal",
    ToolCallDelta: "tool_arguments",
}
_STEP = 256  # characters of a delta that are tried at a time


@dataclass
class Budget(Stage[Event, Event]):
    """Pass on text up to `tokens` of an answer, or up to a `cost`; then close the source and end with `StreamEnd("limit")`.

    What passes never has more than the budget: the delta that would exceed it is cut, at the last character at which the
    count is still within. The count is of all channels and all choices, by `model` or `counter` as in `Count`. An answer that
    fits exactly is complete. What the provider says meanwhile counts too, for reasoning that it bills and does not show:
    when its `Usage` exceeds the budget before any choice has finished, the stream ends there.

    A `cost`, in the currency of `prices`, includes the `prompt`, which is therefore needed. A model without a price raises
    `PipelineError`. Place it before `Moderate` to bound what is generated.
    """

    tokens: int | None = None
    cost: Decimal | str | int | None = None
    model: str | None = field(default=None, kw_only=True)
    counter: CounterLike | None = field(default=None, kw_only=True)
    prompt: int | PromptTokens | None = field(default=None, kw_only=True)
    prices: Prices | Mapping[str, Any] | None = field(default=None, kw_only=True)
    _counts: dict[tuple[int, Channel], TextCount] = field(
        default_factory=dict[tuple[int, Channel], TextCount], init=False, repr=False, metadata={"state": False}
    )
    _used: Counter | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _usage: Usage | None = field(default=None, init=False, repr=False)
    _price: Price | None = field(default=None, init=False, repr=False)
    _finished: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.tokens is None and self.cost is None:
            raise PipelineError("expected a budget of tokens or of cost, found neither")
        if self.tokens is not None and self.tokens < 0:
            raise PipelineError(f"expected a budget of 0 tokens or more, found {self.tokens}")
        if self.cost is None:
            return
        if self.prices is None or self.prompt is None:
            raise PipelineError("a budget of cost needs `prices`, and `prompt`, the tokens of the prompt")
        self.prices = as_prices(self.prices)
        self._price = self.prices.of(self.model)
        if self._price is None:
            raise PipelineError(f"expected a price for model {self.model!r}, found none in `prices`")

    def fresh(self) -> "Budget":
        fresh = super().fresh()
        fresh._counter()
        return fresh

    @property
    def spent(self) -> int:
        """Tokens of text that have passed."""
        return sum(count.tokens for count in self._counts.values())

    def state(self) -> Any:
        return {**super().state(), "counts": state_of(self._counts)}

    def restore(self, state: Any) -> None:
        known = dict(state)
        self._counts = restored(known.pop("counts"), self._counter())
        super().restore(known)

    def feed(self, item: Event) -> Iterable[Event]:
        if self.done:
            return ()
        match item:
            case TextDelta() | ReasoningDelta() | RefusalDelta() | ToolCallDelta():
                return self._take(item)
            case ResponseStart(model=str(model)) if self.prices is not None and self._price is not None:
                # The model that answers may be a dated one, with a price of its own.
                self._price = cast(Prices, self.prices).of(model) or self._price
            case Finish():
                self._finished = True
            case Usage():
                self._usage = merged(self._usage, item)
                if not self._finished and not self._within(self._usage.completion_tokens or 0):
                    return [item, *self._stop()]
            case _:
                pass
        return (item,)

    def _take(self, delta: Delta) -> Iterable[Event]:
        text = delta.arguments if isinstance(delta, ToolCallDelta) else delta.text
        if not text:
            return (delta,)
        key = delta.index, _CHANNELS[type(delta)]
        count = self._counts.get(key) or self._counter().count()
        others = self.spent - count.tokens
        for at in range(0, len(text), _STEP):
            step = text[at : at + _STEP]
            more = _and(count, step)
            if not self._within(others + more.tokens):
                # From the end, since more characters may well be fewer tokens.
                sizes = range(len(step) - 1, 0, -1)
                size = next((size for size in sizes if self._within(others + _and(count, step[:size]).tokens)), 0)
                self._counts[key] = _and(count, step[:size])
                return [*_cut(delta, text[: at + size]), *self._stop()]
            count = self._counts[key] = more
        return (delta,)

    def _within(self, completion: int) -> bool:
        if self.tokens is not None and completion > self.tokens:
            return False
        if self._price is None or self.cost is None:
            return True
        prompt = cast("int | PromptTokens", self.prompt)
        tokens = prompt.tokens if isinstance(prompt, PromptTokens) else prompt
        thought = min(completion, reasoning_tokens(self._usage) or 0)
        return self._price.cost(tokens, completion, reasoning=thought) <= Decimal(self.cost)

    def _stop(self) -> list[Event]:
        self.done = True
        return [StreamEnd("limit")]

    def _counter(self) -> Counter:
        if self._used is None:
            self._used = find_counter(self.counter, self.model)
        return self._used


def _and(count: TextCount, text: str) -> TextCount:
    more = count.fork()
    more.feed(text)
    return more


def _cut(delta: Delta, text: str) -> list[Event]:
    if isinstance(delta, ToolCallDelta):
        return [msgspec.structs.replace(delta, arguments=text, payload=None)]
    # A chunk holds more than is let through of it.
    return [msgspec.structs.replace(delta, text=text, payload=None)] if text else []
