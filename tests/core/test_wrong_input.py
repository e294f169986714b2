"""A source or an item of the wrong kind is reported with a hint how to fix it, never as an error from inside a stage."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import streamkit as sk
from streamkit.core.hints import declared_types
from streamkit.plugins.stage_names import BUILT_IN, stage_named
from streamkit.testing import Scripted

pytestmark = pytest.mark.anyio
PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()
EVENT = sk.sse.ServerSentEvent.of("{}")


class Chunk:
    """An object like a pydantic model."""

    def model_dump(self) -> dict[str, Any]:
        return {}

    def __iter__(self) -> Iterator[tuple[str, object]]:
        return iter([("id", "1"), ("choices", [])])


class Proto:
    """An object like those of an SDK without pydantic, which is recognized by the module of its class."""

    __module__ = "google.generativeai.types"


class Manager:
    """An object like the helper of an SDK before it is entered: it has a request that was never awaited."""

    def __init__(self) -> None:
        self.request = request()

    async def __aenter__(self) -> None:
        await self.request

    async def __aexit__(self, *_: object) -> None:
        return


class Client:
    def get(self) -> None:
        return

    post = request = get


class Body:
    def iter_bytes(self) -> Iterator[bytes]:
        return iter([b""])


class SynchronousStream:
    response = Body()

    def __iter__(self) -> Iterator[Chunk]:
        return iter([Chunk()])


async def request() -> list[bytes]:
    return [b"data: {}\n\n"]


@asynccontextmanager
async def response() -> AsyncGenerator[list[bytes], None]:
    yield [b"data: {}\n\n"]


def lines() -> Generator[bytes, None, None]:
    yield b"data: [DONE]\n\n"


async def pieces() -> AsyncGenerator[bytes, None]:
    yield b"data: [DONE]\n\n"


def exhausted() -> Generator[bytes, None, None]:
    generator = lines()
    list(generator)
    return generator


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a coroutine": (request, r"found the coroutine request, which was not awaited: write `await request\(…\)`"),
    "a task": (lambda: asyncio.get_running_loop().create_future(), "Future, which was not awaited: write `await …`"),
    "a context manager": (response, "is a context manager: write `async with … as source` and pass the source"),
    "a helper of an SDK": (Manager, "Manager, which is a context manager: write `async with"),
    "a whole response": (Chunk, "Chunk, which is a complete response, not a stream: request one with stream=True"),
    "a decoded response": (lambda: {"choices": []}, "dict, which is a complete response, not a stream"),
    "a client": (Client, "Client, which is a client: pass the response of a request"),
    "a synchronous client's stream": (
        SynchronousStream,
        r"is the stream of a synchronous client: use the asynchronous one, or pipeline.run\(stream.response.iter_bytes\(\)\)",
    ),
    "a generator that is exhausted": (exhausted, "generator, which was already read: create a new one"),
    "a generator function": (lambda: lines, r"found the function lines: call it, lines\(\)"),
    "an async generator function": (lambda: pieces, r"found the function pieces: call it, pieces\(\)"),
    "an address": (
        lambda: "https://api.example/v1?key=secret",
        r"found an address as text: write streamkit.http.post\(…\)",
    ),
    "nothing": (lambda: None, r"expected a source \(.*\) or an iterable, found an object of type NoneType"),
    "a number": (lambda: 5, "found an object of type int"),
    "a class": (lambda: Chunk, "found the class Chunk"),
}
every_wrong_source = pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())


@every_wrong_source
async def test_a_source_of_the_wrong_kind_is_reported_before_anything_is_opened(
    make: Callable[[], object], message: str, anyio_backend: str
) -> None:
    if anyio_backend == "trio" and "Future" in message:
        pytest.skip("a future is asyncio's")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(sk.PipelineError, match=message) as caught:
            PIPELINE.open(make())  # type: ignore[arg-type]
        gc.collect()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("a class", "a task")])
def test_a_pipeline_and_a_run_report_it_too(name: str) -> None:
    make, message = WRONG[name]

    with pytest.raises(sk.PipelineError, match=message):
        make() | PIPELINE  # type: ignore[operator]
    with pytest.raises(sk.PipelineError, match=r"found|takes an iterable"):
        PIPELINE.run(make())  # type: ignore[arg-type]


async def test_a_coroutine_that_is_running_is_not_closed() -> None:
    finished = request()
    await finished

    with pytest.raises(sk.PipelineError, match="was not awaited"):
        PIPELINE.open(finished)  # type: ignore[arg-type]


async def test_an_async_generator_that_is_exhausted_is_reported() -> None:
    generator = pieces()
    assert [piece async for piece in generator] == [b"data: [DONE]\n\n"]

    with pytest.raises(sk.PipelineError, match="async_generator, which was already read"):
        PIPELINE.open(generator)


async def test_an_object_whose_attributes_raise_is_looked_at_all_the_same() -> None:
    class Unread:
        @property
        def content(self) -> bytes:
            raise RuntimeError("not read")

        response = http_response = content

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'

    assert await PIPELINE.open(Unread()).text() == "Hi"


# Items


def judge(text: str) -> sk.moderation.Decision:
    return sk.moderation.Decision()


STAGES: dict[str, sk.Stage[Any, Any] | sk.AsyncStage[Any, Any]] = {
    "Moderate": sk.Moderate(sk.Rule("secret", ("heron",))),
    "Accumulate": sk.Accumulate(),
    "Classify": sk.Classify(judge),
    "Structured": sk.Structured(dict),
    "Count": sk.Count("gpt-4o"),
    "Budget": sk.Budget(10, model="gpt-4o"),
    "Timing": sk.Timing(),
    "Emit": sk.Emit(),
    "Choices": sk.ops.Choices(0),
    "Select": sk.ops.Select(sk.TextDelta),
    "Coalesce": sk.ops.Coalesce(),
    "Sentences": sk.ops.Sentences(),
    "Smooth": sk.ops.Smooth(),
    "StopAt": sk.ops.StopAt("x"),
}


@dataclass
class Watch(sk.Stage[sk.Event, sk.Event]):
    """A user-defined stage."""

    def feed(self, item: sk.Event) -> list[sk.Event]:
        return [item]


@dataclass
class WatchLater(sk.AsyncStage[sk.Event, sk.Event]):
    async def feed(self, item: sk.Event) -> list[sk.Event]:
        return [item]


EVENT_STAGES = STAGES | {"Watch": Watch(), "WatchLater": WatchLater(), "Threaded": sk.hops.Threaded(sk.Timing())}
every_event_stage = pytest.mark.parametrize("name", EVENT_STAGES)
NO_EVENTS: dict[str, tuple[object, str]] = {
    "str": ("text", r"str: put Parse\(\) | Extract\(\) before it"),
    "bytes": (b"data: {}\n\n", r"bytes: put Parse\(\) | Extract\(\) before it"),
    "server-sent event": (EVENT, r"ServerSentEvent: put Extract\(\) before it"),
    "chunk object": (Chunk(), "Chunk: the SDK has already decoded it; pass the SDK's stream itself"),
    "object of an SDK": (Proto(), r"Proto: the SDK has already decoded it; .*, or use streamkit.http.post\(…\)"),
    "dict": ({"choices": []}, "dict"),
    "number": (7, "int"),
}
every_no_event = pytest.mark.parametrize(("item", "message"), NO_EVENTS.values(), ids=NO_EVENTS.keys())


def test_every_stage_that_takes_events_is_in_these_tests() -> None:
    kinds = {name: declared_types(stage_named(name))[0] for name in BUILT_IN}

    assert {name for name, takes in kinds.items() if takes and sk.TextDelta in takes} == STAGES.keys()


@every_event_stage
@every_no_event
async def test_a_stage_that_takes_events_says_what_to_put_before_it(name: str, item: object, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=f"takes events, found an object of type {message}") as caught:
        await EVENT_STAGES[name].open([item]).collect()

    assert [note.partition(" (")[0][:15] for note in caught.value.__notes__] == ["in stage 1 of 1"]


@every_event_stage
@every_no_event
async def test_it_says_so_behind_stages_that_take_anything(name: str, item: object, message: str) -> None:
    pipeline: Any = sk.ops.Map(lambda _: item) | sk.ops.Tap(lambda _: None) | EVENT_STAGES[name]

    with pytest.raises(sk.PipelineError, match=message) as caught:
        await pipeline.open([sk.TextDelta("Hi")]).collect()

    assert caught.value.__notes__[0].startswith("in stage 3 of 3: ")


@pytest.mark.parametrize("name", [name for name in EVENT_STAGES if name not in ("WatchLater", "Threaded")])
@every_no_event
def test_it_says_so_without_an_event_loop(name: str, item: object, message: str) -> None:
    stage: Any = EVENT_STAGES[name]
    if isinstance(stage, sk.AsyncStage):
        pytest.skip("it needs one")

    with pytest.raises(sk.PipelineError, match=message):
        list(stage.run([item]))


@every_event_stage
def test_it_says_so_before_anything_is_sent(name: str) -> None:
    with pytest.raises(
        sk.PipelineError, match=r"Http \| \w+: Http gives bytes, but .*: put Parse\(\) \| Extract\(\) before it"
    ):
        sk.http.post("https://api.example/v1") | EVENT_STAGES[name]
    with pytest.raises(sk.PipelineError, match=r"Parse \| \w+: .*: put Extract\(\) before it"):
        sk.Parse() | EVENT_STAGES[name]


@pytest.mark.parametrize(
    ("stage", "items", "message"),
    [
        (
            sk.Extract(),
            ["data: {}"],
            r"Extract takes ServerSentEvent, found an object of type str: put Parse\(\) before it",
        ),
        (
            sk.Extract(),
            [sk.TextDelta("a")],
            "found an object of type TextDelta: these are already events; remove Parse",
        ),
        (
            sk.Extract(),
            [Chunk()],
            "Extract takes ServerSentEvent, found an object of type Chunk: the SDK has already decoded it",
        ),
        (sk.Extract(), [{}], "Extract takes ServerSentEvent, found an object of type dict"),
        (sk.Extract(), [None], "Extract takes ServerSentEvent, found an object of type NoneType"),
        (
            sk.Parse(),
            [sk.TextDelta("a")],
            "found an object of type TextDelta: these are already events; remove Parse",
        ),
        (sk.Parse(), [Chunk()], "found an object of type Chunk: the SDK has already decoded it"),
        (sk.Parse(), [("id", 1)], "found an object of type tuple"),
        (sk.Parse(), [5], "found an object of type int"),
        (sk.Parse(), ["data: {}", 7], "found an object of type int"),
        (sk.Parse(), [b"data: {}", "", 7], "found an object of type int"),
        (sk.Extract(), [EVENT, "text"], r"found an object of type str: put Parse\(\) before it"),
        (sk.sse.Lines(), [5], "Lines takes .*, found an object of type int"),
        (
            sk.sse.Lines(),
            [EVENT],
            "Lines takes .*, found an object of type ServerSentEvent: these are already server-sent events",
        ),
        (sk.sse.Encode(), ["text"], "Encode takes ServerSentEvent, found an object of type str"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:30],
)
async def test_what_the_wire_s_stages_can_t_take_is_reported(
    stage: sk.Stage[Any, Any], items: list[object], message: str
) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        await stage.open(iter(items)).collect()
    with pytest.raises(sk.PipelineError, match=message):
        list(stage.run(iter(items)))


async def test_what_came_before_an_item_of_the_wrong_kind_is_delivered() -> None:
    chunk = 'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'
    seen: list[object] = []

    with pytest.raises(sk.PipelineError, match="found an object of type NoneType"):
        async for event in PIPELINE.open(Scripted(chunk, None)):  # type: ignore[arg-type]
            seen.append(event)

    assert seen == [sk.TextDelta("Hi")]


async def test_an_event_of_somebody_s_own_passes() -> None:
    @dataclass
    class Weather:
        degrees: int

    for stage in EVENT_STAGES.values():
        if not isinstance(stage, sk.ops.Select | sk.Emit | sk.Structured):
            assert Weather(3) in await stage.open([Weather(3), sk.StreamEnd("cancelled")]).collect()


async def test_a_function_passes_what_its_parameter_does_not_name() -> None:
    @sk.stage
    def shout(event: sk.TextDelta) -> sk.TextDelta:
        return event

    assert await shout.open(["text"]).collect() == ["text"]  # type: ignore[list-item]


async def test_an_error_of_somebody_s_own_stage_is_not_taken_for_a_wrong_item() -> None:
    @dataclass
    class Length(sk.Stage[sk.Event, sk.Event]):
        def feed(self, item: Any) -> list[sk.Event]:
            raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        await Length().open([sk.TextDelta("a")]).collect()
