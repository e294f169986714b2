"""Faults on request, byte for byte, on every route that streams."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

import streamkit as sk
from streamkit.cli import provider
from streamkit.cli.faults import HTML, JSON_ERROR, KINDS, WRONG_JSON
from streamkit.cli.provider import Provider, serve
from streamkit.sources.faults import GARBAGE, Cut, Drip, Duplicate, Fault, Garbage

FAST = Provider(first_token_seconds=0, token_seconds=0)
BODY = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\ndata: [DONE]\n\n'
FIRST = len(BODY) - len(b"data: [DONE]\n\n")
PACKED = gzip.compress(BODY, mtime=0)


@dataclass
class Answer:
    """A response as received on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    """Whether the body ended properly in terms of HTTP."""
    reset: bool


@dataclass
class VirtualTime:
    """A timer that only advances by sleeping."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


async def ask(url: str, fault: str) -> Answer:
    """Send one request on a raw socket, and read until the connection is closed or reset."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    request = f"GET {parts.path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\nx-demo-fault: {fault}\r\n\r\n"
    raw, reset = b"", False
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        await loop.sock_sendall(connection, request.encode())
        try:
            while piece := await loop.sock_recv(connection, 65536):
                raw += piece
        except ConnectionResetError:
            reset = True
    head, _, rest = raw.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    body, complete = _unchunked(rest) if "transfer-encoding" in headers else (rest, _is_whole(rest, headers))
    return Answer(int(status.split(" ")[1]), headers, body, complete, reset)


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body, True
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body, False


def _is_whole(body: bytes, headers: dict[str, str]) -> bool:
    return len(body) == int(headers["content-length"])


async def ask_recording(tmp_path: Path, fault: str, body: bytes = BODY, served_by: Provider = FAST) -> Answer:
    (tmp_path / "a.sse").write_bytes(body)
    async with serve(replace(served_by, recordings=tmp_path)) as url:
        return await ask(f"{url}/recordings/a", fault)


@pytest.mark.parametrize(
    ("fault", "body", "complete"),
    [
        ("cut=20", BODY[:20], False),
        ("cut=0", b"", False),
        (f"cut={len(BODY)}", BODY, False),
        ("cut=999", BODY, True),
        ("cut=20:clean", BODY[:20], True),
        ("reset=20", BODY[:20], False),
        ("stall=20:0", BODY, True),
        ("garbage=20", BODY[:20] + b"\x00\xff\xfe{garbage" + BODY[20:], True),
        (f"duplicate={FIRST}:{FIRST}", BODY[:FIRST] + BODY, True),
        ("drip=7:0", BODY, True),
        ("no-done", BODY[:FIRST], True),
        ("wrong-length", BODY, False),
        ("html", HTML, True),
        ("json-error", JSON_ERROR, True),
        ("wrong-json", WRONG_JSON, True),
    ],
)
@pytest.mark.asyncio
async def test_a_fault_gives_these_bytes_and_this_end(tmp_path: Path, fault: str, body: bytes, complete: bool) -> None:
    answer = await ask_recording(tmp_path, fault)

    assert (answer.status, answer.body, answer.complete) == (200, body, complete)
    assert answer.reset == fault.startswith("reset")


@pytest.mark.parametrize(
    ("fault", "content_type"),
    [
        ("cut=20", "text/event-stream; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
        ("json-error", "application/json"),
    ],
)
@pytest.mark.asyncio
async def test_a_web_page_and_a_json_error_say_what_they_are(tmp_path: Path, fault: str, content_type: str) -> None:
    assert (await ask_recording(tmp_path, fault)).headers["content-type"] == content_type


@pytest.mark.asyncio
async def test_a_wrong_length_promises_a_byte_too_many(tmp_path: Path) -> None:
    assert (await ask_recording(tmp_path, "wrong-length")).headers["content-length"] == str(len(BODY) + 1)


@pytest.mark.parametrize(
    ("fault", "length"), [("gzip-cut=30", 30), ("gzip-cut", len(PACKED) // 2), ("gzip-cut=999", len(PACKED))]
)
@pytest.mark.asyncio
async def test_a_compressed_answer_is_cut_short_inside_a_body_that_is_complete(
    tmp_path: Path, fault: str, length: int
) -> None:
    answer = await ask_recording(tmp_path, fault)

    assert answer.headers["content-encoding"] == "gzip"
    assert (answer.body, answer.complete) == (PACKED[:length], True)


@pytest.mark.parametrize(
    "done", ["data: [DONE]\n\n", "data:[DONE]\r\n\r\n", "data: [DONE]\r\r", "data: [DONE]"], ids=repr
)
@pytest.mark.asyncio
async def test_the_end_marker_is_left_out_however_it_is_written(tmp_path: Path, done: str) -> None:
    body = b'data: {"a": "data: [DONE]"}\n\n'

    assert (await ask_recording(tmp_path, "no-done", body + done.encode())).body == body


@pytest.mark.parametrize(("fault", "before"), [("endless-line", b""), (f"endless-line={FIRST}", BODY[:FIRST])])
@pytest.mark.asyncio
async def test_an_endless_line_goes_on_until_the_client_leaves(tmp_path: Path, fault: str, before: bytes) -> None:
    (tmp_path / "a.sse").write_bytes(BODY)
    expected = before + b"data: " + b"x" * 1_000_000
    async with (
        serve(replace(FAST, recordings=tmp_path)) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/recordings/a", headers={"x-demo-fault": fault}) as got,
    ):
        assert await got.content.readexactly(len(expected)) == expected
        got.close()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("drip=40:0.5", [0.0, 0.5]), ("drip=20:1", [0.0, 1.0, 1.0, 1.0]), ("stall=20:2.5", [0.0, 2.5, 0.0])],
)
@pytest.mark.asyncio
async def test_a_drop_and_a_stall_take_their_time(tmp_path: Path, fault: str, expected: list[float]) -> None:
    time = VirtualTime()

    answer = await ask_recording(tmp_path, fault, served_by=replace(FAST, sleep=time.sleep, timer=time))

    assert (answer.body, time.waits) == (BODY, expected)


@pytest.mark.asyncio
async def test_a_client_that_leaves_a_stalled_answer_ends_it_and_so_does_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_bytes(BODY)
    before = asyncio.all_tasks()
    async with serve(replace(FAST, recordings=tmp_path)) as url, aiohttp.ClientSession() as session:
        get = [session.get(f"{url}/recordings/a", headers={"x-demo-fault": "stall=20"}) for _ in range(2)]
        async with get[0] as left, get[1] as kept:
            assert [await each.content.readexactly(20) for each in (left, kept)] == [BODY[:20]] * 2
            left.close()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"stream": True, "messages": [{"role": "user", "content": "Ping?"}]}),
        ("/v1/completions", {"stream": True, "prompt": "Ping?"}),
        ("/recordings/a/v1/chat/completions", {}),
        ("/recordings/a/v1/completions", {}),
    ],
)
@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("cut=99:clean", Cut(99, clean=True)),
        ("garbage=99", Garbage(99, GARBAGE)),
        ("duplicate=99:40", Duplicate(99, 40)),
        ("drip=1:0", Drip(1, 0)),
    ],
)
@pytest.mark.asyncio
async def test_a_fault_over_http_is_the_fault_of_a_replay_on_every_route_that_streams(
    tmp_path: Path, path: str, body: dict[str, object], header: str, fault: Fault
) -> None:
    (tmp_path / "a.sse").write_bytes(BODY)
    settings = replace(FAST, answers={"Ping?": ["Po", "ng"]}, recordings=tmp_path, clock=lambda: 0.0, seed=1)

    async def answer(headers: dict[str, str]) -> bytes:
        async with (
            serve(settings) as url,
            aiohttp.ClientSession() as session,
            session.post(url + path, json=body, headers=headers) as got,
        ):
            return await got.read()

    whole = await answer({})

    assert await answer({"x-demo-fault": header}) == b"".join(data for _, data in fault(iter([(0.0, whole)])))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("", "expected one of cut, stall, garbage, duplicate, drip, reset, html, json-error, wrong-json, wrong-length, "
             "gzip-cut, no-done, endless-line, found ''"),
        ("cut", "expected cut=BYTES or cut=BYTES:clean, found 'cut'"),
        ("cut=-1", "expected cut=BYTES or cut=BYTES:clean, found 'cut=-1'"),
        ("cut=1:dirty", "expected cut=BYTES or cut=BYTES:clean, found 'cut=1:dirty'"),
        ("cut=1, cut=2", "expected cut=BYTES or cut=BYTES:clean, found 'cut=1, cut=2'"),
        ("stall=soon", "expected stall=BYTES or stall=BYTES:SECONDS, found 'stall=soon'"),
        ("stall=1:-1", "expected stall=BYTES or stall=BYTES:SECONDS, found 'stall=1:-1'"),
        ("garbage=", "expected garbage=BYTES, found 'garbage='"),
        ("duplicate=80", "expected duplicate=BYTES:LENGTH, found 'duplicate=80'"),
        ("duplicate=80:0", "expected duplicate=BYTES:LENGTH, found 'duplicate=80:0'"),
        ("drip=0:1", "expected drip=BYTES:SECONDS, found 'drip=0:1'"),
        ("drip=1:inf", "expected drip=BYTES:SECONDS, found 'drip=1:inf'"),
        ("reset=1e3", "expected reset=BYTES, found 'reset=1e3'"),
        ("html=1", "expected html, found 'html=1'"),
        ("json-error=1", "expected json-error, found 'json-error=1'"),
        ("wrong-json=1", "expected wrong-json, found 'wrong-json=1'"),
        ("wrong-length=1", "expected wrong-length, found 'wrong-length=1'"),
        ("gzip-cut=half", "expected gzip-cut or gzip-cut=BYTES, found 'gzip-cut=half'"),
        ("no-done=1", "expected no-done, found 'no-done=1'"),
        ("endless-line=x", "expected endless-line or endless-line=BYTES, found 'endless-line=x'"),
    ],
)  # fmt: skip
@pytest.mark.asyncio
async def test_a_demand_that_makes_no_sense_is_told_what_was_expected(tmp_path: Path, fault: str, message: str) -> None:
    answer = await ask_recording(tmp_path, fault)

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["message"] == f"x-demo-fault: {message}"


