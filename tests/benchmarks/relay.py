"""Streams in a log on Redis: delay by the number of viewers, writes, memory, catch-up. Needs a redis-server.

python -m tests.benchmarks.relay [--viewers 1 20 200 1000] [--seconds 5]
"""

import argparse
import asyncio
import gc
import multiprocessing
import sys
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import anyio.lowlevel
from streamkit_redis import RedisLog

import streamkit as sk
from streamkit.latency import percentile
from streamkit.relay import Append, Claim, MemoryLog, PackedEntries, Position, Relay
from streamkit.relay.batches import encode, join
from tests.benchmarks.overhead import Pass
from tests.relay.redis_server import RedisServer, executable

RATES = (50, 100)
"""Events a second: at 50 none waits for the flush interval, at 100 some do."""
PASS = Pass()
"""The least that a viewer has behind the log."""
CONTEXT = multiprocessing.get_context("spawn")


async def stamped(seconds: float, rate: int) -> AsyncGenerator[sk.Event, None]:
    """Texts that say when they were made."""
    for _ in range(round(seconds * rate)):
        yield sk.TextDelta(f"{time.time():.6f}")
        await anyio.sleep(1 / rate)
    yield sk.StreamEnd("completed")


def publish(url: str, key: str, seconds: float, rate: int) -> None:
    """A process that publishes this stream."""

    async def main() -> None:
        async with RedisLog(url) as log, Relay(log) as streams:
            await (await streams.publish(key, lambda: stamped(seconds, rate))).wait()

    asyncio.run(main())


