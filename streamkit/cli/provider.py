"""An LLM provider that runs on this machine: the wire of the OpenAI completion APIs, scripted answers, a settable pace.

    provider = Provider(answers={"Ping?": "Pong."})
    async with serve(provider) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any")

    POST /v1/chat/completions, /v1/completions    `stream`, `stream_options`, `n`, `max_tokens`, `tools`
    POST /v1/moderations, GET /v1/models
    POST /recordings/NAME/v1/chat/completions     the bytes of NAME.sse (also /v1/completions, and GET /recordings/NAME)

A header `x-demo-status: 429`, or a model named `error-429`, is answered with that error. What else a request asks for
is ignored, and no request is ever logged.
"""

from __future__ import annotations

import asyncio
import re
import string
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat, zip_longest
from pathlib import Path
from random import Random
from typing import Annotated, ClassVar, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from streamkit.cli import script
from streamkit.cli.script import Answer, Answers, Category, Take

Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a response's answers."""

    index: int
    take: Take
    call_id: str

    def call(self, arguments: str) -> Json:
        return {"id": self.call_id, "type": "function", "function": {"name": self.take.tool, "arguments": arguments}}


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Part(msgspec.Struct):
    text: str = ""


class Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class Function(msgspec.Struct):
    name: str


class Tool(msgspec.Struct):
    function: Function | None = None


class Request(msgspec.Struct, kw_only=True):
    """What both completion APIs can be asked. The subclasses add the prompt, and word the response."""

    model: str = "gpt-4o-mini"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    def __post_init__(self) -> None:
        given = {"n": self.n, "max_tokens": self.max_tokens, "max_completion_tokens": self.max_completion_tokens}
        for name, value in given.items():
            most = 128 if name == "n" else 1_000_000
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"Expected `int` from 1 to {most}, got {value} - at `$.{name}`")

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Request):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    tools: list[Tool] | None = None
    tool_choice: object = None

    id_prefix: ClassVar[str] = "chatcmpl-"
    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"
    head: ClassVar[Json] = {"service_tier": "default", "system_fingerprint": "fp_demo"}
    usage_details: ClassVar[Json] = {
        "prompt_tokens_details": dict.fromkeys(("cached_tokens", "audio_tokens"), 0),
        "completion_tokens_details": dict.fromkeys(
            ("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"), 0
        ),
    }

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    @property
    def prompts(self) -> list[str]:
        asked = [message.text for message in self.messages if message.role == "user"]
        return asked[-1:] or [""]

    @property
    def offered(self) -> set[str]:
        """The tools that may be called now: none for a request that brings a tool's result."""
        if self.tool_choice == "none" or self.messages[-1].role != "user":
            return set()
        return {tool.function.name for tool in self.tools or () if tool.function}

    def beats(self, choice: Choice) -> list[list[Json]]:
        def entry(delta: Json, finish_reason: str | None = None) -> Json:
            return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

        opening: Json = {"role": "assistant", "content": "", "refusal": None}
        deltas: list[Json] = [{"content": piece} for piece in choice.take.pieces]
        if choice.take.tool:
            opening |= {"content": None, "tool_calls": [{"index": 0, **choice.call("")}]}
            deltas = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in choice.take.pieces]
        return _beats([entry(opening)], map(entry, deltas), entry({}, choice.take.finish_reason))

    def whole(self, choice: Choice) -> Json:
        take = choice.take
        message: Json = {"role": "assistant", "content": take.text, "refusal": None, "annotations": []}
        if take.tool:
            message |= {"content": None, "tool_calls": [choice.call(take.text)]}
        return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": take.finish_reason}


class TextRequest(Request):
    prompt: str | Annotated[list[str], msgspec.Meta(min_length=1)]

    id_prefix: ClassVar[str] = "cmpl-"
    kind: ClassVar[str] = "text_completion"
    chunk_kind: ClassVar[str] = "text_completion"
    head: ClassVar[Json] = {}
    usage_details: ClassVar[Json] = {}
    offered: ClassVar[frozenset[str]] = frozenset()

    @property
    def texts(self) -> list[str]:
        return self.prompts

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def beats(self, choice: Choice) -> list[list[Json]]:
        def entry(text: str, finish_reason: str | None = None) -> Json:
            return {"text": text, "index": choice.index, "logprobs": None, "finish_reason": finish_reason}

        return _beats([], map(entry, choice.take.pieces), entry("", choice.take.finish_reason))

    def whole(self, choice: Choice) -> Json:
        take = choice.take
        return {"text": take.text, "index": choice.index, "logprobs": None, "finish_reason": take.finish_reason}


