"""Producers killed 200 times and paused 100 times at random moments, and 1,000 viewers of one stream. `make soak`.

python -m tests.relay.soak [--kills 200] [--pauses 100] [--viewers 1000] [--seed 1]
"""

import argparse
import asyncio
import sys
import time

import anyio
from streamkit_redis import RedisLog

import streamkit as sk
from streamkit.relay import Relay
from tests.relay.processes import WHOLE, Job, build, collect, harm_all, text
from tests.relay.redis_server import RedisServer, executable

AT_ONCE = 20


async def harmed(url: str, kind: str, count: int, seed: int) -> None:
    began = time.monotonic()
    for number in range(0, count, AT_ONCE):
        await harm_all(url, "kill" if kind == "kill" else "pause", min(AT_ONCE, count - number), seed + number)
    print(
        f"{kind}: {count} producers, {time.monotonic() - began:.0f} s, all viewers saw each text once and an honest end"
    )


async def viewed(url: str, count: int) -> None:
    results: list[list[sk.Event]] = []

    async def view(streams: Relay) -> None:
        results.append(await collect(streams, "viewed"))

    began = time.monotonic()
    async with RedisLog(url) as log, RedisLog(url) as other, Relay(log) as here, Relay(other) as there:
        await here.publish("viewed", lambda: build(Job("viewed")))
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(view, here if number % 2 else there)
    assert len(results) == count
    assert all(text(events) == WHOLE and events == results[0] for events in results)
    print(f"viewers: {count}, {time.monotonic() - began:.1f} s, all saw the same")


def main() -> int:
    """Run it all; an assertion ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pauses", type=int, default=100)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if executable() is None:
        print("skipped: there is no redis-server here")
        return 0
    server = RedisServer().start()
    try:
        asyncio.run(harmed(server.url, "kill", options.kills, options.seed))
        asyncio.run(harmed(server.url, "pause", options.pauses, options.seed + 10_000))
        asyncio.run(viewed(server.url, options.viewers))
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
