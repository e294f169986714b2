"""Cassettes: recorded once with every piece as it was cut, replayed from then on; no credential is in a file."""

import asyncio
import base64
import gzip
import json
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import httpx2
import openai
import pytest
import pytest_asyncio
from aiohttp import web

import streamkit as sk
from streamkit.sources.faults import Cut, Garbage, Pause
from streamkit.sources.recording import read_recording
from streamkit.sources.retry import Retry
from streamkit.testing import Cassette
from streamkit.testing.cassettes import cassette as cassettes

pytestmark = pytest.mark.asyncio
KEY = "sk-proj-0123456789abcdef"
WORD = "correct-horse-42"  # a secret that only its name gives away
READ = sk.Parse() | sk.Extract()


def delta(text: str) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()


END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
PIECES = [delta("Hel")[:20], delta("Hel")[20:] + delta("lo"), END[:9], END[9:]]
ANTHROPIC = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hello"}}\n\n',
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":1}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


class Upstream:
    """A provider that answers with pieces, and counts what it was asked."""

    def __init__(self, *pieces: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.pieces = pieces or tuple(PIECES)
        self.status = status
        self.headers = {"content-type": "text/event-stream", **(headers or {})}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.breaks = False
        self.release = asyncio.Event()
        self.release.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.raw_path, headers, await request.read()))
        response = web.StreamResponse(status=self.status, headers=self.headers)
        await response.prepare(request)
        for number, piece in enumerate(() if request.method == "HEAD" else self.pieces):
            if number == 1:
                await self.release.wait()
            await response.write(piece)
            await asyncio.sleep(0.002)  # so that no two pieces are one read
        if self.breaks:
            assert request.transport is not None
            request.transport.abort()
        return response


@asynccontextmanager
async def running(upstream: Upstream) -> AsyncGenerator[Upstream, None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()


@asynccontextmanager
async def cassette(folder: Path, upstream: Any, **options: Any) -> AsyncGenerator[Cassette, None]:
    """A cassette that is saved at the end."""
    made = Cassette(folder, upstream, **options)
    async with made.serving():
        yield made
    made.save()


NOWHERE = "http://127.0.0.1:9/v1"  # nothing listens there
CHAT: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


async def ask(url: str, body: Any = CHAT, **options: Any) -> str:
    headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    return await (sk.http.post(f"{url}/chat/completions", json=body, headers=headers, **options) | READ).text()


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def heads(folder: Path) -> list[Any]:
    return [json.loads(path.read_bytes().partition(b"\n")[0]) for path in files(folder)]


# Record and replay


async def test_the_first_run_is_recorded_and_the_second_asks_nobody(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream:
        async with cassette(tmp_path / "a", upstream.url + "/v1") as made:
            assert made.is_recording
            assert await ask(made.url) == "Hello"
    assert [(method, path) for method, path, _, _ in upstream.asked] == [("POST", "/v1/chat/completions")]

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert not made.is_recording
        assert await ask(made.url) == "Hello"
        assert (made.unplayed, made.problems) == ([], [])


async def test_every_piece_is_recorded_as_it_was_cut_with_its_time(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)

    (path,) = files(tmp_path / "a")
    pieces = [(at, data) for at, data in read_recording(path.read_bytes()) if data]
    assert [data for _, data in pieces] == PIECES
    assert [at for at, _ in pieces] == sorted(at for at, _ in pieces)
    (head,) = heads(tmp_path / "a")
    assert 0 < head["answered"] <= pieces[0][0]


async def test_the_pieces_are_replayed_as_chunks_of_the_same_bytes(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)

    async with cassette(tmp_path / "a", NOWHERE) as made, aiohttp.ClientSession() as session:
        async with session.post(f"{made.url}/chat/completions", json=CHAT) as answer:
            chunks, piece = list[bytes](), b""
            async for data, end in answer.content.iter_chunks():
                piece += data
                if end:
                    chunks.append(piece)
                    piece = b""
    assert chunks == PIECES


async def test_a_cassettes_files_are_recordings(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)

    assert await (sk.replay(files(tmp_path / "a")[0]) | READ).text() == "Hello"


async def test_at_a_pace_an_answer_takes_its_time(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)
    (path,) = files(tmp_path / "a")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.replace('"t":0.0', '"t":0.1') for line in lines[1:])]))

    async with cassette(tmp_path / "a", NOWHERE, pace=1) as made:
        events = sk.http.post(f"{made.url}/chat/completions", json=CHAT) | sk.Parse() | sk.Extract() | sk.Timing()
        timings = await events.collect()
    (found,) = [event for event in timings if isinstance(event, sk.Timings)]
    assert found.total is not None
    assert found.total >= 0.1


