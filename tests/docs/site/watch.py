"""The pictures of the page of `streamkit watch`, light and dark, by headless Chromium.

python -m tests.docs.site.watch docs/assets
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamkit as sk
from streamkit.sinks.watch import Watch
from tests.chromium import browser

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",)),
    sk.Rule("e-mail", detectors=("email",), channels=("content",)),
    sk.Rule("tone", phrases=("nobody else",), action="annotate"),
)
THOUGHT = ("The user wants ", "the code. ", "I must be careful.")
TEXT = (
    "Certainly. ", "The launch is ", "at dawn, ", "the code word is ", "blue ", "her", "on 4", "2, and ", "nobody else ",
    "should hear of it. ", "Write to ", "jane@", "example.org, ", "she has ", "the list of ", "the crew, ", "who meet at ",
    "the north gate and ", "carry ", "blue her",
)  # fmt: skip
STALL_AT = 10
PRICES = {"currency": "USD", "models": {"*": {"input": 2.5, "output": 10}}}


def _chunk(finish: str | None = None, **delta: str) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'model': 'gpt-4o', 'choices': [choice]})}\n\n".encode()


async def _answer(buffered: asyncio.Event, done: asyncio.Event) -> AsyncIterator[bytes]:
    await asyncio.sleep(0.4)
    for piece in THOUGHT:
        yield _chunk(reasoning_content=piece)
        await asyncio.sleep(0.12)
    for number, piece in enumerate(TEXT):
        await asyncio.sleep(1.3 if number == STALL_AT else 0.1)
        yield _chunk(content=piece)
    buffered.set()
    await done.wait()
    yield _chunk("stop")


async def _read(stream: sk.Stream[Any]) -> None:
    async with stream as events:
        async for _ in events:
            pass


async def draw(folder: Path) -> None:
    """Show one stream, and take the pictures while its text is buffered."""
    watch, buffered, done = Watch(), asyncio.Event(), asyncio.Event()
    moderate = sk.Parse() | sk.Extract() | sk.Moderate(RULES)
    pipeline = moderate | sk.Count("gpt-4o", prompt=12, prices=PRICES) | sk.Accumulate()
    async with watch.serve() as url, browser() as page:
        await page.look(width=1080, height=800)
        await page.open(url)
        reading = asyncio.create_task(_read(watch(_answer(buffered, done) | pipeline, "gpt-4o: the launch code")))
        await buffered.wait()
        await page.until("document.querySelector('[data-of=\"why\"]').textContent")
        for scheme in ("light", "dark"):
            await page.look(width=1080, height=800, scheme=scheme)
            await page.screenshot(folder / f"watch-{scheme}.png")
        done.set()
        await reading


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
