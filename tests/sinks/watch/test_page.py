"""The page over HTTP, and as a browser shows it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.sinks.watch import Watch
from tests.chromium import Page, browser, needs_chromium
from tests.kit import Same
from tests.sinks.servers import aiohttp_app
from tests.sinks.watch.test_observed import RULES, given_events, read, texts

pytestmark = pytest.mark.asyncio


async def test_the_page_asks_nobody_but_its_server() -> None:
    async with Watch(stall=2.5).serve() as url, aiohttp.ClientSession() as session, session.get(url) as got:
        page = await got.text()

    assert (got.status, got.content_type) == (200, "text/html")
    assert got.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "Number('2.5')" in page


@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("127.0.0.1:1", 200), ("localhost", 200)])
async def test_only_this_machine_is_answered(host: str, status: int) -> None:
    async with Watch().serve() as url, aiohttp.ClientSession() as session:
        async with session.get(url, headers={"host": host}) as got:
            assert got.status == status


async def test_an_application_has_the_page_where_it_wants() -> None:
    watch, app = Watch(), web.Application()
    app.add_subapp("/watch", watch.application())
    await read(watch(given_events(texts("Hello")) | Same()))
    async with aiohttp_app(app) as url, aiohttp.ClientSession(url) as session:
        async with session.get("/watch/") as got:
            assert got.status == 200
        async with session.get("/watch/updates") as got:
            assert b'"Hello"' in await got.content.readuntil(b"\n\n")


async def test_a_server_that_stops_ends_the_updates() -> None:
    async with aiohttp.ClientSession() as session:
        async with Watch().serve() as url:
            got = await session.get(f"{url}updates")
        assert await got.content.read() == b""


@asynccontextmanager
async def shown(watch: Watch) -> AsyncGenerator[Page, None]:
    async with watch.serve() as url, browser() as page:
        await page.look()
        await page.open(url)
        await page.until("document.getElementById('link').textContent === 'live'")
        yield page


def field(name: str) -> str:
    return f"document.querySelector('[data-of=\"{name}\"]').textContent"


@needs_chromium
async def test_a_browser_shows_a_stream_while_it_arrives() -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        yield sk.ReasoningDelta("Hm. ")
        yield sk.TextDelta("<b>The code</b> is blue heron 42, or blue")
        await go_on.wait()
        for event in [sk.ToolCallDelta(0, "1", "look", "{}"), *texts(" sky.")]:
            yield event

    watch = Watch()
    pipeline: Any = Same() | sk.Moderate(RULES) | sk.Count("gpt-4o") | sk.Timing()
    async with shown(watch) as page:
        reading = asyncio.create_task(read(watch(source() | pipeline, "a <title>")))
        await page.until(f"{field('why')}.includes('match of secret')")
        text: str = await page.value(field("text"))
        waiting = [await page.value(field(name)) for name in ("title", "state", "held", "first")]
        go_on.set()
        await reading
        await page.until(f"{field('state')} === 'completed'")
        ended: str = await page.value(field("text"))
        decisions = await page.value("document.querySelector('[data-of=\"decisions\"]').innerText")
        tokens = await page.value(field("tokens"))

    assert "Hm. <b>The code</b> is redacted: secret [redacted], or 4 buffered" in text
    assert waiting[:3] == ["a <title>", "open", "4 characters"]
    assert waiting[3].endswith("ms")
    assert "look {}" in ended
    assert "blue sky." in ended
    assert "buffered" not in ended
    assert "redacted\tsecret\tcontent\t19–32" in decisions.replace("\n", "\t")
    assert tokens.split()[0].isdigit()
    assert page.errors == []
    assert {address.rpartition("/")[2] for address in page.requests} == {"", "updates"}


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_narrow_window_in_both_schemes(scheme: Any) -> None:
    watch = Watch()
    for number in range(4):
        await read(watch(given_events(texts("word " * 50, "x" * 300)) | Same(), f"a stream with a long title {number}"))
    async with shown(watch) as page:
        await page.look(width=360, height=800, scheme=scheme)
        await page.until("document.querySelectorAll('#streams button').length === 4")
        width = await page.value("document.documentElement.scrollWidth")
        colors = await page.value(
            "JSON.stringify([getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor])"
        )
        await page.value("document.querySelectorAll('#streams button')[2].click()")
        chosen = await page.until(f"{field('title')}.endsWith('1') && {field('title')}")

    assert width == 360
    assert ("rgb(15, 18, 22)" in colors) is (scheme == "dark")
    assert chosen == "a stream with a long title 1"
    assert page.errors == []
