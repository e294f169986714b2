"""Responses in the wire formats of other clients: headers, statuses, errors and keep-alives are the emitter's."""

import asyncio
import json
from typing import Any

import aiohttp
import anthropic
import pytest

import streamkit as sk
from streamkit.errors import SourceError
from tests.sinks.servers import Serve, Watched
from tests.testing.test_check_emitter import StreamsOnly

pytestmark = pytest.mark.asyncio

ANSWER = [
    sk.events.ResponseStart("msg_1", model="m"),
    sk.TextDelta("Pong"),
    sk.Finish("stop"),
    sk.StreamEnd("completed"),
]
REFUSED = sk.StatusError("status 429", status=429, headers={"retry-after": "7"}, body=b"")


async def post(serve: Serve, items: list[Any], body: dict[str, Any], **options: Any) -> tuple[int, str, str]:
    """The status, the content type and the text of a response."""
    async with (
        serve(lambda _: Watched(items)(), **options) as url,
        aiohttp.request("POST", f"{url}/v1/messages", json=body) as got,
    ):
        return got.status, got.content_type, await got.text()


async def test_the_official_client_reads_a_message_streamed_and_whole(serve: Serve) -> None:
    async with (
        serve(lambda _: Watched(ANSWER)(), emit="anthropic") as url,
        anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as client,
    ):
        ask: Any = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Ping"}]}
        async with client.messages.stream(**ask) as stream:
            streamed = await stream.get_final_message()
        whole = await client.messages.create(**ask)
    assert [message.content[0].to_dict() for message in (streamed, whole)] == [{"type": "text", "text": "Pong"}] * 2
    assert [message.id for message in (streamed, whole)] == ["msg_1", "msg_1"]


async def test_an_emitter_without_a_response_streams_to_a_client_that_requested_none(serve: Serve) -> None:
    streamed = await post(serve, ANSWER, {"stream": True}, emit=StreamsOnly)
    assert streamed[:2] == (200, "text/event-stream")
    assert await post(serve, ANSWER, {}, emit=StreamsOnly) == streamed
    assert await post(serve, ANSWER, {}, emit="tests.testing.test_check_emitter:StreamsOnly") == streamed


async def test_a_refusal_before_the_stream_has_a_status_and_the_formats_error_object(serve: Serve) -> None:
    status, kind, text = await post(serve, [REFUSED], {"stream": True}, emit="anthropic")
    error = {"type": "rate_limit_error", "message": "the provider refused the request with status 429"}
    assert (status, kind, json.loads(text)) == (429, "application/json", {"type": "error", "error": error})


async def test_a_failure_on_the_way_is_the_formats_error_event(serve: Serve) -> None:
    items = [sk.TextDelta("a"), sk.StreamEnd("provider_error"), sk.ProviderError("failed", code="529")]
    status, kind, text = await post(serve, items, {"stream": True}, emit="anthropic")
    assert (status, kind) == (200, "text/event-stream")
    assert text.endswith(
        'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"the provider reported an error"}}\n\n'
    )
    assert text.count("event: error") == 1


async def test_a_silence_is_filled_with_the_formats_keep_alive(serve: Serve) -> None:
    go_on = asyncio.Event()
    items = [sk.TextDelta("a"), go_on, sk.StreamEnd("completed")]
    async with (
        serve(lambda _: Watched(items)(), emit="anthropic", ping=0.01) as url,
        aiohttp.request("POST", url, json={"stream": True}) as got,
    ):
        pings = 0
        async for line in got.content:
            pings += line == b'data: {"type":"ping"}\n'
            if pings == 2:
                go_on.set()
    assert pings >= 2


async def test_each_response_has_an_id_of_its_own(serve: Serve) -> None:
    items = [sk.TextDelta("a"), sk.StreamEnd("completed")]
    bodies = [json.loads((await post(serve, items, {"model": "m"}, emit="anthropic"))[2]) for _ in range(2)]
    assert bodies[0]["id"] != bodies[1]["id"]
    assert all(body["id"].startswith("msg_") for body in bodies)


async def test_the_header_of_a_format_is_sent_and_what_only_streams_streams(serve: Serve) -> None:
    body = {"messages": [], "id": "chat-1"}
    async with (
        serve(lambda _: Watched(ANSWER)(), emit="ai-sdk") as url,
        aiohttp.request("POST", url, json=body) as got,
    ):
        assert got.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert got.content_type == "text/event-stream"
        assert (await got.text()).endswith('data: {"type":"finish","finishReason":"stop"}\n\ndata: [DONE]\n\n')


async def test_a_run_repeats_the_ids_of_the_request(serve: Serve) -> None:
    body = {"threadId": "t-1", "runId": "r-1", "messages": []}
    _, _, text = await post(serve, ANSWER, body, emit="ag-ui")
    assert text.startswith('data: {"type":"RUN_STARTED","threadId":"t-1","runId":"r-1"}\n\n')


async def test_a_failure_on_the_way_ends_a_response_as_openai_ends_it(serve: Serve) -> None:
    items = [sk.TextDelta("a"), SourceError("the connection was lost")]
    _, _, text = await post(serve, items, {"stream": True}, emit="responses")
    blocks = [block.split("\n") for block in text.rstrip("\n").split("\n\n")]
    assert [lines[0] for lines in blocks[-2:]] == ["event: error", "event: response.failed"]
    numbers = [json.loads(lines[1].removeprefix("data: "))["sequence_number"] for lines in blocks]
    assert numbers == list(range(len(blocks)))


async def test_a_stream_that_emit_wrote_is_sent_as_it_is(serve: Serve) -> None:
    stream: Any = sk.Emit("ai-sdk").run([sk.TextDelta("a"), sk.StreamEnd("truncated")])
    _, _, text = await post(serve, list(stream), {"stream": True}, emit="ai-sdk")
    assert text.endswith('"errorText":"the provider\'s stream ended before it was complete"}\n\ndata: [DONE]\n\n')
