"""Patterns that would wait or search without end, and checks of one's own."""

import json
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint
from itertools import pairwise
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import PipelineError, Rule
from streamkit.errors import PluginError
from streamkit.moderation.match import expressions, patterns
from streamkit.moderation.match.expressions import compiled
from streamkit.moderation.match.patterns import STREAM_SECONDS, Patterns, SearchBudget
from streamkit.moderation.match.scanner import Scanner, plans
from tests.moderation.reading import Piece, Reading, read


def released(rule: Rule, pieces: Iterable[str]) -> list[Piece]:
    reading = Reading((rule,))
    return [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)


def causes(parts: Iterable[Piece]) -> list[tuple[int, int, str, str]]:
    return [(part.start, part.end, part.source, part.rule.action) for part in parts if part.rule]


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *sorted(cuts), len(text)])]


# Length

ENDLESS = Rule("x", patterns=("a.*b",), replacement="*", max_match=10)


def test_text_that_stays_undecided_for_as_long_as_a_match_may_be_counts_as_matched() -> None:
    parts = released(ENDLESS, ["...a" + "c" * 30 + "\n."])

    assert causes(parts) == [(3, 20, "too_long", "redact")]
    assert read(parts) == "...*" + "c" * 14 + "\n."


def test_what_is_decided_in_time_is_a_match_like_any_other() -> None:
    assert causes(released(ENDLESS, ["...acccb\n", "a\n"])) == [(3, 8, "rules", "redact")]


def test_never_more_waits_than_twice_what_a_match_may_be() -> None:
    reading, most = Reading((ENDLESS,)), 0

    for character in "ca" * 200:
        reading.feed(character)
        most = max(most, reading.held)

    assert most == 18  # and one more character decides


@settings(deadline=None, max_examples=200)
@given(
    pattern=st.sampled_from(["a.*b", "a[^c]*", r"\w+@", "(?:ab?)+c"]),
    text=st.text("aabbc@\n", max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    max_match=st.integers(1, 9),
)
def test_a_bound_is_the_same_for_any_cuts(pattern: str, text: str, cuts: list[int], max_match: int) -> None:
    rule = Rule("x", patterns=(pattern,), replacement="*", max_match=max_match)
    whole = released(rule, [text])

    parts = released(rule, cut(text, [min(at, len(text)) for at in cuts]))

    assert read(parts) == read(whole)
    assert causes(parts) == causes(whole)


@pytest.mark.parametrize(
    ("pattern", "matched", "follows"),
    [
        ("<<.*?>>", "<<x>>", " and more"),
        (r"\(internal.*?\)", "(internal y)", " and more"),
        (r"BEGIN[\s\S]*?END", "BEGIN\nq END", " and more"),
        (r'"key":\s*"(.*?)"', '"key": "v"', ", and more"),
        ("<a>(?:x|xx)*?</a>", "<a>xx</a>", "</a>"),
        ("(?s)<a>.{1,9}?</a>", "<a>\n</a>", "</a>"),
        ("(?:ab|abc)d?e?f", "abf", "f"),
    ],
)
def test_a_match_is_decided_at_its_last_character_where_no_longer_one_is_tried_first(
    pattern: str, matched: str, follows: str
) -> None:
    scanner = Scanner((Rule("x", patterns=(pattern,)),))

    decided = [bool(scanner.feed(character)) for character in f"So: {matched}{follows}"]

    assert decided.index(True) == len("So: ") + len(matched) - 1
    assert scanner.decided == scanner.length


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("<<.*?>>", "a <<b\n"), ("<<[^\n]+?>>", "a <<b\n"), ("a.{0,2}?b", "xaxxx"), ("(?:a|b)+?c", "ababx")],
)
def test_a_lazy_repetition_releases_text_at_the_character_that_rules_a_match_out(pattern: str, text: str) -> None:
    scanner = Scanner((Rule("x", patterns=(pattern,)),))

    decided = [scanner.decided for character in text if not scanner.feed(character)]

    assert decided[-2] < len(text) - 1
    assert decided[-1] == len(text)


