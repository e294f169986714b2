"""Other sources of bytes: streams of the official client, responses of other clients, files."""

import asyncio
import gc
import io
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import anthropic
import httpx2
import openai
import pytest

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from tests.fire import server
from tests.fire.server import DONE, FINISH, HEAD, TEXT

PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()
BODY = TEXT + FINISH + DONE
AT_ONCE = Provider(first_token_seconds=0, token_seconds=0)


async def text_of(source: object) -> str:
    text = ""
    async with PIPELINE.open(source) as events:  # type: ignore[arg-type]
        async for event in events:
            if isinstance(event, sk.TextDelta):
                text += event.text
    assert events.end is not None
    assert events.end.reason == "completed"
    return text


@pytest.mark.asyncio
async def test_a_stream_of_the_official_client_is_a_source_and_is_closed_with_it() -> None:
    async with serve(AT_ONCE) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Count to 5"}], stream=True
            )
            assert await text_of(stream) == "\n\n1, 2, 3, 4, 5."
            assert stream.response.is_closed


@pytest.mark.asyncio
async def test_an_answer_of_httpx_is_a_source() -> None:
    async with server.serve({"good": server.body(BODY)}) as (url, _):
        async with httpx2.AsyncClient() as client, client.stream("GET", f"{url}/good") as answer:
            assert await text_of(answer) == "Hello"
            assert answer.is_closed


@pytest.mark.asyncio
async def test_an_answer_of_httpx_that_breaks_is_disconnected_after_what_came_before() -> None:
    broken = server.body(TEXT, head=HEAD + b"content-length: 1000\r\n")
    seen: list[object] = []
    async with server.serve({"broken": broken}) as (url, _):
        async with httpx2.AsyncClient() as client, client.stream("GET", f"{url}/broken") as answer:
            with pytest.raises(sk.errors.Disconnected) as caught:
                async with PIPELINE.open(answer) as events:  # type: ignore[arg-type]
                    async for event in events:
                        seen.append(event)
    assert sk.TextDelta("Hello") in seen
    assert str(caught.value) == f"the connection broke after {len(TEXT)} bytes: RemoteProtocolError"


@pytest.mark.asyncio
async def test_an_answer_of_aiohttp_is_a_source() -> None:
    async with server.serve({"good": server.body(BODY)}) as (url, _):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/good") as answer:
            assert await text_of(answer) == "Hello"


# Objects of the official clients that are not, or no longer, a stream of bytes

CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "Count to 5"}]}


@asynccontextmanager
async def clients() -> AsyncGenerator[tuple[openai.AsyncOpenAI, openai.OpenAI, anthropic.AsyncAnthropic], None]:
    async with (
        serve(AT_ONCE) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as other,
    ):
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as synchronous:
            yield client, synchronous, other


async def opened(client: openai.AsyncOpenAI) -> Any:
    return await client.chat.completions.create(**CHAT, stream=True)


async def consumed(client: openai.AsyncOpenAI) -> Any:
    stream = await opened(client)
    assert [chunk async for chunk in stream]
    return stream


async def begun(client: openai.AsyncOpenAI) -> Any:
    stream = await opened(client)
    await anext(aiter(stream))
    return stream


async def closed(client: openai.AsyncOpenAI) -> Any:
    stream = await opened(client)
    await stream.close()
    return stream


