"""The example with two web processes, a worker and Redis: an answer survives the process that publishes it."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import EXAMPLES
from tests.relay.redis_server import RedisServer, needs_redis

pytest.importorskip("redis", reason="redis-py is not here")
pytestmark = [pytest.mark.asyncio, needs_redis]
APP = EXAMPLES / "resumable" / "app.py"
PIECES = [f"{number} " for number in range(40)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def running() -> AsyncGenerator[tuple[list[str], list["subprocess.Popen[bytes]"]], None]:
    """Two web processes and a worker; yields the addresses of the first two and all processes."""
    provider = Provider(answers={"?": [*PIECES, "blue heron 42"]}, first_token_seconds=0, token_seconds=0.05)
    server, processes = RedisServer().start(), list["subprocess.Popen[bytes]"]()
    ports = [free_port(), free_port()]
    try:
        async with serve(provider) as url:
            common = ["--redis", server.url, "--provider", f"{url}/v1", "--lease", "0.5"]
            for role in ([f"--port={ports[0]}"], [f"--port={ports[1]}"], None):
                command = [sys.executable, str(APP), "web" if role else "worker", *(role or []), *common]
                processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))  # noqa: ASYNC220
            urls = [f"http://127.0.0.1:{port}" for port in ports]
            for url in urls:
                await answers(url)
            yield urls, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.close()


async def answers(url: str) -> None:
    """Wait until the server accepts connections."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with aiohttp.request("GET", url) as response:
                    assert "EventSource" in await response.text()
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def read(url: str, key: str, after: str = "", until: int | None = None) -> tuple[list[tuple[str, str]], str]:
    """The events as the page reads them, to the end or so many of them, and the id of the last one."""
    events, event, last = list[tuple[str, str]](), "message", after
    async with aiohttp.request("GET", f"{url}/answers/{key}", params={"after": after} if after else None) as response:
        assert response.status == 200
        try:
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                match name:
                    case "id":
                        last = value
                    case "event":
                        event = value
                    case "data":
                        events.append((event, json.loads(value)))
                        if len(events) == until:
                            break
        except aiohttp.ClientError:
            pass  # the server has died
    return events, last


async def test_an_answer_survives_the_process_that_publishes_it() -> None:
    async with running() as (urls, processes), asyncio.timeout(60):
        async with aiohttp.request("POST", f"{urls[0]}/answers", data=json.dumps({"question": "?"})) as response:
            asked = await response.json()
        assert asked["pid"] == processes[0].pid
        first, last = await read(urls[0], asked["key"], until=5)
        processes[0].kill()
        rest, _ = await read(urls[1], asked["key"], after=last)
        whole, _ = await read(urls[1], asked["key"])
        for process in processes[1:]:
            process.terminate()
        codes = [process.wait(10) for process in processes[1:]]
    assert codes == [0, 0]
    assert [*first, *rest] == whole
    assert "".join(text for event, text in whole if event == "text") == "".join(PIECES) + "[redacted]"
    assert [value for event, value in whole if event != "text"] == ["completed"]
