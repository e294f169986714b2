"""Viewers in the wire format of their client, who reconnect with `Last-Event-ID`."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.emitters.anthropic import MessagesEmitter
from streamkit.emitters.registry import BUILT_IN
from streamkit.relay import Chats, Log, MemoryLog, Relay
from streamkit.sse import Encode, ServerSentEvent
from tests.relay.answers import SECONDS, Gated, answer

pytestmark = pytest.mark.anyio
Frame = tuple[str, str, bytes]
NEVER = b"was restarted, which clients of this format can't handle"
LATER = b"was restarted: discard what was received and reconnect to receive all of it"
"""The advice in the error for a restarted answer: without a log, and with one."""

ANSWER: list[sk.Event] = [
    sk.events.ResponseStart(id="r1", model="gpt-4o"),
    sk.events.RoleDelta("assistant"),
    *(sk.ReasoningDelta(text) for text in ("Let ", "me ", "see.")),
    *(sk.TextDelta(text) for text in ("Hel", "lo ", "wor", "ld")),
    sk.ToolCallDelta(0, "call_1", "weather", '{"city": ', type="function"),
    sk.ToolCallDelta(0, arguments='"Paris"}'),
    sk.Finish("tool_calls"),
    sk.StreamEnd("tool_calls"),
]


async def paced(events: Sequence[sk.Event] = ANSWER) -> AsyncGenerator[sk.Event, None]:
    """Three events at a time, so that batches have one frame, several, or none."""
    for number, event in enumerate(events):
        yield event
        if number % 3 == 2:
            await anyio.sleep(0.003)


async def frames(streams: Relay, emit: Any, last_event_id: str | None = None, key: str = "k") -> list[Frame]:
    with anyio.fail_after(SECONDS):
        stream = streams.frames(key, emit, last_event_id=last_event_id)
        return [(frame.id, frame.event, frame.payload) async for frame in stream if isinstance(frame, ServerSentEvent)]


@pytest.mark.parametrize("name", BUILT_IN)
async def test_a_client_that_reconnects_behind_any_frame_receives_the_rest_from_any_process(
    log: Log, name: str
) -> None:
    async with Relay(log, flush=0) as here, Relay(log) as there:
        await (await here.publish("k", paced)).wait()
        everything = await frames(here, name)
        assert len({id for id, _, _ in everything}) == len(everything) > 3
        for number, (id, _, _) in enumerate(everything, 1):
            assert await frames(there, name, id) == everything[number:]
        assert await frames(there, name) == everything
        assert await there.resume("k", name, last_event_id=everything[-1][0]) is None
        rest = await there.resume("k", name, last_event_id=everything[-2][0])
        assert rest is not None
        assert [frame.payload async for frame in rest if isinstance(frame, ServerSentEvent)] == [everything[-1][2]]
        with pytest.raises(sk.errors.LogLost, match="no stream with this key"):
            await there.resume("unknown", name)


@pytest.mark.parametrize("name", BUILT_IN)
async def test_frames_are_those_of_the_same_emitter_without_a_log(log: Log, name: str) -> None:
    emit = sk.Emit(name, id="id-1", created=7, model="m")
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", paced)).wait()
        assert [(event, data) for _, event, data in await frames(streams, emit)] == [
            (frame.event, frame.payload) for frame in emit.run(ANSWER) if isinstance(frame, ServerSentEvent)
        ]


async def test_the_emitter_of_the_frames_can_be_a_class(log: Log) -> None:
    async with Relay(log) as streams:
        await (await streams.publish("k", answer)).wait()
        assert await frames(streams, MessagesEmitter) == await frames(streams, "anthropic")
        with pytest.raises(sk.PipelineError, match="expected the name of an emitter, or a class or function"):
            streams.frames("k", 7)  # type: ignore[arg-type]


async def test_the_identity_of_a_response_is_that_of_its_key(log: Log) -> None:
    async with Relay(log) as streams:
        for key in ("a", "b"):
            await (await streams.publish(key, answer)).wait()
        payloads = [(await frames(streams, "ai-sdk", key=key))[0][2] for key in ("a", "a", "b")]
        assert payloads[0] == payloads[1]


async def test_a_live_viewer_reconnects_in_mid_stream(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0) as streams:
        await streams.publish("k", gated.stream)
        async with streams.frames("k", "ai-sdk") as first:
            seen = [await anext(first) for _ in range(4)]
        gated.go_on.set()
        rest = await frames(streams, "ai-sdk", seen[-1].id)  # type: ignore[union-attr]
        everything = await frames(streams, "ai-sdk")
        assert [frame.payload for frame in seen] == [data for _, _, data in everything[:4]]  # type: ignore[union-attr]
        assert rest == everything[4:]


@pytest.mark.parametrize("name", BUILT_IN)
async def test_a_client_that_has_something_of_a_void_answer_gets_an_error_and_then_the_new_one(
    log: Log, name: str
) -> None:
    void: list[sk.Event] = [sk.TextDelta("one"), sk.TextDelta(" two")]
    valid: list[sk.Event] = [sk.TextDelta("three"), sk.Finish("stop"), sk.StreamEnd("completed")]
    go_on, emit = anyio.Event(), sk.Emit(name, id="x", created=1)

    async def restarted() -> AsyncGenerator[sk.Event, None]:
        for event in void:
            yield event
        await go_on.wait()
        for event in [sk.events.Reset("again"), *valid]:
            yield event

    async with Relay(log, flush=0) as streams:
        await streams.publish("k", restarted)
        async with streams.frames("k", emit) as live:
            first = await anext(live)
            go_on.set()
            with anyio.fail_after(SECONDS):
                rest = [frame async for frame in live]
        expected = [frame.payload for frame in emit.run(valid)]  # type: ignore[union-attr]
        whole = await frames(streams, emit)
        assert [data for _, _, data in whole] == expected
        error = [frame.payload for frame in emit.run([*void, sk.events.Reset("again")])]  # type: ignore[union-attr]
        assert isinstance(first, ServerSentEvent)
        last = rest[-1]
        assert isinstance(last, ServerSentEvent)
        assert last.payload.replace(LATER, NEVER) == error[-1]
        assert await frames(streams, emit, last.id) == whole
        late = await frames(streams, emit, first.id)
        assert b"was restarted" in b"".join(data for _, _, data in late)
        assert await frames(streams, emit, late[-1][0]) == whole


@pytest.mark.parametrize(
    ("last_event_id", "code"),
    [
        *((malformed, "invalid_event_id") for malformed in ("12", "x", "ü", "1-2-3-4")),
        *((unknown, "reset") for unknown in ("0-1-1", "9999999999999-1-1")),
    ],
)
async def test_an_id_of_something_else_is_answered_with_an_error_and_then_with_everything(
    log: Log, last_event_id: str, code: str
) -> None:
    async with Relay(log) as streams:
        await (await streams.publish("k", answer)).wait()
        failed = await frames(streams, "openai", last_event_id)
        assert len(failed) == 1
        assert f'"code":"{code}"'.encode() in failed[0][2]
        assert b"Last-Event-ID" in failed[0][2]
        assert await frames(streams, "openai", failed[0][0]) == await frames(streams, "openai")


@dataclass
class Words(sk.Stage[sk.Event, ServerSentEvent]):
    """A wire format of one's own, which can begin again."""

    number: int = field(default=0, init=False)

    def feed(self, item: sk.Event) -> Iterable[ServerSentEvent]:
        match item:
            case sk.events.Reset():
                yield ServerSentEvent.of("", "clear")
            case sk.TextDelta(text=text):
                self.number += 1
                yield ServerSentEvent.of(f"{self.number} {text}", "text")

    def flush(self) -> Iterable[ServerSentEvent]:
        yield ServerSentEvent.of("", "end")