async def delays(url: str, key: str, viewers: int, seconds: float, rate: int) -> list[float]:
    """The delay of each event to each viewer, all of one process, of a stream that another one publishes."""
    found: list[float] = []

    async def view(streams: Relay) -> None:
        async for event in streams.follow(key) | PASS:
            if isinstance(event, sk.TextDelta):
                found.append(time.time() - float(event.text))

    async with RedisLog(url) as log, Relay(log) as streams:
        producer = CONTEXT.Process(target=publish, args=(url, key, seconds, rate))
        producer.start()
        while await streams.state(key) is None:  # noqa: ASYNC110 - by another process
            await anyio.sleep(0.01)
        async with anyio.create_task_group() as group:
            for _ in range(viewers):
                group.start_soon(view, streams)
        producer.join()
    # Those that came before the viewers had joined are catch-up.
    return found[viewers * rate // 2 :]


def followed(streams: Relay) -> sk.Stream[Any]:
    return streams.follow("k") | PASS


def framed(streams: Relay) -> sk.Stream[Any]:
    """Bytes for the socket of a client of OpenAI's format."""
    return streams.frames("k", "openai") | sk.sse.Encode()


async def cost(viewers: int, stream: Callable[[Relay], sk.Stream[Any]], events: int = 200) -> tuple[float, float]:
    """CPU for the deliveries of a log in memory: reading, its stages, and the consumer's loop.

    Microseconds for one event to one viewer, and milliseconds for the slowest event to all of them.
    """
    received = 0
    log = MemoryLog()

    async def view(streams: Relay) -> None:
        nonlocal received
        async for _ in stream(streams):
            received += 1

    async def append(event: sk.Event, at: Position) -> Position:
        expected, data = received + viewers, join([encode(event)])
        await log.append([Append(key="k", owner="a", after=at, batches=[data], lease=600, keep=600)])
        while received < expected:
            await anyio.lowlevel.checkpoint()
        return at.next()

    async with Relay(log) as streams, anyio.create_task_group() as group:
        at = (await log.claim("k", Claim(owner="a", lease=600, keep=600))).position
        for _ in range(viewers):
            group.start_soon(view, streams)
        at = await append(sk.TextDelta("word "), at)
        each: list[float] = []
        for _ in range(events):
            cpu = time.process_time()
            at = await append(sk.TextDelta("word "), at)
            each.append(time.process_time() - cpu)
        await append(sk.StreamEnd("completed"), at)
    return sum(each) / events / viewers * 1e6, max(each) * 1000


async def writes(url: str, streams_at_once: int, seconds: float) -> tuple[float, float]:
    """Events a second that one process publishes unpaced, and its CPU for each in microseconds."""
    ends = time.monotonic() + seconds
    events = 0

    async def endless() -> AsyncGenerator[sk.Event, None]:
        nonlocal events
        while time.monotonic() < ends:
            for _ in range(20):
                events += 1
                yield sk.TextDelta("word ")
            await anyio.lowlevel.checkpoint()
        yield sk.StreamEnd("completed")

    began, cpu = time.monotonic(), time.process_time()
    async with RedisLog(url) as log, Relay(log) as streams:
        published = [await streams.publish(f"w{streams_at_once}-{n}", endless) for n in range(streams_at_once)]
        for publication in published:
            await publication.wait()
    return events / (time.monotonic() - began), (time.process_time() - cpu) / events * 1e6


async def appends(url: str, logs: int, rounds: int = 200) -> float:
    """Appends a second, of as many logs as that in one call."""
    async with RedisLog(url) as log:
        at: dict[str, Position] = {}
        for number in range(logs):
            key = f"a{logs}-{number}"
            at[key] = (await log.claim(key, Claim(owner="a", lease=60, keep=60))).position
        data = join([encode(sk.TextDelta("word "))])
        began = time.perf_counter()
        for _ in range(rounds):
            await log.append(
                [
                    Append(key=key, owner="a", after=after, batches=[data], lease=60, keep=60)
                    for key, after in at.items()
                ]
            )
            at = {key: after.next() for key, after in at.items()}
        return logs * rounds / (time.perf_counter() - began)


async def stored(url: str, batch: int, count: int = 10_000) -> tuple[int, float, float]:
    """Bytes of a log of 10,000 events, and the seconds to read it and to follow it."""
    async with RedisLog(url) as log, Relay(log) as streams:
        key = f"m{batch}"
        at = (await log.claim(key, Claim(owner="a", lease=60, keep=600))).position
        batches = [join([encode(sk.TextDelta("word "))] * batch)] * (count // batch)
        batches.append(join([encode(sk.StreamEnd("completed"))]))
        await log.append([Append(key=key, owner="a", after=at, batches=batches, lease=60, keep=600, ends=True)])
        client: Any = log._client
        size = sum([int(await client.memory_usage(name, samples=0) or 0) for name in log._keys(key)])
        read = await best(lambda: read_all(log, key))
        follow = await best(lambda: (streams.follow(key) | PASS).collect())
        return size, read, follow


async def best(work: Any) -> float:
    found = []
    for _ in range(5):
        began = time.perf_counter()
        await work()
        found.append(time.perf_counter() - began)
    return min(found)


async def read_all(log: RedisLog, key: str) -> None:
    at = None
    while (page := await log.read(key, at, 1000)) and page.entries:
        last = page.entries[-1]
        at = last.last if isinstance(last, PackedEntries) else last.position


def main() -> int:
    """Print a table of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 20, 200, 1000])
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    if executable() is None:
        print("skipped: there is no redis-server here")
        return 0
    server = RedisServer().start()
    try:
        most = max(options.viewers)
        runs = [*((viewers, RATES[0], "") for viewers in options.viewers), (most, RATES[1], "")]
        for viewers, rate, note in [*runs, (most, RATES[0], "; without garbage collection")]:
            if note:
                gc.disable()
            key = f"d{viewers}-{rate}{bool(note)}"
            found = sorted(asyncio.run(delays(server.url, key, viewers, options.seconds, rate)))
            gc.enable()
            p50, p99 = (percentile(found, rank) or 0.0 for rank in (50, 99))
            print(
                f"{viewers:5} viewers, {rate} events/s: delay p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
                f"{len(found)} events{note}"
            )
        for viewers in options.viewers:
            (event, slowest), (frame, last) = (asyncio.run(cost(viewers, stream)) for stream in (followed, framed))
            print(
                f"{viewers:5} viewers: {event:.1f} us of CPU for one delivery of an event, {frame:.1f} us of a frame; "
                f"{slowest:.1f} and {last:.1f} ms for the slowest to all"
            )
        for count in (1, 200):
            rate, cpu = asyncio.run(writes(server.url, count, 2))
            print(f"{count:5} streams: {rate:,.0f} events/s, {cpu:.1f} us of CPU each")
        for count in (1, 200):
            rate = asyncio.run(appends(server.url, count))
            print(f"{count:5} logs in one call: {rate:,.0f} appends/s, {1e6 / rate:.0f} us each")
        for batch in (1, 20):
            size, read, follow = asyncio.run(stored(server.url, batch))
            print(
                f"10,000 events in batches of {batch:2}: {size / 1000:.0f} KB, read in {read * 1000:.1f} ms, "
                f"followed in {follow * 1000:.1f} ms"
            )
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
