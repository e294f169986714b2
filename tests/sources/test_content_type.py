"""Every source with headers rejects a body of another content type; a body without a content type is read."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from aiohttp import web

import streamkit as sk
from streamkit.sources.content_type import is_readable, of_headers
from tests.dialects.streams import sse

BODY = sse({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}, "[DONE]")
READ: Any = sk.Parse() | sk.Extract()
READABLE = [
    None,
    "",
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "TEXT/EVENT-STREAM",
    "application/json",
    "application/json;charset=UTF-8",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/jsonlines",
    "application/stream+json",
    "application/x-json-stream",
    "application/problem+json",
    "application/vnd.api+json",
    "application/event-stream",
    "text/eventstream",
    "text/plain",
    "text/plain; charset=utf-8",
    "text/json",
    "text/markdown",
    "*/*",
    "utf-8",
    "event-stream",
    "application/octet-stream",
    "binary/octet-stream",
    "application/vnd.amazon.eventstream",
]
OTHERS = [
    "text/html",
    "text/html; charset=utf-8",
    "application/xhtml+xml",
    "application/xml",
    "text/xml",
    "text/csv",
    "image/png",
    "application/pdf",
    "audio/mpeg",
    "video/mp4",
    "font/woff2",
    "application/zip",
    "application/gzip",
    "application/grpc",
    "application/x-protobuf",
    "application/msgpack",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
]
BINARY = {
    "a frame with a wrong checksum": b"\x00\x00\x00\x7b\x00\x00\x00\x2b\xde\xad\xbe\xef:event-type\x07\x00\x05chunk",
    "an image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "a document": b"%PDF-1.7\n",
    "gzip": b"\x1f\x8b\x08\x00\x00",
    "a page": b"<!doctype html><html>",
}


@asynccontextmanager
async def served(body: bytes, content_type: str | None) -> AsyncGenerator[str, None]:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if content_type is not None:
            response.headers["content-type"] = content_type
        await response.prepare(request)
        await response.write(body)
        return response

    async def no_type(request: web.Request, response: web.StreamResponse) -> None:
        # aiohttp's server adds its own content type if there is none.
        if content_type is None:
            response.headers.pop("content-type", None)

    app = web.Application()
    app.on_response_prepare.append(no_type)
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def read(stream: sk.Stream[Any]) -> tuple[str, Exception | None]:
    text = ""
    try:
        async with stream as events:
            async for event in events:
                text += event.text if isinstance(event, sk.TextDelta) else ""
    except Exception as error:
        return text, error
    return text, None


def httpx_response(body: bytes, content_type: str | None) -> httpx2.Response:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    headers = {} if content_type is None else {"Content-Type": content_type}
    return httpx2.Response(200, headers=headers, content=pieces())


def recorded(path: Path, body: bytes, content_type: str | None) -> Path:
    headers = {} if content_type is None else {"Content-Type": content_type}
    head = {"streamkit": "recording/1", "status": 200, "headers": headers}
    piece = {"t": 0, "b64": __import__("base64").b64encode(body).decode()}
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, piece, {"t": 0, "end": "eof"})))
    return path


async def by_http(body: bytes, content_type: str | None, path: Path) -> tuple[str, Exception | None]:
    async with served(body, content_type) as url:
        return await read(sk.http.post(url, json={}) | READ)


async def by_aiohttp(body: bytes, content_type: str | None, path: Path) -> tuple[str, Exception | None]:
    async with served(body, content_type) as url, aiohttp.ClientSession() as session:
        return await read((await session.post(url)) | READ)


async def by_httpx(body: bytes, content_type: str | None, path: Path) -> tuple[str, Exception | None]:
    return await read(httpx_response(body, content_type) | READ)


async def by_sdk(body: bytes, content_type: str | None, path: Path) -> tuple[str, Exception | None]:
    class SdkStream:
        response = httpx_response(body, content_type)

        async def close(self) -> None:
            await self.response.aclose()

    return await read(SdkStream() | READ)


async def by_replay(body: bytes, content_type: str | None, path: Path) -> tuple[str, Exception | None]:
    return await read(sk.replay(recorded(path / "r.jsonl", body, content_type)) | READ)


SOURCES: dict[str, Any] = {
    "http": by_http,
    "aiohttp": by_aiohttp,
    "httpx": by_httpx,
    "an SDK": by_sdk,
    "replay": by_replay,
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
pytestmark = pytest.mark.asyncio


@each_source
@pytest.mark.parametrize("content_type", READABLE, ids=str)
async def test_what_may_be_an_answer_is_read(source: Any, content_type: str | None, tmp_path: Path) -> None:
    assert await source(BODY, content_type, tmp_path) == ("Hi", None)


@each_source
@pytest.mark.parametrize("content_type", OTHERS, ids=str)
async def test_what_says_it_is_something_else_is_refused(source: Any, content_type: str, tmp_path: Path) -> None:
    text, error = await source(b"a secret of Alice", content_type, tmp_path)

    assert isinstance(error, sk.errors.ContentTypeError)
    assert text == ""
    assert (error.content_type, error.body) == (content_type.partition(";")[0], b"a secret of Alice")
    assert str(error).endswith(f": expected text/event-stream or JSON, found {content_type.partition(';')[0]}")
    assert "Alice" not in repr(error)


@each_source
@pytest.mark.parametrize("content_type", ["application/octet-stream", "binary/octet-stream"])
@pytest.mark.parametrize("body", BINARY.values(), ids=BINARY)
async def test_what_says_nothing_is_looked_at(source: Any, content_type: str, body: bytes, tmp_path: Path) -> None:
    _, error = await source(body, content_type, tmp_path)

    assert isinstance(error, sk.errors.ContentTypeError)
    assert (error.content_type, error.body) == (content_type, body)


@pytest.mark.parametrize(
    "body", [BODY, b": hi\n\n" + BODY, b"\xef\xbb\xbf" + BODY, b"\r\n\r\n" + BODY, b'{"error":"m"}', b""]
)
async def test_text_of_an_unsaid_type_is_read(body: bytes, tmp_path: Path) -> None:
    _, error = await by_http(body, "application/octet-stream", tmp_path)

    assert not isinstance(error, sk.errors.ContentTypeError)


async def test_a_body_that_never_ends_does_not_hide_its_type() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 1000

    response = httpx2.Response(200, headers={"content-type": "image/png"}, content=pieces())

    _, error = await read(response | READ)

    assert isinstance(error, sk.errors.ContentTypeError)
    assert len(error.body) <= 64 * 1024


async def test_a_body_that_breaks_off_does_not_hide_its_type() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"abc"
        raise httpx2.ReadError("gone")

    response = httpx2.Response(200, headers={"content-type": "image/png"}, content=pieces())

    _, error = await read(response | READ)

    assert isinstance(error, sk.errors.ContentTypeError)
    assert error.body == b"abc"


async def test_the_response_is_closed() -> None:
    response = httpx_response(b"<html>", "text/html")

    await read(response | READ)

    assert response.is_closed


async def test_a_server_that_names_a_wrong_type_can_be_read_all_the_same() -> None:
    async with served(BODY, "image/png") as url:
        assert await read(sk.http.post(url, json={}, check_content_type=False) | READ) == ("Hi", None)


async def test_a_name_in_any_case_and_headers_of_any_mapping() -> None:
    assert of_headers({"CONTENT-TYPE": "Text/HTML; charset=x"}) == "text/html"
    assert of_headers({"x": "y"}) == of_headers(None) == of_headers("text/html") == of_headers({}) == ""
    assert of_headers({"content-type": "a secret\nof Alice"}) == ""
    assert is_readable("")
