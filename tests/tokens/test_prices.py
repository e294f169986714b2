"""Prices: a table of the user's own."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import Budget, Count, PipelineError, StreamEnd, Usage, UsageReport, plugins
from streamkit.errors import PluginError
from streamkit.tokens import BilledTokens, Prices, PriceTable, find_prices, prices

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


CACHED = {
    "input": 3,
    "output": 15,
    "cached_input": 0.30,
    "cache_write": 3.75,
    "cache_write_1h": 6,
    "reasoning": 20,
    "input_audio": 40,
    "cached_audio": 2.5,
    "output_audio": 80,
    "output_image": 30,
    "web_search": "0.01",
}
NOTHING_SAID = {"input": 3, "output": 15}
LONG = {**CACHED, "tiers": [{"above": 200_000, "input": 6, "output": 22.5, "cached_input": 0.60, "cache_write": 7.5}]}
MILLION = 1_000_000


def price_of(**price: Any) -> prices.Price:
    found = Prices({"currency": "USD", "models": {"m": price}}).of("m")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("price", "prompt", "completion", "parts", "cost"),
    [
        (CACHED, 150_010, 1_000, {"cached": 50_000, "cache_write": 100_000}, "0.40503"),
        (CACHED, 150_010, 1_000, {"cached": 50_000, "cache_write": 100_000, "cache_write_1h": 40_000}, "0.49503"),
        (NOTHING_SAID, 150_010, 1_000, {"cached": 50_000, "cache_write": 100_000}, "0.46503"),
        (
            {"input": 3, "output": 15, "cached_input": "0.30"},
            150_010,
            1_000,
            {"cached": 50_000, "cache_write": 100_000},
            "0.33003",
        ),
        (
            {"input": 3, "output": 15, "cache_write": "3.75"},
            100,
            0,
            {"cache_write": 100, "cache_write_1h": 100},
            "0.000375",
        ),
        (CACHED, 0, MILLION, {"reasoning": MILLION}, "20"),
        (CACHED, MILLION, MILLION, {"input_audio": MILLION, "output_audio": MILLION}, "120"),
        (CACHED, MILLION, 0, {"input_audio": MILLION, "cached": MILLION, "cached_audio": MILLION}, "2.5"),
        (
            {"input": 3, "output": 15, "cached_input": 1},
            10,
            0,
            {"input_audio": 10, "cached": 4, "cached_audio": 4},
            "0.000022",
        ),
        (CACHED, 0, MILLION, {"output_image": MILLION}, "30"),
        (CACHED, 0, 0, {"web_searches": 3}, "0.03"),
        (LONG, 200_000, 1_000, {}, "0.615"),
        (LONG, 200_001, 1_000, {}, "1.222506"),
        (LONG, 200_010, 1_000, {"cached": 100_000, "cache_write": 100_000}, "0.83256"),
        (LONG, 200_010, 0, {"cache_write": 100_000, "cache_write_1h": 100_000}, "1.20006"),
        ({"input": 3, "output": 15, "tiers": [{"above": 10, "input": 6}]}, 11, 1, {"cached": 11}, "0.000081"),
        (
            {"input": 1, "output": 1, "tiers": [{"above": 20, "input": 3}, {"above": 10, "input": 2}]},
            15,
            0,
            {},
            "0.00003",
        ),
        (
            {"input": 1, "output": 1, "tiers": [{"above": 20, "input": 3}, {"above": 10, "output": 2}]},
            21,
            1,
            {},
            "0.000065",
        ),
    ],
    ids=[
        "the issue's",
        "some of it for an hour",
        "nothing said of the cache",
        "nothing said of writes",
        "nothing said of an hour",
        "reasoning",
        "audio",
        "cached audio",
        "nothing said of audio",
        "images",
        "searches",
        "up to a tier",
        "above a tier, all of it",
        "what a cache did is part of the prompt that is long",
        "what a tier does not say",
        "cached input as the tier's input",
        "tiers in any order",
        "higher tiers on top of lower ones",
    ],
)
def test_each_part_has_its_price(
    price: dict[str, Any], prompt: int, completion: int, parts: dict[str, int], cost: str
) -> None:
    assert price_of(**price).cost(prompt, completion, **parts) == Decimal(cost)


AMOUNTS = st.decimals(0, 1000, places=6, allow_nan=False)
TOKENS = st.integers(0, 10**12)


@given(amounts=st.lists(AMOUNTS, min_size=5, max_size=5), tokens=st.lists(TOKENS, min_size=5, max_size=5))
def test_money_is_exact_in_any_decimal_context(amounts: list[Decimal], tokens: list[int]) -> None:
    names = ("input", "output", "cached_input", "cache_write", "cache_write_1h")
    price = price_of(**dict(zip(names, map(str, amounts), strict=True)))
    plain, output, cached, minutes, hour = tokens

    with localcontext(Context(prec=2)):
        cost = price.cost(
            plain + cached + minutes + hour, output, cached=cached, cache_write=minutes + hour, cache_write_1h=hour
        )

    assert Fraction(cost) == sum(Fraction(a) * n for a, n in zip(amounts, tokens, strict=True)) / MILLION


def test_a_table_is_a_price_table_and_gives_the_cost_by_the_first_name_that_has_one(table: Prices) -> None:
    tokens = BilledTokens(1_000_000, 0, cached=1_000_000)

    assert isinstance(table, PriceTable)
    assert table.cost(tokens, None, "unheard-of", "gpt-4o-mini", "gpt-4o") == Decimal("0.075")
    assert table.cost(tokens, "unheard-of") is None


class Flat:
    """A table of somebody's own: a dollar for each response."""

    currency = "USD"

    def cost(self, tokens: BilledTokens, *models: str | None) -> Decimal | None:
        return Decimal(1) if "m" in models else None


def test_a_table_of_ones_own_will_do() -> None:
    usage = [Usage(1, 2, 3), StreamEnd("completed")]

    reports = list(Count("m", counter="characters", prices=Flat()).run(usage))

    assert [(e.cost, e.currency) for e in reports if isinstance(e, UsageReport)] == [(Decimal(1), "USD")]
    with pytest.raises(PipelineError, match="expected a price for model 'x'"):
        Budget(cost=1, model="x", counter="characters", prompt=0, prices=Flat())


def test_an_installed_packages_prices_are_found_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: {"flat": Flat, "odd": dict}.get(name))

    assert isinstance(find_prices("flat"), Flat)
    with pytest.raises(PipelineError, match=r"expected one of the prices .*genai.*; found 'nobody'"):
        find_prices("nobody")
    with pytest.raises(PluginError, match="expected 'odd' to make a price table, found a dict"):
        find_prices("odd")
    with pytest.raises(PipelineError, match="expected a price table, a mapping or a name; found an object of type int"):
        Count("m", counter="characters", prices=3)  # type: ignore[arg-type]


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
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "cache_write": -1}}},
            "expected amounts of 0 or more",
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 5, "input": -1}]}}},
            "0 or more",
        ),
        ({"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"input": 1}]}}}, "`above`"),
        ({"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 1, "x": 1}]}}}, "field `x`"),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 1}, {"above": 1}]}}},
            r"expected tiers above different numbers of tokens, found \[1, 1\]",
        ),
        ({"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": -1}]}}}, r"found \[-1\]"),
    ],
)
def test_a_wrong_table_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Prices(wrong)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("currency =")

    with pytest.raises(PipelineError, match=r"^prices.toml: "):
        prices.from_file(tmp_path / "prices.toml")
