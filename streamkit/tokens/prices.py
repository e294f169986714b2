"""Token prices. The user supplies them: prices change, so no table is included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from fnmatch import fnmatchcase
from itertools import islice
from os import PathLike
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import msgspec

from streamkit import plugins
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins.config_files import A_FILE, NameOrFile, as_path, is_file
from streamkit.plugins.documents import Document
from streamkit.plugins.entry_points import check_name, unknown
from streamkit.plugins.toml_lines import Path as Place
from streamkit.tokens.usage import EXACT

_MILLION = 1_000_000


class BilledTokens(msgspec.Struct, frozen=True):
    """The tokens of one response, as a price table needs them.

    `prompt` includes `cached`, `cache_write` and `input_audio`. `cache_write` includes `cache_write_1h`, the tokens cached for an
    hour instead of five minutes. `cached_audio` is part of both `cached` and `input_audio`. `completion` includes `reasoning`,
    `output_audio` and `output_image`. `service_tier` is the tier in which the response was processed, if the provider reports it.
    """

    prompt: int
    completion: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    input_audio: int = 0
    cached_audio: int = 0
    output_audio: int = 0
    output_image: int = 0
    web_searches: int = 0
    """Calls of the provider's web search."""
    service_tier: str | None = None


@runtime_checkable
class PriceTable(Protocol):
    """Protocol of a price table: `Prices`, or a class of another package."""

    @property
    def currency(self) -> str:
        """The currency of all costs, such as USD."""
        raise NotImplementedError

    def cost(self, tokens: BilledTokens, *models: str | None) -> Decimal | None:
        """The cost at the price of the first of these models that has one; `None` if none has."""
        raise NotImplementedError


class _Amounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    # `None` means that the amount is not given.
    cached_input: Decimal | None = None
    """Input tokens served by a cache."""
    cache_write: Decimal | None = None
    """Input tokens stored in a cache."""
    cache_write_1h: Decimal | None = None
    """Input tokens stored in a cache for an hour."""
    reasoning: Decimal | None = None
    """Reasoning tokens in the answer."""
    input_audio: Decimal | None = None
    """Audio tokens in the prompt."""
    cached_audio: Decimal | None = None
    """Audio tokens in the prompt served by a cache."""
    output_audio: Decimal | None = None
    """Audio tokens in the answer."""
    output_image: Decimal | None = None
    """Image tokens in the answer."""
    web_search: Decimal | None = None
    """One call of the provider's web search."""


class Tier(_Amounts, frozen=True, kw_only=True):
    """Prices that replace the others for a response whose prompt has more than `above` tokens."""

    above: int
    input: Decimal | None = None
    """Input, per million tokens."""
    output: Decimal | None = None
    """Output, per million tokens."""


class Price(_Amounts, frozen=True, kw_only=True):
    """Prices per million tokens, and per `web_search`.

    Defaults: cached input, cache writes and input audio cost as much as other input, one-hour cache writes as much as other cache
    writes, cached audio as much as other cached input; reasoning, output audio and images cost as much as other output; a web
    search costs nothing.

    `tiers` are prices for long prompts: all tokens of a response have the prices of the highest tier whose `above` is less than
    the number of prompt tokens, including those that a cache served and stored. A price that a tier omits is that of the next
    lower tier.
    """

    input: Decimal
    """Input, per million tokens."""
    output: Decimal
    """Output, per million tokens."""
    tiers: tuple[Tier, ...] = ()

    def cost(
        self,
        prompt: int,
        completion: int,
        *,
        cached: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        reasoning: int = 0,
        input_audio: int = 0,
        cached_audio: int = 0,
        output_audio: int = 0,
        output_image: int = 0,
        web_searches: int = 0,
    ) -> Decimal:
        """The exact cost. `prompt` and `completion` include the other counts as in `BilledTokens`."""
        prices = self._of(prompt)
        with localcontext(EXACT):
            tokens = (
                prices["input"] * (prompt - cached - cache_write - (input_audio - cached_audio))
                + prices["cached_input"] * (cached - cached_audio)
                + prices["cache_write"] * (cache_write - cache_write_1h)
                + prices["cache_write_1h"] * cache_write_1h
                + prices["input_audio"] * (input_audio - cached_audio)
                + prices["cached_audio"] * cached_audio
                + prices["output"] * (completion - reasoning - output_audio - output_image)
                + prices["reasoning"] * reasoning
                + prices["output_audio"] * output_audio
                + prices["output_image"] * output_image
            )
            return tokens / _MILLION + prices["web_search"] * web_searches

    def _of(self, prompt: int) -> dict[str, Decimal]:
        known = _given(self)
        for tier in sorted(self.tiers, key=lambda tier: tier.above):
            if prompt > tier.above:
                known |= _given(tier)
        for name, other in _AS.items():
            known.setdefault(name, known[other])
        return {"web_search": Decimal(0), **known}


