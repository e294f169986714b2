"""Text in other pieces: which they are, that they don't depend on the cuts, that none is lost and none overtakes."""

import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import ops
from streamkit.events import Reset
from tests.kit import cut_text

END = sk.StreamEnd("completed", True)


def texts(events: Iterable[object]) -> list[str]:
    return [event.text for event in events if isinstance(event, sk.TextDelta)]


def in_fours(text: str) -> int | None:
    return 4 if len(text) >= 4 else None


@pytest.mark.parametrize(
    ("by", "text", "pieces"),
    [
        ("word", "Hello, big world", ["Hello, ", "big ", "world"]),
        ("word", "  two  spaces\n", ["  two ", " spaces\n"]),
        ("word", "你好 world，再见", ["你", "好", " world", "，", "再", "见"]),
        ("word", "abc漢字", ["abc", "漢", "字"]),
        ("word", "안녕 세상", ["안녕 ", "세상"]),
        ("line", "one\ntwo\r\n\nthree", ["one\n", "two\r\n", "\n", "three"]),
        ("sentence", "Is it? It is! Done.", ["Is it? ", "It is! ", "Done."]),
        (r"[,;]\s*", "a, b;c", ["a, ", "b;", "c"]),
        (r"x*", "abc", ["abc"]),
        ("(?:END)", "aENDbEND c", ["aEND", "bEND", " c"]),
        ("e", "one two", ["one", " two"]),
        ("다", "좋다 봤다 ", ["좋다", " 봤다", " "]),
        (in_fours, "abcdefghij", ["abcd", "efgh", "ij"]),
    ],
)
def test_the_pieces_are_the_same_for_any_cuts(by: Any, text: str, pieces: list[str]) -> None:
    assert texts(ops.Smooth(by).run([sk.TextDelta(text)])) == pieces
    for size in (1, 2, 3):
        assert texts(ops.Smooth(by).run(cut_text(text, range(0, len(text), size)))) == pieces


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith met J. R. Tolkien. They spoke.", ["Dr. Smith met J. R. Tolkien. ", "They spoke."]),
        ("It is 3.14, e.g. pi. Right?", ["It is 3.14, e.g. pi. ", "Right?"]),
        ("The U.S. Army. Next", ["The U.S. Army. ", "Next"]),
        ("about approx. five of them. Six", ["about approx. five of them. ", "Six"]),
        (
            '"What?" she said. "Yes!" And so on... Or "no." Good',
            ['"What?" she said. ', '"Yes!" ', "And so on... ", 'Or "no." ', "Good"],
        ),
        ("He said no. Then left (at last.) Bye", ["He said no. ", "Then left (at last.) ", "Bye"]),
        ("1. First thing. 2. More\n2. Second", ["1. First thing. ", "2. More\n", "2. Second"]),
        ("# Title\n\nText here\nmore", ["# Title\n\n", "Text here\n", "more"]),
        ("今天。「好！」他说。Ok", ["今天。", "「好！」", "他说。", "Ok"]),
        ("Really?!  Yes.", ["Really?!  ", "Yes."]),
        ("\n\nAfter blank lines. End", ["\n\nAfter blank lines. ", "End"]),
        ("No end at all", ["No end at all"]),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    events = cut_text(text, ())

    assert texts(ops.Sentences().run(events)) == sentences
    assert texts(ops.Sentences().run(cut_text(text, range(len(text))))) == sentences


def test_a_sentence_leaves_when_the_next_begins() -> None:
    stage = ops.Sentences().fresh()

    given = [texts(stage.feed(sk.TextDelta(piece))) for piece in ("One", ".", " ", "T", "wo. ")]

    assert (given, stage.held) == ([[], [], [], ["One. "], []], len("Two. "))


@pytest.mark.parametrize(
    ("events", "smooth", "sentences"),
    [
        (
            [sk.TextDelta("a b"), sk.Usage(1, 2, 3), sk.TextDelta("c. D"), END],
            [sk.TextDelta("a "), sk.TextDelta("b"), sk.Usage(1, 2, 3), sk.TextDelta("c. "), sk.TextDelta("D"), END],
            [sk.Usage(1, 2, 3), sk.TextDelta("a bc. "), sk.TextDelta("D"), END],
        ),
        (
            [sk.TextDelta("a", 0), sk.TextDelta("b", 1), sk.TextDelta("a ", 0), sk.Finish("stop", 1), END],
            [sk.TextDelta("aa ", 0), sk.TextDelta("b", 1), sk.Finish("stop", 1), END],
            [sk.TextDelta("b", 1), sk.Finish("stop", 1), sk.TextDelta("aa ", 0), END],
        ),
        (
            [sk.ReasoningDelta("why"), sk.TextDelta("so"), sk.RefusalDelta("no"), sk.TextDelta("!")],
            [sk.ReasoningDelta("why"), sk.TextDelta("so"), sk.RefusalDelta("no"), sk.TextDelta("!")],
            [sk.ReasoningDelta("why"), sk.TextDelta("so"), sk.RefusalDelta("no"), sk.TextDelta("!")],
        ),
        (
            [sk.TextDelta("a"), sk.ToolCallDelta(0, "c", "f"), sk.TextDelta("b")],
            [sk.TextDelta("a"), sk.ToolCallDelta(0, "c", "f"), sk.TextDelta("b")],
            [sk.ToolCallDelta(0, "c", "f"), sk.TextDelta("ab")],
        ),
        (
            [sk.TextDelta("a", 0), sk.TextDelta("b", 1), sk.ToolCallDelta(0, "c", "f", index=1), END],
            [sk.TextDelta("b", 1), sk.ToolCallDelta(0, "c", "f", index=1), sk.TextDelta("a", 0), END],
            [sk.ToolCallDelta(0, "c", "f", index=1), sk.TextDelta("a", 0), sk.TextDelta("b", 1), END],
        ),
    ],
    ids=["beside", "choices", "channels", "tools", "another choice"],
)
def test_order_beside_other_events(events: list[sk.Event], smooth: list[sk.Event], sentences: list[sk.Event]) -> None:
    assert list(ops.Smooth().run(events)) == smooth
    assert list(ops.Sentences().run(events)) == sentences


