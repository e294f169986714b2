"""The guide's comparison, against the embedded provider and its errors."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp.web
import pytest
from rich.console import Console

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.display.comparison import ComparedAnswer, Comparison, Row, endpoint

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Count to 10"}], "temperature": 0}
TEXT = {"model": "m", "prompt": "1,2,3,", "max_tokens": 5}
PACED = Provider(first_token_seconds=0.03, token_seconds=0.002)
FAST = Provider(first_token_seconds=0, token_seconds=0)
TEN = "\n\n1, 2, 3, 4, 5, 6, 7, 8, 9, 10."


@pytest.mark.asyncio
async def test_it_asks_both_apis_streamed_and_whole_and_measures_what_came() -> None:
    async with serve(PACED) as root:
        compared = await sk.display.compare(f"{root}/v1", CHAT, TEXT)

    assert [(row.api, row.mode, row.tokens, row.typical.end) for row in compared.rows] == [
        ("chat", "streaming", 30, "completed"),
        ("chat", "whole", 30, "completed"),
        ("legacy", "streaming", 5, "length"),
        ("legacy", "whole", 5, "length"),
    ]
    streamed, whole, *_ = compared.rows
    # 21 pieces: the first after 30 ms, the last at 70 ms, which is when the whole answer comes.
    assert streamed.first_byte is not None
    assert whole.first_content is not None
    assert streamed.total is not None
    assert whole.total is not None
    assert 0.03 <= streamed.first_byte == streamed.first_content <= streamed.total
    assert 0.07 <= whole.first_content <= whole.total
    assert whole.tokens_per_second is None
    assert set(compared.saved) == {"chat", "legacy"}


@pytest.mark.asyncio
async def test_the_growth_is_that_of_the_text_and_ends_with_all_of_it() -> None:
    async with serve(PACED) as root:
        compared = await sk.display.compare(f"{root}/v1/chat/completions", CHAT)

    streamed, whole = (row.typical.growth for row in compared.rows)
    assert [length for _, length in streamed] == sorted({length for _, length in streamed})
    assert streamed[-1][1] == whole[-1][1] == len(TEN)
    assert [at for at, _ in streamed] == sorted(at for at, _ in streamed)
    assert len(whole) == 1


@pytest.mark.asyncio
async def test_what_stages_in_between_release_is_what_is_measured() -> None:
    through = sk.Moderate(sk.Rule("five", phrases=("4,5",))) | sk.Count("gpt-4o")
    async with serve(FAST) as root:
        compared = await sk.display.compare(f"{root}/v1", TEXT | {"max_tokens": 4}, through=through)

    assert [row.typical.growth[-1][1] for row in compared.rows] == [len("[redacted],")] * 2


@asynccontextmanager
async def asked(status: int = 200) -> AsyncGenerator[tuple[str, list[tuple[str, dict[str, Any], str | None]]]]:
    """A server that notes paths, bodies and keys, and answers with an empty completion."""
    requests: list[tuple[str, dict[str, Any], str | None]] = []

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
        requests.append((request.path_qs, json.loads(await request.text()), request.headers.get("authorization")))
        choice = {"index": 0, "message": {"content": "hi"}, "text": "hi", "finish_reason": "stop"}
        return aiohttp.web.json_response({"object": "chat.completion", "choices": [choice]}, status=status)

    app = aiohttp.web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    try:
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", requests
    finally:
        await runner.cleanup()


@pytest.mark.asyncio
async def test_the_requests_differ_only_in_whether_they_are_streamed() -> None:
    async with asked() as (root, requests):
        await sk.display.compare(
            f"{root}/v1", CHAT | {"stream": False}, TEXT, headers={"authorization": "Bearer x"}, runs=2
        )

    usage = {"stream_options": {"include_usage": True}}
    chat, text = "/v1/chat/completions", "/v1/completions"
    assert requests == 2 * [
        (chat, CHAT | {"stream": True} | usage, "Bearer x"),
        (chat, CHAT | {"stream": False}, "Bearer x"),
        (text, TEXT | {"stream": True} | usage, "Bearer x"),
        (text, TEXT | {"stream": False}, "Bearer x"),
    ]


@pytest.mark.asyncio
async def test_an_api_that_is_not_openais_gets_the_body_and_nothing_else() -> None:
    async with asked() as (root, requests):
        compared = await sk.display.compare(f"{root}/v1/messages?beta=1", CHAT, CHAT)

    assert [row.api for row in compared.rows] == ["messages 1", "messages 1", "messages 2", "messages 2"]
    assert requests[:2] == [
        ("/v1/messages?beta=1", CHAT | {"stream": True}, None),
        ("/v1/messages?beta=1", CHAT | {"stream": False}, None),
    ]


@pytest.mark.parametrize(
    ("url", "body", "expected"),
    [
        ("http://a/v1", CHAT, "http://a/v1/chat/completions"),
        ("http://a/v1/", TEXT, "http://a/v1/completions"),
        ("http://a/x/chat/completions", TEXT, "http://a/x/completions"),
        ("http://a/x/completions", CHAT, "http://a/x/chat/completions"),
        ("http://a/x/completions", {"messages": [], "prompt": ""}, "http://a/x/chat/completions"),
        ("https://a/d/chat/completions?api-version=1", CHAT, "https://a/d/chat/completions?api-version=1"),
        ("http://a/v1/messages", TEXT, "http://a/v1/messages"),
        ("http://a", CHAT, "http://a"),
    ],
)
def test_where_a_body_is_posted(url: str, body: dict[str, Any], expected: str) -> None:
    assert endpoint(url, body) == expected


@pytest.mark.asyncio
async def test_an_error_tells_which_request_it_was() -> None:
    async with asked(status=500) as (root, _):
        with pytest.raises(sk.StatusError) as caught:
            await sk.display.compare(f"{root}/v1", TEXT)

    assert caught.value.__notes__ == ["in the request of legacy, streaming"]


@pytest.mark.parametrize(("bodies", "runs"), [([], 1), ([CHAT], 0)])
@pytest.mark.asyncio
async def test_nothing_to_ask_is_a_mistake(bodies: list[dict[str, Any]], runs: int) -> None:
    with pytest.raises(sk.PipelineError, match="expected at least one body and one run"):
        await sk.display.compare("http://127.0.0.1:1/v1", *bodies, runs=runs)


# What is made of it


def answer(first: float, last: float, total: float, tokens: int | None = 11, length: int = 100) -> ComparedAnswer:
    return ComparedAnswer(
        sk.Timings(first, first, (first, last), total, tokens), "completed", ((first, 1), (last, length))
    )


COMPARED = Comparison(
    (
        Row("chat", "streaming", (answer(0.5, 4.5, 5.0), answer(0.25, 2.25, 2.5), answer(0.75, 8.75, 9.0))),
        Row("chat", "whole", (answer(5.0, 5.0, 5.0, None),)),
    )
)


def test_the_figures_are_medians() -> None:
    streamed = COMPARED.rows[0]

    assert streamed.to_dict() == {
        "api": "chat",
        "mode": "streaming",
        "first_byte": 0.5,
        "first_content": 0.5,
        "first_released": 0.5,
        "total": 5.0,
        "tokens": 11,
        "tokens_per_second": 2.5,
        "ends": ["completed", "completed", "completed"],
    }
    assert streamed.typical == streamed.answers[0]
    assert Row("chat", "streaming", streamed.answers[:2]).typical == streamed.answers[1]
    assert COMPARED.saved == {"chat": 4.5}
    assert json.loads(json.dumps(COMPARED.to_dict()))["saved"] == {"chat": 4.5}


TABLE = """\
api   mode       first byte  first content   total  tokens  tok/s        end
chat  streaming      0.50 s         0.50 s  5.00 s      11    2.5  completed
chat  whole          5.00 s         5.00 s  5.00 s       -      -  completed"""


def test_the_table_is_text() -> None:
    assert str(COMPARED) == TABLE


def test_a_column_tells_when_text_was_released_if_that_is_later() -> None:
    held = ComparedAnswer(sk.Timings(0.5, 0.5, (1.5, 2.0), 2.5), "moderated", ((1.5, 1), (2.0, 2)))
    compared = Comparison((Row("chat", "streaming", (held,)), *COMPARED.rows[1:]))

    assert (
        str(compared)
        == """\
