"""Text that hides what it says, and what a rule sees of it."""

import unicodedata
from time import process_time

import pytest

from streamkit import PipelineError, Rule
from streamkit.moderation.match.normalize import LOOK_ALIKES, MARKS, is_mark
from tests.moderation.reading import Reading, read


def released(rule: Rule, *pieces: str) -> list[str]:
    """The text released by each piece, and last by the end; replaced text is `*`."""
    reading = Reading((rule,))
    return [*(read(reading.feed(piece)) for piece in pieces), read(reading.feed("", final=True))]


def phrase(text: str, *normalize: str, **fields: object) -> Rule:
    return Rule("x", phrases=(text,), replacement="*", normalize=normalize, **fields)  # type: ignore[arg-type]


def pattern(source: str, *normalize: str, **fields: object) -> Rule:
    return Rule("x", patterns=(source,), replacement="*", normalize=normalize, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "pieces", "out"),
    [
        (phrase("secret", "nfkc"), ["a ｓｅｃ", "ｒｅｔ."], ["a ", "*.", ""]),
        (phrase("office", "nfkc"), ["the oﬃ", "ce "], ["the ", "* ", ""]),
        (phrase("ffi", "nfkc"), ["oﬃce"], ["o*ce", ""]),
        (phrase("café", "nfkc"), ["un cafe", "\u0301 noir"], ["un ", "* noir", ""]),
        (phrase("cafe\u0301", "nfkc"), ["un café", " noir"], ["un ", "* noir", ""]),
        (phrase("cafe", "nfkc"), ["un cafe", "\u0301 noir"], ["un ", "cafe\u0301 noir", ""]),
        (phrase("cafe", "nfkc"), ["un cafe"], ["un ", "*"]),
        (phrase("cafe", "accents"), ["un cafe", "\u0301", " ça"], ["un ", "", "* ", "ça"]),
        (phrase("ångström", "accents"), ["angstro\u0308", "m!"], ["", "*!", ""]),
        (phrase("ệ", "nfkc"), ["e\u0302", "\u0323", "!"], ["", "", "*!", ""]),
        (phrase("가", "nfkc"), ["\u1100", "\u1161", "\u11a8", "\u1100\u1161."],
         ["", "", "", "\u1100\u1161\u11a8*.", ""]),
        (phrase("ガ", "nfkc"), ["ｶ", "ﾞ", " "], ["", "", "* ", ""]),
        (phrase("secret", "zero_width"), ["se\u200bc", "\u00adre\u2060", "t", "\u200d", "!"], ["", "", "", "", "*!", ""]),
        (phrase("secret", "zero_width"), ["a\u200b", "b\u00ad"], ["a\u200b", "b\u00ad", ""]),
        (phrase("paypal", "look_alikes"), ["раура", "l.com"], ["", "*.com", ""]),
        (phrase("paypal", "look_alikes"), ["PАΥPAL"], ["*", ""]),
        (phrase("водка", "look_alikes"), ["ВОДКА, водка"], ["*, *", ""]),
        (phrase("νερό", "look_alikes", "accents"), ["ΝΕΡΟ ", "νερο ", "Νερό "], ["* ", "* ", "* ", ""]),
        (phrase("Ill", "look_alikes", ignore_case=False), ["1Il."], ["*.", ""]),
        (phrase("fall", "look_alikes"), ["fail fa1l"], ["fail *", ""]),
        (phrase("leet", "leet"), ["1337 l33t L"], ["* * ", "L"]),
        (phrase("kill", "leet"), ["k1!|"], ["*", ""]),
        (phrase("straße", "case"), ["STRASSE STRAẞE"], ["* *", ""]),
        (phrase("key", "nfkc", "zero_width", "look_alikes"), ["ｋ\u200b", "е", "у\ufe0f", "."], ["", "", "", "*.", ""]),
        (pattern("caf[éè]", "nfkc"), ["un cafe", "\u0301", "."], ["un ", "", "*", "."]),
        (pattern(r"\d{3}-\d{3}", "nfkc", "look_alikes"), ["１2", "3-4５6 ", "0-1"], ["", "*", " 0-", "1"]),
        (pattern(r"pa\w+l", "look_alikes"), ["рауРаl."], ["*.", ""]),
        (pattern(r"strasse", "case"), ["Straße."], ["*.", ""]),
        (pattern(r"\bkey\b", "zero_width"), ["k\u200bey", "s key"], ["", "k\u200beys ", "*"]),
        (pattern(r"[가-힣]+", "nfkc"), ["\u1100", "\u1161", "a"], ["", "", "", "*a"]),
    ],
    ids=[
        "fullwidth", "a ligature", "a ligature that is all of it", "a mark that follows", "a mark that is composed",
        "another letter for its mark", "no mark after all", "accents make no difference", "nor in the phrase",
        "marks in another order", "a Korean syllable, and not the beginning of one", "a halfwidth mark", "zero width",
        "zero width, and nothing waits", "Cyrillic for Latin", "capitals", "a Cyrillic word in another case",
        "a Greek word in another case", "one and i and l, where case is compared", "i is not l where it is not",
        "leet", "leet, of one stroke", "full case folding", "all at once", "a pattern, and a mark", "a pattern, and digits",
        "a pattern, and Cyrillic for Latin", "a pattern, and full case folding", "a pattern, and zero width",
        "a pattern, and Korean",
    ],
)  # fmt: skip
def test_what_a_rule_sees(rule: Rule, pieces: list[str], out: list[str]) -> None:
    assert released(rule, *pieces) == out


