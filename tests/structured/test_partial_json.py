"""JSON that is still growing, held against Python's `json` where it is whole and against `jiter` where it is not."""

import json
import time
from itertools import pairwise
from typing import Any

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.structured import PartialJson

WORDS = st.none() | st.booleans()
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(2**200)
TEXTS = st.text(st.sampled_from('ab"\\/\n\té😀\u2028'), max_size=8)
VALUES = st.recursive(
    WORDS | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.builds(
    lambda value, escaped, indent: json.dumps(value, ensure_ascii=escaped, indent=indent),
    VALUES,
    st.booleans(),
    st.sampled_from([None, 1]),
)


def read(*pieces: str, **options: Any) -> PartialJson:
    parser = PartialJson(**options)
    for piece in pieces:
        parser.feed(piece)
    return parser


def fails(*pieces: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        read(*pieces)
    return caught.value


def same(one: object, other: object) -> bool:
    """Equal, and of the same types: 1 is not 1.0, and 0.0 not -0.0."""
    return repr(one) == repr(other)


def strictly(text: str) -> Any:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=no_constant)


# Whole documents


@given(DOCUMENTS, st.sets(st.integers(0, 60)))
def test_a_whole_document_is_what_json_reads_for_any_cuts(document: str, at: set[int]) -> None:
    places = sorted({0, len(document), *(place for place in at if place < len(document))})
    parser = read(*(document[start:end] for start, end in pairwise(places)))

    assert parser.complete
    assert same(parser.value, json.loads(document))
    assert parser.text == document


@given(DOCUMENTS, st.integers(0, 60), st.sampled_from(['"', "\\", ",", "1", "x", "}", "]", "{", " ", "-", ".", "\x00"]))
def test_it_is_complete_exactly_where_json_can_read_it(document: str, at: int, damage: str) -> None:
    parser = PartialJson()
    damaged = document[:at] + damage + document[at + 1 :]
    try:
        for end in range(1, len(damaged) + 1):
            parser.feed(damaged[end - 1])
            assert parser.complete == loads_succeeds(damaged[:end])
    except ProtocolError:
        assert not any(loads_succeeds(damaged[:end]) for end in range(end, len(damaged) + 1))
        assert not parser.complete


def loads_succeeds(text: str) -> bool:
    try:
        strictly(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("[1e999, -1e999]", [float("inf"), float("-inf")]),
        ("-0", 0),
        ("[1.0, 1, 1e2, -0.0]", [1.0, 1, 100.0, -0.0]),
        (' \t\r\n"a" \n', "a"),
        ('"\\ud83d\\ude00 \\u00e9 \\/ \\b\\f\\n\\r\\t\\\\\\""', '😀 é / \b\f\n\r\t\\"'),
        ('{"": {"": []}}', {"": {"": []}}),
    ],
    ids=[
        "equal names",
        "a great number",
        "too great",
        "minus zero",
        "kinds of numbers",
        "space",
        "escapes",
        "no names",
    ],
)
def test_documents_that_others_read_in_other_ways(document: str, value: object) -> None:
    parser = read(*document)

    assert same(parser.value, value)
    assert same(value, json.loads(document))


# Beginnings


@given(DOCUMENTS)
def test_every_beginning_is_what_jiter_makes_of_it(document: str) -> None:
    keep, drop = PartialJson(numbers="keep"), PartialJson(strings="drop", numbers="keep")
    for end, char in enumerate(document, 1):
        keep.feed(char)
        drop.feed(char)
        assert same(keep.value, by_jiter(document[:end], "trailing-strings"))
        assert same(drop.value, by_jiter(document[:end], "on"))


def by_jiter(text: str, mode: Any) -> Any:
    try:
        return jiter.from_json(text.encode(), partial_mode=mode, allow_inf_nan=False)
    except ValueError as error:
        # Where nothing has come yet it raises; here there is no value.
        return UNSET if "EOF" in str(error) else error


