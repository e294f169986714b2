"""HTTP: responses of servers, ownership of the session, and the whole pipeline with the demo provider."""

import asyncio
import gzip
import json
import logging
import socket
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamkit import (
    Accumulate,
    Completion,
    Count,
    Event,
    Extract,
    Parse,
    SourceError,
    StatusError,
    Stream,
    StreamEnd,
    TextDelta,
    TokenCount,
    http,
)
from streamkit.cli.provider import Provider, serve
from streamkit.errors import ConnectFailed, ContentTypeError, DeadlineExceeded, Disconnected
from streamkit.sources.http import HEAD_BYTES, Deadlines

PIPELINE = Parse() | Extract() | Accumulate()
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = {"content-type": "text/event-stream"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def served(handler: Handler) -> AsyncGenerator[str, None]:
    """Yield the root URL of a server that answers every request with the handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.name
    finally:
        await runner.cleanup()


def answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers or EVENTS)

    return handle


def begin(*pieces: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    """Send these pieces, and then keep the connection open without sending."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers or EVENTS)
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await asyncio.Event().wait()
        return response

    return handle


async def silence(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def read(stream: Stream[Event]) -> list[Event]:
    async with stream as events:
        return [event async for event in events]


async def failure(stream: Stream[Event]) -> tuple[list[Event], SourceError]:
    """Return the events before the error, and the error."""
    seen = list[Event]()
    with pytest.raises(SourceError) as caught:
        async with stream as events:
            async for event in events:
                seen.append(event)
    return seen, caught.value


# Responses of servers


async def test_an_answer_is_read_as_it_comes() -> None:
    async with served(begin(TEXT)) as url, http.post(url) | PIPELINE as events:
        assert await anext(events) == TextDelta("Hi")


async def test_nothing_is_sent_before_the_stream_is_opened_and_then_all_that_was_given() -> None:
    requests = list[tuple[str, str, dict[str, str], Any]]()

    async def handle(request: web.Request) -> web.Response:
        requests.append((request.method, request.path_qs, dict(request.headers), await request.json()))
        return web.Response(body=TEXT + DONE, headers=EVENTS)

    async with served(handle) as url:
        stream = http.post(f"{url}/v1?a=b", json={"n": 1}, headers={"authorization": "Bearer any"}) | PIPELINE
        assert requests == []
        await read(stream)

    ((method, path, headers, body),) = requests
    assert (method, path, body) == ("POST", "/v1?a=b", {"n": 1})
    assert headers["Authorization"] == "Bearer any"


async def test_get_and_further_options_go_to_aiohttp() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=f'{{"choices":[{{"text":"{request.method} {request.query["q"]}"}}]}}')

    async with served(handle) as url:
        events = await read(http.get(url, params={"q": "x"}) | Parse() | Extract())

    assert events[0] == TextDelta("GET x")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_status_that_is_no_success_raises_with_its_body_and_headers(status: int) -> None:
    body = b'{"error": {"message": "Not you, Alice"}}'
    headers = {"content-type": "application/json", "x-request-id": "req_1", "retry-after": "7"}

    async with served(answer(body, status, headers)) as url:
        seen, error = await failure(http.post(url) | PIPELINE)

    assert seen == []
    assert isinstance(error, StatusError)
    assert (error.status, error.body) == (status, body)
    assert (error.headers["x-request-id"], error.headers["retry-after"]) == ("req_1", "7")
    assert error.retryable is (status in (429, 500, 503))
    assert str(error) == f"<POST {url}>: expected a success, found status {status}"
    assert "Alice" not in repr(error)


@pytest.mark.parametrize(
    ("body", "reason", "found"),
    [
        (
            b'{"error": {"message": "Alice, no", "type": "invalid_request_error", "code": "invalid_api_key"}}',
            ("invalid_api_key", "invalid_request_error", "Alice, no"),
            "401 (code 'invalid_api_key', type 'invalid_request_error')",
        ),
        (
            b'{"type": "error", "error": {"type": "Alice", "message": "no"}}',
            (None, "Alice", "no"),
            "401 (see .type)",
        ),
        (b"<h1>Alice</h1>", (None, None, "Alice"), "401"),
    ],
    ids=["known words", "an unknown word", "a page"],
)
async def test_the_providers_reason_is_in_the_error_and_only_known_words_are_in_its_message(
    body: bytes, reason: tuple[str | None, str | None, str], found: str
) -> None:
    async with served(answer(body, 401)) as url:
        _, error = await failure(http.post(url) | PIPELINE)

    assert isinstance(error, StatusError)
    assert (error.code, error.type, error.detail) == reason
    assert str(error) == f"<POST {url}>: expected a success, found status {found}"


async def test_of_a_long_error_only_the_head_is_kept() -> None:
    async with served(answer(b"x" * (HEAD_BYTES * 3), 500)) as url:
        _, error = await failure(http.post(url) | PIPELINE)

    assert isinstance(error, StatusError)
    assert error.body == b"x" * HEAD_BYTES
    assert error.detail == "x" * 1999 + "…"


async def test_an_error_whose_body_never_ends_is_raised_with_what_came_of_it() -> None:
    async with served(begin(b"Slow down", status=429)) as url:
        _, error = await failure(http.post(url, deadlines=Deadlines(idle_bytes=0.05)) | PIPELINE)

    assert isinstance(error, StatusError)
    assert (error.status, error.body) == (429, b"Slow down")


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/xhtml+xml"])
async def test_a_page_is_no_stream(kind: str) -> None:
    async with served(answer(b"<p>Welcome, Alice", headers={"content-type": kind})) as url:
        _, error = await failure(http.post(url) | PIPELINE)

    assert isinstance(error, ContentTypeError)
    assert (error.content_type, error.body) == (kind.partition(";")[0], b"<p>Welcome, Alice")
    assert "Alice" not in repr(error)


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "application/x-ndjson", "application/octet-stream", "text/plain"]
)
async def test_any_other_type_is_read(kind: str) -> None:
    async with served(answer(TEXT + DONE, headers={"content-type": kind})) as url:
        events = await read(http.post(url) | Parse() | Extract())

    assert events == [TextDelta("Hi"), StreamEnd("completed", True, (0,))]


