"""Law 9 against its oracle: twenty thousand short texts for each encoding, and long ones that run through cut after cut.

The running count keeps little text before it looks for a place to cut, so that most texts are cut inside words too.
`make fuzz` takes a hundred thousand of both for each encoding (FUZZ_EXAMPLES).
"""

import os
import random
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit.tokens import RunningCount, load_encoding, running

SHORT = int(os.environ.get("FUZZ_EXAMPLES", "20000"))
LONG = int(os.environ.get("FUZZ_EXAMPLES", "600"))
ENCODINGS = ["cl100k_base", "o200k_base", "o200k_harmony", "p50k_base", "r50k_base"]
every_encoding = pytest.mark.parametrize("name", ENCODINGS)

# What an encoding's pattern treats in ways of its own.
WORDS = "a word Word WORD aB 1 12 1234 , ! ... / _ ' 's 'S 'll don't ’s <|endoftext|> <|im_start|> <|fim_prefix|>"
OTHERS = (
    "é e\u0301 \u0301 ß ǅ º ʰ ſ ᾳ 漢 字 ん ー カ 가 ا ل ไ ม่ नि 无码AV ¨ 😀 👩‍👩‍👧‍👦 🇨🇭 \u200d \ufe0f \0 \ufeff \ufffd"
)
SPACES = [" ", "  ", " the", "\n", "\r\n", "\n\n", "\t", "\u00a0", "\u2003", "\u2028", "\x85", "\x1c", "\x1f"]
HALVES = ["\ud83d", "\ude00"]
FRAGMENTS = [*WORDS.split(" "), *OTHERS.split(" "), *SPACES]

# The first article of the Universal Declaration of Human Rights, or its beginning.
LANGUAGES = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
}


@pytest.fixture
def early_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_TRY", 16)
    monkeypatch.setattr(running, "_LEFT", 5)
    monkeypatch.setattr(running, "_LEFT_TOKENS", 2)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Half a million texts: what they cover other tests cover too, and coverage would take as long again."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


def drawn(draw: random.Random, pieces: int, fragments: list[str]) -> list[str]:
    """Deltas of a text in few kinds of fragments, some of them many times."""
    few = draw.sample(fragments, draw.choice((1, 2, 2, 3, 4, 8)))
    return [draw.choice(few) * draw.choice((1, 1, 2, 3, 9, 25)) for _ in range(draw.randint(1, pieces))]


def delta_sizes(draw: random.Random, text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = draw.choice((1, 2, 3, 4, 7, 20, 100))
        yield text[at : at + size]
        at += size


@pytest.mark.parametrize(
    "name", [name for name in ENCODINGS if name != "o200k_harmony"]
)  # which counts as its base does
@pytest.mark.usefixtures("early_cuts", "untraced")
def test_short_texts_have_the_count_that_the_encoding_gives(name: str) -> None:
    encoding, draw = load_encoding(name), random.Random(name)
    wrong: list[list[str]] = []
    for _ in range(SHORT):
        count, deltas = RunningCount(encoding), drawn(draw, 3, FRAGMENTS)
        for delta in deltas:
            count.feed(delta)
            reached = count.tokens
        if reached != len(encoding.encode_ordinary("".join(deltas))):
            wrong.append(deltas)

    assert wrong == []


@every_encoding
@pytest.mark.usefixtures("early_cuts")
def test_long_texts_have_it_at_every_point_where_it_is_read(name: str) -> None:
    encoding, draw = load_encoding(name), random.Random(f"{name}, long")
    for _ in range(LONG):
        count, text, deltas = RunningCount(encoding), "", drawn(draw, 25, FRAGMENTS + HALVES)
        for delta in deltas:
            text += delta
            count.feed(delta)
            if draw.random() < 0.5:
                assert count.tokens == len(encoding.encode_ordinary(text)), deltas
        assert count.tokens == len(encoding.encode_ordinary(text)), deltas


@every_encoding
@pytest.mark.parametrize("language", LANGUAGES)
def test_real_sentences_have_it_at_every_delta(name: str, language: str) -> None:
    encoding, draw = load_encoding(name), random.Random(language)
    for separator in (" ", ""):
        count, text = RunningCount(encoding), ""
        for delta in delta_sizes(draw, separator.join([LANGUAGES[language]] * 6)):
            text += delta
            count.feed(delta)
            assert count.tokens == len(encoding.encode_ordinary(text))


@every_encoding
def test_real_code_has_it_wherever_it_is_read(name: str) -> None:
    encoding, draw = load_encoding(name), random.Random(name)
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for module in draw.sample(modules, min(len(modules), max(3, LONG // 1000))):
        code, count, text = module.read_text(encoding="utf-8")[:30_000], RunningCount(encoding), ""
        for delta in delta_sizes(draw, code):
            text += delta
            count.feed(delta)
            if draw.random() < 0.01:
                assert count.tokens == len(encoding.encode_ordinary(text)), module.name
        assert count.tokens == len(encoding.encode_ordinary(code)), module.name
