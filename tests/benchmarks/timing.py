"""The cost of `Timing` for a delta, and of its metrics at the end.

    python -m tests.benchmarks.timing [--deltas 100000] [--rounds 9]

The contestants take turns, and the medians are quoted: a stage that only passes bursts on is what any stage costs.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import streamkit as sk


@dataclass
class Pass(sk.Stage[sk.Event, sk.Event]):
    """The floor: a stage that does nothing."""

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        return (item,)

    def feed_all(self, items: list[sk.Event]) -> Iterable[sk.Event]:
        return items


def run(stage: sk.Stage[sk.Event, sk.Event], bursts: list[list[sk.Event]]) -> Callable[[], None]:
    def work() -> None:
        fresh = stage.fresh()
        fresh.tick(time.perf_counter())
        for burst in bursts:
            fresh.tick(time.perf_counter())
            fresh.feed_all(burst)

    return work


def contestants(deltas: int) -> dict[str, Callable[[], object]]:
    """The contestants: one delta in a read, as a model sends them, and fifty."""
    found: dict[str, Callable[[], object]] = {}
    for size in (1, 50):
        bursts: list[list[sk.Event]] = [[sk.TextDelta("word")] * size for _ in range(deltas // size)]
        for stage in (Pass(), sk.Timing()):
            found[f"{type(stage).__name__}, reads of {size}"] = run(stage, bursts)
    timings = sk.Timings(0.1, 0.2, tuple(number / 100 for number in range(deltas)), deltas / 100, deltas)
    found["all figures, once at the end"] = timings.to_dict
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    times: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, work in contestants(options.deltas).items():
            start = time.process_time()
            work()
            times.setdefault(name, []).append((time.process_time() - start) / options.deltas * 1e9)
    print(f"Python {platform.python_version()}, {options.deltas} deltas")
    for name, rounds in times.items():
        print(f"  {name:32} {statistics.median(rounds):7.0f} ns/delta")


if __name__ == "__main__":
    main()
