"""Producers and workers in processes of their own, to be killed and paused, and what must be true of their streams."""

import asyncio
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

import anyio
import streamkit_redis.log
from streamkit_redis import RedisLog

import streamkit as sk
from streamkit.core.source import Source
from streamkit.relay import Job, Relay

Mode: TypeAlias = Literal["continue", "reset", "truncate"]
Harm: TypeAlias = Literal["kill", "pause"]
MODES: tuple[Mode, ...] = ("continue", "reset", "truncate")
LEASE = 0.25
PAUSE = 0.002
FENCED = 7
TEXTS = tuple(f"{number} " for number in range(60))
PIPELINE = sk.ops.Map[sk.Event, sk.Event](lambda event: event) | sk.Moderate(
    [sk.Rule("a", phrases=("4 5 6 7 8 9 x",)), sk.Rule("b", phrases=("32 33 34",))]
)
# Imported once, in the process that the others are forked from.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.relay.processes"])


class Paced(Source[sk.Event]):
    """A provider that can continue: its cursor is the number of the next text."""

    def __init__(self, begin: int = 0) -> None:
        self.cursor = begin

    async def read(self) -> list[sk.Event]:
        await anyio.sleep(PAUSE)
        self.cursor += 1
        if self.cursor <= len(TEXTS):
            return [sk.TextDelta(TEXTS[self.cursor - 1])]
        return [sk.StreamEnd("completed")] if self.cursor == len(TEXTS) + 1 else []


def build(job: Job) -> Any:
    """The stream of a job, new or continued."""
    return PIPELINE.open(Paced(job.cursor or 0), checkpoint=job.checkpoint)


def produce(url: str, key: str, mode: Mode) -> None:
    """Publish one stream. The exit code says whether another process has taken over."""
    streamkit_redis.log.PACK = 10  # entries of a short answer are packed, too

    async def main() -> None:
        async with RedisLog(url) as log, Relay(log, lease=LEASE, flush=0.001) as streams:
            publication = await streams.publish(
                key,
                lambda: build(Job(key)),
                takeover="truncate" if mode == "truncate" else "reset",
                checkpoints=mode == "continue",
            )
            try:
                await publication.wait()
            except sk.errors.LeaseLost:
                os._exit(FENCED)
        os._exit(0)

    asyncio.run(main())


def work(url: str) -> None:
    """Take streams over, until it is killed or terminated."""
    streamkit_redis.log.PACK = 10

    async def main() -> None:
        async with RedisLog(url) as log, Relay(log, lease=LEASE, flush=0.001) as streams:
            await streams.take_over(build, poll=0.02)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    asyncio.run(main())


def start(function: Any, *arguments: Any) -> BaseProcess:
    """Run a function of this module in a process."""
    process = CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


class Seen(NamedTuple):
    """The outcome of one stream, for a viewer that was there and for one that came afterwards."""

    key: str
    mode: Mode
    live: list[sk.Event]
    late: list[sk.Event]


async def harm(url: str, streams: Relay, key: str, mode: Mode, kind: Harm, random: Random) -> Seen:
    """Follow a stream whose producer is killed or paused at a random moment, and look at it again at the end."""
    producer = await anyio.to_thread.run_sync(start, produce, url, key, mode)
    live: list[sk.Event] = []

    async def follow() -> None:
        live.extend(await collect(streams, key))

    try:
        with anyio.fail_after(60):
            while await streams.state(key) is None:  # noqa: ASYNC110 - by another process
                await anyio.sleep(0.005)
            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                await anyio.sleep(random.uniform(0, len(TEXTS) * PAUSE * 1.5))
                send(producer, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
                if kind == "pause":
                    await taken_over(streams, key)
                    # It wakes while the next producer is at work, or when the stream has ended.
                    await anyio.sleep(random.uniform(0, len(TEXTS) * PAUSE))
                    send(producer, signal.SIGCONT)
                    await anyio.to_thread.run_sync(producer.join)
                    assert producer.exitcode in (0, FENCED)
            late = await collect(streams, key)
        return Seen(key, mode, live, late)
    finally:
        producer.kill()
        await anyio.to_thread.run_sync(producer.join)


async def taken_over(streams: Relay, key: str) -> None:
    """Wait until another process has claimed the stream, or it has ended."""
    epoch = None
    while True:
        state = await streams.state(key)
        assert state is not None
        epoch = epoch or state.last.epoch
        if state.ended or state.last.epoch > epoch:
            return
        await anyio.sleep(0.005)


def send(process: BaseProcess, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended."""
    if process.pid is not None and process.exitcode is None:
        with suppress(ProcessLookupError):  # it has ended since
            os.kill(process.pid, number)


async def collect(streams: Relay, key: str) -> list[sk.Event]:
    """All events that a viewer receives."""
    return [event async for event in streams.follow(key) | sk.ops.Map[sk.Event, sk.Event](lambda event: event)]


def text(events: list[sk.Event]) -> str:
    """The text behind the last `Reset`."""
    resets = [number for number, event in enumerate(events) if isinstance(event, sk.events.Reset)]
    behind = events[resets[-1] :] if resets else events
    return "".join(event.text for event in behind if isinstance(event, sk.TextDelta))


WHOLE = text(list(PIPELINE.run([*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")])))


def check(seen: Seen) -> None:
    """No text twice, none missing, one end and that an honest one, for every viewer."""
    for events in (seen.live, seen.late):
        ends = [event for event in events if isinstance(event, sk.StreamEnd)]
        assert ends == events[-1:], seen
        (end,) = ends
        if end.reason == "completed":
            assert text(events) == WHOLE, seen
        else:
            assert (end.reason, seen.mode) == ("truncated", "truncate"), seen
            assert WHOLE.startswith(text(events)), seen
    assert text(seen.live) == text(seen.late), seen
    resets = [number for number, event in enumerate(seen.live) if isinstance(event, sk.events.Reset)]
    if seen.mode == "truncate":
        assert not resets, seen
    elif seen.mode == "continue":
        # Only of a stream that was nothing yet: its first checkpoint is stored with its first events.
        assert all(not text(seen.live[:number]) for number in resets), seen


async def harm_all(url: str, kind: Harm, count: int, seed: int) -> list[Seen]:
    """Harm so many producers at once, beside two workers, one of which is killed and replaced all the time."""
    random, results = Random(seed), list[Seen]()

    async def one(number: int) -> None:
        key = f"{kind}-{seed}-{number}"
        seen = await harm(url, streams, key, MODES[number % len(MODES)], kind, Random(seed * 1000 + number))
        check(seen)
        results.append(seen)

    async def churn() -> None:
        while True:
            victim = await anyio.to_thread.run_sync(start, work, url)
            try:
                await anyio.sleep(random.uniform(0.2, 1.0))
            finally:
                victim.kill()
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(victim.join)

    steady = start(work, url)
    try:
        async with RedisLog(url) as log, Relay(log, tick=0.1) as streams, anyio.create_task_group() as background:
            background.start_soon(churn)
            async with anyio.create_task_group() as group:
                for number in range(count):
                    group.start_soon(one, number)
            background.cancel_scope.cancel()
    finally:
        steady.terminate()
        steady.join()
    return results