def test_text_too_long_for_an_exception_is_none() -> None:
    rules = (Rule("x", phrases=("c",), replacement="*"), Rule("ok", patterns=("a.*b",), action="allow", max_match=10))
    reading = Reading(rules)

    assert read([*reading.feed("acb\n" + "acc" * 10), *reading.feed("\nb", final=True)]) == "acb\n" + "a**" * 10 + "\nb"


def test_a_line_that_never_ends_is_no_work_without_end() -> None:
    began, reading = process_time(), Reading((Rule("x", patterns=("a.*b",), replacement="*", max_match=500),))

    for _ in range(5_000):
        reading.feed("acccc")

    assert process_time() - began < 5


# Time

CATASTROPHE = r"(?:a|aa)+$"
"""Of which it takes more than the age of the universe to say that it does not match 60 letters and another."""


@pytest.mark.parametrize(
    ("fail", "expected", "text"),
    [("closed", "block", "x "), ("open", "annotate", "x " + "a" * 60 + "b")],
    ids=["closed", "open"],
)
def test_a_pattern_that_takes_too_long_has_a_verdict_and_is_no_silent_pass(fail: str, expected: str, text: str) -> None:
    rule = Rule("x", patterns=(CATASTROPHE,), seconds=0.02, fail=fail)  # type: ignore[arg-type]
    reading = Reading((rule,))

    parts = [*reading.feed("x "), *reading.feed("a" * 60 + "b"), *reading.feed("", final=True)]

    assert causes(parts) == [(2, 63, "timeout", expected)]
    assert read(parts) == text
    assert reading.ended is (fail == "closed")
    assert [part.rule.category for part in parts if part.rule] == ["x"]


def test_after_text_that_passed_unsearched_the_search_goes_on() -> None:
    reading = Reading((Rule("x", patterns=(CATASTROPHE, "key"), seconds=0.02, fail="open", replacement="*"),))

    assert (
        read([*reading.feed("a" * 60 + "b"), *reading.feed(" a key."), *reading.feed("", final=True)])
        == "a" * 60 + "b a *."
    )


@pytest.mark.parametrize("source", ["(a+)+b", CATASTROPHE, "(a|aa)+b", "(?=(a+)+b)a"])
def test_a_text_is_blocked_when_its_searches_have_taken_too_long_in_all(source: str) -> None:
    reading = Reading((Rule("x", patterns=(source,), seconds=0.002),))

    parts = [part for character in "a" * 4_000 for part in reading.feed(character)]

    assert reading.ended
    assert [(source, action) for _, _, source, action in causes(parts)] == [("timeout", "block")]


@pytest.mark.parametrize("source", ["(a+)+b", CATASTROPHE, "(a|aa)+b", "(?=(a+)+b)a"])
def test_or_it_passes_and_is_not_searched_any_more(source: str) -> None:
    reading = Reading((Rule("x", patterns=(source,), fail="open", seconds=0.002),))

    parts = [part for character in "a" * 20_000 for part in reading.feed(character)] + reading.feed("", final=True)

    assert read(parts) == "a" * 20_000
    found = causes(parts)
    assert {(source, action) for _, _, source, action in found} == {("timeout", "annotate")}
    # Each search that times out takes its limit from the time that there is; then comes one verdict more.
    assert len(found) <= STREAM_SECONDS / 0.002 + 2


def test_all_patterns_of_a_choice_share_its_time() -> None:
    budget = SearchBudget()
    rules = (Rule("x", patterns=("(a+)+b",), fail="open"), Rule("y", patterns=(r"(?s)<.*>",), max_match=100_000))
    first, second = Scanner(rules[:1], budget), Scanner(rules[1:], budget)

    for _ in range(4_000):
        first.feed("a")
    found = second.feed("<" + "b" * 5_000)

    assert budget.left == 0
    assert [(ruling.start, ruling.source, ruling.by.action) for ruling in found] == [(0, "timeout", "block")]


def test_what_most_text_takes_is_not_counted() -> None:
    budget = SearchBudget()
    scanner = Scanner((Rule("x", patterns=(r"\b[\w.]+@[\w.]+\w", r"\b\d{3}-\d{4}\b"), detectors=("email",)),), budget)

    for _ in range(3_000):
        assert not scanner.feed(" a word and so on")

    assert budget.left > STREAM_SECONDS / 2


