"""A WebSocket as a source, with real servers: frames, deadlines, pings, close codes, many answers on one connection."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import openai
import pytest
import trio
import uvicorn
import websockets
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import streamkit as sk
from streamkit.sources import from_websocket
from streamkit.sources.retry import Retry
from streamkit.testing import no_leaks

pytestmark = pytest.mark.asyncio
KEY = "sk-proj-0123456789abcdef"
READ = sk.Extract() | sk.Accumulate()
Speak = Callable[[web.WebSocketResponse, Any], Awaitable[None]]


def created(id: str = "r1") -> str:
    return json.dumps({"type": "response.created", "response": {"id": id, "object": "response", "output": []}})


def delta(text: str) -> str:
    return json.dumps(
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": text}
    )


def completed(id: str = "r1") -> str:
    return json.dumps({"type": "response.completed", "response": {"id": id, "status": "completed", "output": []}})


class Server:
    """Answers each message by `speak`, and keeps what it was sent, over how many connections."""

    def __init__(self, speak: Speak) -> None:
        self.speak = speak
        self.received: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.closes: list[int | None] = []
        self.status = 0
        self.location = ""
        self.before: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        self.delay: asyncio.Event | None = None
        self.done = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.delay:
            await self.delay.wait()
        if self.status:
            headers = {"location": self.location} if self.location else {"x-request-id": "req_1"}
            return web.json_response({"error": {"message": KEY}}, status=self.status, headers=headers)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        if self.before:
            await self.before(socket)
        async for message in socket:
            if message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
                self.received.append(message.type.name)
                continue
            self.received.append(message.data)
            try:
                await self.speak(socket, message.data)
            except ConnectionError:
                break
        self.closes.append(socket.close_code)
        self.done.set()
        return socket


@asynccontextmanager
async def serving(speak: Speak) -> AsyncGenerator[tuple[Server, str], None]:
    server = Server(speak)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield server, f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/responses"
    finally:
        await runner.cleanup()


def saying(*frames: str, close: int | None = None) -> Speak:
    async def speak(socket: web.WebSocketResponse, _: Any) -> None:
        for frame in frames:
            await socket.send_str(frame)
        if close is not None:
            await socket.close(code=close)

    return speak


HELLO = (created(), delta("Hel"), delta("lo"), completed())
ASK = {"type": "response.create", "model": "gpt-4o", "input": "Hi"}


async def outcome(source: sk.Source[Any]) -> tuple[str, type[Exception] | None, str]:
    """The text, the class of the error behind it, and the reason of the end."""
    stream, text = source | READ, ""
    try:
        async with stream as events:
            async for event in events:
                text += event.text if isinstance(event, sk.TextDelta) else ""
    except sk.StreamkitError as error:
        return text, type(error), stream.end.reason if stream.end else ""
    return text, None, stream.end.reason if stream.end else ""


# One answer


async def test_a_message_is_sent_and_each_frame_of_the_answer_is_an_event() -> None:
    async with serving(saying(*HELLO)) as (server, url):
        headers = {"authorization": f"Bearer {KEY}"}
        assert await outcome(sk.ws.connect(url, send=ASK, headers=headers)) == ("Hello", None, "completed")

    assert [json.loads(message) for message in server.received] == [ASK]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.closes == [1000]


@pytest.mark.parametrize(
    ("send", "received"),
    [
        ("text", ["text"]),
        (b"bytes", [b"bytes"]),
        (bytearray(b"bytes"), [b"bytes"]),
        ({"a": "é"}, ['{"a":"é"}']),
        (["one", {"b": 2}, b"3"], ["one", '{"b":2}', b"3"]),
        (("one", "two"), ["one", "two"]),
        ((text for text in ("one",)), ["one"]),
        ([[1, 2]], ["[1,2]"]),
    ],
)
async def test_messages_are_text_bytes_or_json(send: Any, received: list[Any]) -> None:
    last = received[-1]

    async def speak(socket: web.WebSocketResponse, message: Any) -> None:
        if message == last:
            await saying(*HELLO)(socket, message)

    async with serving(speak) as (server, url):
        assert await outcome(sk.ws.connect(url, send=send)) == ("Hello", None, "completed")
    assert server.received == received


async def test_nothing_has_to_be_sent_and_binary_frames_are_events_too() -> None:
    async def greet(socket: web.WebSocketResponse) -> None:
        for frame in HELLO:
            await socket.send_bytes(frame.encode())

    async with serving(saying()) as (server, url):
        server.before = greet
        assert await outcome(sk.ws.connect(url)) == ("Hello", None, "completed")


async def test_messages_can_be_sent_while_the_answer_comes() -> None:
    async with serving(saying(created(), delta("Hi"), delta("!"))) as (server, url):
        source = sk.ws.connect(url, send=ASK)
        async with source | sk.Extract() as events:
            async for event in events:
                if isinstance(event, sk.TextDelta) and event.text == "!":
                    server.speak = saying(completed())
                    await source.send({"type": "response.steer"})
        assert events.end == sk.StreamEnd("completed", saw_done=True)
    assert [json.loads(message)["type"] for message in server.received] == ["response.create", "response.steer"]
    with pytest.raises(sk.PipelineError, match="expected an open stream to send in"):
        await source.send("late")


async def test_leaving_early_closes_the_connection_and_leaves_nothing() -> None:
    async def forever(socket: web.WebSocketResponse, _: Any) -> None:
        await socket.send_str(created())
        while not socket.closed:
            await socket.send_str(delta("a" * 10_000))

    async with serving(forever) as (server, url):
        with no_leaks():
            async with sk.ws.connect(url, send=ASK) | sk.Extract() as events:
                async for event in events:
                    if isinstance(event, sk.TextDelta):
                        break
            await server.done.wait()
            await anyio.wait_all_tasks_blocked()
    assert server.connections == 1


async def test_options_go_to_the_handshake() -> None:
    async with serving(saying(*HELLO)) as (server, url):
        source = sk.ws.connect(url, send=ASK, protocols=["realtime"], origin="http://here", params={"model": "m"})
        assert await outcome(source) == ("Hello", None, "completed")
    assert server.headers[0]["sec-websocket-protocol"] == "realtime"
    assert server.headers[0]["origin"] == "http://here"


async def test_a_lent_session_gives_its_headers_and_cookies_and_stays_open() -> None:
    async with serving(saying(*HELLO)) as (server, url):
        cookies, headers = {"a": "b"}, {"x-of-session": "1"}
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(headers=headers, cookies=cookies, cookie_jar=jar) as session:
            for _ in range(2):
                assert await outcome(sk.ws.connect(url, send=ASK, session=session)) == ("Hello", None, "completed")
            assert not session.closed
        assert (server.headers[0]["x-of-session"], server.headers[0]["cookie"]) == ("1", "a=b")
        error = sk.ws.connect(url, send=ASK, session=session)
        with pytest.raises(sk.PipelineError, match="expected an open session, found one that is closed"):
            await (error | sk.Extract()).text()


# How it ends


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, ("Hel", None, "truncated")),
        (1001, ("Hel", None, "truncated")),
        (1011, ("Hel", sk.errors.Disconnected, "truncated")),
        (1008, ("Hel", sk.errors.Disconnected, "truncated")),
        (4001, ("Hel", sk.errors.Disconnected, "truncated")),
    ],
)
async def test_a_close_in_the_middle_is_no_end_of_the_answer(code: int, expected: Any) -> None:
    async with serving(saying(created(), delta("Hel"), close=code)) as (_, url):
        assert await outcome(sk.ws.connect(url, send=ASK)) == expected


async def test_an_error_of_a_close_has_its_code_and_no_key() -> None:
    async with serving(saying(created(), close=1011)) as (_, url):
        with pytest.raises(sk.errors.Disconnected) as caught:
            await (sk.ws.connect(f"{url}?key={KEY}", send=ASK) | READ).collect()
    assert str(caught.value) == f"<WebSocket {url}>: the WebSocket was closed with code 1011"


async def test_a_connection_that_breaks_is_disconnected() -> None:
    async def speak(socket: web.WebSocketResponse, _: Any) -> None:
        await socket.send_str(created())
        await socket.send_str(delta("Hel"))
        transport = socket.get_extra_info("socket")
        assert transport is not None
        await asyncio.sleep(0.02)
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()

    async with serving(speak) as (_, url):
        assert await outcome(sk.ws.connect(url, send=ASK)) == ("Hel", sk.errors.Disconnected, "truncated")


async def test_a_server_that_closes_before_it_answers_is_disconnected() -> None:
    async with serving(saying(close=1000)) as (_, url):
        assert await outcome(sk.ws.connect(url, send=ASK)) == ("", sk.errors.Disconnected, "truncated")


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_handshake_that_is_refused_has_its_status(status: int) -> None:
    async with serving(saying()) as (server, url):
        server.status = status
        with pytest.raises(sk.StatusError) as caught:
            await (sk.ws.connect(f"{url}?key={KEY}", send=ASK) | READ).collect()
    assert (caught.value.status, caught.value.headers["x-request-id"]) == (status, "req_1")
    assert str(caught.value) == f"<WebSocket {url}>: expected status 101 (Switching Protocols), found {status}"


async def test_a_redirect_gets_no_key() -> None:
    async with serving(saying()) as (server, url), serving(saying(*HELLO)) as (other, target):
        server.status, server.location = 307, target.replace("ws", "http") + f"?key={KEY}"
        for session in (None, aiohttp.ClientSession()):
            with pytest.raises(sk.errors.RedirectError) as caught:
                source = sk.ws.connect(url, send=ASK, headers={"x-api-key": KEY}, session=session)
                await (source | READ).collect()
            if session:
                await session.close()
        assert other.connections == 0
    assert caught.value.location == target.replace("ws", "http")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("ws://127.0.0.1:9/", "no connection: ClientConnectorError"),
        ("ws://name.invalid/", "no connection"),
        ("ftp://a/", "expected ws://host/path or wss://…, found another scheme"),
        ("api.openai.com/v1", "found none: does it lack wss:// at the beginning"),
        ("wss://", "expected ws://host/path"),
    ],
)
async def test_an_address_without_a_server_is_an_error_of_the_connection(url: str, found: str) -> None:
    with pytest.raises(sk.errors.ConnectFailed, match=found):
        await (sk.ws.connect(url, send=ASK) | READ).collect()


async def test_a_message_above_the_limit_is_a_typed_error() -> None:
    async with serving(saying(created(), delta("Hel"), delta("x" * 2000))) as (_, url):
        source = sk.ws.connect(url, send=ASK, max_message_bytes=1000)
        assert await outcome(source) == ("Hel", sk.errors.LimitExceeded, "limit")

    big = "x" * (5 * 1024 * 1024)
    async with serving(saying(created(), delta(big), completed())) as (_, url):
        assert await outcome(sk.ws.connect(url, send=ASK)) == (big, None, "completed")


# Deadlines and pings


async def test_a_handshake_has_its_deadline() -> None:
    async with serving(saying()) as (server, url):
        server.delay = asyncio.Event()
        source = sk.ws.connect(url, send=ASK, deadlines=sk.ws.Deadlines(connect=0.05))
        with pytest.raises(sk.errors.DeadlineExceeded) as caught:
            await (source | READ).collect()
        server.delay.set()
    assert caught.value.deadline == "connect"


@pytest.mark.parametrize(
    ("frames", "deadlines", "name", "text"),
    [
        ((), {"first_byte": 0.05}, "first_byte", ""),
        ((created(), delta("Hel")), {"idle_bytes": 0.05}, "idle_bytes", "Hel"),
        ((created(),), {"first_content": 0.05}, "first_content", ""),
        ((created(), delta("Hel")), {"idle_content": 0.05}, "idle_content", "Hel"),
        ((created(), delta("Hel")), {"total": 0.1}, "total", "Hel"),
    ],
    ids=["first_byte", "idle_bytes", "first_content", "idle_content", "total"],
)
async def test_every_deadline_ends_a_silent_answer(
    frames: tuple[str, ...], deadlines: dict[str, float], name: str, text: str
) -> None:
    async with serving(saying(*frames)) as (_, url):
        stream = sk.ws.connect(url, send=ASK, deadlines=sk.ws.Deadlines(**deadlines)) | READ
        found = ""
        with pytest.raises(sk.errors.DeadlineExceeded) as caught:
            async with stream as events:
                async for event in events:
                    found += event.text if isinstance(event, sk.TextDelta) else ""
    assert (caught.value.deadline, found) == (name, text)
    assert stream.end is not None
    assert stream.end.reason == "timeout"


async def test_pings_are_answered_and_count_as_bytes_but_not_as_content() -> None:
    async def speak(socket: web.WebSocketResponse, _: Any) -> None:
        await socket.send_str(created())
        for _ in range(20):
            await socket.ping(b"still here")
            await asyncio.sleep(0.01)
        for frame in (delta("Hello"), completed()):
            await socket.send_str(frame)

    async with serving(speak) as (server, url):
        patient = sk.ws.Deadlines(idle_bytes=0.15)
        assert await outcome(sk.ws.connect(url, send=ASK, deadlines=patient)) == ("Hello", None, "completed")
        assert server.received.count("PONG") > 5
        quick = sk.ws.Deadlines(idle_bytes=0.15, first_content=0.05)
        found = await outcome(sk.ws.connect(url, send=ASK, deadlines=quick))
    assert found == ("", sk.errors.DeadlineExceeded, "timeout")


async def test_a_heartbeat_finds_a_server_that_is_gone() -> None:
    async with serving(saying(created(), delta("Hel"))) as (server, url):
        # This server does not answer pings.
        found = await outcome(sk.ws.connect(url, send=ASK, heartbeat=0.05))
    assert found == ("Hel", sk.errors.Disconnected, "truncated")
    assert "PING" in server.received


# Retries


async def test_what_failed_before_the_first_event_is_tried_again() -> None:
    async with serving(saying(close=1011)) as (server, url):

        async def speak(socket: web.WebSocketResponse, message: Any) -> None:
            await (saying(*HELLO) if server.connections == 3 else saying(close=1011))(socket, message)

        server.speak = speak
        source = sk.ws.connect(url, send=ASK, retry=Retry(attempts=3, first=0))
        assert await outcome(source) == ("Hello", None, "completed")
    assert source.attempts == ["Disconnected", "Disconnected"]
    assert len(server.received) == 3


async def test_nothing_is_tried_again_once_text_was_released() -> None:
    async with serving(saying(created(), delta("Hel"), close=1011)) as (server, url):
        source = sk.ws.connect(url, send=ASK, retry=Retry(attempts=3, first=0))
        assert await outcome(source) == ("Hel", sk.errors.Disconnected, "truncated")
    assert server.connections == 1


async def test_an_overloaded_provider_is_asked_again() -> None:
    busy = json.dumps({"type": "error", "status": 503, "error": {"code": "server_error", "message": "m"}})
    async with serving(saying(busy)) as (server, url):

        async def speak(socket: web.WebSocketResponse, message: Any) -> None:
            await (saying(*HELLO) if server.connections == 2 else saying(busy))(socket, message)

        server.speak = speak
        assert await outcome(sk.ws.connect(url, send=ASK, retry=Retry(first=0))) == ("Hello", None, "completed")


# Many answers on one connection


async def test_one_connection_has_many_answers() -> None:
    async with serving(saying(*HELLO)) as (server, url):
        async with sk.ws.Connection(url, headers={"authorization": f"Bearer {KEY}"}) as connection:
            assert not connection.is_open
            for turn in range(3):
                source = connection.ask({**ASK, "previous_response_id": f"r{turn}"})
                assert await outcome(source) == ("Hello", None, "completed")
                assert connection.is_open
            assert server.connections == 1
        assert not connection.is_open
    assert [json.loads(message)["previous_response_id"] for message in server.received] == ["r0", "r1", "r2"]
    assert server.closes == [1000]
    assert KEY not in repr(connection)


async def test_an_answer_that_was_left_does_not_run_into_the_next_one() -> None:
    async with serving(saying(created(), delta("old "), delta("old "), delta("old"), completed())) as (server, url):
        async with sk.ws.Connection(url) as connection:
            async with connection.ask(ASK) | sk.Extract() as events:
                async for event in events:
                    if isinstance(event, sk.TextDelta):
                        break
            assert not connection.is_open
            server.speak = saying(*HELLO)
            assert await outcome(connection.ask(ASK)) == ("Hello", None, "completed")
    assert server.connections == 2


async def test_a_connection_that_the_server_closed_in_between_is_made_anew_by_a_retry() -> None:
    async with serving(saying(*HELLO, close=1000)) as (server, url):
        async with sk.ws.Connection(url, retry=Retry(attempts=2, first=0)) as connection:
            for _ in range(3):
                assert await outcome(connection.ask(ASK)) == ("Hello", None, "completed")
    assert server.connections == 3


async def test_two_answers_at_once_are_refused() -> None:
    async with serving(saying(*HELLO)) as (_, url):
        async with sk.ws.Connection(url) as connection:
            async with connection.ask(ASK) | sk.Extract() as events:
                await anext(events)
                with pytest.raises(sk.PipelineError, match="another answer is still read"):
                    await (connection.ask(ASK) | sk.Extract()).collect()
                assert [event async for event in events][-1] == sk.StreamEnd("completed", saw_done=True)
            assert await outcome(connection.ask(ASK)) == ("Hello", None, "completed")


async def test_a_connection_whose_block_has_ended_is_not_made_again() -> None:
    async with serving(saying(*HELLO)) as (server, url):
        connection = sk.ws.Connection(url)
        async with connection:
            late = connection.ask(ASK)
        for source in (late, connection.ask(ASK)):
            with pytest.raises(sk.PipelineError, match="its `async with` block has ended"):
                await (source | READ).collect()
        async with connection:
            assert await outcome(connection.ask(ASK)) == ("Hello", None, "completed")
        assert not connection.is_open
    assert server.connections == 1


@pytest.mark.parametrize("source", [sk.ws.connect("ws://127.0.0.1:9/"), sk.http.get("http://127.0.0.1:9/")])
async def test_another_event_loop_than_asyncio_is_named(source: sk.Source[Any]) -> None:
    async def main() -> None:
        async with source | sk.Parse():
            pass

    with pytest.raises(sk.PipelineError, match="expected asyncio, found trio; there, read a response of httpx"):
        await asyncio.to_thread(trio.run, main)


async def test_a_provider_error_leaves_a_connection_that_can_be_asked_again() -> None:
    # https://developers.openai.com/api/docs/guides/websocket-mode
    error = {
        "code": "previous_response_not_found",
        "message": "Previous response not found.",
        "param": "previous_response_id",
    }
    async with serving(saying(json.dumps({"type": "error", "status": 400, "error": error}))) as (server, url):
        async with sk.ws.Connection(url) as connection:
            with pytest.raises(sk.ProviderError) as caught:
                await (connection.ask(ASK) | READ).collect()
            server.speak = saying(*HELLO)
            assert await outcome(connection.ask(ASK)) == ("Hello", None, "completed")
    assert (caught.value.code, caught.value.detail) == ("previous_response_not_found", "Previous response not found.")


async def test_a_cancelled_answer_leaves_nothing() -> None:
    async with serving(saying(created(), delta("Hel"))) as (server, url):
        with no_leaks():
            async with sk.ws.Connection(url) as connection:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await (connection.ask(ASK) | READ).collect()
                assert not connection.is_open
            await server.done.wait()
            await anyio.wait_all_tasks_blocked()


# What is refused at once


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"json": {}}, "json: expected send={…} instead"),
        ({"timeout": 5}, r"timeout: expected deadlines=streamkit.ws.Deadlines\(…\) instead"),
        ({"ping_interval": 5}, "ping_interval: expected heartbeat=SECONDS instead"),
        ({"max_size": 5}, "max_size: expected max_message_bytes=BYTES instead"),
        ({"api_key": KEY}, "api_key: expected headers="),
        ({"protocol": "a"}, r"protocol: expected one of the options .*; did you mean protocols\?"),
        ({"send": 5}, "send: expected text, bytes, a mapping, or several of these, found an object of type int"),
        (
            {"send": {"a": object()}},
            "send: expected text, bytes or a value that JSON can hold, found an object of type dict",
        ),
        ({"headers": {"a": "b\n"}}, "headers: expected a value of one line"),
        ({"heartbeat": 0}, "heartbeat: expected more than 0 seconds, found 0"),
        ({"heartbeat": "20"}, "heartbeat: expected more than 0 seconds, found '20'"),
        ({"max_message_bytes": -1}, "max_message_bytes: expected a whole number of 1 or more, found -1"),
        ({"max_message_bytes": 0.5}, "max_message_bytes: expected a whole number of 1 or more, found 0.5"),
        ({"session": object()}, "session: expected aiohttp.ClientSession"),
        ({"deadlines": 5}, "deadlines: expected streamkit.ws.Deadlines"),
        ({"retry": 5}, "retry: expected streamkit.sources.retry.Retry"),
    ],
)
async def test_wrong_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message) as caught:
        sk.ws.connect("ws://127.0.0.1:9/", **options)
    assert KEY not in str(caught.value)


async def test_no_key_is_shown() -> None:
    source = sk.ws.connect(f"wss://user:{KEY}@a.example/v1?key={KEY}", headers={"a": KEY})
    assert repr(source) == "<WebSocket wss://a.example/v1>"


# WebSockets that other libraries have connected


async def test_a_connection_of_the_websockets_package_is_read() -> None:
    async with serving(saying(*HELLO)) as (_, url), websockets.connect(url) as socket:
        await socket.send(json.dumps(ASK))
        assert await outcome(from_websocket(socket)) == ("Hello", None, "completed")


@pytest.mark.parametrize(
    ("code", "expected"), [(1000, ("Hel", None, "truncated")), (1011, ("Hel", sk.errors.Disconnected, "truncated"))]
)
async def test_a_connection_of_the_websockets_package_that_closes(code: int, expected: Any) -> None:
    async with serving(saying(created(), delta("Hel"), close=code)) as (_, url), websockets.connect(url) as socket:
        await socket.send(json.dumps(ASK))
        assert await outcome(from_websocket(socket)) == expected


async def test_a_message_above_the_limit_of_another_librarys_connection() -> None:
    async with serving(saying(created(), delta("x" * 2000))) as (_, url):
        async with websockets.connect(url, max_size=1000) as socket:
            await socket.send(json.dumps(ASK))
            assert await outcome(from_websocket(socket)) == ("", sk.errors.LimitExceeded, "limit")
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=1000) as other:
            await other.send_json(ASK)
            assert await outcome(from_websocket(other)) == ("", sk.errors.LimitExceeded, "limit")


async def test_pings_are_answered_where_aiohttp_leaves_that_to_the_reader() -> None:
    async def speak(socket: web.WebSocketResponse, _: Any) -> None:
        await socket.ping(b"?")
        await saying(*HELLO)(socket, None)

    async with serving(speak) as (server, url):
        async with aiohttp.ClientSession() as session, session.ws_connect(url, autoping=False) as socket:
            await socket.send_json(ASK)
            assert await outcome(from_websocket(socket)) == ("Hello", None, "completed")
    assert "PONG" in server.received


async def test_openais_own_connection_is_read() -> None:
    async with serving(saying(*HELLO)) as (_, url):
        base = url.replace("ws", "http", 1).removesuffix("/responses")
        async with openai.AsyncOpenAI(base_url=base, api_key=KEY) as client, client.responses.connect() as connection:
            for _ in range(2):
                await connection.response.create(model="gpt-4o", input="Hi")
                source = from_websocket(connection, close=False)
                assert await outcome(source) == ("Hello", None, "completed")


class Synchronous:
    """A connection of `websockets.sync`."""

    def recv(self) -> str:
        return created()


async def test_a_synchronous_connection_is_refused() -> None:
    socket: Any = Synchronous()
    with pytest.raises(sk.PipelineError, match="of a synchronous client"):
        await (from_websocket(socket, close=False) | READ).collect()


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_connection_of_starlette_is_read(leaves: bool) -> None:
    found: asyncio.Queue[Any] = asyncio.Queue()

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        found.put_nowait(await outcome(from_websocket(socket)))

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/") as client:
            for frame in HELLO[: 2 if leaves else 4]:
                await client.send_str(frame)
            if not leaves:
                assert (await client.receive()).type == aiohttp.WSMsgType.CLOSE
        assert await found.get() == (("Hel", None, "truncated") if leaves else ("Hello", None, "completed"))
    finally:
        server.should_exit = True
        await serving
