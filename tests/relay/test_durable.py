"""Reads by the Durable Streams protocol. `make clients` runs the protocol's own suite."""

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest

import streamkit as sk
from streamkit.relay import Append, Claim, DurableEvents, DurableResponse, DurableStreams, Log, MemoryLog, Relay
from streamkit.relay.batches import encode, join
from streamkit.relay.durable import next_cursor
from tests.relay.answers import EVENTS, SECONDS, TEXTS, Gated, answer

pytestmark = pytest.mark.anyio
memory = pytest.mark.parametrize("store", ["memory-asyncio", "memory-trio"], indirect=True)
Query = Sequence[tuple[str, str]]
SAME = sk.ops.Map[Any, Any](lambda item: item)


async def get(durable: DurableStreams, key: str = "k", *query: tuple[str, str], **headers: str) -> DurableResponse:
    with anyio.fail_after(SECONDS):
        return await durable.read(key, "GET", query, headers)


def json_of(response: DurableResponse) -> list[Any]:
    assert isinstance(response.body, bytes)
    return msgspec.json.decode(response.body, type=list[Any])


async def pages(durable: DurableStreams, *query: tuple[str, str]) -> list[tuple[str, list[Any]]]:
    """Every chunk from the beginning, with the offset behind it, until the stream is closed."""
    found: list[tuple[str, list[Any]]] = []
    offset = "-1"
    while True:
        response = await get(durable, "k", ("offset", offset), *query)
        assert response.status == 200
        found.append((response.headers["stream-next-offset"], json_of(response)))
        if "stream-closed" in response.headers:
            return found
        assert response.headers["stream-next-offset"] > offset.replace("-1", "")
        offset = response.headers["stream-next-offset"]


async def parts(response: DurableResponse) -> list[tuple[str, Any]]:
    """The events of an event stream: their types and data."""
    assert isinstance(response.body, DurableEvents)
    found: list[tuple[str, Any]] = []
    with anyio.fail_after(SECONDS):
        async for part in response.body:
            for block in part.decode().removesuffix("\n\n").split("\n\n"):
                event, *data = block.split("\n")
                text = "\n".join(line.removeprefix("data:").removeprefix(" ") for line in data)
                found.append((event.removeprefix("event: "), text))
        await response.body.aclose()
    return found


async def stored(log: Log, *batches: Sequence[sk.Event], key: str = "k") -> None:
    """A log with these batches, which has ended if the last one has an end."""
    claimed = await log.claim(key, Claim(owner="a", lease=60, keep=60))
    await appended(log, claimed.position, *batches, key=key)


async def appended(log: Log, after: Any, *batches: Sequence[sk.Event], key: str = "k") -> None:
    data = [join([encode(event) for event in batch]) for batch in batches]
    resets = [number for number, batch in enumerate(batches) if isinstance(batch[0], sk.events.Reset)]
    ends = bool(batches) and isinstance(batches[-1][-1], sk.StreamEnd)
    append = Append(key=key, owner="a", after=after, batches=data, lease=60, keep=60, resets=resets, ends=ends)
    (reply,) = await log.append([append])
    assert reply.result == "appended"


ANSWER = [EVENTS[:3], EVENTS[3:10], EVENTS[10:]]
AGAIN = [
    [sk.events.ResponseStart(id="r", model="m"), sk.TextDelta("first ")],
    [sk.TextDelta("answer")],
    [sk.events.Reset("the process has ended"), sk.events.ResponseStart(id="r", model="m"), sk.TextDelta("second ")],
    [sk.TextDelta("answer"), sk.Finish("stop"), sk.StreamEnd("completed")],
]


# Catch-up


