"""The gateway on FastAPI, under uvicorn, as the official client sees it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import Load
from tests.examples.providers import PROVIDER, Stalling
from tests.sinks.servers import asgi_app

pytestmark = pytest.mark.asyncio
LAUNCH = "Certainly. The launch is at dawn, the code word is [redacted], and nobody else should hear of it."
REFUSED = "Here is I can't help with that."


@asynccontextmanager
async def client_of(load: Load, provider: Provider = PROVIDER) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with (
        serve(provider) as upstream,
        asgi_app(load("fastapi_service").application(f"{upstream}/v1")) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


def asking(prompt: str, **more: Any) -> Any:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]} | more


async def ask(load: Load, prompt: str, **more: Any) -> list[Any]:
    async with client_of(load) as client:
        return [chunk async for chunk in await client.chat.completions.create(**asking(prompt, stream=True, **more))]


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("prompt", "text", "reason"), [("the launch code", LAUNCH, "stop"), ("the bomb", REFUSED, "content_filter")]
)
async def test_each_choice_is_moderated(load: Load, prompt: str, text: str, reason: str, n: int) -> None:
    choices = [choice for chunk in await ask(load, prompt, n=n) for choice in chunk.choices]
    for index in range(n):
        own = [choice for choice in choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in own) == text
        assert own[-1].finish_reason == reason
    assert {choice.index for choice in choices} == set(range(n))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("the launch code", (10, 26)), ("the bomb", (9, 8))],
    ids=["the provider's own", "counted here, since the provider was not heard to the end"],
)
async def test_the_last_chunk_has_the_usage(load: Load, prompt: str, tokens: tuple[int, int]) -> None:
    *chunks, last = await ask(load, prompt, stream_options={"include_usage": True})
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == tokens
    assert last.usage.total_tokens == sum(tokens)
    assert all(chunk.usage is None for chunk in chunks)


async def test_nobody_gets_a_usage_who_did_not_ask(load: Load) -> None:
    assert all(chunk.choices for chunk in await ask(load, "the bomb"))


@pytest.mark.parametrize(
    ("prompt", "text", "reason"), [("the launch code", LAUNCH, "stop"), ("the bomb", REFUSED, "content_filter")]
)
async def test_an_answer_in_one_piece_is_moderated_as_well(load: Load, prompt: str, text: str, reason: str) -> None:
    async with client_of(load) as client:
        answer = await client.chat.completions.create(**asking(prompt))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, reason)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_answer_at_the_provider(
    load: Load, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    stalling = Stalling(pieces=3 if stream else 0)

    async def ask(client: openai.AsyncOpenAI) -> None:
        answer: Any = await client.chat.completions.create(**asking("the launch code", stream=stream))
        async for _ in answer:
            pass

    async with client_of(load, stalling.provider) as client:
        asked = asyncio.create_task(ask(client))
        await stalling.stalled.wait()
        asked.cancel()
        await asyncio.wait_for(stalling.left.wait(), 5)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    assert said.startswith("gpt-4o: cancelled, ")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.filterwarnings("ignore:the encoding of model")  # which names an error, and no model
async def test_what_the_provider_refuses_is_refused(load: Load, stream: bool) -> None:
    async with client_of(load) as client:
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**asking("hello", model="error-429", stream=stream))


@pytest.mark.filterwarnings("ignore:the encoding of model")  # which names an error, and no model
async def test_a_failure_of_the_provider_is_a_502(load: Load) -> None:
    async with client_of(load) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(**asking("hello", model="error-500"))
    assert caught.value.status_code == 502


async def test_a_request_without_messages_is_told_what_is_missing(load: Load) -> None:
    async with client_of(load) as client:
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await client.post("/chat/completions", body={"model": "gpt-4o"}, cast_to=object)
    assert caught.value.response.json()["detail"][0]["loc"] == ["body", "messages"]