def test_a_long_word_costs_a_pattern_of_words_nothing_per_character() -> None:
    """To search it, `regex` tries each place in it; that it is undecided is seen at the first."""
    budget = SearchBudget()
    scanner = Scanner((Rule("x", patterns=(r"\w+@\w+",)),), budget)

    for _ in range(1_000):
        assert not scanner.feed("abcd")

    assert (scanner.decided, budget.left > 0) == (0, True)


OPEN = Rule("x", patterns=("<<(?:[^<>]|<(?!<)|>(?!>))*>>", r"\[(?:a|b|[^\]])*\]"), max_match=100_000, replacement="*")


def test_text_that_stays_undecided_is_searched_less_often_the_longer_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    search = Patterns._search_until

    def counted(self: Patterns, number: int, start: int, before: int, end: int, *rest: Any) -> int:
        searched.append(end - start)
        return search(self, number, start, before, end, *rest)

    monkeypatch.setattr(Patterns, "_search_until", counted)
    budget = SearchBudget()
    scanner = Scanner((OPEN,), budget)
    for character in "<<" + "word " * 1_500 + ">> and so on, for a while":
        scanner.feed(character)

    assert sum(searched) < 20 * 2 * 7_500
    assert (scanner.decided, budget.left > 0) == (0, True)
    assert read(released(OPEN, "<<" + "word " * 1_500 + ">> and so on")) == "* and so on"


@settings(deadline=None, max_examples=200)
@given(
    pieces=st.lists(st.sampled_from(["<<", ">>", "<", ">", "[", "]", "a", "b ", "a" * 7, "b" * 30]), max_size=40),
    cuts=st.lists(st.integers(0, 500), max_size=10),
    often=st.sampled_from([1, 4, 16]),
)
def test_when_text_is_searched_again_does_not_depend_on_how_it_is_split(
    pieces: list[str], cuts: list[int], often: int
) -> None:
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_OFTEN", often)
        patch.setattr(patterns, "_SHARE", 2)
        patch.setattr(expressions, "MOST_STEPS", 0)
        compiled.cache_clear()
        plans.cache_clear()
        alone, together, at, decided = Scanner((OPEN,)), Scanner((OPEN,)), 0, list[int]()
        for character in text:
            alone.feed(character)
            decided.append(alone.decided)
        for piece in cut(text, [min(at, len(text)) for at in cuts]):
            together.feed(piece)
            at += len(piece)
            assert together.decided == (decided[at - 1] if at else 0)
    compiled.cache_clear()
    plans.cache_clear()


# Checks


def digits(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"(?<!\d)\d{1,4}(?!\d)", text)]


def test_a_check_without_a_window_sees_the_whole_text_once() -> None:
    seen: list[str] = []

    def check(text: str) -> list[tuple[int, int]]:
        seen.append(text)
        return digits(text)

    reading = Reading((Rule("x", check=check, replacement="*"),))

    assert reading.feed("a 12") == reading.feed("3 b") == []
    assert reading.held == 7
    assert read(reading.feed(" 4", final=True)) == "a * b *"
    assert seen == ["a 123 b 4"]


def test_a_check_with_a_window_releases_what_it_has_decided() -> None:
    reading = Reading((Rule("x", check=digits, window=5, replacement="*"),))

    assert [read(reading.feed(piece)) for piece in ["abc 12", "34 defg", "hijklm"]] == ["", "abc *", " d"]
    assert read(reading.feed("", final=True)) == "efghijklm"


@settings(deadline=None, max_examples=200)
@given(text=st.text("12a ", max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6), window=st.integers(5, 9))
def test_a_check_that_keeps_to_its_window_does_what_it_does_to_the_whole_text(
    text: str, cuts: list[int], window: int
) -> None:
    rule = Rule("x", check=digits, window=window, replacement="*")

    parts = released(rule, cut(text, [min(at, len(text)) for at in cuts]))

    assert [(part.start, part.end) for part in parts if part.rule] == digits(text)


