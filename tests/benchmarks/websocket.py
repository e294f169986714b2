"""The cost of a WebSocket's frame through `sk.ws.connect | Extract`, beside a loop over aiohttp's own WebSocket.

    python -m tests.benchmarks.websocket [--frames 20000] [--rounds 5]

Text deltas of OpenAI's Responses API over loopback, from a server in the same process, whose time is in all figures:
microseconds a frame, the best of all rounds.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

import streamkit as sk


def frames(count: int) -> list[str]:
    """An answer of so many deltas."""
    delta = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0}
    created = {"type": "response.created", "response": {"id": "r", "output": []}}
    completed = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}
    deltas = [
        {**delta, "delta": f" word{at % 97}", "sequence_number": at, "obfuscation": "abcdefg"[: at % 7]}
        for at in range(count)
    ]
    return [json.dumps(event) for event in (created, *deltas, completed)]


async def by_hand(url: str) -> int:
    """Count the deltas in a loop with `json`."""
    found = 0
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str("go")
        async for message in socket:
            event = json.loads(message.data)
            found += event["type"] == "response.output_text.delta"
            if event["type"] == "response.completed":
                break
    return found


async def by_aiohttp(url: str) -> int:
    """Only receive."""
    found = 0
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str("go")
        async for message in socket:
            found += 1
            if "response.completed" in message.data:
                break
    return found - 2


async def by_streamkit(url: str) -> int:
    """Events."""
    found = 0
    async with sk.ws.connect(url, send="go") | sk.Extract() as events:
        async for event in events:
            found += isinstance(event, sk.TextDelta)
    return found


async def run(count: int, rounds: int) -> None:
    """Print the table."""
    answer = frames(count)

    async def speak(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        for frame in answer:
            await socket.send_str(frame)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/", speak)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    ways: dict[str, Callable[[str], Awaitable[int]]] = {
        "aiohttp, received only": by_aiohttp,
        "aiohttp and json": by_hand,
        "sk.ws.connect | Extract": by_streamkit,
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            assert await way(url) == count
            best[name] = min(best[name], time.perf_counter() - start)
    await runner.cleanup()
    for name, seconds in best.items():
        print(f"  {name:26}{seconds / count * 1e6:8.2f} µs a frame")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(run(options.frames, options.rounds))


if __name__ == "__main__":
    main()
