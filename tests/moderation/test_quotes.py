"""Quotes of withheld text, in whatever way they share it."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.moderation.match.phrases import borders
from streamkit.moderation.quotes import MOST_CHARACTERS, WithheldText, without_quotes


def withheld(*texts: str) -> WithheldText:
    found = WithheldText()
    for text in texts:
        found.add(text)
    return found


@pytest.mark.parametrize(
    ("quote", "quotes"),
    [
        ("blue heron 42", True),
        ("BLUE  Heron\n42", True),
        ("the blue heron 42 flies", True),
        ("heron", True),
        ("42 is the number of the blue he", True),
        ("42", True),
        ("a blue", True),
        ("n 42, and so on", True),
        ("42, and so on", False),
        ("a bl", False),
        ("grey", False),
        ("", False),
        (" \n", False),
    ],
)
def test_a_text_quotes_what_it_contains_is_in_or_continues(quote: str, quotes: bool) -> None:
    found = withheld("grebe", "blue heron 42")
    again = WithheldText()
    again.restore(json.loads(json.dumps(found.state())))

    assert found.quoted_in(quote) is quotes
    assert again.quoted_in(quote) is quotes


def test_when_more_was_withheld_than_is_kept_everything_counts_as_a_quote() -> None:
    found = withheld("a" * (MOST_CHARACTERS // 2), "b" * (MOST_CHARACTERS // 2))
    assert not found.quoted_in("heron")
    found.add("b" * (MOST_CHARACTERS // 2))
    assert not found.quoted_in("heron")
    found.add("c")
    assert found.quoted_in("heron")


def test_every_short_text_is_compared_as_naively() -> None:
    texts = ["".join(letters) for size in range(1, 6) for letters in product("ab", repeat=size)]
    for text in texts:
        found = withheld(text)
        for quote in texts:
            shared = (n for n in range(3, 6) if quote[:n] == text[-n:] or text[:n] == quote[-n:])
            assert found.quoted_in(quote) is (text in quote or quote in text or any(shared)), (text, quote)


@given(st.text("ab", min_size=1, max_size=12))
def test_borders(text: str) -> None:
    assert borders(text) == [
        max((n for n in range(end) if text[:end].endswith(text[:n])), default=0) for end in range(1, len(text) + 1)
    ]


def test_of_lists_only_the_items_are_removed_that_quote() -> None:
    found = withheld("blue heron")
    value = {"type": "blue heron", "a": [{"text": "grey"}, {"text": "blue heron"}], "b": {"c": ["heron", 7, None]}}

    assert without_quotes(value, found.quoted_in) == {"type": "blue heron", "a": [{"text": "grey"}], "b": {"c": [7]}}
    assert without_quotes({"a": {"b": "blue heron"}}, found.quoted_in) is None
