"""Browsers on this machine, without a driver: Chromium and its kin speak the DevTools protocol over a WebSocket."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"none of the browsers {', '.join(NAMES)} is here")


class Page:
    """A page in a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def run(self, script: str) -> Any:
        """The value of the script, or of the promise that it gives."""
        options = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = await self._call("Runtime.evaluate", options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        await self._call("Page.enable", {})
        await self._call("Page.navigate", {"url": url})
        while (await self._socket.receive_json()).get("method") != "Page.loadEventFired":
            pass

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while (message := await self._socket.receive_json()).get("id") != self._number:
            pass
        return message["result"]


@asynccontextmanager
async def browsing(profile: Path) -> AsyncGenerator[Page, None]:
    """A page in a browser of its own, which knows nothing and leaves nothing."""
    assert BROWSER
    alone = [] if os.name == "nt" or os.geteuid() else ["--no-sandbox"]  # which root can't have
    process = await asyncio.create_subprocess_exec(
        *(BROWSER, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", *alone),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            head = b""
            while not (found := re.search(rb"DevTools listening on ws://([^/]+)/", head)):
                piece = await process.stderr.read(4096)
                if not piece:
                    # A stub that would install one, or a sandbox that this machine does not allow.
                    pytest.skip(f"{BROWSER} does not start: {head.decode(errors='replace').strip()[-200:]}")
                head += piece
            async with session.get(f"http://{found[1].decode()}/json/list") as got:
                pages = [page for page in json.loads(await got.text()) if page["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