class ModerationRequest(msgspec.Struct):
    input: str | list[str | Part]
    model: str = "omni-moderation-latest"

    @property
    def texts(self) -> list[str]:
        """The texts to judge one by one; the parts of one message are judged as one."""
        given = [self.input] if isinstance(self.input, str) else self.input
        texts = [item for item in given if isinstance(item, str)]
        return texts or ["".join(item.text for item in given if isinstance(item, Part))]


Completion: TypeAlias = ChatRequest | TextRequest
Asked = TypeVar("Asked", bound=Completion | ModerationRequest)
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """A request is answered with an error, in the form that OpenAI gives it."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param

    def response(self) -> web.Response:
        kind = "requests" if self.status == 429 else "server_error" if self.status >= 500 else "invalid_request_error"
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(self.status)
        error = {"message": str(self), "type": kind, "param": self.param, "code": code}
        return _json({"error": error}, self.status, {"retry-after": "1"} if self.status in (429, 503) else None)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Settings of a demo provider; any number of servers may run from one.

    `answers` maps a prompt to its answer, or is a function that returns None for what it leaves to the built-in script.
    The prompt of a chat is the text of its last user message. The pieces of a written-out answer are sent as they are,
    and `max_tokens` counts pieces; `usage` is what `count` makes of the whole texts, by default also their pieces.

    A stream waits `first_token_seconds`, then `token_seconds` before each further token; an answer in one piece takes
    as long. A recording is sent whole, or an event each `event_seconds`. With a `seed`, a server's ids are repeatable.
    """

    answers: Answers = field(default_factory=dict[str, Answer])
    first_token_seconds: float = 0.1
    token_seconds: float = 0.015
    recordings: Path | None = None
    event_seconds: float = 0.0
    flagged: Mapping[str, Category] = field(default_factory=lambda: script.FLAGGED)
    models: Sequence[str] = ("gpt-4o-mini", "gpt-3.5-turbo-instruct", "omni-moderation-latest")
    seed: int | None = None
    count: Callable[[str], int] = lambda text: len(script.pieces(text))
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time

    def app(self) -> web.Application:
        """Make one server of it. Run by other means than `serve`, give the runner `handler_cancellation=True`."""
        app = web.Application(middlewares=[_tracked, _refusals])
        app[_IDS] = Random(self.seed)
        app[_RUNNING] = set()
        app.on_response_prepare.append(_sign)
        app.on_shutdown.append(_stop)
        for path, kind in (("/v1/chat/completions", ChatRequest), ("/v1/completions", TextRequest)):
            app.router.add_post(path, partial(self._complete, kind))
            app.router.add_post("/recordings/{name}" + path, self._replay)
        app.router.add_get("/recordings/{name}", self._replay)
        app.router.add_post("/v1/moderations", self._moderate)
        app.router.add_get("/v1/models", self._list)
        return app

    async def _complete(self, kind: type[Completion], request: web.Request) -> web.StreamResponse:
        asked = await _read(request, kind)
        ids = request.app[_IDS]
        head: Json = {
            "id": _id(ids, asked.id_prefix, 29),
            "object": asked.chunk_kind if asked.stream else asked.kind,
            "created": int(self.clock()),
            "model": asked.model,
            **asked.head,
        }
        choices = self._choices(asked, ids)
        usage, waits = self._usage(asked, choices), self._waits(choices)
        if asked.stream:
            return await self._send(request, zip(waits, _bursts(asked, head, choices, usage), strict=True))
        await self.sleep(sum(waits))
        return _json({**head, "choices": [asked.whole(choice) for choice in choices], "usage": usage})

    def _choices(self, asked: Completion, ids: Random) -> list[Choice]:
        prompts = [prompt for prompt in asked.prompts for _ in range(asked.n or 1)]
        takes = [script.play(prompt, self.answers, asked.offered, asked.limit) for prompt in prompts]
        return [Choice(index, take, _id(ids, "call_", 24)) for index, take in enumerate(takes)]

    def _usage(self, asked: Completion, choices: Sequence[Choice]) -> Json:
        prompt = sum(map(self.count, asked.texts))
        completion = sum(self.count(choice.take.text) for choice in choices)
        counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return {**counts, **asked.usage_details}

    def _waits(self, choices: Sequence[Choice]) -> list[float]:
        """The pause before each token of the longest choice, and none before the end of the stream."""
        tokens = max(len(choice.take.pieces) for choice in choices)
        return [self.first_token_seconds, *[self.token_seconds] * (tokens - 1), 0]

    async def _moderate(self, request: web.Request) -> web.Response:
        asked = await _read(request, ModerationRequest)
        results = [script.verdict(text, self.flagged) for text in asked.texts]
        return _json({"id": _id(request.app[_IDS], "modr-", 32), "model": asked.model, "results": results})

    async def _list(self, request: web.Request) -> web.Response:
        shared: Json = {"object": "model", "created": int(self.clock()), "owned_by": "streamkit"}
        return _json({"object": "list", "data": [{"id": model, **shared} for model in self.models]})

    async def _replay(self, request: web.Request) -> web.StreamResponse:
        # The name is looked up among the files found, never joined to the folder: it cannot lead out of it.
        found = {path.stem: path for path in sorted(self.recordings.glob("*.sse"))} if self.recordings else {}
        name = request.match_info["name"]
        if name not in found:
            raise Refusal(404, f"recordings: expected one of {', '.join(found) or '(none)'}, found {name!r}")
        body = found[name].read_bytes()
        bursts = _EVENT.findall(body) if self.event_seconds else [body]
        return await self._send(request, zip(repeat(self.event_seconds), bursts))

    async def _send(self, request: web.Request, paced: Iterable[tuple[float, bytes]]) -> web.StreamResponse:
        """Stream each burst after its pause."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        # A client may be gone before the server has noticed; then nobody is left to tell.
        with suppress(ConnectionResetError):
            await response.prepare(request)
            for seconds, burst in paced:
                await self.sleep(seconds)
                await response.write(burst)
        return response


@asynccontextmanager
async def serve(provider: Provider, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str, None]:
    """Serve until the block is left, and yield the root URL, such as `http://127.0.0.1:49152`.

    Port 0 takes a free one. A client's base URL is `f"{url}/v1"`, or `f"{url}/recordings/{name}/v1"` for a recording.
    Answers still under way when the block is left are cut off.
    """
    runner = web.AppRunner(provider.app(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield site.name
    finally:
        await runner.cleanup()


_IDS = web.AppKey("ids", Random)
_RUNNING = web.AppKey("running", set[asyncio.Task[object]])

# One event with the blank line that ends it, whatever its line ends; the last may lack it.
_EVENT = re.compile(rb".+?(?:(?:\r\n|\n|\r(?!\n)){2}|\Z)", re.DOTALL)


@web.middleware
async def _tracked(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the task that answers where the end of the server finds it."""
    running, task = request.app[_RUNNING], asyncio.current_task()
    assert task is not None
    running.add(task)
    try:
        return await handler(request)
    finally:
        running.discard(task)


