"""Buffered and released text: phrases and patterns in text that is still arriving. Law 8 has the property."""

from time import process_time

import pytest

from streamkit import Moderate, PipelineError, ReasoningDelta, Rule, TextDelta
from streamkit.moderation.match.phrases import fold
from streamkit.moderation.match.scanner import plans
from tests.moderation.reading import Reading, read


def releases(rule: Rule, *pieces: str) -> list[str]:
    """The text released by each piece, and last by the end; replaced text is `*`."""
    reading = Reading((rule,))
    return [*(read(reading.feed(piece)) for piece in pieces), read(reading.feed("", final=True))]


def phrases(*phrases: str, ignore_case: bool = True) -> Rule:
    return Rule("x", phrases=phrases, replacement="*", ignore_case=ignore_case)


def pattern(pattern: str, *, ignore_case: bool = True) -> Rule:
    return Rule("x", patterns=(pattern,), replacement="*", ignore_case=ignore_case)


@pytest.mark.parametrize(
    ("rule", "pieces", "released"),
    [
        (phrases("heron"), ["a ", "her", "o", "n flew"], ["a ", "", "", "* flew", ""]),
        (phrases("heron"), ["her", "ring"], ["", "herring", ""]),
        (phrases("heron"), ["the hero"], ["the ", "hero"]),
        (phrases("heron"), ["heron"], ["*", ""]),
        (phrases("heron", "heron's"), ["heron", "'", "s"], ["", "", "*", ""]),
        (phrases("heron", "heron's"), ["heron", "'", "t"], ["", "", "*'t", ""]),
        (phrases("ab", "bc"), ["ab", "c"], ["*", "", ""]),
        (phrases("ab", "bc"), ["ab", "a"], ["*", "", "a"]),
        (phrases("ab", "cd"), ["abcd"], ["**", ""]),
        (phrases("aa"), ["aaa", "b"], ["*", "b", ""]),
        (phrases("a"), ["bab"], ["b*b", ""]),
        (phrases("HERON"), ["Her", "On"], ["", "*", ""]),
        (phrases("Heron", ignore_case=False), ["heron Her", "on"], ["heron ", "*", ""]),
        (phrases("ΟΔΟΣ"), ["ΟΔΟ", "Σ οδος"], ["", "* *", ""]),
        (phrases("İx"), ["aİ", "X"], ["a", "*", ""]),
        (phrases("😀!"), ["😀", "!"], ["", "*", ""]),
    ],
    ids=[
        "cut inside",
        "something else",
        "cut off by the end",
        "whole, and no other can begin in it",
        "of two the longer",
        "of two the shorter",
        "overlapping",
        "the second of two that overlap does not come",
        "adjacent ones are two",
        "overlapping itself",
        "of one character",
        "case is ignored",
        "case is compared",
        "a final sigma is a sigma",
        "a letter that is two in lower case",
        "beyond the first plane",
    ],
)
def test_phrases(rule: Rule, pieces: list[str], released: list[str]) -> None:
    assert releases(rule, *pieces) == released


@pytest.mark.parametrize(
    ("source", "pieces", "released"),
    [
        (r"\d{3}-\d{4}", ["call 55", "5-12", "34!"], ["call ", "", "*!", ""]),
        (r"\d{3}-\d{4}", ["call 555", " now"], ["call ", "555 now", ""]),
        ("abc", ["abc"], ["*", ""]),
        ("ab+", ["ab", "b", "c"], ["", "", "*c", ""]),
        (r"\w+@\w+", ["a b", "@c", "d e"], ["a ", "", "* ", "e"]),
        (r"\bcat\b", ["con", "cat cat", "s cat"], ["con", "cat ", "cats ", "*"]),
        (r"-\bkey", ["x-", "key"], ["x", "*", ""]),
        (r"a(?=b)", ["a", "b", "a", "c"], ["", "*b", "", "ac", ""]),
        (r"a(?!b)", ["a", "b", "a", "c"], ["", "ab", "", "*c", ""]),
        (r"a$", ["a", "\n", "a"], ["", "", "a\n", "*"]),
        (r"a$", ["a\n"], ["", "*\n"]),
        (r"(?<=b)a", ["b", "a", "ca"], ["b", "*", "ca", ""]),
        (r"(?i-s)b.c", ["b", "\n", "c"], ["", "b\n", "c", ""]),
        (r"x*", ["a", "xx", "a"], ["a", "", "*a", ""]),
        (r"(?x) a b # two letters", ["a", "b"], ["", "*", ""]),
        (r"[$^b]c", ["$", "c"], ["", "*", ""]),
    ],
    ids=[
        "cut inside",
        "something else",
        "whole at once",
        "that may grow",
        "of which the first character decides late",
        "of whole words",
        "with a boundary inside",
        "that looks ahead",
        "that looks ahead for what must not come",
        "at the end only",
        "before a line feed that is the last character",
        "that looks behind",
        "with flags of its own",
        "that also matches nothing",
        "that ends in a comment",
        "with a dollar in brackets",
    ],
)
def test_patterns(source: str, pieces: list[str], released: list[str]) -> None:
    assert releases(pattern(source), *pieces) == released


