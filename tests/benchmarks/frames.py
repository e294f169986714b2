"""The cost of a frame of Amazon's event stream, beside botocore's reader, which decodes no JSON.

    python -m tests.benchmarks.frames [--frames 20000] [--rounds 5]

Frames as Bedrock sends them, one in each read and in reads of 64 KiB: split and checked by `Parse` alone, and read by `Parse |
Extract` as well; `converse-stream`, and `invoke-with-response-stream` with Anthropic's chunks inside. Microseconds a frame, the
best of all rounds.
"""

import argparse
import time
from collections.abc import Callable, Iterator

from botocore.eventstream import EventStreamBuffer

import streamkit as sk
from tests.amazon import chunk, event


def converse(count: int) -> list[bytes]:
    """Deltas of text, each with its padding."""
    return [
        event(
            "contentBlockDelta",
            {"contentBlockIndex": 0, "delta": {"text": f" word{at % 97}"}, "p": "abcdefg"[: at % 7]},
        )
        for at in range(count)
    ]


def invoke(count: int) -> list[bytes]:
    """Anthropic's deltas."""
    return [
        chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f" word{at % 97}"}})
        for at in range(count)
    ]


def blocks(frames: list[bytes]) -> list[bytes]:
    """The same body in reads of 64 KiB."""
    body = b"".join(frames)
    return [body[at : at + 65536] for at in range(0, len(body), 65536)]


def by_botocore(pieces: list[bytes]) -> Iterator[object]:
    """The work of an SDK before it decodes the JSON."""
    buffer = EventStreamBuffer()
    for piece in pieces:
        buffer.add_data(piece)
        yield from buffer


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ways: dict[str, Callable[[list[bytes]], Iterator[object]]] = {
        "botocore": by_botocore,
        "Parse": lambda pieces: iter(sk.Parse().run(pieces)),
        "Parse | Extract": lambda pieces: iter((sk.Parse() | sk.Extract()).run(pieces)),
    }
    print(f"µs a frame{'':33}" + "".join(f"{name:>18}" for name in ways))
    for wire, frames in (("converse-stream", converse), ("invoke-with-response-stream", invoke)):
        single = frames(options.frames)
        for reads, pieces in (("one a read", single), ("64 KiB reads", blocks(single))):
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(options.rounds):
                for name, way in ways.items():
                    start = time.perf_counter()
                    found = sum(1 for _ in way(pieces))
                    best[name] = min(best[name], time.perf_counter() - start)
                    assert found >= options.frames
            costs = "".join(f"{seconds / options.frames * 1e6:18.2f}" for seconds in best.values())
            print(f"  {wire:27} {reads:12}{costs}")


if __name__ == "__main__":
    main()