@pytest.mark.parametrize(
    ("text", "pieces", "out"),
    [
        ("cat", ["con", "cat cat", "s ca", "t"], ["con", "cat ", "cats ", "", "*"]),
        ("cat", ["cat_ 1cat cat", "-cat"], ["cat_ 1cat ", "*-", "*"]),
        ("cat", ["cat", "\u0301 cat"], ["", "cat\u0301 ", "*"]),
        ("c++", ["c++ c+", "++ xc++"], ["* ", "*+ xc++", ""]),
        ("new york", ["New York, newyork, a new york"], ["*, newyork, a ", "*"]),
    ],
    ids=["cut", "an underscore and a digit", "a mark", "signs", "two words"],
)
def test_whole_words(text: str, pieces: list[str], out: list[str]) -> None:
    assert released(phrase(text, whole_words=True), *pieces) == out


@pytest.mark.parametrize("pieces", [["ﬁ\u00ad", "x"], ["ﬁ", "\u00adx"], ["ﬁ\u00adx"]], ids=repr)
def test_a_match_that_ends_within_a_character_ends_with_it_for_any_cuts(pieces: list[str]) -> None:
    assert "".join(released(phrase("f", "nfkc", "zero_width"), *pieces)) == "*\u00adx"


def test_places_are_those_of_the_text_itself() -> None:
    reading = Reading((phrase("secret", "nfkc", "zero_width"),))

    parts = [*reading.feed("😀\u200b ｓｅ\u200bcｒet\u0301! "), *reading.feed("ｓecret", final=True)]

    assert [(part.start, part.end) for part in parts if part.rule] == [(3, 11), (13, 19)]
    assert reading.held == 0


@pytest.mark.parametrize("policy", [("nfkc",), ("accents",), ("nfkc", "zero_width"), ("look_alikes", "leet", "case")])
@pytest.mark.parametrize("make", [phrase, pattern], ids=["phrase", "pattern"])
def test_marks_without_end_neither_wait_nor_work_without_end(make: object, policy: tuple[str, ...]) -> None:
    rule = make("secret", *policy)  # type: ignore[operator]
    reading, began, most = Reading((rule,)), process_time(), 0

    for piece in ["secre", *["\u0301\u200b"] * 5_000, "t", *["\u0323"] * 5_000]:
        reading.feed(piece)
        most = max(most, reading.held)

    assert most <= 10_006 if "zero_width" in policy or "accents" in policy else most <= 4 * MARKS
    assert process_time() - began < 5


def test_a_phrase_of_which_nothing_is_left_is_said() -> None:
    with pytest.raises(PipelineError, match=r"rule 'x': normalized, the phrase '\\u200b' has no character left"):
        Reading((phrase("\u200b", "zero_width"),))


def test_every_look_alike_is_one_character_of_another_alphabet_or_a_digit_for_one_letter() -> None:
    for look, letter in LOOK_ALIKES.items():
        assert letter.isascii(), look
        assert letter.isalpha(), look
        assert look in "01|" or unicodedata.name(look).split()[0] in (
            "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "LATIN", "MULTIPLICATION",
        ), look  # fmt: skip
        assert unicodedata.normalize("NFKD", look) in (look, "ς", "ρ", "ΰ", "Σ"), look


def test_no_character_composes_with_one_that_is_no_mark() -> None:
    """Else text could not be normalized character by character, with the marks of each."""
    for point in range(0x110000):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and unicodedata.normalize("NFC", chr(point)) == chr(point) and parts[0][0] != "<":
            assert is_mark(chr(int(parts[1], 16))), hex(point)