def test_pieces_may_be_of_any_width_in_any_order() -> None:
    """Strings of one, two and four bytes a character: an automaton that went on with one iterator crashed here."""
    pieces = ["her", "ö", "漢her", "😀", "on heron", "😀her", "on", "é"] * 200

    assert "".join(releases(phrases("heron", "漢字", "😀😀"), *pieces)) == "".join(pieces).replace("heron", "*")


def test_a_pattern_may_compare_case() -> None:
    assert releases(pattern("ab", ignore_case=False), "AB ab") == ["AB *", ""]


@pytest.mark.parametrize(
    ("source", "before", "released"),
    [
        (r"\bcat", "x", "xcat"),
        (r"\bcat", " ", " *"),
        ("(?m)^cat", "\n", "\n*"),
        ("^cat", "\n", "\ncat"),
        ("(?<=x)cat", "x", "x*"),
    ],
    ids=["no boundary", "a boundary", "a line begins", "not where the text begins", "look-behind"],
)
def test_what_stands_before_is_known_however_much_has_left(source: str, before: str, released: str) -> None:
    reading = Reading((pattern(source),))

    out = [part.text for piece in ["-" * 500, before, "cat", "."] for part in reading.feed(piece)]

    assert "".join(out) == "-" * 500 + released + "."


# Matches that overlap


def told(rules: list[Rule], *pieces: str) -> tuple[str, list[tuple[str, int, int, bool]]]:
    """The text released and the reports: the category, the place, and whether a later match extended it."""
    reading = Reading(rules)
    found = [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)
    return read(found), [
        (part.rule.category, part.start, part.end, part.extended) for part in found if part.rule is not None
    ]


def overlapping(first: str, second: str) -> list[Rule]:
    """Two rules, for "ab" and "bc"."""
    return [
        Rule("1st", ("ab",), action=first, replacement="<1>"),  # type: ignore[arg-type]
        Rule("2nd", ("bc",), action=second, replacement="<2>"),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    ("first", "second", "released", "reported"),
    [
        ("redact", "redact", "-<1>-", [("1st", 1, 3, False), ("2nd", 3, 4, True)]),
        ("annotate", "redact", "-a<2>-", [("1st", 1, 3, False), ("2nd", 2, 4, False)]),
        ("redact", "annotate", "-<1>c-", [("1st", 1, 3, False), ("2nd", 2, 4, False)]),
        ("annotate", "annotate", "-abc-", [("1st", 1, 3, False), ("2nd", 2, 4, False)]),
        ("redact", "block", "-<1>", [("1st", 1, 3, False), ("2nd", 2, 4, False)]),
        ("redact", "replace", "-<1><2>", [("1st", 1, 3, False), ("2nd", 2, 4, False)]),
        ("block", "redact", "-", [("1st", 1, 3, False)]),
        ("allow", "redact", "-a<2>-", [("2nd", 2, 4, False)]),
    ],
)
def test_of_matches_that_overlap_the_first_is_replaced_and_the_rest_is_removed(
    first: str, second: str, released: str, reported: list[tuple[str, int, int, bool]]
) -> None:
    for pieces in (["-abc-"], ["-a", "b", "c-"], [*"-abc-"]):
        assert told(overlapping(first, second), *pieces) == (released, reported)


def test_a_replacement_is_released_as_soon_as_nothing_can_start_before_its_match() -> None:
    reading = Reading(overlapping("redact", "redact"))

    assert [read(reading.feed(piece)) for piece in ("a", "b", "c", "d")] == ["", "<1>", "", "d"]


def test_a_match_waits_for_another_that_may_start_where_it_does_and_the_strictest_is_first() -> None:
    rules = [Rule("short", ("ab",), replacement="*"), Rule("long", ("abc",), action="block")]

    assert told(rules, "ab", "c") == ("", [("long", 0, 3, False)])
    assert told(rules, "ab", "d") == ("*d", [("short", 0, 2, False)])


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_run_of_matches_is_one_removal_with_two_reports(piece: int) -> None:
    text = "ha " * 400
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]

    assert told([Rule("laugh", ("ha ha",), replacement="*")], *pieces) == (
        "* ",
        [("laugh", 0, 5, False), ("laugh", 5, 1199, True)],
    )


