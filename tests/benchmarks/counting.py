"""The cost of counting a growing answer, over its length: the running count beside encoding it again and again.

    python -m tests.benchmarks.counting [--lengths 500 1000 2000 4000] [--rounds 3]

One delta is one word of the text. Quoted are microseconds a delta, the median of the rounds; what grows with the answer shows in
the columns. Where a way does not give tiktoken's count it says so. Other libraries take part if they are installed (`pip
install tokenizers rs-bpe bpe-openai`), for counting at the end and at every delta.
"""

import argparse
import importlib
import platform
import re
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import tiktoken

from streamkit.tokens import RunningCount, load_encoding

NAME = "cl100k_base"
WORDS = [
    "The",
    " quick",
    " brown",
    " fox",
    ",",
    " 1234",
    " jumps",
    " über",
    " the",
    " lazy",
    " dog",
    ".\n",
    "def",
    " f",
    "(x",
    "):\n",
    "   ",
]
ENDLESS = ["aGV", "sbG8", "gd29", "ybG", "Qh", "IFRo", "aXM"]
Count = Callable[[str], int]


def words(length: int) -> list[str]:
    """Prose with a little code, a word a delta."""
    return [WORDS[number % len(WORDS)] for number in range(length)]


def endless(length: int) -> list[str]:
    """One word without a space, as base64 is."""
    return [ENDLESS[number % len(ENDLESS)] for number in range(length)]


def running(encoding: tiktoken.Encoding, deltas: list[str]) -> int:
    """The running count, read at every delta."""
    count = RunningCount(encoding)
    for delta in deltas:
        count.feed(delta)
        reached = count.tokens
    return reached


def running_at_the_end(encoding: tiktoken.Encoding, deltas: list[str]) -> int:
    """The running count, fed at every delta and read at the end."""
    count = RunningCount(encoding)
    for delta in deltas:
        count.feed(delta)
    return count.tokens


def again_and_again(count: Count, deltas: list[str]) -> int:
    """All of the text at every delta."""
    text, reached = "", 0
    for delta in deltas:
        text += delta
        reached = count(text)
    return reached


def once(count: Count, deltas: list[str]) -> int:
    """All of the text at the end."""
    return count("".join(deltas))


def added_up(count: Count, deltas: list[str]) -> int:
    """Each delta by itself."""
    return sum(map(count, deltas))


def contestants(encoding: tiktoken.Encoding) -> dict[str, Callable[[list[str]], int]]:
    """The contestants."""
    ours = load_encoding(NAME)
    found: dict[str, Callable[[list[str]], int]] = {
        "streamkit, read at every delta": lambda deltas: running(ours, deltas),
        "streamkit, read at the end": lambda deltas: running_at_the_end(ours, deltas),
    }
    counts: dict[str, Count] = {"tiktoken": lambda text: len(encoding.encode_ordinary(text))}
    for name, make in {"tokenizers": _tokenizers, "rs_bpe": _rs_bpe, "bpe_openai": _bpe_openai}.items():
        try:
            counts[name] = make(encoding)
        except ImportError as error:
            print(f"  {name:40} skipped: {error}")
    for name, count in counts.items():
        found[f"{name}, all at every delta"] = lambda deltas, count=count: again_and_again(count, deltas)  # type: ignore[misc]
        found[f"{name}, once at the end"] = lambda deltas, count=count: once(count, deltas)  # type: ignore[misc]
    found["tiktoken, each delta by itself"] = lambda deltas: added_up(counts["tiktoken"], deltas)
    return found


def _rs_bpe(_: tiktoken.Encoding) -> Count:
    made = importlib.import_module("rs_bpe").openai.cl100k_base()
    return lambda text: int(made.count(text))


def _bpe_openai(_: tiktoken.Encoding) -> Count:
    made = importlib.import_module("bpe_openai").get_encoding(NAME)
    return lambda text: len(made.encode_ordinary(text))


def _tokenizers(encoding: tiktoken.Encoding) -> Count:
    library: Any = importlib.import_module("tokenizers")
    letters = _byte_letters()
    spelt = {token: "".join(letters[byte] for byte in token) for token in encoding._mergeable_ranks}
    merges = [
        tuple(spelt[part] for part in parts)
        for token, rank in encoding._mergeable_ranks.items()
        if len(token) > 1 and len(parts := _merged(encoding._mergeable_ranks, token, rank)) == 2
    ]
    vocabulary = {spelt[token]: rank for token, rank in encoding._mergeable_ranks.items()}
    made = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    # Oniguruma means something else by a possessive `+`; greedy repetition matches the same here.
    pattern = library.Regex(re.sub(r"([+*?]|\{1,3\})\+", r"\1", encoding._pat_str))
    split = library.pre_tokenizers.Split(pattern, "isolated")
    letter = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = library.pre_tokenizers.Sequence([split, letter])
    return lambda text: len(made.encode(text, add_special_tokens=False).ids)


def _byte_letters() -> dict[int, str]:
    # GPT-2's way to write bytes as letters: those that can be seen stand for themselves.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def _merged(ranks: dict[bytes, int], token: bytes, below: int) -> list[bytes]:
    parts = [token[at : at + 1] for at in range(len(token))]
    while True:
        found = [(rank, at) for at, (a, b) in enumerate(pairwise(parts)) if (rank := ranks.get(a + b, below)) < below]
        if not found:
            return parts
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def measure(work: Callable[[list[str]], int], deltas: list[str], rounds: int) -> tuple[float, int]:
    """Microseconds a delta, the median of the rounds, and the count."""
    times: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        reached = work(deltas)
        times.append((time.process_time() - start) / len(deltas) * 1e6)
    return statistics.median(times), reached


def main() -> None:
    """Print a table for prose, and one for a word without an end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    encoding = load_encoding(NAME)
    print(f"Python {platform.python_version()}, tiktoken {tiktoken.__version__}, {NAME}; microseconds a delta")
    ways = contestants(encoding)
    for title, make in (("prose", words), ("a word without an end", endless)):
        print(f"\n{title}, of so many deltas: {'':14}" + "".join(f"{length:10}" for length in options.lengths))
        for name, work in ways.items():
            found = [measure(work, make(length), options.rounds) for length in options.lengths]
            right = [len(encoding.encode_ordinary("".join(make(length)))) for length in options.lengths]
            off = found[-1][1] - right[-1]
            note = f"   off by {off:+} of {right[-1]}" if off else ""
            print(f"  {name:44}" + "".join(f"{cost:10.2f}" for cost, _ in found) + note)


if __name__ == "__main__":
    main()
