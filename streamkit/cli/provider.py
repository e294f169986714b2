"""A local LLM provider with the wire format of OpenAI's APIs, scripted answers and a configurable pace.

    provider = Provider(answers={"Ping?": "Pong."})
    async with serve(provider) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any")

    POST /v1/chat/completions, /v1/completions    `stream`, `stream_options`, `n`, `max_tokens`, `tools`
    POST /v1/responses                            `stream`, `background`, `max_output_tokens`, `tools`
    GET /v1/responses/ID                          `stream=true`, `starting_after`, for a background response
    POST /v1/responses/ID/cancel
    POST /v1/moderations, GET /v1/models
    POST /recordings/NAME/v1/chat/completions     the bytes of NAME.sse, or of NAME.jsonl as written by `streamkit.record`
                                                  (also /v1/completions, and GET /recordings/NAME)

A moderation request has a string, several strings, or the parts of one message with at most one image. A category is flagged if
one of its words (`Provider.flagged`) occurs in the text, or in the URL of the image if the category applies to images.

A request with the header `x-demo-status: 429`, or with a model named `error-429`, is answered with that error. The header
`x-demo-fault` adds a fault to a streamed response, a recording or a moderation; BYTES is an offset in its body:

    cut=BYTES                     the connection is closed after BYTES, in the middle of the response
    cut=BYTES:clean               the response ends there as if it were complete
    reset=BYTES                   the connection is reset (TCP RST)
    stall=BYTES[:SECONDS]         after BYTES nothing is sent for SECONDS, or forever
    garbage=BYTES                 a few bytes are inserted that are neither text nor JSON
    duplicate=BYTES:LENGTH        the LENGTH bytes before that offset are sent twice
    drip=BYTES:SECONDS            BYTES at a time, one piece every SECONDS
    no-done                       without `data: [DONE]`
    endless-line[=BYTES]          a line that never ends, after BYTES or from the start
    wrong-length                  Content-Length is one byte more than is sent before the connection is closed
    gzip-cut[=BYTES]              compressed, and truncated after BYTES of that, or after half of it
    html                          a web page with status 200
    json-error                    an error as JSON with status 200
    wrong-json                    the JSON of an unrelated response with status 200

Other request fields are ignored, and no request is logged.
"""

from __future__ import annotations

import asyncio
import re
import string
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TypeAlias, TypeVar

import msgspec
from aiohttp import web

from streamkit.cli import script
from streamkit.cli.background import KEPT, ResponseRequest, StoredResponse, respond
from streamkit.cli.faults import sending
from streamkit.cli.hang_up import hang_up
from streamkit.cli.script import Answer, Answers, Category
from streamkit.cli.token_tables import where_table
from streamkit.cli.wire import ChatRequest, Completion, Json, ModerationRequest, TextRequest, WireChoice, bursts
from streamkit.errors import StreamkitError
from streamkit.events import Usage
from streamkit.sources.recording import Piece, read_recording
from streamkit.tokens import encoding_name, load_encoding