async def test_a_catch_up_read_returns_the_events_as_json_and_the_end(log: Log) -> None:
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", answer)).wait()
        durable = DurableStreams(streams)
        for query in ([], [("offset", "-1")], [("offset", "-1"), ("unknown", "1")]):
            response = await get(durable, "k", *query)
            assert response.status == 200
            assert json_of(response) == [msgspec.json.decode(encode(event)) for event in EVENTS]
            head = {name: response.headers.get(name) for name in ("content-type", "stream-up-to-date", "stream-closed")}
            assert head == {"content-type": "application/json", "stream-up-to-date": "true", "stream-closed": "true"}
            assert response.headers["x-content-type-options"] == "nosniff"
        at_the_end = await get(durable, "k", ("offset", response.headers["stream-next-offset"]))
        assert (at_the_end.status, at_the_end.body) == (200, b"[]")
        assert at_the_end.headers["stream-closed"] == at_the_end.headers["stream-up-to-date"] == "true"
        assert at_the_end.headers["stream-next-offset"] == response.headers["stream-next-offset"]


@pytest.mark.parametrize("emit", [None, "openai", "ai-sdk", "anthropic", "responses", sk.Emit("openai") | SAME])
@pytest.mark.parametrize("batches", [ANSWER, AGAIN], ids=["an answer", "an answer that began anew"])
async def test_from_each_offset_the_messages_are_the_rest_of_all(log: Log, emit: Any, batches: Any) -> None:
    await stored(log, *batches)
    async with Relay(log) as streams:
        everything = json_of(await get(DurableStreams(streams, emit)))
        assert everything
        small = DurableStreams(streams, emit, chunk_bytes=1)
        found = await pages(small)
        assert [message for _, messages in found for message in messages] == everything
        assert len(found) > 2
        assert [offset for offset, _ in found] == sorted({offset for offset, _ in found})
        seen = 0
        for offset, messages in found:
            seen += len(messages)
            rest = await get(DurableStreams(streams, emit), "k", ("offset", offset))
            assert json_of(rest) == everything[seen:]
            live = await get(DurableStreams(streams, emit), "k", ("offset", offset), ("live", "sse"))
            data = [
                message for kind, data in await parts(live) if kind == "data" for message in msgspec.json.decode(data)
            ]
            assert data == everything[seen:]


async def test_messages_are_those_of_the_frames_of_that_client(log: Log) -> None:
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", answer)).wait()
        for name in ("openai", "ai-sdk", "anthropic"):
            async with streams.frames("k", name) as frames:
                data = [frame.data async for frame in frames]
            messages = json_of(await get(DurableStreams(streams, name)))
            assert messages == [msgspec.json.decode(text) for text in data if text != "[DONE]"]


async def test_an_answer_that_begins_anew_is_an_error_and_the_new_answer(log: Log) -> None:
    await stored(log, *AGAIN)
    async with Relay(log) as streams:
        events = json_of(await get(DurableStreams(streams)))
        assert [event["event"] for event in events][:4] == ["ResponseStart", "TextDelta", "TextDelta", "Reset"]
        kinds = [message["type"] for message in json_of(await get(DurableStreams(streams, "ai-sdk")))]
        error = kinds.index("error")
        assert kinds[:error].count("text-delta") == 2
        assert kinds[error + 1] == "start"
        assert kinds[error + 1 :].count("text-delta") == 2
        assert kinds[-1] == "finish"


async def test_offset_now_is_the_end_and_keeps_nothing(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001) as streams:
        await streams.publish("k", gated.stream)
        durable = DurableStreams(streams, long_poll=0.01)
        with anyio.fail_after(SECONDS):
            await gated.waiting.wait()
            while len(json_of(await get(durable))) < 5:  # noqa: ASYNC110 - by a task of the Relay
                await anyio.sleep(0.002)
        end = (await get(durable)).headers["stream-next-offset"]
        now = await get(durable, "k", ("offset", "now"))
        assert (now.status, now.body, now.headers["stream-next-offset"]) == (200, b"[]", end)
        assert now.headers["cache-control"] == "no-store"
        assert "etag" not in now.headers
        waited = await get(durable, "k", ("offset", "now"), ("live", "long-poll"))
        assert (waited.status, waited.body, waited.headers["stream-next-offset"]) == (204, b"", end)
        assert waited.headers["stream-up-to-date"] == "true"
        assert waited.headers["stream-cursor"].isdecimal()
        gated.go_on.set()


