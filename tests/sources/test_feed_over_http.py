"""A feed over real connections: requests, recoverable failures, and bodies in arbitrary pieces.

The cases correspond to LaunchDarkly's contract tests for SSE clients, with this project's own names and data.
https://github.com/launchdarkly/sse-contract-tests
"""

import asyncio
import io
import random
from typing import Any

import pytest
from aiohttp import web

import streamkit as sk
from streamkit.sources.feed import Reconnect, Reconnection
from streamkit.sources.http import Deadlines
from tests.sources.feeds import AT_ONCE, OVER, data, pieces, read, served, status

pytestmark = pytest.mark.asyncio
Found = tuple[str, str, str]
BOM = "\ufeff"


def event(data: str, id: str = "", name: str = "message") -> Found:
    return name, data, id


def comment(text: str) -> Found:
    return "#", text, ""


BODIES: dict[str, tuple[str, list[Found]]] = {
    "one line": ("data: red\n\n", [event("red")]),
    "two lines": ("data: red\ndata:green\n\n", [event("red\ngreen")]),
    "two events": ("data: red\n\ndata: green\n\n", [event("red"), event("green")]),
    "no data in the field": ("data:\n\n", [event("")]),
    "fields without a colon": ("data\n\ndata\ndata\n\n", [event(""), event("\n")]),
    "one space is taken off": ("event:  a\ndata:  b\n\n", [event(" b", name=" a")]),
    "no space": ("event:a\nid:1\ndata:b\n\n", [event("b", "1", "a")]),
    "any order": ("data: b\nid: 1\nevent: a\n\n", [event("b", "1", "a")]),
    "unknown fields": ("event: a\ncolor: blue\ndata: b\n\n", [event("b", name="a")]),
    "a type is for one event": ("event: a\ndata: 1\n\ndata: 2\n\n", [event("1", name="a"), event("2")]),
    "an id is for all that follow": ("id: 1\ndata: a\n\ndata: b\n\n", [event("a", "1"), event("b", "1")]),
    "an empty id": ("id: 1\ndata: a\n\nid:\ndata: b\n\n", [event("a", "1"), event("b")]),
    "an id with NUL": ("id: 1\x002\ndata: a\n\n", [event("a")]),
    "not ASCII": ("event: ключ\nid: 標\ndata: €豆腐 👩‍👧\n\n", [event("€豆腐 👩‍👧", "標", "ключ")]),
    "many": ("".join(f"data: {n}\n\n" for n in range(100)), [event(str(n)) for n in range(100)]),
    "unfinished": ("data: a\n\ndata: b\n", [event("a")]),
    "comments": (
        ":one\n:two\ndata: a\n:three\ndata: b\n\n:\n",
        [comment("one"), comment("two"), comment("three"), event("a\nb"), comment("")],
    ),
    "a BOM": (f"{BOM}data: a\n\n", [event("a")]),
    "a BOM before a comment": (f"{BOM}:c\ndata: a\n\n", [comment("c"), event("a")]),
    "a BOM before other fields": (f"{BOM}event: n\nid: 1\ndata: a\n\ndata: b\n\n", [event("a", "1", "n"), event("b", "1")]),
    "two BOMs": (f"{BOM}data: {BOM}a\n\n", [event(f"{BOM}a")]),
    "a BOM later": (f"data: a\n\ndata: {BOM}b\n\n", [event("a"), event(f"{BOM}b")]),
    "a BOM before an empty field": (f"{BOM}data:\n\n", [event("")]),
}  # fmt: skip
LINES: dict[str, tuple[str, list[Found]]] = {
    "one": ("data: a|data: b||", [event("a\nb")]),
    "empty ones in an event": ("data:|data: b|data:|data: d||", [event("\nb\n\nd")]),
    "an empty one between events": ("data: a|||data: b||", [event("a"), event("b")]),
    "two empty ones between events": ("data: a||||data: b||", [event("a"), event("b")]),
}
BODIES |= {
    f"{name}, {end!r}": (body.replace("|", end), found)
    for end in ("\n", "\r\n", "\r")
    for name, (body, found) in LINES.items()
}


def found_in(events: list[Any]) -> list[Found]:
    return [
        comment(each.text) if isinstance(each, sk.sse.Comment) else (each.event, each.data, each.id) for each in events
    ]


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_read_in_pieces_of_any_size(name: str, size: int) -> None:
    body, expected = BODIES[name][0].encode(), BODIES[name][1]
    async with served(pieces(*(body[at : at + size] for at in range(0, len(body), size)))) as server:
        assert found_in(await read(sk.feed(server.url, comments=True, reconnect=AT_ONCE))) == expected


