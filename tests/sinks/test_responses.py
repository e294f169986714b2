"""Responses of both frameworks: statuses, headers, events, pings; and when they stop."""

import asyncio
import json
import logging
from collections.abc import AsyncIterable
from typing import Any

import aiohttp
import pytest

import streamkit as sk
from streamkit.emitters.failures import ErrorFrame, Failure
from streamkit.sinks.answer import Item
from tests.sinks.servers import Body, Serve, Watched

pytestmark = pytest.mark.asyncio

HELLO = sk.sse.ServerSentEvent.of("hello")
CHUNK = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n'


def always(stream: AsyncIterable[Item]) -> Any:
    return lambda _: stream


async def get(serve: Serve, watched: Watched, **options: Any) -> tuple[int, str]:
    async with serve(always(watched()), **options) as url, aiohttp.request("GET", url) as got:
        return got.status, await got.text()


async def settled(watched: Watched) -> None:
    """Turn the event loop, and with it all sockets, until no more is taken from the source."""
    given, still = -1, 0
    while still < 100:
        still = still + 1 if watched.given == given else 0
        given = watched.given
        await asyncio.sleep(0)


def pipeline(pieces: list[Any]) -> sk.Stream[Item]:
    stream: Any = Watched(pieces)() | sk.Parse() | sk.Extract()
    return stream


async def test_an_event_stream_has_the_headers_that_keep_it_flowing(serve: Serve) -> None:
    async with (
        serve(always(Watched([HELLO])()), headers={"X-Request-Id": "7"}) as url,
        aiohttp.request("GET", url) as got,
    ):
        assert got.status == 200
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert got.headers["cache-control"] == "no-cache"
        assert got.headers["x-accel-buffering"] == "no"
        assert got.headers["x-request-id"] == "7"
        assert got.headers.getall("content-type") == ["text/event-stream; charset=utf-8"]
        assert await got.read() == b"data: hello\n\n"


async def test_the_callers_headers_take_precedence(serve: Serve) -> None:
    async with (
        serve(always(Watched([HELLO])()), headers={"Cache-Control": "no-store"}) as url,
        aiohttp.request("GET", url) as got,
    ):
        assert got.headers.getall("cache-control") == ["no-store"]


async def test_each_event_is_sent_when_it_comes(serve: Serve) -> None:
    gate = asyncio.Event()
    watched = Watched([HELLO, gate, sk.sse.ServerSentEvent.of("1\n2", "more", id="7")])
    async with serve(always(watched())) as url, aiohttp.request("GET", url) as got:
        assert await got.content.readuntil(b"\n\n") == b"data: hello\n\n"
        gate.set()
        assert await got.content.read() == b"id: 7\nevent: more\ndata: 1\ndata: 2\n\n"


async def test_an_empty_stream_is_an_empty_answer(serve: Serve) -> None:
    assert await get(serve, Watched([])) == (200, "")


async def test_bytes_pass_as_they_are(serve: Serve) -> None:
    assert await get(serve, Watched([b"data:a\r\n", b"\r\ndata: b\n\n"])) == (200, "data:a\r\n\r\ndata: b\n\n")


# Pings


async def test_comments_keep_the_connection_alive_while_nothing_is_sent(serve: Serve) -> None:
    gate = asyncio.Event()
    watched = Watched([HELLO, gate, sk.sse.ServerSentEvent.of("end")])
    async with serve(always(watched()), ping=0.001) as url, aiohttp.request("GET", url) as got:
        assert await got.content.readexactly(40) == b"data: hello\n\n" + 3 * b": ping\n\n" + b": p"
        gate.set()
        assert (await got.content.read()).removeprefix(b"ing\n\n").replace(b": ping\n\n", b"") == b"data: end\n\n"
    assert watched.closed.is_set()


async def test_after_an_id_a_ping_is_no_block_of_its_own(serve: Serve) -> None:
    watched = Watched([sk.sse.ServerSentEvent.of("a", id="7"), asyncio.Event()])
    async with serve(always(watched()), ping=0.001) as url, aiohttp.request("GET", url) as got:
        assert await got.content.readexactly(31) == b"id: 7\ndata: a\n\n" + 2 * b": ping\n" + b": "