_AS = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "cached_audio": "cached_input",
    "reasoning": "output",
    "output_audio": "output",
    "output_image": "output",
}
"""The default of each optional price: the name of another price."""


def _given(amounts: _Amounts) -> dict[str, Decimal]:
    found = {name: getattr(amounts, name) for name in ("input", "output", *_Amounts.__struct_fields__)}
    return {name: amount for name, amount in found.items() if amount is not None}


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    models: dict[str, Price]


@dataclass(init=False, repr=False)
class Prices:
    """A price table: `{"currency": "USD", "models": {"gpt-4o*": {"input": 2.5, "output": 10}}}`, per million tokens.

    The first pattern (shell wildcards: `*`, `?`) that matches a model's name is used. The fields of a price are those of `Price`.
    Raises `PipelineError` for an invalid table.
    """

    currency: str
    models: dict[str, Price]

    def __init__(self, table: Mapping[str, Any]) -> None:
        if mistake := next(_mistakes(table), None):
            raise PipelineError(f"prices: {mistake[0]}")
        try:
            # Binary fractions are not exact for money, so 2.5 is read as "2.5".
            read = msgspec.convert(_exact(table), _Table, strict=False)
        except msgspec.ValidationError as error:
            raise PipelineError(f"prices: {error}") from error
        self.currency, self.models = read.currency, read.models

    def __repr__(self) -> str:
        # A table may have thousands of models.
        listed = ", ".join(map(repr, islice(self.models, 3))) + (", …" if len(self.models) > 3 else "")
        return f"<Prices in {self.currency or 'no currency'} of {listed or 'no models'}>"

    def of(self, *names: str | None) -> Price | None:
        """The price of the first of these models that has one; `None` if none has."""
        for name in names:
            for pattern, price in self.models.items():
                if name is not None and fnmatchcase(name, pattern):
                    return price
        return None

    def cost(self, tokens: BilledTokens, *models: str | None) -> Decimal | None:
        """The cost at the price of the first of these models that has one; `None` if none has."""
        price = self.of(*models)
        parts = msgspec.structs.asdict(tokens)
        del parts["service_tier"]
        return None if price is None else price.cost(**parts)


PricesLike: TypeAlias = PriceTable | Mapping[str, Any] | NameOrFile
"""A table, a mapping that `Prices` accepts, the name of an installed table, or the path of a price file."""


def from_file(path: str | PathLike[str]) -> Prices:
    """Read prices from a file: `currency`, and a table `[models."gpt-4o*"]` for each pattern, in TOML, or in JSON (`.json`).

    Mistakes in it raise one `PipelineError` that lists each with its line.
    """
    document = Document(as_path(path), "prices", or_json=True, parse_float=Decimal)
    for message, place in _mistakes(document.data):
        document.wrong(message, *place)
    document.check()
    return Prices(document.data)


def find_prices(prices: PricesLike) -> PriceTable:
    """Resolve a price table: an object, a mapping that `Prices` accepts, the name of an installed table, or the path of a file.

    Text that ends with `.toml` or `.json` is a path, other text is a name. A package registers a table under a name in the
    entry-point group `streamkit.prices`, as a function without arguments (for example a class) that returns a `PriceTable`.
    """
    if isinstance(prices, str | PathLike):
        return from_file(prices) if is_file(prices) else _named(str(prices))
    if isinstance(prices, Mapping):
        return Prices(prices)
    if isinstance(prices, PriceTable):
        return prices
    raise PipelineError(f"expected a price table, a mapping, a name or {A_FILE}; found {kind_of(prices)}")