async def test_an_answer_without_streaming_comes_back_with_its_headers(tmp_path: Path) -> None:
    body = json.dumps({"answer": "é"}).encode()
    told = {"content-type": "application/json", "x-ratelimit-remaining": "7", "content-length": str(len(body))}
    async with running(Upstream(body, status=201, headers=told)) as upstream:
        async with cassette(tmp_path / "a", upstream.url) as made, httpx2.AsyncClient(base_url=made.url) as client:
            first = await client.get("/x")

    async with cassette(tmp_path / "a", NOWHERE) as made, httpx2.AsyncClient(base_url=made.url) as client:
        again = await client.get("/x")

    for answer in (first, again):
        assert (answer.status_code, answer.json()) == (201, {"answer": "é"})
        assert answer.headers["x-ratelimit-remaining"] == "7"
        assert answer.headers["content-length"] == str(len(body))


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PATCH", "OPTIONS"])
async def test_any_method_is_recorded(method: str, tmp_path: Path) -> None:
    async def call(url: str) -> tuple[int, bytes]:
        async with httpx2.AsyncClient() as client:
            answer = await client.request(method, url + "/x")
            return answer.status_code, answer.content

    async with running(Upstream(b"abc")) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        first = await call(made.url)

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await call(made.url) == first == (200, b"" if method == "HEAD" else b"abc")


async def test_equal_requests_get_their_answers_in_order(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)
        upstream.pieces = (delta("Bye"), END)
        await ask(made.url)

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert [await ask(made.url), await ask(made.url)] == ["Hello", "Bye"]


async def test_requests_at_once_get_each_its_own_answer(tmp_path: Path) -> None:
    bodies = [{**CHAT, "seed": seed} for seed in range(6)]
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await asyncio.gather(*(ask(made.url, body) for body in bodies))
    for number, path in enumerate(files(tmp_path / "a")):
        seed = heads(tmp_path / "a")[number]["request"]["body"]["seed"]
        path.write_text(path.read_text().replace("Hel", f"Hel{seed}"))

    async with cassette(tmp_path / "a", NOWHERE) as made:
        answers = await asyncio.gather(*(ask(made.url, body) for body in reversed(bodies)))
    assert [answer[3] for answer in answers] == list("543210")


async def test_a_client_that_leaves_does_not_end_the_recording(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.release.clear()
    async with running(upstream):
        async with cassette(tmp_path / "a", upstream.url) as made:
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{made.url}/chat/completions", json=CHAT) as answer:
                    await answer.content.readany()
            upstream.release.set()

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await ask(made.url) == "Hello"


async def test_an_answer_that_never_ends_is_recorded_up_to_the_end_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassettes, "REST_SECONDS", 0.01)
    upstream = Upstream(delta("Hello"), END)
    upstream.release.clear()
    async with running(upstream), cassette(tmp_path / "a", upstream.url) as made:
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{made.url}/chat/completions", json=CHAT) as answer:
                await answer.content.readany()

    async with cassette(tmp_path / "a", NOWHERE) as made:
        events = sk.http.post(f"{made.url}/chat/completions", json=CHAT) | READ
        with pytest.raises(sk.errors.Disconnected):
            await events.collect()
        assert events.end == sk.StreamEnd("truncated")


async def test_a_connection_that_breaks_is_part_of_the_recording(tmp_path: Path) -> None:
    upstream = Upstream(delta("Hello"), b"data: {")
    upstream.breaks = True
    async with running(upstream), cassette(tmp_path / "a", upstream.url) as made:
        with pytest.raises(sk.errors.Disconnected):
            await ask(made.url)

    async with cassette(tmp_path / "a", NOWHERE) as made:
        with pytest.raises(sk.errors.Disconnected):
            await ask(made.url)
        assert made.unplayed == []


