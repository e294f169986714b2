"""Whatever bytes come from: the official client's streams, other clients' answers, files."""

import io
import os
from pathlib import Path

import aiohttp
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
            with pytest.raises(sk.Disconnected) as caught:
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


@pytest.mark.anyio
async def test_a_path_is_read_and_its_file_closed(tmp_path: Path) -> None:
    (tmp_path / "answer.sse").write_bytes(BODY)
    assert await text_of(tmp_path / "answer.sse") == "Hello"


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
