"""Responses to clients of a published stream that reconnect with an id after which the stream can't continue."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest

import streamkit as sk
from streamkit.relay import MemoryLog, Relay
from streamkit.sse import ServerSentEvent
from tests.sinks.servers import Serve

pytestmark = pytest.mark.asyncio

WHOLE: list[sk.Event] = [sk.TextDelta("new"), sk.Finish("stop"), sk.StreamEnd("completed")]


async def published(events: list[sk.Event]) -> AsyncGenerator[sk.Event, None]:
    for event in events:
        yield event


async def resumed(serve: Serve, streams: Relay, last: str, **options: Any) -> tuple[int, str, list[ServerSentEvent]]:
    """The status, the content type, and the server-sent events of the response to a client with this `Last-Event-ID`."""
    async with (
        serve(lambda _: streams.frames("k", options.get("emit", "openai"), last_event_id=last), **options) as url,
        aiohttp.request("GET", url) as got,
    ):
        return got.status, got.content_type, list(sk.Parse().run([await got.read()]))


@pytest.mark.parametrize("emit", ["openai", "ai-sdk", "anthropic"])
async def test_a_client_with_the_id_of_something_else_can_reconnect_and_receives_everything(
    serve: Serve, emit: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Relay(MemoryLog(), flush=0) as streams:
        await (await streams.publish("k", lambda: published(WHOLE))).wait()
        status, kind, (error, *_) = await resumed(serve, streams, "1-1-1", emit=emit)
        assert (status, kind) == (200, "text/event-stream")
        assert "Last-Event-ID is not one of its ids: discard what was received" in error.data
        assert await resumed(serve, streams, error.id, emit=emit) == await resumed(serve, streams, "", emit=emit)
    assert [record.getMessage() for record in caplog.records if record.name == "streamkit.sinks"] == [
        "a stream failed: the response was restarted, which clients of this format can't handle; code 'reset'"
    ]


async def test_a_client_of_an_answer_that_restarted_can_reconnect_and_receives_the_new_one(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def restarted() -> AsyncGenerator[sk.Event, None]:
        yield sk.TextDelta("void")
        await go_on.wait()
        for event in [sk.events.Reset("again"), *WHOLE]:
            yield event

    async with Relay(MemoryLog(), flush=0) as streams:
        publication = await streams.publish("k", restarted)
        async with streams.frames("k") as live:
            first: Any = await anext(live)
        go_on.set()
        await publication.wait()
        status, kind, (error,) = await resumed(serve, streams, first.id)
        assert (status, kind) == (200, "text/event-stream")
        assert "the response was restarted, or" in error.data
        _, _, frames = await resumed(serve, streams, error.id)
        assert [("void" in frame.data, "new" in frame.data) for frame in frames].count((False, True)) == 1


async def test_a_malformed_id_is_the_mistake_of_the_client(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with Relay(MemoryLog(), flush=0) as streams:
        await (await streams.publish("k", lambda: published(WHOLE))).wait()
        async with (
            serve(lambda _: streams.frames("k", last_event_id="rubbish")) as url,
            aiohttp.request("GET", url) as got,
        ):
            assert (got.status, await got.json()) == (
                400,
                {
                    "error": {
                        "message": "expected the id of a frame of this stream as Last-Event-ID; reconnect without one",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "invalid_event_id",
                    }
                },
            )
    assert "rubbish" not in caplog.text
    assert "code 'invalid_event_id'" in caplog.text
