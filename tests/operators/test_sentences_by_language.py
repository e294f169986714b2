"""Sentences by the rules of a language: where they end, when they are released, and that the cuts decide nothing."""

import sys
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
import sentencex
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import ops
from streamkit.errors import PipelineError
from streamkit.operators import language as by_language

LANGUAGES = ["en", "de", "es", "fr", "it", "ru", "el", "ko", "ja", "zh", "hi", "ar", "sv"]


def sentences(language: str, pieces: Iterable[str], max_held: int = 4000) -> list[str]:
    stage = ops.Sentences(max_held, language)
    return [
        event.text for event in stage.run([sk.TextDelta(piece) for piece in pieces]) if isinstance(event, sk.TextDelta)
    ]


def in_pieces(text: str, at: Iterable[int]) -> list[str]:
    places = [0, *sorted({place for place in at if 0 < place < len(text)}), len(text)]
    return [text[start:end] for start, end in pairwise(places) if start < end]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "en",
            "Dr. Jones met the U.S. Army at 5 p.m. on Fig. 3, etc. He paid $3.50 to J. R. Smith. OK?! Yes... maybe. No.",
            [
                "Dr. Jones met the U.S. Army at 5 p.m. on Fig. 3, etc. ",
                "He paid $3.50 to J. R. Smith. ",
                "OK?! ",
                "Yes... maybe. ",
                "No.",
            ],
        ),
        (
            "en",
            'She said, "I am here. You are not." Then (it was late. Very late.) she left. Why?',
            ['She said, "I am here. You are not." ', "Then (it was late. Very late.) she left. ", "Why?"],
        ),
        ("en", "He left. “Where are you?” she said. Ok", ["He left. ", "“Where are you?” she said. ", "Ok"]),
        ("en", "The '90s were fun. A 5\" disk. See [1]. If a < b. Done", None),
        ("en", "As shown.[1][2] It works. Yes", ["As shown.[1][2] ", "It works. ", "Yes"]),
        (
            "de",
            "Das kostet z. B. ca. 5 Mio. Euro. Am 3. Mai kam Dr. Meier, d. h. gestern. „Ja. Nein.“ Gut",
            ["Das kostet z. B. ca. 5 Mio. Euro. ", "Am 3. Mai kam Dr. Meier, d. h. gestern. ", "„Ja. Nein.“ ", "Gut"],
        ),
        (
            "es",
            "¿Qué? ¡No! La Sra. López y el Dr. Ruiz. Sí",
            ["¿Qué? ", "¡No! ", "La Sra. López y el Dr. Ruiz. ", "Sí"],
        ),
        (
            "fr",
            "M. Dupont dit : « Oui. Non. » Puis il part. Bon",
            ["M. Dupont dit : « Oui. Non. » ", "Puis il part. ", "Bon"],
        ),
        ("pt-BR", "A Sra. Silva chegou. Olá", ["A Sra. Silva chegou. ", "Olá"]),
        ("ru", "Это т. е. так. Он ушёл! Да", None),
        ("ko", "안녕하세요. 3.5배입니다! 정말요? 네", ["안녕하세요. ", "3.5배입니다! ", "정말요? ", "네"]),
        (
            "ja",
            "はい。「行こう。早く！」と言った。Python 3.11です。次",
            ["はい。", "「行こう。早く！」", "と言った。", "Python 3.11です。", "次"],
        ),
        (
            "zh-Hans",
            "今天。我们去公园吧！“好。走。”他说。价格是3.5元。完",
            ["今天。", "我们去公园吧！", "“好。走。”", "他说。", "价格是3.5元。", "完"],
        ),
        ("hi", "नमस्ते। आप कैसे हैं? ठीक", ["नमस्ते। ", "आप कैसे हैं? ", "ठीक"]),
        # Markdown
        (
            "en",
            "# Results\n\nTwo things:\n\n1. First. It works.\n2. Second\n- a. b\n\nEnd. Bye",
            [
                "# Results\n\n",
                "Two things:\n\n",
                "1. First. ",
                "It works.\n",
                "2. Second\n",
                "- a. b\n\n",
                "End. ",
                "Bye",
            ],
        ),
        (
            "en",
            "**Note. Well.** This is *it.* _Really._ Ok",
            ["**Note. ", "Well.** ", "This is *it.* ", "_Really._ ", "Ok"],
        ),
        ("zh", "**重要。**下一句。1.苹果好。", ["**重要。**", "下一句。", "1.苹果好。"]),
        ("zh", "1.苹果好。\n2.香蕉。", ["1.苹果好。\n", "2.香蕉。"]),
        ("en", "  \n Indented. Yes\r\nNo", ["  \n Indented. ", "Yes\r\n", "No"]),
        ("en", "Half \ud83d of a pair. Next\u00a0. A\u3000. Ok", None),
        ("en", "", []),
        ("en", " \n ", [" \n "]),
    ],
)
def test_where_sentences_end(language: str, text: str, expected: list[str] | None) -> None:
    whole = sentences(language, [text])

    assert whole == sentences(language, text)
    assert "".join(whole) == text
    assert expected is None or whole == expected