async def test_a_compressed_answer_is_read() -> None:
    headers = {**EVENTS, "content-encoding": "gzip"}

    async with served(answer(gzip.compress(TEXT * 100 + DONE), headers=headers)) as url:
        events = await read(http.post(url) | Parse() | Extract())

    assert events == [*[TextDelta("Hi")] * 100, StreamEnd("completed", True, (0,))]


async def test_a_refused_connection_has_failed_to_connect() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    _, error = await failure(http.post(f"http://127.0.0.1:{port}/v1?key=secret") | PIPELINE)

    assert isinstance(error, ConnectFailed)
    assert (
        str(error)
        == f"<POST http://127.0.0.1:{port}/v1>: no connection: ClientConnectorError: [Errno 111] Connection refused"
    )


async def test_a_connection_that_breaks_is_disconnected_after_everything_that_came() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=EVENTS)
        await response.prepare(request)
        await response.write(TEXT + TEXT)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with served(handle) as url:
        stream = http.post(url) | PIPELINE
        seen, error = await failure(stream)

    assert seen == [TextDelta("Hi"), TextDelta("Hi")]
    assert isinstance(error, Disconnected)
    assert stream.end == StreamEnd("truncated")


# Deadlines


@pytest.mark.parametrize(
    ("deadline", "handler", "seen"),
    [
        ("first_byte", silence, []),
        ("idle_bytes", begin(), []),
        ("idle_bytes", begin(TEXT), [TextDelta("Hi")]),
        ("first_content", begin(b": alive\n\n"), []),
        ("idle_content", begin(TEXT), [TextDelta("Hi")]),
        ("total", begin(TEXT), [TextDelta("Hi")]),
    ],
    ids=[
        "first_byte",
        "idle_bytes after the head",
        "idle_bytes after a piece",
        "first_content",
        "idle_content",
        "total",
    ],
)
async def test_a_deadline_names_itself_after_everything_that_came(
    deadline: str, handler: Handler, seen: list[Event]
) -> None:
    async with served(handler) as url:
        stream = http.post(url, deadlines=Deadlines(**{deadline: 0.05})) | PIPELINE
        before, error = await failure(stream)

    assert before == seen
    assert isinstance(error, DeadlineExceeded)
    assert (error.deadline, error.seconds) == (deadline, 0.05)
    assert f"the deadline '{deadline}' of 0.05 s passed" in str(error)
    assert stream.end == StreamEnd("timeout")


