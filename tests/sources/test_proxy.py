"""Further options are passed on to aiohttp."""

import pytest

import streamkit as sk
from tests.fire import server
from tests.fire.server import DONE, FINISH, TEXT


@pytest.mark.asyncio
async def test_a_proxy_is_asked_for_the_whole_address() -> None:
    paths = {"http://provider.invalid/v1": server.body(TEXT, FINISH, DONE)}
    async with server.serve(paths) as (url, _):
        source = sk.http.get("http://provider.invalid/v1", proxy=url)
        async with source | sk.Parse() | sk.Extract() as events:
            seen = [event async for event in events]
    assert sk.TextDelta("Hello") in seen
    assert seen[-1] == sk.StreamEnd("completed", saw_done=True)


@pytest.mark.asyncio
async def test_a_redirect_is_followed_to_the_stream() -> None:
    found = server.body(
        head=b"HTTP/1.1 307 Temporary\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n"
    )
    async with server.serve({"here": found, "there": server.body(TEXT, FINISH, DONE)}) as (url, _):
        async with sk.http.post(f"{url}/here", json={}) | sk.Parse() | sk.Extract() as events:
            seen = [event async for event in events]
    assert sk.TextDelta("Hello") in seen
