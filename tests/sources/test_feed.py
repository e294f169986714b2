"""A feed is kept to as a browser's EventSource keeps to it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

import streamkit as sk


@asynccontextmanager
async def feed_server(*answers: str | int) -> AsyncGenerator[tuple[str, list[str | None]], None]:
    """Answers the nth connection with the nth body, or status; notes the Last-Event-ID of each."""
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        given = answers[len(asked)]
        asked.append(request.headers.get("Last-Event-ID"))
        if isinstance(given, int):
            return web.Response(status=given)
        return web.Response(text=given, content_type="text/event-stream")

    app = web.Application()
    app.router.add_get("/feed", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/feed", asked
    finally:
        await runner.cleanup()


async def events_of(url: str, **options: object) -> list[tuple[str, str]]:
    @sk.stage
    def pair(event: sk.ServerSentEvent) -> list[tuple[str, str]]:
        return [(event.data, event.id)]

    found: list[tuple[str, str]] = []
    async with sk.feed(url, **options) | pair as pairs:  # type: ignore[arg-type]
        async for item in pairs:
            found.append(item)  # type: ignore[arg-type]
    return found


@pytest.mark.asyncio
async def test_a_feed_that_ends_is_taken_up_again_after_the_last_event_id() -> None:
    bodies = ("retry: 0\nid: 1\ndata: one\n\n", "id: 2\ndata: two\n\ndata: cut off", "data: three\n\n", 204)
    async with feed_server(*bodies) as (url, asked):
        assert await events_of(url) == [("one", "1"), ("two", "2"), ("three", "2")]
    assert asked == [None, "1", "2", "2"]


@pytest.mark.asyncio
async def test_a_feed_begins_after_the_id_that_it_is_given() -> None:
    async with feed_server("retry: 0\ndata: x\n\n", 204) as (url, asked):
        assert await events_of(url, last_event_id="41") == [("x", "41")]
    assert asked == ["41", "41"]


@pytest.mark.asyncio
async def test_an_error_status_ends_the_feed() -> None:
    async with feed_server("retry: 0\ndata: x\n\n", 500) as (url, asked):
        with pytest.raises(sk.StatusError) as caught:
            await events_of(url)
    assert caught.value.status == 500
    assert len(asked) == 2


@pytest.mark.asyncio
async def test_reconnections_without_an_event_are_bounded() -> None:
    async with feed_server("retry: 0\ndata: x\n\n", "", "", "", 500) as (url, asked):
        assert await events_of(url, reconnects=2) == [("x", "")]
    assert len(asked) == 3


@pytest.mark.asyncio
async def test_leaving_while_it_waits_to_reconnect_leaves_nothing() -> None:
    async with feed_server("retry: 3600000\ndata: x\n\n") as (url, _):
        before = asyncio.all_tasks()
        async with sk.feed(url) | sk.stage(lambda event: event) as events:
            first = await anext(events)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(events)
        assert isinstance(first, sk.ServerSentEvent)
        assert first.data == "x"
        assert asyncio.all_tasks() == before
