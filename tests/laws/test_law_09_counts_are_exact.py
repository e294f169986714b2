"""Law 9: a count equals `len(encoding.encode_ordinary(text so far))` at every point where it is read, whatever the cuts."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import Count, TextDelta, TokenCount, ToolCallDelta
from streamkit.tokens import load_encoding

ENCODINGS = ["cl100k_base", "o200k_base", "p50k_base", "r50k_base"]
every_encoding = pytest.mark.parametrize("name", ENCODINGS)

# Texts that the pattern of an encoding treats specially, and texts on which libraries disagree.
WORDS = "a word Word WORD 1 12 1234 3.14 , ! ... / _ ' 's 'S 'll don't ’s <|endoftext|> <|im_start|> <|fim_prefix|>"
OTHERS = "é e\u0301 ß ǅ º ʰ ſ ᾳ 漢 字 ん ー カ 가 ا ل ไ م 无码AV AV ¨ 😀 🇨🇭 \u200d \ufe0f \0 \ufeff \ufffd"
SPACES = [" ", "  ", " the", "\n", "\r\n", "\n\n", "\t", "\u00a0", "\u2003", "\u2028", "\x85", "\x1c", "\x1f"]
FRAGMENTS = [*WORDS.split(" "), *OTHERS.split(" "), *SPACES]
DELTAS = st.lists(
    st.tuples(st.sampled_from(FRAGMENTS), st.sampled_from([1, 1, 1, 2, 7, 70, 300]), st.booleans()),
    min_size=1,
    max_size=25,
).map(lambda draws: [(fragment * times, read) for fragment, times, read in draws])


def check(name: str, deltas: list[tuple[str, bool]]) -> None:
    encoding, text, stage = load_encoding(name), "", Count(name).fresh()

    for delta, read in [*deltas, ("", True)]:
        text += delta
        list(stage.feed(TextDelta(delta)))
        if read:
            assert stage.tokens() == len(encoding.encode_ordinary(text))


@every_encoding
@settings(deadline=None, max_examples=120)
@given(deltas=DELTAS)
@example(
    deltas=[("!1" * 200 + "无码AVXQ", True), ("ideo", True)]
)  # a lower-case letter joins the capitals to the characters before them
def test_a_count_is_exact_wherever_it_is_read(name: str, deltas: list[tuple[str, bool]]) -> None:
    check(name, deltas)


@every_encoding
@settings(deadline=None, max_examples=40)
@given(text=st.text(max_size=400), sizes=st.lists(st.integers(1, 40), max_size=30))
def test_a_count_is_exact_for_any_text(name: str, text: str, sizes: list[int]) -> None:
    deltas, at = list[tuple[str, bool]](), 0
    for size in sizes:
        deltas.append((text[at : at + size], True))
        at += size

    check(name, [*deltas, (text[at:], True)])


@every_encoding
@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog. " * 40,
        "<|endoftext|> is not special here, nor is <|im_start|>system<|im_end|>. " * 10,
        "我能吞下玻璃而不伤身体。" * 100,
        "Donaudampfschifffahrtsgesellschaftskapitän" * 40,
        "x" * 3000,
        "AAAA" * 300 + "a",
        "   \n\n   \t" * 200,
        "3.14159265358979" * 60,
        "👩‍👩‍👧‍👦🇨🇭👍🏽" * 60,
        "def f(x):\n    return x\n\n\n" * 60,
        "e\u0301o\u0308" * 300,
    ],
    ids=[
        "prose",
        "special tokens",
        "Chinese",
        "a long word",
        "one letter",
        "capitals",
        "white space",
        "digits",
        "emoji",
        "code",
        "marks",
    ],
)
@pytest.mark.parametrize("size", [3, 100])
def test_a_running_count_is_exact_at_every_delta(name: str, text: str, size: int) -> None:
    encoding = load_encoding(name)
    cuts = range(0, len(text), size)

    counts = Count(name, running=True).run(TextDelta(text[at : at + size]) for at in cuts)
    seen = [event.tokens for event in counts if isinstance(event, TokenCount)][: len(cuts)]

    # Checked at every tenth cut only, since encoding the whole text at each cut would be slow.
    checked = range(0, len(cuts), max(1, len(cuts) // 10))
    assert [seen[at] for at in checked] == [len(encoding.encode_ordinary(text[: cuts[at] + size])) for at in checked]
    assert seen[-1] == len(encoding.encode_ordinary(text))


CALLS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from(FRAGMENTS), st.booleans()), min_size=1, max_size=40
)


@every_encoding
@settings(deadline=None, max_examples=60)
@given(pieces=CALLS)
@example(pieces=[(0, 0, "hel", True), (0, 1, "lo", True), (0, 0, "lo", True), (1, 0, "hel", True)])
def test_the_count_of_each_of_several_parallel_calls_is_exact(
    name: str, pieces: list[tuple[int, int, str, bool]]
) -> None:
    encoding, stage = load_encoding(name), Count(name, running=True).fresh()
    texts: dict[tuple[int, int], str] = {}

    for index, call, piece, read in pieces:
        texts[index, call] = texts.get((index, call), "") + piece
        *_, told = stage.feed(ToolCallDelta(call, arguments=piece, index=index))
        exact = len(encoding.encode_ordinary(texts[index, call]))
        assert told == TokenCount(exact, "tool_arguments", index, name, tool_index=call)
        if read:
            assert stage.tokens("tool_arguments", index, call) == exact
    assert stage.tokens() == sum(len(encoding.encode_ordinary(text)) for text in texts.values())
