"""The running count: exact inside a piece without an end, and cheap there too. Law 9 has the rest."""

import json
import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from streamkit.tokens import RunningCount, load_encoding, running

ENCODINGS = ["cl100k_base", "o200k_base", "p50k_base", "r50k_base"]
every_encoding = pytest.mark.parametrize("name", ENCODINGS)
WITHOUT_AN_END = {
    "one letter": "xxx",
    "capitals": "ACG",
    "Chinese": "我能吞",
    "Chinese and capitals": "漢AB",
    "marks": "e\u0301",
    "Thai": "ภาษาไทย",
    "digits": "123",
    "dashes": "---",
    "emoji": "😀👍🏽",
    "spaces": "  ",
    "line ends": "\n\n",
    "base64": "aGVsbG8gd29ybGQh",
}


class Watched:
    """An encoding that adds up what it is asked to encode."""

    def __init__(self, name: str) -> None:
        self._encoding = load_encoding(name)
        self._pat_str = self._encoding._pat_str
        self.decode_single_token_bytes = self._encoding.decode_single_token_bytes
        self.longest = self.all = 0

    def encode_ordinary(self, text: str) -> list[int]:
        self._see(len(text))
        return self._encoding.encode_ordinary(text)

    def _encode_single_piece(self, piece: bytes) -> list[int]:
        self._see(len(piece))
        encode: Callable[[bytes], list[int]] = self._encoding._encode_single_piece  # type: ignore[assignment]
        return encode(piece)

    def _see(self, size: int) -> None:
        self.longest, self.all = max(self.longest, size), self.all + size


def watched(name: str) -> tuple[RunningCount, Watched]:
    encoding = Watched(name)
    return RunningCount(encoding), encoding  # type: ignore[arg-type]


def read_all(count: RunningCount, deltas: Iterable[str]) -> int:
    for delta in deltas:
        count.feed(delta)
        count.tokens  # noqa: B018
    return count.tokens


def test_a_count_may_be_read_before_anything_was_fed() -> None:
    assert RunningCount(load_encoding("r50k_base")).tokens == 0


def test_the_guides_count_to_100_has_300_tokens() -> None:
    """Also in two pieces, as it comes from a stream."""
    encoding, text = load_encoding("cl100k_base"), "\n\n" + ", ".join(str(number) for number in range(1, 101)) + "."
    count = RunningCount(encoding)
    count.feed(text[:100])
    count.feed(text[100:])

    assert count.tokens == len(encoding.encode_ordinary(text)) == 300


@every_encoding
@pytest.mark.parametrize("unit", WITHOUT_AN_END.values(), ids=WITHOUT_AN_END.keys())
def test_text_without_an_end_costs_the_same_at_every_delta(name: str, unit: str) -> None:
    """No single encoding is long, and all together are as many characters a delta after 3,000 deltas as after 1,000."""
    count, encoding = watched(name)
    count.feed("go:")
    read_all(count, [unit] * 1000)
    first = encoding.all
    reached = read_all(count, [unit] * 2000)

    assert reached == len(load_encoding(name).encode_ordinary("go:" + unit * 3000))
    assert encoding.longest < 2000
    assert encoding.all - first < 2.5 * first


@every_encoding
def test_prose_is_not_encoded_again_and_again(name: str) -> None:
    count, encoding = watched(name)

    assert read_all(count, [" word"] * 5000) == 5000
    assert encoding.all < 4 * 5 * 5000


def test_what_is_known_of_short_texts_is_bounded_and_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = load_encoding("o200k_base")
    known: dict[str, int] = {}
    monkeypatch.setitem(running._KNOWN, encoding, known)
    monkeypatch.setattr(running, "_MOST_KNOWN", 5)
    deltas = [" one", " two", " three", " four", " five", " six", ", ", "a word of 30 letters without an", "end"] * 3

    for deltas_of_one in (deltas, list("".join(deltas))):
        count = RunningCount(encoding)
        for at, delta in enumerate(deltas_of_one, 1):
            count.feed(delta)
            assert count.tokens == len(encoding.encode_ordinary("".join(deltas_of_one[:at])))
            assert len(known) <= 5
            assert all(len(text) <= 16 for text in known)
    assert known


@pytest.mark.parametrize(
    ("name", "letter"), [("cl100k_base", "x"), ("o200k_base", "漢"), ("cl100k_base", "-"), ("r50k_base", "7")]
)
def test_a_long_row_of_one_character_is_counted_in_small_steps(name: str, letter: str) -> None:
    count, encoding = watched(name)
    size = 1_000_000 if letter == "x" else 50_000
    count.feed(letter * size)
    reached = count.tokens

    assert encoding.longest < 10_000
    assert reached == len(load_encoding(name)._encode_single_piece((letter * size).encode()))


def test_a_row_of_spaces_that_tiktoken_itself_fails_at_is_counted() -> None:
    """o200k's pattern overflows tiktoken's stack there. Of the spaces all but the last are a piece."""
    encoding, count = load_encoding("o200k_base"), RunningCount(load_encoding("o200k_base"))
    count.feed("\n" + " " * 120_000 + "x")

    spaces = encoding._encode_single_piece(b" " * 119_999)
    assert count.tokens == 1 + len(spaces) + len(encoding.encode_ordinary(" x"))


# Cuts inside a piece, and when they must be taken back