async def test_the_deadline_for_a_connection_holds_while_a_lent_session_has_none_to_give() -> None:
    async with served(begin(TEXT)) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        async with http.post(url, session=session) | PIPELINE as first:
            await anext(first)

            _, error = await failure(http.post(url, session=session, deadlines=Deadlines(connect=0.05)) | PIPELINE)

    assert isinstance(error, DeadlineExceeded)
    assert error.deadline == "connect"


# Ownership of the session


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    """All sessions that are created."""
    made = list[aiohttp.ClientSession]()
    make = aiohttp.ClientSession

    def watched(*args: Any, **options: Any) -> aiohttp.ClientSession:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(aiohttp, "ClientSession", watched)
    return made


@pytest.mark.parametrize(
    "handler",
    [answer(TEXT + DONE), answer(b"", 500), begin(TEXT)],
    ids=["read to its end", "an error status", "left early"],
)
async def test_a_session_of_its_own_is_closed(handler: Handler, sessions: list[aiohttp.ClientSession]) -> None:
    async with served(handler) as url:
        try:
            async with http.post(url) | PIPELINE as events:
                await anext(events)
        except StatusError:
            pass

    (session,) = sessions
    assert session.closed


async def test_a_lent_session_stays_open_and_serves_again(sessions: list[aiohttp.ClientSession]) -> None:
    async with served(answer(TEXT + DONE)) as url, aiohttp.ClientSession() as lent:
        for _ in range(2):
            assert (await read(http.post(url, session=lent) | Parse() | Extract()))[0] == TextDelta("Hi")
            assert not lent.closed

    assert sessions == [lent]


async def test_what_the_server_said_of_the_answer_can_be_read_while_it_comes() -> None:
    source = http.post("http://127.0.0.1")
    assert (source.status, dict(source.headers)) == (None, {})

    async with served(begin(TEXT, headers={**EVENTS, "x-request-id": "req_1"})) as url:
        source = http.post(url)
        async with source | PIPELINE as events:
            await anext(events)
            assert (source.status, source.headers["X-Request-Id"]) == (200, "req_1")


# Keys


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example/v1/chat?key=sk-secret", "<POST https://api.example/v1/chat>"),
        ("https://user:sk-secret@api.example:8443/v1", "<POST https://api.example:8443/v1>"),
        ("http://[::1]:80/v1#sk-secret", "<POST http://[::1]:80/v1>"),
        ("http://api.example:99999999/v1?key=sk-secret", "<POST an address that can't be read>"),
        ("http://api.example:sk-secret/v1", "<POST an address that can't be read>"),
        ("https://user:sk-secret/Zm9@api.example/v1", "<POST an address that can't be read>"),
        ("https://user:12/sk-secret@api.example/v1", "<POST https://user:12>"),
        ("https://us\ter/sk-secret@api.example/v1", "<POST https://user>"),
        ("https://ключ:sk-secret☃@api.example/v1", "<POST https://api.example/v1>"),
        ("https://api.example/models/claude@20240620", "<POST https://api.example>"),
        ("http://[::1/v1?key=sk-secret", "<POST an address that can't be read>"),
        ("user:sk-secret@api.example/v1", "<POST an address without a host>"),
        ("api.example/v1", "<POST an address without a host>"),
    ],
    ids=[
        "in the query",
        "before the host",
        "in the fragment",
        "with a bad port",
        "as the port",
        "a password with a slash",
        "a password of digits and a slash",
        "a tab",
        "not in Latin-1",
        "an @ that may end a user part",
        "with a bad address",
        "no scheme",
        "bare",
    ],
)
async def test_a_source_is_shown_without_what_may_be_a_key(url: str, shown: str) -> None:
    source = http.post(url, headers={"authorization": "Bearer sk-secret"}, json={"prompt": "sk-secret"})

    assert repr(source) == str(source) == shown


