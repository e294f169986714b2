"""How reading time grows with the length of a line, for every fragmentation: a straight line is what is wanted. (Law 7)

    python -m tests.benchmarks.fragments [--mib 8]

One `data:` line of the given length is fed in pieces of 1 byte to 64 KiB through `Lines | Parse`. Printed are nanoseconds a
byte at an eighth, a quarter, a half and the whole of the length, and the last beside the first: 1.0 is linear, 8 quadratic.
"""

import argparse
import time
from collections.abc import Iterator

import streamkit as sk


def pieces(size: int, length: int) -> Iterator[bytes]:
    """A line of `length` bytes in pieces of `size`, and its event's end."""
    piece = b"x" * size
    yield b"data: "
    for _ in range(length // size):
        yield piece
    yield b"\n\n"


def seconds(size: int, length: int) -> float:
    """The time of one reading."""
    pipeline = sk.sse.Lines(max_line_bytes=2 * length) | sk.Parse(max_event_bytes=2 * length)
    start = time.perf_counter()
    (event,) = pipeline.run(pieces(size, length))
    taken = time.perf_counter() - start
    assert len(event.data) == length // size * size
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=float, default=8)
    whole = int(parser.parse_args().mib * 2**20)
    lengths = [whole // 8, whole // 4, whole // 2, whole]
    print(
        f"ns a byte, one line of {whole >> 20} MiB"
        + "".join(f"{length >> 10:>9} KiB" for length in lengths)
        + "  growth"
    )
    for size in (1, 16, 256, 4096, 65536):
        costs = [min(seconds(size, length) for _ in range(2)) / length * 1e9 for length in lengths]
        print(
            f"  in pieces of {size:6} bytes     "
            + "".join(f"{cost:13.2f}" for cost in costs)
            + f"{costs[-1] / costs[0]:8.2f}"
        )


if __name__ == "__main__":
    main()