Parsed = TypeVar("Parsed", bound=Completion | ModerationRequest | ResponseRequest)
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """An error response in OpenAI's format."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def response(self) -> web.Response:
        kind = "requests" if self.status == 429 else "server_error" if self.status >= 500 else "invalid_request_error"
        code = self.code or {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(self.status)
        error = {"message": str(self), "type": kind, "param": self.param, "code": code}
        return _json({"error": error}, self.status, {"retry-after": "1"} if self.status in (429, 503) else None)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Settings of a demo provider; any number of servers may run from one.

    `answers` maps a prompt to its answer, or is a function that returns None to use the built-in script. The prompt of a chat is
    the text of its last user message. An answer given as a list of pieces is sent in these pieces.

    `usage` and `max_tokens` are counted as OpenAI counts for the requested model: by its encoding, with the tokens that frame
    the messages of a chat, and for gpt-3.5-turbo the token that ends an answer. If the encoding's table is not on this machine,
    it is not downloaded, and each piece counts as a token. A custom `count` counts only the texts.

    A stream waits `first_token_seconds`, then `token_seconds` before each further token; a non-streaming response takes the
    same total time. `recordings` is the folder of the recordings, `models` the list of `/v1/models`, and `flagged` maps words to
    moderation categories. A recording with times is sent at its recorded pace; any other is sent whole, or one event every
    `event_seconds`. Pieces are scheduled at absolute times on `timer`, so delays do not accumulate. `clock` returns the creation
    time of responses, and `sleep` waits. With a `seed`, the ids of a server are repeatable.
    """

    answers: Answers = field(default_factory=dict[str, Answer])
    first_token_seconds: float = 0.1
    token_seconds: float = 0.015
    recordings: Path | None = None
    event_seconds: float = 0.0
    flagged: Mapping[str, Category] = field(default_factory=lambda: script.FLAGGED)
    models: Sequence[str] = ("gpt-4o-mini", "gpt-3.5-turbo-instruct", "omni-moderation-latest")
    seed: int | None = None
    count: Callable[[str], int] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic

    def app(self) -> web.Application:
        """Return a server application. If it is not run by `serve`, its runner needs `handler_cancellation=True`."""
        app = web.Application(middlewares=[_tracked, _refusals])
        app[_IDS] = Random(self.seed)
        app[_RUNNING] = set()
        app.on_response_prepare.append(_sign)
        app.on_shutdown.append(_stop)
        for path, kind in (("/v1/chat/completions", ChatRequest), ("/v1/completions", TextRequest)):
            app.router.add_post(path, partial(self._complete, kind))
            app.router.add_post("/recordings/{name}" + path, self._replay)
        app[_RESPONSES] = {}
        app.router.add_post("/v1/responses", self._respond)
        app.router.add_get("/v1/responses/{id}", self._retrieve)
        app.router.add_post("/v1/responses/{id}/cancel", self._cancel)
        app.router.add_get("/recordings/{name}", self._replay)
        app.router.add_post("/v1/moderations", self._moderate)
        app.router.add_get("/v1/models", self._list)
        return app

    async def _complete(self, kind: type[Completion], request: web.Request) -> web.StreamResponse:
        parsed = await _read(request, kind)
        ids = request.app[_IDS]
        head: Json = {
            "id": _id(ids, parsed.id_prefix, 29),
            "object": parsed.chunk_kind if parsed.stream else parsed.kind,
            "created": int(self.clock()),
            "model": parsed.model,
            **parsed.head,
        }
        choices = self._choices(parsed, ids)
        usage, waits = self._usage(parsed, choices), self._waits(choices)
        if parsed.stream:
            return await self._send(request, zip(accumulate(waits), bursts(parsed, head, choices, usage), strict=True))
        await self.sleep(sum(waits))
        return _json({**head, "choices": [parsed.whole(choice) for choice in choices], "usage": usage})

    def _choices(self, parsed: Completion, ids: Random) -> list[WireChoice]:
        prompts = [prompt for prompt in parsed.prompts for _ in range(parsed.n or 1)]
        count = self.count or tokenizer(parsed.model)
        takes = [script.play(prompt, self.answers, parsed.offered, parsed.limit, count) for prompt in prompts]
        return [WireChoice(index, take, _id(ids, "call_", 24)) for index, take in enumerate(takes)]

    def _usage(self, parsed: Completion, choices: Sequence[WireChoice]) -> Json:
        count = self.count or tokenizer(parsed.model)
        prompt = sum(map(count, parsed.texts))
        completion = sum(count(choice.take.text) for choice in choices)
        if self.count is None and isinstance(parsed, ChatRequest):
            # Three tokens and the role for each message, and three that prime the answer.
            # (https://github.com/openai/openai-cookbook, How_to_count_tokens_with_tiktoken)
            prompt += 4 * len(parsed.texts) + 3
            completion += sum(_bills_end(parsed.model) for choice in choices if choice.take.finish_reason != "length")
        counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return {**counts, **parsed.usage_details}

    def _waits(self, choices: Sequence[WireChoice]) -> list[float]:
        """Return the pause before each token of the longest choice, and 0 before the end of the stream."""
        tokens = max(len(choice.take.pieces) for choice in choices)
        return [self.first_token_seconds, *[self.token_seconds] * (tokens - 1), 0]

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        parsed = await _read(request, ResponseRequest)
        ids, count = request.app[_IDS], self.count or tokenizer(parsed.model)
        take = script.play(parsed.prompt, self.answers, parsed.offered, parsed.max_output_tokens, count)
        spent = sum(map(count, parsed.texts)), count(take.text)
        usage = Usage(*spent, sum(spent))
        id, waits = _id(ids, "resp_", 32), self._waits([WireChoice(0, take, "")])
        identity = id, int(self.clock()), _id(ids, "call_", 24)
        responses = request.app[_RESPONSES]
        stored = responses[id] = respond(parsed, take, waits, identity, usage, self.timer())
        while len(responses) > KEPT:
            del responses[next(iter(responses))]
        if parsed.stream:
            return await self._send(request, stored.behind(-1, self.timer()))
        if not parsed.background:
            await self.sleep(stored.seconds)
        return _json(stored.status(self.timer()))

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        stored, query = self._stored(request), request.query
        if query.get("stream") != "true":
            return _json(stored.status(self.timer()))
        if not (stored.background and stored.streams):
            raise Refusal(
                400, "only a response that was created with background and stream can be streamed", param="stream"
            )
        after = query.get("starting_after", "-1")
        if not re.fullmatch("-1|[0-9]{1,9}", after):
            raise Refusal(400, f"starting_after: expected a sequence number, found {after!r}", param="starting_after")
        return await self._send(request, stored.behind(int(after), self.timer()))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        stored, now = self._stored(request), self.timer()
        if not stored.background:
            raise Refusal(400, "only a response that was created with background can be cancelled")
        if stored.cancelled is None and now < stored.began + stored.seconds:
            stored.cancelled = now
        return _json(stored.status(now))

    @staticmethod
    def _stored(request: web.Request) -> StoredResponse:
        id = request.match_info["id"]
        stored = request.app[_RESPONSES].get(id)
        if stored is None:
            raise Refusal(404, "there is no response with this id", param="id")
        return stored

    async def _moderate(self, request: web.Request) -> web.StreamResponse:
        parsed = await _read(request, ModerationRequest)
        if len(parsed.images) > 1:
            # OpenAI's wording. (https://github.com/antiwork/gumroad/pull/4709)
            message = f"Number of images ({len(parsed.images)}) exceeds maximum of 1"
            raise Refusal(400, message, param="input", code="too_many_images")
        results = [script.verdict(text, self.flagged, parsed.images, omni=parsed.omni) for text in parsed.texts]
        answer = {"id": _id(request.app[_IDS], "modr-", 32), "model": parsed.model, "results": results}
        return await self._send(request, iter([(0.0, msgspec.json.encode(answer))]), "application/json")

    async def _list(self, request: web.Request) -> web.Response:
        shared: Json = {"object": "model", "created": int(self.clock()), "owned_by": "streamkit"}
        return _json({"object": "list", "data": [{"id": model, **shared} for model in self.models]})

    async def _replay(self, request: web.Request) -> web.StreamResponse:
        # The name is looked up among the existing files and never joined to the folder, which prevents path traversal.
        paths = sorted(self.recordings.iterdir()) if self.recordings else []
        found = {path.stem: path for path in paths if path.suffix in (".sse", ".jsonl")}
        name = request.match_info["name"]
        if name not in found:
            raise Refusal(404, f"recordings: expected one of {', '.join(found) or '(none)'}, found {name!r}")
        return await self._send(request, self._pieces(found[name]))

    def _pieces(self, path: Path) -> Iterator[Piece]:
        content = path.read_bytes()
        if path.suffix == ".jsonl" or not self.event_seconds:
            return read_recording(content)
        return ((number * self.event_seconds, event) for number, event in enumerate(_EVENT.findall(content), 1))

    async def _send(
        self, request: web.Request, pieces: Iterator[Piece], content_type: str | None = None
    ) -> web.StreamResponse:
        """Send each piece at its time, with the fault that the request demands, if any."""
        try:
            answer = sending(pieces, request.headers.get("x-demo-fault"), content_type)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        response = web.StreamResponse(headers=answer.headers)
        began = self.timer()
        # The client may have disconnected before the server notices; that is not an error.
        with suppress(ConnectionResetError):
            await response.prepare(request)
            try:
                await self._write(response, answer.pieces, began)
            except StreamkitError:
                await hang_up(request, reset=answer.reset)
        return response

    async def _write(self, response: web.StreamResponse, pieces: Iterator[Piece], began: float) -> None:
        for at, data in pieces:
            # Wait until an absolute time: the durations of writing and waking up would accumulate over a long answer.
            await self.sleep(max(0.0, began + at - self.timer()))
            await response.write(data)


