"""Starlette only: FastAPI, middleware, background tasks, and trio."""

import asyncio
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route
from starlette.types import Message

import streamkit as sk
from streamkit.sinks.starlette import EventStreamResponse
from tests.sinks.servers import Watched, asgi_app

HELLO = sk.sse.ServerSentEvent.of("hello")
GET = {"type": "http", "method": "GET", "path": "/", "headers": []}


@pytest.mark.asyncio
async def test_fastapi_sends_it_too() -> None:
    app = FastAPI()

    @app.post("/")
    async def endpoint(body: dict[str, str]) -> Any:
        return EventStreamResponse(Watched([sk.sse.ServerSentEvent.of(body["text"])])(), status_code=201)

    async with asgi_app(app) as url, aiohttp.request("POST", url, json={"text": "hello"}) as got:
        assert (got.status, got.content_type) == (201, "text/event-stream")
        assert await got.read() == b"data: hello\n\n"


@pytest.mark.asyncio
async def test_headers_and_cookies_of_the_response_are_kept_when_it_refuses() -> None:
    async def endpoint(request: Request) -> EventStreamResponse:
        response = EventStreamResponse(Watched([sk.StatusError("no", status=429)])(), headers={"x-request-id": "7"})
        response.set_cookie("seen", "yes")
        return response

    async with asgi_app(Starlette(routes=[Route("/", endpoint)])) as url, aiohttp.request("GET", url) as got:
        assert (got.status, got.content_type) == (429, "application/json")
        assert got.headers["x-request-id"] == "7"
        assert got.headers["set-cookie"].startswith("seen=yes")


@pytest.mark.asyncio
@pytest.mark.parametrize("leave", ["before the first item", "later"])
async def test_a_client_may_leave_behind_middleware(leave: str, caplog: pytest.LogCaptureFixture) -> None:
    async def passing(request: Request, call_next: RequestResponseEndpoint) -> StarletteResponse:
        return await call_next(request)

    done = asyncio.Event()
    watched = Watched([*([] if leave == "before the first item" else [HELLO]), asyncio.Event()])

    async def endpoint(request: Request) -> EventStreamResponse:
        async def finish() -> None:
            done.set()

        return EventStreamResponse(watched(), background=BackgroundTask(finish))

    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)])
    async with asgi_app(app) as url:

        async def ask() -> None:
            async with aiohttp.request("GET", url) as got:
                await got.read()

        asking = asyncio.create_task(ask())
        await watched.begun.wait()
        asking.cancel()
        await asyncio.wait_for(watched.closed.wait(), 5)
        await asyncio.wait_for(done.wait(), 5)
        assert asking.cancelled()
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.anyio
@pytest.mark.parametrize("items", [[], [b"data: a\n\n"]], ids=["before the first item", "later"])
async def test_it_runs_on_every_event_loop(items: list[bytes]) -> None:
    closed, sent, gone = False, list[Message](), anyio.Event()

    async def stuck() -> Any:
        nonlocal closed
        try:
            for item in items:
                yield item
            gone.set()
            await anyio.sleep_forever()
        finally:
            closed = True

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await EventStreamResponse(stuck())(GET, receive, send)

    assert closed
    assert [message.get("status", message.get("body")) for message in sent] == (
        [200, b"data: a\n\n"] if items else [499, b""]
    )


@pytest.mark.anyio
@pytest.mark.parametrize("events", [[], [sk.TextDelta("a")]], ids=["before the first event", "later"])
async def test_a_whole_answer_is_cancelled_by_a_disconnect_on_every_event_loop(events: list[sk.Event]) -> None:
    order, sent, gone = list[str](), list[Message](), anyio.Event()

    async def stuck() -> Any:
        try:
            for event in events:
                yield event
            gone.set()
            await anyio.sleep_forever()
        finally:
            order.append("closed")

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def on_end() -> None:
        await anyio.lowlevel.checkpoint()
        order.append("on_end")

    body = {"model": "gpt-4o", "messages": []}
    await EventStreamResponse(stuck(), body=body, on_end=on_end)(GET, receive, send)

    assert order == ["closed", "on_end"]
    assert [message.get("status", message.get("body")) for message in sent] == [499, b""]


@pytest.mark.anyio
@pytest.mark.parametrize("sent_before", range(4))
async def test_a_server_that_refuses_to_send_to_a_client_that_left_is_no_failure(sent_before: int) -> None:
    closed, sent = False, list[Message]()

    async def items() -> Any:
        nonlocal closed
        try:
            yield b"data: a\n\n"
            yield b"data: b\n\n"
        finally:
            closed = True

    async def receive() -> Message:
        await anyio.sleep_forever()
        return {}

    async def send(message: Message) -> None:
        if len(sent) == sent_before:
            raise OSError("the client has gone")
        sent.append(message)

    await EventStreamResponse(items())(GET, receive, send)

    assert closed
    assert len(sent) == sent_before


@pytest.mark.anyio
async def test_an_operating_systems_error_of_the_source_is_not_taken_for_the_clients() -> None:
    async def receive() -> Message:
        await anyio.sleep_forever()
        return {}

    async def send(message: Message) -> None: ...

    with pytest.raises(FileNotFoundError):
        await EventStreamResponse(Watched([HELLO, FileNotFoundError("table")])())(GET, receive, send)
