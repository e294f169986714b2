"""Typed entry points: the same sources as for objects left of `|`, and queues and WebSockets."""

import asyncio
import queue
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import anyio
import httpx2
import openai
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.sources.entry_points import (
    from_aiohttp,
    from_anthropic,
    from_httpx,
    from_openai,
    from_queue,
    from_websocket,
)
from tests.fire import server
from tests.fire.server import DONE, FINISH, TEXT

PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()
FRAMES = sk.Extract() | sk.Accumulate()
BODY = TEXT + FINISH + DONE
AT_ONCE = Provider(first_token_seconds=0, token_seconds=0)
CREATED = '{"type":"response.created","response":{"id":"r1","object":"response","model":"m","status":"in_progress"}}'
DELTA = '{"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"Hello"}'
COMPLETED = '{"type":"response.completed","response":{"id":"r1","object":"response","model":"m","status":"completed"}}'


async def collected(stream: sk.Stream[sk.Event]) -> tuple[str, str]:
    text = await stream.text()
    assert stream.end is not None
    return text, stream.end.reason


# Clients


@pytest.mark.asyncio
async def test_a_stream_of_openai() -> None:
    async with serve(AT_ONCE) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Count to 5"}], stream=True
        )
        assert await collected(from_openai(stream) | PIPELINE) == ("\n\n1, 2, 3, 4, 5.", "completed")
        assert stream.response.is_closed


@pytest.mark.asyncio
async def test_a_stream_of_anthropic() -> None:
    recorded = (Path(__file__).parents[1] / "data/dialects/anthropic-complete.sse").read_bytes()
    async with (
        server.serve({"v1/messages": server.body(recorded)}) as (url, _),
        anthropic.AsyncAnthropic(base_url=url, api_key="none") as client,
    ):
        stream = await client.messages.create(
            model="m", max_tokens=99, messages=[{"role": "user", "content": "Count to 5"}], stream=True
        )
        assert await collected(from_anthropic(stream) | PIPELINE) == (" Light scatters.", "completed")


@pytest.mark.asyncio
async def test_responses_of_httpx_and_aiohttp() -> None:
    async with server.serve({"good": server.body(BODY)}) as (url, _):
        async with httpx2.AsyncClient() as client, client.stream("GET", f"{url}/good") as response:
            assert await collected(from_httpx(response) | PIPELINE) == ("Hello", "completed")
            assert response.is_closed
        async with aiohttp.ClientSession() as session, session.get(f"{url}/good") as answer:
            assert await collected(from_aiohttp(answer) | PIPELINE) == ("Hello", "completed")


@pytest.mark.parametrize("function", [from_openai, from_anthropic, from_httpx, from_aiohttp, from_websocket])
def test_another_object_is_refused_with_what_was_expected(function: Any) -> None:
    with pytest.raises(sk.PipelineError, match=r"expected .*found an object of type object"):
        function(object())


def test_a_whole_response_is_refused_with_the_way_out() -> None:
    with pytest.raises(sk.PipelineError, match="stream=True"):
        from_openai({"choices": []})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# Queues


async def items_of(stream: sk.Stream[Any]) -> list[Any]:
    return [item async for item in stream]


@sk.stage
def same(item: object) -> object:
    return item


@pytest.mark.asyncio
async def test_a_queue_is_read_until_none() -> None:
    items = asyncio.Queue[str | None]()
    for item in ("a", "", "b", None, "left"):
        items.put_nowait(item)

    assert await items_of(from_queue(items) | same) == ["a", "", "b"]
    assert items.get_nowait() == "left"


@pytest.mark.asyncio
async def test_a_queue_is_waited_for() -> None:
    items = asyncio.Queue[str | None](1)

    async def produce() -> None:
        for item in ("a", "b", None):
            await items.put(item)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        assert await items_of(from_queue(items) | same) == ["a", "b"]


@pytest.mark.asyncio
async def test_an_exception_in_the_queue_is_raised_after_what_came_before_it() -> None:
    items = asyncio.Queue[str | Exception | None]()
    for item in ("a", sk.errors.Disconnected("gone"), "b"):
        items.put_nowait(item)
    seen: list[object] = []

    with pytest.raises(sk.errors.Disconnected):
        async for item in from_queue(items) | same:
            seen.append(item)

    assert seen == ["a"]


@pytest.mark.asyncio
async def test_cancelling_a_wait_for_the_queue_loses_nothing() -> None:
    items = asyncio.Queue[str | None]()
    stream = from_queue(items) | same

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(items_of(stream))
        await anyio.wait_all_tasks_blocked()
        stream.cancel()

    assert reading.result() == [sk.StreamEnd("cancelled")]
    items.put_nowait("kept")
    assert items.qsize() == 1