async def test_a_line_end_may_be_cut_in_two() -> None:
    body = [b"data: a\r", b"\ndata: b\r", b"\n\r\ndata: c\r", b"\n", b"\r", b"\n"]
    async with served(pieces(*body)) as server:
        assert await data(sk.feed(server.url, reconnect=AT_ONCE)) == ["a\nb", "c"]


async def test_an_event_that_ends_with_cr_does_not_wait_for_what_follows() -> None:
    async with served(pieces(b"data: a\r\r", then="hang")) as server:
        async with sk.feed(server.url) | sk.stage(lambda event: event) as events:
            assert (await anext(events)).data == "a"


@pytest.mark.parametrize("cut", [1, 2], ids=["at once", "in two pieces"])
async def test_an_event_of_many_megabytes(cut: int) -> None:
    text = random.Random(0).randbytes(2_500_000).hex()
    body = f"data: {text}\n\n".encode()
    size = len(body) // cut + 1
    async with served(pieces(body[:size], body[size:])) as server:
        assert await data(sk.feed(server.url, reconnect=AT_ONCE)) == [text]


# Requests


async def test_the_headers_are_those_of_an_event_source() -> None:
    async with served() as server:
        await read(sk.feed(server.url))
    ((method, headers, body),) = server.asked
    assert (method, headers["accept"], headers["cache-control"], body) == ("GET", "text/event-stream", "no-cache", b"")
    assert "last-event-id" not in headers


async def test_the_callers_headers_are_added_and_override() -> None:
    given = {"x-one": "1", "ACCEPT": "text/event-stream, application/json", "Last-Event-ID": "41"}
    async with served(pieces(b"data: a\n\n"), pieces(b"id: 42\ndata: b\n\n")) as server:
        events = await read(sk.feed(server.url, headers=given, reconnect=AT_ONCE))
    assert [each.id for each in events] == ["41", "42"]
    assert [headers["last-event-id"] for _, headers, _ in server.asked] == ["41", "41", "42"]
    assert {(headers["x-one"], headers["accept"]) for _, headers, _ in server.asked} == {
        ("1", "text/event-stream, application/json")
    }


@pytest.mark.parametrize(
    ("options", "method", "kind", "body"),
    [
        ({"json": {"a": "é"}}, "POST", "application/json", b'{"a": "\\u00e9"}'),
        ({"data": '{"a": 1}', "headers": {"content-type": "application/json; charset=utf-8"}}, "POST",
         "application/json; charset=utf-8", b'{"a": 1}'),
        ({"data": b"\x00", "method": "REPORT"}, "REPORT", "application/octet-stream", b"\x00"),
        ({"data": "é"}, "POST", "text/plain; charset=utf-8", "é".encode()),
        ({"data": {"a": "b"}}, "POST", "application/x-www-form-urlencoded", b"a=b"),
        ({"method": "POST"}, "POST", "application/octet-stream", b""),
    ],
    ids=["JSON", "a text with a type of its own", "REPORT with bytes", "a text", "a form", "POST without a body"],
)  # fmt: skip
async def test_the_body_is_sent_with_each_connection(
    options: dict[str, Any], method: str, kind: str, body: bytes
) -> None:
    async with served(pieces(b"id: 1\ndata: a\n\n"), pieces(b"data: b\n\n", then="break"), pieces()) as server:
        assert await data(sk.feed(server.url, reconnect=AT_ONCE, **options)) == ["a", "b"]
    assert [(asked, headers["content-type"], sent) for asked, headers, sent in server.asked] == [
        (method, kind, body)
    ] * 4
    assert [headers.get("last-event-id") for _, headers, _ in server.asked] == [None, "1", "1", "1"]


async def test_a_body_that_can_be_read_once_is_refused_at_once() -> None:
    with pytest.raises(sk.PipelineError, match="data: expected bytes or text, to send again; found BytesIO"):
        sk.feed("http://feed.example", data=io.BytesIO(b"x"))  # type: ignore[arg-type]


async def test_an_id_is_sent_as_utf_8() -> None:
    raw: list[bytes] = []

    async def note(request: web.Request) -> web.StreamResponse:
        raw.extend(value for name, value in request.raw_headers if name.lower() == b"last-event-id")
        return web.Response(status=OVER)

    async with served(pieces("id: ключ☃\ndata: x\n\n".encode()), note) as server:
        await read(sk.feed(server.url, reconnect=AT_ONCE))
    assert raw == ["ключ☃".encode()]


