"""The request's body decides between a stream and one JSON object, and on usage; on both frameworks."""

import asyncio
import json
import logging
from typing import Any

import aiohttp
import pytest

import streamkit as sk
from tests.sinks.servers import Serve, Watched

pytestmark = pytest.mark.asyncio

ANSWER: list[Any] = [
    sk.events.ResponseStart("msg_1", "message", model="claude-x"),
    sk.TextDelta("It is "),
    sk.TextDelta("blue."),
    sk.ToolCallDelta(0, None, "look"),
    sk.Finish("tool_use"),
    sk.Usage(3, 4),
    sk.StreamEnd("tool_calls"),
]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
CHAT = {"model": "gpt-4o", "messages": []}


async def post(serve: Serve, items: list[Any], body: Any, **options: Any) -> tuple[int, str, str]:
    """The status, the content type and the text."""
    async with (
        serve(lambda _: Watched(items)(), **options) as url,
        aiohttp.request("POST", url, json=body) as got,
    ):
        return got.status, got.content_type, await got.text()


def chunks_of(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(
    ("more", "usages"),
    [
        ({}, []),
        ({"stream_options": None}, []),
        ({"stream_options": {}}, []),
        ({"stream_options": {"include_usage": False}}, []),
        ({"stream_options": {"include_usage": "yes"}}, []),
        ({"stream_options": ["include_usage"]}, []),
        ({"stream_options": {"include_usage": True}}, [USAGE]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("emit", [None, sk.Emit(include_usage=True)], ids=["", "with an emitter"])
async def test_only_a_client_that_requests_the_usage_gets_a_chunk_without_choices(
    serve: Serve, more: dict[str, Any], usages: list[Any], emit: sk.Emit | None
) -> None:
    status, kind, text = await post(serve, ANSWER, CHAT | {"stream": True} | more, emit=emit)
    assert (status, kind) == (200, "text/event-stream")
    assert [chunk["usage"] for chunk in chunks_of(text) if not chunk["choices"]] == usages
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"stream": None}], ids=repr)
async def test_a_client_that_does_not_request_a_stream_gets_the_whole_answer(
    serve: Serve, more: dict[str, Any]
) -> None:
    status, kind, text = await post(serve, ANSWER, CHAT | more, headers={"x-request-id": "7"})
    whole = json.loads(text)
    (call,) = whole["choices"][0]["message"].pop("tool_calls")
    assert (status, kind) == (200, "application/json")
    assert (call["id"][:5], call["type"], call["function"]) == (
        "call_",
        "function",
        {"name": "look", "arguments": "{}"},
    )
    assert whole.pop("created") > 1_700_000_000
    assert whole == {
        "id": "msg_1",
        "object": "chat.completion",
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is blue.", "refusal": None},
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USAGE,
    }


@pytest.mark.parametrize("body", [[1], "text", 7, {"stream": "yes", "model": 3, "stream_options": 1}], ids=repr)
async def test_a_body_that_is_no_request_is_the_providers_to_refuse(serve: Serve, body: Any) -> None:
    status, kind, _ = await post(serve, [sk.StatusError("no", status=422)], body)
    assert (status, kind) == (422, "application/json")


async def test_the_whole_answer_is_the_pipelines_own_completion_if_it_makes_one(serve: Serve) -> None:
    own = sk.Completion((sk.events.Choice(0, "mine", "stop"),), end="completed")
    _, _, text = await post(serve, [*ANSWER[:-1], own, ANSWER[-1]], CHAT)
    assert json.loads(text)["choices"][0]["message"]["content"] == "mine"


async def test_the_whole_answer_is_the_last_one_that_began(serve: Serve) -> None:
    first = [sk.TextDelta("void"), sk.Completion((sk.events.Choice(0, "void"),)), sk.events.Reset("again")]
    _, _, text = await post(serve, [*first, *ANSWER], CHAT)
    assert json.loads(text)["choices"][0]["message"]["content"] == "It is blue."


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_with_a_prompt_gets_a_completion_of_the_older_kind(serve: Serve, stream: bool) -> None:
    body = {"model": "davinci-002", "prompt": "x", "stream": stream}
    _, _, text = await post(serve, [sk.TextDelta("a"), sk.Finish("stop"), sk.StreamEnd("completed")], body)
    answers = chunks_of(text) if stream else [json.loads(text)]
    assert {(answer["object"], answer["model"]) for answer in answers} == {("text_completion", "davinci-002")}
    assert "".join(choice["text"] for answer in answers for choice in answer["choices"]) == "a"
    assert answers[-1]["choices"][0]["finish_reason"] == "stop"
    assert answers[0]["id"].startswith("cmpl-")


@pytest.mark.parametrize("stream", [True, False])
async def test_each_response_has_an_id_of_its_own_where_the_provider_gave_none(serve: Serve, stream: bool) -> None:
    items = [sk.ToolCallDelta(0, None, "f"), sk.Finish("stop"), sk.StreamEnd("completed")]
    answers: list[Any] = []
    for _ in range(2):
        _, _, text = await post(serve, items, CHAT | {"stream": stream})
        answers.append(chunks_of(text) if stream else [json.loads(text)])
    ids = [{answer["id"] for answer in each} for each in answers]
    calls = [json.dumps(each).partition("call_")[2][:24] for each in answers]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]
    assert calls[0] != calls[1]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_emitter_gives_the_identity_that_the_provider_did_not(serve: Serve, stream: bool) -> None:
    emit = sk.Emit(id="req-7", created=1795466043, model="ours")
    _, _, text = await post(serve, [sk.Finish("stop"), sk.StreamEnd("completed")], CHAT | {"stream": stream}, emit=emit)
    answer = chunks_of(text)[0] if stream else json.loads(text)
    assert (answer["id"], answer["created"], answer["model"]) == ("req-7", 1795466043, "ours")


