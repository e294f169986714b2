"""The cassette of one test: a server on this machine that stands for the provider, records its answers once and replays them."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

import aiohttp
import anyio
import anyio.lowlevel
from aiohttp import web
from yarl import URL

from streamkit.cli.faults import EVENT_STREAM, Sending, sending
from streamkit.cli.hang_up import hang_up
from streamkit.errors import PipelineError, StreamkitError
from streamkit.sources.faults import Fault
from streamkit.sources.recording import REDACTED, End, Piece
from streamkit.sources.request import address
from streamkit.testing.cassettes.exchange import (
    MATCHED,
    Exchange,
    Part,
    ReceivedRequest,
    StoredRequest,
    read_exchange,
    write_exchange,
)
from streamkit.testing.cassettes.redaction import Redaction

Mode: TypeAlias = Literal["once", "new", "all", "none"]
MODES: tuple[Mode, ...] = get_args(Mode)
REST_SECONDS = 30.0
"""How long the end of a test waits for the rest of an answer that is being recorded and that its client has left."""
_LOOK_SECONDS = 0.05
_PIECE_BYTES = 64 * 1024
_SUFFIX = ".jsonl"
# (RFC 9110, 7.6.1, and what this server says itself)
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "date", "server"),
    }
)
_NOT_SENT = _HOP_BY_HOP | {"host", "content-length", "content-encoding", "accept-encoding", "expect"}
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_WITHOUT_BODY = (204, 304)
_NOT_REACHED = (aiohttp.ClientError, OSError, ValueError)


@dataclass
class _Demand:
    # What goes wrong with the next answers.
    fault: str | tuple[Fault, ...] = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    times: float = 1


class Cassette:
    """A server that answers as the provider did. Made by the fixture `cassette` of a test with `@pytest.mark.cassette(…)`.

    `url` takes the place of the provider's base URL `upstream`; with several providers, by their names, `urls` has one for each.
    `requests` are those that the test has sent so far.

    `folder` has a file for each exchange. `mode` says what happens to a request without a recording: with `once` it is recorded
    if the folder has no recordings, with `new` always; `all` records every one anew, and `none` never does. What was recorded is
    written by `save`. `match` names the parts of a request that a recording must have in common with it, of which the fields of
    a JSON body and of the query in `ignore` are left out. `redact`: names of headers and fields whose values are replaced beside
    those that are known. `pace` times the recorded speed; without it nothing waits. `repeat`: the last of several equal
    recordings may be replayed again.
    """

    def __init__(
        self,
        folder: Path,
        upstream: str | Mapping[str, str],
        *,
        mode: Mode = "once",
        match: Sequence[Part] = MATCHED,
        ignore: Collection[str] = (),
        redact: Collection[str] = (),
        pace: float | None = None,
        repeat: bool = False,
    ) -> None:
        self._folder = folder
        self._upstreams = _checked(upstream)
        self._match = _among("match", tuple(match), (*MATCHED, "headers"))
        (self._mode,) = _among("mode", (mode,), MODES)
        if pace is not None and not pace > 0:
            raise PipelineError(f"pace: expected more than 0, or None for no waiting; found {pace!r}")
        self._ignore = frozenset(ignore)
        self._redact = frozenset(redact)
        self._pace = pace
        self._repeat = repeat
        self.requests: list[ReceivedRequest] = []
        self.problems: list[str] = []
        """Requests that could be neither replayed nor recorded, and why."""
        paths = sorted(folder.glob("*" + _SUFFIX)) if folder.is_dir() and mode != "all" else []
        self._exchanges = [read_exchange(path) for path in paths]
        self._records = mode in ("new", "all") or (mode == "once" and not paths)
        self._played = [False] * len(paths)
        self._recorded: dict[str, bytes] = {}
        self._failed = False
        self._demands: deque[_Demand] = deque()
        self._root = ""
        self._recording: set[asyncio.Task[Any]] = set()
        self._numbers = len(paths)
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The base URL to give to the client, in place of the provider's; without a slash at its end."""
        if len(self._upstreams) != 1:
            raise PipelineError(f"this cassette has several providers: use .urls[{next(iter(self._upstreams))!r}]")
        return next(iter(self.urls.values()))

    @property
    def urls(self) -> dict[str, str]:
        """The base URL for each provider, by its name."""
        return {name: f"{self._root}/{name}" if name else self._root for name in self._upstreams}

    @property
    def is_recording(self) -> bool:
        """Whether a request without a recording is sent to the provider."""
        return self._records

    @property
    def unplayed(self) -> list[str]:
        """The files of the recordings that no request of the test has matched."""
        return [each.name for each, played in zip(self._exchanges, self._played, strict=True) if not played]

    def fail(
        self,
        fault: str | Fault | Iterable[Fault] = "",
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        times: float = 1,
    ) -> None:
        """Let the next answer go wrong, or the next `times` of them; `math.inf` is all.

        `fault` is one of `streamkit.sources.faults`, several, or a word of the embedded provider's, such as `"cut=300"`,
        `"reset=300"`, `"stall=300"` or `"html"`. `status` answers with that error instead, and with `headers`. A recording that
        went wrong is replayed to the next request that it matches, such as a retry.
        """
        if not fault and not status:
            raise PipelineError("fail: expected a fault, such as 'cut=300', or a status")
        faults: str | tuple[Fault, ...]
        if isinstance(fault, str):
            faults = fault
            try:
                sending(iter(()), fault or None)
            except ValueError as error:
                raise PipelineError(f"fail: {str(error).removeprefix('x-demo-fault: ')}") from None
        else:
            faults = (fault,) if callable(fault) else tuple(fault)
        self._demands.append(_Demand(faults, status, headers or {}, times))

    def save(self, *, test_failed: bool = False) -> bool:
        """Write what was recorded to the folder, and return whether it was.

        Not where the test has failed and an answer was an error: a wrong key is not to be replayed for ever.
        """
        if not self._recorded or (test_failed and self._failed):
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, content in self._recorded.items():
            unfinished = self._folder / f".{name}.unfinished"
            unfinished.write_bytes(content)
            unfinished.replace(self._folder / name)
        if self._mode == "all":
            for path in self._folder.glob("*" + _SUFFIX):
                if path.name not in self._recorded:
                    path.unlink()
        return True

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Cassette", None]:
        """Serve on a free port of this machine until the block is left."""
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._root = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_AUTOMATIC,
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=True,
            ) as self._session:
                yield self
                if self._recording:
                    await asyncio.wait(self._recording, timeout=REST_SECONDS)
                for task in self._recording:
                    task.cancel()
                if self._recording:
                    await asyncio.wait(self._recording)
        finally:
            await runner.cleanup()

    # One request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        received = await self._received(request)
        if received is None:
            return self._refuse(request, "this path belongs to none of the cassette's providers")
        self.requests.append(received)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return self._refuse(request, "a WebSocket can't be recorded")
        demand = self._next_demand()
        if demand and demand.status:
            return _error(demand.status, f"status {demand.status}, as the test demanded", demand.headers)
        redaction = Redaction(self._redact)
        stored = StoredRequest.of(received, redaction)
        at = self._find(stored)
        if at is None and not self._records:
            return self._refuse(request, self._missing(stored))
        if at is None:
            task = asyncio.current_task()
            assert task is not None
            self._recording.add(task)
            try:
                if demand is None:
                    return await self._record(request, received, stored, redaction)
                at = await self._record_first(received, stored, redaction)
            finally:
                self._recording.discard(task)
        if at is None:
            return self._refuse(request, "the provider could not be reached")
        self._played[at] = self._played[at] or demand is None
        return await self._replay(request, self._exchanges[at], demand)

    async def _received(self, request: web.Request) -> ReceivedRequest | None:
        name, path = "", request.rel_url.raw_path
        if "" not in self._upstreams:
            name, _, rest = path.removeprefix("/").partition("/")
            path = "/" + rest
        if name not in self._upstreams:
            return None
        return ReceivedRequest(
            request.method,
            path,
            request.rel_url.raw_query_string,
            _joined(request.headers.items()),
            await request.read(),
            name,
        )

    def _next_demand(self) -> _Demand | None:
        if not self._demands:
            return None
        demand = self._demands[0]
        demand.times -= 1
        if demand.times < 1:
            self._demands.popleft()
        return demand

    def _find(self, stored: StoredRequest) -> int | None:
        found = [
            at
            for at, exchange in enumerate(self._exchanges)
            if not stored.differs(exchange.request, self._match, self._ignore)
        ]
        left = [at for at in found if not self._played[at]]
        return left[0] if left else found[-1] if found and self._repeat else None

    def _missing(self, stored: StoredRequest) -> str:
        how = "record it with --cassette-mode=new, or all of them anew with --cassette-mode=all"
        if not self._exchanges:
            return f"there are no recordings, and --cassette-mode={self._mode} makes none; {how}"
        differences = [(stored.differs(each.request, self._match, self._ignore), each.name) for each in self._exchanges]
        places, name = min(differences, key=lambda each: len(each[0]))
        if not places:
            return f"every recording of it was replayed already ({name} was the last); {how}, or set repeat=True"
        shown = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        return f"it has no recording: the nearest is {name}, which differs in {shown}; {how}"

    def _refuse(self, request: web.Request, why: str) -> web.Response:
        redaction = Redaction(self._redact)
        redaction.learn(_joined(request.headers.items()), request.rel_url.query.items())
        problem = f"{request.method} {redaction.text(request.rel_url.raw_path)}: {why}"
        self.problems.append(problem)
        # A status that no client tries again.
        return _error(400, f"cassette {self._folder.name}: {problem}")

    # Replay

    async def _replay(self, request: web.Request, exchange: Exchange, demand: _Demand | None) -> web.StreamResponse:
        answer = _with_fault(exchange.pieces, demand)
        headers = self._headers(exchange.headers, exchange.request.upstream)
        if demand is not None:
            headers.pop("content-length", None)
        response = web.StreamResponse(status=exchange.status, headers={**headers, **answer.headers})
        began = time.monotonic()
        await self._wait(request, began, exchange.answered)
        with suppress(ConnectionResetError):
            await response.prepare(request)
            if request.method == "HEAD" or exchange.status in _WITHOUT_BODY:
                return response
            try:
                for at, data in answer.pieces:
                    if not await self._wait(request, began, at):
                        return response
                    if data:
                        await response.write(data)
            except StreamkitError:
                await hang_up(request, reset=answer.reset)
                return response
            if exchange.was_left and demand is None:
                await hang_up(request, reset=False)
        return response

    async def _wait(self, request: web.Request, began: float, at: float) -> bool:
        """Wait until a piece is due, and return whether the client is still there. A fault's own wait is as long as it says."""
        due = math.inf if at == math.inf else began + at / self._pace if self._pace else 0.0
        while (left := due - time.monotonic()) > 0:
            if request.transport is None or request.transport.is_closing():
                return False
            await anyio.sleep(min(left, _LOOK_SECONDS))
        # Each piece goes out by itself.
        await anyio.lowlevel.checkpoint()
        return True

    def _headers(self, headers: Mapping[str, str], upstream: str) -> dict[str, str]:
        """The answer's headers as the client gets them; a redirect within the provider leads here."""
        given = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP and value != REDACTED}
        base = self._upstreams[upstream].rstrip("/")
        if (location := given.get("location", "")).startswith(base):
            given["location"] = self.urls[upstream] + location.removeprefix(base)
        return given

    # Recording

    async def _record(
        self, request: web.Request, received: ReceivedRequest, stored: StoredRequest, redaction: Redaction
    ) -> web.StreamResponse:
        """Pass the answer on while it comes, and keep it. A client that leaves does not end the recording."""
        take = _Take(self, received, stored, redaction)
        try:
            async with take.upstream_answer() as answer:
                headers = self._headers(take.headers, received.upstream)
                response = web.StreamResponse(status=answer.status, headers=headers)
                with suppress(ConnectionResetError):
                    await response.prepare(request)
                while data := await take.read(answer):
                    if response.prepared:
                        with suppress(ConnectionResetError):
                            await response.write(data)
                return response
        except _BrokenReplay:
            await hang_up(request, reset=False)
            return web.Response()
        except _NOT_REACHED as error:
            return self._refuse(request, f"the provider could not be reached: {type(error).__name__}")

    async def _record_first(self, received: ReceivedRequest, stored: StoredRequest, redaction: Redaction) -> int | None:
        """Record all of the answer, so that it can go wrong afterwards, and return its number."""
        take = _Take(self, received, stored, redaction, played=False)
        with suppress(*_NOT_REACHED, _BrokenReplay):
            async with take.upstream_answer() as answer:
                while await take.read(answer):
                    pass
        return take.number

    def upstream_of(self, received: ReceivedRequest) -> tuple[str, dict[str, str]]:
        """The provider's address for a request, and the headers to send."""
        base = self._upstreams[received.upstream].rstrip("/")
        query = "?" + received.raw_query if received.raw_query else ""
        return base + received.path + query, {
            **{name: value for name, value in received.headers.items() if name not in _NOT_SENT},
            # What is recorded can be read.
            "accept-encoding": "identity",
        }

    def begin(self) -> tuple[aiohttp.ClientSession, int]:
        """A recording begins: the session for it, and its number."""
        assert self._session is not None
        self._numbers += 1
        return self._session, self._numbers

    def end(self, number: int, content: bytes | None, exchange: Exchange | None, *, played: bool) -> int | None:
        """A recording has ended; without an answer there is nothing to keep."""
        if content is None or exchange is None:
            self._failed = True
            return None
        self._failed = self._failed or exchange.status >= 400
        self._recorded[exchange.name] = content
        self._exchanges.append(exchange)
        self._played.append(played)
        return len(self._exchanges) - 1


