"""Count tokens exactly while the text arrives, and compare them with the provider's usage."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from streamkit.core.stage import Stage, cut_short
from streamkit.events import (
    Channel,
    EndReason,
    Event,
    ReasoningDelta,
    RefusalDelta,
    Reset,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
    UsageReport,
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
from streamkit.tokens.prices import PricesLike, PriceTable, check_prices, find_prices
from streamkit.tokens.prompts import PromptTokens
from streamkit.tokens.responses import OWN_ENDS, RELEVANT, Responses, ResponseUsage
from streamkit.tokens.usage import added, summed

_NOT_STATE = {"state": False}


@dataclass
class Count(Stage[Event, Event]):
    """Pass every event through. Before the `StreamEnd` emit a `TokenCount` for each channel of each choice and a `UsageReport`.

    The arguments of each tool call are counted separately. `model` is the name of a model or an encoding. `counter` is used
    instead of it: an object, a function of a text, or a name (`streamkit.counters`). With `running` a `TokenCount` is emitted
    after each delta too. With `prompt`, the tokens of a response's prompt (`prompt_tokens`), and `prices` the report has the
    cost. `prices` is a table, a mapping that `Prices` accepts, the path of a file (`.toml`, `.json`), read when the stage
    is made, or the name of an installed table (`streamkit.prices`).

    Read `tokens()` and `report` of `stream.stage(Count)` at any time, also after a cancellation or a failure. Place this stage
    after `Moderate` to count the released text, before it to count the generated text, or use two, each with its own `name`.
    Place it after `Budget` and `StopAt`, which would end the stream before its report: `|` rejects the other order.
    The encoding is loaded when a run starts; this takes some tenths of a second, once per process. A `Reset` restarts the counts.
    """

    emits_result = True
    model: str | None = None
    running: bool = False
    counter: CounterLike | None = field(default=None, kw_only=True)
    prompt: int | PromptTokens | None = field(default=None, kw_only=True)
    prices: PricesLike | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)
    _counts: dict[Key, TextCount] = field(
        default_factory=dict[Key, TextCount], init=False, repr=False, metadata=_NOT_STATE
    )
    _used: Counter | None = field(default=None, init=False, repr=False, metadata=_NOT_STATE)
    _table: PriceTable | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _end: EndReason | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_counter(self.counter, self.model)
        if self.prices is not None:
            self.prices = check_prices(self.prices)

    def fresh(self) -> "Count":
        # Loaded here, before the request is sent, so that loading does not delay the answer.
        fresh = super().fresh()
        fresh._counter()
        fresh._table = self._price_table()
        return fresh

    def tokens(self, channel: Channel | None = None, index: int | None = None, tool_index: int | None = None) -> int:
        """The tokens so far, of all channels, choices and tool calls, or of the given ones."""
        return sum(
            count.tokens
            for (choice, name, call), count in self._counts.items()
            if channel in (None, name) and index in (None, choice) and tool_index in (None, call)
        )

    @property
    def report(self) -> UsageReport:
        """The usage so far. Its `source` is `partial` until the answer has ended normally."""
        counted, ended = self.tokens(), self._end in OWN_ENDS
        ours = self.prompt.tokens if isinstance(self.prompt, PromptTokens) else self.prompt
        rows = self._responses.rows(counted, ours, self._end)
        reported = [row.reported for row in rows]
        source: Literal["provider", "local", "partial"] = (
            "partial" if not ended else "local" if None in reported else "provider"
        )
        prompt, completion = _all_or_least(ended)(*(row.prompt for row in rows)), sum(row.completion for row in rows)
        parts, provided = self._responses.parts, summed(*reported)
        unseen = 0 if self._has_reasoning() else parts.reasoning or 0
        return UsageReport(
            source,
            prompt,
            completion,
            summed(*(row.total for row in rows)) if ended else summed(prompt, completion),
            parts.reasoning,
            parts.cached,
            counted,
            ours,
            self._is_exact(),
            None if provided is None else provided - counted - unseen,
            self._responses.usage,
            **self._cost(rows, ended),
            model=self._responses.current.model or self.model,
            name=self.name,
            cache_write_tokens=parts.cache_write,
            provider_cost=parts.cost,
        )

    def state(self) -> Any:
        return {**super().state(), "counts": state_of(self._counts)}

    def restore(self, state: Any) -> None:
        known = dict(state)
        self._counts = restored(known.pop("counts"), self._counter())
        super().restore(known)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        produced: list[Event] = []
        responses, running, counter = self._responses, self.running, self._used or self._counter()
        index = 0
        count: TextCount | None = None
        try:
            for item in items:
                if type(item) is not TextDelta or responses.announced:
                    produced.extend(self._take(item))
                    count = None
                    continue
                if count is None or index != item.index:
                    index = item.index
                    count = self._counts.get((index, "content", None)) or self._count((index, "content", None))
                count.feed(item.text)
                produced.append(item)
                if running:
                    produced.append(TokenCount(count.tokens, "content", index, counter.name, counter.exact))
        except Exception as error:
            return cut_short(produced, error)
        return produced

    def _take(self, item: Event) -> Iterable[Event]:
        if type(item) in RELEVANT or self._responses.announced:
            self._responses.take(item, self.tokens)
        match item:
            case TextDelta(text=text, index=index):
                found = self._feed("content", index, text)
            case ReasoningDelta(text=text, index=index):
                found = self._feed("reasoning", index, text)
            case RefusalDelta(text=text, index=index):
                found = self._feed("refusal", index, text)
            case ToolCallDelta(arguments=text, index=index, tool_index=tool_index) if text:
                found = self._feed("tool_arguments", index, text, tool_index)
            case Reset():
                self._counts.clear()
                return (item,)
            case StreamEnd(reason=reason):
                self._end = reason
                return [*self._events(), self.report, item]
            case _:
                return (item,)
        return (item, found) if found else (item,)

    def flush(self) -> Iterable[Event]:
        return () if self._end else [*self._events(), self.report]

    def _feed(self, channel: Channel, index: int, text: str, tool_index: int | None = None) -> TokenCount | None:
        key = index, channel, tool_index
        count = self._count(key)
        count.feed(text)
        return self._event(key, count) if self.running else None

    def _count(self, key: Key) -> TextCount:
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._counter().count()
        return count

    def _counter(self) -> Counter:
        if self._used is None:
            self._used = find_counter(self.counter, self.model)
        return self._used

    def _price_table(self) -> PriceTable | None:
        if self._table is None and self.prices is not None:
            self._table = find_prices(self.prices)
        return self._table

    def _events(self) -> list[TokenCount]:
        return [self._event(key, count) for key, count in sorted(self._counts.items(), key=_key)]

    def _event(self, key: Key, count: TextCount) -> TokenCount:
        counter, (index, channel, tool_index) = self._counter(), key
        return TokenCount(count.tokens, channel, index, counter.name, counter.exact, tool_index)

    def _is_exact(self) -> bool:
        return self._used is None or self._used.exact

    def _has_reasoning(self) -> bool:
        return any(channel == "reasoning" for _, channel, _ in self._counts)

    def _cost(self, rows: list[ResponseUsage], ended: bool) -> dict[str, Any]:
        table = self._price_table()
        if table is None:
            return {}
        costs = [None if row.billed is None else table.cost(row.billed, row.response.model, self.model) for row in rows]
        # Computed per response, because higher prices for long prompts apply to each response separately.
        return {"cost": _all_or_least(ended)(*costs), "currency": table.currency}


def _all_or_least(ended: bool) -> Callable[..., Any]:
    # For an incomplete answer the known parts are a lower bound; for a complete one a missing part makes the sum unknown.
    return summed if ended else added


def _key(entry: tuple[Key, TextCount]) -> Key:
    return entry[0]