# Ends and recoverable failures


async def test_204_ends_it_without_an_error() -> None:
    async with served() as server:
        assert await read(sk.feed(server.url, reconnect=AT_ONCE)) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [201, 202, 206, 401, 404, 429, 500])
async def test_any_other_status_than_200_ends_it(code: int) -> None:
    async with served(pieces(b"data: x\n\n"), status(code)) as server:
        with pytest.raises(sk.StatusError) as caught:
            await read(sk.feed(server.url, reconnect=AT_ONCE))
    assert (caught.value.status, len(server.asked)) == (code, 2)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "text/event-streams", "application/octet-stream"])
async def test_another_type_than_an_event_stream_ends_it(kind: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b"data: x\n\n", headers={"content-type": kind})

    async with served(answer) as server:
        with pytest.raises(sk.errors.ContentTypeError, match=f"expected text/event-stream, found '{kind}'") as caught:
            await read(sk.feed(server.url))
    assert caught.value.body == b"data: x\n\n"


@pytest.mark.parametrize("kind", ["text/event-stream;charset=utf-8", "TEXT/Event-Stream", "text/event-stream ; x=y"])
async def test_the_type_of_an_event_stream_in_any_spelling(kind: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b"data: x\n\n", headers={"content-type": kind})

    async with served(answer) as server:
        assert await data(sk.feed(server.url, reconnect=AT_ONCE)) == ["x"]


async def test_it_survives_busy_servers_where_it_may_and_waits_as_they_ask() -> None:
    news: list[Reconnection] = []
    policy = Reconnect(initial=0, least=0, jitter=0, statuses=True, from_start=True)
    ways = (status(503), status(429, retry_after="0.01"), pieces(b"data: x\n\n"), status(500))
    async with served(*ways) as server:
        assert await data(sk.feed(server.url, reconnect=policy, on_reconnect=news.append)) == ["x"]
    statuses = [each.error.status if isinstance(each.error, sk.StatusError) else None for each in news]
    assert statuses == [503, 429, None, 500]
    assert [each.wait for each in news] == [0, 0.01, 0, 0]


async def test_a_connection_that_breaks_is_announced_and_what_it_left_unfinished_is_dropped() -> None:
    news: list[Reconnection] = []
    broken = pieces(b"id: 1\ndata: a\n\nid: 2\ndata: half", then="break")
    async with served(broken, pieces(b"data: b\n\n")) as server:
        events = await read(sk.feed(server.url, reconnect=AT_ONCE, on_reconnect=news.append))
    assert [(each.data, each.id) for each in events] == [("a", "1"), ("b", "1")]
    assert [(type(each.error), each.last_event_id) for each in news] == [
        (sk.errors.Disconnected, "1"),
        (type(None), "1"),
    ]


async def test_a_server_that_is_gone_is_announced_by_the_systems_own_words() -> None:
    news: list[Reconnection] = []
    async with served(pieces(b"data: a\n\n", then="hang")) as server:
        feed = sk.feed(server.url, reconnect=Reconnect(initial=0, least=0, attempts=2), on_reconnect=news.append)
        stream = feed | sk.stage(lambda event: event)
        events = aiter(await stream.__aenter__())
        await anext(events)
    with pytest.raises(
        sk.errors.ConnectFailed, match=r"no connection: ClientConnectorError: \[Errno 111\] Connection refused"
    ):
        await anext(events)
    assert [type(each.error) for each in news] == [sk.errors.Disconnected, sk.errors.ConnectFailed]


# Deadlines


@pytest.mark.parametrize(
    ("deadlines", "ways"),
    [
        (Deadlines(idle_bytes=0.1), (pieces(b"data: a\n\n", then="hang"), pieces(b"data: b\n\n"))),
        (Deadlines(first_content=0.1), (pieces(b": alive\n\n", then="hang"), pieces(b"data: a\n\ndata: b\n\n"))),
        (Deadlines(idle_content=0.1), (pieces(b"data: a\n\n: alive\n\n", then="hang"), pieces(b"data: b\n\n"))),
    ],
    ids=["idle_bytes", "first_content", "idle_content"],
)
async def test_a_deadline_that_passes_is_announced_and_it_connects_again(deadlines: Deadlines, ways: Any) -> None:
    news: list[Reconnection] = []
    (name,) = [name for name in ("idle_bytes", "first_content", "idle_content") if getattr(deadlines, name)]
    async with served(*ways) as server:
        found = await data(sk.feed(server.url, deadlines=deadlines, reconnect=AT_ONCE, on_reconnect=news.append))
    assert found == ["a", "b"]
    error = news[0].error
    assert isinstance(error, sk.errors.DeadlineExceeded)
    assert (error.deadline, error.seconds) == (name, 0.1)