async def test_no_ping_falls_into_an_event_that_comes_in_pieces(serve: Serve) -> None:
    gate = asyncio.Event()

    async def pieces() -> AsyncIterable[bytes]:
        for piece in (b"data: hel", b"lo\n", b"\n"):
            yield piece
            await asyncio.sleep(0.01)  # ten pings long
        await gate.wait()

    async with serve(always(pieces()), ping=0.001) as url, aiohttp.request("GET", url) as got:
        assert await got.content.readuntil(b": ping\n\n") == b"data: hello\n\n: ping\n\n"
        gate.set()


async def test_no_ping_decides_the_status_before_the_first_item_does(serve: Serve) -> None:
    async def slow() -> AsyncIterable[bytes]:
        await asyncio.sleep(0.02)  # ten pings long
        raise sk.StatusError("no", status=429)
        yield b""

    async with serve(always(slow()), ping=0.002) as url, aiohttp.request("GET", url) as got:
        assert got.status == 429


async def test_without_pings_nothing_is_sent_between(serve: Serve) -> None:
    gate = asyncio.Event()
    async with serve(always(Watched([HELLO, gate, HELLO])()), ping=None) as url, aiohttp.request("GET", url) as got:
        await got.content.readuntil(b"\n\n")
        await asyncio.sleep(0)
        gate.set()
        assert await got.read() == b"data: hello\n\n"


# The status


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (sk.StatusError("no", status=429), 429, "requests", "rate_limit_exceeded"),
        (sk.StatusError("no", status=400), 400, "invalid_request_error", None),
        (sk.StatusError("no", status=503), 502, "server_error", None),
        (sk.StatusError("no", status=302), 502, "server_error", None),
        (sk.errors.DeadlineExceeded("late", deadline="first_byte"), 504, "server_error", "timeout"),
        (sk.errors.ConnectFailed("no"), 502, "server_error", "error"),
        (sk.errors.Disconnected("no"), 502, "server_error", "truncated"),
        (sk.errors.ContentTypeError("no"), 502, "server_error", "error"),
        (sk.errors.ProtocolError("no"), 502, "server_error", "error"),
        (sk.errors.LimitExceeded("no"), 502, "server_error", "limit"),
        (sk.ProviderError("no"), 502, "server_error", None),
        (sk.ProviderError("no", code="overloaded", type="overloaded_error"), 502, "overloaded_error", "overloaded"),
        (sk.ProviderError("no", code=429), 429, "requests", 429),
        (sk.ProviderError("no", code="400", type="bad"), 400, "bad", "400"),
        (sk.ProviderError("no", code=200), 502, "server_error", 200),
    ],
    ids=lambda value: getattr(value, "status", getattr(value, "code", "")) if isinstance(value, Exception) else None,
)
async def test_a_failure_before_the_first_item_is_the_status(
    serve: Serve, error: Exception, status: int, kind: str, code: str | int | None
) -> None:
    async with serve(always(Watched([error])())) as url, aiohttp.request("GET", url) as got:
        assert (got.status, got.content_type) == (status, "application/json")
        told = json.loads(await got.read())["error"]
    assert (told["type"], told["code"], told["param"]) == (kind, code, None)
    assert "no" not in told["message"].split()