def test_every_fault_is_in_the_providers_documentation() -> None:
    documented = re.findall(r"^    ([a-z-]+)\S* {2,}\S", provider.__doc__ or "", re.MULTILINE)

    assert set(documented) == set(KINDS)


@pytest.mark.asyncio
async def test_a_broken_off_answer_leaves_nothing_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for fault in ("cut=20", "reset=20", "wrong-length", "gzip-cut", "endless-line=x"):
            await ask_recording(tmp_path, fault)

    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "shown"),
    [
        ("stall=20:0", 200, "application/json", b'"results":['),
        ("garbage=20", 200, "application/json", GARBAGE),
        ("html", 200, "text/html; charset=utf-8", HTML),
        ("json-error", 200, "application/json", JSON_ERROR),
        ("wrong-json", 200, "application/json", WRONG_JSON),
        ("cut=20:clean", 200, "application/json", b'{"id":"modr-'),
        ("nonsense", 400, "application/json", b"x-demo-fault: expected one of"),
    ],
)
@pytest.mark.asyncio
async def test_a_moderation_goes_wrong_as_a_stream_does(
    fault: str, status: int, content_type: str, shown: bytes
) -> None:
    async with (
        serve(FAST) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/moderations", json={"input": "a"}, headers={"x-demo-fault": fault}) as got,
    ):
        assert (got.status, got.headers["content-type"]) == (status, content_type)
        assert shown in await got.read()


