"""Retries: only until the first item is released, and recorded in `attempts`."""

import asyncio

import pytest

import streamkit as sk
from streamkit.sources import http
from streamkit.sources.retry import Retry
from tests.fire import server
from tests.fire.server import DONE, FINISH, TEXT, Misbehaviour

GOOD = server.body(TEXT, FINISH, DONE)
AT_ONCE = Retry(attempts=3, first=0.0)


def one_after_the_other(*ways: Misbehaviour) -> Misbehaviour:
    left = iter(ways)

    async def next_way(writer: asyncio.StreamWriter) -> None:
        await next(left)(writer)

    return next_way


async def answer(*ways: Misbehaviour, retry: Retry = AT_ONCE) -> tuple[str, list[str]]:
    async with server.serve({"it": one_after_the_other(*ways)}) as (url, _):
        source = http.post(f"{url}/it", json={}, retry=retry)  # aiohttp itself repeats a GET
        text = ""
        async with source | sk.Parse() | sk.Extract() as events:
            async for event in events:
                if isinstance(event, sk.TextDelta):
                    text += event.text
        return text, source.attempts


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("first", "name"),
    [
        (server.status(429, b"retry-after: 0\r\n"), "StatusError"),
        (server.status(500), "StatusError"),
        (server.closed_without_answer, "Disconnected"),
        (server.body(head=server.HEAD + b"content-length: 100\r\n"), "Disconnected"),
        (server.body(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'), "ProviderError"),
    ],
    ids=["429", "500", "closed", "broken before the first event", "overloaded as the first event"],
)
async def test_what_may_succeed_later_is_tried_again(first: Misbehaviour, name: str) -> None:
    assert await answer(first, GOOD) == ("Hello", [name])


@pytest.mark.asyncio
async def test_an_error_that_comes_back_is_raised_after_the_last_attempt() -> None:
    with pytest.raises(sk.StatusError) as caught:
        await answer(server.status(503), server.status(503), server.status(503), GOOD)
    assert caught.value.status == 503


@pytest.mark.asyncio
async def test_a_refusal_is_not_tried_again() -> None:
    with pytest.raises(sk.StatusError) as caught:
        await answer(server.status(401), GOOD)
    assert caught.value.status == 401


@pytest.mark.asyncio
async def test_once_something_was_released_nothing_is_tried_again() -> None:
    broken = server.body(TEXT, head=server.HEAD + b"content-length: 10000\r\n")
    with pytest.raises(sk.errors.Disconnected):
        await answer(broken, GOOD)


@pytest.mark.asyncio
async def test_without_retry_there_is_one_attempt() -> None:
    async with server.serve({"it": one_after_the_other(server.status(503), GOOD)}) as (url, _):
        with pytest.raises(sk.StatusError):
            async with http.get(f"{url}/it") | sk.Parse():
                pass


def status_error(**headers: str) -> sk.StatusError:
    return sk.StatusError("no", status=429, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (status_error(retry_after="7"), 7.0),
        (status_error(retry_after_ms="250"), 0.25),
        (
            status_error(retry_after="Fri, 31 Dec 1999 23:59:59 GMT", date="Fri, 31 Dec 1999 23:59:29 GMT"),
            30.0,
        ),
        (status_error(retry_after="Fri, 31 Dec 1999 23:59:59 GMT"), 0.5),
        (status_error(retry_after="soon"), 0.5),
        (status_error(), 0.5),
    ],
    ids=["seconds", "milliseconds", "a date", "a date without the server's own", "nonsense", "nothing"],
)
def test_the_wait_is_what_the_server_says_or_half_a_second(error: sk.StatusError, wait: float) -> None:
    assert Retry(random=lambda: 1.0).wait(1, error) == wait


def test_the_waits_double_up_to_the_longest_and_vary_by_half() -> None:
    longest = [Retry(attempts=9, random=lambda: 1.0).wait(failed, sk.errors.Disconnected("")) for failed in range(1, 8)]
    shortest = [
        Retry(attempts=9, random=lambda: 0.0).wait(failed, sk.errors.Disconnected("")) for failed in range(1, 8)
    ]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert shortest == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


@pytest.mark.asyncio
async def test_a_wait_beyond_the_budget_is_not_waited() -> None:
    with pytest.raises(sk.StatusError):
        await answer(server.status(429, b"retry-after: 31\r\n"), GOOD, retry=Retry(budget=30.0))