@pytest.mark.parametrize(
    ("beginning", "keep", "drop"),
    [
        ("", UNSET, UNSET),
        ("  ", UNSET, UNSET),
        ("[", [], []),
        ('{"a', {}, {}),
        ('{"a":', {}, {}),
        ('{"a": "b', {"a": "b"}, {}),
        ('{"a": "b\\u00', {"a": "b"}, {}),
        ('"ab', "ab", UNSET),
        ("[1, 2", [1, 2], [1]),
        ("[1, 2.", [1], [1]),
        ("12", 12, 12),
        ("-", UNSET, UNSET),
        ('{"a": 5, "a": 1', {"a": 1}, {"a": 5}),
        ("[true, fals", [True], [True]),
        ("[true, false", [True, False], [True, False]),
    ],
    ids=repr,
)
def test_what_is_not_finished_is_kept_or_dropped(beginning: str, keep: object, drop: object) -> None:
    assert same(read(beginning, numbers="keep").value, keep)
    assert same(read(beginning, strings="drop").value, drop)


def test_by_default_a_string_grows_and_a_number_waits_until_it_is_whole() -> None:
    assert read('{"name": "Ad').value == {"name": "Ad"}
    assert read('{"age": 3').value == {}
    assert read('{"age": 36,').value == {"age": 36}


@pytest.mark.parametrize(("text", "found"), [("[1]x", [1]), ("[1 2", [1]), ("{} {}", {})])
def test_where_jiter_stops_looking_what_is_wrong_is_an_error_here(text: str, found: object) -> None:
    assert jiter.from_json(text.encode(), partial_mode="on") == found
    assert "found" in str(fails(text))


def test_a_value_stays_as_it_was_when_more_comes() -> None:
    parser = read('{"list": [1, {"a": "x')
    before = parser.value
    parser.feed('y"}, 2]')

    assert before == {"list": [1, {"a": "x"}]}
    assert parser.value == {"list": [1, {"a": "xy"}, 2]}


# Surrogates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\uD83D\\uDE00"', "😀"),
        ('"\\ud83d"', "\ufffd"),
        ('"\\ude00"', "\ufffd"),
        ('"\\ud83d\\n"', "\ufffd\n"),
        ('"\\ud83dx"', "\ufffdx"),
        ('"\\ud83d\\u0041"', "\ufffdA"),
        ('"\\ud83d\\ud83d\\ude00"', "\ufffd😀"),
        ('"\\ude00\\ud83d"', "\ufffd\ufffd"),
        ('"\ud83d"', "\ufffd"),
        ('{"\\ud83d": 1}', {"\ufffd": 1}),
    ],
    ids=ascii,
)
def test_half_a_pair_that_stays_alone_is_a_replacement_character_where_json_leaves_it(text: str, value: object) -> None:
    assert read(text).value == value
    assert read(*text).value == value
    assert json.loads(text) == value or "\ufffd" in str(value)


@pytest.mark.parametrize("at", range(1, 14))
def test_a_pair_may_be_cut_anywhere_and_no_half_is_ever_shown(at: int) -> None:
    text = '"\\ud83d\\ude00"'
    parser = read(text[:at])

    assert parser.value in ("", "😀")
    parser.feed(text[at:])
    assert parser.value == "😀"


# What is wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "character 1 of the JSON: expected a value, found another character"),
        ("[Infinity", "character 2 of the JSON: expected a value or ']', found another character"),
        ("-I", "character 2 of the JSON: expected the rest of a number, found another character"),
        ("01", "character 2 of the JSON: expected the rest of a number, found another character"),
        ("[.5", "character 2 of the JSON: expected a value or ']', found another character"),
        ("[1.]", "character 4 of the JSON: expected the rest of a number, found ']'"),
        ("[1,]", "character 4 of the JSON: expected a value, found ']'"),
        ('{"a":1,}', "character 8 of the JSON: expected a name in quotes, found '}'"),
        ("{1", "character 2 of the JSON: expected a name in quotes or '}', found another character"),
        ('{"a" 1', "character 6 of the JSON: expected ':', found another character"),
        ("[1}", "character 3 of the JSON: expected ',' or the end of the array or object, found '}'"),
        ('{"a":1]', "character 7 of the JSON: expected ',' or the end of the array or object, found ']'"),
        ("trux", "character 4 of the JSON: expected true, false or null, found another character"),
        ("{} {", "character 4 of the JSON: expected nothing more, found '{'"),
        ('"\\x', "character 3 of the JSON: expected an escape of JSON, found another character"),
        ('"\\u12g', "character 6 of the JSON: expected an escape of JSON, found another character"),
        (
            '"a\nb"',
            "character 3 of the JSON: expected the rest of a string, in which it must be escaped, found a control character",
        ),
        ("\ufeff[]", "character 1 of the JSON: expected a value, found another character"),
        ("// no", "character 1 of the JSON: expected a value, found another character"),
    ],
)
def test_what_can_become_no_json_is_said_by_its_place_and_not_quoted(text: str, message: str) -> None:
    assert str(fails(text)) == message
    assert str(fails(*text)) == message
    assert not loads_succeeds(text)