async def test_nothing_that_the_provider_said_reaches_the_client(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    error = sk.StatusError(
        "https://provider/: expected a success, found status 401",
        status=401,
        body=b'{"error": {"message": "Incorrect API key provided: sk-abc"}}',
        headers={"Set-Cookie": "secret", "Retry-After": "7"},
    )
    async with serve(always(Watched([error])())) as url, aiohttp.request("GET", url) as got:
        assert got.status == 401
        assert got.headers["retry-after"] == "7"
        assert "set-cookie" not in got.headers
        text = await got.text()
    assert "sk-abc" not in text
    assert "provider/" not in text
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("a stream failed: https://provider/: expected a success, found status 401")
    assert "sk-abc" not in line


@pytest.mark.parametrize("value", ["soon\r\nset-cookie: a=b", "", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_passes_only_if_it_can_be_one(serve: Serve, value: str) -> None:
    error = sk.StatusError("no", status=429, headers={"retry-after": value})
    async with serve(always(Watched([error])())) as url, aiohttp.request("GET", url) as got:
        assert got.headers.get("retry-after") == (value if value.startswith("Wed") else None)
        assert "set-cookie" not in got.headers


@pytest.mark.parametrize(
    ("first", "status", "code"),
    [
        (b'data: {"error": {"message": "slow down", "code": 429, "type": "tokens"}}\n\n', 429, 429),
        (b'{"error": {"message": "no such model", "code": "model_not_found"}}', 502, "model_not_found"),
        (b"", 502, "truncated"),
        (b"data: hello\n\n", 502, "error"),
    ],
    ids=["an error event", "an error instead of a stream", "nothing", "no JSON"],
)
async def test_a_provider_that_fails_first_is_the_status(serve: Serve, first: bytes, status: int, code: Any) -> None:
    async with serve(lambda _: pipeline([first])) as url, aiohttp.request("GET", url) as got:
        assert got.status == status
        assert json.loads(await got.read())["error"]["code"] == code


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "streamkit.sinks"]


@pytest.mark.parametrize("before", [[], [sk.TextDelta("a blue heron")]], ids=["at once", "after text"])
@pytest.mark.parametrize("body", [None, {"stream": True}, {"stream": False}], ids=["no body", "streaming", "whole"])
@pytest.mark.parametrize(
    ("items", "line"),
    [
        ([sk.StreamEnd("truncated")], "the provider's stream ended before it was complete; code 'truncated'"),
        ([sk.StreamEnd("cancelled")], "the stream was cancelled before it was complete; code 'cancelled'"),
        ([sk.StreamEnd("timeout")], "the provider did not answer in time; code 'timeout'"),
        ([sk.StreamEnd("truncated"), sk.errors.Disconnected("reset by peer")], "reset by peer"),
        ([sk.StatusError("status 500", status=500)], "status 500"),
        ([sk.ProviderError("event 1", code=7)], "event 1; code 7"),
    ],
    ids=["truncated", "cancelled", "timeout", "a connection error", "a status", "an error event"],
)
async def test_each_error_response_is_logged_once_and_without_text_of_the_answer(
    serve: Serve, before: list[Any], body: Any, items: list[Any], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serve(lambda _: Watched([*before, *items])()) as url,
        aiohttp.request("POST", url, json=body) if body else aiohttp.request("GET", url) as got,
    ):
        assert "error" in await got.text()
    assert logged(caplog) == [f"a stream failed: {line}"]


async def test_the_log_of_an_error_frame_of_another_stage_omits_its_message(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    frame = ErrorFrame.with_json(Failure("a secret", "provider_error", "overloaded"), {"error": "a secret"})
    status, text = await get(serve, Watched([HELLO, frame]))
    assert (status, "a secret" in text) == (200, True)
    assert logged(caplog) == [
        "a stream failed: the provider reported an error; code 'provider_error', type 'overloaded'"
    ]


async def test_a_mistake_of_this_program_is_the_frameworks_to_report(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    status, text = await get(serve, Watched([KeyError("a secret")]))
    assert status == 500
    assert "secret" not in text
    assert any(record.exc_info and isinstance(record.exc_info[1], KeyError) for record in caplog.records)


async def test_events_are_written_for_the_client(serve: Serve) -> None:
    status, text = await get(serve, Watched([sk.TextDelta("a"), sk.Finish("stop"), sk.StreamEnd("completed")]))
    assert (status, text.count('"content":"a"'), text[-14:]) == (200, 1, "data: [DONE]\n\n")


@pytest.mark.parametrize("item", ["text", 7, None], ids=repr)
async def test_an_item_that_cannot_be_sent_is_refused_by_its_kind(
    serve: Serve, item: object, caplog: pytest.LogCaptureFixture
) -> None:
    status, _ = await get(serve, Watched([item]))
    assert status == 500
    (error,) = {str(record.exc_info[1]) for record in caplog.records if record.exc_info}
    assert error == f"expected events, server-sent events or bytes, found {type(item).__name__}"


# Failures on the way


async def test_a_later_failure_is_an_error_event_and_the_end(serve: Serve) -> None:
    status, text = await get(serve, Watched([HELLO, sk.errors.Disconnected("no")]))
    first, last, rest = text.split("\n\n")
    assert (status, first, rest) == (200, "data: hello", "")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "truncated"


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([CHUNK], "truncated"),
        ([CHUNK, b'data: {"error": {"message": "a secret", "code": 503}}\n\n'], 503),
        ([CHUNK, b"data: hello\n\n"], "error"),
        ([CHUNK, sk.errors.DeadlineExceeded("late")], "timeout"),
    ],
    ids=["cut off", "an error event", "no JSON", "a deadline"],
)
async def test_a_provider_that_fails_later_gives_one_error_event_and_no_done(
    serve: Serve, pieces: list[Any], code: Any
) -> None:
    async with serve(lambda _: pipeline(pieces)) as url, aiohttp.request("GET", url) as got:
        text = await got.text()
    *_, last, rest = text.split("\n\n")
    assert text.count('"error":{') == 1
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == code
    assert "[DONE]" not in text
    assert "a secret" not in text
    assert rest == ""


async def test_a_mistake_on_the_way_is_an_error_event_and_then_a_broken_answer(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(always(Watched([HELLO, KeyError("a secret")])())) as url, aiohttp.request("GET", url) as got:
        received = b""
        with pytest.raises(aiohttp.ClientPayloadError):
            async for piece in got.content.iter_any():
                received += piece
    assert b'"error"' in received
    assert b"secret" not in received
    assert any(record.exc_info and isinstance(record.exc_info[1], KeyError) for record in caplog.records)


@pytest.mark.parametrize(
    "end", [sk.errors.Disconnected("no"), sk.StreamEnd("cancelled")], ids=["an error", "a cancellation"]
)
async def test_what_breaks_off_within_an_event_breaks_the_answer_off(serve: Serve, end: Any) -> None:
    async with (
        serve(always(Watched([b"data: hel", end])())) as url,
        aiohttp.request("GET", url) as got,
    ):
        received = b""
        with pytest.raises(aiohttp.ClientPayloadError):
            async for piece in got.content.iter_any():
                received += piece
    assert received == b"data: hel"


async def test_a_stream_that_is_cancelled_does_not_end_as_if_complete(serve: Serve) -> None:
    streams = list[sk.Stream[Item]]()

    def answer(body: Body) -> sk.Stream[Item]:
        streams.append(pipeline([CHUNK, asyncio.Event()]))
        return streams[0]

    async with serve(answer) as url, aiohttp.request("GET", url) as got:
        await got.content.readuntil(b"Well")
        streams[0].cancel()
        text = await got.text()
    assert json.loads(text.split("\n\n")[-2].removeprefix("data: "))["error"]["code"] == "cancelled"
    assert "[DONE]" not in text


@pytest.mark.parametrize("items", [[], [HELLO]], ids=["first", "later"])
@pytest.mark.parametrize("field", ["event", "id"])
async def test_nobody_writes_fields_of_their_own(
    serve: Serve, items: list[Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    evil = sk.sse.ServerSentEvent(**{field: "x\n\ndata: evil"})
    received = b""
    async with serve(always(Watched([*items, evil])())) as url, aiohttp.request("GET", url) as got:
        try:
            async for piece in got.content.iter_any():
                received += piece
        except aiohttp.ClientPayloadError:
            assert items
    assert b"evil" not in received
    assert any(
        f"{field}: expected one line" in str(record.exc_info and record.exc_info[1]) for record in caplog.records
    )


async def test_line_ends_in_the_data_stay_data(serve: Serve) -> None:
    _, text = await get(serve, Watched([sk.sse.ServerSentEvent.of("a\n\nevent: evil\rid: 7")]))
    assert list((sk.sse.Lines() | sk.Parse()).run([text.encode()])) == [
        sk.sse.ServerSentEvent.of("a\n\nevent: evil\nid: 7")
    ]


# Leaving


async def test_a_client_that_leaves_closes_the_source(serve: Serve) -> None:
    watched = Watched([HELLO, asyncio.Event()])
    async with serve(always(watched())) as url:
        async with aiohttp.request("GET", url) as got:
            await got.content.readuntil(b"\n\n")
            assert not watched.closed.is_set()
            got.close()
        await asyncio.wait_for(watched.closed.wait(), 5)


async def test_a_client_that_leaves_before_the_first_item_closes_the_source(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched([asyncio.Event()])
    async with serve(always(watched())) as url:

        async def ask() -> None:
            async with aiohttp.request("POST", url, json={}):
                pass

        asking = asyncio.create_task(ask())
        await watched.begun.wait()
        asking.cancel()
        await asyncio.wait_for(watched.closed.wait(), 5)
        assert asking.cancelled()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_reads_slowly_holds_the_source_back(serve: Serve) -> None:
    piece = b"data: " + b"x" * 2**20 + b"\n\n"
    watched = Watched([piece] * 64)
    async with serve(always(watched())) as url, aiohttp.request("GET", url) as got:
        await settled(watched)
        assert 0 < watched.given < 32  # what the sockets hold, and one that waits
        assert len(await got.read()) == 64 * len(piece)


async def test_the_source_is_closed_when_the_answer_ends(serve: Serve) -> None:
    watched = Watched([HELLO])
    await get(serve, watched)
    assert watched.closed.is_set()
