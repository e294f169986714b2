"""Durable Streams: the protocol's conformance suite, and its client over published streams. A part of `make clients`.

    python -m tests.clients.durable --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules. The suite writes its streams through `tests.relay.durable_server`. What only a server that writes has,
forks, idempotent producers and subscriptions, is left out.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

import streamkit as sk
from streamkit.relay import DurableStreams, MemoryLog, Relay
from streamkit.sinks.aiohttp import respond_durable
from tests.clients.comparison import Task, in_process
from tests.relay import durable_server
from tests.relay.answers import EVENTS
from tests.sinks.servers import aiohttp_app

SUITE = "durable.test.mjs"
CLIENT = "durable.mjs"
SECONDS = 300.0
LEFT_OUT = (r"^Fork - ", r"^Reserved subscription", r"Idempotent Producer", r"close-with-different-body-dedup")
"""Tests by their full names; the last sends the headers of an idempotent producer."""
FEWEST = 200
"""How many tests the suite has at least: if its names change, nothing may be left out unseen."""
PAUSE = 0.004
LIVE = (False, "long-poll", "sse")
FORMATS = (None, "ai-sdk", "openai")


async def conformance(arguments: argparse.Namespace) -> int:
    """Run the suite, and return how many tests failed."""
    report = arguments.modules / "durable.json"
    report.unlink(missing_ok=True)
    pattern = f"^(?!.*({'|'.join(name.removeprefix('^') for name in LEFT_OUT)}))"
    vitest = arguments.modules / "node_modules" / "vitest" / "vitest.mjs"
    async with durable_server.serve() as url:
        process = await asyncio.create_subprocess_exec(
            arguments.node,
            str(vitest),
            "run",
            SUITE,
            "--testNamePattern",
            pattern,
            "--reporter=json",
            f"--outputFile={report}",
            cwd=arguments.modules,
            env=os.environ | {"CONFORMANCE_TEST_URL": url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(SECONDS):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if not report.exists():
        print(out.decode()[-2000:])
        return 1
    return _reported(json.loads(report.read_text(encoding="utf-8")))


def _reported(report: dict[str, Any]) -> int:
    results = [result for file in report["testResults"] for result in file["assertionResults"]]
    counted = Counter(result["status"] for result in results)
    failed = [result for result in results if result["status"] == "failed"]
    unseen = [
        result["fullName"]
        for result in results
        if result["status"] not in ("passed", "failed")
        and not any(re.search(name, result["fullName"]) for name in LEFT_OUT)
    ]
    for result in failed:
        print(f"{result['fullName']}: {result['failureMessages'][0][:300]}")
    for name in unseen:
        print(f"not run: {name}")
    few = counted["passed"] + len(failed) < FEWEST
    if few:
        print(f"expected {FEWEST} tests or more")
    left = len(results) - counted["passed"] - len(failed) - len(unseen)
    print(f"durable streams: {counted['passed']} passed, {len(failed)} failed, {left} left out")
    return len(failed) + len(unseen) + few


@asynccontextmanager
async def published(streams: Relay) -> AsyncGenerator[str, None]:
    """The address of a server that only reads; …/FORMAT/KEY is a stream as messages of that format."""
    reads = {f"{name}": DurableStreams(streams, name, long_poll=5.0, sse=0.05) for name in FORMATS}

    async def handler(request: web.Request) -> web.StreamResponse:
        return await respond_durable(request, reads[request.match_info["format"]], request.match_info["key"])

    app = web.Application()
    app.router.add_get("/{format}/{key}", handler)
    async with aiohttp_app(app) as url:
        yield url


async def slowly() -> AsyncGenerator[sk.Event, None]:
    for event in EVENTS:
        yield event
        await anyio.sleep(PAUSE)


async def clients(arguments: argparse.Namespace) -> int:
    """Read a stream with the client in each way while it is published, and return in how many it received something else."""
    failures = 0
    async with Relay(MemoryLog()) as streams, published(streams) as url:
        for name in FORMATS:
            for live in LIVE:
                key = f"{name}-{live}"
                publication = await streams.publish(key, slowly)
                if not live:
                    await publication.wait()
                tasks: list[Task] = [{"url": f"{url}/{name}/{key}", "live": live}]
                command = [arguments.node, str(arguments.modules / CLIENT)]
                (got,) = await in_process(command, tasks, SECONDS, dict(os.environ))
                response = await DurableStreams(streams, name).read(key, "GET")
                assert isinstance(response.body, bytes)
                if got["answer"] != json.loads(response.body):
                    failures += 1
                    print(f"{name}, live {live}: the client received something else: {str(got['answer'])[:300]}")
    print(f"durable streams: the client read {len(FORMATS) * len(LIVE) - failures} streams, {failures} failed")
    return failures


async def run(arguments: argparse.Namespace) -> int:
    for script in (SUITE, CLIENT):
        shutil.copy(Path(__file__).parent / "javascript" / script, arguments.modules)
    return await conformance(arguments) + await clients(arguments)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.modules = arguments.modules.resolve()
    return 1 if asyncio.run(run(arguments)) else 0


if __name__ == "__main__":
    sys.exit(main())
