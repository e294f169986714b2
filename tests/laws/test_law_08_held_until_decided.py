"""Law 8: no prefix of a forbidden match is ever released before the decision.

The oracle (`tests/moderation/oracle.py`) has the whole text and determines the decisions and the released text. The text released
after any piece must be a prefix of that, however the text continues, and each buffered text must still have two possible
outcomes. The first properties test the stage; those below test the buffer with all options of a rule.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, product

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import Blocked, Event, Moderate, Redacted, Rule, StreamEnd, TextDelta
from streamkit.events import Flagged
from tests.moderation.oracle import Decision, decisions, readable
from tests.moderation.reading import Piece, Reading, read

END = StreamEnd("completed", True)
ALPHABET = "abcAB@ \nσςΣİ"
# Look-ahead and look-behind assertions, growing matches, lazy ones, and alternatives whose first one is the shorter.
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


def verdicts(found: Sequence[Decision]) -> list[Event]:
    kinds = {"annotate": Flagged, "redact": Redacted, "block": Blocked}
    return [kinds[rule.action](rule.category, start, end) for start, end, rule, _ in found]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def moderate(rules: Sequence[Rule], pieces: Sequence[str], after: str) -> list[list[Event]]:
    """The events released after each piece, and last those of the rest of the text and the end."""
    stage = Moderate(rules).fresh()
    released = [list(stage.feed(TextDelta(piece))) for piece in pieces]
    last = list(stage.feed(TextDelta(after))) if after else []
    return [*released, [*last, *stage.feed(END), *stage.flush()]]


TEXTS = st.text(ALPHABET, max_size=9)
PLAIN_RULES = st.lists(
    st.builds(
        lambda category, phrases, patterns, action, ignore_case: Rule(
            category, tuple(phrases) or ("zz",), tuple(patterns), action, "*" * (action == "redact"), ignore_case
        ),
        st.sampled_from("xyz"),
        st.lists(st.text("abcσΣ@ ", min_size=1, max_size=4), max_size=3),
        st.lists(st.sampled_from(PATTERNS), max_size=2),
        st.sampled_from(["annotate", "redact", "block"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=400)
@given(rules=PLAIN_RULES, pieces=st.lists(TEXTS.filter(bool), max_size=5), ends=st.lists(TEXTS, min_size=1, max_size=3))
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
            released += text_of(events)
            assert allowed.startswith(released)
        assert released == allowed


@settings(deadline=None, max_examples=300)
@given(rules=PLAIN_RULES, pieces=st.lists(TEXTS.filter(bool), max_size=5))
def test_every_match_of_the_whole_text_has_its_verdict(rules: list[Rule], pieces: list[str]) -> None:
    events = chain.from_iterable(moderate(rules, pieces, ""))

    found = [event for event in events if isinstance(event, Flagged | Redacted | Blocked)]
    assert found == verdicts(decisions(rules, "".join(pieces)))


# All options of a rule

LETTERS = [*"abeAEéÉ\u0301\u0323\u200b\u00adаеЕａ"]
KOREAN = [*"가각\u1100\u1161\u11a8 "]
LIGATURES = [*"ﬁﬀfiａ"]
ODD_TEXTS = st.sampled_from([LETTERS, LETTERS, KOREAN, LIGATURES]).flatmap(
    lambda some: st.lists(st.text(some, max_size=6), min_size=1, max_size=6)
)
ODD_PHRASES = st.text(st.sampled_from(["a", "b", "e", "é", "f", "i", "а", "E", "가", "각"]), min_size=1, max_size=3)
POLICIES = st.lists(st.sampled_from(["case", "nfkc", "accents", "look_alikes", "zero_width"]), unique=True, max_size=4)
ODD_RULES = st.lists(
    st.builds(
        lambda phrases, patterns, action, ignore_case, normalize, whole_words: Rule(
            "x",
            tuple(phrases),
            tuple(patterns),
            action,
            "*",
            ignore_case,
            whole_words=whole_words and not normalize,
            normalize=tuple(normalize),
        ),
        st.lists(ODD_PHRASES, min_size=1, max_size=2),
        st.lists(st.sampled_from(["a.", "é", r"\bab?\b", "[^a]e", "fi", "e+", "a(?!b)", "각"]), max_size=1),
        st.sampled_from(["allow", "annotate", "redact", "redact", "replace", "block", "stop"]),
        st.booleans(),
        POLICIES,
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def decided(released: Iterable[Piece]) -> list[Decision]:
    return [Decision(piece.start, piece.end, piece.rule, piece.extended) for piece in released if piece.rule]


@settings(deadline=None, max_examples=700)
@example([Rule("half a ligature", ("ff",), ignore_case=False, normalize=("case",))], ["fﬀ"], 1)
@given(rules=ODD_RULES, texts=ODD_TEXTS, kept=st.integers(0, 5))
def test_whatever_a_rule_ignores_the_cuts_change_nothing_and_nothing_leaves_too_early(
    rules: list[Rule], texts: list[str], kept: int
) -> None:
    pieces, ends = texts[:kept], texts[kept:] or [""]
    for end in ends:
        text = "".join(pieces) + end
        expected = decisions(rules, text)
        allowed, released, found = readable(text, expected), "", list[Decision]()
        reading = Reading(rules)
        for piece in [*pieces, end]:
            out = reading.feed(piece)
            released += read(out)
            found += decided(out)
            assert allowed.startswith(released)
        out = reading.feed("", final=True)
        assert released + read(out) == allowed
        assert found + decided(out) == expected
        assert reading.held == 0


@settings(deadline=None, max_examples=300)
@given(rules=ODD_RULES, pieces=ODD_TEXTS, at=st.integers(0, 5))
def test_a_text_goes_on_from_its_state_as_if_nothing_had_been(rules: list[Rule], pieces: list[str], at: int) -> None:
    whole, first, second = Reading(rules), Reading(rules), Reading(rules)

    expected = [*(whole.feed(piece) for piece in pieces), whole.feed("", final=True)]
    before = [first.feed(piece) for piece in pieces[:at]]
    second.restore(msgspec.json.decode(msgspec.json.encode(first.state())))
    after = [*(second.feed(piece) for piece in pieces[at:]), second.feed("", final=True)]

    assert before + after == expected


# The hold-back is minimal: the first buffered character can still have two different outcomes.


def may_come_to_two_ends(rules: Sequence[Rule], text: str, place: int, letters: str, depth: int) -> bool:
    """Whether the outcome of the character at `place` depends on how the text continues."""
    seen = set[tuple[tuple[int, int], ...]]()
    for length in range(depth + 1):
        for more in product(letters, repeat=length):
            found = decisions(rules, text + "".join(more))
            seen.add(tuple((start, end) for start, end, *_ in found if start <= place < end))
            if len(seen) > 1:
                return True
    return False


def check_that_nothing_waits_in_vain(rule: Rule, pieces: Sequence[str], letters: str, depth: int) -> None:
    reading, text = Reading((rule,)), ""
    for piece in pieces:
        text += piece
        reading.feed(piece)
        if reading.held:
            assert may_come_to_two_ends([rule], text, len(text) - reading.held, letters, depth), (text, reading.held)


@settings(deadline=None, max_examples=300)
@given(
    phrases=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
    pieces=st.lists(st.text("abc", min_size=1, max_size=6), max_size=3),
)
def test_no_text_waits_for_phrases_in_vain(phrases: list[str], pieces: list[str]) -> None:
    check_that_nothing_waits_in_vain(Rule("x", tuple(phrases), action="annotate"), pieces, "abc", 4)


@settings(deadline=None, max_examples=200)
@given(
    phrases=st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=3),
    pieces=st.lists(st.text("ab ", min_size=1, max_size=5), max_size=4),
)
def test_no_text_waits_for_whole_words_in_vain(phrases: list[str], pieces: list[str]) -> None:
    check_that_nothing_waits_in_vain(Rule("x", tuple(phrases), action="annotate", whole_words=True), pieces, "ab ", 4)


@pytest.mark.parametrize(
    ("normalize", "letters"),
    [
        (("zero_width",), "ab\u200b"),
        (("accents",), "aé\u0301"),
        (("look_alikes",), "aаb"),
        (("case",), "sſa"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_text_waits_in_vain_for_phrases_of_which_something_is_ignored(
    normalize: tuple[str, ...], letters: str, data: st.DataObject
) -> None:
    phrases = data.draw(st.lists(st.text(letters[:2], min_size=1, max_size=3), min_size=1, max_size=3))
    pieces = data.draw(st.lists(st.text(letters, min_size=1, max_size=4), max_size=3))
    rule = Rule("x", tuple(phrases), action="annotate", normalize=normalize)  # type: ignore[arg-type]

    check_that_nothing_waits_in_vain(rule, pieces, letters, 3)


@settings(deadline=None, max_examples=300)
@given(
    pattern=st.sampled_from(["ab+c", "a.{0,2}c", r"\bab\b", "a(?!b)", "c+a", "ab?", "(?<=b)a", "(a|b)\\1"]),
    pieces=st.lists(st.text("abc ", min_size=1, max_size=5), max_size=4),
)
def test_no_text_waits_for_a_pattern_in_vain(pattern: str, pieces: list[str]) -> None:
    check_that_nothing_waits_in_vain(Rule("x", patterns=(pattern,), action="annotate"), pieces, "abc ", 3)
