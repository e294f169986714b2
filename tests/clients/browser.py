"""`useChat` in a headless Chromium over every recording, written as `ai-sdk`: a part of `make clients`.

    python -m tests.clients.browser --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules. Without Chromium (`apt-get install chromium`) nothing is tested, which is printed.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.chromium import CHROMIUM, browser
from tests.clients.formats import expected, serve
from tests.conftest import SHARED
from tests.emitters.kit import answers

HERE = Path(__file__).parent
PAGE = """\
<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<body><script type="module" src="/usechat.js"></script>
"""
SECONDS = 120.0


def bundle(node: str, modules: Path) -> bytes:
    """The page's script, with React, `useChat` and all else in one file."""
    shutil.copy(HERE / "javascript" / "usechat.mjs", modules)
    command = [node, "node_modules/esbuild/bin/esbuild", "usechat.mjs", "--bundle", "--format=esm", "--log-level=error"]
    options = ["--define:process.env.NODE_ENV='production'", "--outfile=usechat.js"]
    subprocess.run([*command, *options], cwd=modules, check=True, timeout=SECONDS)
    return (modules / "usechat.js").read_bytes()


async def read(script: bytes) -> dict[str, Any]:
    """Each recording as read by `useChat`, by its name."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def code(request: web.Request) -> web.Response:
        return web.Response(body=script, content_type="text/javascript")

    found: dict[str, Any] = {}
    async with serve(web.get("/", page), web.get("/usechat.js", code)) as url, browser() as window:
        await window.open(url)
        await window.until("Boolean(window.read)")
        for name in answers():
            async with asyncio.timeout(SECONDS):
                found[name] = await window.value(f"read('/ai-sdk/{name}')")
        if window.errors:
            raise RuntimeError(f"errors of the page: {window.errors}")
        outside = [address for address in window.requests if not address.startswith((url, "data:"))]
        if outside:
            raise RuntimeError(f"expected requests to the server alone, found {outside}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("useChat in a browser: skipped, there is no Chromium (apt-get install chromium)")
        return 0
    if not SHARED.is_dir():
        print(f"make clients needs the recordings in {SHARED.name}, beside the checkout")
        return 1
    failed = 0
    found = asyncio.run(read(bundle(arguments.node, arguments.modules)))
    for name, answer in found.items():
        wanted = expected(answers()[name])
        renders = answer.pop("renders", 0)
        # React shows the text in a paragraph, and more than once while a long one arrives.
        wanted["shown"] = wanted["text"]
        if answer != wanted or (bool(wanted["text"]) and not renders):
            failed += 1
            print(f"useChat, {name}: expected {wanted}, found {answer}"[:600])
    print(f"useChat in a browser: {len(found) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
