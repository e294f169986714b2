"""The gateway with a usage log: one row per request, whatever becomes of it."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import openai
import pytest

from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import EXAMPLES, Load
from tests.examples.providers import PROVIDER, Stalling
from tests.sinks.servers import asgi_app

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def client_of(load: Load, path: Path, provider: Provider = PROVIDER) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with (
        serve(provider) as upstream,
        asgi_app(load("usage_log").application(f"{upstream}/v1", str(path))) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


def rows(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT end, model, prompt, completion, source FROM requests").fetchall()


def asking(prompt: str, **more: Any) -> Any:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]} | more


async def text(client: openai.AsyncOpenAI, prompt: str) -> str:
    chunks = await client.chat.completions.create(**asking(prompt, stream=True))
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


async def test_it_has_fewer_than_40_lines_of_code() -> None:
    lines = (EXAMPLES / "usage_log.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 40


async def test_each_request_is_one_row_streamed_or_not_and_moderated(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with client_of(load, path) as client:
        streamed = await text(client, "the launch code")
        whole = await client.chat.completions.create(**asking("the launch code"))

    assert streamed == whole.choices[0].message.content
    assert "[redacted]" in streamed
    assert rows(path) == [("completed", "gpt-4o", 10, 26, "provider")] * 2


async def test_a_client_that_leaves_is_a_row_too(load: Load, tmp_path: Path) -> None:
    path, stalling = tmp_path / "usage.db", Stalling(pieces=3)
    async with client_of(load, path, stalling.provider) as client:
        asked = asyncio.create_task(text(client, "the launch code"))
        await stalling.stalled.wait()
        asked.cancel()
        await asyncio.wait_for(stalling.left.wait(), 5)

    # The server has come to its end, and with it the handler.
    ((end, model, _, completion, source),) = rows(path)
    assert (end, model, source) == ("cancelled", "gpt-4o", "partial")
    assert completion >= 0


@pytest.mark.filterwarnings("ignore:the encoding of model")  # which names an error, and no model
async def test_the_provider_s_own_error_is_passed_on_and_a_row(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with client_of(load, path) as client:
        with pytest.raises(openai.RateLimitError, match="error 429, as the request demanded"):
            await client.chat.completions.create(**asking("hello", model="error-429", stream=True))

    assert [row[0] for row in rows(path)] == ["error"]