WRONG: dict[str, tuple[Callable[[openai.AsyncOpenAI], Any], str]] = {
    "not awaited": (
        lambda client: client.chat.completions.create(**CHAT, stream=True),
        r"the coroutine AsyncCompletions.create, which was not awaited: write `await create\(…\)`",
    ),
    "a helper": (
        lambda client: client.chat.completions.stream(**CHAT),
        r"AsyncChatCompletionStreamManager, which yields the SDK's own events: use the client's create\(…, stream=True\)",
    ),
    "a helper of Responses": (
        lambda client: client.responses.stream(model="m", input="Hi"),
        r"AsyncResponseStreamManager, which yields the SDK's own events: use the client's create\(…, stream=True\)",
    ),
    "a response that was not entered": (
        lambda client: client.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        "AsyncResponseContextManager, which is a context manager: write `async with",
    ),
    "the client": (lambda client: client, "AsyncOpenAI, which is a client: pass the response of a request"),
}
AWAITED: dict[str, tuple[Callable[[openai.AsyncOpenAI], Awaitable[Any]], str]] = {
    "a whole response": (
        lambda client: client.chat.completions.create(**CHAT),
        "ChatCompletion, which is a complete response, not a stream: request one with stream=True",
    ),
    "read to its end": (consumed, "AsyncStream, which was read or closed already"),
    "read in part": (begun, "AsyncStream, which was read or closed already"),
    "closed": (closed, "AsyncStream, which was read or closed already"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_no_stream_of_the_official_client_is_reported_and_nothing_is_left_unawaited(
    make: Callable[[openai.AsyncOpenAI], Any], message: str
) -> None:
    async with clients() as (client, _, _):
        with pytest.raises(sk.PipelineError, match=message):
            PIPELINE.open(make(client))
        # Python's warning about a coroutine that was never awaited would be an error here.
        gc.collect()


@pytest.mark.asyncio
@pytest.mark.parametrize(("make", "message"), AWAITED.values(), ids=AWAITED.keys())
async def test_a_response_of_the_official_client_that_can_not_be_read_is_reported(
    make: Callable[[openai.AsyncOpenAI], Awaitable[Any]], message: str
) -> None:
    async with clients() as (client, _, _):
        with pytest.raises(sk.PipelineError, match=message):
            PIPELINE.open(await make(client))


@pytest.mark.asyncio
async def test_items_that_the_official_client_has_decoded_are_reported() -> None:
    async with clients() as (client, _, _):
        chunks = [chunk async for chunk in await opened(client)]
        async with client.chat.completions.stream(**CHAT) as helper:
            events = [event async for event in helper]

    for items in (chunks, events):
        for pipeline in (PIPELINE, sk.Extract(), sk.Accumulate(), sk.Moderate(sk.Rule("x", ("y",)))):
            stages: Any = pipeline
            with pytest.raises(sk.PipelineError, match=r"the SDK has already decoded it; pass the SDK's stream itself"):
                await stages.open(items).collect()


@pytest.mark.asyncio
async def test_a_helper_that_was_entered_is_reported() -> None:
    async with clients() as (client, _, _), client.chat.completions.stream(**CHAT) as helper:
        with pytest.raises(sk.PipelineError, match="AsyncChatCompletionStream, which yields the SDK's own events"):
            PIPELINE.open(cast(Any, helper))
        assert [event async for event in helper]


@pytest.mark.asyncio
async def test_a_synchronous_client_s_stream_is_reported_and_its_bytes_can_be_run() -> None:
    async with clients() as (_, client, _):

        def read() -> list[object]:
            stream = client.chat.completions.create(**CHAT, stream=True)
            for begin in (PIPELINE.open, PIPELINE.run):
                with pytest.raises(
                    sk.PipelineError, match=r"synchronous client.*use the asynchronous one, or pipeline.run\("
                ):
                    begin(cast(Any, stream))
            return list(PIPELINE.run(stream.response.iter_bytes()))

        events = await asyncio.to_thread(read)
    assert "".join(event.text for event in events if isinstance(event, sk.TextDelta)) == "\n\n1, 2, 3, 4, 5."


@pytest.mark.asyncio
async def test_the_raw_response_of_the_official_client_is_a_source() -> None:
    async with clients() as (client, _, _):
        assert await text_of(await client.chat.completions.with_raw_response.create(**CHAT, stream=True))
        async with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
            assert await text_of(response)


@pytest.mark.asyncio
async def test_anthropic_s_helper_is_to_be_entered() -> None:
    async with clients() as (_, _, client):
        with pytest.raises(
            sk.PipelineError, match="AsyncMessageStreamManager, which is a context manager: write `async with"
        ):
            PIPELINE.open(cast(Any, client.messages.stream(model="m", max_tokens=5, messages=CHAT["messages"])))
        gc.collect()


@pytest.mark.asyncio
async def test_a_request_of_aiohttp_is_to_be_entered_and_its_response_is_read_once() -> None:
    async with server.serve({"good": server.body(BODY)}) as (url, _), aiohttp.ClientSession() as session:
        with pytest.raises(sk.PipelineError, match="was not entered: write `async with … as response`"):
            PIPELINE.open(cast(Any, session.get(f"{url}/good")))
        gc.collect()
        with pytest.raises(sk.PipelineError, match="ClientSession, which is a client"):
            PIPELINE.open(cast(Any, session))
        async with session.get(f"{url}/good") as response:
            assert await text_of(response) == "Hello"
            with pytest.raises(sk.PipelineError, match="ClientResponse, which was read or closed already"):
                PIPELINE.open(cast(Any, response))
        async with session.get(f"{url}/good") as response:
            await response.read()
            with pytest.raises(sk.PipelineError, match="ClientResponse, which was read or closed already"):
                PIPELINE.open(cast(Any, response))


@pytest.mark.asyncio
async def test_a_response_of_httpx_is_read_once() -> None:
    async with server.serve({"good": server.body(BODY)}) as (url, _), httpx2.AsyncClient() as client:
        with pytest.raises(sk.PipelineError, match="is a context manager: write `async with … as source`"):
            PIPELINE.open(cast(Any, client.stream("GET", f"{url}/good")))
        async with client.stream("GET", f"{url}/good") as response:
            assert await text_of(response) == "Hello"
            with pytest.raises(sk.PipelineError, match="Response, which was read or closed already"):
                PIPELINE.open(cast(Any, response))
        # A body that httpx has buffered can be read again.
        assert await text_of(kept := await client.get(f"{url}/good")) == await text_of(kept) == "Hello"
        assert await text_of(await asyncio.to_thread(httpx2.get, f"{url}/good")) == "Hello"


@pytest.mark.parametrize(("mode", "message"), [("rb", "a file that is closed"), ("wb", "was opened for writing")])
def test_a_file_that_can_not_be_read_is_reported(mode: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "answer.sse").write_bytes(BODY)
    with open(tmp_path / "answer.sse", mode) as file:
        if mode == "rb":
            file.close()
        with pytest.raises(sk.PipelineError, match=message):
            PIPELINE.open(cast(Any, file))


@pytest.mark.anyio
async def test_a_path_is_read_and_its_file_closed(tmp_path: Path) -> None:
    (tmp_path / "answer.sse").write_bytes(BODY)
    assert await text_of(tmp_path / "answer.sse") == "Hello"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["none.sse", ".", "a\0b"], ids=["missing", "a folder", "no name"])
async def test_a_path_that_can_not_be_read_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(sk.errors.RecordingError, match=r" can't be read: (No such file|Is a directory|its name can't)"):
        await text_of(tmp_path / name)


@pytest.mark.anyio
async def test_a_file_that_is_closed_while_it_is_read_is_said() -> None:
    file = io.BytesIO(BODY)
    async with PIPELINE.open(cast(Any, file)) as events:
        file.close()
        with pytest.raises(sk.errors.RecordingError, match="the file can't be read: it is closed"):
            await events.collect()


@pytest.mark.anyio
@pytest.mark.parametrize("file", [lambda: io.BytesIO(BODY), lambda: io.StringIO(BODY.decode())], ids=["binary", "text"])
async def test_an_open_file_is_read_and_stays_open(file: "type[io.BytesIO]") -> None:
    opened = file()
    assert await text_of(opened) == "Hello"
    assert not opened.closed


@pytest.mark.anyio
async def test_a_pipe_gives_what_is_there_without_waiting_for_more() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        with open(writing, "wb", buffering=0) as end:
            async with PIPELINE.open(file) as events:  # type: ignore[arg-type]
                end.write(TEXT)
                seen = [await anext(events), await anext(events)]
    assert sk.TextDelta("Hello") in seen


def test_none_of_the_clients_is_imported_before_it_is_given() -> None:
    import subprocess
    import sys

    code = "import sys, streamkit; print([m for m in ('openai', 'anthropic', 'httpx', 'httpx2', 'aiohttp') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