def test_after_an_error_every_piece_is_the_same_error_and_what_came_stays() -> None:
    parser = read('{"a": [1')
    with pytest.raises(ProtocolError) as first:
        parser.feed("x")
    with pytest.raises(ProtocolError) as second:
        parser.feed("]}")

    assert second.value is first.value
    assert not parser.complete
    assert parser.value == {"a": [1]}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("[[[", {"max_depth": 2}, r"character 3 of the JSON: expected at most 2 .* \(max_depth\)"),
        ("[" * 100_000, {}, r"character 201 of the JSON: expected at most 200 .* \(max_depth\)"),
        ('"abcdef', {"max_chars": 6}, r"expected at most 6 characters of JSON \(max_chars\)"),
        ("1" * 4301, {}, "expected at most 4300 characters in a number"),
    ],
    ids=["depth", "much too deep", "size", "a number"],
)
def test_there_are_limits(text: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(LimitExceeded, match=message):
        read(text, **options)
    with pytest.raises(LimitExceeded, match=message):
        read(*text[:5000], **options)


def test_what_is_just_within_the_limits_is_read() -> None:
    assert read("[[]]", max_depth=2, max_chars=4).value == [[]]
    assert read("1" * 4300).value == int("1" * 4300)


# State and time


@given(DOCUMENTS, st.integers(0, 60))
def test_a_parser_restored_from_plain_data_goes_on_where_the_other_was(document: str, at: int) -> None:
    one, other = read(document[:at], numbers="keep", max_depth=50), PartialJson()
    other.restore(json.loads(json.dumps(one.state())))

    assert same(other.value, one.value)
    one.feed(document[at:])
    other.feed(document[at:])
    assert same(other.value, one.value)
    assert other.state() == one.state()


def test_one_that_has_failed_is_restored_as_failed() -> None:
    parser, other = PartialJson(), PartialJson()
    with pytest.raises(ProtocolError):
        parser.feed("[x")
    other.restore(parser.state())

    with pytest.raises(ProtocolError, match="character 2"):
        other.feed("]")


@pytest.mark.parametrize(
    ("beginning", "unit"),
    [('"', "a"), ('"', "\\n"), ('"', "\\ud83d\\ude00"), ("[", "1, "), ("[", '{"a": "b"}, '), ("[[", '"", ')],
    ids=["a string", "escapes", "pairs", "numbers", "objects", "strings"],
)
def test_the_time_grows_with_the_text_and_not_faster(beginning: str, unit: str) -> None:
    def seconds(chars: int) -> float:
        text = beginning + unit * (chars // len(unit))
        taken = []
        for _ in range(3):
            parser = PartialJson()
            start = time.process_time()
            for char in text:
                parser.feed(char)
            taken.append(time.process_time() - start)
        return min(taken)

    # Eight times the text; were it quadratic, sixty-four times the time.
    assert seconds(80_000) < 24 * seconds(10_000)


def test_a_string_that_is_looked_at_after_each_piece_is_not_copied_each_time() -> None:
    def seconds(pieces: int) -> float:
        parser = read('"')
        start = time.process_time()
        for _ in range(pieces):
            parser.feed("x" * 200)
            assert parser.value
        return time.process_time() - start

    # Ten megabytes in the end: copying them at every look would be 250 gigabytes.
    assert seconds(50_000) < 5
