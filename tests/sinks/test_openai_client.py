"""A moderated answer, written again and served, is to the official client a normal one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

import streamkit as sk
from streamkit.cli.provider import Provider
from streamkit.cli.provider import serve as serve_provider
from streamkit.sinks.answer import Item
from tests.sinks.servers import Body, Serve

pytestmark = pytest.mark.asyncio

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",), replacement="[secret]"),
    sk.Rule("weapons", phrases=("build a bomb",), action="block"),
)
ANSWERS = {
    "the word": ["It is", " blue", " heron", " 42", ", you know."],
    "the bomb": ["To ", "build", " a bomb", ", take"],
    "the plan": ["To ", "build", " a house", ", take"],
}
PROVIDER = Provider(answers=ANSWERS.get, first_token_seconds=0, token_seconds=0, seed=1)
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "strict": True, "parameters": {"type": "object"}},
}


@asynccontextmanager
async def client_of(serve: Serve) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    """A client of a server that moderates what the demo provider says."""
    async with serve_provider(PROVIDER) as provider:

        def answer(body: Body) -> AsyncIterable[Item]:
            legacy = "prompt" in body
            url = f"{provider}/v1/{'completions' if legacy else 'chat/completions'}"
            moderate = sk.Parse() | sk.Extract() | sk.Moderate(RULES, choices=body.get("n") or 1) | sk.Accumulate()
            return sk.http.post(url, json=body) | moderate

        async with (
            serve(answer) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            yield client


async def ask(client: openai.AsyncOpenAI, prompt: str, **more: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": prompt}], stream=True, **more
    )
    return [chunk async for chunk in stream]


def told(chunks: list[ChatCompletionChunk], index: int = 0) -> tuple[str, str | None]:
    """The text and the finish reason of one choice."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


async def test_a_redacted_answer_reads_as_a_whole_one(serve: Serve) -> None:
    async with client_of(serve) as client:
        chunks = await ask(client, "the word")
    assert told(chunks) == ("It is [secret], you know.", "stop")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {(chunk.id, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, "gpt-4o", "chat.completion.chunk")
    }
    assert chunks[0].id.startswith("chatcmpl-")


async def test_a_blocked_answer_ends_as_one_that_a_content_filter_stopped(serve: Serve) -> None:
    async with client_of(serve) as client:
        assert told(await ask(client, "the bomb")) == ("To ", "content_filter")


async def test_of_several_answers_each_is_its_own(serve: Serve) -> None:
    async with client_of(serve) as client:
        chunks = await ask(client, "the word", n=2)
    assert [told(chunks, index) for index in (0, 1)] == 2 * [("It is [secret], you know.", "stop")]


async def test_calls_of_tools_arrive_whole(serve: Serve) -> None:
    async with (
        client_of(serve) as client,
        client.chat.completions.stream(
            model="gpt-4o",
            messages=[{"role": "user", "content": "What is the weather in San Francisco?"}],
            tools=[WEATHER],
        ) as stream,
    ):
        completion = await stream.get_final_completion()
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or ()
    assert (call.type, call.function.name, call.id[:5]) == ("function", "get_weather", "call_")
    assert "San Francisco" in call.function.arguments


async def test_usage_comes_last_in_a_chunk_without_choices(serve: Serve) -> None:
    async with client_of(serve) as client:
        *chunks, last = await ask(client, "the plan", stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage
    assert (last.usage.completion_tokens, last.usage.prompt_tokens_details) != (0, None)
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_completion_of_the_legacy_api_is_one_again(serve: Serve) -> None:
    async with client_of(serve) as client:
        stream = await client.completions.create(model="davinci-002", prompt="the word", stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "It is [secret], you know."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.object for chunk in chunks} == {"text_completion"}


async def test_the_providers_refusal_is_the_clients_own_kind_of_error(serve: Serve) -> None:
    async with client_of(serve) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(
                model="error-429", messages=[{"role": "user", "content": "x"}], stream=True
            )
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "1"


async def test_an_answer_that_breaks_off_raises_in_the_client(serve: Serve) -> None:
    async def broken() -> AsyncIterable[bytes]:
        yield b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n'

    pipeline = sk.Parse() | sk.Extract()
    seen: list[str] = []
    async with (
        serve(lambda _: broken() | pipeline) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        with pytest.raises(openai.APIError, match="ended before it was complete") as caught:
            async for chunk in await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True
            ):
                seen += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert seen == ["Well"]
    assert caught.value.code == "truncated"


async def test_pings_are_nothing_to_the_client(serve: Serve) -> None:
    async def pausing() -> AsyncIterable[Item]:
        for item in (sk.TextDelta("Well"), sk.Finish("stop"), sk.StreamEnd("completed")):
            yield item
            await asyncio.sleep(0.01)

    async with (
        serve(lambda _: pausing(), ping=0.001) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        assert told(await ask(client, "x")) == ("Well", "stop")