async def test_a_stage_of_one_s_own_writes_frames_and_receives_resets(log: Log) -> None:
    events: list[sk.Event] = [
        sk.TextDelta("a"),
        sk.TextDelta("b"),
        sk.events.Reset("x"),
        sk.TextDelta("c"),
        sk.StreamEnd("completed"),
    ]
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", lambda: paced(events))).wait()
        everything = await frames(streams, Words())
        assert [(event, data) for _, event, data in everything] == [("clear", b""), ("text", b"1 c"), ("end", b"")]
        for number, (id, _, _) in enumerate(everything, 1):
            assert await frames(streams, Words(), id) == everything[number:]
        again = await frames(streams, Words(), "x")
        assert again[0] == ("0-0-0", "clear", b"")
        assert again[1:] == everything
        piped = await frames(streams, sk.ops.Filter(lambda event: not isinstance(event, sk.events.Reset)) | Words())
        assert [event for _, event, _ in piped] == ["text", "end"]


async def test_a_stream_end_that_operators_pass_through_is_no_frame(log: Log) -> None:
    stage = sk.ops.Map(lambda event: ServerSentEvent.of(getattr(event, "text", "?")))
    events: list[sk.Event] = [sk.TextDelta("a"), sk.TextDelta("b"), sk.StreamEnd("completed")]
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", lambda: paced(events))).wait()
        async with streams.frames("k", stage) as stream:
            items: list[object] = [item async for item in stream]
        assert [isinstance(item, ServerSentEvent) and item.payload for item in items] == [b"a", b"b"]
        async with streams.frames("k", stage) | Encode() as stream:
            encoded = b"".join([data async for data in stream])
        assert encoded.count(b"data: ") == 2
        last = items[-1]
        assert isinstance(last, ServerSentEvent)
        assert await frames(streams, stage, last.id) == []
        # An unknown id: the log is written again after a `Reset`.
        assert [data for _, _, data in await frames(streams, stage, "x")] == [b"?", b"a", b"b"]