class _BrokenReplay(Exception):
    """The provider's connection broke in the middle of an answer, which is part of the recording."""


class _Take:
    """The recording of one exchange."""

    def __init__(
        self,
        cassette: Cassette,
        received: ReceivedRequest,
        stored: StoredRequest,
        redaction: Redaction,
        *,
        played: bool = True,
    ) -> None:
        self.number: int | None = None
        self.headers: dict[str, str] = {}
        self._cassette = cassette
        self._received = received
        self._stored = stored
        self._redaction = redaction
        self._played = played
        self._came: list[Piece] = []
        self._began = 0.0
        self._answered = 0.0
        self._end: End = "closed"

    @asynccontextmanager
    async def upstream_answer(self) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The provider's answer. Leaving it ends the recording."""
        session, number = self._cassette.begin()
        url, headers = self._cassette.upstream_of(self._received)
        self._began = time.monotonic()
        status = 0
        try:
            async with session.request(
                self._received.method,
                URL(url, encoded=True),
                headers=headers,
                data=self._received.body or None,
                allow_redirects=False,
            ) as answer:
                self._answered, status = time.monotonic() - self._began, answer.status
                self.headers = _joined(answer.headers.items())
                if self.headers.pop("content-encoding", None):
                    # It is recorded as it reads.
                    self.headers.pop("content-length", None)
                yield answer
        finally:
            self._keep(number, status, url)

    async def read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The next piece of the body, empty at its end. None has bytes of two chunks or of two reads."""
        try:
            while True:
                data, ends_chunk = await answer.content.readchunk()
                if data:
                    self._came.append((round(time.monotonic() - self._began, 6), data))
                    return data
                # An answer that has no body says only so, again and again.
                if not ends_chunk or answer.content.at_eof():
                    self._end = "eof"
                    return b""
        except aiohttp.ClientError as error:
            self._end = "error"
            raise _BrokenReplay from error

    def _keep(self, number: int, status: int, url: str) -> None:
        content = exchange = None
        if status:
            name = f"{number:02}{_SUFFIX}"
            hidden = self._redaction.pieces([data for _, data in self._came])
            pieces = [(at, data) for (at, _), data in zip(self._came, hidden, strict=True)]
            headers = self._redaction.headers({k: v for k, v in self.headers.items() if k not in _HOP_BY_HOP})
            shown = self._redaction.text(address(url))
            answered = round(self._answered, 6)
            content = write_exchange(self._stored, shown, status, headers, answered, pieces, self._end)
            exchange = Exchange(self._stored, status, headers, content, answered, name)
        self.number = self._cassette.end(number, content, exchange, played=self._played)


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names in lower case; several of one name are one. (RFC 9110, 5.2; RFC 9113, 8.2.3)"""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}{'; ' if key == 'cookie' else ', '}{value}" if key in found else value
    return found