@pytest.mark.parametrize(
    ("name", "text", "then"),
    [
        ("cl100k_base", "!\n" + "\n" * 300, "  \n"),
        ("o200k_base", "!\n" + "/" * 300, "'s"),
        ("cl100k_base", "\n" + " " * 3000, "x"),
        ("cl100k_base", "\n" + " " * 3000, "\n"),
        ("cl100k_base", "!" + "\n" * 3000, " \n"),
        ("o200k_base", "漢" + "A" * 3000, "b"),
        ("o200k_base", "漢" + "A" * 3000, "字"),
        ("o200k_base", "漢" + "A" * 3000, " "),
        ("o200k_base", "!!" + "\u0301" * 3000, "漢"),
        ("o200k_base", "a" + "漢" * 3000, "ABc"),
        ("r50k_base", " " * 3000, "x"),
        ("r50k_base", "." * 3000, "'s"),
    ],
    ids=lambda value: ascii(value[:4]),
)
def test_text_that_turns_an_endless_piece_into_another_is_counted_right(name: str, text: str, then: str) -> None:
    encoding, count = load_encoding(name), RunningCount(load_encoding(name))
    count.feed(text)
    before = count.tokens
    count.feed(then)

    assert before == len(encoding.encode_ordinary(text))
    assert count.tokens == len(encoding.encode_ordinary(text + then))


def test_a_piece_that_turns_is_encoded_again_once_and_not_at_every_delta() -> None:
    count, encoding = watched("cl100k_base")
    read_all(count, ["\n", *["    "] * 2500])
    before = encoding.all
    read_all(count, ["word"] * 100)

    assert encoding.all - before < 6 * 10_000


@every_encoding
def test_two_tokens_side_by_side_are_the_encoding_of_their_bytes_wherever_they_stand(name: str) -> None:
    """The ground of the cut inside a piece: neighbours stay neighbours, and what is made of such pairs is the encoding."""
    encoding, draw = load_encoding(name), random.Random(name)

    def encode(data: bytes) -> list[int]:
        found: list[int] = encoding._encode_single_piece(data)
        return found

    for _ in range(300):
        letters = draw.choice(["ab", "abcdefghij", "aA", "01", "\u4f60\u597d\u6211", " ", "-=", "\x00\xff"])
        word = "".join(draw.choices(letters, k=draw.randint(2, 120))).encode()
        tokens = encode(word)
        parts = [encoding.decode_single_token_bytes(token) for token in tokens]
        pairs = list(zip(parts, parts[1:], tokens, tokens[1:], strict=False))
        assert all(encode(a + b) == [first, second] for a, b, first, second in pairs)
        for place in range(1, len(tokens)):
            assert encode(b"".join(parts[place:])) == tokens[place:]


@every_encoding
def test_every_token_is_the_encoding_of_itself(name: str) -> None:
    """Of a sample: without this, tiktoken's look at whole pieces first would differ from merging."""
    encoding = load_encoding(name)
    for token in random.Random(name).sample(range(256, 50_000), 2000):
        token_bytes = encoding.decode_single_token_bytes(token)
        if len(token_bytes) > 1:
            assert merged(encoding._mergeable_ranks, token_bytes) == [token_bytes]


def merged(ranks: dict[bytes, int], data: bytes) -> list[bytes]:
    """Merging by rank from the left, and nothing else."""
    parts = [data[at : at + 1] for at in range(len(data))]
    while True:
        found = [(ranks[a + b], at) for at, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return parts
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def test_harmony_counts_as_its_base_does() -> None:
    base, harmony = load_encoding("o200k_base"), load_encoding("o200k_harmony")

    assert (base._pat_str, base._mergeable_ranks) == (harmony._pat_str, harmony._mergeable_ranks)


@pytest.mark.parametrize("halves", [("\ud83d", "\ude00"), ("\ud83d", "x"), ("\ude00", " x")], ids=ascii)
def test_half_a_character_is_counted_as_tiktoken_counts_it(halves: tuple[str, str]) -> None:
    encoding, count = load_encoding("o200k_base"), RunningCount(load_encoding("o200k_base"))
    text = "x" * 300
    count.feed(text)
    for half in halves:
        text += half
        count.feed(half)
        assert count.tokens == len(encoding.encode_ordinary(text))


# State


@pytest.mark.parametrize("text", ["plain words " * 50, "x" * 1000, "漢字" * 300 + "\ud83d", ""], ids=ascii)
def test_a_count_goes_on_elsewhere_from_its_state(text: str) -> None:
    encoding = load_encoding("o200k_base")
    first, second = RunningCount(encoding), RunningCount(encoding)
    first.feed(text)
    first.tokens  # noqa: B018
    first.feed("xy")
    second.restore(json.loads(json.dumps(first.state())))
    second.feed("z")

    assert second.tokens == len(encoding.encode_ordinary(text + "xyz"))


def test_a_fork_goes_on_by_itself() -> None:
    encoding, text = load_encoding("cl100k_base"), "x" * 1000
    count = RunningCount(encoding)
    count.feed(text)
    fork = count.fork()
    fork.feed("y" * 500)
    count.feed(" z")

    assert count.tokens == len(encoding.encode_ordinary(text + " z"))
    assert fork.tokens == len(encoding.encode_ordinary(text + "y" * 500))


def test_what_stands_for_the_text_before_a_cut_is_short() -> None:
    count = RunningCount(load_encoding("o200k_base"))
    read_all(count, ["Aé漢\u0301b"] * 2000 + ["b"] * 2000)

    assert max(len(cut.context) for cut in count._cuts) < running._CONTEXT