# Live reads


async def test_a_long_poll_returns_what_comes(log: Log) -> None:
    gated, texts = Gated(), list[str]()
    async with Relay(log, flush=0.001) as streams:
        durable = DurableStreams(streams)
        await streams.publish("k", gated.stream)
        offset, cursor, closed = "-1", "", False
        with anyio.fail_after(SECONDS):
            while not closed:
                response = await get(durable, "k", ("offset", offset), ("live", "long-poll"), ("cursor", cursor))
                assert response.status == 200
                texts += [event["text"] for event in json_of(response) if event["event"] == "TextDelta"]
                closed = "stream-closed" in response.headers
                assert ("stream-cursor" in response.headers) is not closed
                offset, cursor = response.headers["stream-next-offset"], response.headers.get("stream-cursor", "")
                if len(texts) == 5:
                    gated.go_on.set()
        assert texts == list(TEXTS)
        ended = await get(durable, "k", ("offset", offset), ("live", "long-poll"))
        assert (ended.status, ended.headers["stream-closed"], ended.headers["stream-up-to-date"]) == (
            204,
            "true",
            "true",
        )
        assert not streams._tail._channels


async def test_an_event_stream_pairs_data_with_control_until_it_is_closed(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001) as streams:
        await streams.publish("k", gated.stream)
        response = await get(DurableStreams(streams), "k", ("offset", "-1"), ("live", "sse"))
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        found: list[tuple[str, Any]] = []
        async with anyio.create_task_group() as group:

            async def read() -> None:
                found.extend(await parts(response))

            group.start_soon(read)
            await gated.waiting.wait()
            gated.go_on.set()
        data = [message for kind, data in found if kind == "data" for message in msgspec.json.decode(data)]
        assert [event["text"] for event in data if event["event"] == "TextDelta"] == list(TEXTS)
        assert all(found[number + 1][0] == "control" for number, (kind, _) in enumerate(found) if kind == "data")
        controls = [msgspec.json.decode(data) for kind, data in found if kind == "control"]
        offsets = [control["streamNextOffset"] for control in controls]
        assert offsets == sorted(offsets)
        assert controls[-1] == {"streamNextOffset": offsets[-1], "upToDate": True, "streamClosed": True}
        assert all(control["streamCursor"].isdecimal() for control in controls[:-1])
        assert not streams._tail._channels
        at_the_end = await get(DurableStreams(streams), "k", ("offset", offsets[-1]), ("live", "sse"))
        assert [kind for kind, _ in await parts(at_the_end)] == ["control"]


async def test_an_event_stream_ends_in_time_for_the_client_to_connect_again(log: Log) -> None:
    await stored(log, *ANSWER[:1])
    async with Relay(log) as streams:
        response = await get(DurableStreams(streams, sse=0.02), "k", ("offset", "-1"), ("live", "sse"))
        (first, _), (last, control) = await parts(response)
        assert (first, last) == ("data", "control")
        assert msgspec.json.decode(control).get("upToDate") is True
        assert "streamClosed" not in control


@memory
async def test_an_event_stream_whose_log_is_lost_ends_and_the_next_read_says_so(store: str) -> None:
    log = MemoryLog()
    await stored(log, *ANSWER[:1])
    async with Relay(log, tick=0.01, patience=0.02) as streams:
        durable = DurableStreams(streams)
        response = await get(durable, "k", ("offset", "-1"), ("live", "sse"))
        assert isinstance(response.body, DurableEvents)
        first = await anext(response.body)
        assert b"streamClosed" not in first
        del log._logs["k"]
        with anyio.fail_after(SECONDS):
            assert [part async for part in response.body] == []
        assert (await get(durable)).status == 404


# Content


