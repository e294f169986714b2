"""JSON in pieces as the text that it means: the same for all cuts, and JSON still when something was taken out."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit.moderation.json_escapes import Unescaped, replace


def meant(document: str) -> str:
    return Unescaped().feed(document, final=True)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (r'{"a": "\u0041\n\"\\\/"}', '{"a": "A\n"\\/"}'),
        (r'"\ud83d\ude00"', '"\U0001f600"'),
        (r'"\ud83d!\ude00"', '"\ufffd!\ufffd"'),
        (r'"\ud83d\u0041"', '"\ufffdA"'),
        (r'"\x \u12 \u00zz"', r'"\x \u12 \u00zz"'),
        (r"\u0041 outside of a string", r"\u0041 outside of a string"),
        (r'"cut \u00', r'"cut \u00'),
        ('"cut \\', '"cut \\'),
        ("", ""),
    ],
)
def test_what_a_document_means(document: str, text: str) -> None:
    assert meant(document) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\/\n\u00e9\u2028\U0001f600', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\\", max_size=3), inner, max_size=3),
    max_leaves=6,
)


def strings_of(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [string for item in value for string in strings_of(item)]
        case dict():
            return [string for pair in value.items() for item in pair for string in strings_of(item)]
        case _:
            return []


@settings(deadline=None)
@given(value=VALUES, ascii_only=st.booleans())
def test_every_string_of_a_document_is_seen_as_the_text_that_it_is(value: Any, ascii_only: bool) -> None:
    text = meant(json.dumps(value, ensure_ascii=ascii_only))

    at = 0
    for string in strings_of(value):
        at = text.index(f'"{string}"', at) + len(string) + 2


@settings(deadline=None)
@given(document=st.text('\\u00d8cde3"{}a', max_size=24), cuts=st.lists(st.integers(0, 24), max_size=6))
@example(document=r'"\ud83d\ude00"', cuts=list(range(14)))
def test_any_cuts_of_any_text_mean_the_same(document: str, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(document)]
    escaped, parts = Unescaped(), list[str]()
    for start, end in pairwise(places):
        copy = Unescaped()
        copy.restore(json.loads(json.dumps(escaped.state())))
        escaped = copy
        parts.append(escaped.feed(document[start:end]))

    assert "".join([*parts, escaped.feed("", final=True)]) == meant(document)


@settings(deadline=None, max_examples=300)
@given(value=VALUES, ascii_only=st.booleans(), places=st.lists(st.integers(0, 60), max_size=6, unique=True))
@example(value={"a": 123, "b": True}, ascii_only=True, places=[0, 60])
def test_json_without_what_was_taken_out_is_json(value: Any, ascii_only: bool, places: list[int]) -> None:
    document = json.dumps(value, ensure_ascii=ascii_only)
    bounds = sorted(places)
    edits = [(start, end, '"[*]\n') for start, end in zip(bounds[::2], bounds[1::2], strict=False)]

    left = replace(document, edits)

    json.loads(left)
    if not edits:
        assert left == document


@pytest.mark.parametrize(
    ("document", "hidden", "left"),
    [
        (r'{"a": "the \u0062lue heron"}', "blue heron", '{"a": "the *"}'),
        (r'{"a\"b": 1}', 'a"b', '{"*": 1}'),
        ('{"card": 4111111111111111}', "1111", '{"card": "*"}'),
        ('{"a": [1, true, null]}', "rue", '{"a": [1, "*", null]}'),
        ('{"key": "value"}', 'y": "va', '{"ke*": "lue"}'),
        ('{"key": 12, "b": ""}', 'y": 12, "b', '{"ke*": "", "": ""}'),
        ('{"a": "b"}', '": "', '{"a": "b"}'),
        ('{"a": "b', "b", '{"a": "*'),
    ],
)
def test_what_is_taken_out(document: str, hidden: str, left: str) -> None:
    start = meant(document).index(hidden)

    assert replace(document, [(start, start + len(hidden), "*")]) == left


def test_two_spans_in_one_number_are_one_replacement() -> None:
    assert replace("[1234]", [(1, 2, "*"), (3, 4, "*")]) == '["*"]'


def test_a_document_is_complete_when_its_brackets_are_closed() -> None:
    escaped, seen = Unescaped(), list[bool]()
    for piece in ("", "{", '"}', '\\"}', '"', ": [", "]", "}"):
        escaped.feed(piece)
        seen.append(escaped.complete)

    assert seen == [False] * 7 + [True]