async def _stop(app: web.Application) -> None:
    """Cut off what still runs; aiohttp would give it a minute."""
    running = app[_RUNNING]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=1)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if status := request.headers.get("x-demo-status"):
            raise _demanded(status)
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPException as error:
        return Refusal(error.status, f"{error.reason}: {request.method} {request.path}").response()


def _demanded(status: str) -> Refusal:
    if re.fullmatch("[45][0-9]{2}", status):
        return Refusal(int(status), f"error {status}, as the request demanded")
    return Refusal(400, f"demanded status: expected 400 to 599, found {status!r}")


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = _id(request.app[_IDS], "req_", 32)


async def _read(request: web.Request, kind: type[Asked]) -> Asked:
    try:
        asked = msgspec.json.decode(await request.read(), type=kind)
    except msgspec.ValidationError as error:
        named = re.search(r"\$\.(\w+)|field `(\w+)`", str(error))
        raise Refusal(400, f"request body: {error}", param=named and (named[1] or named[2])) from None
    except msgspec.DecodeError as error:
        raise Refusal(400, f"request body: expected JSON, found something else: {error}") from None
    if asked.model.startswith("error-"):
        raise _demanded(asked.model.removeprefix("error-"))
    return asked


def _beats(opening: list[Json], tokens: Iterable[Json], closing: Json) -> list[list[Json]]:
    """Group what a choice sends by token: the opening goes with the first, the closing with the last."""
    beats = [[token] for token in tokens] or [[]]
    beats[0][:0] = opening
    beats[-1].append(closing)
    return beats


def _bursts(asked: Completion, head: Json, choices: Iterable[Choice], usage: Json) -> Iterator[bytes]:
    """Encode a stream: the n-th tokens of all choices together, then the end."""
    no_usage = {"usage": None} if asked.wants_usage else {}
    for beat in zip_longest(*map(asked.beats, choices), fillvalue=list[Json]()):
        yield b"".join(_event({**head, "choices": [entry], **no_usage}) for entry in chain.from_iterable(beat))
    last = _event({**head, "choices": [], "usage": usage}) if asked.wants_usage else b""
    yield last + b"data: [DONE]\n\n"


def _event(payload: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(payload)


def _json(payload: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(payload)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _id(ids: Random, prefix: str, length: int) -> str:
    return prefix + "".join(ids.choices(string.ascii_letters + string.digits, k=length))
