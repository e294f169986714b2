"""Two ways to search phrases: pyahocorasick's automaton, and tables for phrases of which a beginning would be searched again."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamkit import Rule
from streamkit.moderation.match import phrases
from streamkit.moderation.match.phrases import LongPhrases, Phrases, sought
from streamkit.moderation.match.scanner import plans
from tests.moderation.oracle import decisions, readable
from tests.moderation.reading import Piece, Reading, read


def kinds(*found: str, **options: Any) -> list[type]:
    return [type(make()) for make, _ in sought((Rule("x", found, **options),), allows=False)]


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("heron", Phrases),
        ("ha ha", Phrases),
        ("a" * 8, Phrases),
        ("a" * 9, Phrases),
        ("a" * 10, LongPhrases),
        ("ha " * 40, LongPhrases),
        ("a" * 800 + "b", LongPhrases),
        ("the quick brown fox " + "jumps " * 3, Phrases),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 256))), Phrases),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 257))), LongPhrases),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else value.__name__,
)
def test_a_long_or_a_periodic_phrase_is_searched_by_tables(phrase: str, kind: type) -> None:
    assert kinds(phrase) == [kind]


def test_phrases_of_both_kinds_are_searched_by_both() -> None:
    assert set(kinds("heron", "a" * 20)) == {Phrases, LongPhrases}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All phrases are searched by tables."""
    monkeypatch.setattr(phrases, "_is_long", lambda phrase: True)
    plans.cache_clear()
    yield
    plans.cache_clear()


OPTIONS = st.fixed_dictionaries(
    {
        "ignore_case": st.booleans(),
        "action": st.sampled_from(["redact", "annotate", "block"]),
    },
    optional={
        "normalize": st.lists(st.sampled_from(["case", "nfkc", "accents", "zero_width"]), unique=True).map(tuple),
    },
)
TEXTS = st.lists(st.text("abAeé\u0301\u200bﬀf ", max_size=6), max_size=6)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=TEXTS,
    some=st.lists(st.text("abeéf", min_size=1, max_size=4), min_size=1, max_size=3),
    options=OPTIONS,
    at=st.integers(0, 6),
)
def test_tables_find_what_the_oracle_finds(
    tables: None, texts: list[str], some: list[str], options: dict[str, Any], at: int
) -> None:
    rules = [Rule("x", tuple(some), replacement="*", **options)]
    expected = decisions(rules, "".join(texts))

    found = fed(lambda: Reading(rules), texts, at)

    assert read(found) == readable("".join(texts), expected)
    # Of matches that overlap the first is reported when it is decided, and then what the others add.
    assert covered([piece[1:3] for piece in found if piece.rule]) == covered([decision[:2] for decision in expected])


def covered(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {place for start, end in spans for place in range(start, end)}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, some=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), at=st.integers(0, 6))
def test_tables_find_whole_words(tables: None, texts: list[str], some: list[str], at: int) -> None:
    rules = [Rule("x", tuple(some), replacement="*", whole_words=True)]

    found = fed(lambda: Reading(rules), texts, at)

    assert read(found) == readable("".join(texts), decisions(rules, "".join(texts)))


def fed(begin: Callable[[], Reading], texts: list[str], at: int) -> list[Piece]:
    """The text released; before text number `at` another run resumes from the state."""
    reading, found = begin(), list[Piece]()
    for number, text in enumerate(texts):
        if number == at:
            state = json.loads(json.dumps(reading.state()))
            reading = begin()
            reading.restore(state)
        found += reading.feed(text)
    return [*found, *reading.feed("", final=True)]
