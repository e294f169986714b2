"""`useChat` in a headless Chromium: a part of `make clients`.

Over every recording, written as `ai-sdk`; and a chat whose page is reloaded while its answer is written into a log.

    python -m tests.clients.browser --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules. Without Chromium (`apt-get install chromium`) nothing is tested, which is printed.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from aiohttp import web

import streamkit as sk
from streamkit.relay import Chats, MemoryLog, Relay
from streamkit.sinks.aiohttp import respond
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


def pages(script: bytes) -> list[web.RouteDef]:
    """The routes of the page."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def code(request: web.Request) -> web.Response:
        return web.Response(body=script, content_type="text/javascript")

    return [web.get("/", page), web.get("/usechat.js", code)]


async def read(script: bytes) -> dict[str, Any]:
    """Each recording as read by `useChat`, by its name."""
    found: dict[str, Any] = {}
    async with serve(*pages(script)) as url, browser() as window:
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


async def reload(script: bytes) -> list[tuple[str, Any, Any]]:
    """A page that is reloaded in the middle of an answer, at its end, and after the answer was stopped.

    Returns what was looked at, what was expected and what was found.
    """
    first, rest = asyncio.Event(), asyncio.Event()
    asked: list[dict[str, Any]] = []

    async def answer() -> AsyncGenerator[sk.Event, None]:
        yield sk.TextDelta("Half of it")
        await first.wait()
        yield sk.TextDelta(" and the rest.")
        await rest.wait()
        yield sk.Finish("stop")
        yield sk.StreamEnd("completed")

    async def start(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(sk.requests.translate(body, source="ai-sdk", target="openai").body)
        return await respond(request, await chats.start(body["id"], answer), emit="ai-sdk")

    async def resume(request: web.Request) -> web.StreamResponse:
        frames = await chats.resume(request.match_info["id"])
        return web.Response(status=204) if frames is None else await respond(request, frames, emit="ai-sdk")

    routes = [web.post("/api/chat", start), web.get("/api/chat/{id}/stream", resume)]
    found: list[tuple[str, Any, Any]] = []
    async with Relay(MemoryLog()) as streams, serve(*routes, *pages(script)) as url, browser() as window:
        chats = Chats(streams)

        async def show(id: str, resumes: bool, text: str | None, until: str) -> Any:
            await window.open(f"{url}/?{len(found)}")
            await window.until("Boolean(window.chat)")
            await window.value(f"window.chat('/api/chat', {id!r}, {json.dumps(resumes)}, {json.dumps(text)})")
            await window.until(until)
            return await window.value("window.seen")

        half = "window.seen.texts.at(-1) === 'Half of it'"
        seen = await show("one", False, "Say it.", half)
        found.append(("the first half", ["Half of it"], seen["texts"]))
        found.append(("what was asked", [{"role": "user", "content": "Say it."}], asked[0]["messages"]))
        seen = await show("one", True, None, half)
        found.append(("the first half, reloaded", ["Half of it"], seen["texts"]))
        first.set()
        await window.until("window.seen.texts.at(-1).endsWith('rest.')")
        seen = await show("one", True, None, "window.seen.texts.at(-1)?.endsWith('rest.')")
        found.append(("all, reloaded again", ["Half of it and the rest."], seen["texts"]))
        rest.set()
        await window.until("window.seen.status === 'ready'")
        seen = await show("one", True, None, "window.seen.status === 'ready'")
        found.append(("a chat whose answer has ended", {"texts": [], "status": "ready", "error": None}, seen))
        first.clear()
        await show("two", False, "Say it again.", half)
        found.append(("the stop", True, await chats.stop("two")))
        await window.until("window.seen.status === 'ready'")
        found.append(("a stopped answer", ["Half of it"], (await window.value("window.seen"))["texts"]))
        found.append(("errors of the page", [], window.errors))
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
    script = bundle(arguments.node, arguments.modules)
    found = asyncio.run(read(script))
    for name, answer in found.items():
        wanted = expected(answers()[name])
        renders = answer.pop("renders", 0)
        # React shows the text in a paragraph, and more than once while a long one arrives.
        wanted["shown"] = wanted["text"]
        if answer != wanted or (bool(wanted["text"]) and not renders):
            failed += 1
            print(f"useChat, {name}: expected {wanted}, found {answer}"[:600])
    print(f"useChat in a browser: {len(found) - failed} passed, {failed} failed")
    looks = asyncio.run(reload(script))
    for name, wanted, seen in looks:
        if seen != wanted:
            failed += 1
            print(f"useChat, reloaded, {name}: expected {wanted}, found {seen}"[:600])
    print(
        f"useChat in a page that is reloaded: {sum(seen == wanted for _, wanted, seen in looks)} of {len(looks)} as expected"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
