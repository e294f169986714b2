"""Options of other clients: creating the source raises an error that names the equivalent, before anything is sent."""

from typing import Any

import aiohttp
import httpx2
import pytest

import streamkit as sk
from streamkit.sources.options import scheme_problem
from streamkit.sources.retry import Retry

URL = "https://api.example/v1"
KEY = "sk-secret"

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "timeout": ({"timeout": 30}, r"timeout: expected deadlines=streamkit.http.Deadlines\(…\) instead"),
    "read timeout": ({"read_timeout": 30}, r"read_timeout: expected deadlines=streamkit.http.Deadlines\(…\) instead"),
    "key": ({"api_key": KEY}, "api_key: expected headers={'authorization': f'Bearer {key}'}"),
    "token": ({"token": KEY}, "token: expected headers="),
    "stream": ({"stream": True}, "stream: expected it as a field of json={…} instead"),
    "model": ({"model": "m"}, "model: expected it as a field of json={…} instead"),
    "messages": ({"messages": [{"content": KEY}]}, "messages: expected it as a field of json={…} instead"),
    "body": ({"body": {"a": KEY}}, "body: expected json={…}, or data=b'…' for bytes instead"),
    "content": ({"content": KEY.encode()}, "content: expected json={…}, or data=b'…' for bytes instead"),
    "data for JSON": (
        {"data": {"messages": [KEY]}},
        "data: expected bytes, text or a form, found data for JSON: write json={…}",
    ),
    "json and data": ({"json": {}, "data": KEY}, "expected json or data, found both"),
    "certificates": ({"verify": False}, r"verify: expected ssl=False or ssl=ssl.SSLContext\(…\) instead"),
    "proxies": ({"proxies": {"https": KEY}}, "proxies: expected proxy='http://…' instead"),
    "redirects": (
        {"follow_redirects": True},
        "follow_redirects: expected redirects='never', 'same-origin' or 'any' instead",
    ),
    "retries": ({"max_retries": 2}, r"max_retries: expected retry=streamkit.sources.retry.Retry\(…\) instead"),
    "files": ({"files": {}}, r"files: expected data=aiohttp.FormData\(…\) instead"),
    "client": ({"client": object()}, r"client: expected session=aiohttp.ClientSession\(…\) instead"),
    "extra headers": ({"extra_headers": {"a": KEY}}, "extra_headers: expected headers={…} instead"),
    "extra body": ({"extra_body": {"a": KEY}}, "extra_body: expected json={…}"),
    "base URL": ({"base_url": KEY}, "base_url: expected the whole address as the first argument instead"),
    "a slip": ({"jsn": {}}, "jsn: expected an option that there is; did you mean json?"),
    "another slip": ({"deadline": 3}, "deadline: expected an option that there is; did you mean deadlines?"),
    "a pair of credentials": (
        {"auth": ("me", KEY)},
        "auth: expected headers={'authorization': .* instead, found .* tuple",
    ),
    "seconds for deadlines": ({"deadlines": 30}, r"deadlines: expected streamkit.http.Deadlines\(…\), found .* int"),
    "a dict for deadlines": (
        {"deadlines": {"total": 3}},
        r"deadlines: expected streamkit.http.Deadlines\(…\), found .* dict",
    ),
    "a number for retry": ({"retry": 3}, r"retry: expected streamkit.sources.retry.Retry\(…\), found .* int"),
    "a URL for a session": ({"session": KEY}, r"session: expected aiohttp.ClientSession\(…\), found .* str"),
}


@pytest.mark.parametrize("make", [sk.http.post, sk.http.get, sk.feed], ids=lambda make: make.__name__)
@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG.keys())
def test_an_option_of_another_client_is_said_with_the_one_to_write(
    make: Any, options: dict[str, Any], message: str
) -> None:
    if make is sk.feed and ("retry" in options or "data" in options):
        pytest.skip("a feed has options of its own for that")

    with pytest.raises(sk.PipelineError, match=message) as caught:
        make(URL, **options)

    assert KEY not in str(caught.value)


@pytest.mark.anyio
async def test_a_session_of_another_client_is_said() -> None:
    async with httpx2.AsyncClient() as client:
        with pytest.raises(
            sk.PipelineError, match=r"session: expected aiohttp.ClientSession\(…\), found .* AsyncClient"
        ):
            sk.http.post(URL, session=client)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_aiohttp_s_own_options_and_objects_are_taken() -> None:
    async with aiohttp.ClientSession() as session:
        source = sk.http.post(
            URL,
            data=aiohttp.FormData({"model": "m"}),
            params={"a": "b"},
            proxy="http://proxy.example",
            ssl=False,
            cookies={"a": "b"},
            session=session,
            retry=Retry(),
            deadlines=sk.http.Deadlines(total=3),
        )
    assert repr(source) == f"<POST {URL}>"
    assert repr(sk.http.post(URL, data={"model": "m", "n": "1"})) == f"<POST {URL}>"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://api.example", None),
        ("HTTP://api.example", None),
        ("api.example/v1", "found none: does it lack https:// at the beginning?"),
        ("localhost:8000/v1", "found none: does it lack https:// at the beginning?"),
        ("//api.example/v1", "found none: does it lack https:// at the beginning?"),
        ("/v1/chat/completions", "found none: does it lack https:// at the beginning?"),
        ("", "found none: does it lack https:// at the beginning?"),
        ("ws://api.example", "found another scheme"),
        ("file:///etc/passwd", "found another scheme"),
    ],
)
def test_an_address_has_a_scheme(url: str, problem: str | None) -> None:
    assert scheme_problem(url) == problem


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["api.example/v1?key=sk-secret", "localhost:8000/v1", "//api.example", "ws://api.example", ""]
)
async def test_an_address_without_a_scheme_is_said_when_the_stream_is_opened(url: str) -> None:
    for source in (sk.http.post(url), sk.http.get(url)):
        with pytest.raises(
            sk.errors.ConnectFailed, match=r"expected http://host/path or https://…, found (none|another)"
        ) as caught:
            await (source | sk.Parse()).collect()
        assert KEY not in str(caught.value)
