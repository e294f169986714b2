"""Each decision as read by the official client: always a normal end, over HTTP, in both of OpenAI's dialects.

The embedded provider answers, the stream is moderated, written again and served.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest
from fastapi import FastAPI, Request

import streamkit as sk
from streamkit.cli.provider import Provider
from streamkit.cli.provider import serve as serve_provider
from streamkit.sinks.answer import Item
from streamkit.sinks.starlette import EventStreamResponse
from tests.sinks.servers import SERVERS, Body, Serve, asgi_app

pytestmark = pytest.mark.asyncio

BOMB = ["To ", "build", " a bomb", ", take", " some"]
HOUSE = ["To ", "build", " a house", ", take", " wood"]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "strict": True, "parameters": {"type": "object"}},
}


@pytest.fixture
def serve() -> Serve:
    """One framework here: `test_openai_client` shows that both send the same."""
    return SERVERS["aiohttp"]


def rule(action: str, phrase: str = "build a bomb", **more: Any) -> sk.Rule:
    return sk.Rule("weapons", phrases=(phrase,), action=action, replacement="[no]", **more)  # type: ignore[arg-type]


@asynccontextmanager
async def client_of(
    serve: Serve, moderate: sk.Moderate, answers: Sequence[Sequence[str]] = (BOMB,), token_seconds: float = 0
) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    """A client of a server that moderates: each choice is the next one of the answers."""
    turns = iter(answers)
    provider = Provider(answers=lambda _: next(turns, None), first_token_seconds=0, token_seconds=token_seconds, seed=1)
    async with serve_provider(provider) as upstream:

        def answer(body: Body) -> AsyncIterable[Item]:
            legacy = "prompt" in body
            url = f"{upstream}/v1/{'completions' if legacy else 'chat/completions'}"
            pipeline = sk.Parse() | sk.Extract() | moderate | sk.Accumulate()
            return sk.http.post(url, json=body) | pipeline

        async with (
            serve(answer) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            yield client


async def ask(client: openai.AsyncOpenAI, api: str, **more: Any) -> dict[int, tuple[str, list[str]]]:
    """Of each choice the text, and every finish reason that came."""
    found: dict[int, tuple[str, list[str]]] = {}
    if api == "chat":
        stream: Any = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True, **more
        )
    else:
        stream = await client.completions.create(model="davinci-002", prompt="x", stream=True, **more)
    async for chunk in stream:
        for choice in chunk.choices:
            text, reasons = found.setdefault(choice.index, ("", []))
            new = choice.delta.content if api == "chat" else choice.text
            found[choice.index] = (text + (new or ""), [*reasons, *filter(None, [choice.finish_reason])])
    return found


ENDS = {
    "redact": (rule("redact"), "To [no], take some", "stop"),
    "block": (rule("block"), "To ", "content_filter"),
    "block with a message": (rule("block", message="I can't say that."), "To I can't say that.", "content_filter"),
    "replace": (rule("replace"), "To [no]", "content_filter"),
    "stop": (rule("stop"), "To ", "content_filter"),
}


@pytest.mark.parametrize("api", ["chat", "legacy"])
@pytest.mark.parametrize("action", ENDS)
async def test_whatever_is_decided_the_answer_has_one_normal_end(serve: Serve, action: str, api: str) -> None:
    decided, text, reason = ENDS[action]
    async with client_of(serve, sk.Moderate(decided)) as client:
        assert await ask(client, api) == {0: (text, [reason])}


@pytest.mark.parametrize("api", ["chat", "legacy"])
async def test_of_two_answers_the_one_that_is_blocked_does_not_stall_the_other(serve: Serve, api: str) -> None:
    moderate = sk.Moderate(rule("block", message="No."), choices=2)
    async with client_of(serve, moderate, (BOMB, HOUSE)) as client:
        assert await ask(client, api, n=2) == {
            0: ("To No.", ["content_filter"]),
            1: ("To build a house, take wood", ["stop"]),
        }


async def test_stop_ends_all_answers(serve: Serve) -> None:
    async with client_of(serve, sk.Moderate(rule("stop"), choices=2), (HOUSE, BOMB)) as client:
        found = await ask(client, "chat", n=2)
    assert found[1] == ("To ", ["content_filter"])
    assert found[0][1] == ["content_filter"]
    assert "To build a house, take wood".startswith(found[0][0])


async def test_a_blocked_answer_is_waited_for_no_longer(serve: Serve) -> None:
    endless = [*BOMB, *1000 * [" and"]]
    async with client_of(serve, sk.Moderate(rule("block")), [endless], token_seconds=0.1) as client:
        found = await asyncio.wait_for(ask(client, "chat"), 10)
    assert found == {0: ("To ", ["content_filter"])}


async def called(client: openai.AsyncOpenAI) -> Any:
    async with client.chat.completions.stream(
        model="gpt-4o",
        messages=[{"role": "user", "content": "What is the weather in San Francisco?"}],
        tools=[WEATHER],
    ) as stream:
        (choice,) = (await stream.get_final_completion()).choices
        return choice


async def test_what_is_redacted_in_a_call_leaves_it_a_call(serve: Serve) -> None:
    async with client_of(serve, sk.Moderate(rule("redact", "San Francisco")), ()) as client:
        choice = await called(client)
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, call.id[:5]) == ("get_weather", "call_")
    assert "[no]" in json.loads(call.function.arguments).values()


@pytest.mark.parametrize("phrase", ["San Francisco", "get_weather"], ids=["arguments", "name"])
async def test_a_call_that_is_blocked_does_not_arrive_at_all(serve: Serve, phrase: str) -> None:
    moderate = sk.Moderate(rule("block", phrase, message="No."))
    chunks: list[Any] = []
    async with client_of(serve, moderate, ()) as client:
        async for chunk in await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "What is the weather in San Francisco?"}],
            tools=[WEATHER],
            stream=True,
        ):
            chunks += chunk.choices
    assert not any(choice.delta.tool_calls for choice in chunks)
    assert "".join(choice.delta.content or "" for choice in chunks) == "No."
    assert [choice.finish_reason for choice in chunks if choice.finish_reason] == ["content_filter"]


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
async def test_in_every_mode_the_client_reads_a_whole_answer(serve: Serve, mode: Any) -> None:
    async with client_of(serve, sk.Moderate(rule("redact", "d a bomb"), mode=mode)) as client:
        ((text, reasons),) = (await ask(client, "chat")).values()
    assert reasons == ["stop"]
    assert (
        text
        == {
            "hold": "To buil[no], take some",
            "observe": "To build a bomb, take some",
            # The wire has no way to take back; the rest of the match is withheld.
            "optimistic": "To build, take some",
        }[mode]
    )


async def test_an_endpoint_of_fastapi_moderates_in_twenty_lines() -> None:
    turns = iter([BOMB])
    provider = Provider(answers=lambda _: next(turns, None), first_token_seconds=0, token_seconds=0)
    async with serve_provider(provider) as upstream:
        app = FastAPI()
        pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rule("block", message="No."))

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> EventStreamResponse:
            body = await request.json()
            return EventStreamResponse(sk.http.post(f"{upstream}/v1/chat/completions", json=body) | pipeline)

        async with (
            asgi_app(app) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            assert await ask(client, "chat") == {0: ("To No.", ["content_filter"])}


async def test_nothing_that_was_held_is_on_the_wire_when_the_provider_breaks_off() -> None:
    async def broken() -> AsyncIterable[bytes]:
        yield b'data: {"choices":[{"index":0,"delta":{"content":"To build a"}}]}\n\n'
        raise sk.errors.Disconnected("gone")

    app = FastAPI()
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rule("block"))

    @app.get("/")
    async def endpoint() -> EventStreamResponse:
        return EventStreamResponse(broken() | pipeline)

    async with asgi_app(app) as url, aiohttp.request("GET", url) as got:
        body = await got.text()

    assert '"content":"To "' in body
    assert "build" not in body
    assert "[DONE]" not in body