# fmt: off
TRICKY = st.sampled_from([
    "Dr.", "z.B.", "e.g.", "U.S.", "J.", "p.m.", "...", "…", " . .", "?!", "!", "?", "。", "！", "「", "」", '"', "'", "`", "``",
    "''", "“", "”", "„", "«", "»", "(", ")", "[1]", "[", "]", "<", "1.", "1)", "a)", "• ", "- ", "* ", "**", "_", "#", ", ", ": ",
    ";", "@x.com", " ", " ", " ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\ud800", "A", "b", "The ",
    "word ", "Mai", "漢", "안녕", "é", "İ", "ß", "👋", "7",
])
# fmt: on


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_the_same_for_any_cuts(language: str) -> None:
    @settings(max_examples=25, deadline=None, database=None)
    @given(st.lists(TRICKY, max_size=40).map("".join), st.sets(st.integers(0, 80)), st.sampled_from([4000, 25, 4]))
    def check(text: str, at: set[int], most: int) -> None:
        whole = sentences(language, [text], most)
        assert sentences(language, in_pieces(text, at), most) == sentences(language, text, most) == whole
        assert "".join(whole) == text
        assert all(0 < len(sentence) <= most for sentence in whole)

    check()


# fmt: off
PROSE = {
    "en": ["Dr. Who is in the U.S. today. ", 'He said, "Go on. Stay." ', "It cost $3.50 (or so)! ", "Really?! ", "J. left... "],
    "de": ["Am 3. Mai kam Dr. Weiß. ", "Das ist z.B. ca. 5 km. ", "„Gut. Ja.“ ", "Wirklich?! ", "Nr. 5 lebt (bzw. er.)... "],
    "es": ["El Sr. López llegó. ", "¿Qué? ", "¡No me digas! ", "«Sí. No.» ", "La Dra. Ruiz (p. ej. ella.) vino... "],
    "ko": ["안녕하세요. ", "3.5배입니다! ", "“네. 아니요.” ", "정말요?! ", "김 박사(Dr. Kim.)가 왔다… "],
    "ja": ["はい。", "「行こう。早く！」", "本当？！", "Tanaka Inc. が来た。 ", "価格は3.5円（約。）です。"],
    "zh": ["今天很好。", "“走吧。快！”", "真的吗？！", "NBA的。", "价格是3.5元（约。）。"],
}
# fmt: on


@pytest.mark.parametrize("language", PROSE)
def test_sentences_of_prose_are_those_of_the_complete_text(language: str) -> None:
    @settings(max_examples=25, deadline=None, database=None)
    @given(st.lists(st.sampled_from(PROSE[language]), min_size=1, max_size=12).map("".join))
    def check(text: str) -> None:
        # sentencex leaves a space behind some sentences to the next one; here it belongs to the sentence.
        expected = [segment.strip() for segment in sentencex.segment(language, text)]
        assert [sentence.strip() for sentence in sentences(language, text)] == expected

    check()


@pytest.mark.parametrize(
    ("language", "pieces", "given_at_once"),
    [
        ("en", ["One", ". ", "T", "wo", " ", "three. "], [[], [], [], [], ["One. "], []]),
        ("en", ["Dr. ", "Jones", ". "], [[], [], []]),
        (
            "en",
            ['So "go. ', 'Run" now. ', '"Who am. I', '" cried. You ', "x"],
            [[], [], ['So "go. Run" now. '], ['"Who am. I" cried. '], []],
        ),
        ("en", ["A '90s hit. Then ", "x"], [["A '90s hit. "], []]),
        ("en", ["# Head", "\n", "x"], [[], [], ["# Head\n"]]),
        ("zh", ["好。", "我", "们。「", "走"], [[], ["好。"], [], ["我们。"]]),
        ("zh", ["1.好。2.5元。", "我"], [["1.好。"], ["2.5元。"]]),
        ("ko", ["네. ", "저"], [[], ["네. "]]),
        ("de", ["Am 3", ". ", "M", "ai. ", "Dann ", "x"], [[], [], [], [], ["Am 3. Mai. "], []]),
        # Without a space it is decided 40 characters later.
        ("ja", ["Yes!P" + "y" * 38, "y"], [[], ["Yes!"]]),
    ],
)
def test_a_sentence_is_released_when_the_next_word_is_complete(
    language: str, pieces: list[str], given_at_once: list[list[str]]
) -> None:
    stage = ops.Sentences(language=language).fresh()

    given = [[event.text for event in stage.feed(sk.TextDelta(piece))] for piece in pieces]  # type: ignore[union-attr]

    assert given == given_at_once
    assert stage.held == len("".join(pieces)) - len("".join(text for texts in given_at_once for text in texts))


