"""Ten thousand streams at once: what an idle one holds in memory, and that all of them end.

    python -m tests.benchmarks.streams [NUMBER]

Each is a replayed answer through parse, extract, moderate and accumulate that has read half of it and waits for the rest. The
memory is what Python has allocated for all of them (tracemalloc), divided by their number. The tasks that wait, one a stream, are
the program's own and are measured beside it. A connection's buffers come on top.
"""

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Sequence

from anyio import wait_all_tasks_blocked

import streamkit as sk

HALF = b'data: {"id":"chatcmpl-1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hello, "}}]}\n\n' * 8
REST = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
PIPELINES = {
    "parse, extract": sk.Parse() | sk.Extract(),
    "… accumulate": sk.Parse() | sk.Extract() | sk.Accumulate(),
    "… moderate, accumulate": sk.Parse()
    | sk.Extract()
    | sk.Moderate(sk.Rule("secret", ("blue heron 42",)))
    | sk.Accumulate(),
}


class Gated(sk.Source[bytes]):
    """Half an answer, and the rest when the gate is open."""

    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate
        self.bursts = iter([HALF, REST])

    async def read(self) -> Sequence[bytes]:
        piece = next(self.bursts, None)
        if piece is REST:
            await self.gate.wait()
        return [piece] if piece else ()


async def waits(gate: asyncio.Event) -> int:
    await gate.wait()
    return 0


async def reads(pipeline: sk.Stage[str, sk.Event], gate: asyncio.Event, ends: list[sk.StreamEnd]) -> int:
    seen = 0
    async with Gated(gate) | pipeline as events:
        async for event in events:
            seen += 1
            if isinstance(event, sk.StreamEnd):
                ends.append(event)
    return seen


async def measure(pipeline: sk.Stage[str, sk.Event] | None, number: int) -> tuple[float, float]:
    """Bytes an idle stream, and the seconds from its opening to the end of all."""
    gate, ends = asyncio.Event(), list[sk.StreamEnd]()
    gc.collect()
    before, started = tracemalloc.get_traced_memory()[0], time.perf_counter()
    work = [reads(pipeline, gate, ends) if pipeline else waits(gate) for _ in range(number)]
    tasks = [asyncio.create_task(one) for one in work]
    await wait_all_tasks_blocked()
    gc.collect()
    allocated = (tracemalloc.get_traced_memory()[0] - before) / number
    gate.set()
    seen = await asyncio.gather(*tasks)
    if pipeline:
        assert ends == [sk.StreamEnd("completed", True)] * number
        assert len(set(seen)) == 1
    return allocated, time.perf_counter() - started


def main() -> None:
    number = int(sys.argv[1]) if sys.argv[1:] else 10_000
    print(f"{number} streams at once, Python {sys.version.split()[0]}")
    for name, pipeline in {"a task that waits": None, **PIPELINES}.items():
        # What is loaded once, and what the interpreter keeps for later, is no stream's.
        _, seconds = asyncio.run(measure(pipeline, number))
        tracemalloc.start()
        allocated, _ = asyncio.run(measure(pipeline, number))
        tracemalloc.stop()
        print(f"{name:24} {allocated / 1024:6.1f} KiB each, {seconds:5.1f} s in all")


if __name__ == "__main__":
    main()
