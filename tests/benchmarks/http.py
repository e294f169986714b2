"""The cost of reading over HTTP next to bare aiohttp and a raw protocol, and the delay of a delta.

    python -m tests.benchmarks.http [--rounds 5] [--streams 1 100 500]

A server in a process of its own sends OpenAI's chat chunks over loopback: in bulk, as fast as the socket takes them, or to many
streams at once, an event each 50 ms with the time of sending as its text. Delay is the time from there to the consumer's loop.
Bare aiohttp is `iter_any`, a split at blank lines and a decoder: json, or msgspec with a type for the text alone. That is the
least that anybody can do, and what the raw protocol does that all are compared with. Contestants take turns; quoted are medians.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import aiohttp
import msgspec

import streamkit as sk
from tests.benchmarks.shapes import FLOORS, SHAPES

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
PERIOD = 0.05
TICKS = 40
SETTLE = 0.5
"""How long the server waits before the first event, so that what opening the streams costs delays none."""
CHUNK = (
    b'data: {"id":"chatcmpl-0123456789abcdefghijklmnopqr","object":"chat.completion.chunk","created":1764000000,'
    b'"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,'
    b'"delta":{"content":"%d"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"0123456"}\n\n'
)
PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# The server


async def serve(events: int) -> None:
    """Answer until killed; the port is the first line that it prints."""
    bulk = HEAD + b"".join(map(frame, SHAPES["OpenAI text"](events))) + b"0\r\n\r\n"
    groups: dict[int, list[asyncio.StreamWriter]] = {}

    async def tick(writers: list[asyncio.StreamWriter]) -> None:
        began = time.monotonic() + SETTLE
        for number in range(TICKS):
            for at, writer in enumerate(writers):
                due = began + PERIOD * (number + at / len(writers))
                if (wait := due - time.monotonic()) > 0.0002:
                    await asyncio.sleep(wait)
                if not writer.is_closing():
                    writer.write(frame(CHUNK % time.monotonic_ns()))
        for writer in writers:
            if not writer.is_closing():
                writer.write(frame(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if path == "/bulk":
            writer.write(bulk)
            await writer.drain()
        else:
            count = int(path.removeprefix("/tick/"))
            writer.write(HEAD)
            group = groups.setdefault(count, [])
            group.append(writer)
            if len(group) == count:
                task = asyncio.create_task(tick(groups.pop(count)))
                running.add(task)
                task.add_done_callback(running.discard)
        await reader.read()
        writer.close()

    running: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


# The contestants: each calls `seen` with the text of every delta


Reader = Callable[[aiohttp.ClientSession, str, Callable[[str], None]], Awaitable[None]]


async def by_streamkit(session: aiohttp.ClientSession, url: str, seen: Callable[[str], None]) -> None:
    async with sk.http.get(url, session=session) | PIPELINE as events:
        async for event in events:
            if isinstance(event, sk.TextDelta):
                seen(event.text)


DECODE = msgspec.json.Decoder(FLOORS["OpenAI text"]).decode


async def by_aiohttp(session: aiohttp.ClientSession, url: str, seen: Callable[[str], None]) -> None:
    rest = b""
    async with session.get(url) as response:
        async for piece in response.content.iter_any():
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                if block != b"data: [DONE]":
                    for choice in DECODE(block[6:]).choices:
                        if text := choice.delta.content:
                            seen(text)


async def by_aiohttp_and_json(session: aiohttp.ClientSession, url: str, seen: Callable[[str], None]) -> None:
    rest = b""
    async with session.get(url) as response:
        async for piece in response.content.iter_any():
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                if block != b"data: [DONE]":
                    for choice in json.loads(block[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            seen(text)


async def by_bytes(session: aiohttp.ClientSession, url: str, seen: Callable[[str], None]) -> None:
    async with session.get(url) as response:
        async for _ in response.content.iter_any():
            pass


class _Raw(asyncio.Protocol):
    def __init__(self, end: asyncio.Future[None]) -> None:
        self._end = end
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"GET /bulk HTTP/1.1\r\nhost: x\r\n\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                DECODE(line[6:])
        if data.endswith(b"0\r\n\r\n"):
            self._end.set_result(None)


async def by_protocol(port: int) -> None:
    """A protocol written for this one body: no HTTP client, no parser of events."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Raw(end), "127.0.0.1", port)
    await end
    transport.close()


