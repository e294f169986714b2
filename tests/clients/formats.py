"""npm's clients over every recording, each in its own wire format: a part of `make clients`.

    python -m tests.clients.formats --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules. What a client makes of an answer must be what `Accumulate` makes of it.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

import streamkit as sk
from streamkit.sinks.aiohttp import respond
from tests.clients.comparison import Task, in_process
from tests.conftest import SHARED
from tests.emitters.kit import answers, completion_of

FORMATS = ("ai-sdk", "ag-ui", "anthropic", "responses")
SCRIPT = "formats.mjs"
SECONDS = 300.0


async def _written(request: web.Request) -> web.StreamResponse:
    events = answers()[request.match_info["name"]]

    async def stream() -> AsyncGenerator[sk.Event, None]:
        for event in events:
            yield event

    body = {**(await request.json()), "stream": True}
    name = request.match_info["format"]
    return await respond(request, stream(), body=body, emit=sk.Emit(name, id="any", verdicts=True))


@asynccontextmanager
async def serve(*more: web.RouteDef) -> AsyncGenerator[str, None]:
    """The server's address; …/FORMAT/NAME answers any request with that recording. `more` is served too."""
    app = web.Application()
    app.add_routes(more)
    app.router.add_post("/{format}/{name:.*}", _written)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def expected(events: list[sk.Event]) -> dict[str, Any]:
    choice = completion_of(events).choices[0]
    return {
        "text": choice.text + (choice.refusal or ""),
        "reasoning": choice.reasoning or "",
        "calls": [[call.name, json.loads(call.arguments or "{}")] for call in choice.tool_calls],
    }


async def read(node: str, modules: Path) -> list[Task]:
    shutil.copy(Path(__file__).parent / "javascript" / SCRIPT, modules)
    async with serve() as url:
        tasks: list[Task] = [
            {"format": name, "name": recording, "url": f"{url}/{name}/{recording}"}
            for name in FORMATS
            for recording in answers()
        ]
        return await in_process([node, str(modules / SCRIPT)], tasks, SECONDS, dict(os.environ))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        print(f"make clients needs the recordings in {SHARED.name}, beside the checkout")
        return 1
    equal, failed = Counter[str](), 0
    for task in asyncio.run(read(arguments.node, arguments.modules)):
        wanted = expected(answers()[task["name"]])
        if task["answer"] == wanted:
            equal[task["format"]] += 1
        else:
            failed += 1
            print(f"{task['format']}, {task['name']}: expected {wanted}, found {task['answer']}"[:600])
    print(", ".join(f"{name}: {equal[name]} of {len(answers())}" for name in FORMATS))
    print(f"{equal.total()} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
