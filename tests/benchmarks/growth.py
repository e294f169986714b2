"""How the time for an answer grows with the number of its items: calls, choices, parts, annotations, of every dialect.

    python -m tests.benchmarks.growth [NAME …] [--sizes 2000 4000 8000] [--slow]

Each answer is read from its bytes, assembled, written in its provider's form and in OpenAI's, and emitted again. The exponent is
that of the last doubling: 1 is linear, 2 quadratic. `NAME` is a part of the names of the cases. `--slow` adds one event with very
many pieces of text, which are candidates for the shortcut that chunks of text take.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Callable

import streamkit as sk
from tests.laws.test_many_items import BODIES, DONE, chat

PARSE = sk.Parse()
READ = sk.Extract() | sk.Accumulate()
EMIT = sk.Emit(include_usage=True)


def text_pieces_of_one_event(count: int) -> str:
    """448 KB at 8,000."""
    delta = ",".join(['"content":"a","p":"' + "x" * 32 + '"'] * count)
    return 'data: {"choices":[{"index":0,"delta":{' + delta + "}}]}\n\n" + chat({}, finish="stop") + DONE


SLOW: dict[str, Callable[[int], str]] = {"pieces of text in one event": text_pieces_of_one_event}


def seconds(body: bytes) -> float:
    """Processor time of the faster of two."""

    def once() -> float:
        start = time.process_time()
        answer(body)
        return time.process_time() - start

    return min(once(), once())


def answer(body: bytes) -> None:
    """All that a client does with an answer."""
    events = list((PARSE | READ).run([body]))
    *_, completion, end = events
    assert isinstance(completion, sk.Completion)
    assert isinstance(end, sk.StreamEnd)
    json.dumps(completion.to_dict())
    json.dumps(completion.to_openai())
    list(EMIT.run(events))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sizes", nargs="+", type=int, default=[2000, 4000, 8000])
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()

    print(f"Python {platform.python_version()}, seconds for answers with so many items")
    print(f"{'':45}" + "".join(f"{size:>9,}" for size in options.sizes) + "  exponent")
    for name, body in {**BODIES, **(SLOW if options.slow else {})}.items():
        if not options.names or any(part in name for part in options.names):
            times = [seconds(body(size).encode()) for size in options.sizes]
            doublings = math.log2(options.sizes[-1] / options.sizes[-2])
            exponent = math.log2(times[-1] / times[-2]) / doublings
            print(f"{name:45}" + "".join(f"{spent:9.3f}" for spent in times) + f"{exponent:10.2f}", flush=True)


if __name__ == "__main__":
    main()
