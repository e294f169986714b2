"""What moderation costs: phrases by the thousand inside the whole pipeline, beside the matching library over the whole text.

    python tests/benchmarks/moderation.py [--deltas 20000] [--rounds 5]

The answer is words from a list, a word a delta; no phrase is in it, but their first words are everywhere, so that there is
something to wait for. The library alone (pyahocorasick) reads the whole text in one piece and has nothing to decide. The
contestants take turns, round by round; quoted are the medians.
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import ahocorasick
from streamkit.moderation.hold import Hold

import streamkit as sk

CHUNK = (
    'data: {"id":"chatcmpl-0123456789abcdef0123456789","object":"chat.completion.chunk","created":1731456253,'
    '"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":%s,"finish_reason":null}]}\n\n'
)
VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvw"
COUNTS = (10, 1_000, 10_000)


def words(count: int, seed: int) -> list[str]:
    """Words that can be said, of four to eight letters."""
    choose = random.Random(seed)
    return [
        "".join(choose.choice(CONSONANTS) + choose.choice(VOWELS) for _ in range(choose.randint(2, 4)))
        for _ in range(count)
    ]


def rules() -> dict[str, tuple[sk.Rule, ...]]:
    """What is compared: phrases of two words, of which the text has the first, and what a rule may ask for besides."""
    vocabulary, others = words(2_000, 1), words(10_000, 2)
    phrases = [f"{vocabulary[number % 2_000]} {word}x" for number, word in enumerate(others)]
    disguises = ("nfkc", "accents", "look_alikes", "zero_width")
    return {
        "no rule": (),
        **{f"{count:,} phrases": (sk.Rule("x", tuple(phrases[:count])),) for count in COUNTS},
        "1,000 phrases, whole words": (sk.Rule("x", tuple(phrases[:1_000]), whole_words=True),),
        "1,000 phrases in any disguise": (sk.Rule("x", tuple(phrases[:1_000]), normalise=disguises),),
        "a pattern": (sk.Rule("x", patterns=(r"\bkey[- ]?\d{4,8}\b",)),),
        "e-mail, card, IBAN, API keys": (sk.Rule("x", detectors=("email", "card", "iban", "api_key")),),
    }


def library(phrases: tuple[str, ...], text: str) -> Callable[[], object]:
    """The automaton by itself, over the whole text."""
    automaton: Any = ahocorasick.Automaton()
    for phrase in phrases:
        automaton.add_word(phrase, True)
    automaton.make_automaton()
    return lambda: sum(1 for _ in automaton.iter(text))


def median(rounds: int, contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            times.setdefault(name, []).append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def alone(found: tuple[sk.Rule, ...], deltas: list[str]) -> Callable[[], object]:
    """The text that waits, without a pipeline around it."""

    def work() -> None:
        hold = Hold(found)
        for delta in deltas:
            hold.feed(delta)
        hold.feed("", final=True)

    return work


def waits(found: tuple[sk.Rule, ...], deltas: list[str]) -> tuple[float, int]:
    """How many characters wait after a delta, on average and at most."""
    hold, held = Hold(found), list[int]()
    for delta in deltas:
        hold.feed(delta)
        held.append(hold.held)
    return statistics.fmean(held), max(held)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    choose = random.Random(3)
    vocabulary = words(2_000, 1)
    deltas = [f" {choose.choice(vocabulary)}" for _ in range(options.deltas)]
    text = "".join(deltas)
    body = "".join(CHUNK % json.dumps({"content": delta}) for delta in deltas).encode() + b"data: [DONE]\n\n"
    reads = [body[at : at + 16_384] for at in range(0, len(body), 16_384)]
    sets = rules()

    def pipeline(found: tuple[sk.Rule, ...]) -> Callable[[], object]:
        stages = sk.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(found) | sk.Accumulate()
        return lambda: sum(1 for _ in stages.run(reads))

    print(f"Python {platform.python_version()}, {options.deltas} deltas of {len(text) / len(deltas):.1f} characters")
    whole = median(options.rounds, {name: pipeline(found) for name, found in sets.items()})
    held = median(options.rounds, {name: alone(found, deltas) for name, found in sets.items()})
    raw = median(
        options.rounds,
        {name: library(found[0].phrases, text) for name, found in sets.items() if found and found[0].phrases},
    )
    print(f"\n{'':32} {'pipeline':>20} {'matching alone':>20} {'library':>9}   {'characters that wait':>20}")
    for name, seconds in whole.items():
        beside = f"{len(text) / raw[name] / 1e6:5.1f} MB/s" if name in raw else ""
        mean, most = waits(sets[name], deltas)
        print(
            f"{name:32} {seconds / len(deltas) * 1e6:6.2f} µs {len(text) / seconds / 1e6:5.2f} MB/s"
            f" {held[name] / len(deltas) * 1e6:6.2f} µs {len(text) / held[name] / 1e6:5.2f} MB/s {beside:>10}"
            f"   {mean:5.2f}, at most {most}"
        )


if __name__ == "__main__":
    main()