LOOP = answer(b"", 302, {"location": "/again?key=sk-secret"})


@pytest.mark.parametrize(
    "handler",
    [answer(b"", 401), answer(b"", headers={"content-type": "text/html"}), silence, LOOP, None],
    ids=["an error status", "a page", "a deadline", "redirects in a circle", "a refusal"],
)
async def test_no_error_shows_a_key_with_all_its_causes_and_nothing_is_logged(
    handler: Handler | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"authorization": "Bearer sk-secret", "x-api-key": "sk-secret"}
    async with served(handler or silence) as served_at:
        url = served_at if handler else "http://127.0.0.1:1"
        source = http.post(
            f"{url}/v1?key=sk-secret",
            headers=headers,
            json={"prompt": "sk-secret"},
            deadlines=Deadlines(first_byte=0.2),
        )
        _, error = await failure(source | PIPELINE)

    assert "sk-secret" not in "".join(traceback.format_exception(error))
    assert "sk-secret" not in repr(error)
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.example/?key=sk-secret",
        "api.example?key=sk-secret",
        "http://a:99999999/?key=sk-secret",
        "http://[::1/?key=sk-secret",
    ],
    ids=["another scheme", "no scheme", "a bad port", "a bad address"],
)
async def test_an_address_that_is_none_has_failed_to_connect_and_is_not_quoted(url: str) -> None:
    _, error = await failure(http.post(url) | PIPELINE)

    assert isinstance(error, ConnectFailed)
    assert "expected http://host/path" in str(error)
    assert "sk-secret" not in "".join(traceback.format_exception(error))


# The whole pipeline with the demo provider

FAST = Provider(first_token_seconds=0, token_seconds=0, seed=1)
COUNT_TO_100 = "Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."
NUMBERS = "\n\n" + ", ".join(str(number) for number in range(1, 101)) + "."


async def ask(provider: Provider, path: str, body: dict[str, Any]) -> tuple[Completion, list[Event]]:
    async with serve(provider) as url:
        events = await read(http.post(url + path, json=body) | PIPELINE | Count("gpt-3.5-turbo"))
    (completion,) = (event for event in events if isinstance(event, Completion))
    return completion, events


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": COUNT_TO_100}]}),
        ("/v1/completions", {"prompt": COUNT_TO_100}),
    ],
    ids=["chat", "legacy"],
)
async def test_a_streamed_answer_is_the_plain_one(path: str, prompt: dict[str, Any], n: int) -> None:
    body = {"model": "gpt-3.5-turbo", "n": n, "stream_options": {"include_usage": True}, **prompt}
    provider = replace(FAST, clock=lambda: 1700000000)

    streamed, events = await ask(provider, path, {**body, "stream": True})
    plain, plain_events = await ask(provider, path, {**body, "stream": False})

    assert [choice.text for choice in streamed.choices] == [NUMBERS] * n
    assert streamed == plain
    assert [event.tokens for event in events if isinstance(event, TokenCount)] == [300] * n
    assert events[-1] == StreamEnd("completed", saw_done=True)
    assert plain_events[-1] == StreamEnd("completed", saw_done=False)


async def test_the_provider_sends_what_the_completion_makes_of_it() -> None:
    body = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Ping?"}]}
    provider = replace(FAST, answers={"Ping?": "Pong."}, clock=lambda: 1700000000)
    async with serve(provider) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            sent = json.loads(await response.read())

    streamed, _ = await ask(provider, "/v1/chat/completions", {**body, "stream": True})

    message = sent["choices"][0]["message"]
    assert message.pop("annotations") == []
    del sent["usage"]
    assert streamed.to_dict() == sent


async def test_an_error_of_the_provider_has_its_own_words_in_the_body() -> None:
    asked = {"model": "error-429", "messages": [{"role": "user", "content": ""}]}
    async with serve(FAST) as url:
        _, error = await failure(http.post(f"{url}/v1/chat/completions", json=asked) | PIPELINE)

    assert isinstance(error, StatusError)
    assert (error.status, error.retryable) == (429, True)
    assert json.loads(error.body)["error"]["code"] == "rate_limit_exceeded"