# Failures


@pytest.mark.parametrize("before", [[], [sk.TextDelta("a")]], ids=["at once", "after text"])
@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ([sk.StatusError("no", status=429, headers={"retry-after": "7"})], 429, "rate_limit_exceeded"),
        ([sk.StatusError("no", status=503)], 502, None),
        ([sk.errors.DeadlineExceeded("late")], 504, "timeout"),
        ([sk.errors.Disconnected("gone")], 502, "truncated"),
        ([sk.StreamEnd("provider_error"), sk.ProviderError("no", code="overloaded")], 502, "overloaded"),
        ([sk.StreamEnd("provider_error")], 502, "provider_error"),
        ([sk.StreamEnd("truncated")], 502, "truncated"),
        ([sk.StreamEnd("cancelled")], 502, "cancelled"),
        ([sk.StreamEnd("unknown")], 502, "unknown"),  # type: ignore[arg-type]
        ([], 502, "truncated"),
    ],
    ids=repr,
)
async def test_a_whole_answer_that_fails_is_an_error_with_its_status(
    serve: Serve, before: list[Any], failure: list[Any], status: int, code: Any
) -> None:
    got, kind, text = await post(serve, [*before, *failure], CHAT)
    error = json.loads(text)["error"]
    assert (got, kind, error["code"]) == (status, "application/json", code)
    assert error.keys() == {"message", "type", "param", "code"}


async def test_an_answer_without_any_event_is_none(serve: Serve) -> None:
    status, _, text = await post(serve, [], CHAT | {"stream": True})
    assert (status, json.loads(text)["error"]["code"]) == (502, "truncated")


async def test_a_mistake_of_this_program_is_the_frameworks_to_report(serve: Serve) -> None:
    status, _, text = await post(serve, [sk.TextDelta("a"), KeyError("a secret")], CHAT)
    assert status == 500
    assert "secret" not in text