@memory
async def test_other_types_are_bytes_and_base64_in_an_event_stream(store: str) -> None:
    log = MemoryLog()
    await stored(log, [sk.TextDelta("a\r\n\n b\rc")], [sk.TextDelta(" é"), sk.StreamEnd("completed")])
    text = sk.ops.FlatMap[sk.Event, bytes](
        lambda event: [event.text.encode()] if isinstance(event, sk.TextDelta) else []
    )
    async with Relay(log) as streams:
        plain = DurableStreams(streams, text, content_type="text/plain; charset=utf-8")
        assert (await get(plain)).body == "a\r\n\n b\rc é".encode()
        live = await get(plain, "k", ("offset", "-1"), ("live", "sse"))
        assert "stream-sse-data-encoding" not in live.headers
        assert [data for kind, data in await parts(live) if kind == "data"] == ["a\n\n b\nc é"]
        binary = DurableStreams(streams, text, content_type="application/octet-stream")
        live = await get(binary, "k", ("offset", "-1"), ("live", "sse"))
        assert live.headers["stream-sse-data-encoding"] == "base64"
        assert [data for kind, data in await parts(live) if kind == "data"] == ["YQ0KCiBiDWMgw6k="]
        now = await get(plain, "k", ("offset", "now"))
        assert (now.body, now.headers["content-type"]) == (b"", "text/plain; charset=utf-8")


@memory
async def test_what_a_stage_writes_has_to_fit_the_content_type(store: str) -> None:
    log = MemoryLog()
    await stored(log, *ANSWER)
    async with Relay(log) as streams:
        wrong = sk.ops.FlatMap[sk.Event, bytes](lambda event: [b"no json"])
        with pytest.raises(sk.PipelineError, match="consists of JSON values"):
            await get(DurableStreams(streams, wrong))
        with pytest.raises(sk.PipelineError, match="messages are bytes or the data of server-sent events"):
            await get(DurableStreams(streams, sk.ops.Map[sk.Event, Any](lambda event: event)))
        with pytest.raises(sk.PipelineError, match="give a stage that writes the messages"):
            DurableStreams(streams, content_type="text/plain")
        with pytest.raises(sk.PipelineError, match="expected a content_type such as text/plain, found"):
            DurableStreams(streams, content_type="text")
        with pytest.raises(sk.PipelineError, match="expected a long_poll of more than 0, found 0"):
            DurableStreams(streams, long_poll=0)


# Requests and errors


@memory
@pytest.mark.parametrize(
    "query",
    [
        [("offset", "")],
        [("offset", "1")],
        [("offset", "0,1")],
        [("offset", "0 1")],
        [("offset", "../x")],
        [("offset", "1760000000000000-1")],
        [("offset", "1760000000000000_0000000000000001\n")],
        [("offset", "-1"), ("offset", "-1")],
        [("live", "sse")],
        [("live", "long-poll")],
        [("offset", "-1"), ("live", "true")],
        [("offset", "-1"), ("live", "")],
    ],
)
async def test_a_malformed_read_is_400(store: str, query: Query) -> None:
    log = MemoryLog()
    await stored(log, *ANSWER)
    async with Relay(log) as streams:
        response = await get(DurableStreams(streams), "k", *query)
        live = ("live", "") in query
        assert response.status == (200 if live else 400)
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_other_requests_have_their_status(log: Log) -> None:
    await stored(log, *ANSWER)
    await stored(log, *ANSWER[:2], key="open")
    async with Relay(log) as streams:
        durable = DurableStreams(streams)
        head = await durable.read("k", "HEAD")
        assert (head.status, head.body, head.headers["content-type"]) == (200, b"", "application/json")
        assert head.headers["stream-closed"] == "true"
        assert head.headers["cache-control"] == "no-store"
        assert head.headers["stream-next-offset"] == (await get(durable)).headers["stream-next-offset"]
        assert "stream-closed" not in (await durable.read("open", "HEAD")).headers
        assert (await durable.read("unknown", "HEAD")).status == 404
        for query in (
            [],
            [("offset", "now")],
            [("offset", "-1"), ("live", "sse")],
            [("offset", "now"), ("live", "long-poll")],
        ):
            assert (await get(durable, "unknown", *query)).status == 404
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            response = await durable.read("k", method)
            assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert "access-control-allow-origin" not in head.headers
        assert head.headers["cross-origin-resource-policy"] == "same-origin"
        shared = DurableStreams(streams, allow_origin="https://app.example")
        preflight = await shared.read("k", "OPTIONS")
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "https://app.example")
        assert "If-None-Match" in preflight.headers["access-control-allow-headers"]
        assert "Stream-Next-Offset" in (await get(shared)).headers["access-control-expose-headers"]


