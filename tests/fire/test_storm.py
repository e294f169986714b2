"""A thousand streams at once, each with a fault of its own, and nothing left behind."""

import asyncio
import gc
import os
import random
from collections import Counter

import aiohttp
import pytest

import streamkit as sk
from tests.fire import server
from tests.fire.test_faults import FAULTS

STREAMS = 1000
# Those that end by themselves and soon; deadlines and limits would make the storm a matter of waiting, as does a server
# that keeps silent behind a complete answer.
NAMES = sorted(
    name for name, fault in FAULTS.items() if fault.reason not in ("timeout", "limit") and name != "stall-answered"
)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def streams_alive() -> int:
    return sum(isinstance(thing, sk.Stream) for thing in gc.get_objects())


async def one(session: aiohttp.ClientSession, url: str, name: str, dice: random.Random) -> tuple[str, int]:
    """Run one stream over a fault: to its end, left early, or cancelled. The reason of its end, and how many ends it had."""
    pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()
    leave = dice.choice(["end", "end", "end", "break", "cancel"])
    stream = sk.http.get(f"{url}/{name}", session=session, deadlines=sk.http.Deadlines(total=60)) | pipeline
    ends = 0
    try:
        async with stream as events:
            async for event in events:
                ends += isinstance(event, sk.StreamEnd)
                if leave == "break":
                    break
                if leave == "cancel":
                    events.cancel()
    except sk.StreamkitError:
        pass
    assert stream.end is not None
    return stream.end.reason, ends


@pytest.mark.asyncio
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
async def test_a_thousand_streams_with_random_faults_each_end_once_and_leave_nothing() -> None:
    dice = random.Random(20240229)
    gc.collect()
    files, tasks, streams = open_files(), len(asyncio.all_tasks()), streams_alive()
    async with server.serve({name: FAULTS[name].server for name in NAMES}) as (url, open_now):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
            storm = [one(session, url, dice.choice(NAMES), dice) for _ in range(STREAMS)]
            ends = await asyncio.gather(*storm)
        while open_now:
            await next(iter(open_now))
    for _ in range(1000):  # closed sockets are given back in the loop's next turns
        if open_files() <= files:
            break
        await asyncio.sleep(0)
    gc.collect()
    assert open_files() <= files
    assert len(asyncio.all_tasks()) <= tasks
    assert streams_alive() <= streams
    assert len(ends) == STREAMS
    assert max(count for _, count in ends) <= 1
    reasons = Counter(reason for reason, _ in ends)
    assert set(reasons) >= {"completed", "truncated", "cancelled", "provider_error", "error"}
