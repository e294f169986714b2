"""Law 8: no prefix of a forbidden match is ever released before the decision.

The oracle knows the whole text: it finds every match in it with `str.startswith` and `regex.finditer`, joins those that
overlap, and says what may be read. What was released after any piece must be the beginning of that, however the text goes on.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import Blocked, Event, Flagged, Moderate, Redacted, Rule, StreamEnd, TextDelta

END = StreamEnd("completed", True)
STRENGTH = ["flag", "redact", "block"]
ALPHABET = "abcAB@ \nσςΣİ"
# Assertions that look ahead or behind, matches that grow, lazy ones, alternatives of which the first is the shorter.
PATTERNS = [
    *(
        "ab+c",
        "a.{0,3}c",
        r"\bab\b",
        "a(?!b)",
        "(?<=b)a",
        "b$",
        "ab?",
        "c+a",
        r"\b\w+@\w+\b",
        "(?:ab|abc|bca)",
        "a(?!bc)",
    ),
    *(
        "a(?=bc)",
        "a(?!b.{0,2}c)",
        "(?m)^a",
        "(?m)b$",
        r"a\Z",
        "(?<!b)a",
        "a|ab|abc",
        "(?:a|b)*c",
        "^a",
        r"\s\b",
        r"@\ba",
    ),
    *(
        r"a\Bb",
        r"b\B",
        "a+?",
        "(?:ab)+",
        "(?:..)+(?<=c)",
        r"(a|b)\1",
        "[^a]+",
        r"\b|a",
        "a(?!$)",
        r"a(?!\b)",
        "[$b]a",
        "ab|b.c",
    ),
]


class Decision(NamedTuple):
    start: int
    end: int
    rule: Rule


def fold(text: str) -> str:
    """Each character by itself in lower case; the two forms of a small sigma are one letter."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text).replace("ς", "σ")


def decisions(rules: Sequence[Rule], text: str) -> list[Decision]:
    spans = list[tuple[int, int, int]]()
    for order, rule in enumerate(rules):
        shown = fold(text) if rule.ignore_case else text
        for phrase in rule.phrases:
            sought = fold(phrase) if rule.ignore_case else phrase
            spans += [(at, at + len(sought), order) for at in range(len(text)) if shown.startswith(sought, at)]
        flags = regex.IGNORECASE if rule.ignore_case else 0
        for pattern in rule.patterns:
            spans += [(*match.span(), order) for match in regex.finditer(pattern, text, flags) if match[0]]
    found = list[Decision]()
    for start, end, order in sorted(spans):
        rule = rules[order]
        if found and start < found[-1].end:
            last = found.pop()
            stricter = STRENGTH.index(rule.action) > STRENGTH.index(last.rule.action)
            found.append(Decision(last.start, max(last.end, end), rule if stricter else last.rule))
        else:
            found.append(Decision(start, end, rule))
    return found


def readable(text: str, found: Iterable[Decision]) -> str:
    """What of a whole text may be read."""
    parts, at = list[str](), 0
    for decision in found:
        parts.append(text[at : decision.start])
        if decision.rule.action == "block":
            return "".join(parts)
        parts.append(
            text[decision.start : decision.end] if decision.rule.action == "flag" else decision.rule.replacement
        )
        at = decision.end
    return "".join([*parts, text[at:]])


def verdicts(found: Iterable[Decision]) -> list[Event]:
    events = list[Event]()
    for start, end, rule in found:
        kind = {"flag": Flagged, "redact": Redacted, "block": Blocked}[rule.action]
        events.append(kind(rule.category, start, end))
        if kind is Blocked:
            break
    return events


def read(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def moderate(rules: Sequence[Rule], pieces: Sequence[str], after: str) -> list[list[Event]]:
    """What is released after each piece, and at last what the rest of the text and the end release."""
    stage = Moderate(rules).fresh()
    released = [list(stage.feed(TextDelta(piece))) for piece in pieces]
    last = list(stage.feed(TextDelta(after))) if after else []
    return [*released, [*last, *stage.feed(END), *stage.flush()]]


TEXTS = st.text(ALPHABET, max_size=9)
RULES = st.lists(
    st.builds(
        lambda category, phrases, patterns, action, ignore_case: Rule(
            category, tuple(phrases) or ("zz",), tuple(patterns), action, "*" * (action == "redact"), ignore_case
        ),
        st.sampled_from("xyz"),
        st.lists(st.text("abcσΣ@ ", min_size=1, max_size=4), max_size=3),
        st.lists(st.sampled_from(PATTERNS), max_size=2),
        st.sampled_from(STRENGTH),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=1000)
@given(rules=RULES, pieces=st.lists(TEXTS.filter(bool), max_size=5), ends=st.lists(TEXTS, min_size=1, max_size=3))
@example(rules=[Rule("x", patterns=(r"-\bkey",))], pieces=["a-"], ends=["key", " key", ""])
@example(rules=[Rule("x", patterns=("ab|b.c",))], pieces=["ab"], ends=["xc"])
@example(rules=[Rule("x", phrases=("aab", "ba"), action="block")], pieces=["aaa", "a"], ends=["b", "c"])
def test_what_was_released_is_the_beginning_of_what_may_be_read_however_the_text_goes_on(
    rules: list[Rule], pieces: list[str], ends: list[str]
) -> None:
    for end in ends:
        text = "".join(pieces) + end
        allowed = readable(text, decisions(rules, text))
        released = ""
        for events in moderate(rules, pieces, end):
            released += read(events)
            assert allowed.startswith(released)
        assert released == allowed


@settings(deadline=None, max_examples=400)
@given(rules=RULES, pieces=st.lists(TEXTS.filter(bool), max_size=5))
def test_every_match_of_the_whole_text_has_its_verdict(rules: list[Rule], pieces: list[str]) -> None:
    events = chain.from_iterable(moderate(rules, pieces, ""))

    found = [event for event in events if isinstance(event, Flagged | Redacted | Blocked)]
    assert found == verdicts(decisions(rules, "".join(pieces)))


@settings(deadline=None, max_examples=400)
@given(
    phrases=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
    pieces=st.lists(st.text("abc", min_size=1, max_size=6), max_size=6),
)
def test_of_phrases_nothing_is_held_that_no_continuation_could_forbid(phrases: list[str], pieces: list[str]) -> None:
    rule = Rule("x", phrases=tuple(phrases), action="flag")
    stage, text = Moderate(rule).fresh(), ""

    for piece in pieces:
        text += piece
        list(stage.feed(TextDelta(piece)))
        assert stage.held == len(text) - first_undecided(phrases, text)


def first_undecided(phrases: Sequence[str], text: str) -> int:
    """The first place where a phrase has begun and not ended, or where a match begins that overlaps such a place."""
    begun = (at for at in range(len(text)) if any(len(p) > len(text) - at and p.startswith(text[at:]) for p in phrases))
    first = next(begun, len(text))
    for decision in reversed(decisions([Rule("x", phrases=tuple(phrases))], text)):
        if decision.start < first < decision.end:
            first = decision.start
    return first