@pytest.mark.parametrize("emit", [None, "ai-sdk"])
async def test_an_offset_of_another_stream_is_gone(log: Log, emit: str | None) -> None:
    await stored(log, *ANSWER, key="before")
    await stored(log, *ANSWER)
    await stored(log, *ANSWER, key="behind")
    async with Relay(log) as streams:
        durable = DurableStreams(streams, emit)
        for key in ("before", "behind"):
            offset = (await durable.read(key, "HEAD")).headers["stream-next-offset"]
            for live in ([], [("live", "long-poll")], [("live", "sse")]):
                response = await get(durable, "k", ("offset", offset), *live)
                if isinstance(response.body, DurableEvents):  # it had begun
                    assert await parts(response) == []
                else:
                    assert response.status == 410


@memory
async def test_a_log_that_is_damaged_trimmed_or_not_reached_has_its_status(store: str) -> None:
    class Down(MemoryLog):
        async def states(self, keys: Sequence[str]) -> Any:
            raise sk.errors.LogUnreachable("the store does not answer")

    log = MemoryLog()
    await stored(log, *ANSWER, key="trimmed")
    del log._logs["trimmed"].entries[0]
    claimed = await log.claim("damaged", Claim(owner="a", lease=60, keep=60))
    await log.append([Append(key="damaged", owner="a", after=claimed.position, batches=[b"secret"], lease=60, keep=60)])
    async with Relay(log) as streams, Relay(Down()) as down:
        for key, status in {"trimmed": 410, "damaged": 500}.items():
            response = await get(DurableStreams(streams), key)
            assert response.status == status
            assert b"secret" not in (response.body if isinstance(response.body, bytes) else b"")
        assert (await get(DurableStreams(down))).status == 503


# Caching


async def test_an_entity_tag_is_that_of_the_data_and_changes_at_the_end(log: Log) -> None:
    claimed = await log.claim("k", Claim(owner="a", lease=60, keep=60))
    await appended(log, claimed.position, *ANSWER[:1])
    async with Relay(log) as streams:
        durable = DurableStreams(streams)
        first = await get(durable)
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, max-age=60, stale-while-revalidate=300"
        for given in (etag, f'"x", W/{etag}', "*"):
            same = await get(durable, "k", **{"If-None-Match": given})
            assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
        assert (await get(durable, "k", **{"if-none-match": '"x"'})).status == 200
        end = first.headers["stream-next-offset"]
        nothing = await get(durable, "k", ("offset", end))
        assert nothing.headers["cache-control"] == "no-store"
        await appended(log, claimed.position.next(), [sk.StreamEnd("completed")])
        changed = await get(durable, "k", **{"If-None-Match": etag})
        assert changed.status == 200
        assert changed.headers["etag"] not in (etag, nothing.headers["etag"])


def test_a_cursor_is_greater_than_the_client_s() -> None:
    now = int(next_cursor(""))
    assert now <= int(next_cursor("x")) <= now + 1
    assert now <= int(next_cursor(f"{now - 5}")) <= now + 1
    for given in (now + 2, now + 1000):
        assert given < int(next_cursor(f"{given}")) <= given + 180
