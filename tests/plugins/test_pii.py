"""streamkit-pii: what is personal is found, what is not stays, and nothing of it leaves for any cut."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from importlib.metadata import distribution
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_pii import COUNTRIES, KINDS, NationalIds, Numbers, Phones, redact, rules
from streamkit_pii.numbers import EVERYWHERE, NATIONAL, Number
from streamkit_pii.searches import WINDOW

import streamkit as sk
from streamkit import plugins
from streamkit.testing import check_stage, strategies

# Examples of the documentation of python-stdnum and phonenumbers, and the networks' test numbers; none is anybody's.
EVERYWHERE_FOUND = [
    ("4111 1111 1111 1111", "[card]"),
    ("378282246310005", "[card]"),
    ("5555-5555-5555-4444", "[card]"),
    ("30569309025904", "[card]"),
    ("DE89 3704 0044 0532 0130 00", "[iban]"),
    ("GR1601101050000010547023795", "[iban]"),
    ("gb82 west 1234 5698 7654 32", "[iban]"),
    ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "[iban]"),
    ("+1 650-253-0000", "[phone]"),
    ("+44 (0)20 8366 1177", "[phone]"),
    ("+49 30 901820", "[phone]"),
    ("somebody@example.org", "[email]"),
]
IDS = {
    "AT": ["1237 010180"],
    "AU": ["123 456 782"],
    "BE": ["85.07.30-033 28"],
    "BR": ["390.533.447-05", "39053344705"],
    "CA": ["123-456-782"],
    "CH": ["756.9217.0769.85"],
    "DE": ["36 574 261 809", "36574261809"],
    "DK": ["211062-5629"],
    "ES": ["54362315-K", "54362315K", "X-2482300W"],
    "FI": ["131052-308T"],
    "FR": ["2 95 10 99 126 111 93", "295109912611193"],
    "GB": ["943 476 5870"],
    "IE": ["6433435F"],
    "IN": ["2341 2341 2346", "ACUPA7085R"],
    "IT": ["RCCMNL83S18D969H"],
    "KR": ["971013-9019902"],
    "MX": ["BOXW310820HNERXN09"],
    "NL": ["1112.22.333"],
    "NO": ["151086 95088"],
    "PL": ["44051401359"],
    "PT": ["501 964 843"],
    "SE": ["880320-0016"],
    "US": ["536-90-4399", "912-90-3456"],
    "ZA": ["750330 5044 089"],
}
ALL = [(number, f"[{country} id]", country) for country, numbers in IDS.items() for number in numbers]
NUMBERS = [number for number, _ in EVERYWHERE_FOUND] + [number for number, _, _ in ALL]


def released(events: Sequence[sk.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, sk.TextDelta))


def said(text: str, *, countries: Sequence[str] = ()) -> str:
    return released(list(redact(countries=countries).run([sk.TextDelta(text)])))


# What is found


@pytest.mark.parametrize(("number", "mark"), EVERYWHERE_FOUND, ids=[number for number, _ in EVERYWHERE_FOUND])
def test_what_is_the_same_everywhere_leaves_as_a_mark(number: str, mark: str) -> None:
    assert said(f"It is {number}, she said.") == f"It is {mark}, she said."
    assert said(number) == mark


@pytest.mark.parametrize(("number", "mark", "country"), ALL, ids=[f"{country} {number}" for number, _, country in ALL])
def test_the_numbers_of_a_country_are_found_where_it_is_named(number: str, mark: str, country: str) -> None:
    kinds = [kind for kind in KINDS if kind != "phone"]
    stage = redact(countries=[country], kinds=kinds)

    assert released(list(stage.run([sk.TextDelta(f"It is {number}, she said.")]))) == f"It is {mark}, she said."
    assert said(f"It is {number}.") == f"It is {number}."


def test_every_country_has_an_example() -> None:
    assert set(IDS) == set(COUNTRIES)


@pytest.mark.parametrize(
    ("text", "countries", "expected"),
    [
        ("Call 650-253-0000.", ["US"], "Call [phone]."),
        ("Call 650-253-0000.", [], "Call 650-253-0000."),
        ("Rufen Sie 030 901820 an", ["de"], "Rufen Sie [phone] an"),
        ("Rufen Sie 030 901820 an", ["US"], "Rufen Sie 030 901820 an"),
        ("+16502530000+16502530000", [], "[phone][phone]"),
        ("(650) 253 0000 or 020 7946 0018", ["US", "GB"], "[phone] or [phone]"),
    ],
)
def test_a_phone_without_its_country_is_found_where_that_is_named(
    text: str, countries: list[str], expected: str
) -> None:
    assert said(text, countries=countries) == expected


@pytest.mark.parametrize(
    "number",
    [
        "\u0664111111111111111",
        "\uff14\uff11\uff11\uff11 1111 1111 1111",
        "4111\u00a01111\u202f1111\u20091111",
        "4111\u20111111\u20111111\u20101111",
        "41\u200b11 11\u200d11 1111 1111",
    ],
    ids=["another alphabet's digit", "wide digits", "spaces that hold", "hyphens that hold", "no width"],
)
def test_other_characters_between_and_for_the_digits_hide_nothing(number: str) -> None:
    assert said(f"card {number} ok") == "card [card] ok"


def test_what_follows_a_number_is_no_part_of_it() -> None:
    assert said("4111 1111 1111 1111 2026") == "[card] 2026"
    assert said("DE89370400440532013000 AB12") == "[iban] AB12"


# What is not


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # a digit wrong
        "GR17 0110 1050 0000 1054 7023 795",
        "978-3-16-148410-0 is a book",
        "on 2026-11-24 at 10:15:30, 24.11.2026, 11/24/2026",
        "192.168.10.20 and 2001:db8:85a3::8a2e:370:7334",
        "version 3.11.7, 1732442400 seconds, 1732442400123 ms",
        "550e8400-e29b-41d4-a716-446655440000",
        "3.14159265358979323846264338327950288",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "1,234,567,890.12 EUR, and 10000000000 of them",
        "x4111111111111111y",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert said(text) == text
    assert said(text, countries=["FR", "SE"]) == text


def test_a_number_without_a_checksum_is_one_only_as_it_is_written() -> None:
    assert said("536904399 and 536-90-4399", countries=["US"]) == "536904399 and [US id]"
    assert said("000-12-3456, 666-12-3456", countries=["US"]) == "000-12-3456, 666-12-3456"


@pytest.mark.parametrize(
    ("check", "digits", "at_most"),
    [
        (Numbers("card"), 16, 0.06),
        (NationalIds(("DE",)), 11, 0.03),
        (NationalIds(("FR",)), 15, 0.01),
        (NationalIds(("BE",)), 11, 0.01),
        (NationalIds(("NO",)), 11, 0.01),
        (NationalIds(("PL",)), 11, 0.03),
        (NationalIds(("NL",)), 9, 0.12),
    ],
    ids=["card", "DE", "FR", "BE", "NO", "PL", "NL"],
)
def test_of_digits_drawn_by_lot_few_are_one(check: Numbers | NationalIds, digits: int, at_most: float) -> None:
    random = Random(7)
    drawn = ["".join(random.choices("0123456789", k=digits)) for _ in range(2000)]

    assert sum(bool(list(check(text))) for text in drawn) <= at_most * len(drawn)


# Nothing leaks

FILLER = st.text("ab 12-+.()4é\u00a0\u200b", max_size=60)


@given(FILLER.map(lambda text: f"{text} "), st.sampled_from(NUMBERS), FILLER.map(lambda text: f", {text}"), st.data())
@settings(deadline=None)
def test_no_part_of_a_number_leaves_before_its_mark_for_any_cut(
    before: str, number: str, after: str, data: st.DataObject
) -> None:
    text = before + number + after
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    stage = redact(countries=COUNTRIES)
    whole = released(list(stage.run([sk.TextDelta(text)])))
    run, came = stage.fresh(), ""

    for piece in filter(None, pieces):
        came += released(list(run.feed(sk.TextDelta(piece))))
        # What has left is what leaves of the whole: no digit that a mark will stand for.
        assert whole.startswith(came)
    assert came + released(list(run.flush())) == whole
    assert number not in whole


@given(st.lists(st.one_of(FILLER, st.sampled_from(NUMBERS)), max_size=8).map(" ".join))
@settings(deadline=None)
def test_a_text_has_the_same_places_whole_and_in_windows(text: str) -> None:
    for check in (Numbers("card"), Numbers("iban"), NationalIds(COUNTRIES), Phones(("US", "DE"))):
        whole = sk.Rule("x", check=check)
        windowed = sk.Rule("x", check=check, window=WINDOW)

        found = [released(list(sk.Moderate(rule).run([sk.TextDelta(text)]))) for rule in (whole, windowed)]

        assert found[0] == found[1]
        assert all(0 < end - start <= WINDOW for start, end in check(text))


@pytest.mark.parametrize(
    "number",
    [*EVERYWHERE.values(), *(number for numbers in NATIONAL.values() for number in numbers)],
    ids=[*EVERYWHERE, *(f"{country} {place}" for country in NATIONAL for place in range(len(NATIONAL[country])))],
)
def test_whatever_has_the_shape_is_decided_and_raises_nothing(number: Number) -> None:
    @given(st.from_regex(re.compile(number.shape.pattern, re.ASCII), fullmatch=True))
    @settings(max_examples=60, deadline=None)
    def decided(candidate: str) -> None:
        assert len(candidate) < WINDOW
        assert number.accept(candidate) in (True, False)

    decided()


@given(strategies.texts())
@settings(deadline=None)
def test_hard_texts_without_numbers_stay(text: str) -> None:
    assert said(text, countries=["US"]) == text


# As a stage and as a package


def test_it_keeps_the_laws() -> None:
    check_stage(
        redact(countries=("US", "DE")),
        [
            sk.TextDelta("Call 650-25"),
            sk.TextDelta("3-0000, pay to DE89 3704 0044 "),
            sk.ReasoningDelta("card 4111 1111 "),
            sk.ReasoningDelta("1111 1111"),
            sk.TextDelta("0532 0130 00."),
            sk.Finish("stop"),
            sk.StreamEnd("completed", saw_done=True),
        ],
    )


def test_the_arguments_of_tools_stay_json() -> None:
    call = sk.ToolCallDelta(0, "call_1", "pay", '{"card": "4111 1111 1111 1111", "to": "x"}')

    *_, left = redact().run([call])

    assert isinstance(left, sk.ToolCallDelta)
    assert left.arguments == '{"card": "[card]", "to": "x"}'


def test_action_replacement_and_kinds_are_the_users() -> None:
    text = [sk.TextDelta("card 4111111111111111, mail a@example.org")]

    assert released(list(redact(kinds=["card"], replacement="*").run(text))) == "card *, mail a@example.org"
    assert sk.Blocked("card", 5, 21) in list(redact(action="block").run(text))
    assert [rule.category for rule in rules(countries=["nl", "LU"])] == ["card", "iban", "email", "phone", "NL id"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"countries": ["Germany"]}, "expected countries of ISO 3166, such as DE; found 'GERMANY'"),
        ({"kinds": ["name"]}, "expected kinds of card, iban, email, phone; found 'name'"),
        ({"countries": "DE"}, "expected countries as a list of strings, found a string"),
    ],
)
def test_a_wrong_name_is_told(options: dict[str, list[str]], problem: str) -> None:
    with pytest.raises(sk.PipelineError) as caught:
        redact(**options)
    assert str(caught.value) == problem


def test_it_is_found_by_name() -> None:
    made = plugins.find("stages", "pii")()
    names = [entry.name for entry in distribution("streamkit-pii").entry_points.select(group="streamkit.moderators")]
    named = [sk.Rule("x", check=name) for name in names]

    assert released(list(made.run([sk.TextDelta("4111111111111111")]))) == "[card]"
    assert names == ["pii-card", "pii-iban", "pii-national-id", "pii-phone"]
    text = "4111111111111111 DE89370400440532013000 +16502530000 536-90-4399"
    assert released(list(sk.Moderate(named).run([sk.TextDelta(text)]))) == " ".join(["[redacted]"] * 4)


def test_a_pickled_pipeline_has_the_same_rules() -> None:
    pipeline = sk.Parse() | sk.Extract() | redact(countries=("DE",))

    assert pickle.loads(pickle.dumps(pipeline)) == pipeline