def test_text_that_never_ends_a_sentence_comes_in_parts() -> None:
    assert sentences("en", "x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    # An open bracket holds what is a sentence without it.
    assert sentences("en", "(Is it. Was it. Who knows", 12) == ["(Is it. ", "Was it. ", "Who knows"]


def test_choices_and_channels_have_their_own_sentences() -> None:
    events = [
        sk.TextDelta("One. Tw", 0),
        sk.TextDelta("Eins. Zw", 1),
        sk.Usage(1, 2, 3),
        sk.TextDelta("o three.", 0),
        sk.ReasoningDelta("Hm. So", 0),
        sk.Finish("stop", 1),
        sk.StreamEnd("completed"),
    ]

    assert list(ops.Sentences(language="en").run(events)) == [
        sk.Usage(1, 2, 3),
        sk.TextDelta("One. ", 0),
        sk.TextDelta("Two three.", 0),
        sk.TextDelta("Eins. ", 1),
        sk.TextDelta("Zw", 1),
        sk.Finish("stop", 1),
        sk.ReasoningDelta("Hm. ", 0),
        sk.ReasoningDelta("So", 0),
        sk.StreamEnd("completed"),
    ]


@pytest.mark.parametrize("language", ["english", "xx", "e", "", "en US", "de-", 5])
def test_an_unknown_language_is_an_error_that_names_what_is_accepted(language: str) -> None:
    with pytest.raises(PipelineError) as caught:
        ops.Sentences(language=language)

    assert str(caught.value).startswith(
        "language: expected an ISO 639-1 code, alone or with a script or region, such as 'de' or 'pt-BR'; found "
    )
    assert "am, ar, bg" in str(caught.value)


@pytest.mark.parametrize("language", ["de", "DE", "de-AT", "de_CH", "zh-Hans-CN", "sv", "th"])
def test_a_language_tag_is_accepted(language: str) -> None:
    stage = ops.Sentences(language=language)

    assert repr(stage) == f"ops.Sentences(language={language!r})"
    assert list(stage.run([sk.TextDelta("A. B")])) == [sk.TextDelta("A. B")] or language in ("sv", "th")


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencex", None)
    by_language._sentencex.cache_clear()
    try:
        with pytest.raises(PipelineError, match=r"needs sentencex: install the extra 'sentences' of streamkit-llm"):
            ops.Sentences(language="de")
        assert [*ops.Sentences().run([sk.TextDelta("A b. C")])] == [sk.TextDelta("A b. "), sk.TextDelta("C")]
    finally:
        by_language._sentencex.cache_clear()


def test_a_panic_of_the_library_is_an_exception_without_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Panicking:
        @staticmethod
        def segment(language: str, text: str) -> list[str]:
            raise PanicException(text)

    monkeypatch.setattr(by_language, "_sentencex", Panicking)
    run = ops.Sentences(language="de").run([sk.Usage(1, 2, 3), sk.TextDelta("my secret. Next one")])

    assert next(run) == sk.Usage(1, 2, 3)
    with pytest.raises(RuntimeError, match="sentencex failed") as caught:
        next(run)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["x", "a. ", "!", "\n", "。", "(A b. ", '"A b. ', "A.B.", "' "])
def test_time_grows_with_the_text_whole_or_by_the_character(text: str) -> None:
    def seconds(length: int) -> float:
        body = text * (length // len(text))
        started = time.process_time()
        for pieces in ([body], body):
            assert sum(map(len, sentences("en", pieces, 1000))) == len(body)
        return time.process_time() - started

    small, large = min(seconds(1_000) for _ in range(2)), seconds(10_000)

    # Ten times the text; quadratic would be a hundred times.
    assert large < 40 * small + 0.5