async def test_several_providers_have_a_url_each(tmp_path: Path) -> None:
    async with running(Upstream()) as one, running(Upstream(delta("Bye"), END)) as other:
        async with cassette(tmp_path / "a", {"one": one.url + "/v1", "other": other.url}) as made:
            assert [await ask(made.urls["one"]), await ask(made.urls["other"])] == ["Hello", "Bye"]
            with pytest.raises(sk.PipelineError, match=r"use \.urls\['one'\]"):
                _ = made.url
            async with aiohttp.ClientSession() as session, session.get(made.urls["one"] + "s/x") as answer:
                assert answer.status == 400
    assert (one.asked[0][1], other.asked[0][1]) == ("/v1/chat/completions", "/chat/completions")

    async with cassette(tmp_path / "a", {"one": NOWHERE, "other": NOWHERE}) as made:
        assert [await ask(made.urls["other"]), await ask(made.urls["one"])] == ["Bye", "Hello"]


async def test_a_redirect_within_the_provider_stays_with_the_cassette(tmp_path: Path) -> None:
    upstream = Upstream(b"", status=307)
    async with running(upstream):
        upstream.headers["location"] = upstream.url + "/v1/new?a=1"
        async with cassette(tmp_path / "a", upstream.url + "/v1") as made, httpx2.AsyncClient() as client:
            first = (await client.get(made.url + "/x")).headers["location"]
            assert first == made.url + "/new?a=1"
        upstream_url = upstream.url

    async with cassette(tmp_path / "a", upstream_url + "/v1") as made, httpx2.AsyncClient() as client:
        assert (await client.get(made.url + "/x")).headers["location"] == made.url + "/new?a=1"


# Clients


