"""A server of the Durable Streams protocol for its conformance suite: our reads, and writes straight into a memory log.

    python -m tests.relay.durable_server

Creating, appending, closing and deleting are here for the tests alone: a stream is written by `Relay.publish`. A message is an
event of the log, with its bytes as base64 in place of text.
"""

import asyncio
import json
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

import streamkit as sk
from streamkit.relay import Append, Claim, DurableStreams, MemoryLog, Relay
from streamkit.relay.batches import encode, join
from streamkit.sinks.aiohttp import respond_durable
from tests.sinks.servers import aiohttp_app

LONG = 1e9
TTL = r"0|[1-9][0-9]*"
LIMIT = 32 * 1024 * 1024


@dataclass
class Stored:
    """The configuration of a stream, which the log does not have."""

    content_type: str
    ttl: int | None
    expires: float | None
    closed: bool
    sequence: str | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def config(self) -> tuple[Any, ...]:
        return _main(self.content_type), self.ttl, self.expires, self.closed

    @property
    def keep(self) -> float:
        if self.expires is not None:
            return self.expires - time.time()
        return LONG if self.ttl is None else float(self.ttl)


def _main(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _bytes(event: sk.Event) -> list[bytes]:
    return [b64decode(event.text)] if isinstance(event, sk.TextDelta) else []


WRITER = sk.ops.FlatMap[sk.Event, bytes](_bytes)


class WritableServer:
    """The routes of every stream."""

    def __init__(self, streams: Relay, log: MemoryLog) -> None:
        self._streams, self._log = streams, log
        self._stored: dict[str, Stored] = {}
        self._reads: dict[str, DurableStreams] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request.path
        if self._log._found(key) is None:
            self._stored.pop(key, None)
        match request.method:
            case "PUT":
                return await self._put(request, key)
            case "POST":
                return await self._post(request, key)
            case "DELETE":
                self._log._logs.pop(key, None)
                return _answer(404 if self._stored.pop(key, None) is None else 204)
            case _:
                return await self._read(request, key)

    async def _read(self, request: web.Request, key: str) -> web.StreamResponse:
        stored = self._stored.get(key)
        headers: dict[str, str] = {}
        if stored is not None:
            if request.method == "HEAD" and stored.ttl is not None:
                headers["stream-ttl"] = f"{stored.ttl}"
            if request.method == "GET" and stored.ttl is not None:
                self._log._logs[key].expires = time.monotonic() + stored.ttl
        content_type = stored.content_type if stored else "application/octet-stream"
        if content_type not in self._reads:
            self._reads[content_type] = DurableStreams(
                self._streams, WRITER, content_type=content_type, long_poll=1.0, allow_origin="*"
            )
        return await respond_durable(request, self._reads[content_type], key, headers=headers)

    async def _put(self, request: web.Request, key: str) -> web.Response:
        body = await request.read()
        ttl, expires = request.headers.get("stream-ttl"), request.headers.get("stream-expires-at")
        if ttl is not None and (expires is not None or not (ttl.isdecimal() and (ttl == "0" or ttl[0] != "0"))):
            return _answer(400)
        try:
            until = None if expires is None else datetime.fromisoformat(expires).timestamp()
        except ValueError:
            return _answer(400)
        content_type = request.headers.get("content-type") or "application/octet-stream"
        new = Stored(content_type, None if ttl is None else int(ttl), until, _closes(request))
        old = self._stored.get(key)
        if old is not None:
            return await self._written(request, key, 200 if old.config == new.config else 409)
        messages = _messages(content_type, body)
        if messages is None:
            return _answer(400)
        self._stored[key] = new
        await self._log.claim(key, Claim(owner="a", lease=LONG, keep=new.keep))
        if messages or new.closed:
            await self._append(key, new, messages, ends=new.closed)
        return await self._written(request, key, 201)

    async def _post(self, request: web.Request, key: str) -> web.Response:
        body, stored, closes = await request.read(), self._stored.get(key), _closes(request)
        if stored is None:
            return _answer(404)
        async with stored.lock:
            if not body and not closes:
                return _answer(400)
            if stored.closed:
                return await self._written(request, key, 409 if body else 204)
            if body:
                given = request.headers.get("content-type")
                if not given:
                    return _answer(400)
                if _main(given) != _main(stored.content_type):
                    return _answer(409)
                sequence = request.headers.get("stream-seq")
                if sequence is not None:
                    if stored.sequence is not None and sequence <= stored.sequence:
                        return _answer(409)
                    stored.sequence = sequence
            messages = _messages(stored.content_type, body)
            if messages is None or (body and not messages):
                return _answer(400)
            stored.closed = closes
            await self._append(key, stored, messages, ends=closes)
        return await self._written(request, key, 204)

    async def _append(self, key: str, stored: Stored, messages: Sequence[bytes], *, ends: bool) -> None:
        events = [encode(sk.TextDelta(b64encode(message).decode())) for message in messages]
        if ends:
            events.append(encode(sk.StreamEnd("completed")))
        after = self._log._logs[key].last
        append = Append(
            key=key, owner="a", after=after, batches=[join(events)], lease=LONG, keep=stored.keep, ends=ends
        )
        (reply,) = await self._log.append([append])
        assert reply.result == "appended"

    async def _written(self, request: web.Request, key: str, status: int) -> web.Response:
        stored, state = self._stored[key], await self._streams.state(key)
        assert state is not None
        offset = f"{state.last.epoch:016d}_{state.last.sequence:016d}"
        headers = {"content-type": stored.content_type, "stream-next-offset": offset}
        if stored.closed:
            headers["stream-closed"] = "true"
        if status == 201:
            headers["location"] = str(request.url)
        return _answer(status, headers)


def _answer(status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, headers={"x-content-type-options": "nosniff", **(headers or {})})


def _closes(request: web.Request) -> bool:
    return request.headers.get("stream-closed", "").lower() == "true"


def _messages(content_type: str, body: bytes) -> list[bytes] | None:
    """The messages that a body has; `None` for one that is no JSON."""
    if not body:
        return []
    if _main(content_type) != "application/json":
        return [body]
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return [json.dumps(item).encode() for item in (value if isinstance(value, list) else [value])]


@asynccontextmanager
async def serve() -> AsyncGenerator[str, None]:
    """The address of a server on a free port."""
    log = MemoryLog()
    async with Relay(log, flush=0, tick=0.1) as streams:
        app = web.Application(client_max_size=LIMIT)
        app.router.add_route("*", "/{path:.*}", WritableServer(streams, log).handle)
        async with aiohttp_app(app) as url:
            yield url


async def main() -> None:
    async with serve() as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
