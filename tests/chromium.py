"""A headless Chromium over its DevTools protocol, for tests of pages. Where there is none, such tests are skipped."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
START_SECONDS = 60.0
WAIT_SECONDS = 30.0
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Page:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        """Errors that the page's scripts raised or wrote."""
        self.requests: list[str] = []
        """The addresses that the page asked for."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A method of the protocol, and its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=WAIT_SECONDS)
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.errors.append(json.dumps(details)[:500])
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": text}}}:
                self.errors.append(text)
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}}:
                self.requests.append(url)
            case _:
                pass

    async def open(self, url: str) -> None:
        """Go to that address."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def look(self, *, width: int = 1200, height: int = 900, scheme: Literal["light", "dark"] = "light") -> None:
        """The size of the window, and the scheme of colours that is preferred."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def value(self, expression: str) -> Any:
        """The value of an expression of the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait for an expression that is true, and give its value. One that raises is not true yet."""
        guarded = f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()"
        async with asyncio.timeout(WAIT_SECONDS):
            # The page is in another process, which sets no event of ours.
            while not (value := await self.value(guarded)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return value

    async def screenshot(self, path: Path | None = None) -> bytes:
        """The page as a PNG."""
        image = base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])
        if path is not None:
            path.write_bytes(image)
        return image


@asynccontextmanager
async def browser() -> AsyncGenerator[Page, None]:
    """An empty page of a new browser, which is ended with the block."""
    assert CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_ARGUMENTS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"HOME": profile},
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                async with session.get("/json/list") as answer:
                    address = next(
                        page["webSocketDebuggerUrl"] for page in await answer.json() if page["type"] == "page"
                    )
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.terminate()
            await process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_SECONDS):
        while not file.exists() or not (text := file.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return int(text.splitlines()[0])
