"""Many concurrent streams over loopback, round after round, of which many are left early: does one ever hang?

    python -m tests.fire.soak [--streams 500] [--rounds 50] [--seconds 10] [--loop asyncio|uvloop] [--seed 1]

The server, a process of its own, keeps connections alive, sends an event to every answer each few milliseconds from one task, and
goes on to write after the client has left, to transports that are closed. Some answers break off. The consumers read to the end,
break, raise, cancel the stream from elsewhere, are cancelled, time out, or let a deadline pass; some have a hop. A round that
takes longer than `--seconds` prints the stack of every task and fails.
"""

import argparse
import asyncio
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import aiohttp

import streamkit as sk

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = 16
PERIOD = 0.005
PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()
NUMBERS = [f"{number} " for number in range(EVENTS)]
HARMLESS = (sk.StreamkitError, TimeoutError)


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    if number < EVENTS:
        return frame(b'data: {"choices":[{"index":0,"delta":{"content":"%d "}}]}\n\n' % number)
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    return frame(end) + b"0\r\n\r\n"


# The server


@dataclass(eq=False)
class Answer:
    """An answer under way."""

    writer: asyncio.StreamWriter
    breaks_at: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    def write(self) -> None:
        """Send the next event, whether the client is still there or not."""
        try:
            if self.sent == self.breaks_at:
                self.writer.transport.abort()
            self.writer.write(event(self.sent))
        except RuntimeError:
            pass  # uvloop refuses what asyncio ignores: a write to a transport that is closed
        self.sent += 1
        if self.sent > EVENTS:
            self.done.set()


async def serve(seed: int) -> None:
    """Answer until killed; the port is the first line that it prints."""
    dice, answers = random.Random(seed), set[Answer]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(HEAD)
                answer = Answer(writer, dice.randrange(EVENTS) if dice.random() < 0.1 else -1)
                answers.add(answer)
                await answer.done.wait()
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            pass  # the client left
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(PERIOD)
        for answer in [*answers]:
            answer.write()
            if answer.done.is_set():
                answers.discard(answer)


# The consumers


class Left(Exception):
    """Raised by a consumer in the middle of its loop."""


@dataclass
class Consumer:
    """One stream, and how it is left."""

    url: str
    session: aiohttp.ClientSession
    leave: str
    hop: bool
    at: int
    seconds: float
    stream: Any = None

    async def run(self) -> str:
        """The reason of the stream's end."""
        try:
            async with asyncio.timeout(self.seconds if self.leave == "timeout" else None):
                await self._consume()
        except (*HARMLESS, Left):
            pass
        end = self.stream.end
        assert end is not None, f"{self.leave}: the stream has no end"
        return str(end.reason)

    async def _consume(self) -> None:
        deadlines = sk.http.Deadlines(total=self.seconds if self.leave == "deadline" else None)
        lent = None if self.leave == "own session" else self.session
        stream = self.stream = sk.http.get(self.url, session=lent, deadlines=deadlines) | PIPELINE
        if self.leave == "stream.cancel":
            asyncio.get_running_loop().call_later(self.seconds, stream.cancel)
        async with self._items(stream) as items:
            texts: list[str] = []
            async for item in items:
                if isinstance(item, sk.TextDelta):
                    texts.append(item.text)
                    assert texts == NUMBERS[: len(texts)], f"expected the numbers in their order, found {texts}"
                    if len(texts) == self.at and self.leave == "break":
                        break
                    if len(texts) == self.at and self.leave == "raise":
                        raise Left
                if isinstance(item, sk.StreamEnd) and item.reason == "completed":
                    assert texts == NUMBERS, f"completed after {texts}"

    @asynccontextmanager
    async def _items(self, stream: Any) -> AsyncIterator[Any]:
        if self.hop:
            async with sk.hops.prefetch(stream, size=2) as items:
                yield items
        else:
            async with stream as items:
                yield items


WAYS = ("end", "end", "end", "own session", "break", "raise", "stream.cancel", "task.cancel", "timeout", "deadline")


def consumer(url: str, session: aiohttp.ClientSession, dice: random.Random) -> Consumer:
    seconds = dice.random() * EVENTS * PERIOD * 2
    return Consumer(url, session, dice.choice(WAYS), dice.random() < 0.2, dice.randint(1, EVENTS), seconds)


async def one_round(url: str, number: int, seconds: float, dice: random.Random) -> Counter[str]:
    """How the streams of one round ended. `AssertionError` if they have not after `seconds`, or if one ended wrongly."""
    before = asyncio.all_tasks()
    connector = aiohttp.TCPConnector(limit=dice.choice([0, 0, max(1, number // 4)]))
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks: list[asyncio.Task[str]] = []
        for one in [consumer(url, session, dice) for _ in range(number)]:
            tasks.append(task := asyncio.create_task(one.run()))
            if one.leave == "task.cancel":
                asyncio.get_running_loop().call_later(one.seconds, task.cancel)
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        if pending:
            for task in asyncio.all_tasks():
                task.print_stack(file=sys.stderr)
            raise AssertionError(f"{len(pending)} of {number} streams have not ended after {seconds} s")
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=seconds)
    assert not (asyncio.all_tasks() - before), f"tasks are left: {asyncio.all_tasks() - before}"
    return Counter("task cancelled" if task.cancelled() else task.result() for task in tasks)


async def soak(url: str, number: int, rounds: int, seconds: float, seed: int) -> Counter[str]:
    """How all streams of all rounds ended."""
    dice, ends, longest = random.Random(seed), Counter[str](), 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        ends += await one_round(url, number, seconds, dice)
        longest = max(longest, time.perf_counter() - began)
    print(f"{rounds} rounds of {number} streams, the longest round {longest:.1f} s: {dict(ends)}", flush=True)
    return ends


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops that are installed."""
    found: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop"):
        import uvloop

        found["uvloop"] = uvloop.new_event_loop
    return found


def run(loop: str, work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=loops()[loop]) as runner:
        return runner.run(work)


def against_server(loop: str, number: int, rounds: int, seconds: float, seed: int) -> Counter[str]:
    """A soak against a server in a process of its own, both on this event loop."""
    command = [sys.executable, "-m", "tests.fire.soak", "--serve", "--loop", loop, "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
            found: Counter[str] = run(loop, soak(url, number, rounds, seconds, seed))
            return found
        finally:
            server.kill()


def main() -> None:
    """Soak on each event loop that is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of every write to a closed transport
        run(options.loop[0], serve(options.seed))
        return
    for name in ("asyncio", "uvloop"):
        if name not in (options.loop or (name,)):
            continue
        if name not in loops():
            print(f"{name}: skipped: not installed")
            continue
        print(f"{name}: ", end="", flush=True)
        against_server(name, options.streams, options.rounds, options.seconds, options.seed)


if __name__ == "__main__":
    main()