@pytest.mark.anyio
async def test_a_queue_of_one_s_own_needs_only_an_async_get() -> None:
    class Own:
        def __init__(self) -> None:
            self.items = iter(["a", "b", None])

        async def get(self) -> str | None:
            await anyio.lowlevel.checkpoint()
            return next(self.items)

    assert await items_of(from_queue(Own()) | same) == ["a", "b"]


@pytest.mark.asyncio
async def test_a_queue_that_was_shut_down_has_ended() -> None:
    class QueueShutDown(Exception):
        """Stand-in for the exception of Python 3.13."""

    class ShutDown(asyncio.Queue[str | None]):
        async def get(self) -> str | None:
            if self.empty():
                raise QueueShutDown
            return await super().get()

    items = ShutDown()
    items.put_nowait("a")

    assert await items_of(from_queue(items) | same) == ["a"]


def test_a_queue_of_threads_is_refused() -> None:
    with pytest.raises(sk.PipelineError, match=r"blocks the event loop: use asyncio\.Queue"):
        from_queue(queue.Queue[str]())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(sk.PipelineError, match=r"expected a queue with an async get\(\), found an object of type dict"):
        from_queue({})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# WebSockets


@asynccontextmanager
async def connected(*frames: str | bytes, code: int = 1000) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
    async def speak(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for frame in frames:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        await socket.close(code=code)
        return socket

    app = web.Application()
    app.router.add_get("/", speak)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as socket:
            yield socket
    finally:
        await runner.cleanup()


@pytest.mark.asyncio
async def test_the_frames_of_a_websocket_are_events() -> None:
    async with connected(CREATED, DELTA, COMPLETED.encode()) as socket:
        assert await collected(from_websocket(socket) | FRAMES) == ("Hello", "completed")
        assert socket.closed


@pytest.mark.asyncio
async def test_a_websocket_that_is_lent_stays_open() -> None:
    async with connected(CREATED, DELTA, COMPLETED) as socket:
        async with from_websocket(socket, close=False) | FRAMES as events:
            async for text in events.texts():
                assert text == "Hello"
                break
        assert not socket.closed


@pytest.mark.asyncio
async def test_a_websocket_that_closes_before_the_end_is_truncated_and_an_abnormal_close_is_an_error() -> None:
    async with connected(CREATED, DELTA) as socket:
        assert await collected(from_websocket(socket) | FRAMES) == ("Hello", "truncated")
    async with connected(CREATED, DELTA, code=1011) as socket:
        view = (from_websocket(socket) | FRAMES).texts()
        assert await anext(view) == "Hello"
        with pytest.raises(sk.errors.Disconnected, match="closed with code 1011"):
            await anext(view)


class Starlette:
    """An ASGI connection: `receive` returns messages as specified."""

    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self.messages = iter(messages)
        self.closed = False

    async def receive(self) -> Mapping[str, Any]:
        await anyio.lowlevel.checkpoint()
        return next(self.messages)

    async def close(self) -> None:
        self.closed = True


@pytest.mark.anyio
async def test_the_messages_of_asgi_are_frames() -> None:
    socket = Starlette(
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": CREATED, "bytes": None},
        {"type": "websocket.receive", "bytes": DELTA.encode()},
        {"type": "websocket.receive", "text": COMPLETED},
        {"type": "websocket.disconnect", "code": 1000},
    )

    assert await collected(from_websocket(socket) | FRAMES) == ("Hello", "completed")
    assert socket.closed


class Frame:
    code = 1011


class ConnectionClosedOK(Exception):
    rcvd = type("Close", (), {"code": 1000})


class ConnectionClosedError(Exception):
    rcvd = Frame


class Websockets:
    """A connection of the websockets package: `recv` returns frames and raises at the end."""

    def __init__(self, *frames: str | bytes, end: Exception) -> None:
        self.frames = iter(frames)
        self.end = end
        self.closed = False

    async def recv(self) -> str | bytes:
        await anyio.lowlevel.checkpoint()
        for frame in self.frames:
            return frame
        raise self.end

    async def close(self) -> None:
        self.closed = True


@pytest.mark.anyio
async def test_a_connection_of_websockets() -> None:
    ends = {"completed": ConnectionClosedOK(), "error": ConnectionClosedError()}
    socket = Websockets(CREATED, DELTA, COMPLETED, end=ends["completed"])
    assert await collected(from_websocket(socket) | FRAMES) == ("Hello", "completed")
    assert socket.closed

    view = (from_websocket(Websockets(CREATED, DELTA, end=ends["error"])) | FRAMES).texts()
    assert await anext(view) == "Hello"
    with pytest.raises(sk.errors.Disconnected, match="closed with code 1011"):
        await anext(view)