@asynccontextmanager
async def serve(provider: Provider, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str, None]:
    """Serve `provider` at `host` until the block is left, and yield the root URL, such as `http://127.0.0.1:49152`.

    The tables of its models' encodings are loaded first, so that this delays no answer. A `port` of 0 selects a free one. The
    base URL of clients is `f"{url}/v1"`, or `f"{url}/recordings/{name}/v1"` for a recording. Responses in flight when the block
    is left are cancelled.
    """
    for model in provider.models if provider.count is None else ():
        tokenizer(model)
    runner = web.AppRunner(provider.app(), handler_cancellation=True, access_log=None)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        # Not `site.name`, which is `…:0` in older releases of aiohttp.
        found: str = f"[{host}]" if ":" in host else host
        yield f"http://{found}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def tokenizer(model: str) -> Callable[[str], int]:
    """Return the token counter of a model; if the table of its encoding is not on this machine, a counter of pieces."""
    return _tokenizer(encoding_name(model)[0])


@cache
def _tokenizer(name: str) -> Callable[[str], int]:
    if where_table(name) is None:
        return lambda text: len(script.pieces(text))
    encoding = load_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def _bills_end(model: str) -> bool:
    # OpenAI's guide reports 301 tokens for a text of 300 (gpt-3.5-turbo), and in its later edition 299 for one of 299
    # (gpt-4o-mini), as recordings of gpt-4 and gpt-4o do. (https://github.com/openai/openai-cookbook, How_to_stream_completions)
    return model.removeprefix("ft:").startswith("gpt-3.5-turbo")