async def timed(work: Awaitable[None], count: int) -> float:
    """Microseconds of CPU time of this process for each event."""
    began = time.process_time()
    await work
    return (time.process_time() - began) / count * 1e6


async def bulk(port: int, events: int, rounds: int) -> dict[str, list[float]]:
    url, ignore = f"http://127.0.0.1:{port}/bulk", lambda text: None
    found: dict[str, list[float]] = {}
    async with aiohttp.ClientSession() as session:
        for _ in range(rounds):
            for name, work in (
                ("a raw protocol (msgspec)", by_protocol(port)),
                ("aiohttp, bytes only", by_bytes(session, url, ignore)),
                ("aiohttp (msgspec)", by_aiohttp(session, url, ignore)),
                ("aiohttp (json)", by_aiohttp_and_json(session, url, ignore)),
                ("streamkit, three stages", by_streamkit(session, url, ignore)),
            ):
                found.setdefault(name, []).append(await timed(work, events))
    return found


async def delays(port: int, streams: int, reader: Reader) -> tuple[list[float], float]:
    """Milliseconds from sending to the consumer, and microseconds of CPU time for each event while events come."""
    found: list[float] = []
    cpu: list[float] = []

    def seen(text: str) -> None:
        found.append((time.monotonic_ns() - int(text)) / 1e6)
        if len(found) in (1, streams * TICKS):
            cpu.append(time.process_time())

    url = f"http://127.0.0.1:{port}/tick/{streams}"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*[reader(session, url, seen) for _ in range(streams)])
    assert len(found) == streams * TICKS
    return found, (cpu[1] - cpu[0]) / len(found) * 1e6


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def client(port: int, events: int, rounds: int, counts: list[int], loop: str) -> None:
    found = await bulk(port, events, rounds)
    raw = statistics.median(found["a raw protocol (msgspec)"])
    print(f"\nbulk, {loop}: CPU time for each event")
    for name, taken in found.items():
        median = statistics.median(taken)
        print(f"  {name:28} {median:7.2f} µs {median / raw:6.2f} x raw   ({min(taken):.2f} to {max(taken):.2f} µs)")
    for count in counts:
        print(
            f"\n{count} streams, {loop}, an event each {PERIOD * 1000:.0f} ms: delay p50, p99; CPU time for each event"
        )
        results: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(max(1, min(rounds, 3))):
            for name, reader in (("aiohttp (msgspec)", by_aiohttp), ("streamkit, three stages", by_streamkit)):
                taken, cpu = await delays(port, count, reader)
                results.setdefault(name, []).append((percentile(taken, 50), percentile(taken, 99), cpu))
        bare = statistics.median(row[0] for row in results["aiohttp (msgspec)"])
        for name, rows in results.items():
            p50, p99, cpu = (statistics.median(row[at] for row in rows) for at in range(3))
            spread = f"{min(row[0] for row in rows):.2f} to {max(row[0] for row in rows):.2f}"
            print(f"  {name:28} {p50:7.2f} ms {p99:7.2f} ms {cpu:7.1f} µs {p50 / bare:6.2f} x bare   (p50 {spread} ms)")


def main() -> None:
    """Serve in another process, and read on each event loop that is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 100, 500])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.events))
        return
    print(f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}")
    command = [sys.executable, "-m", "tests.benchmarks.http", "--serve", "--events", str(options.events)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            factories: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
            if find_spec("uvloop"):
                import uvloop

                factories["uvloop"] = uvloop.new_event_loop
            for name, factory in factories.items():
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(client(port, options.events, options.rounds, options.streams, name))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