api   mode       first byte  first content  first released   total  tokens  tok/s        end
chat  streaming      0.50 s         0.50 s          1.50 s  2.50 s       -      -  moderated
chat  whole          5.00 s         5.00 s          5.00 s  5.00 s       -      -  completed"""
    )
    assert compared.saved == {"chat": 3.5}


def test_rich_prints_the_same_table() -> None:
    file = io.StringIO()
    Console(file=file, width=100).print(COMPARED)

    assert [line.split() for line in file.getvalue().splitlines()] == [line.split() for line in TABLE.splitlines()]


def test_the_picture_has_a_line_for_each_row(tmp_path: Path) -> None:
    path = tmp_path / "compared.svg"
    COMPARED.save(path)

    svg = "{http://www.w3.org/2000/svg}"
    picture = ElementTree.parse(path)
    assert path.read_text(encoding="utf-8") == COMPARED.svg() == COMPARED._repr_svg_()
    # The typical answer: 1 character at 0.5 s, 100 at 4.5 s, of 5 s and 100 characters.
    assert [line.attrib["points"].split() for line in picture.iter(f"{svg}polyline")] == [
        ["80.00,360.00", "140.00,360.00", "140.00,357.00", "620.00,357.00", "620.00,60.00", "680.00,60.00"],
        ["80.00,360.00", "680.00,360.00", "680.00,357.00", "680.00,357.00", "680.00,60.00", "680.00,60.00"],
    ]
