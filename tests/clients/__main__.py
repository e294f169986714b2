"""Every client over every recording: `make clients`. With `--write` the page is written anew.

    python -m tests.clients --python PYTHON --node NODE --modules FOLDER [--write]

PYTHON has langchain-openai and litellm; FOLDER has npm's modules.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from tests.clients import readers
from tests.clients.comparison import CLIENTS, Result, Task, compare, in_process
from tests.clients.gateway import serve
from tests.clients.page import PAGE, page
from tests.clients.reasons import REASONS, reason_of
from tests.conftest import SHARED

HERE = Path(__file__).parent
SECONDS = 300.0
"""For each client, which takes half a minute."""
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false", "AI_SDK_LOG_WARNINGS": "false"}
NPM = {"openai (npm)": "openai", "ai": "ai"}


async def run(arguments: argparse.Namespace) -> list[Result]:
    environment = os.environ | OFFLINE
    shutil.copy(HERE / "javascript" / "read.mjs", arguments.modules)

    async def read(client: str, tasks: list[Task]) -> list[Task]:
        if client == "openai":
            async with asyncio.timeout(SECONDS):
                return [
                    task | {"answer": await readers.read(client, task["url"], task["api"], task["stream"])}
                    for task in tasks
                ]
        command = [arguments.python, str(HERE / "readers.py"), client]
        if client in NPM:
            command = [arguments.node, str(arguments.modules / "read.mjs"), client]
        return await in_process(command, tasks, SECONDS, environment)

    results: list[Result] = []
    async with serve() as url:
        for client in CLIENTS:
            results.append(await compare(client, url, read))
            print(f"{client}: {results[-1].compared}, {len(results[-1].differences)} differences", flush=True)
    return results


def versions(arguments: argparse.Namespace) -> dict[str, str]:
    found = {"openai": version("openai")}
    script = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    names = ["langchain-openai", "litellm"]
    printed = subprocess.run([arguments.python, "-c", script, *names], check=True, capture_output=True, text=True)
    found |= dict(zip(names, printed.stdout.split(), strict=True))
    for client, package in NPM.items():
        manifest = arguments.modules / "node_modules" / package / "package.json"
        found[client] = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        print(f"make clients needs the recordings in {SHARED.name}, beside the checkout")
        return 1
    # Some recordings are failures.
    logging.getLogger("streamkit.sinks").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Pydantic serializer warnings")  # content of another type than OpenAI's
    results = asyncio.run(run(arguments))
    differences = [difference for result in results for difference in result.differences]
    unexplained = [difference for difference in differences if reason_of(difference) is None]
    used = {id(reason_of(difference)) for difference in differences}
    unused = [reason.why for reasons in REASONS.values() for reason in reasons if id(reason) not in used]
    for difference in unexplained:
        print(f"no reason is known: {difference}")
    for why in unused:
        print(f"nothing is explained by: {why}")
    made = page(results, versions(arguments))
    if arguments.write:
        PAGE.write_text(made, encoding="utf-8")
    stale = not arguments.write and PAGE.read_text(encoding="utf-8") != made
    if stale:
        print(f"{PAGE.name} is not what the clients do; see `make clients ARGS=--write`")
    good = not (unexplained or unused or stale)
    print(f"{len(results) - (not good)} passed, {int(not good)} failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
