"""Prices: a table of the user's own."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamkit import PipelineError, Prices, prices

TOML = """
currency = "USD"

[models."gpt-4o-mini*"]
input = 0.15
cached_input = 0.075
output = 0.60

[models."gpt-4o*"]
input = 2.50
output = 10
"""


@pytest.fixture
def table(tmp_path: Path) -> Prices:
    (tmp_path / "prices.toml").write_text(TOML)
    return prices.from_file(tmp_path / "prices.toml")


@pytest.mark.parametrize(
    ("names", "output"),
    [
        (("gpt-4o-mini-2024-07-18",), Decimal("0.60")),
        (("gpt-4o-2024-08-06",), Decimal(10)),
        ((None, "unheard-of", "gpt-4o"), Decimal(10)),
    ],
)
def test_the_first_pattern_that_fits_is_taken(table: Prices, names: tuple[str | None, ...], output: Decimal) -> None:
    price = table.of(*names)

    assert price is not None
    assert (price.output, table.currency) == (output, "USD")


def test_a_model_that_is_not_in_the_table_has_no_price(table: Prices) -> None:
    assert table.of(None, "claude-x") is None


@pytest.mark.parametrize(
    ("prompt", "completion", "parts", "cost"),
    [
        (1_000_000, 0, {}, "0.15"),
        (1_000_000, 0, {"cached": 1_000_000}, "0.075"),
        (36, 301, {}, "0.000186"),
        (36, 301, {"reasoning": 301}, "0.000186"),
    ],
    ids=["input", "cached", "both", "reasoning costs as output where nothing is said"],
)
def test_money_is_exact(table: Prices, prompt: int, completion: int, parts: dict[str, int], cost: str) -> None:
    price = table.of("gpt-4o-mini")

    assert price is not None
    assert price.cost(prompt, completion, **parts) == Decimal(cost)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": {}}, "missing required field `currency`"),
        ({"currency": "USD", "models": {"a": {"input": 1}}}, "missing required field `output`"),
        ({"currency": "USD", "models": {"a": {"input": 1, "output": 1, "ouput": 1}}}, "unknown field `ouput`"),
        ({"currency": "USD", "models": {"a": {"input": "x", "output": 1}}}, "decimal"),
        ({"currency": "USD", "models": {"a": {"input": -1, "output": 1}}}, "'a': expected amounts of 0 or more"),
        ({"currency": "USD", "models": {"a": {"input": "nan", "output": 1}}}, "'a': expected amounts of 0 or more"),
        ({"currency": "USD", "models": {"a": {"input": True, "output": 1}}}, "bool"),
    ],
)
def test_a_wrong_table_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Prices(wrong)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("currency =")

    with pytest.raises(PipelineError, match=r"^prices.toml: "):
        prices.from_file(tmp_path / "prices.toml")
