"""Windows: where a text is cut for a classifier, whatever the pieces it comes in."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import PipelineError
from streamkit.moderation import Window, Windows
from streamkit.moderation.classifiers.chunking import Chunker


def windows_of(windows: Windows, pieces: list[str]) -> list[str]:
    chunker = Chunker(windows)
    found = [window for piece in pieces for window in chunker.feed(piece)]
    return [*found, *chunker.feed("", final=True)]


@pytest.mark.parametrize(
    ("windows", "text", "expected"),
    [
        (Windows(sentences=1), "", []),
        (Windows(sentences=1), " \n ", [" \n "]),
        (Windows(sentences=1), "One. Two", ["One. ", "Two"]),
        (Windows(sentences=1), "One.  Two", ["One. ", " Two"]),
        (Windows(sentences=1), "Really?! (Yes.) No…", ["Really?! ", "(Yes.) ", "No…"]),
        (Windows(sentences=1), "Pi is 3.14 at a.b.c!", ["Pi is 3.14 at a.b.c!"]),
        (Windows(sentences=1), '"Stop!" she said.\nHe did.', ['"Stop!" ', "she said.\n", "He did."]),
        (Windows(sentences=1), "# Title\n\n- item\n", ["# Title\n", "\n- item\n"]),
        (Windows(sentences=1), "これは文です。「はい。」次", ["これは文です。", "「はい。」", "次"]),
        (Windows(sentences=2), "A. B. C. D", ["A. B. ", "C. D"]),
        (Windows(chars=5), "abcdefghijkl", ["abcde", "fghij", "kl"]),
        (Windows(chars=5), "abcde", ["abcde"]),
        (Windows(chars=8), "one two three four", ["one two ", "three ", "four"]),
        (Windows(chars=3), "abe\u0301f", ["ab", "e\u0301f"]),
        (Windows(chars=2), "a👩\u200d🚀b", ["a", "👩\u200d", "🚀b"]),
        (Windows(chars=4), "ab👋\U0001f3fdc", ["ab👋\U0001f3fd", "c"]),
        (Windows(chars=3), "🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        (Windows(tokens=2, count=lambda word: 1), "one two three four five", ["one two", " three four", " five"]),
        (Windows(tokens=3), "0123456789ab 0123", ["0123456789ab", " 0123"]),
        (Windows(sentences=3, chars=6), "A. B. C. D. E. F", ["A. B. ", "C. D. ", "E. F"]),
    ],
)
def test_a_text_and_its_windows(windows: Windows, text: str, expected: list[str]) -> None:
    assert windows_of(windows, [text]) == expected


POLICIES = [
    Windows(sentences=1),
    Windows(sentences=2, chars=9),
    Windows(chars=1),
    Windows(chars=7),
    Windows(tokens=2),
    Windows(tokens=3, sentences=1, chars=11),
]
texts = st.text(st.sampled_from("ab .!?\n\"')。！」\u0301\u200d👩🚀🇩\U0001f3fd\r…x"), max_size=60)


@given(texts, st.data(), st.sampled_from(POLICIES))
def test_the_windows_do_not_depend_on_the_pieces(text: str, data: Any, windows: Windows) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = windows_of(windows, [text])

    assert windows_of(windows, pieces) == windows_of(windows, list(text)) == whole
    assert "".join(whole) == text
    assert all(0 < len(window) <= windows.chars for window in whole)


@given(texts, st.integers(0, 60), st.sampled_from(POLICIES))
def test_a_chunker_goes_on_from_its_state(text: str, at: int, windows: Windows) -> None:
    first, second = Chunker(windows), Chunker(windows)
    found = first.feed(text[:at])
    second.restore(first.state())

    assert found + second.feed(text[at:], final=True) == windows_of(windows, [text])


@pytest.mark.parametrize("piece", [1, 1 << 20], ids=["character by character", "in one piece"])
@pytest.mark.parametrize("text", ["word ", "Sentence. ", "x", "\n", ".", "  "], ids=repr)
def test_time_is_linear(text: str, piece: int) -> None:
    text = text * (100_000 // len(text))
    began = time.perf_counter()
    windows = windows_of(Windows(sentences=1, tokens=500), [text[at : at + piece] for at in range(0, len(text), piece)])

    assert "".join(windows) == text
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chars": 0}, "expected chars of 1 or more, found 0"),
        ({"sentences": 0}, "expected sentences of 1 or more, found 0"),
        ({"tokens": -1}, "expected tokens of 1 or more, found -1"),
        ({"overlap": -1}, "expected an overlap of 0 or more, found -1"),
        ({"seconds": -1.0}, "expected seconds of 0 or more, found -1.0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Windows(**options)


def test_the_representation_of_a_window_has_no_text() -> None:
    assert repr(Window(3, "blue heron", "a ", 2, "refusal", 1)) == "<window 3: refusal of choice 1, 2 to 12>"
