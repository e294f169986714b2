"""Classifiers behind HTTP, over real connections: what is asked, what is answered, and what goes wrong on the way."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.moderation import Decision, Window
from streamkit.moderation.classifiers.classifier import failure_of
from streamkit.moderation.classifiers.remote import http_classifier, openai_moderation
from streamkit.sources.http import Deadlines
from streamkit.sources.retry import Retry

pytestmark = pytest.mark.asyncio
FAST = Provider(first_token_seconds=0, token_seconds=0)
KILL = Window(0, "you could kill", "And so ")
KEY = "sk-secret"
CLEAN = {"results": [{"flagged": False, "categories": {}, "category_scores": {}}]}


@asynccontextmanager
async def server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.router.add_post("/v1/moderations", answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("options", "text", "verdict"),
    [
        ({}, "all is well", ("allow", "")),
        ({}, "you could kill", ("block", "violence")),
        ({"actions": "annotate"}, "you could kill", ("annotate", "violence")),
        ({"actions": {"violence": "redact"}}, "you could kill", ("redact", "violence")),
        ({"actions": {"violence": "redact"}}, "kill the idiot", ("block", "harassment")),
        ({"thresholds": {"violence": 0.99}}, "you could kill", ("allow", "")),
        ({"thresholds": {"violence": 0.99}}, "kill the idiot", ("block", "harassment")),
        ({"thresholds": {"hate": 0.001}}, "all is well", ("block", "hate")),
        ({"model": "text-moderation-latest"}, "burglary", ("allow", "")),
    ],
)
async def test_openais_endpoint_judges_by_its_flags_or_by_thresholds(
    options: Any, text: str, verdict: tuple[str, str]
) -> None:
    async with serve(FAST) as url:
        found = await openai_moderation(f"{url}/v1", key=KEY, **options)(Window(0, text))
    assert (found.action, found.category) == verdict
    assert found.scores["violence"] == (0.98 if "kill" in text else 0.001)


async def test_the_context_the_model_and_the_key_are_sent_as_openai_wants_them() -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["authorization"], await request.json()))
        return web.json_response(CLEAN)

    async with server(answer) as url:
        assert await openai_moderation(f"{url}/", key=KEY)(KILL) == Decision()
    assert seen == [("Bearer sk-secret", {"model": "omni-moderation-latest", "input": "And so you could kill"})]


async def test_any_endpoint_can_be_asked_and_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        question = await request.json()
        return web.json_response({"toxic": 0.9 if "kill" in question["inputs"] else 0.1})

    def verdict(answered: Any) -> Decision:
        return sk.moderation.Decision("block" if answered["toxic"] > 0.5 else "allow", scores=answered)

    async with server(answer) as url:
        classifier = http_classifier(
            f"{url}/moderations", request=lambda window: {"inputs": window.text}, verdict=verdict
        )
        assert await classifier(KILL) == Decision("block", scores={"toxic": 0.9})
        assert await classifier(Window(1, "fine")) == Decision(scores={"toxic": 0.1})


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([{"flagged": True}], ("block", "flagged")),
        ([{"flagged": True, "categories": {"a": True, "b": None}}], ("block", "a")),
        ([{"flagged": False, "category_scores": {"a": None, "b": 0.5}}], ("allow", "")),
    ],
)
async def test_servers_that_only_speak_about_as_openai_does(results: list[Any], verdict: tuple[str, str]) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": results})

    async with server(answer) as url:
        found = await openai_moderation(url)(KILL)
    assert (found.action, found.category) == verdict


# What goes wrong


BRIEF = Deadlines(connect=2.0, first_byte=2.0, idle_bytes=0.05)


@pytest.mark.parametrize(
    ("headers", "raised", "failure"),
    [
        ({"x-demo-status": "401"}, sk.StatusError, "refused"),
        ({"x-demo-status": "429"}, sk.StatusError, "status"),
        ({"x-demo-status": "503"}, sk.StatusError, "status"),
        ({"x-demo-fault": "html"}, sk.errors.ContentTypeError, "answer"),
        ({"x-demo-fault": "json-error"}, sk.errors.ProtocolError, "answer"),
        ({"x-demo-fault": "wrong-json"}, sk.errors.ProtocolError, "answer"),
        ({"x-demo-fault": "garbage=30"}, sk.errors.ProtocolError, "answer"),
        ({"x-demo-fault": "cut=30:clean"}, sk.errors.ProtocolError, "answer"),
        ({"x-demo-fault": "endless-line"}, sk.errors.LimitExceeded, "answer"),
        ({"x-demo-fault": "cut=30"}, sk.errors.Disconnected, "connect"),
        ({"x-demo-fault": "reset=30"}, sk.errors.Disconnected, "connect"),
        ({"x-demo-fault": "wrong-length"}, sk.errors.Disconnected, "connect"),
        ({"x-demo-fault": "stall=30"}, sk.errors.DeadlineExceeded, "timeout"),
        ({"x-demo-fault": "stall=0"}, sk.errors.DeadlineExceeded, "timeout"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
async def test_each_fault_is_one_kind_of_failure_and_says_nothing_of_the_key_or_the_text(
    headers: dict[str, str], raised: type[Exception], failure: str
) -> None:
    async with serve(FAST) as url:
        with pytest.raises(raised) as caught:
            await openai_moderation(f"{url}/v1", key=KEY, headers=headers, deadlines=BRIEF, retry=None)(KILL)

    assert failure_of(caught.value) == failure
    told = "".join(map(repr, [caught.value, caught.value.__cause__, getattr(caught.value, "__notes__", "")]))
    assert KEY not in told + str(caught.value)
    assert "kill" not in told + str(caught.value)


async def test_no_connection_is_a_failure_of_its_own() -> None:
    async with serve(FAST) as url:
        pass
    with pytest.raises(sk.errors.ConnectFailed):
        await openai_moderation(f"{url}/v1", retry=None)(KILL)


async def test_no_verdict_within_the_total_deadline() -> None:
    async with serve(FAST) as url:
        classifier = openai_moderation(
            f"{url}/v1", headers={"x-demo-fault": "drip=1:0.01"}, deadlines=Deadlines(total=0.05)
        )
        with pytest.raises(sk.errors.DeadlineExceeded, match=r"'total' of 0\.05 s"):
            await classifier(KILL)


@pytest.mark.parametrize("failing", ["status", "broken body", "connection"])
async def test_after_a_failure_that_may_pass_it_is_asked_again(failing: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(await request.text())
        if len(asked) > 1:
            return web.json_response(CLEAN)
        if failing == "status":
            return web.Response(status=429, headers={"retry-after-ms": "1"})
        if failing == "broken body":
            response = web.StreamResponse(headers={"content-length": "100"})
            await response.prepare(request)
            await response.write(b'{"results":')
        assert request.transport
        request.transport.close()
        return web.Response()

    async with server(answer) as url:
        assert await openai_moderation(url, retry=Retry(attempts=2, first=0.001))(KILL) == Decision()
    assert len(asked) == 2
    assert asked[0] == asked[1]


async def test_it_is_asked_no_more_often_than_the_retries_allow() -> None:
    asked: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(1)
        return web.Response(status=503)

    async with server(answer) as url:
        with pytest.raises(sk.StatusError):
            await openai_moderation(url, retry=Retry(attempts=3, first=0.001))(KILL)
    assert len(asked) == 3


async def test_what_the_reader_of_an_answer_raises_is_told_by_its_class_alone() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"text": "you could kill"})

    def verdict(answered: Any) -> Decision:
        raise KeyError(answered["text"])

    async with server(answer) as url:
        classifier = http_classifier(f"{url}/moderations?key={KEY}", request=lambda window: {}, verdict=verdict)
        with pytest.raises(sk.errors.ProtocolError, match="found an answer that raises KeyError") as caught:
            await classifier(KILL)
    assert "kill" not in str(caught.value)
    assert KEY not in repr(classifier) + str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


# Connections


async def connections(use: Callable[[str], Awaitable[None]]) -> int:
    peers: set[Any] = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response(CLEAN)

    async with server(answer) as url:
        await use(url)
    return len(peers)


async def test_with_a_block_or_a_lent_session_checks_share_a_connection() -> None:
    async def alone(url: str) -> None:
        classifier = openai_moderation(url)
        for _ in range(3):
            await classifier(KILL)

    async def block(url: str) -> None:
        async with openai_moderation(url) as classifier:
            for _ in range(3):
                await classifier(KILL)

    async def lent(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                await openai_moderation(url, session=session)(KILL)
            async with openai_moderation(url, session=session):
                pass
            assert not session.closed

    assert [await connections(use) for use in (alone, block, lent)] == [3, 1, 1]


async def test_a_check_that_is_cancelled_leaves_nothing() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        came.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    before = asyncio.all_tasks()
    async with server(answer) as url:
        check = asyncio.ensure_future(openai_moderation(url)(KILL))
        await came.wait()
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check
        await asyncio.wait_for(gone.wait(), 5)
    assert asyncio.all_tasks() == before


# In the stream


async def answer_of(url: str, stage: sk.Classify) -> list[sk.Event]:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "plan"}]}
    async with sk.http.post(f"{url}/v1/chat/completions", json=body) | sk.Parse() | sk.Extract() | stage as stream:
        return [event async for event in stream if isinstance(event, sk.TextDelta | sk.events.Checked | sk.Blocked)]


PLAN = Provider(
    answers={"plan": ["First", " we talk. ", "Then ", "we kill", " them. ", "Then", " home."]},
    first_token_seconds=0,
    token_seconds=0,
)
WHOLE = "First we talk. Then we kill them. Then home."


@pytest.mark.parametrize(
    ("headers", "failures", "outcomes", "text"),
    [
        ({}, "closed", ["passed", "flagged"], "First we talk. "),
        ({"x-demo-status": "503"}, "closed", ["failed_closed"], ""),
        ({"x-demo-status": "503"}, "open", ["failed_open"] * 3, WHOLE),
        ({"x-demo-status": "503"}, sk.moderation.Failures(status="hold", attempts=2, pause=0), ["failed_closed"], ""),
        ({"x-demo-fault": "stall=9"}, sk.moderation.Failures(timeout="open"), ["failed_open"] * 3, WHOLE),
        ({"x-demo-fault": "wrong-json"}, sk.moderation.Failures(timeout="open"), ["failed_closed"], ""),
    ],
)  # fmt: skip
async def test_a_failure_of_the_endpoint_is_answered_by_the_policy(
    headers: dict[str, str], failures: Any, outcomes: list[str], text: str
) -> None:
    async with serve(PLAN) as url:
        async with openai_moderation(f"{url}/v1", headers=headers, deadlines=BRIEF, retry=None) as classifier:
            events = await answer_of(url, sk.Classify(classifier, failures=failures))

    assert [event.outcome for event in events if isinstance(event, sk.events.Checked)] == outcomes
    assert "".join(event.text for event in events if isinstance(event, sk.TextDelta)) == text


async def test_a_deadline_of_the_stage_ends_a_check_that_stalls() -> None:
    async with serve(PLAN) as url:
        classifier = openai_moderation(f"{url}/v1", headers={"x-demo-fault": "stall=9"})
        checked, blocked = await answer_of(url, sk.Classify(classifier, deadline=0.05))

    assert checked == sk.events.Checked("failed_closed", 0, 15, category="unchecked", failure="timeout")
    assert blocked == sk.Blocked("unchecked", 0, 15, source="classifier")
