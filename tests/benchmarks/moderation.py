"""The cost of moderation: time added per delta, in bursts and alone, and how the hard cases grow.

    python -m tests.benchmarks.moderation [--deltas 20000] [--rounds 5] [--only speed|growth|wire]

`speed` feeds an answer of a word per delta to `Moderate`, 32 deltas at a time (one network read of 8 KiB) and one at a time
(how providers send), and subtracts what a stage that passes the deltas on costs. No phrase is in the answer, but the first
words of the phrases are everywhere, so that there is something to hold back. `growth` gives the cases that are hard for a
matcher four sizes each: a time that doubles with the size is linear. `wire` runs five stages over OpenAI's wire, beside the
floor: the typed decode of payloads that are already split. Contestants take turns; quoted are the medians.
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

import streamkit as sk

CHUNK = (
    'data: {"id":"chatcmpl-0123456789abcdef0123456789","object":"chat.completion.chunk","created":1731456253,'
    '"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":null}],'
    '"usage":null}\n\n'
)
VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvw"
BURST = 32
Events = list[sk.Event]


def words(count: int, seed: int) -> list[str]:
    """Words that can be said, of four to eight letters."""
    choose = random.Random(seed)
    return [
        "".join(choose.choice(CONSONANTS) + choose.choice(VOWELS) for _ in range(choose.randint(2, 4)))
        for _ in range(count)
    ]


def word_patterns(count: int) -> sk.Rule:
    """A rule of so many patterns, each of one word that is not in the text."""
    return sk.Rule("x", patterns=tuple(rf"\b{word}x\d*\b" for word in words(count, 4)))


def rules() -> dict[str, tuple[sk.Rule, ...]]:
    """The rules compared: phrases of two words, of which the text has the first, and further options of rules."""
    vocabulary, others = words(2_000, 1), words(10_000, 2)
    phrases = [f"{vocabulary[number % 2_000]} {word}x" for number, word in enumerate(others)]
    disguises = ("nfkc", "accents", "look_alikes", "zero_width")
    five = (
        r"\bkey[- ]?\d{4,8}\b",
        r"\b[A-Z]{2}\d{6}\b",
        r"(?:password|passwd)\s*[:=]\s*\S{4,64}",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"\b[\w.+-]{1,64}@[\w-]{1,63}\.[a-z]{2,24}\b",
    )
    return {
        "no rule": (),
        **{f"{count:,} phrases": (sk.Rule("x", tuple(phrases[:count])),) for count in (10, 1_000, 10_000)},
        "1,000 phrases, whole words": (sk.Rule("x", tuple(phrases[:1_000]), whole_words=True),),
        "1,000 phrases in any disguise": (sk.Rule("x", tuple(phrases[:1_000]), normalize=disguises),),
        "a pattern": (sk.Rule("x", patterns=five[:1]),),
        "5 patterns": (sk.Rule("x", patterns=five),),
        "e-mail, card, IBAN, API keys": (sk.Rule("x", detectors=("email", "card", "iban", "api_key")),),
        **{f"{count:,} word patterns": (word_patterns(count),) for count in (200, 1_000)},
    }


@dataclass
class Passing(sk.Stage[sk.Event, sk.Event]):
    """Does nothing but make the events anew, as any stage must that removes the raw chunk."""

    def feed_all(self, items: Events) -> Events:
        return [sk.TextDelta(item.text, item.index) for item in items if type(item) is sk.TextDelta]


def answer(deltas: int) -> list[str]:
    choose, vocabulary = random.Random(3), words(2_000, 1)
    return [f" {choose.choice(vocabulary)}" for _ in range(deltas)]


def feeding(stage: sk.Stage[sk.Event, sk.Event], texts: list[str], burst: int) -> Callable[[], object]:
    """A run of the stage over these deltas, as the engine feeds them."""
    events: Events = [sk.TextDelta(text, payload="{}") for text in texts]
    bursts = [events[at : at + burst] for at in range(0, len(events), burst)]

    def work() -> None:
        run = stage.fresh()
        for items in bursts:
            list(run.feed_all(items))
        list(run.flush())

    return work


def median(rounds: int, contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds that each took."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.process_time()
            work()
            times.setdefault(name, []).append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def speed(deltas: int, rounds: int) -> None:
    """Microseconds added per delta."""
    texts, sets = answer(deltas), rules()
    print(f"\nadded per delta, µs:{'bursts of 32':>36} {'alone':>8} {'held, on average':>18}")
    passing = {size: median(rounds, {"": feeding(Passing(), texts, size)})[""] for size in (BURST, 1)}
    for name, found in sets.items():
        if "word patterns" in name:
            some = texts[: len(texts) // 10]
        else:
            some = texts
        share = len(some) / len(texts)
        added: list[float] = []
        for size in (BURST, 1):
            took = median(rounds, {"": feeding(sk.Moderate(found), some, size)})[""]
            added.append((took - passing[size] * share) / len(some) * 1e6)
        print(f"{name:32} {added[0]:23.2f} {added[1]:8.2f} {held(found, some):18.2f}")


def held(found: tuple[sk.Rule, ...], texts: list[str]) -> float:
    """Characters that are held back after a delta, on average."""
    stage, total = sk.Moderate(found).fresh(), 0
    for text in texts[:2_000]:
        list(stage.feed(sk.TextDelta(text)))
        total += stage.held
    return total / len(texts[:2_000])


def row_of(piece: str, times: int) -> list[str]:
    return [piece] * times


CLIFFS: dict[str, tuple[sk.Rule, Callable[[int], list[str]], tuple[int, ...]]] = {
    "'ha ha', a model that repeats itself": (sk.Rule("x", ("ha ha",)), lambda n: row_of("ha ", n), (1, 2, 4, 8)),
    "'aa', a row of a": (sk.Rule("x", ("aa",)), lambda n: row_of("a", n), (1, 2, 4, 8)),
    "'a' * 800 + 'b', a row of a": (sk.Rule("x", ("a" * 800 + "b",)), lambda n: row_of("aaaa", n), (1, 2, 4, 8)),
    "'a' * 64, a row of a": (sk.Rule("x", ("a" * 64,)), lambda n: row_of("aaaa", n), (1, 2, 4, 8)),
    "a pattern of 1,000 letters, words": (
        sk.Rule("x", patterns=("a" * 1000,)),
        lambda n: row_of("abc ", n),
        (1, 2, 4, 8),
    ),
    "(a+)+b, a row of a": (sk.Rule("x", patterns=("(a+)+b",), fail="open"), lambda n: row_of("a", n // 16), (1, 2, 4)),
    "<<.*>>, no end": (sk.Rule("x", patterns=("<<.*>>",)), lambda n: ["<<", *row_of("word ", n)], (1, 2, 4, 8)),
    "1,000 word patterns, words": (word_patterns(1_000), lambda n: answer(n // 4), (1, 2, 4)),
}


def growth(base: int) -> None:
    """Microseconds per delta, and the longest call, for one, two, four and eight times as many deltas."""
    print(f"\n{'µs per delta (longest call, ms)':40}" + "".join(f"{base * times:>16,}" for times in (1, 2, 4, 8)))
    for name, (rule, make, sizes) in CLIFFS.items():
        shown: list[str] = []
        for times in sizes:
            texts, run, longest = make(base * times), sk.Moderate(rule).fresh(), 0.0
            began = time.process_time()
            for text in texts:
                start = time.process_time()
                list(run.feed(sk.TextDelta(text)))
                longest = max(longest, time.process_time() - start)
            took = time.process_time() - began
            shown.append(f"{took / len(texts) * 1e6:9.2f} ({longest * 1e3:.1f})")
        print(f"{name:40}" + "".join(f"{cell:>16}" for cell in shown), flush=True)


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]


def wire(deltas: int, rounds: int) -> None:
    """Five stages over OpenAI's wire, as multiples of the floor."""
    texts = answer(deltas)
    chunks = [(CHUNK % json.dumps({"content": text})).encode() for text in texts]
    payloads = [chunk.removeprefix(b"data: ").rstrip() for chunk in chunks]
    body = b"".join(chunks) + b"data: [DONE]\n\n"
    decode = msgspec.json.Decoder(_Chunk).decode
    found = rules()["1,000 phrases"]
    stages = sk.Parse() | sk.Extract() | sk.Moderate(found) | sk.Accumulate() | sk.Timing()

    def floor() -> None:
        for payload in payloads:
            decode(payload)

    def reading(pieces: list[bytes]) -> Callable[[], object]:
        return lambda: sum(1 for _ in stages.run(pieces))

    took = median(
        rounds,
        {
            "floor": floor,
            "64 KiB reads": reading([body[at : at + 65_536] for at in range(0, len(body), 65_536)]),
            "an event per read": lambda: sum(1 for _ in stages.run(iter([*chunks, b"data: [DONE]\n\n"]))),
        },
    )
    print("\nparse | extract | moderate (1,000 phrases) | accumulate | timing")
    for name, seconds in took.items():
        print(f"{name:24} {seconds / deltas * 1e6:8.2f} µs {seconds / took['floor']:8.1f} x floor")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", type=int, default=2_000, help="deltas of the smallest hard case")
    parser.add_argument("--only", choices=("speed", "growth", "wire"))
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {options.deltas:,} deltas of a word")
    if options.only in (None, "speed"):
        speed(options.deltas, options.rounds)
    if options.only in (None, "growth"):
        growth(options.base)
    if options.only in (None, "wire"):
        wire(options.deltas, options.rounds)


if __name__ == "__main__":
    main()