def test_a_piece_without_an_end_is_released_at_its_limit() -> None:
    text = "x" * 25

    for size in (1, 7, 25):
        assert texts(ops.Smooth("word", max_held=10).run(cut_text(text, range(0, 25, size)))) == [
            "x" * 10,
            "x" * 10,
            "x" * 5,
        ]


def test_a_rule_that_says_too_much_or_too_little_loses_nothing() -> None:
    for rule in (lambda text: 10**9, lambda text: -1, lambda text: 0):
        assert "".join(texts(ops.Smooth(rule, max_held=3).run(cut_text("abcdefgh", range(8))))) == "abcdefgh"


ALPHABET = st.sampled_from(
    ["a", "B", "1", " ", "\n", ".", "!", "。", "」", '"', ",", "漢", "e.g.", "Dr.", "é", "\u2028"]
)
STAGES = [
    ops.Smooth("word"),
    ops.Smooth("line", 5),
    ops.Smooth("sentence", 9),
    ops.Smooth(r",+|!\s"),
    ops.Sentences(),
    ops.Sentences(7),
]


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_any_text_cut_anywhere_comes_in_the_same_pieces_and_whole(stage: ops.Smooth) -> None:
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(ALPHABET, max_size=40).map("".join), st.sets(st.integers(0, 80)))
    def check(text: str, at: set[int]) -> None:
        whole = texts(stage.run(cut_text(text, ())))
        assert texts(stage.run(cut_text(text, at))) == texts(stage.run(cut_text(text, range(len(text))))) == whole
        assert "".join(whole) == text
        assert all(0 < len(piece) <= stage.max_held for piece in whole)

    check()


@pytest.mark.parametrize("stage", [ops.Smooth(), ops.Smooth("sentence"), ops.Smooth(r"\d+ "), ops.Sentences()], ids=str)
@pytest.mark.parametrize("text", ["x", "a. ", "!", "\n", "。"])
def test_time_grows_with_the_text_whole_or_by_the_character(stage: ops.Smooth, text: str) -> None:
    def seconds(length: int) -> float:
        body = text * (length // len(text))
        started = time.process_time()
        for events in ([sk.TextDelta(body)], [sk.TextDelta(character) for character in body]):
            assert sum(map(len, texts(stage.run(events)))) == len(body)
        return time.process_time() - started

    small, large = min(seconds(1_000) for _ in range(3)), seconds(10_000)

    # Ten times the text; quadratic would be a hundred times.
    assert large < 40 * small + 0.5


def test_neighbours_of_one_burst_are_joined() -> None:
    events = [
        sk.events.RoleDelta("assistant"),
        sk.TextDelta("a", payload="{}"),
        sk.TextDelta("b"),
        sk.TextDelta("c", 1),
        sk.ReasoningDelta("d"),
        sk.TextDelta("e"),
        sk.Finish("stop"),
        sk.TextDelta("f"),
        sk.TextDelta("g"),
    ]

    joined = list(ops.Coalesce().run(events))

    assert joined == [
        sk.events.RoleDelta("assistant"),
        sk.TextDelta("ab"),
        sk.TextDelta("c", 1),
        sk.ReasoningDelta("d"),
        sk.TextDelta("e"),
        sk.Finish("stop"),
        sk.TextDelta("fg"),
    ]
    assert joined[1].raw is None
    assert list(ops.Coalesce().run(iter(events))) == events


@pytest.mark.parametrize("stage", [ops.Smooth(), ops.Smooth("line"), ops.Sentences(), ops.Sentences(language="en")])
def test_a_reset_discards_the_text_before_it(stage: ops.Smooth) -> None:
    events = [sk.TextDelta("Void"), sk.ReasoningDelta("void"), Reset("failed"), sk.TextDelta("Valid text."), END]

    released = list(stage.run(iter(events)))

    assert "".join(texts(released[released.index(Reset("failed")) :])) == "Valid text."
    assert stage.held == 0