async def test_a_stage_that_writes_bytes_has_no_ids_and_is_refused(log: Log) -> None:
    stage: Any = sk.ops.Map(lambda event: getattr(event, "text", "?").encode())
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", paced)).wait()
        for last_event_id in (None, "x"):
            with pytest.raises(
                sk.PipelineError, match="a stage that returns server-sent events, found an object of type bytes"
            ):
                await frames(streams, stage, last_event_id)


async def test_frames_go_through_encode_with_their_ids(log: Log) -> None:
    async with Relay(log) as streams:
        await (await streams.publish("k", answer)).wait()
        data = b"".join(await (streams.frames("k", "openai") | Encode()).collect())  # type: ignore[arg-type]
        state = await streams.state("k")
        assert state is not None
        assert f"id: {state.last}-1\n".encode() in data


async def test_a_chat_is_resumed_by_its_own_id_as_long_as_an_answer_is_active(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0) as here, Relay(log) as there:
        chats, others = Chats(here), Chats(there)
        assert await others.resume("c1") is None
        assert not await others.stop("c1")
        async with await chats.start("c1", gated.stream) as response:
            first = await anext(response)
        resumed = await others.resume("c1")
        assert resumed is not None
        gated.go_on.set()
        with anyio.fail_after(SECONDS):
            whole = [frame async for frame in resumed]
        assert whole[0] == first
        assert await others.resume("c1") is None
        next_one = Gated()
        await chats.start("c1", next_one.stream)
        assert await others.stop("c1")
        with anyio.fail_after(SECONDS):
            await next_one.closed.wait()
        assert await others.resume("c2") is None


@pytest.mark.parametrize("store", ["memory-asyncio", "memory-trio"], indirect=True)
async def test_a_resumed_chat_begins_at_its_latest_reset(store: str) -> None:
    go_on = anyio.Event()

    async def restarted() -> AsyncGenerator[sk.Event, None]:
        yield sk.TextDelta("void")
        yield sk.events.Reset("again")
        yield sk.TextDelta("valid")
        await go_on.wait()

    async with Relay(MemoryLog(), flush=0) as streams:
        chats = Chats(streams)
        async with await chats.start("c", restarted) as response:
            async for frame in response:
                if b"was restarted" in frame.payload:  # type: ignore[union-attr]
                    break
        resumed = await chats.resume("c")
        assert resumed is not None
        async with resumed:
            shown = b"".join([(await anext(resumed)).payload for _ in range(4)])  # type: ignore[union-attr]
        assert b"valid" in shown
        assert b"void" not in shown
        go_on.set()
