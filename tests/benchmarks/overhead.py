"""The overhead of a pipeline: no-op stages, hops, opening a stream, importing; and the lag of a busy event loop.

    python -m tests.benchmarks.overhead [--items 19200] [--rounds 9]

Figures for an item are the difference between a pipeline with the stage and the same one without, over items that are ready: in
bursts of 64, and one in each read. Each is paired with a run of the pipeline without, just before it. Quoted is processor time:
the median of the rounds, and the least and the greatest.
"""

import argparse
import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import streamkit as sk
from tests.benchmarks.shapes import pieces

BURST = 64
SLOW = 4
"""How many times fewer items go through a hop."""
ANSWER = [
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":"a"}}]}\n\n'
] * 3 + [b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n']
LLM = sk.Parse() | sk.Extract() | sk.Accumulate()
EVENTS = [sk.TextDelta(piece) for piece in pieces(512)]
PROSE = [sk.TextDelta(piece) for piece in pieces(512, sentences=True)]


@dataclass
class Pass(sk.Stage[Any, Any]):
    """Passes bursts on as they are."""

    def feed(self, item: Any) -> Iterable[Any]:
        return (item,)

    def feed_all(self, items: list[Any]) -> Iterable[Any]:
        return items


@dataclass
class PassAsync(sk.AsyncStage[Any, Any]):
    """Passes items on, from a coroutine."""

    async def feed(self, item: Any) -> Iterable[Any]:
        return (item,)


@sk.stage
def same(event: sk.Event) -> sk.Event:
    """Return the event as it is."""
    return event


@sk.stage
async def same_later(event: sk.Event) -> sk.Event:
    """Return the event as it is, from a coroutine."""
    return event


class Bursts(sk.Source[Any]):
    """Events that are ready, so many in each read."""

    def __init__(self, count: int, size: int, events: list[sk.TextDelta]) -> None:
        bursts = [events[at : at + size] for at in range(0, len(events), size)]
        self.bursts = islice(cycle(bursts), count // size)

    async def read(self) -> list[Any]:
        return next(self.bursts, [])


async def consume(stream: sk.Stream[Any]) -> None:
    async with stream as events:
        async for _ in events:
            pass


async def read(items: AsyncIterable[Any]) -> None:
    async for _ in items:
        pass


async def prefetched(size: int, source: sk.Source[Any]) -> None:
    async with sk.hops.prefetch(source | Pass(), size=size) as items:
        await read(items)


async def by_hand(size: int, source: sk.Source[Any]) -> None:
    """A queue and a task, as one writes them without a hop; nothing is cleaned up, and no error is passed on."""
    queue: asyncio.Queue[Any] = asyncio.Queue(size)

    async def pump() -> None:
        async with source | Pass() as items:
            async for item in items:
                await queue.put(item)
        await queue.put(None)

    task = asyncio.create_task(pump())
    while await queue.get() is not None:
        pass
    await task


async def merged(source: sk.Source[Any]) -> None:
    async with sk.hops.merge(source | Pass(), size=16) as items:
        await read(items)


async def broadcasted(source: sk.Source[Any]) -> None:
    async with sk.hops.broadcast(source | Pass(), size=16, overflow="wait") as hub:
        await read(hub.subscribe())


async def teed(source: sk.Source[Any]) -> None:
    async with sk.hops.tee(source | Pass(), 2) as branches, asyncio.TaskGroup() as group:
        for branch in branches:
            group.create_task(read(branch))


async def threaded(source: sk.Source[Any]) -> None:
    await consume(source | Pass() | sk.hops.Threaded(Pass()))


Work = Callable[[sk.Source[Any]], Awaitable[None]]
PARTS: dict[str, Work] = {
    "feed_all": lambda source: consume(source | Pass() | Pass()),
    "@stage": lambda source: consume(source | Pass() | same),
    "async stage": lambda source: consume(source | Pass() | PassAsync()),
    "async @stage": lambda source: consume(source | Pass() | same_later),
    "Count": lambda source: consume(source | Pass() | sk.Count("gpt-4o")),
    "Count(running=True)": lambda source: consume(source | Pass() | sk.Count("gpt-4o", running=True)),
    "hops: a queue by hand, 1": lambda source: by_hand(1, source),
    "hops: a queue by hand, 16": lambda source: by_hand(16, source),
    "hops.Prefetch(1)": lambda source: consume(source | Pass() | sk.hops.Prefetch(1)),
    "hops.Prefetch(16)": lambda source: consume(source | Pass() | sk.hops.Prefetch(16)),
    "hops.merge": merged,
    "hops.broadcast to one": broadcasted,
    "hops.prefetch, 1 ahead": lambda source: prefetched(1, source),
    "hops.prefetch, 16 ahead": lambda source: prefetched(16, source),
    "hops.tee to two": teed,
    "hops.Threaded": threaded,
}
SENTENCES: dict[str, Work] = {
    "ops.Sentences()": lambda source: consume(source | Pass() | sk.ops.Sentences()),
    'ops.Sentences(language="en")': lambda source: consume(source | Pass() | sk.ops.Sentences(language="en")),
    'ops.Sentences(language="de")': lambda source: consume(source | Pass() | sk.ops.Sentences(language="de")),
}
"""Over prose, since what they cost depends on how often a sentence ends."""


def nanoseconds(work: Work, count: int, size: int, events: list[sk.TextDelta]) -> float:
    """Processor time for an item."""

    async def main() -> None:
        await work(Bursts(count, size, events))

    start = time.process_time()
    asyncio.run(main())
    return (time.process_time() - start) / count * 1e9


def show_stages(parts: dict[str, Work], count: int, rounds: int, events: list[sk.TextDelta]) -> None:
    """Print the stages and hops."""
    for how, size in ((f"in bursts of {BURST}", BURST), ("alone in a read", 1)):
        bases, added = list[float](), dict[str, list[float]]()
        for _ in range(rounds):
            for name, work in parts.items():
                number = count // SLOW if name.startswith("hops") else count
                base = nanoseconds(lambda source: consume(source | Pass()), number, size, events)
                bases.append(base)
                added.setdefault(name, []).append(nanoseconds(work, number, size, events) - base)
        print(f"\nns added for each item, {how}; a stream with one stage costs {statistics.median(bases):.0f}")
        for name, values in added.items():
            print(f"  {name:28} {statistics.median(values):8.0f}   ({min(values):.0f} to {max(values):.0f})")


def show_opening(rounds: int) -> None:
    """Print what it costs to open a stream of three deltas and to read it."""

    async def source() -> AsyncIterator[bytes]:
        for piece in ANSWER:
            yield piece

    async def many(number: int) -> None:
        for _ in range(number):
            async with source() | LLM as events:
                async for _ in events:
                    pass

    taken: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        asyncio.run(many(500))
        taken.append((time.process_time() - start) / 500 * 1e6)
    print(
        f"\nopen and read a stream of three deltas: {statistics.median(taken):.0f} µs ({min(taken):.0f} to {max(taken):.0f})"
    )


def show_import(rounds: int) -> None:
    """Print the processor time of an import, less that of an empty program."""

    def seconds(code: str) -> float:
        code = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    print("\nms of processor time for an import, in a process of its own")
    for code in (
        "import streamkit",
        "import streamkit as sk; sk.Parse() | sk.Extract() | sk.Accumulate()",
        "import aiohttp",
    ):
        seconds(code)
        taken = sorted(seconds(code) * 1e3 for _ in range(rounds))
        print(f"  {code:70} {statistics.median(taken):6.0f}   ({taken[0]:.0f} to {taken[-1]:.0f})")


async def _lag(number: int, period: float, spread: float) -> list[float]:
    # Streams whose events come by a timer, each in a task of its own, and a task that looks how late it is woken. The first
    # events come within `spread` seconds.
    late: list[float] = []
    done = asyncio.Event()

    async def source(at: int) -> AsyncIterator[bytes]:
        await asyncio.sleep(spread * at / number)
        for _ in range(10):
            yield ANSWER[0]
            await asyncio.sleep(period)
        yield ANSWER[-1]

    async def watch() -> None:
        while not done.is_set():
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            late.append((time.perf_counter() - due) * 1e3)

    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(watch())
        readers = [group.create_task(consume(source(at) | LLM)) for at in range(number)]
        await asyncio.wait(readers)
        done.set()
        await watcher
    return sorted(late)


def show_lag() -> None:
    """Print how late a loop is that reads many streams."""
    period = 0.5
    for how, spread in (("one after the other", period), ("all at once", 0.0)):
        print(f"\nms that a loop is late while it reads streams, an event each {period} s from every one, {how}")
        for number in (100, 500, 2000):
            late = asyncio.run(_lag(number, period, spread))
            half, most = late[len(late) // 2], late[len(late) * 99 // 100]
            print(f"  {number:5} streams   p50 {half:6.1f}   p99 {most:6.1f}   max {late[-1]:6.1f}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=19_200)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {options.rounds} rounds, medians")
    show_stages(PARTS, options.items, options.rounds, EVENTS)
    show_stages(SENTENCES, options.items, options.rounds, PROSE)
    show_opening(options.rounds)
    show_import(options.rounds)
    show_lag()


if __name__ == "__main__":
    main()
