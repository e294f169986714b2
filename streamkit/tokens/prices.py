"""What tokens cost. Prices are the user's data: they change, and no table here pretends to know them."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from streamkit.errors import PipelineError

_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost. Cached input and reasoning cost as much as other input and output where nothing is said."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    reasoning: Decimal | None = None

    def cost(self, prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> Decimal:
        """The cost. `cached` tokens are part of `prompt`, `reasoning` tokens part of `completion`."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        thinking = self.output if self.reasoning is None else self.reasoning
        return (
            self.input * (prompt - cached)
            + cached_input * cached
            + self.output * (completion - reasoning)
            + thinking * reasoning
        ) / _MILLION


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    models: dict[str, Price]


class Prices:
    """A price table: `{"currency": "USD", "models": {"gpt-4o*": {"input": 2.5, "output": 10}}}`, per million tokens.

    The first pattern (of the shell's kind: `*`, `?`) that a model's name fits is taken. What is wrong in the table raises
    `PipelineError`.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        try:
            # Money in binary fractions does not add up, so that 2.5 is read as "2.5".
            read = msgspec.convert(_exact(table), _Table, strict=False)
        except msgspec.ValidationError as error:
            raise PipelineError(f"prices: {error}") from error
        self.currency, self.models = read.currency, read.models
        for pattern, price in self.models.items():
            given = [price.input, price.output, price.cached_input or 0, price.reasoning or 0]
            if not all(Decimal(value).is_finite() and value >= 0 for value in given):
                raise PipelineError(f"prices: {pattern!r}: expected amounts of 0 or more, found {given}")

    def of(self, *names: str | None) -> Price | None:
        """The price of the first of these names that has one; `None` where none does."""
        for name in names:
            for pattern, price in self.models.items():
                if name is not None and fnmatchcase(name, pattern):
                    return price
        return None


def from_file(path: str | PathLike[str]) -> Prices:
    """Prices from a TOML file: `currency`, and a table `[models."gpt-4o*"]` for each pattern."""
    try:
        return Prices(tomllib.loads(Path(path).read_text(encoding="utf-8"), parse_float=str))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PipelineError(f"{Path(path).name}: {error}") from error


def as_prices(prices: "Prices | Mapping[str, Any]") -> Prices:
    """The table, or one made of it."""
    return prices if isinstance(prices, Prices) else Prices(prices)


def _exact(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _exact(entry) for name, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case float() | int() if not isinstance(value, bool):
            return str(value)
        case _:
            return value