async def dripping(request: web.Request) -> web.StreamResponse:
    """Send comments forever."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(b": alive\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("comments", [True, False])
async def test_comments_are_no_content_also_where_they_are_given(comments: bool) -> None:
    deadlines = Deadlines(first_content=0.1, idle_bytes=30)
    async with served(dripping, pieces(b"data: a\n\n")) as server:
        events = await read(sk.feed(server.url, deadlines=deadlines, comments=comments, reconnect=AT_ONCE))
    assert events[-1].data == "a"
    assert any(isinstance(each, sk.sse.Comment) for each in events) is comments


async def test_an_event_is_content_so_that_the_first_has_come() -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(30):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.01)
        return response

    async with served(slowly) as server:
        found = await data(sk.feed(server.url, deadlines=Deadlines(first_content=0.15, idle_content=30), reconnects=0))
    assert found == [str(number) for number in range(30)]


async def test_the_total_deadline_is_for_the_whole_feed() -> None:
    ways = [pieces(b"data: a\n\n")] * 3 + [dripping]
    seen: list[Any] = []
    async with served(*ways) as server:
        with pytest.raises(
            sk.errors.DeadlineExceeded, match=r"^<feed http://.*/feed>: the deadline 'total' of 0\.5 s"
        ) as caught:
            await read(sk.feed(server.url, deadlines=Deadlines(total=0.5), reconnect=AT_ONCE), seen)
    assert [each.data for each in seen] == ["a"] * 3
    assert (caught.value.deadline, len(server.asked)) == ("total", 4)


# Redirects within the origin; those to other origins are in tests/sources/test_redirects.py


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_origin_is_followed_each_time_anew(code: int) -> None:
    there = pieces(b"id: 1\ndata: x\n\n")
    async with served(status(code, location="/feed/2"), there, status(code, location="/feed/2"), there) as server:
        assert await data(sk.feed(server.url, reconnect=AT_ONCE)) == ["x", "x"]
    assert [headers.get("last-event-id") for _, headers, _ in server.asked] == [None, None, "1", "1", "1"]


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_report_is_redirected_with_its_body(code: int) -> None:
    async with served(status(code, location="/feed/2"), pieces(b"data: x\n\n")) as server:
        assert await data(sk.feed(server.url, method="REPORT", data="q", reconnect=AT_ONCE)) == ["x"]
    assert [(method, body) for method, _, body in server.asked] == [("REPORT", b"q")] * 3


@pytest.mark.parametrize("location", ["", None], ids=["empty", "missing"])
@pytest.mark.parametrize("code", [301, 307])
async def test_a_redirect_to_nowhere_is_an_error(code: int, location: str | None) -> None:
    headers = {} if location is None else {"location": location}
    async with served(status(code, **headers)) as server:
        with pytest.raises(sk.errors.RedirectError, match="names no address to go to"):
            await read(sk.feed(server.url, reconnect=AT_ONCE))
    assert len(server.asked) == 1


# Restarting, and leaving


async def test_restart_connects_again_from_another_task() -> None:
    async with served(pieces(b"id: 1\ndata: x\n\n", then="hang"), pieces(b"data: y\n\n")) as server:
        feed = sk.feed(server.url, reconnects=0)
        async with feed | sk.stage(lambda event: event) as events:
            assert (await anext(events)).data == "x"
            asyncio.get_running_loop().call_later(0.01, feed.restart)
            assert (await anext(events)).data == "y"
    assert [headers.get("last-event-id") for _, headers, _ in server.asked] == [None, "1"]


async def test_leaving_while_it_waits_to_connect_leaves_nothing() -> None:
    async with served(pieces(b"retry: 3600000\ndata: x\n\n")) as server:
        before = asyncio.all_tasks()
        async with sk.feed(server.url) | sk.stage(lambda event: event) as events:
            assert (await anext(events)).data == "x"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(events)
        assert asyncio.all_tasks() == before
