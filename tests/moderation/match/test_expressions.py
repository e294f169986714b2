"""Expressions: what is refused, what is verified, what a search needs to know of them."""

import inspect
from collections.abc import Iterable
from typing import Any

import pytest
import regex
from regex import _regex_core

from streamkit import PipelineError, Rule
from streamkit.core.wrong_input import shown
from streamkit.moderation.match import expressions
from streamkit.moderation.match.expressions import compiled, fold_text
from tests.moderation.reading import Reading, read


def spans(source: str, pieces: Iterable[str], *, ignore_case: bool = True) -> list[tuple[int, int]]:
    reading = Reading((Rule("x", patterns=(source,), ignore_case=ignore_case, replacement="*"),))
    found = [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)
    return [(part.start, part.end) for part in found if part.rule]


# What is refused


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("(?<=a.*)b", "expected a look-behind of at most 10,000 characters, found one without a bound"),
        ("(?<!a+)b", "expected a look-behind of at most 10,000 characters, found one without a bound"),
        ("(?<=(?:ab){2,})b", "expected a look-behind of at most 10,000 characters, found one without a bound"),
        ("(?<=a{2,20000})b", "expected a look-behind of at most 10,000 characters, found 20,000"),
        ("(?<=a{,6000})(?<!b{,6000})c", "expected a look-behind of at most 10,000 characters, found 12,000"),
        ("(?:a{100}b){100}", "expected at most 10,000 characters with its repetitions written out, found 10,100"),
        ("(?:(?:(?:a{1000}){1000}){1000})", "with its repetitions written out, found 1,000,000,000"),
        ("(?=(?:a|b{2000}){3,}[cd]{4000})", "with its repetitions written out, found 10,003"),
        ("(?au)a", "flags are mutually incompatible"),
        ("(a(?1)?b)", "a group within itself can't be decided while text is still arriving"),
        ("(?P<n>a(?&n)?)", "a group within itself can't be decided while text is still arriving"),
        ("(a(?2)?)(b(?1)?)", "a group within itself can't be decided while text is still arriving"),
        ("(?p)a|ab", "'(?p)' can't be decided while text is still arriving"),
        ("(?:" * 200 + "a" + ")" * 200, "it is nested too deeply"),
        ("[" * 300 + "a" + "]" * 300, "it is nested too deeply"),
        ("(a", "missing ) at position 2"),
        ("a)", "unbalanced parenthesis at position 1"),
        (r"\L<words>", "undefined named list at position 9"),
    ],
    ids=lambda value: value[:20],
)
def test_an_expression_is_refused(source: str, message: str) -> None:
    if source.startswith("["):
        source = f"(?V1)(?-f){source}"

    with pytest.raises(PipelineError) as caught:
        compiled(source, True)

    assert str(caught.value).startswith(f"pattern {shown(source)}: ")
    assert message.split(" at position")[0] in str(caught.value)


def test_an_expression_of_more_than_a_thousand_characters_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(PipelineError, match=r"^pattern 'a{60}'…: expected at most 1,000 characters, found 1,001$"):
        compiled("a" * 1_001, True)
    assert compiled("a" * 1_000, True).pattern.fullmatch("a" * 1_000)


# What is verified


@pytest.mark.parametrize(
    ("rewritten", "source"),
    [
        (r"a\b", r"a\b"),
        ("(?:ab)+c", "(?:ab)+c"),
        (r"a(?=[\s\S]|)$", "a$"),
        (r"a(?=[\s\S])\b", r"a\b"),
        (r"a(?=[\s\S]|)\b(?:)b", r"a\b"),
        (r"a(?=[\s\S]|)\B", r"a\b"),
        (r"(?:ab){1,3}(?=[\s\S]|)", "(?:ab){1,2}"),
        ("(?i:a)", "a"),
    ],
    ids=["none", "none after it", "one for two", "one that may fail", "more", "another", "counts", "flags"],
)
def test_what_the_rewriting_gets_wrong_is_refused(rewritten: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "with_lookaheads", lambda *_, **__: rewritten)
    compiled.cache_clear()

    with pytest.raises(PipelineError, match="it can't be verified that its matches don't depend on how text is split"):
        compiled(source, False)