@given(text=st.text("ab", max_size=30), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_even_a_check_that_keeps_to_nothing_gives_the_same_for_any_cuts(text: str, cuts: list[int]) -> None:
    def check(window: str) -> list[tuple[int, int]]:
        return [(len(window) // 2, len(window))] if window.count("a") % 2 else []

    rule = Rule("x", check=check, window=3, replacement="*")

    assert causes(released(rule, cut(text, [min(at, len(text)) for at in cuts]))) == causes(released(rule, [text]))


def test_a_check_sees_what_the_rule_normalizes() -> None:
    rule = Rule("x", check=lambda text: [match.span() for match in re.finditer("key", text)], normalize=("nfkc",))

    assert read(released(rule, ["a ｋ", "ｅｙ!"])) == "a [redacted]!"


@pytest.mark.parametrize("place", [(0, 0), (-1, 2), (2, 1), (0, 99)], ids=str)
def test_a_check_that_names_no_place_is_said(place: tuple[int, int]) -> None:
    with pytest.raises(
        PluginError, match=rf"expected places in 3 characters of its check, found {re.escape(str(place))}"
    ):
        released(Rule("x", check=lambda text: [place]), ["abc"])


@pytest.mark.parametrize(
    ("found", "kind"),
    [(True, "bool"), (None, "NoneType"), ("abc", "str"), ([1], "int"), ([("a", "b")], "tuple"), ([(0, 1, 2)], "tuple")],
    ids=str,
)
def test_a_check_that_returns_no_places_is_a_typed_error(found: Any, kind: str) -> None:
    message = rf"rule 'x': expected of its check an iterable of pairs \(start, end\), found an object of type {kind}"
    with pytest.raises(PluginError, match=message):
        released(Rule("x", check=lambda text: found), ["abc"])


def test_a_check_that_fails_lets_nothing_out() -> None:
    def check(text: str) -> list[tuple[int, int]]:
        raise ZeroDivisionError

    reading = Reading((Rule("x", check=check, window=1),))

    with pytest.raises(ZeroDivisionError):
        reading.feed("abc")


def names(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer("Alice", text)]


names.window = 5  # type: ignore[attr-defined]


def test_a_check_may_come_from_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*, group: str, name: str = "names") -> list[EntryPoint]:
        here = EntryPoint("names", f"{__name__}:names", "streamkit.moderators")
        return [here] if (group, name) == (here.group, here.name) else []

    monkeypatch.setattr("streamkit.plugins.entry_points.entry_points", found)
    reading = Reading((Rule("x", check="names", replacement="*"),))

    assert read(reading.feed("for Alice and Bob")) == "for * "
    with pytest.raises(PipelineError, match=r"expected one of the moderators names; found 'numbers'"):
        Reading((Rule("x", check="numbers"),))


def test_what_a_package_offers_must_be_callable(monkeypatch: pytest.MonkeyPatch) -> None:
    here = EntryPoint("names", "json:__name__", "streamkit.moderators")
    monkeypatch.setattr("streamkit.plugins.entry_points.entry_points", lambda **_: [here])

    with pytest.raises(PipelineError, match="expected a callable check, found str"):
        Reading((Rule("x", check="names"),))


# States


def test_a_state_of_other_rules_is_refused() -> None:
    state = Reading((Rule("x", phrases=("a",)),)).state()

    with pytest.raises(PipelineError, match="expected the state of a text under the same rules"):
        Reading((Rule("x", phrases=("b",)),)).restore(state)


@pytest.mark.parametrize("at", range(8))
def test_bounds_and_checks_go_on_from_a_state(at: int) -> None:
    rules = (
        Rule("a", patterns=("a.*b",), replacement="*", max_match=5),
        Rule("b", check=digits, window=6, replacement="#"),
        Rule("c", detectors=("email",), normalize=("nfkc", "zero_width"), replacement="@"),
        Rule("d", phrases=("12",), action="allow"),
    )
    pieces = ["1", "2 an", "n@exa", "mple.or", "g\u0301", "3 acc", "ccccc", "b 77 "]
    whole, first, second = Reading(rules), Reading(rules), Reading(rules)

    before = [part for piece in pieces[:at] for part in first.feed(piece)]
    second.restore(json.loads(json.dumps(first.state())))
    after = [part for piece in pieces[at:] for part in second.feed(piece)]

    assert [*before, *after, *second.feed("", final=True)] == [
        *(part for piece in pieces for part in whole.feed(piece)),
        *whole.feed("", final=True),
    ]