# Recordings with times


@pytest.mark.asyncio
async def test_a_recording_that_has_times_is_sent_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"streamkit": "recording/1"}\n{"t": 0.5, "text": "data: 1\\n"}\n{"t": 2, "b64": "Cg=="}\n{"t": 3, "end": "eof"}\n',
        encoding="utf-8",
    )
    time = VirtualTime()

    async with serve(replace(FAST, recordings=tmp_path, event_seconds=9, sleep=time.sleep, timer=time)) as url:
        answer = await ask(f"{url}/recordings/a", "cut=999")

    assert (answer.body, answer.complete, time.waits) == (b"data: 1\n\n", True, [0.5, 1.5, 1.0])


@pytest.mark.parametrize(
    "last", ['{"t": 1, "end": "error", "error": "Disconnected"}', '{"t": 1, "te'], ids=["an error", "a crash"]
)
@pytest.mark.parametrize(("fault", "complete"), [("cut=999", False), ("wrong-length", False), ("gzip-cut=999", True)])
@pytest.mark.asyncio
async def test_a_recording_of_a_broken_answer_is_broken_off(
    tmp_path: Path, last: str, fault: str, complete: bool
) -> None:
    recording = '{"streamkit": "recording/1"}\n{"t": 0, "text": "data: 1\\n\\n"}\n' + last
    (tmp_path / "a.jsonl").write_text(recording, encoding="utf-8")

    async with serve(replace(FAST, recordings=tmp_path)) as url:
        answer = await ask(f"{url}/recordings/a", fault)

    body = b"data: 1\n\n"
    assert (answer.body, answer.complete) == (gzip.compress(body, mtime=0) if complete else body, complete)


@pytest.mark.asyncio
async def test_what_was_recorded_over_http_can_be_served_and_recorded_again(tmp_path: Path) -> None:
    pipeline = sk.Parse() | sk.Extract()
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Ping?"}]}
    heard: list[list[sk.Event]] = []
    async with serve(replace(FAST, answers={"Ping?": ["Po", "ng"]}, recordings=tmp_path)) as url:
        for path, name in (("/v1", "first"), ("/recordings/first/v1", "second")):
            source = sk.http.post(f"{url}{path}/chat/completions", json=body)
            async with sk.record(source, tmp_path / f"{name}.jsonl") | pipeline as events:
                heard.append([event async for event in events])

    assert sk.TextDelta("Po") in heard[0]
    assert heard[1] == heard[0]
