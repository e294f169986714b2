"""The demo provider over real HTTP: its bytes, its pace, and its responses as read by the official client."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types import ModerationImageURLInputParam, ModerationTextInputParam
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageFunctionToolCall

from streamkit.cli import provider as provider_module
from streamkit.cli import script
from streamkit.cli.provider import Provider, serve
from streamkit.cli.script import Category
from streamkit.tokens import encoding_name, load_encoding

FAST = Provider(first_token_seconds=0, token_seconds=0)
COUNT_TO_100 = "Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."


@dataclass
class VirtualTime:
    """A timer that only advances by sleeping, each time by `late` seconds more than requested."""

    late: float = 0.0
    now: float = 100.0
    slept: list[float] = field(default_factory=list[float])
    woken: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.late
        self.woken.append(self.now - 100.0)


@asynccontextmanager
async def client_of(provider: Provider) -> AsyncGenerator[AsyncOpenAI, None]:
    async with serve(provider) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        yield client


async def post(provider: Provider, path: str, body: bytes | dict[str, object]) -> tuple[int, str, str]:
    """Send one request; return status, content type and text of the response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with serve(provider) as url, aiohttp.ClientSession() as session, session.post(url + path, data=data) as got:
        return got.status, got.headers["content-type"], await got.text()


async def contents(stream: AsyncStream[ChatCompletionChunk]) -> list[str]:
    """Return the contents of the deltas, in order, marked with the choice if it is not the first."""
    choices = [choice async for chunk in stream for choice in chunk.choices]
    return [f"{choice.index or ''}{choice.delta.content}" for choice in choices if choice.delta.content]