def test_after_an_early_replacement_not_everything_is_decided() -> None:
    reading = Reading([Rule("a", ("ab",), replacement="*"), Rule("b", ("bc",), action="stop")])

    assert read(reading.feed("ab")) == "*"
    assert (reading.held, reading.complete) == (0, False)
    assert [part.rule and part.rule.category for part in reading.feed("c")] == ["b"]


def test_a_match_that_two_rules_find_is_reported_once_for_each() -> None:
    rules = [Rule("a", ("ab",), patterns=("ab",), action="annotate"), Rule("b", ("ab",), action="annotate")]

    assert told(rules, "ab")[1] == [("a", 0, 2, False), ("b", 0, 2, False)]


def test_places_are_in_code_points_of_the_whole_text() -> None:
    reading = Reading((phrases("heron"),))

    spans = [
        (part.start, part.end)
        for piece in ["😀" * 100, "her", "on", " heron"]
        for part in reading.feed(piece)
        if part.rule
    ]

    assert spans == [(100, 105), (106, 111)]


def test_how_much_waits_can_be_asked() -> None:
    reading = Reading((phrases("heron"),))

    reading.feed("a hero")
    assert reading.held == 4
    reading.feed("!")
    assert reading.held == 0


@pytest.mark.parametrize("source", ["(", "a{2,1}", r"\1", "(?P<x>a)(?P<x"], ids=repr)
def test_a_pattern_that_is_none_is_said_with_its_text(source: str) -> None:
    with pytest.raises(PipelineError, match=r"^rule '\w+', pattern '") as caught:
        Reading((pattern(source),))

    assert repr(source) in str(caught.value)


@pytest.mark.parametrize("text", ["Straße İx ΟΔΟΣ ς ß ŉ ﬁ", "ASCII", "", "ǅ K Å"])
def test_lower_case_keeps_every_place(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(text) == "".join(fold(character) for character in text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (phrases("blue heron 42"), "lorem ipsum bla "),
        (phrases("e"), "lorem ipsum "),
        (pattern("e"), "lorem ipsum "),
        (pattern(r"\bblue heron \d+\b"), "lorem ipsum bla "),
    ],
    ids=["a phrase", "a phrase that is everywhere", "a pattern that is everywhere", "a pattern"],
)
def test_a_long_text_in_one_piece_takes_no_more_than_linear_time(rule: Rule, text: str) -> None:
    """A thousandth of what a quadratic reading took, and many times what a linear one does."""
    reading, whole = Reading((rule,)), text * 20_000

    began = process_time()
    released = "".join(part.text for part in reading.feed(whole)) + "".join(
        part.text for part in reading.feed("", final=True)
    )

    assert process_time() - began < 3
    assert released == whole.replace("e", "*") if "*" in released else released == whole


def test_a_thousand_streams_share_what_ten_thousand_phrases_are_compiled_to() -> None:
    everywhere = Rule("x", phrases=tuple(f"phrase {number}" for number in range(10_000)), replacement="*")
    here = Rule("y", phrases=("heron",), channels=("content", "refusal"), replacement="+")
    plans.cache_clear()
    stage = Moderate((everywhere, here))

    for number in range(1_000):
        run = stage.fresh()
        out = list(run.run([kind(f"heron, phrase {number};") for kind in (TextDelta, ReasoningDelta)]))
        text = "".join(event.text for event in out if isinstance(event, TextDelta))
        assert text == "+, *;"

    # The rules of all, of content and refusal, and of the other channels.
    assert plans.cache_info().misses == 2


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("(?r)secret", "'(?r)'"),
        ("(?if:secret)", "'(?if:'"),
        ("(?w)\\bcan\\b", "'(?w)'"),
        ("a\\Kb", r"'\\\\K'"),
        ("\\Gab", r"'\\\\G'"),
        ("\\X", r"'\\\\X'"),
        ("a(?R)?b", "'(?R)'"),
        ("a(*SKIP)b", "'(*SKIP)'"),
        ("(?:secret){e<=1}", "'{e<=1}'"),
        ("(?:secret){1<=i<=2,2d+1s<=4}", "'{1<=i<=2,2d+1s<=4}'"),
        ("(?V1)strasse", "full case folding"),
    ],
)
def test_a_pattern_that_no_beginning_of_the_text_decides_is_refused(source: str, found: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Reading((pattern(source),))

    assert str(caught.value).endswith(f"{found} can't be decided while text is still arriving".replace("\\\\", "\\"))


@pytest.mark.parametrize(
    "source",
    [r"\\K", r"[\]{e}X]", r"\{e\}", "{x}", "a{2,3}", r"(?#(?r)a", r"(?P<r>a)(?&r)", r"\p{Ll}{2}", "(?V1)(?-f)a"],
)
def test_what_only_looks_like_it_is_not(source: str) -> None:
    Reading((pattern(source),))
