"""The gateway on aiohttp, between a plain client and the embedded provider."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import Load
from tests.examples.providers import PROVIDER, Stalling
from tests.sinks.servers import aiohttp_app

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def gateway(load: Load, provider: Provider, **options: Any) -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with (
        serve(provider) as upstream,
        aiohttp_app(load("aiohttp_service").application(f"{upstream}/v1", **options)) as url,
        aiohttp.ClientSession(url) as session,
    ):
        yield session


def asking(prompt: str, **more: Any) -> Any:
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": prompt}]} | more
    return {"url": "/v1/chat/completions", "json": body}


def text_of(answer: str) -> str:
    chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize(
    ("prompt", "text", "ended"),
    [
        (
            "the launch code",
            "Certainly. The launch is at dawn, the code word is [redacted], and nobody else should hear of it.",
            "completed: 24 tokens released, 36 billed",
        ),
        ("the bomb", "Here is I can't help with that.", "moderated: 8 tokens released, unknown billed"),
    ],
)
async def test_an_answer_is_moderated_counted_and_timed(
    load: Load, caplog: pytest.LogCaptureFixture, prompt: str, text: str, ended: str
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    async with gateway(load, PROVIDER) as session, session.post(**asking(prompt)) as got:
        answer = await got.text()
    assert (got.status, got.headers["x-accel-buffering"]) == (200, "no")
    assert text_of(answer) == text
    assert answer.endswith("data: [DONE]\n\n")
    (said,) = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    assert said.startswith(f"{ended}, first text after 0.")
    assert "blue heron" not in said


async def test_a_client_that_leaves_cancels_the_answer_at_the_provider(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    stalling = Stalling(pieces=5)
    async with gateway(load, stalling.provider) as session:
        async with session.post(**asking("the launch code")) as got:
            await got.content.readuntil(b"\n\n")
            await stalling.stalled.wait()
        await asyncio.wait_for(stalling.left.wait(), 5)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    assert said.startswith("cancelled: ")


@pytest.mark.filterwarnings("ignore:the encoding of model")  # which names an error, and no model
async def test_the_status_is_decided_before_the_first_byte(load: Load) -> None:
    async with gateway(load, PROVIDER) as session, session.post(**asking("hello", model="error-429")) as got:
        assert (got.status, got.headers["retry-after"]) == (429, "1")
        assert (await got.json())["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("prompt", "text", "finish"),
    [
        (
            "the launch code",
            "Certainly. The launch is at dawn, the code word is [redacted], and nobody else should hear of it.",
            "stop",
        ),
        ("the bomb", "Here is I can't help with that.", "content_filter"),
    ],
)
async def test_a_client_that_does_not_request_a_stream_gets_the_same_answer_whole(
    load: Load, caplog: pytest.LogCaptureFixture, prompt: str, text: str, finish: str
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    async with gateway(load, PROVIDER) as session, session.post(**asking(prompt, stream=False)) as got:
        (choice,) = (await got.json())["choices"]
    assert (got.status, choice["message"]["content"], choice["finish_reason"]) == (200, text, finish)
    assert len([record for record in caplog.records if record.name == "gateway"]) == 1


async def test_a_client_that_leaves_before_the_whole_answer_cancels_it_at_the_provider(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    stalling = Stalling()
    async with gateway(load, stalling.provider) as session:
        asked = asyncio.create_task(session.post(**asking("the launch code", stream=False)).__aenter__())
        await stalling.stalled.wait()
        asked.cancel()
        await asyncio.wait_for(stalling.left.wait(), 5)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    assert said.startswith("cancelled: 0 tokens released")


@pytest.mark.parametrize(("options", "usages"), [({}, 0), ({"stream_options": {"include_usage": True}}, 1)])
async def test_the_usage_is_logged_and_sent_only_on_request(
    load: Load, caplog: pytest.LogCaptureFixture, options: dict[str, Any], usages: int
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    async with gateway(load, PROVIDER) as session, session.post(**asking("the launch code", **options)) as got:
        assert (await got.text()).count('"usage":{') == usages
    assert "36 billed" in caplog.text


async def test_a_silent_provider_is_bridged_with_keep_alives(load: Load) -> None:
    stalling = Stalling(pieces=2)
    async with gateway(load, stalling.provider, ping=0.01) as session, session.post(**asking("the launch code")) as got:
        await got.content.readuntil(b": ping\n\n")
        stalling.go_on.set()
        assert (await got.text()).endswith("data: [DONE]\n\n")


@asynccontextmanager
async def closing_idle_connections() -> AsyncGenerator[tuple[str, list[int]], None]:
    """A provider that answers one request on each connection, keeps it open, and closes it when the next request arrives.

    So it is whenever a server closes an idle connection in the moment in which a client uses it. Notes the number of each
    request on its connection.
    """
    answer = (
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(answer)
    numbers: list[int] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may close a connection that it does not use again.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in (1, 2):
                request = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                numbers.append(number)
                if number == 1:
                    writer.write(head + answer)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", numbers


async def test_a_connection_that_the_provider_closes_just_then_costs_no_answer(load: Load) -> None:
    async with (
        closing_idle_connections() as (upstream, numbers),
        aiohttp_app(load("aiohttp_service").application(upstream)) as url,
        aiohttp.ClientSession(url) as session,
    ):
        for _ in range(3):
            async with session.post(**asking("hello")) as got:
                assert got.status == 200
                assert text_of(await got.text()) == "Hi"
    assert numbers == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("n", [0, "two", None])
async def test_what_the_provider_has_to_judge_is_left_to_it(load: Load, n: object) -> None:
    async with gateway(load, PROVIDER) as session, session.post(**asking("hello", n=n)) as got:
        async with (
            serve(PROVIDER) as upstream,
            session.post(f"{upstream}/v1/chat/completions", json=asking("hello", n=n)["json"]) as own,
        ):
            assert got.status == own.status


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"stream": true}'])
async def test_what_is_no_request_is_refused(load: Load, body: bytes) -> None:
    async with gateway(load, PROVIDER) as session, session.post("/v1/chat/completions", data=body) as got:
        assert got.status == 400
        assert (await got.json())["error"]["type"] == "invalid_request_error"