@dataclass
class Stuck:
    """A sleep that lasts until it is cancelled."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seconds: float) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@pytest.mark.asyncio
async def test_a_chat_stream_has_the_bytes_of_openais() -> None:
    provider = replace(FAST, answers={"Ping?": ["Po", "ng"]}, seed=1, clock=lambda: 1700000000.9)
    request: dict[str, object] = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Ping?"}]}

    status, content_type, text = await post(provider, "/v1/chat/completions", request)

    head = (
        'data: {"id":"chatcmpl-i0VpEBOWfbZAVaBSo63bbH6xnAbnB","object":"chat.completion.chunk","created":1700000000,'
        '"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp_demo","choices":[{"index":0,"delta":'
    )
    assert (status, content_type) == (200, "text/event-stream; charset=utf-8")
    assert text.split("\n\n") == [
        head + '{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}',
        head + '{"content":"Po"},"logprobs":null,"finish_reason":null}]}',
        head + '{"content":"ng"},"logprobs":null,"finish_reason":null}]}',
        head + '{},"logprobs":null,"finish_reason":"stop"}]}',
        "data: [DONE]",
        "",
    ]


@pytest.mark.asyncio
async def test_a_text_stream_has_the_bytes_of_openais() -> None:
    provider = replace(FAST, answers={"Ping?": ["Po", "ng"]}, seed=1, clock=lambda: 1700000000.9)
    request: dict[str, object] = {
        "model": "davinci-002",
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt": "Ping?",
    }

    _, _, text = await post(provider, "/v1/completions", request)

    head = (
        'data: {"id":"cmpl-i0VpEBOWfbZAVaBSo63bbH6xnAbnB","object":"text_completion","created":1700000000,'
        '"model":"davinci-002","choices":['
    )
    assert text.split("\n\n") == [
        head + '{"text":"Po","index":0,"logprobs":null,"finish_reason":null}],"usage":null}',
        head + '{"text":"ng","index":0,"logprobs":null,"finish_reason":null}],"usage":null}',
        head + '{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}',
        head + '],"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}}',
        "data: [DONE]",
        "",
    ]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (COUNT_TO_100, "\n\n" + ", ".join(str(number) for number in range(1, 101)) + "."),
        ("What's 1+1? Answer in one word.", "2"),
        ("1,2,3,", ",".join(str(number) for number in range(4, 101))),
        ("What is the weather in San Francisco?", "It is 18 degrees and sunny in San Francisco."),
        ("Something else", script.PARAGRAPH),
    ],
    ids=["the guide's count", "the guide's sum", "the guide's continuation", "a tool not offered", "anything else"],
)
@pytest.mark.asyncio
async def test_a_scripted_answer_is_the_same_on_every_route(prompt: str, text: str) -> None:
    async with client_of(FAST) as client:
        chat = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}])
        chunks = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": prompt}], stream=True
        )
        legacy = await client.completions.create(model="m", prompt=prompt)
        pieces = await client.completions.create(model="m", prompt=prompt, stream=True)

        assert chat.choices[0].message.content == text
        assert "".join(await contents(chunks)) == text
        assert legacy.choices[0].text == text
        assert "".join([chunk.choices[0].text async for chunk in pieces]) == text


@pytest.mark.asyncio
async def test_the_count_comes_a_number_and_a_comma_at_a_time() -> None:
    async with client_of(FAST) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": COUNT_TO_100}], stream=True
        )
        deltas = await contents(stream)

    assert deltas[:5] == ["\n\n", "1", ", ", "2", ", "]
    assert deltas[-4:] == ["99", ", ", "100", "."]


@pytest.mark.asyncio
async def test_no_delta_shows_a_word_of_the_sensitive_phrase() -> None:
    async with client_of(FAST) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Tell me the launch code."}], stream=True
        )
        deltas = await contents(stream)

    assert "the code word is blue heron 42" in "".join(deltas)
    assert not [delta for delta in deltas for word in ("code", "word", "blue", "heron", "42") if word in delta]


def pong(prompt: str) -> str | None:
    return "Pong." if prompt == "Ping?" else None


@pytest.mark.parametrize("answers", [{"Ping?": "Pong."}, pong], ids=["mapping", "function"])
@pytest.mark.asyncio
async def test_given_answers_go_before_the_script(answers: script.Answers) -> None:
    async with client_of(replace(FAST, answers=answers)) as client:
        completion = await client.completions.create(model="m", prompt=["Ping?", "What's 1+1?"])

    assert [choice.text for choice in completion.choices] == ["Pong.", "2"]


@pytest.mark.asyncio
async def test_the_prompt_is_the_last_message_of_the_user() -> None:
    async with client_of(replace(FAST, answers={"Ping?": "Pong."})) as client:
        completion = await client.chat.completions.create(
            model="m",
            messages=[
                {"role": "user", "content": "What's 1+1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": [{"type": "text", "text": "Pi"}, {"type": "text", "text": "ng?"}]},
                {"role": "system", "content": "Be brief."},
            ],
        )

    assert completion.choices[0].message.content == "Pong."


@pytest.mark.asyncio
async def test_the_choices_of_a_stream_are_interleaved() -> None:
    async with client_of(replace(FAST, answers={"Ping?": ["Po", "ng"]})) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ping?"}], n=2, stream=True
        )
        assert await contents(stream) == ["Po", "1Po", "ng", "1ng"]


@pytest.mark.asyncio
async def test_choices_of_different_length_each_end_in_their_time() -> None:
    async with client_of(replace(FAST, answers={"short": ["a"], "long": ["b", "c", "d"]})) as client:
        stream = await client.completions.create(model="m", prompt=["short", "long"], n=2, stream=True)
        choices = [choice async for chunk in stream for choice in chunk.choices]

    assert [choice.index for choice in choices] == [0, 0, 1, 1, 2, 3, 2, 3, 2, 2, 3, 3]
    assert [choice.index for choice in choices if choice.finish_reason] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.asyncio
async def test_a_limit_cuts_the_answer_and_says_so(name: str) -> None:
    async with client_of(replace(FAST, answers={"Ping?": ["Po", "ng", "!"]})) as client:
        whole = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ping?"}], extra_body={name: 2}
        )
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ping?"}], extra_body={name: 2}, stream=True
        )
        choices = [chunk.choices[0] async for chunk in stream]

    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Pong", "length")
    assert [choice.delta.content for choice in choices] == ["", "Po", "ng", None]
    assert [choice.finish_reason for choice in choices] == [None, None, None, "length"]


@pytest.mark.asyncio
async def test_the_last_chunk_alone_has_the_usage() -> None:
    async with client_of(replace(FAST, answers={"Ping?": "Pong"}, count=len)) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ping?"}],
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        )
        *chunks, last = [chunk async for chunk in stream]

    assert [chunk.usage for chunk in chunks] == [None] * 6
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (14, 8, 22)


# The usage that OpenAI reports: the cookbook's rule for prompts (How_to_count_tokens_with_tiktoken), the numbers in the guide's
# editions (How_to_stream_completions), and a chat of two messages.
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ping?"}]


@pytest.mark.parametrize(
    ("model", "messages", "usage"),
    [
        ("gpt-3.5-turbo", [{"role": "user", "content": COUNT_TO_100}], (36, 301, 337)),
        ("gpt-4o-mini", [{"role": "user", "content": COUNT_TO_100}], (36, 300, 336)),
        ("gpt-3.5-turbo", CHAT, (16, 4, 20)),
        ("gpt-4o", CHAT, (16, 3, 19)),
        ("nobody-knows-1", CHAT, (16, 3, 19)),
    ],
    ids=["the guide's, which bills the end", "a later model", "two messages", "two messages, later", "unknown model"],
)
@pytest.mark.asyncio
async def test_usage_is_what_openai_reports_for_the_texts(
    model: str, messages: list[Any], usage: tuple[int, int, int]
) -> None:
    async with client_of(replace(FAST, answers={"Ping?": "Pong."})) as client:
        completion = await client.chat.completions.create(model=model, messages=messages)

    assert completion.usage is not None
    found = completion.usage
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == usage
    text = completion.choices[0].message.content or ""
    assert found.completion_tokens - usage_of_text(text, model) == (1 if model == "gpt-3.5-turbo" else 0)


def usage_of_text(text: str, model: str) -> int:
    return len(load_encoding(encoding_name(model)[0]).encode_ordinary(text))


@pytest.mark.parametrize("limit", [1, 2, 5, 44])
@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4o"])
@pytest.mark.asyncio
async def test_a_limit_counts_tokens_and_an_answer_that_it_cuts_has_no_end_to_bill(model: str, limit: int) -> None:
    async with client_of(FAST) as client:
        completion = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": COUNT_TO_100}], max_tokens=limit
        )

    assert completion.usage is not None
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == usage_of_text(completion.choices[0].message.content or "", model)
    # Pieces are not split, so the last one may be up to two tokens below the limit.
    assert limit - 2 < completion.usage.completion_tokens <= limit


@pytest.mark.asyncio
async def test_a_legacy_completion_counts_its_texts_alone() -> None:
    async with client_of(FAST) as client:
        completion = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="1,2,3,", max_tokens=5)

    assert completion.choices[0].text == "4,5,6"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (6, 5)


@pytest.mark.asyncio
async def test_without_the_table_a_piece_is_a_token_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str) -> None:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(provider_module, "where_table", lambda name: None)
    monkeypatch.setattr(provider_module, "load_encoding", fetch)
    monkeypatch.setattr(provider_module, "_tokenizer", provider_module._tokenizer.__wrapped__)

    async with client_of(FAST) as client:
        completion = await client.completions.create(model="m", prompt="1,2,3,")

    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (6, 193)


@pytest.mark.asyncio
async def test_an_offered_tool_is_called_in_fragments() -> None:
    async with client_of(FAST) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[{"type": "function", "function": {"name": "get_weather"}}],
            stream=True,
        )
        choices = [chunk.choices[0] async for chunk in stream]

    calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert [call.function and call.function.name for call in calls] == ["get_weather", None, None, None, None]
    assert [call.id is None for call in calls] == [False, True, True, True, True]
    assert [call.function and call.function.arguments for call in calls] == ["", '{"cit', 'y": "', "Paris", '"}']
    assert choices[0].delta.role == "assistant"
    assert choices[-1].finish_reason == "tool_calls"


@pytest.mark.asyncio
async def test_a_tool_is_called_whole_without_a_stream_and_its_result_answered_in_words() -> None:
    async with client_of(FAST) as client:
        first = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[{"type": "function", "function": {"name": "get_weather"}}],
        )
        calls = first.choices[0].message.tool_calls
        assert calls is not None
        call = calls[0]
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        second = await client.chat.completions.create(
            model="m",
            messages=[
                {"role": "user", "content": "What is the weather in Paris?"},
                {"role": "tool", "tool_call_id": call.id, "content": "18, sunny"},
            ],
            tools=[{"type": "function", "function": {"name": "get_weather"}}],
        )

    assert (first.choices[0].message.content, first.choices[0].finish_reason) == (None, "tool_calls")
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')
    assert second.choices[0].message.content == "It is 18 degrees and sunny in Paris."


@pytest.mark.asyncio
async def test_a_response_has_one_id_and_a_seed_repeats_it() -> None:
    async def ids(seed: int) -> list[str]:
        async with client_of(replace(FAST, seed=seed)) as client:
            stream = await client.completions.create(model="m", prompt="1,2,3,", n=2, stream=True)
            whole = await client.completions.create(model="m", prompt="1,2,3,")
            return [*{chunk.id async for chunk in stream}, whole.id]

    first, second = await ids(7)
    assert first != second
    assert await ids(7) == [first, second]
    assert await ids(8) != [first, second]


@pytest.mark.parametrize(
    ("status", "error", "kind", "code", "retry_after"),
    [
        (400, openai.BadRequestError, "invalid_request_error", None, None),
        (401, openai.AuthenticationError, "invalid_request_error", "invalid_api_key", None),
        (429, openai.RateLimitError, "requests", "rate_limit_exceeded", "1"),
        (500, openai.InternalServerError, "server_error", None, None),
        (503, openai.InternalServerError, "server_error", None, "1"),
    ],
)
@pytest.mark.asyncio
async def test_an_error_comes_on_demand_by_header_or_by_model(
    status: int, error: type[openai.APIStatusError], kind: str, code: str | None, retry_after: str | None
) -> None:
    async with client_of(FAST) as client:
        with pytest.raises(error) as by_model:
            await client.completions.create(model=f"error-{status}", prompt="Ping?", stream=True)
        with pytest.raises(error) as by_header:
            await client.models.list(extra_headers={"x-demo-status": str(status)})

    for raised in (by_model.value, by_header.value):
        assert (raised.status_code, raised.code) == (status, code)
        assert raised.response.headers.get("retry-after") == retry_after
        assert raised.message == f"Error code: {status} - error {status}, as the request demanded"
        assert raised.body == {
            "message": f"error {status}, as the request demanded",
            "type": kind,
            "param": None,
            "code": code,
        }


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        ("chat/completions", b"{", "request body: expected JSON, found something else: Input data was truncated", None),
        ("chat/completions", b"[]", "request body: Expected `object`, got `array`", None),
        ("chat/completions", b"{}", "request body: Object missing required field `messages`", "messages"),
        (
            "chat/completions",
            b'{"messages": []}',
            "request body: Expected `array` of length >= 1 - at `$.messages`",
            "messages",
        ),
        ("completions", b"{}", "request body: Object missing required field `prompt`", "prompt"),
        ("completions", b'{"prompt": "", "n": 0}', "request body: Expected `int` from 1 to 128, got 0 - at `$.n`", "n"),
        (
            "completions",
            b'{"prompt": "", "max_tokens": -1}',
            "request body: Expected `int` from 1 to 1000000, got -1 - at `$.max_tokens`",
            "max_tokens",
        ),
        (
            "completions",
            b'{"prompt": "", "stream": "yes"}',
            "request body: Expected `bool | null`, got `str` - at `$.stream`",
            "stream",
        ),
        (
            "completions",
            b'{"prompt": "", "model": "error-200"}',
            "demanded status: expected 400 to 599, found '200'",
            None,
        ),
    ],
)
@pytest.mark.asyncio
async def test_a_bad_request_is_told_what_was_found_and_what_was_expected(
    path: str, body: bytes, message: str, param: str | None
) -> None:
    status, content_type, text = await post(FAST, f"/v1/{path}", body)

    assert (status, content_type) == (400, "application/json")
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    assert json.loads(text) == {"error": error}


@pytest.mark.asyncio
async def test_an_unknown_route_is_an_error_in_openais_form() -> None:
    status, content_type, text = await post(FAST, "/v1/assistants", {})

    assert (status, content_type) == (404, "application/json")
    assert json.loads(text)["error"]["message"] == "Not Found: POST /v1/assistants"


@pytest.mark.asyncio
async def test_moderation_flags_the_category_of_a_listed_word() -> None:
    async with client_of(FAST) as client:
        response = await client.moderations.create(input=["I could kill for a coffee.", "A skill, idiomatically."])

    flagged, clean = response.results
    assert response.model == "omni-moderation-latest"
    assert (flagged.flagged, flagged.categories.violence, flagged.categories.illicit) == (True, True, False)
    assert (flagged.category_scores.violence, flagged.category_scores.illicit) == (0.98, 0.001)
    assert flagged.category_applied_input_types.violence == ["text"]
    assert (clean.flagged, clean.categories.violence, clean.categories.harassment) == (False, False, False)


@pytest.mark.asyncio
async def test_moderation_judges_the_parts_of_one_message_together() -> None:
    async with client_of(replace(FAST, flagged={"blue heron": "hate"})) as client:
        parts: list[ModerationTextInputParam] = [
            {"type": "text", "text": "It is BLUE"},
            {"type": "text", "text": " HERON."},
        ]
        response = await client.moderations.create(input=parts)

    assert [result.categories.hate for result in response.results] == [True]


@pytest.mark.asyncio
async def test_moderation_judges_an_image_by_its_address_in_the_categories_that_images_are_judged_by() -> None:
    words: dict[str, Category] = {"kill": "violence", "idiot": "harassment"}
    async with client_of(replace(FAST, flagged=words)) as client:
        image: ModerationImageURLInputParam = {"type": "image_url", "image_url": {"url": "https://x/kill-idiot.png"}}
        alone = await client.moderations.create(input=[image])
        both = await client.moderations.create(input=[{"type": "text", "text": "Idiot!"}, image])

    categories, applied = alone.results[0].categories, alone.results[0].category_applied_input_types
    assert (categories.violence, categories.harassment) == (True, False)
    assert (applied.violence, applied.harassment) == (["image"], [])
    categories, applied = both.results[0].categories, both.results[0].category_applied_input_types
    assert (categories.violence, categories.harassment) == (True, True)
    assert (applied.violence, applied.harassment) == (["text", "image"], ["text"])


@pytest.mark.asyncio
async def test_an_older_moderation_model_knows_fewer_categories_and_no_images() -> None:
    _, _, text = await post(FAST, "/v1/moderations", {"model": "text-moderation-latest", "input": "burglary, kill"})

    (result,) = json.loads(text)["results"]
    assert (result["flagged"], result["categories"]["violence"]) == (True, True)
    assert "illicit" not in result["categories"]
    assert "category_applied_input_types" not in result


IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"input": [IMAGE, IMAGE]}, "Number of images (2) exceeds maximum of 1", "too_many_images"),
        ({"input": []}, "length >= 1", None),
        ({}, "missing required field `input`", None),
        ({"input": 1}, "$.input", None),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "Expected strings or parts, got both", None),
        ({"input": [{"type": "image_url"}]}, "Expected a part of type image_url to have one", None),
        ({"input": [{"type": "audio"}]}, "Invalid enum value 'audio'", None),
        ({"input": [IMAGE], "model": "text-moderation-latest"}, "Expected text alone for the model", None),
    ],
)
@pytest.mark.asyncio
async def test_a_moderation_that_can_not_be_is_refused_as_openai_does(
    body: dict[str, object], message: str, code: str | None
) -> None:
    status, content_type, text = await post(FAST, "/v1/moderations", body)

    error = json.loads(text)["error"]
    assert (status, content_type) == (400, "application/json")
    assert message in error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "input", code)


@pytest.mark.asyncio
async def test_the_models_are_listed() -> None:
    async with client_of(replace(FAST, models=["one", "two"], clock=lambda: 1700000000.0)) as client:
        models = [(model.id, model.object, model.created) async for model in client.models.list()]

    assert models == [("one", "model", 1700000000), ("two", "model", 1700000000)]


@pytest.mark.asyncio
async def test_an_answer_in_one_piece_takes_as_long_as_its_stream() -> None:
    time = VirtualTime()
    pace = Provider(first_token_seconds=0.5, token_seconds=0.25, sleep=time.sleep, timer=time)
    provider = replace(pace, answers={"Ping?": ["Po", "ng", "!"]})
    await post(provider, "/v1/completions", {"prompt": "Ping?", "stream": True, "n": 2})
    assert time.slept == [0.5, 0.25, 0.25, 0]

    time.slept.clear()
    await post(provider, "/v1/completions", {"prompt": "Ping?", "n": 2})
    assert time.slept == [1.0]


@pytest.mark.asyncio
async def test_a_delay_is_made_up_for_and_does_not_add_up() -> None:
    time = VirtualTime(late=0.0625)
    pace = Provider(first_token_seconds=0.5, token_seconds=0.25, sleep=time.sleep, timer=time)
    provider = replace(pace, answers={"Ping?": ["a"] * 8})

    await post(provider, "/v1/completions", {"prompt": "Ping?", "stream": True})

    assert time.woken[:8] == [0.5 + 0.25 * token + 0.0625 for token in range(8)]


@pytest.mark.asyncio
async def test_who_is_late_by_more_than_a_token_sends_the_next_at_once() -> None:
    time = VirtualTime(late=0.375)
    pace = Provider(first_token_seconds=0.5, token_seconds=0.25, sleep=time.sleep, timer=time)
    provider = replace(pace, answers={"Ping?": ["a"] * 4})

    await post(provider, "/v1/completions", {"prompt": "Ping?", "stream": True})

    assert time.slept == [0.5, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.asyncio
async def test_a_piece_is_sent_before_the_next_is_waited_for() -> None:
    reading, paced = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds:
            paced.set()
            await reading.wait()

    provider = Provider(answers={"Ping?": ["Po", "ng"]}, first_token_seconds=0, token_seconds=1, sleep=sleep)
    async with client_of(provider) as client:
        stream = await client.completions.create(model="m", prompt="Ping?", stream=True)
        first = await anext(stream)
        await paced.wait()
        reading.set()
        rest = [chunk.choices[0].text async for chunk in stream]

    assert (first.choices[0].text, rest) == ("Po", ["ng", ""])


RECORDED = b"\xef\xbb\xbfdata: one\r\n\r\n: ping\n\ndata: two\rdata: three\r\rdata: caf\xc3\xa9"


@pytest.mark.parametrize("path", ["/recordings/a.b/v1/chat/completions", "/recordings/a.b/v1/completions"])
@pytest.mark.asyncio
async def test_a_recording_is_served_byte_for_byte(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.b.sse").write_bytes(RECORDED)

    async with serve(replace(FAST, recordings=tmp_path)) as url, aiohttp.ClientSession() as session:
        async with session.post(url + path, json={"model": "any"}) as posted:
            assert posted.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert await posted.read() == RECORDED
        async with session.get(f"{url}/recordings/a.b") as got:
            assert await got.read() == RECORDED


@pytest.mark.asyncio
async def test_a_recording_can_be_paced_by_event(tmp_path: Path) -> None:
    (tmp_path / "demo.sse").write_bytes(RECORDED)
    time = VirtualTime()
    provider = replace(FAST, recordings=tmp_path, event_seconds=0.25, sleep=time.sleep, timer=time)
    _, _, text = await post(provider, "/recordings/demo/v1/completions", {})

    assert text.encode() == RECORDED
    assert time.slept == [0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("name", ["missing", "..%2Fsecret", "%2E%2E%2Fsecret", "folder%2F..%2F..%2Fsecret", "a*"])
@pytest.mark.asyncio
async def test_a_name_that_is_no_recording_is_told_the_names_that_are(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.sse").touch()
    (folder / "b.sse").touch()
    (tmp_path / "secret.sse").touch()

    status, content_type, text = await post(replace(FAST, recordings=folder), f"/recordings/{name}/v1/completions", {})

    assert (status, content_type) == (404, "application/json")
    assert json.loads(text)["error"]["message"].startswith("recordings: expected one of a, b, found '")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.asyncio
async def test_a_client_that_leaves_ends_the_answer_at_once(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stuck = Stuck()

    async with serve(replace(FAST, sleep=stuck)) as url, aiohttp.ClientSession() as session:
        request = asyncio.ensure_future(session.post(f"{url}/v1/completions", json={"prompt": "", "stream": stream}))
        async with asyncio.timeout(10):
            await stuck.started.wait()
            request.cancel()
            await session.close()
            await stuck.ended.wait()

    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.asyncio
async def test_leaving_serve_cuts_off_an_answer_and_leaves_nothing(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck()

    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        async with serve(replace(FAST, sleep=stuck)) as url:
            body = {"prompt": "", "stream": stream}
            request = asyncio.ensure_future(session.post(f"{url}/v1/completions", json=body))
            await stuck.started.wait()
        assert stuck.ended.is_set()
        assert asyncio.all_tasks() <= {asyncio.current_task(), request}
        with pytest.raises(aiohttp.ClientError):
            await (await request).read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{url}/v1/models")

    assert caplog.records == []


@pytest.mark.asyncio
async def test_no_request_and_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async with serve(FAST) as url, aiohttp.ClientSession(headers={"authorization": "Bearer sk-secret"}) as session:
        for path in ("chat/completions", "completions", "moderations", "nowhere"):
            for body in (
                b'{"prompt": "sk-secret", "input": "sk-secret"}',
                b'{"prompt": ["sk-secret", 1]',
                b"sk-secret",
            ):
                async with session.post(f"{url}/v1/{path}", data=body) as response:
                    assert "sk-secret" not in await response.text()

    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("text", ["", "1,2, 3 , 4\n\n5", " naïve—café, 中文 \t👩‍🚀 \u2028x", script.PARAGRAPH])
def test_the_pieces_of_a_text_join_to_the_text(text: str) -> None:
    assert "".join(script.pieces(text)) == text
