"""Limit the tokens or the cost of an answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias, cast

import msgspec

from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.events import (
    Channel,
    Event,
    ReasoningDelta,
    RefusalDelta,
    Reset,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.tokens.counters import (
    Counter,
    CounterLike,
    Key,
    TextCount,
    check_counter,
    find_counter,
    restored,
    state_of,
)
from streamkit.tokens.prices import BilledTokens, PricesLike, PriceTable, check_prices, find_prices
from streamkit.tokens.prompts import PromptTokens
from streamkit.tokens.responses import RELEVANT, Responses, ResponseUsage
from streamkit.tokens.usage import added

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
_CHANNELS: dict[type, Channel] = {
    TextDelta: "content",
    ReasoningDelta: "reasoning",
    RefusalDelta: "refusal",
    ToolCallDelta: "tool_arguments",
}
_NOT_STATE = {"state": False}
_STEP = 256  # characters of a delta that are counted at a time


@dataclass
class Budget(Stage[Event, Event]):
    """Pass text through up to `tokens` or a `cost`; then close the source and end with `StreamEnd("limit")`.

    The emitted text never exceeds the budget: the delta that would exceed it is cut at the last character within the budget.
    Tokens of all channels and all choices are counted, with `model` or `counter` as in `Count`. An answer that fits exactly is
    complete. The usage that the provider reports in mid-stream counts too, since it may bill reasoning that is not visible: the
    stream ends when a `Usage` exceeds the budget before any choice has finished.

    A `cost`, in the currency of `prices` (as in `Count`), includes the `prompt`, which is therefore required; once the provider
    reports the prompt tokens, including those served or stored by a cache, these are used instead. Raises `PipelineError` for a
    model without a price. Several responses of one stream share the budget; a `Reset` restores the whole budget, because
    everything before it is void. Place this stage before `Moderate` to limit what is generated, and before `Count`,
    `Accumulate`, `Structured` and `Timing`, whose results would otherwise be lost at the limit: `|` rejects that order.
    """

    ends_early = True
    tokens: int | None = None
    cost: Decimal | str | int | None = None
    model: str | None = field(default=None, kw_only=True)
    counter: CounterLike | None = field(default=None, kw_only=True)
    prompt: int | PromptTokens | None = field(default=None, kw_only=True)
    prices: PricesLike | None = field(default=None, kw_only=True)
    _counts: dict[Key, TextCount] = field(
        default_factory=dict[Key, TextCount], init=False, repr=False, metadata=_NOT_STATE
    )
    _used: Counter | None = field(default=None, init=False, repr=False, metadata=_NOT_STATE)
    _table: PriceTable | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.tokens is None and self.cost is None:
            raise PipelineError("expected a budget of tokens or of cost, found neither")
        if self.tokens is not None and self.tokens < 0:
            raise PipelineError(f"expected a budget of 0 tokens or more, found {self.tokens}")
        if self.cost is not None and (missing := [name for name, found in self._of_a_cost().items() if found is None]):
            raise PipelineError(f"a budget of cost needs {' and '.join(missing)}")
        check_counter(self.counter, self.model)
        if self.prices is not None:
            self.prices = check_prices(self.prices)
            if not isinstance(self.prices, str):
                self._price_table()

    def _of_a_cost(self) -> dict[str, object]:
        return {"`prices`": self.prices, "`prompt`, the tokens of the prompt": self.prompt}

    def fresh(self) -> "Budget":
        fresh = super().fresh()
        fresh._counter()
        fresh._table = self._price_table()
        return fresh

    @property
    def spent(self) -> int:
        """The tokens of the text that was passed through."""
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
        if type(item) in RELEVANT or self._responses.announced:
            self._responses.take(item, lambda: self.spent)
        match item:
            case TextDelta() | ReasoningDelta() | RefusalDelta() | ToolCallDelta():
                return self._take(item)
            case Usage() if not self._responses.current.finished and not self._within(self.spent):
                return [item, *self._stop()]
            case Reset():
                self._counts.clear()
            case _:
                pass
        return (item,)

    def _take(self, delta: Delta) -> Iterable[Event]:
        text = delta.arguments if isinstance(delta, ToolCallDelta) else delta.text
        if not text:
            return (delta,)
        key = delta.index, _CHANNELS[type(delta)], delta.tool_index if isinstance(delta, ToolCallDelta) else None
        count = self._counts.get(key) or self._counter().count()
        others = self.spent - count.tokens
        for at in range(0, len(text), _STEP):
            step = text[at : at + _STEP]
            more = _and(count, step)
            if not self._within(others + more.tokens):
                # Searched from the end, since more characters can be fewer tokens.
                sizes = range(len(step) - 1, 0, -1)
                size = next((size for size in sizes if self._within(others + _and(count, step[:size]).tokens)), 0)
                self._counts[key] = _and(count, step[:size])
                return [*_cut(delta, text[: at + size]), *self._stop()]
            count = self._counts[key] = more
        return (delta,)

    def _within(self, counted: int) -> bool:
        prompt = self.prompt.tokens if isinstance(self.prompt, PromptTokens) else self.prompt
        rows = self._responses.rows(counted, prompt)
        if self.tokens is not None and sum(row.completion for row in rows) > self.tokens:
            return False
        return self.cost is None or self._cost(rows) <= Decimal(self.cost)

    def _cost(self, rows: list[ResponseUsage]) -> Decimal:
        table = cast(PriceTable, self._price_table())
        # The model that answers may be a dated version with its own price.
        costs = [table.cost(row.billed, row.response.model, self.model) for row in rows if row.billed]
        return added(*costs) or Decimal(0)

    def _price_table(self) -> PriceTable | None:
        if self._table is None and self.cost is not None:
            self._table = find_prices(cast(PricesLike, self.prices))
            if self._table.cost(BilledTokens(0, 0), self.model) is None:
                raise PipelineError(f"expected a price for model {self.model!r}, found none in `prices`")
        return self._table

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
    # The payload is dropped, since the chunk contains more text than is released.
    return [msgspec.structs.replace(delta, text=text, payload=None)] if text else []