@pytest.mark.parametrize("item", [sk.sse.ServerSentEvent.of("{}"), b"data: {}\n\n"], ids=["an event", "bytes"])
async def test_what_is_written_already_can_not_become_a_whole_answer(
    serve: Serve, item: Any, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, _ = await post(serve, [item], CHAT)
    assert status == 500
    (error,) = {str(record.exc_info[1]) for record in caplog.records if record.exc_info}
    assert error.startswith("this client did not ask for a stream: expected an answer's events, found ")
    assert "leave out Emit()" in error


DETAIL = sk.ProviderError(
    "event 1: …", code="too_long", type="invalid_request_error", detail="Your prompt has 9 tokens"
)


@pytest.mark.parametrize("before", [[], [sk.TextDelta("a")]], ids=["at once", "after text"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("details", [False, True])
async def test_the_providers_message_is_passed_on_by_option(
    serve: Serve, before: list[Any], stream: bool, details: bool
) -> None:
    items = [*before, sk.StreamEnd("provider_error"), DETAIL]
    _, _, text = await post(serve, items, CHAT | {"stream": stream}, error_details=details)
    error = (chunks_of(text)[-1] if text.startswith("data") else json.loads(text))["error"]
    assert (error["code"], error["type"]) == ("too_long", "invalid_request_error")
    assert error["message"] == ("Your prompt has 9 tokens" if details else "the provider reported an error")


class Refused(sk.StatusError):
    """A status with a reason in its body."""

    code = "context_length_exceeded"
    type = "invalid_request_error"
    detail = "Your prompt has 9 tokens"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("details", "message", "code"),
    [
        (False, "the provider refused the request with status 400", None),
        (True, "Your prompt has 9 tokens", "context_length_exceeded"),
    ],
)
async def test_so_is_the_reason_of_a_status(
    serve: Serve, stream: bool, details: bool, message: str, code: Any, caplog: pytest.LogCaptureFixture
) -> None:
    body = CHAT | {"stream": stream}
    status, _, text = await post(serve, [Refused("no", status=400)], body, error_details=details)
    error = json.loads(text)["error"]
    assert (status, error["message"], error["code"]) == (400, message, code)
    assert error["type"] == "invalid_request_error"
    assert "code 'context_length_exceeded', type 'invalid_request_error'" in caplog.text


@pytest.mark.parametrize("details", [False, True])
async def test_the_log_has_the_code_and_the_type_and_by_option_the_message(
    serve: Serve, details: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await post(serve, [DETAIL], CHAT, log_details=details)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "code 'too_long', type 'invalid_request_error'" in line
    assert ("Your prompt" in line) is details


# Moderation


def moderated(**rule: Any) -> Any:
    rules = sk.Rule("secret", phrases=("blue heron",), **rule)
    events = [sk.TextDelta("a blue"), sk.TextDelta(" heron flies"), sk.Finish("stop"), sk.StreamEnd("completed")]
    return list(sk.Moderate(rules).run(events))


@pytest.mark.parametrize(
    ("rule", "text", "finish"),
    [
        ({"action": "redact"}, "a [redacted] flies", "stop"),
        ({"action": "block"}, "a ", "content_filter"),
        ({"action": "block", "message": "I can't say that."}, "a I can't say that.", "content_filter"),
        ({"action": "stop"}, "a ", "content_filter"),
    ],
    ids=repr,
)
async def test_a_moderated_answer_is_a_normal_one(serve: Serve, rule: Any, text: str, finish: str) -> None:
    status, _, body = await post(serve, moderated(**rule), CHAT)
    choice = json.loads(body)["choices"][0]
    assert (status, choice["message"]["content"], choice["finish_reason"]) == (200, text, finish)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("mode", "quoted"), [("hold", False), ("observe", True)])
async def test_citations_are_sent_unless_something_was_withheld(
    serve: Serve, stream: bool, mode: Any, quoted: bool
) -> None:
    citation = sk.events.Annotation({"type": "url_citation", "url": "https://a.b/c", "title": "The blue heron"})
    events = [sk.TextDelta("a blue heron"), citation, sk.Finish("stop"), sk.StreamEnd("completed")]
    items = list(sk.Moderate(sk.Rule("secret", phrases=("blue heron",)), mode=mode).run(events))
    _, _, text = await post(serve, items, CHAT | {"stream": stream})
    assert ("The blue heron" in text) is quoted


# Disconnects, and the end


@pytest.mark.parametrize("items", [[], ANSWER[:3]], ids=["before the first event", "later"])
async def test_a_client_that_disconnects_closes_the_source_of_a_whole_answer(
    serve: Serve, items: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched([*items, asyncio.Event()])
    ended = asyncio.Event()
    async with serve(lambda _: watched(), on_end=ended.set) as url:

        async def ask() -> None:
            async with aiohttp.request("POST", url, json=CHAT):
                pass

        asking = asyncio.create_task(ask())
        await watched.stalled.wait()
        assert not watched.closed.is_set()
        asking.cancel()
        await asyncio.wait_for(watched.closed.wait(), 5)
        await asyncio.wait_for(ended.wait(), 5)
        assert asking.cancelled()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "items",
    [
        ANSWER,
        [sk.sse.ServerSentEvent.of("a")],
        [],
        [sk.StatusError("no", status=429)],
        [sk.TextDelta("a"), sk.errors.Disconnected("gone")],
        [KeyError("a mistake")],
        [sk.TextDelta("a"), KeyError("a mistake")],
    ],
    ids=["an answer", "events", "nothing", "a refusal", "a failure", "a mistake at once", "a mistake later"],
)
@pytest.mark.parametrize("body", [{}, CHAT, CHAT | {"stream": True}], ids=["any", "whole", "stream"])
async def test_on_end_is_called_once_when_the_source_is_closed(
    serve: Serve, items: list[Any], body: dict[str, Any]
) -> None:
    watched = Watched(items)
    closed: list[bool] = []
    ended = asyncio.Event()

    async def on_end() -> None:
        await asyncio.sleep(0)
        closed.append(watched.closed.is_set())
        ended.set()

    async with serve(lambda _: watched(), on_end=on_end) as url, aiohttp.request("POST", url, json=body) as got:
        try:
            await got.read()
        except aiohttp.ClientPayloadError:
            assert KeyError in map(type, items)
        await asyncio.wait_for(ended.wait(), 5)
    assert closed == [True]


async def test_on_end_is_called_when_a_client_disconnects_in_mid_stream(serve: Serve) -> None:
    ended = asyncio.Event()

    async def on_end() -> None:
        await asyncio.sleep(0.01)  # it may take its time, in spite of the disconnect
        ended.set()

    watched = Watched([*ANSWER[:2], asyncio.Event()])
    async with serve(lambda _: watched(), on_end=on_end) as url:
        async with aiohttp.request("POST", url, json=CHAT | {"stream": True}) as got:
            await got.content.readuntil(b"It is")
            got.close()
        await asyncio.wait_for(ended.wait(), 5)
    assert watched.closed.is_set()


@pytest.mark.parametrize("body", [CHAT, CHAT | {"stream": True}], ids=["whole", "stream"])
async def test_the_response_was_sent_before_on_end_and_an_error_of_it_is_logged(
    serve: Serve, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    received = asyncio.Event()

    async def on_end() -> None:
        await received.wait()
        raise KeyError("the log")

    async with serve(lambda _: Watched(ANSWER)(), on_end=on_end) as url:
        async with aiohttp.request("POST", url, json=body) as got:
            assert (got.status, bool(await asyncio.wait_for(got.read(), 5))) == (200, True)
        received.set()
    assert [(record.name, record.getMessage()) for record in caplog.records if record.exc_info] == [
        ("streamkit.sinks", "on_end failed")
    ]


async def test_on_end_that_takes_too_long_is_cancelled_and_logged(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.sinks.answer.END_SECONDS", 0.01)
    status, _, _ = await post(serve, ANSWER, CHAT, on_end=asyncio.Event().wait)
    assert status == 200
    assert "on_end did not finish within 0.01 s" in caplog.text
