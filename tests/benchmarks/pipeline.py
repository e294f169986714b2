"""What a pipeline costs for each event, next to the floor and to loops written by hand, all in one run.

    python tests/benchmarks/pipeline.py [--events 4000] [--rounds 9] [--json FILE]

The floor is msgspec's typed decoding of payloads that are already split: whoever reads the text at all pays for it. The
contestants take turns, round by round, so that a machine whose speed drifts is as unfair to all; quoted are medians, as a ratio
to the floor, and how far the rounds were apart.
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

import streamkit as sk
from tests.benchmarks.shapes import FLOORS, SHAPES, delivered, payloads

PHRASES = tuple(f"forbidden phrase number {number}" for number in range(1000))


def text_of(chunk: Any) -> str:
    """The text of any shape's decoded payload."""
    match chunk:
        case {"choices": [{"delta": {"content": str(text)}}, *_]}:
            return text
        case {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": str(text)}}, *_]}}, *_]}:
            return text
        case {"delta": {"text": str(text)}} | {"delta": str(text)}:
            return text
        case {"candidates": [{"content": {"parts": [{"text": str(text)}, *_]}}, *_]}:
            return text
        case _:
            return ""


def by_hand(pieces: list[bytes], decode: Callable[[bytes], Any]) -> str:
    """A loop as people write it: split at blank lines, decode, walk, join."""
    texts: list[str] = []
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            payload = block.rpartition(b"data: ")[2]
            if payload != b"[DONE]":
                texts.append(text_of(decode(payload)))
    return "".join(texts)


def read(pipeline: Any, pieces: list[bytes]) -> None:
    """An application's loop over the stream."""

    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def main() -> None:
        async with pipeline.open(source()) as events:
            async for _ in events:
                pass

    asyncio.run(main())


def run(pipeline: Any, pieces: list[bytes]) -> None:
    """The same without an event loop."""
    for _ in pipeline.run(iter(pieces)):
        pass


def contestants(shape: str, count: int, pipelines: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What is compared over one shape."""
    events = SHAPES[shape](count)
    split, decode = payloads(events), msgspec.json.Decoder(FLOORS[shape]).decode
    found: dict[str, Callable[[], object]] = {"floor": lambda: [decode(payload) for payload in split]}
    for how in ("one event", "64 KiB", "random"):
        pieces = delivered(events, how)
        for name, pipeline in pipelines.items():
            found[f"{name}, {how}"] = lambda pipeline=pipeline, pieces=pieces: read(pipeline, pieces)
        found[f"{next(iter(pipelines))} run(), {how}"] = lambda pieces=pieces: run(
            next(iter(pipelines.values())), pieces
        )
        found[f"by hand (json), {how}"] = lambda pieces=pieces: by_hand(pieces, json.loads)
    pieces = delivered(events, "one event")
    found["by hand (msgspec), one event"] = lambda: by_hand(pieces, msgspec.json.decode)
    return found


def measure(found: dict[str, Callable[[], object]], rounds: int, count: int) -> dict[str, tuple[float, float, float]]:
    """Microseconds an event: the median of the rounds, the least and the greatest."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, work in found.items():
            start = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: (statistics.median(taken), min(taken), max(taken)) for name, taken in times.items()}


def main() -> None:
    """Print one table for each shape, and one with the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="only these")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    three = sk.Parse() | sk.Extract() | sk.Accumulate()
    rules = sk.Rule("phrases", PHRASES)
    five = sk.Parse() | sk.Extract() | sk.Moderate(rules) | sk.Accumulate() | sk.Count("gpt-4o")
    print(f"Python {platform.python_version()}, {options.events} events, {options.rounds} rounds, medians")
    figures: dict[str, dict[str, tuple[float, float, float]]] = {}
    for shape in options.shape or SHAPES:
        figures[shape] = measure(
            contestants(shape, options.events, {"three stages": three, "five stages": five}),
            options.rounds,
            options.events,
        )
        floor = figures[shape]["floor"][0]
        print(f"\n{shape}")
        for name, (median, least, most) in figures[shape].items():
            print(f"  {name:34} {median:8.2f} µs {median / floor:8.1f} x floor   ({least:.2f} to {most:.2f} µs)")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    sys.path.insert(0, "")
    main()