def _with_fault(pieces: Iterator[Piece], demand: _Demand | None) -> Sending:
    if demand is None:
        return Sending(pieces, {})
    if isinstance(demand.fault, str):
        answer = sending(pieces, demand.fault)
        own = {name: value for name, value in answer.headers.items() if EVENT_STREAM.get(name) != value}
        return Sending(answer.pieces, own, answer.reset)
    for fault in demand.fault:
        pieces = fault(pieces)
    return Sending(pieces, {})


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = "no_recording" if status == 400 else "demanded"
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": None, "code": kind}}, status=status, headers=headers
    )


def _checked(upstream: object) -> dict[str, str]:
    found = cast("Mapping[object, object]", upstream) if isinstance(upstream, Mapping) else {"": upstream}
    for name, url in found.items():
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise PipelineError(
                "cassette: expected the provider's base URL, such as 'https://api.openai.com/v1', found another value"
            )
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment or not parts.hostname:
            raise PipelineError(
                "cassette: expected a base URL of a host and a path; credentials and the query belong to the client's requests"
            )
        if not isinstance(name, str) or "/" in name or (not name and len(found) > 1):
            raise PipelineError(f"cassette: expected a name without a slash for each provider, found {name!r}")
    if not found:
        raise PipelineError("cassette: expected the base URL of at least one provider, found none")
    return cast("dict[str, str]", dict(found))


def _among(name: str, given: tuple[Any, ...], allowed: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in given:
        if value not in allowed:
            raise PipelineError(f"{name}: expected {', '.join(map(repr, allowed))}, found {value!r}")
    return given