def check_prices(prices: PricesLike) -> PricesLike:
    """Resolve a price table like `find_prices`, but only check a name: its package is imported when the first run starts."""
    if not isinstance(prices, str) or is_file(prices):
        return find_prices(prices)
    check_name("prices", prices, also=A_FILE)
    return prices


def _named(name: str) -> PriceTable:
    make = plugins.find("prices", name)
    if make is None:
        raise PipelineError(unknown("prices", name, also=A_FILE))
    made = make()
    if not isinstance(made, PriceTable):
        raise PluginError(f"streamkit.prices: expected {name!r} to make a price table, found a {type(made).__name__}")
    return made


def _mistakes(table: object) -> Iterator[tuple[str, Place]]:
    """The mistakes in a table of prices, with the path of each."""
    if not isinstance(table, Mapping):
        yield f"expected currency and models, found {kind_of(table)}", ()
        return
    given = cast("Mapping[object, object]", table)
    for key in given:
        if key not in _Table.__struct_fields__:
            yield f"expected currency and models, found {shown(key)}", (str(key),)
    if not isinstance(currency := given.get("currency"), str):
        yield f"expected a currency such as 'USD', found {_found(currency)}", ("currency",)
    if not isinstance(models := given.get("models"), Mapping):
        yield f"expected models, a table of prices for each pattern of model names, found {_found(models)}", ("models",)
        return
    for pattern, price in cast("Mapping[object, object]", models).items():
        for message, place in _wrong_prices(price, Price):
            yield f"model {shown(pattern)}: {message}", ("models", str(pattern), *place)


def _wrong_prices(prices: object, kind: type[Price] | type[Tier]) -> Iterator[tuple[str, Place]]:
    given = msgspec.structs.asdict(prices) if isinstance(prices, kind) else prices
    if not isinstance(given, Mapping):
        yield f"expected a table of prices, found {_found(given)}", ()
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in cast("Mapping[str, object]", given).items():
        if key not in fields:
            yield f"expected a key of {', '.join(fields)}; found {shown(key)}", (str(key),)
        elif key == "tiers":
            yield from _wrong_tiers(value)
        elif key == "above":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                yield f"expected above as a number of tokens, 0 or more, found {_found(value)}", (key,)
        elif not (_is_amount(value) or (value is None and not fields[key].required)):
            yield f"expected {key} as an amount of 0 or more, found {_found(value)}", (key,)
    for field in fields.values():
        if field.required and field.name not in given:
            yield f"expected {field.name}, found {'a tier' if kind is Tier else 'prices'} without it", ()


def _wrong_tiers(tiers: object) -> Iterator[tuple[str, Place]]:
    if not isinstance(tiers, list | tuple):
        yield f"expected tiers as a list of tables, found {_found(tiers)}", ("tiers",)
        return
    starts: list[object] = []
    for number, tier in enumerate(cast("list[object]", tiers)):
        for message, place in _wrong_prices(tier, Tier):
            yield message, ("tiers", number, *place)
        above = cast("Any", tier).get("above") if isinstance(tier, Mapping) else getattr(tier, "above", None)
        if above is not None and above in starts:
            yield f"expected tiers above different numbers of tokens, found {_found(above)} twice", ("tiers", number)
        starts.append(above)


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return False
    try:
        amount = Decimal(str(value))
    # Also for an integer of more than 4,300 digits.
    except (InvalidOperation, ValueError):
        return False
    return amount.is_finite() and amount >= 0


def _found(value: object) -> str:
    return "none" if value is None else str(value) if isinstance(value, Decimal) else shown(value)


def _exact(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _exact(entry) for name, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple():
            return [_exact(entry) for entry in cast("list[Any]", value)]
        case float() | int() if not isinstance(value, bool):
            return str(value)
        case _:
            return value