async def by_openai(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def by_openai_in_a_thread(url: str) -> str:
    def read() -> str:
        with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            stream = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    return await asyncio.to_thread(read)


async def by_anthropic(url: str) -> str:
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Hi"}]
        async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            return "".join([text async for text in stream.text_stream])


async def by_httpx(url: str) -> str:
    async with httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        async with client.stream("POST", "/chat/completions", json=CHAT) as response:
            return await (sk.sources.from_httpx(response) | READ).text()


async def by_aiohttp(url: str) -> str:
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        async with session.post(f"{url}/chat/completions", json=CHAT) as response:
            return await (sk.sources.from_aiohttp(response) | READ).text()


CLIENTS = {
    "openai": by_openai,
    "openai, synchronous": by_openai_in_a_thread,
    "anthropic": by_anthropic,
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "streamkit": ask,
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
async def test_any_client_with_a_base_url_is_recorded(client: Callable[[str], Any], tmp_path: Path) -> None:
    async with running(Upstream(*(ANTHROPIC if client is by_anthropic else PIECES))) as upstream:
        async with cassette(tmp_path / "a", upstream.url) as made:
            assert await client(made.url) == "Hello"
            headers = upstream.asked[0][2]
            assert KEY in (headers.get("x-api-key") or headers["authorization"])

    assert KEY not in "".join(path.read_text() for path in files(tmp_path / "a"))
    async with cassette(tmp_path / "a", NOWHERE, match=("method", "path", "query", "body", "headers")) as made:
        assert await client(made.url) == "Hello"


# Credentials


async def recorded(folder: Path, send: Callable[[str], Any], *answer: bytes, **options: Any) -> str:
    """All that is written of a request, and that is replayed for the same one with other credentials."""
    async with running(Upstream(*answer)) as upstream, cassette(folder, upstream.url, **options) as made:
        await send(made.url)
    assert len(upstream.asked) == 1
    return "".join(path.read_text() for path in files(folder))


SECRETS = {
    "authorization": {"headers": {"authorization": f"Bearer {WORD}"}},
    "basic": {"headers": {"authorization": "Basic " + base64.b64encode(f"user:{WORD}".encode()).decode()}},
    "x-api-key": {"headers": {"x-api-key": WORD}},
    "api-key": {"headers": {"api-key": WORD}},
    "x-goog-api-key": {"headers": {"x-goog-api-key": WORD}},
    "cookie": {"headers": {"cookie": f"a=b; session={WORD}"}},
    "the first of several cookies": {
        "headers": {"cookie": f"session={WORD}; a=b"},
        "json": {"seen": f"session is {WORD}"},
    },
    "a token of another kind": {"headers": {"x-jwt-assertion": WORD, "x-csrf-token": WORD, "x-bearer": WORD}},
    "an address in a header": {"headers": {"link": f'<https://a.example/next?api_key={WORD}>; rel="next"'}},
    "proxy": {"headers": {"proxy-authorization": f"Bearer {WORD}"}},
    "organization": {"headers": {"openai-organization": WORD}},
    "query": {"params": {"key": WORD, "alt": "sse"}},
    "signed query": {"params": {"X-Amz-Signature": WORD, "X-Amz-Credential": WORD, "sig": WORD, "access_token": WORD}},
    "a field": {"json": {"api_key": WORD, "a": [{"accessToken": WORD, "client_secret": WORD}]}},
    "a tool's server": {
        "json": {"tools": [{"type": "mcp", "headers": {"Authorization": f"Bearer {WORD}"}, "authorization": WORD}]}
    },
    "an address": {"json": {"image_url": f"https://u:{WORD}@a.example/i.png?sig={WORD}&w=1"}},
    "a form": {"data": {"grant_type": "client_credentials", "client_secret": WORD}},
    "a key in its prompt": {"headers": {"authorization": f"Bearer {WORD}"}, "json": {"content": f"my key is {WORD}!"}},
    "a key in its path": {"headers": {"authorization": f"Bearer {WORD}"}, "path": f"/bot{WORD}/x"},
    "text": {"headers": {"x-api-key": WORD, "content-type": "text/plain"}, "data": f"key {WORD}"},
}


@pytest.mark.parametrize("sent", SECRETS.values(), ids=SECRETS)
async def test_no_credential_of_a_request_is_written(sent: dict[str, Any], tmp_path: Path) -> None:
    options = dict(sent)
    path = options.pop("path", "/x")

    async def send(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.post(url + path, **options) as answer:
            assert answer.status == 200
            await answer.read()

    written = await recorded(tmp_path / "a", send)

    assert WORD not in written
    assert base64.b64encode(f"user:{WORD}".encode()).decode() not in written
    async with cassette(tmp_path / "a", NOWHERE) as made:
        await send(made.url)


async def test_another_key_gets_the_same_recording(tmp_path: Path) -> None:
    def sending(key: str) -> Callable[[str], Any]:
        async def send(url: str) -> str:
            return await ask(
                url, {**CHAT, "api_key": key}, headers={"authorization": f"Bearer {key}"}, params={"key": key}
            )

        return send

    await recorded(tmp_path / "a", sending(KEY))

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await sending("none")(made.url) == "Hello"


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_no_credential_of_an_answer_is_written_and_its_pieces_keep_their_lengths(
    size: int, tmp_path: Path
) -> None:
    body = json.dumps(
        {"access_token": 'secret-1 \\"x', "clientSecret": "secret-2", "echo": f"key {KEY} is wrong", "token": "Hi"}
    )
    pieces = [body.encode()[at : at + size] for at in range(0, len(body), size)]

    await recorded(tmp_path / "a", ask_for_anything, *pieces)

    (path,) = files(tmp_path / "a")
    replayed = b"".join(data for _, data in read_recording(path.read_bytes()))
    assert len(replayed) == len(body)
    found = json.loads(replayed)
    assert (found["token"], found["echo"]) == ("Hi", f"key {'*' * len(KEY)} is wrong")
    assert set(found["access_token"] + found["clientSecret"]) == {"*"}


async def ask_for_anything(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(url + "/x", headers={"authorization": f"Bearer {KEY}"}) as answer:
            await answer.read()


async def test_no_credential_in_an_answers_headers_is_written(tmp_path: Path) -> None:
    told = {"set-cookie": f"a={KEY}", "x-session-token": KEY, "openai-organization": "org-123456789", "x-kept": "1"}
    async with running(Upstream(headers=told)) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)

    written = files(tmp_path / "a")[0].read_text()
    assert KEY not in written
    assert "org-123456789" not in written
    async with cassette(tmp_path / "a", NOWHERE) as made, httpx2.AsyncClient() as client:
        answer = await client.post(made.url + "/chat/completions", json=CHAT)
        assert answer.headers["x-kept"] == "1"
        assert "set-cookie" not in answer.headers


async def test_a_compressed_answer_is_recorded_as_it_reads(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps({"access_token": WORD, "text": "Hello"}).encode())
    answers: list[Any] = []

    async def send(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.post(url + "/x") as answer:
            answers.append(await answer.json(content_type=None))

    async with running(Upstream(packed, headers={"content-encoding": "gzip"})) as upstream:
        async with cassette(tmp_path / "a", upstream.url) as made:
            await send(made.url)
    async with cassette(tmp_path / "a", NOWHERE) as made:
        await send(made.url)

    assert answers == [{"access_token": WORD, "text": "Hello"}, {"access_token": "*" * len(WORD), "text": "Hello"}]


async def test_a_compressed_request_is_sent_and_stored_as_it_reads(tmp_path: Path) -> None:
    body = gzip.compress(json.dumps({"api_key": WORD, "text": "Hi"}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        async with aiohttp.ClientSession() as session, session.post(made.url + "/x", data=body, headers=headers):
            pass

    (_, _, received, content) = upstream.asked[0]
    assert "content-encoding" not in received
    assert json.loads(content) == {"api_key": WORD, "text": "Hi"}
    assert heads(tmp_path / "a")[0]["request"]["body"] == {"api_key": "[redacted]", "text": "Hi"}


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_are_recorded_and_replayed(status: int, tmp_path: Path) -> None:
    found: list[tuple[int, bytes]] = []

    async def send(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            for path in ("/x", "/y"):
                async with session.get(url + path) as answer:
                    found.append((answer.status, await answer.read()))

    async with running(Upstream(status=status)) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        upstream.pieces = ()
        await send(made.url)
    async with cassette(tmp_path / "a", NOWHERE) as made:
        await send(made.url)

    assert found == [(status, b"")] * 4


async def test_headers_of_one_name_are_all_kept(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        headers = [("anthropic-beta", "one"), ("anthropic-beta", "two")]
        async with aiohttp.ClientSession() as session, session.post(made.url + "/x", headers=headers):
            pass

    assert upstream.asked[0][2]["anthropic-beta"] == "one, two"


async def test_no_credential_is_in_a_problem(tmp_path: Path) -> None:
    async with cassette(tmp_path / "a", NOWHERE, mode="none") as made, aiohttp.ClientSession() as session:
        async with session.get(f"{made.url}/bot{WORD}/x", headers={"authorization": f"Bearer {WORD}"}) as answer:
            assert answer.status == 400
            said = await answer.text()

    (problem,) = made.problems
    assert problem.startswith("GET /bot[redacted]/x: there are no recordings")
    assert WORD not in said


@pytest.mark.parametrize(
    "url", ["https://user:{}@a.example/v1", "https://a.example/v1?key={}", "https://a.example/#{}", "https://"]
)
async def test_a_base_url_has_a_host_and_a_path_alone(url: str, tmp_path: Path) -> None:
    with pytest.raises(sk.PipelineError, match="expected a base URL of a host and a path") as caught:
        Cassette(tmp_path / "a", url.format(WORD))
    assert WORD not in str(caught.value)


async def test_names_of_ones_own_are_replaced_too(tmp_path: Path) -> None:
    async def send(url: str) -> None:
        body = {"tenant": "tenant-secret", "a": {"patient": "Alice"}}
        await ask(url, body, headers={"x-tenant": "tenant-secret"}, params={"shard": "shard-secret"})

    written = await recorded(tmp_path / "a", send, redact=("x-tenant", "tenant", "patient", "shard"))

    assert not any(secret in written for secret in ("tenant-secret", "Alice", "shard-secret"))


async def test_what_only_sounds_like_a_credential_stays(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"token": {"type": "string"}, "location": {"type": "string"}},
        "required": ["token"],
    }
    body = {**CHAT, "max_tokens": 5, "author": "Ann", "tools": [{"parameters": schema}]}

    async def send(url: str) -> None:
        await ask(url, body)

    await recorded(tmp_path / "a", send)

    (head,) = heads(tmp_path / "a")
    assert head["request"]["body"] == body


async def test_a_file_that_is_uploaded_is_stored_as_its_digest(tmp_path: Path) -> None:
    async def send(url: str, content: bytes = b"RIFF the sound of Alice") -> int:
        form = aiohttp.FormData({"model": "whisper"})
        form.add_field("file", content, filename="a.wav")
        async with aiohttp.ClientSession() as session, session.post(url + "/x", data=form) as answer:
            return answer.status

    written = await recorded(tmp_path / "a", send)

    assert "Alice" not in written
    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await send(made.url, b"another sound") == 400
        assert await send(made.url) == 200


# Which request has which recording


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"model": "other"}, "$.model"),
        ({"messages": [{"role": "user", "content": "the secret of Alice"}]}, "$.messages[0].content"),
        ({"seed": 1}, "$.seed (not recorded)"),
        ({"messages": []}, "$.messages"),
    ],
)
async def test_a_request_without_a_recording_is_an_error_that_says_where_it_differs(
    change: dict[str, Any], place: str, tmp_path: Path
) -> None:
    await recorded(tmp_path / "a", ask)

    async with cassette(tmp_path / "a", NOWHERE) as made:
        with pytest.raises(sk.StatusError) as caught:
            await ask(made.url, {**CHAT, **change})
    assert caught.value.status == 400
    assert caught.value.type == "no_recording"
    (problem,) = made.problems
    assert problem in caught.value.detail
    assert problem == (
        f"POST /chat/completions: it has no recording: the nearest is 01.jsonl, which differs in {place}; "
        "record it with --cassette-mode=new, or all of them anew with --cassette-mode=all"
    )
    assert "Alice" not in problem


async def test_the_nearest_recording_is_named(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)
        await ask(made.url, {**CHAT, "model": "other", "n": 2})

    async with cassette(tmp_path / "a", NOWHERE) as made, httpx2.AsyncClient() as client:
        body = {**CHAT, "model": "other", "n": 2, "seed": 1}
        await client.post(made.url + "/chat/completions", json=body)
        await client.get(made.url + "/other?a=1")
    assert "the nearest is 02.jsonl, which differs in $.seed (not recorded);" in made.problems[0]
    assert "differs in method, path, query.a (not recorded), $;" in made.problems[1]


async def test_a_recording_is_replayed_once_unless_it_may_be_repeated(tmp_path: Path) -> None:
    await recorded(tmp_path / "a", ask)

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await ask(made.url) == "Hello"
        with pytest.raises(sk.StatusError):
            await ask(made.url)
        assert "every recording of it was replayed already (01.jsonl was the last)" in made.problems[0]
    async with cassette(tmp_path / "a", NOWHERE, repeat=True) as made:
        assert [await ask(made.url) for _ in range(3)] == ["Hello"] * 3


async def test_the_order_of_keys_and_of_the_query_does_not_matter(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url, params={"a": "1", "b": "2"})

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await ask(made.url, dict(reversed(CHAT.items())), params={"b": "2", "a": "1"}) == "Hello"


async def test_fields_that_change_with_every_run_are_ignored_where_that_is_said(tmp_path: Path) -> None:
    def body(run: int) -> dict[str, Any]:
        return {**CHAT, "metadata": {"run": run}, "messages": [{"role": "user", "content": "Hi", "id": run}]}

    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url, body(1), params={"run": "1"})

    async with cassette(tmp_path / "a", NOWHERE, ignore=("metadata", "id", "run")) as made:
        assert await ask(made.url, body(2), params={"run": "2"}) == "Hello"
    async with cassette(tmp_path / "a", NOWHERE, match=("method", "path")) as made:
        assert await ask(made.url, body(3), params={"run": "3"}) == "Hello"


async def test_headers_are_matched_where_that_is_said(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url, headers={"x-version": "1"})
    match = ("method", "path", "headers")

    async with cassette(tmp_path / "a", NOWHERE, match=match) as made:
        with pytest.raises(sk.StatusError):
            await ask(made.url, headers={"x-version": "2"})
        assert "differs in headers.x-version;" in made.problems[0]
        assert await ask(made.url, headers={"x-version": "1", "x-request-id": "7"}) == "Hello"


async def test_a_websocket_is_refused(tmp_path: Path) -> None:
    async with cassette(tmp_path / "a", NOWHERE) as made, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(made.url.replace("http", "ws") + "/x")
    assert made.problems == ["GET /x: a WebSocket can't be recorded"]


# Modes


async def test_nothing_is_recorded_where_that_is_forbidden(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream:
        async with cassette(tmp_path / "a", upstream.url, mode="none") as made:
            with pytest.raises(sk.StatusError):
                await ask(made.url)
    assert upstream.asked == []
    assert not (tmp_path / "a").exists()
    assert made.problems == [
        "POST /chat/completions: there are no recordings, and --cassette-mode=none makes none; "
        "record it with --cassette-mode=new, or all of them anew with --cassette-mode=all"
    ]


async def test_new_requests_are_recorded_beside_the_others_in_the_mode_for_that(tmp_path: Path) -> None:
    await recorded(tmp_path / "a", ask)

    async with (
        running(Upstream(delta("Bye"), END)) as upstream,
        cassette(tmp_path / "a", upstream.url, mode="new") as made,
    ):
        assert [await ask(made.url), await ask(made.url, {**CHAT, "n": 1})] == ["Hello", "Bye"]
    assert len(upstream.asked) == 1
    assert [path.name for path in files(tmp_path / "a")] == ["01.jsonl", "02.jsonl"]

    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert [await ask(made.url, {**CHAT, "n": 1}), await ask(made.url)] == ["Bye", "Hello"]


async def test_all_are_recorded_anew_in_the_mode_for_that(tmp_path: Path) -> None:
    async with running(Upstream()) as upstream, cassette(tmp_path / "a", upstream.url) as made:
        await ask(made.url)
        await ask(made.url)

    async with (
        running(Upstream(delta("Bye"), END)) as upstream,
        cassette(tmp_path / "a", upstream.url, mode="all") as made,
    ):
        assert await ask(made.url) == "Bye"
    assert [path.name for path in files(tmp_path / "a")] == ["01.jsonl"]
    async with cassette(tmp_path / "a", NOWHERE) as made:
        assert await ask(made.url) == "Bye"


async def test_a_provider_that_is_not_there_is_an_error_and_nothing_is_kept(tmp_path: Path) -> None:
    async with cassette(tmp_path / "a", NOWHERE) as made:
        with pytest.raises(sk.StatusError):
            await ask(made.url)
    assert made.problems == ["POST /chat/completions: the provider could not be reached: ClientConnectorError"]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("status", "kept"), [(200, True), (401, False)])
async def test_an_error_is_not_kept_where_the_test_failed(status: int, kept: bool, tmp_path: Path) -> None:
    async with running(Upstream(b"{}", status=status)) as upstream:
        made = Cassette(tmp_path / "a", upstream.url)
        async with made.serving(), httpx2.AsyncClient() as client:
            await client.get(made.url + "/x")

    assert made.save(test_failed=True) is kept
    assert (tmp_path / "a").exists() is kept
    assert made.save()


@pytest.mark.parametrize(
    "content", ["", "no json", '{"streamkit":"recording/1"}', '{"streamkit":"recording/1","request":{}}\n{"t":"x"}']
)
async def test_a_file_that_is_no_exchange_is_a_typed_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "01.jsonl").write_text(content)

    with pytest.raises(sk.errors.RecordingError, match=r"01\.jsonl: expected an exchange of a cassette"):
        Cassette(tmp_path, NOWHERE)


@pytest.mark.parametrize(
    ("upstream", "options"),
    [
        ("api.openai.com", {}),
        ("ftp://a", {}),
        ({}, {}),
        ({"a/b": NOWHERE}, {}),
        ({"": NOWHERE, "b": NOWHERE}, {}),
        (1, {}),
        (NOWHERE, {"mode": "twice"}),
        (NOWHERE, {"match": ("host",)}),
        (NOWHERE, {"pace": 0}),
    ],
)
async def test_wrong_options_are_refused(upstream: Any, options: Any, tmp_path: Path) -> None:
    with pytest.raises(sk.PipelineError, match="expected"):
        Cassette(tmp_path, upstream, **options)


# Faults


@pytest_asyncio.fixture(params=["recording", "replaying"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Cassette, None]:
    """A cassette that is recorded while it goes wrong, and one that was before."""
    folder = tmp_path / "a"
    async with running(Upstream()) as upstream:
        if request.param == "replaying":
            await recorded(folder, ask)
        async with cassette(folder, upstream.url) as made:
            yield made
    assert len(upstream.asked) == (request.param == "recording")
    assert [path.name for path in files(folder)] == ["01.jsonl"]
    assert b"".join(data for _, data in read_recording(files(folder)[0].read_bytes())) == b"".join(PIECES)


async def outcome(made: Cassette, **options: Any) -> tuple[str, type[Exception] | None, str]:
    stream = sk.http.post(f"{made.url}/chat/completions", json=CHAT, **options) | READ
    text, error = "", None
    try:
        async with stream as events:
            async for event in events:
                text += event.text if isinstance(event, sk.TextDelta) else ""
    except sk.StreamkitError as caught:
        error = type(caught)
    return text, error, stream.end.reason if stream.end else ""


WRONG: dict[str, tuple[Any, tuple[str, type[Exception] | None, str]]] = {
    "cut": (f"cut={len(delta('Hel'))}", ("Hel", sk.errors.Disconnected, "truncated")),
    "a function": (Cut(len(delta("Hel"))), ("Hel", sk.errors.Disconnected, "truncated")),
    "several": ([Garbage(0, b": hi\n\n"), Cut(6, clean=True)], ("", None, "truncated")),
    "reset": (f"reset={len(delta('Hel'))}", ("Hel", sk.errors.Disconnected, "truncated")),
    "page": ("html", ("", sk.errors.ContentTypeError, "error")),
    "error": ("json-error", ("", sk.ProviderError, "provider_error")),
    "length": ("wrong-length", ("Hello", None, "completed")),
    "no end": ("no-done", ("Hello", None, "completed")),
}


@pytest.mark.parametrize(("fault", "expected"), WRONG.values(), ids=WRONG)
async def test_an_answer_goes_wrong_on_demand_and_the_next_one_is_right(
    made: Cassette, fault: Any, expected: Any
) -> None:
    made.fail(fault)

    found = await outcome(made)
    assert found == expected
    assert await outcome(made) == ("Hello", None, "completed")


async def test_silence_is_what_a_deadline_is_for(made: Cassette) -> None:
    made.fail(Pause(len(delta("Hel"))))

    quick = sk.http.Deadlines(idle_bytes=0.05)
    assert await outcome(made, deadlines=quick) == ("Hel", sk.errors.DeadlineExceeded, "timeout")
    assert await outcome(made) == ("Hello", None, "completed")


async def test_a_retry_gets_the_recording(made: Cassette) -> None:
    made.fail(status=503, headers={"retry-after": "0"}, times=2)

    assert await outcome(made, retry=Retry(attempts=3, first=0)) == ("Hello", None, "completed")
    assert len(made.requests) == 3


async def test_an_sdk_tries_again_behind_the_cassette(made: Cassette) -> None:
    made.fail(status=429, headers={"retry-after-ms": "1"})

    async with openai.AsyncOpenAI(base_url=made.url, api_key=KEY, max_retries=1) as client:
        stream = await client.chat.completions.create(**CHAT)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello"
    assert made.requests[0].json == CHAT
    assert repr(made.requests[0]) == "ReceivedRequest(POST /chat/completions)"


async def test_all_answers_can_be_errors(tmp_path: Path) -> None:
    async with cassette(tmp_path / "a", NOWHERE) as made:
        made.fail(status=500, times=math.inf)
        found = [await outcome(made) for _ in range(3)]
    assert found == [("", sk.StatusError, "error")] * 3
    assert made.problems == []


@pytest.mark.parametrize("fault", ["cut", "cut=x", "explode", ""])
async def test_a_fault_that_there_is_none_of_is_refused(fault: str, tmp_path: Path) -> None:
    with pytest.raises(sk.PipelineError, match=r"^fail: expected"):
        Cassette(tmp_path, NOWHERE).fail(fault)
