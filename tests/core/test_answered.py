"""Nothing after the end of an answer changes it: no failure, no delay, no lost connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk
from streamkit import hops, ops
from tests.dialects.streams import ndjson, sse, wire

READ: Any = sk.Parse() | sk.Extract()


@sk.stage
async def wait(event: sk.TextDelta) -> sk.TextDelta:
    """An async stage, so that the stream has more than one level."""
    await anyio.lowlevel.checkpoint()
    return event


PIPELINES: dict[str, Any] = {
    "extract": READ,
    "accumulate": READ | sk.Accumulate(),
    "with an async stage": READ | wait | sk.Accumulate(),
    "in a thread": sk.sse.Lines() | sk.Parse() | hops.Threaded(sk.Extract()),
    "in a switch": sk.sse.Lines() | sk.Parse() | ops.Switch(lambda _: "all", {"all": sk.Extract()}),
    "moderated": READ | sk.Moderate(sk.Rule("x", ("blue heron",))) | sk.Accumulate(),
    "with a tap": sk.sse.Lines() | sk.Parse() | sk.Extract() | ops.Map(lambda event: event) | sk.Accumulate(),
}
each_pipeline = pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
HI = sse({"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}}]})
STOP = sse({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
DONE = sse("[DONE]")


class Script(sk.Source[bytes]):
    """Return the pieces and raise the errors in order, then end. `log` records the calls of `drain` and `close`."""

    def __init__(self, *pieces: bytes | Exception, draining: Exception | float | None = None) -> None:
        self.pieces: Iterator[bytes | Exception] = iter(pieces)
        self.draining = draining
        self.log: list[str] = []

    async def read(self) -> Sequence[bytes]:
        await anyio.lowlevel.checkpoint()
        match next(self.pieces, b""):
            case Exception() as error:
                raise error
            case piece:
                return (piece,) if piece else ()

    async def close(self) -> None:
        self.log.append("close")


class Drains(Script):
    async def drain(self) -> None:
        self.log.append("drain")
        match self.draining:
            case Exception() as error:
                raise error
            case float() as seconds:
                await anyio.sleep(seconds)
            case _:
                await anyio.lowlevel.checkpoint()
        self.log.append("drained")


async def read(stream: sk.Stream[Any]) -> tuple[list[Any], Exception | None]:
    seen: list[Any] = []
    try:
        async with stream as events:
            async for event in events:
                seen.append(event)
    except Exception as error:
        return seen, error
    return seen, None


class PayloadError(Exception):
    """An error of another HTTP client."""


PayloadError.__module__ = "httpx._exceptions"
BREAKS: list[Exception] = [
    sk.errors.Disconnected("gone"),
    sk.errors.DeadlineExceeded("late", deadline="idle_bytes"),
    ConnectionResetError("reset"),
    PayloadError("incomplete"),
]
each_break = pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)


# A connection lost after the finish reasons


@each_break
@each_pipeline
@pytest.mark.anyio
async def test_a_connection_that_breaks_behind_the_finish_reasons_ends_the_answer(
    pipeline: Any, error: Exception
) -> None:
    source = Script(HI, STOP, error)
    stream = source | pipeline

    seen, raised = await read(stream)

    assert raised is None
    assert seen[-1] == stream.end == sk.StreamEnd("completed")
    assert source.log == ["close"]


@each_break
@each_pipeline
@pytest.mark.anyio
async def test_one_that_breaks_before_is_a_failure_as_ever(pipeline: Any, error: Exception) -> None:
    stream = Script(HI, error) | pipeline

    seen, raised = await read(stream)

    assert raised is error
    assert not any(isinstance(event, sk.StreamEnd) for event in seen)
    assert stream.end is not None
    assert stream.end.reason not in ("completed", "tool_calls")


@each_break
@pytest.mark.anyio
async def test_of_two_choices_both_must_have_finished(error: Exception) -> None:
    def chunk(*words: str | None) -> bytes:
        return sse(
            {"choices": [{"index": n, "delta": {"content": "x"}, "finish_reason": w} for n, w in enumerate(words)]}
        )

    assert (await read(Script(chunk("stop", None), error) | READ))[1] is error
    assert (await read(Script(chunk(None, None), chunk("stop"), error) | READ))[1] is error
    assert (await read(Script(chunk(None, None), chunk("stop", "length"), error) | READ))[0][-1] == sk.StreamEnd(
        "length"
    )


OTHERS: list[Exception] = [
    sk.errors.RecordingError("disk full"),
    sk.StatusError("no", status=500),
    ValueError("a bug"),
    OSError("disk"),
]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
@pytest.mark.anyio
async def test_a_failure_that_is_no_broken_connection_is_raised(error: Exception) -> None:
    assert (await read(Script(HI, STOP, error) | READ))[1] is error


@pytest.mark.anyio
async def test_the_finish_reason_and_the_break_may_come_in_one_read() -> None:
    seen, raised = await read(
        Script(HI + STOP + b'data: {"choices": [], "usa', sk.errors.Disconnected("gone")) | READ | sk.Accumulate()
    )

    assert raised is None
    assert [type(event) for event in seen[-2:]] == [sk.Completion, sk.StreamEnd]
    assert seen[-2].end == seen[-1].reason == "completed"
    assert seen[-2].usage is None


@pytest.mark.anyio
async def test_a_complete_answer_is_not_asked_for_again() -> None:
    class Again(Script):
        async def again(self, error: Exception) -> bool:
            raise AssertionError("tried again")

    # Nothing is released before the end, because the rule buffers the text.
    stream = Again(HI, STOP, sk.errors.Disconnected("gone")) | READ | sk.Moderate(sk.Rule("x", ("Hi there",)))

    seen, raised = await read(stream)

    assert raised is None
    assert [event.text for event in seen if isinstance(event, sk.TextDelta)] == ["Hi"]


@each_break
def test_a_run_without_an_event_loop_does_the_same(error: Exception) -> None:
    def body(*pieces: bytes) -> Iterator[bytes]:
        yield from pieces
        raise error

    assert [*READ.run(body(HI, STOP))][-1] == sk.StreamEnd("completed")
    with pytest.raises(type(error)):
        list(READ.run(body(HI)))


ANTHROPIC: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "m", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}},
]
# For each dialect: the body without the end marker, the body without the finish reason, and the end reason.
WIRES: dict[str, tuple[bytes, bytes, str]] = {
    "openai": (HI + STOP, HI, "completed"),
    "openai, legacy": (
        sse({"choices": [{"index": 0, "text": "Hi", "finish_reason": "length"}]}),
        sse({"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}),
        "length",
    ),
    "anthropic": (wire(ANTHROPIC), wire(ANTHROPIC[:-1]), "length"),
    "gemini": (
        sse({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "SAFETY"}]}),
        sse({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}),
        "content_filter",
    ),
    "gemini, an array": (
        b"[" + json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}).encode(),
        b"[" + json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}).encode(),
        "completed",
    ),
    "watsonx": (
        sse({"results": [{"generated_text": "Hi", "stop_reason": "eos_token"}]}),
        sse({"results": [{"generated_text": "Hi", "stop_reason": "not_finished"}]}),
        "completed",
    ),
    "ollama": (
        ndjson({"model": "m", "created_at": "x", "message": {"content": "Hi"}, "done": True, "done_reason": "length"}),
        ndjson({"model": "m", "created_at": "x", "message": {"content": "Hi"}, "done": False}),
        "length",
    ),
    "assistants": (
        b'event: thread.run.created\ndata: {"id": "r"}\n\nevent: thread.run.completed\ndata: {"id": "r"}\n\n',
        b'event: thread.run.created\ndata: {"id": "r"}\n\n',
        "completed",
    ),
}


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.anyio
async def test_whatever_the_dialect(name: str) -> None:
    whole, part, reason = WIRES[name]
    error = sk.errors.Disconnected("gone")

    seen, raised = await read(Script(whole, error) | READ)
    assert (raised, seen[-1].reason) == (None, reason)
    assert (await read(Script(part, error) | READ))[1] is error


@pytest.mark.anyio
async def test_the_finish_reason_that_comes_with_every_chunk_is_no_evidence() -> None:
    chunk = sse({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]})
    error = sk.errors.Disconnected("gone")

    assert (await read(Script(chunk, chunk, error) | READ))[1] is error
    assert (await read(Script(chunk, chunk) | READ))[0][-1] == sk.StreamEnd("completed")


# Draining


WHOLE = HI + STOP + DONE
DRAINING: dict[str, Exception | float | None] = {
    "well": None,
    "a broken connection": sk.errors.Disconnected("gone"),
    "any other error": ValueError("oops"),
    "a timeout": TimeoutError(),
}


@pytest.mark.parametrize("draining", DRAINING.values(), ids=DRAINING)
@each_pipeline
@pytest.mark.anyio
async def test_draining_can_not_lose_anything(pipeline: Any, draining: Exception | float | None) -> None:
    source = Drains(WHOLE, draining=draining)
    stream = source | pipeline

    seen, raised = await read(stream)

    assert raised is None
    assert [event.text for event in seen if isinstance(event, sk.TextDelta)] == ["Hi"]
    assert seen[-1] == stream.end == sk.StreamEnd("completed", saw_done=True)
    assert source.log == ["drain", *(["drained"] if draining is None else []), "close"]


@each_pipeline
@pytest.mark.anyio
async def test_the_end_is_delivered_before_anything_is_drained(pipeline: Any) -> None:
    source = Drains(WHOLE)

    async with source | pipeline as events:
        async for event in events:
            assert source.log == []
            if isinstance(event, sk.StreamEnd):
                break
        assert source.log == []

    assert source.log == ["drain", "drained", "close"]


@pytest.mark.anyio
async def test_without_async_with_it_is_drained_and_closed_when_the_iteration_ends() -> None:
    source = Drains(WHOLE)

    assert [type(event) async for event in source | READ][-1] is sk.StreamEnd
    assert source.log == ["drain", "drained", "close"]


@pytest.mark.anyio
async def test_a_source_that_has_nothing_to_drain_is_closed_before_the_end_is_delivered() -> None:
    source = Script(WHOLE)

    async for event in source | READ:
        assert source.log == ["close"]
        assert not isinstance(event, Exception)


@pytest.mark.parametrize(
    "body", [HI + STOP, HI, sse({"error": {"message": "m"}}), b""], ids=["no marker", "cut", "an error", "nothing"]
)
@pytest.mark.anyio
async def test_only_what_lies_behind_an_end_marker_is_drained(body: bytes) -> None:
    source = Drains(body)

    await read(source | READ)

    assert source.log == ["close"]


@pytest.mark.anyio
async def test_a_stream_that_a_rule_stopped_is_closed_at_once_and_not_drained() -> None:
    source = Drains(HI)
    stream = source | READ | sk.Moderate(sk.Rule("x", ("Hi",), action="stop"))

    async for event in stream:
        if isinstance(event, sk.StreamEnd):
            assert source.log == ["close"]

    assert set(source.log) == {"close"}


@pytest.mark.anyio
async def test_an_error_of_the_consumer_behind_the_end_does_not_wait_for_draining() -> None:
    source = Drains(WHOLE)

    with pytest.raises(ZeroDivisionError):
        async with source | READ as events:
            async for event in events:
                if isinstance(event, sk.StreamEnd):
                    raise ZeroDivisionError

    assert source.log == ["close"]


@pytest.mark.anyio
async def test_a_source_that_drains_for_ever_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.core.reading.DRAIN_SECONDS", 0.05)
    source = Drains(WHOLE, draining=3600.0)
    stream = source | READ

    _, raised = await read(stream)

    assert raised is None
    assert stream.end == sk.StreamEnd("completed", saw_done=True)
    assert source.log == ["drain", "close"]


@pytest.mark.anyio
async def test_a_cancellation_while_it_drains_closes_the_source_and_leaves_the_end() -> None:
    source = Drains(WHOLE, draining=3600.0)
    stream = source | READ
    seen: list[Any] = []

    async def consume(scope: anyio.CancelScope) -> None:
        async for event in stream:
            seen.append(event)
            if isinstance(event, sk.StreamEnd):
                scope.cancel()

    with anyio.CancelScope() as scope:
        await consume(scope)

    assert scope.cancelled_caught
    assert source.log == ["drain", "close"]
    assert seen[-1] == stream.end == sk.StreamEnd("completed", saw_done=True)


@pytest.mark.anyio
async def test_cancel_while_it_drains_ends_the_wait_and_changes_nothing() -> None:
    source = Drains(WHOLE, draining=3600.0)
    stream = source | READ
    seen: list[Any] = []

    async def consume() -> None:
        async for event in stream:
            seen.append(event)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        stream.cancel()

    assert [type(event) for event in seen[1:]] == [sk.TextDelta, sk.Finish, sk.StreamEnd]
    assert seen[-1] == stream.end == sk.StreamEnd("completed", saw_done=True)
    assert source.log == ["drain", "close"]


@pytest.mark.anyio
async def test_what_later_stages_say_at_the_end_comes_before_the_draining() -> None:
    source = Drains(WHOLE)

    class Last(sk.Stage[Any, Any]):
        def feed(self, item: Any) -> Iterable[Any]:
            yield item

        def flush(self) -> Iterable[Any]:
            assert source.log == []
            yield "last"

    from dataclasses import dataclass

    stream = source | READ | dataclass(Last)()

    assert (await read(stream))[0][-1] == "last"
    assert source.log == ["drain", "drained", "close"]


# Over HTTP, with a session of the caller and with one of streamkit


async def served(handle: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await handle(writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await server.wait_closed()


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


HANG_UP: dict[str, tuple[bytes, bool]] = {
    "behind [DONE]": (chunked(WHOLE), True),
    "behind [DONE], in several chunks": (chunked(HI, STOP, DONE), True),
    "behind [DONE] and a comment": (chunked(WHOLE, b": bye\n\n"), True),
    "in a chunk behind [DONE]": (chunked(WHOLE) + b"ff\r\n: b", True),
    "behind the finish reason": (chunked(HI + STOP), False),
    "within the usage": (chunked(HI + STOP, b'data: {"choices": [], "us'), False),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("lent", [True, False], ids=["a session of the caller's", "a session of its own"])
@pytest.mark.parametrize(("sent", "saw_done"), HANG_UP.values(), ids=HANG_UP)
async def test_a_server_that_hangs_up_takes_nothing_away(sent: bytes, saw_done: bool, lent: bool) -> None:
    import aiohttp

    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    async with aiohttp.ClientSession() as session:
        async for url in served(handle):
            stream = sk.http.post(url, json={}, session=session if lent else None) | READ | sk.Accumulate()
            seen, raised = await read(stream)

            assert raised is None
            assert [event.text for event in seen if isinstance(event, sk.TextDelta)] == ["Hi"]
            assert seen[-1] == stream.end == sk.StreamEnd("completed", saw_done)


@pytest.mark.asyncio
async def test_a_server_that_stays_silent_behind_the_end_does_not_delay_it() -> None:
    import aiohttp

    seen_end = asyncio.Event()

    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(WHOLE))
        # The body ends only after the consumer has received the `StreamEnd`; an earlier drain would time out.
        await asyncio.wait_for(seen_end.wait(), 30)
        writer.write(b"0\r\n\r\n")

    async with aiohttp.ClientSession() as session:
        async for url in served(handle):
            async with sk.http.post(url, json={}, session=session) | READ as events:
                async for event in events:
                    if isinstance(event, sk.StreamEnd):
                        seen_end.set()
