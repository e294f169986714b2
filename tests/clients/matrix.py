"""npm's clients through the gateway, on each API of npm's aimock, in each kind of answer: a part of `make clients`.

    python -m tests.clients.matrix --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules.
"""

import argparse
import asyncio
import json
import logging
import os
import runpy
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.clients.comparison import Task, in_process

HERE = Path(__file__).parent
GATEWAY = HERE.parents[1] / "docs" / "examples" / "gateway.py"
CLIENTS = ("openai chat", "@anthropic-ai/sdk", "openai responses", "ai")
PATHS = {"openai": "/v1", "anthropic": "/v1", "responses": "/v1", "gemini": "/v1beta"}
"""The APIs of the upstream, and their paths there."""
ANSWERS: dict[str, dict[str, Any]] = {
    "text": {"text": "Hello", "reasoning": "", "calls": [], "end": "stop"},
    "tools": {"text": "", "reasoning": "", "calls": [["weather", {"city": "Paris"}]], "end": "tool_calls"},
    "reasoning": {"text": "Yes", "reasoning": "Hm", "calls": [], "end": "stop"},
    "length": {"text": "Hel", "reasoning": "", "calls": [], "end": "length"},
    "moderated": {"text": "The code is [redacted], not more.", "reasoning": "", "calls": [], "end": "stop"},
    "error": {"status": 429},
}
FAILED = {"status": None}
"""A stream that ended with an error after it had begun."""
EXCEPTIONS = {("responses", "length"): FAILED}
"""For a cut answer, aimock's Responses end with `response.completed`, the status `incomplete` and no reason: no known success."""
SECONDS = 120.0


@asynccontextmanager
async def upstream(node: str, modules: Path) -> AsyncGenerator[str, None]:
    """The address of aimock."""
    process = await asyncio.create_subprocess_exec(
        node, str(modules / "upstream.mjs"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"aimock ended with {await process.wait()}")
        yield json.loads(line)["url"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def gateway(api: str, base_url: str) -> AsyncGenerator[str, None]:
    """The address of the gateway in front of that API."""
    application = runpy.run_path(str(GATEWAY))["application"]
    runner = web.AppRunner(application(api, base_url, model="any"), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def read(node: str, modules: Path) -> list[Task]:
    for script in ("upstream.mjs", "gateway.mjs"):
        shutil.copy(HERE / "javascript" / script, modules)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(upstream(node, modules))
        urls = {api: await stack.enter_async_context(gateway(api, provider + path)) for api, path in PATHS.items()}
        tasks: list[Task] = [
            {"client": client, "api": api, "url": url, "scenario": scenario}
            for client in CLIENTS
            for api, url in urls.items()
            for scenario in ANSWERS
        ]
        return await in_process([node, str(modules / "gateway.mjs")], tasks, SECONDS, dict(os.environ))


def as_expected(task: Task) -> bool:
    """Whether the client's answer is the one of the scenario. The words of an error are not compared."""
    found = {name: value for name, value in task["answer"].items() if name != "message"}
    return bool(found == EXCEPTIONS.get((task["api"], task["scenario"]), ANSWERS[task["scenario"]]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    arguments = parser.parse_args()
    logging.getLogger("streamkit.sinks").setLevel(logging.ERROR)  # some answers are failures
    tasks = asyncio.run(read(arguments.node, arguments.modules))
    wrong = [task for task in tasks if not as_expected(task)]
    for task in wrong:
        print(f"{task['client']} on {task['api']}, {task['scenario']}: found {task['answer']}"[:600])
    print(f"the gateway's matrix: {len(tasks) - len(wrong)} passed, {len(wrong)} failed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