@pytest.mark.parametrize("gone", ["_parse_pattern", "Source", "Info", "RegexBase"])
def test_without_the_parser_every_expression_is_refused(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __getattr__(self, name: str) -> Any:
            if name == gone:
                raise AttributeError(f"no {name}")
            return getattr(_regex_core, name)

    monkeypatch.setattr(expressions, "_core", Without())
    compiled.cache_clear()

    with pytest.raises(PipelineError, match=rf"regex {regex.__version__} can't verify it: no {gone}"):
        compiled("abc", True)


def test_all_kinds_of_nodes_of_the_installed_version_are_known() -> None:
    """A kind that is not here may need a look, or may not be decidable: extend `expressions` before this list."""
    base = _regex_core.RegexBase
    kinds = {name for name, kind in vars(_regex_core).items() if inspect.isclass(kind) and issubclass(kind, base)}
    bases = {"RegexBase", "ZeroWidthBase", "SetBase"}
    never_parsed = {"PrecompiledCode", "String", "Literal"}
    looked_at = {
        *expressions._BEFORE,
        *expressions._LINE_END,
        *expressions._REFUSED,
        *expressions._ONE,
        *expressions._REPEATS,
    }
    assert kinds == bases | never_parsed | looked_at | {
        *("Atomic", "Branch", "CallGroup", "CallRef", "Conditional", "Failure", "Group", "LookAround"),
        *("LookAroundConditional", "RefGroup", "Sequence", "StartOfLine", "StartOfLineU", "StartOfString", "StringSet"),
    }  # fmt: skip


def test_what_is_passed_by_position_is_what_it_is_called() -> None:
    pattern = regex.compile("a+b")
    names = {"pos": 1, "endpos": 4, "concurrent": False, "partial": True, "timeout": 1.0}
    by_name, by_position = pattern.search("caab", **names), pattern.search("caab", *names.values())
    assert by_name is not None
    assert by_position is not None
    assert (by_position.span(), by_position.partial) == (by_name.span(), by_name.partial) == ((1, 4), False)
    found = pattern.search("caaab", *{**names, "endpos": 3}.values())
    assert found is not None
    assert (found.span(), found.partial) == ((1, 3), True)
    with pytest.raises(TimeoutError):
        regex.compile("(?:a|aa)+$").search("a" * 60 + "b", 0, 61, None, False, 0.001)


# The same matches however text is split


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(?x)secret # [x\n\\B # ]\n", "secrets secret"),
        ("(?x)a b # a comment (\n$", "ab\nab"),
        ("(?x)[#]a\\b # ]", "#ab #a"),
        ("(?x: a \\b # )\n ) b", "a b ab"),
        (r"a\ #\b", "a #b a #."),
        ("[[:alpha:]]+1", "abc1 d1"),
        ("[^[:^alpha:]]", "a1b"),
        ("[a[:space:]]b", " b ab"),
        ("[]a]b", "]b ab"),
        ("[^]a]b", "]b cb"),
        (r"[\]a]b", "]b ab"),
        ("[[]a]", "[a] [a"),
        (r"a\z", "a ba"),
        (r"a\Z", "a ba"),
        (r"b(?<=\B)", "ab bc"),
        (r"b(?<=b\b)", "bc b"),
        (r"(?<=\bb)a", "ba cba"),
        (r"(?m)(?<=a$\n)b", "a\nb"),
        (r"(?<!\ba)b", "ab cab b"),
        (r"(?<=(?:ab){1,2}?)c", "abc ababc c"),
        (r"(?>ab|a)\b", "ab a."),
        (r"(?|(a)|(b))\1\b", "aa bba"),
        (r"(?(?=a\b)a|b)", "a ab b"),
        (r"(?<q>')?a\b(?(q)')", "'a' a ab"),
        (r"(?i:S)\b", "ſ s"),
        (r"(?m)^a$", "a\na\nab\na"),
        (r"(?a)(?:\W)*", "é a"),
        (r"(?a)\w+\b", "aé b"),
        (r"(?s).+", "a\nb"),
        (r"(?i)(?m)^S|b$", "ſ b\nab"),
        (r"\b|\d*", "11 2"),
        (r"(?:a??|b)b*?\b", "ab bb"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_it_makes_no_difference_how_text_is_split(source: str, text: str) -> None:
    expected = [match.span() for match in compiled(source, True).pattern.finditer(text) if match[0]]
    assert expected
    assert spans(source, [text]) == expected
    for at in range(len(text) + 1):
        assert spans(source, [text[:at], text[at:]]) == expected
    assert spans(source, text) == expected


@pytest.mark.parametrize("before", [50, 200, 900, 3_000])
@pytest.mark.parametrize(
    ("source", "text", "matches"),
    [
        ("(?<=a.{{0,{n}}})b", "a{x}b", True),
        ("(?<!a.{{0,{n}}})b", "a{x}b", False),
        ("(?<=^.{{0,{n}}})b", "{x}b", True),
        ("(?<!^.{{0,{n}}})b", "{x}b", False),
        ("(?<=\\A.{{{n}}})b", "{x}b", True),
        ("(?m)(?<=^.{{{n}}})b", "\n{x}b", True),
        ("(?<=\\b.{{{n}}})b", "x{x}b", False),
    ],
)
def test_a_look_behind_sees_as_much_as_it_asks_for(source: str, text: str, matches: bool, before: int) -> None:
    source, text = source.format(n=before), text.format(x="x" * before)
    at = len(text) - 1
    for pieces in ([text], [*text], [text[:at], text[at:]]):
        assert spans(source, pieces) == ([(at, at + 1)] if matches else [])


@pytest.mark.parametrize("source", ["^b", r"\Ab", "(?m)^b", r"\bb", r"(?<!x)b", "(?<=^)b"])
def test_a_text_does_not_begin_where_it_was_cut(source: str) -> None:
    text = "x" * 2_000
    for size in (1, 7, 256, 257, 1_024):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert spans(source, [*pieces, "b"]) == []


# What every match begins with


@pytest.mark.parametrize(
    ("source", "prefixes"),
    [
        ("heron", ["heron"]),
        (r"\bheron\b", ["heron"]),
        ("(?:blue|grey) heron", ["blue heron", "grey heron"]),
        ("[bg]lue", ["blue", "glue"]),
        ("(?:ab){2}c", ["ababc"]),
        ("ab+c", ["ab"]),
        ("(?<!x)ab", ["ab"]),
        ("(?>ab)c", ["abc"]),
        ("password: .*", ["password: "]),
        ("a" * 40, ["a" * 24]),
        ("a", []),
        ("ab?", []),
        ("a|bc", []),
        ("(?:ab)?c", []),
        (".ab", []),
        (r"\d{3}", []),
        ("straße", ["stra"]),
        ("(?=ab)ab", []),
    ],
)
def test_a_pattern_is_searched_where_what_all_its_matches_begin_with_occurs(source: str, prefixes: list[str]) -> None:
    assert sorted(prefix.text for prefix in compiled(source, True).prefixes) == sorted(prefixes)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("skin", "ſKİN"),
        ("SKIN", "ſkin"),
        ("ik", "İK"),
        ("ik", "ıK"),
        ("kin", "KIN"),
        ("[st]ea", "ſEA"),
        ("(?i:st)", "ſT"),
    ],
)
@pytest.mark.parametrize("ignore_case", [True, False])
def test_letters_that_are_equal_where_case_is_ignored_are_found(source: str, text: str, ignore_case: bool) -> None:
    whole = [match.span() for match in compiled(source, ignore_case).pattern.finditer(text)]

    assert spans(source, [text], ignore_case=ignore_case) == whole
    assert spans(source, text, ignore_case=ignore_case) == whole


def test_no_other_character_matches_one_of_ascii() -> None:
    ascii_characters = regex.compile(r"[\x00-\x7f]", regex.IGNORECASE)
    equal = {chr(point) for point in range(128, 0x110000) if ascii_characters.match(chr(point))}

    assert equal == {"İ", "ı", "ſ", "\u212a"}
    for character in (*equal, *map(chr, range(128))):
        (letter,) = fold_text(character)
        assert any(regex.fullmatch(regex.escape(c), character, regex.IGNORECASE) for c in (letter, letter.upper()))


# A thousand of them


def test_a_thousand_word_patterns_find_what_each_would_find() -> None:
    words = [f"w{number}rd" for number in range(1_000)]
    rules = [Rule(word, patterns=(rf"\b{word}\b",), replacement="*") for word in words]
    text = "a W12RD, w999rds w7rd7 w500rd."
    for pieces in ([text], [*text]):
        reading = Reading(rules)
        out = [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)
        assert read(out) == "a *, w999rds w7rd7 *."
        assert [part.rule.category for part in out if part.rule] == ["w12rd", "w500rd"]