_IDS = web.AppKey("ids", Random)
_RESPONSES = web.AppKey("responses", dict[str, StoredResponse])
_RUNNING = web.AppKey("running", set[asyncio.Task[object]])

# One event with the blank line that ends it, for all kinds of line ends; the last event may lack it.
_EVENT = re.compile(rb".+?(?:(?:\r\n|\n|\r(?!\n)){2}|\Z)", re.DOTALL)


@web.middleware
async def _tracked(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Track the task of each request, so that `_stop` can cancel it."""
    running, task = request.app[_RUNNING], asyncio.current_task()
    assert task is not None
    running.add(task)
    try:
        return await handler(request)
    finally:
        running.discard(task)


async def _stop(app: web.Application) -> None:
    """Cancel requests in flight; aiohttp would wait a minute for them."""
    running = app[_RUNNING]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=1)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if status := request.headers.get("x-demo-status"):
            raise _requested_error(status)
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPException as error:
        return Refusal(error.status, f"{error.reason}: {request.method} {request.path}").response()


def _requested_error(status: str) -> Refusal:
    if re.fullmatch("[45][0-9]{2}", status):
        return Refusal(int(status), f"error {status}, as the request demanded")
    return Refusal(400, f"demanded status: expected 400 to 599, found {status!r}")


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = _id(request.app[_IDS], "req_", 32)


async def _read(request: web.Request, kind: type[Parsed]) -> Parsed:
    try:
        parsed = msgspec.json.decode(await request.read(), type=kind)
    except msgspec.ValidationError as error:
        named = re.search(r"\$\.(\w+)|field `(\w+)`", str(error))
        raise Refusal(400, f"request body: {error}", param=named and (named[1] or named[2])) from None
    except msgspec.DecodeError as error:
        raise Refusal(400, f"request body: expected JSON, found something else: {error}") from None
    if parsed.model.startswith("error-"):
        raise _requested_error(parsed.model.removeprefix("error-"))
    return parsed


def _json(payload: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(payload)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _id(ids: Random, prefix: str, length: int) -> str:
    return prefix + "".join(ids.choices(string.ascii_letters + string.digits, k=length))
