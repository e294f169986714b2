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
    with pytest.raises(
        PipelineError, match=r"a mapping, a name or the path of a \.toml or \.json file; found an object of type int"
    ):
        Count("m", counter="characters", prices=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": {}}, "expected a currency such as 'USD', found none"),
        ({"currency": 1, "models": {}}, "expected a currency such as 'USD', found 1"),
        ({"currency": "USD"}, "expected models, a table of prices for each pattern of model names, found none"),
        ({"currency": "USD", "models": {}, "a": {}}, "expected currency and models, found 'a'"),
        ({"currency": "USD", "models": {"a": 1}}, "model 'a': expected a table of prices, found 1"),
        ({"currency": "USD", "models": {"a": {"input": 1}}}, "model 'a': expected output, found prices without it"),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "ouput": 1}}},
            "model 'a': expected a key of cached_input, .*, input, output, tiers; found 'ouput'",
        ),
        *(
            (
                {"currency": "USD", "models": {"a": {"input": wrong, "output": 1}}},
                f"model 'a': expected input as an amount of 0 or more, found {found}",
            )
            for wrong, found in (("x", "'x'"), (-1, "-1"), ("nan", "'nan'"), (True, "True"), (None, "none"))
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "cache_write": -1}}},
            "expected cache_write as an amount of 0 or more, found -1",
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": 5}}},
            "model 'a': expected tiers as a list of tables, found 5",
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 5, "input": -1}]}}},
            "expected input as an amount of 0 or more, found -1",
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"input": 1}]}}},
            "model 'a': expected above, found a tier without it",
        ),
        ({"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 1, "x": 1}]}}}, "found 'x'"),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": 1}, {"above": 1}]}}},
            "expected tiers above different numbers of tokens, found 1 twice",
        ),
        (
            {"currency": "USD", "models": {"a": {"input": 1, "output": 1, "tiers": [{"above": -1}]}}},
            "expected above as a number of tokens, 0 or more, found -1",
        ),
        (
            {"currency": "USD", "models": {"a": prices.Price(input=Decimal(1), output=Decimal(-1))}},
            "model 'a': expected output as an amount of 0 or more, found -1",
        ),
    ],
)
def test_a_wrong_table_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=f"^prices: .*{message}$"):
        Prices(wrong)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("currency =")

    with pytest.raises(PipelineError, match=r"^prices.toml: "):
        prices.from_file(tmp_path / "prices.toml")


def test_mistakes_in_a_toml_file_are_listed_with_file_line_and_model(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("""\
currency = "EUR"
model = 1

[models."gpt-4o*"]
inputs = 1
output = -10.5

[[models."gpt-4o*".tiers]]
above = 5
output = nan
[models]
"o3" = { input = 1 }
""")

    with pytest.raises(PipelineError) as caught:
        prices.from_file(tmp_path / "prices.toml")

    fields = ", ".join(field for field in prices.Price.__struct_fields__)
    assert str(caught.value).splitlines() == [
        "prices.toml, line 2: expected currency and models, found 'model'",
        "prices.toml, line 4: model 'gpt-4o*': expected input, found prices without it",
        f"prices.toml, line 5: model 'gpt-4o*': expected a key of {fields}; found 'inputs'",
        "prices.toml, line 6: model 'gpt-4o*': expected output as an amount of 0 or more, found -10.5",
        "prices.toml, line 10: model 'gpt-4o*': expected output as an amount of 0 or more, found NaN",
        "prices.toml, line 12: model 'o3': expected output, found prices without it",
    ]


JSON = """{
  "currency": "USD",
  "models": {
    "gpt-4o*": {"input": 2.50, "output": 10,
      "tiers": [
        {"above": 5,
         "input": %s}]}
  }
}"""


def test_a_json_file_has_exact_prices(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(JSON % "0.1")

    table = prices.from_file(tmp_path / "prices.json")

    assert table.cost(BilledTokens(1, 1), "gpt-4o") == Decimal("0.0000125")
    assert table.cost(BilledTokens(10, 0), "gpt-4o") == Decimal("0.000001")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JSON % "NaN", "line 7: model 'gpt-4o*': expected input as an amount of 0 or more, found NaN"),
        (
            JSON % "{}",
            "line 7: model 'gpt-4o*': expected input as an amount of 0 or more, found an object of type dict",
        ),
        ("[]", "line 1: expected currency and models, found an object of type list"),
    ],
)
def test_mistakes_in_a_json_file_are_reported_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "prices.json").write_text(text)

    with pytest.raises(PipelineError) as caught:
        prices.from_file(tmp_path / "prices.json")

    assert str(caught.value) == f"prices.json, {message}"


def test_a_missing_price_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"nowhere\.toml can't be read: No such file or directory$"):
        prices.from_file(tmp_path / "nowhere.toml")


FILES = {
    "prices.toml": 'currency = "USD"\n[models."m*"]\ninput = 1\noutput = 2.5\n',
    "prices.json": '{"currency": "USD", "models": {"m*": {"input": 1, "output": 2.5}}}',
    "PRICES.TOML": 'currency = "USD"\n[models."m*"]\ninput = 1\noutput = 2.5\n',
    "prices": 'currency = "USD"\n[models."m*"]\ninput = 1\noutput = 2.5\n',
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("prices.toml", str), ("prices.json", str), ("PRICES.TOML", str), ("prices.toml", Path), ("prices", Path)],
)
def test_the_path_of_a_file_is_accepted_like_a_table(name: str, kind: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])
    path, table = kind(tmp_path / name), prices.from_file(tmp_path / name)

    assert find_prices(path) == table
    assert Count("m-1", counter="characters", prices=path).prices == table
    assert Budget(cost=1, model="m-1", counter="characters", prompt=0, prices=path).prices == table


@pytest.mark.parametrize("make", [find_prices, lambda given: Count("m", counter="characters", prices=given)])
def test_what_is_neither_a_table_nor_a_file_is_refused(make: Any, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('currency = "USD"\nmodels = 1\n')
    for wrong, message in (
        (str(tmp_path / "nowhere.toml"), r"nowhere\.toml can't be read: No such file or directory$"),
        (tmp_path, "can't be read: Is a directory$"),
        (str(tmp_path / "prices.toml"), "^prices.toml, line 2: expected models, a table of prices"),
        ("prices", r"expected one of the prices .* or the path of a \.toml or \.json file; found 'prices'"),
        (b"prices.toml", "a name or the path of a .*; found an object of type bytes"),
    ):
        with pytest.raises(PipelineError, match=message):
            make(wrong)


def test_the_repr_of_a_table_has_its_currency_and_its_first_models() -> None:
    price = {"input": 1, "output": 2}

    assert repr(Prices({"currency": "USD", "models": {"a*": price}})) == "<Prices in USD of 'a*'>"
    assert (
        repr(Prices({"currency": "EUR", "models": dict.fromkeys("abcd", price)}))
        == "<Prices in EUR of 'a', 'b', 'c', …>"
    )
    assert repr(Prices({"currency": "", "models": {}})) == "<Prices in no currency of no models>"
