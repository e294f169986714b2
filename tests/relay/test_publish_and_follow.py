"""Streams in a log: published once, followed by any number of viewers, stopped and released."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import msgspec
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk
from streamkit.relay import Append, Appended, Claim, Log, MemoryLog, Relay
from streamkit.relay.batches import encode, join
from streamkit.relay.log import LogState
from tests.relay.answers import EVENTS, SECONDS, TEXTS, Gated, answer, seen, text

pytestmark = pytest.mark.anyio


async def test_every_viewer_receives_each_event_once_and_in_order_whenever_it_comes(log: Log) -> None:
    gated = Gated()
    expected = [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
    results: list[list[sk.Event]] = []

    async def view(streams: Relay) -> None:
        results.append(await seen(streams, "k"))

    async with Relay(log, flush=0.001) as here, Relay(log, flush=0.001) as there:
        publication = await here.publish("k", gated.stream)
        async with anyio.create_task_group() as group:
            for streams in (here, here, there, there):
                group.start_soon(view, streams)
            await gated.waiting.wait()
            group.start_soon(view, there)
            gated.go_on.set()
        assert await publication.wait() == sk.StreamEnd("completed")
        results.append(await seen(there, "k"))
    assert results == [expected] * 6


async def test_a_viewer_continues_behind_any_event(log: Log) -> None:
    async with Relay(log, flush=0.001) as streams:
        await (await streams.publish("k", answer)).wait()
        source = streams.follow("k")
        everything = await (source | sk.ops.Map(lambda event: event)).collect()
        assert everything == list(EVENTS)
        state = await streams.state("k")
        assert state is not None
        ids = [f"{state.last.epoch}-{state.last.sequence}-{number}" for number in range(len(EVENTS) + 1)]
        assert source.id == ids[-1]
        assert [await seen(streams, "k", after=id) for id in ids] == [
            list(EVENTS[number:]) for number in range(len(ids))
        ]
        assert await seen(streams, "k", after=str(state.last)) == []


async def test_what_the_log_stores_is_without_the_provider_s_chunk(log: Log) -> None:
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    async with Relay(log) as streams:
        await (await streams.publish("k", lambda: [chunk, b"data: [DONE]\n\n"] | sk.Parse() | sk.Extract())).wait()
        page = await log.read("k", None)
        assert page is not None
        assert b"choices" not in b"".join(entry.data or b"" for entry in page.entries)
        assert sk.TextDelta("Hi") in await seen(streams, "k")


async def test_text_that_is_no_utf_8_is_stored_with_replacements(log: Log) -> None:
    async with Relay(log) as streams:
        await (await streams.publish("k", lambda: answer([sk.TextDelta("a\ud800b"), sk.StreamEnd("completed")]))).wait()
        assert await seen(streams, "k") == [sk.TextDelta("a\ufffdb"), sk.StreamEnd("completed")]


async def test_no_viewer_is_needed_and_one_that_leaves_stops_nothing(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001) as streams:
        publication = await streams.publish("k", gated.stream)
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            assert await anext(events) == sk.TextDelta("0 ")
        assert not gated.closed.is_set()
        gated.go_on.set()
        assert await publication.wait() == sk.StreamEnd("completed")


@pytest.mark.parametrize("iterated", [False, True], ids=["stream", "iterable"])
async def test_stop_ends_a_stream_in_whatever_process_it_is(log: Log, iterated: bool) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001, lease=0.03) as here, Relay(log, tick=0.01) as there:
        publication = await here.publish("k", gated.events if iterated else gated.stream)
        await gated.waiting.wait()
        with anyio.fail_after(SECONDS):
            assert await there.stop("k")
            await gated.closed.wait()
            assert await publication.wait() == sk.StreamEnd("cancelled")
        assert await seen(there, "k") == [*map(sk.TextDelta, TEXTS[:5]), sk.StreamEnd("cancelled")]
        assert not await there.stop("k")
        assert not await there.stop("unknown")


async def test_a_key_is_published_once(log: Log) -> None:
    gated = Gated()
    async with Relay(log) as here, Relay(log) as there:
        await here.publish("k", gated.stream)
        with pytest.raises(sk.errors.StreamExists, match="is active already") as found:
            await there.publish("k", answer)
        assert not found.value.ended
        gated.go_on.set()
        assert (await seen(there, "k"))[-1] == sk.StreamEnd("completed")
        with pytest.raises(sk.errors.StreamExists, match="has ended already") as found:
            await there.publish("k", answer)
        assert found.value.ended


async def test_a_stream_that_fails_ends_so_for_every_viewer_and_raises_for_who_waits(log: Log) -> None:
    async def failing() -> AsyncGenerator[sk.Event, None]:
        yield sk.TextDelta("a")
        raise sk.errors.Disconnected("the connection broke")

    def refused() -> Any:
        raise sk.StatusError("no", status=401)

    async with Relay(log) as streams:
        with pytest.raises(sk.errors.Disconnected):
            await (await streams.publish("1", failing)).wait()
        assert await seen(streams, "1") == [sk.TextDelta("a"), sk.StreamEnd("truncated")]
        with pytest.raises(sk.StatusError):
            await (await streams.publish("2", refused)).wait()
        assert await seen(streams, "2") == [sk.StreamEnd("error")]
        assert await (await streams.publish("3", lambda: answer([sk.TextDelta("a")]))).wait() == sk.StreamEnd(
            "truncated"
        )
        assert await seen(streams, "3") == [sk.TextDelta("a"), sk.StreamEnd("truncated")]


async def test_an_error_that_a_provider_reports_is_in_the_log_and_raised(log: Log) -> None:
    chunk = b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'
    async with Relay(log) as streams:
        with pytest.raises(sk.ProviderError):
            await (await streams.publish("k", lambda: [chunk] | sk.Parse() | sk.Extract())).wait()
        (end,) = await seen(streams, "k")
        assert isinstance(end, sk.StreamEnd)
        assert end.reason == "provider_error"


async def test_only_events_are_stored_and_the_error_says_what_was_found(log: Log) -> None:
    async with Relay(log) as streams:
        for key, items in {"1": [b"x"], "2": [sk.sse.ServerSentEvent.of("secret")]}.items():
            publication = await streams.publish(key, lambda items=items: answer(items))  # type: ignore[misc]
            with pytest.raises(sk.PipelineError, match="a log stores events, as after Extract") as found:
                await publication.wait()
            assert "secret" not in str(found.value)
            assert await seen(streams, key) == [sk.StreamEnd("error")]
        value = sk.events.ToolOutput("t", object())
        publication = await streams.publish("3", lambda: answer([value]))
        with pytest.raises(sk.PipelineError, match="ToolOutput holds a value that has none"):
            await publication.wait()


async def test_a_hop_can_be_published(log: Log) -> None:
    async with Relay(log) as streams:
        publication = await streams.publish("k", lambda: sk.hops.prefetch(answer()))
        assert await publication.wait() == sk.StreamEnd("completed")
        publication = await streams.publish("l", lambda: answer() | sk.hops.Prefetch())
        assert await publication.wait() == sk.StreamEnd("completed")
        assert await seen(streams, "k") == await seen(streams, "l") == list(EVENTS)


async def test_leaving_releases_what_has_not_ended_for_others_at_once(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001, lease=3600) as streams:
        publication = await streams.publish("k", gated.stream)
        await gated.waiting.wait()
    assert gated.closed.is_set()
    assert await publication.wait() is None
    assert list(await log.expired(10)) == ["k"]
    async with Relay(log) as streams:
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            assert [await anext(events) for _ in range(5)] == list(map(sk.TextDelta, TEXTS[:5]))


async def test_leaving_waits_for_streams_under_way_as_long_as_drain_says(log: Log) -> None:
    gated = Gated()
    async with anyio.create_task_group() as group:
        async with Relay(log, drain=SECONDS) as streams:
            publication = await streams.publish("k", gated.stream)
            await gated.waiting.wait()
            group.start_soon(_set, gated.go_on)
    assert publication.end == sk.StreamEnd("completed")


async def _set(event: anyio.Event) -> None:
    await wait_all_tasks_blocked()
    event.set()


async def test_a_cancelled_process_releases_too(log: Log) -> None:
    gated = Gated()
    with anyio.CancelScope() as scope:
        async with Relay(log, flush=0.001, lease=3600) as streams:
            await streams.publish("k", gated.stream)
            await gated.waiting.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert gated.closed.is_set()
    assert list(await log.expired(10)) == ["k"]


async def test_a_viewer_that_is_slower_than_the_window_misses_nothing_and_delays_nobody(log: Log) -> None:
    events = [sk.TextDelta(f"{number} ") for number in range(200)]
    go_on = [anyio.Event() for _ in events]

    async def paced() -> AsyncGenerator[sk.Event, None]:
        for event, turn in zip(events, go_on, strict=True):
            yield event
            await turn.wait()
        yield sk.StreamEnd("completed")

    async with Relay(log, flush=0, window=4) as streams:
        publication = await streams.publish("k", paced)
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as slow:
            assert await anext(slow) == events[0]
            async with streams.follow("k") | sk.ops.Map(lambda event: event) as quick:
                with anyio.fail_after(SECONDS):
                    for event, turn in zip(events, go_on, strict=True):
                        assert await anext(quick) == event
                        turn.set()
            await publication.wait()
            assert [event async for event in slow] == [*events[1:], sk.StreamEnd("completed")]


async def test_the_first_event_after_a_pause_is_appended_at_once_and_those_behind_it_together(log: Log) -> None:
    gated = Gated(pieces=1)
    async with Relay(log, flush=3600) as here, Relay(log) as there:
        publication = await here.publish("k", gated.stream)
        async with there.follow("k") | sk.ops.Map(lambda event: event) as events:
            with anyio.fail_after(SECONDS):
                assert await anext(aiter(events)) == sk.TextDelta(TEXTS[0])
        gated.go_on.set()
        await publication.closed()
        await wait_all_tasks_blocked()
        page = await log.read("k", None)
        assert page is not None
        assert len(page.entries) == 2  # the claim's and the first
        assert not publication.done
    page = await log.read("k", None)
    assert page is not None
    assert [entry.data and len(msgspec.json.decode(entry.data)) for entry in page.entries] == [None, 1, len(TEXTS)]


class Slow(MemoryLog):
    """Answers appends when `open` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.open = anyio.Event()

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        await self.open.wait()
        return await super().append(appends)


@pytest.mark.parametrize("store", ["memory-asyncio", "memory-trio"], indirect=True)
async def test_a_slow_store_pauses_the_source(store: str) -> None:
    log, produced = Slow(), 0

    async def endless() -> AsyncGenerator[sk.Event, None]:
        nonlocal produced
        for _ in range(1000):
            produced += 1
            yield sk.TextDelta("a")
        yield sk.StreamEnd("completed")

    async with Relay(log, flush=0, buffer=50) as streams:
        publication = await streams.publish("k", endless)
        await wait_all_tasks_blocked()
        assert produced == 51
        log.open.set()
        assert await publication.wait() == sk.StreamEnd("completed")
        assert len(await seen(streams, "k")) == 1001


class Unreachable(MemoryLog):
    """Raises while `down`, and forgets what it is told to."""

    down = False
    lost_replies = 0

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        if self.down:
            raise sk.errors.LogUnreachable("the store does not answer")
        replies = await super().append(appends)
        if self.lost_replies:
            self.lost_replies -= 1
            raise sk.errors.LogUnreachable("the reply was lost")
        return replies

    async def states(self, keys: Sequence[str]) -> Sequence[LogState | sk.errors.SourceError | None]:
        if self.down:
            raise sk.errors.LogUnreachable("the store does not answer")
        return await super().states(keys)

    def cut(self, key: str, entries: int) -> None:
        """Lose the last entries, as a store that was restarted behind its last sync."""
        stored = self._logs[key]
        del stored.entries[-entries:]
        if not stored.entries:
            del self._logs[key]


both = pytest.mark.parametrize("store", ["memory-asyncio", "memory-trio"], indirect=True)


@both
async def test_a_lost_reply_repeats_nothing(store: str) -> None:
    log = Unreachable()
    log.lost_replies = 2
    async with Relay(log, flush=0) as streams:
        assert await (await streams.publish("k", answer)).wait() == sk.StreamEnd("completed")
        assert await seen(streams, "k") == list(EVENTS)


@both
async def test_a_store_that_does_not_answer_for_the_length_of_the_lease_ends_the_source(store: str) -> None:
    log, gated = Unreachable(), Gated()
    async with Relay(log, flush=0, lease=0.05) as streams:
        publication = await streams.publish("k", gated.stream)
        assert text(await seen_until(streams, "k", 5)) == "".join(TEXTS[:5])
        log.down = True
        with (
            anyio.fail_after(SECONDS),
            pytest.raises(sk.errors.LeaseLost, match=r"has appended nothing for 0\.05 seconds"),
        ):
            await publication.wait()
        assert gated.closed.is_set()
        log.down = False
        assert text(await seen_until(streams, "k", 5)) == "".join(TEXTS[:5])


async def seen_until(streams: Relay, key: str, count: int) -> list[sk.Event]:
    with anyio.fail_after(SECONDS):
        async with streams.follow(key) | sk.ops.Map(lambda event: event) as events:
            return [await anext(events) for _ in range(count)]


@both
async def test_viewers_end_with_an_error_if_the_store_does_not_answer(store: str) -> None:
    log, gated = Unreachable(), Gated()
    async with Relay(log, flush=0, patience=0.05, tick=0.01) as streams:
        await streams.publish("k", gated.stream)
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            assert await anext(events) == sk.TextDelta("0 ")
            log.down = True
            with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LogUnreachable):
                async for _ in events:
                    pass


@both
@pytest.mark.parametrize("entries", [1, 2, 3, 99])
async def test_what_a_store_has_lost_is_appended_again_and_viewers_notice_nothing(store: str, entries: int) -> None:
    log, turns = Unreachable(), [anyio.Event() for _ in range(6)]

    async def paced() -> AsyncGenerator[sk.Event, None]:
        for number, turn in enumerate(turns):
            yield sk.TextDelta(f"{number} ")
            await turn.wait()
        yield sk.StreamEnd("completed")

    async with Relay(log, flush=0, lease=SECONDS, tick=0.01) as streams:
        publication = await streams.publish("k", paced)
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            with anyio.fail_after(SECONDS):
                for number in range(3):
                    assert await anext(events) == sk.TextDelta(f"{number} ")
                    if number < 2:
                        turns[number].set()
                log.cut("k", entries)
                for turn in turns[2:]:
                    turn.set()
                assert [event async for event in events] == [
                    *(sk.TextDelta(f"{number} ") for number in range(3, 6)),
                    sk.StreamEnd("completed"),
                ]
        assert await publication.wait() == sk.StreamEnd("completed")
        assert text(await seen(streams, "k")) == "0 1 2 3 4 5 "


@both
@pytest.mark.parametrize("entries", [2, 99])
async def test_what_can_t_be_appended_again_ends_as_truncated_behind_a_reset(store: str, entries: int) -> None:
    log, go_on = Unreachable(), anyio.Event()

    async def paced() -> AsyncGenerator[sk.Event, None]:
        for number in range(4):
            yield sk.TextDelta(f"{number} ")
            await anyio.sleep(0.01)
        await go_on.wait()
        yield sk.TextDelta("4 ")

    async with Relay(log, flush=0, resend_bytes=0, tick=0.01) as streams:
        publication = await streams.publish("k", paced)
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            with anyio.fail_after(SECONDS):
                for number in range(4):
                    assert await anext(events) == sk.TextDelta(f"{number} ")
                log.cut("k", entries)
                go_on.set()
                rest = [event async for event in events]
        assert isinstance(rest[0], sk.events.Reset)
        assert rest[-1] == sk.StreamEnd("truncated")
        assert text(rest) == text(await seen(streams, "k")) == ("0 1 " if entries == 2 else "")
        with pytest.raises(sk.errors.LogLost) as found:
            await publication.wait()
        assert found.value.cause == "lost"


# Logs that are not there, or not whole


async def test_an_unknown_key_is_an_error_and_no_wait(log: Log) -> None:
    async with Relay(log) as streams:
        with pytest.raises(sk.errors.LogLost) as found:
            await seen(streams, "unknown")
        assert found.value.cause == "unknown"


@both
async def test_a_log_that_disappears_ends_its_viewers(store: str) -> None:
    log, gated = Unreachable(), Gated()
    async with Relay(log, flush=0) as here, Relay(log, tick=0.01, patience=0.03) as there:
        publication = await here.publish("k", gated.stream)
        async with there.follow("k") | sk.ops.Map(lambda event: event) as events:
            assert await anext(events) == sk.TextDelta("0 ")
            publication.abandon(sk.errors.LeaseLost("as if the process had died"))
            log.cut("k", 99)
            with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LogLost) as found:
                async for _ in events:
                    pass
            assert found.value.cause == "lost"


@both
@pytest.mark.parametrize("at", [0, 1, 2, 3])
async def test_a_log_that_was_trimmed_is_an_error_behind_what_is_whole(store: str, at: int) -> None:
    log = Unreachable()
    async with Relay(log) as streams:
        await store_batches(log, [batch(str(number)) for number in range(4)])
        del log._logs["k"].entries[at]
        delivered, found = await until_lost(streams)
        assert delivered == [str(number) for number in range(at - 1)]
        assert isinstance(found, sk.errors.LogLost)
        assert found.cause == "trimmed"


@both
@pytest.mark.parametrize("damaged", [b'[{"type":"FromAnotherVersion"}]', b"", b"[", b"{}", b'[{"text":"a"}]', b"\xff"])
@pytest.mark.parametrize("live", [False, True])
async def test_a_damaged_batch_is_an_error_behind_what_came_before(store: str, damaged: bytes, live: bool) -> None:
    log, batches = MemoryLog(), [batch("a"), batch("b"), damaged, b"[]"]
    async with Relay(log) as streams:
        if live:
            await store_batches(log, [])
            async with anyio.create_task_group() as group:
                group.start_soon(store_when_followed, log, batches)
                delivered, found = await until_lost(streams)
        else:
            await store_batches(log, batches)
            delivered, found = await until_lost(streams)
        assert delivered == ["a", "b"]
        assert isinstance(found, sk.errors.ProtocolError)


def batch(text: str) -> bytes:
    return join([encode(sk.TextDelta(text))])


async def store_batches(log: Log, batches: Sequence[bytes]) -> None:
    """A log that another program has written."""
    claimed = await log.claim("k", Claim(owner="a", lease=60, keep=60))
    await log.append([Append(key="k", owner="a", after=claimed.position, batches=batches, lease=60, keep=60)])


async def store_when_followed(log: MemoryLog, batches: Sequence[bytes]) -> None:
    await wait_all_tasks_blocked()
    after = log._logs["k"].last
    await log.append([Append(key="k", owner="a", after=after, batches=batches, lease=60, keep=60)])


async def until_lost(streams: Relay) -> tuple[list[str], Exception]:
    delivered = list[str]()
    with anyio.fail_after(SECONDS), pytest.raises((sk.errors.LogLost, sk.errors.ProtocolError)) as found:
        async for event in streams.follow("k") | sk.ops.Map(lambda event: event):
            delivered.append(text([event]))
    return delivered, found.value


@both
async def test_a_position_that_the_log_does_not_have_gives_a_reset_and_everything(store: str) -> None:
    log = MemoryLog()
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", answer)).wait()
        state = await streams.state("k")
        assert state is not None
        epoch, last = state.last
        for after in (f"{epoch}-{last + 5}-1", f"{epoch + 7}-1-1", f"{epoch - 7}-3-1"):
            reset, *rest = await seen(streams, "k", after=after)
            assert isinstance(reset, sk.events.Reset)
            assert rest == list(EVENTS)
        for after in ("x", "1-", "1-2-3-4", "-1-2", "٣-1-1"):
            with pytest.raises(sk.PipelineError, match="expected the id of an event"):
                streams.follow("k", after=after)


async def test_a_stream_whose_producer_has_died_is_truncated_by_a_viewer(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001, lease=0.02) as here, Relay(log, patience=0.02, tick=0.01) as there:
        publication = await here.publish("k", gated.stream)
        await gated.waiting.wait()
        assert text(await seen_until(there, "k", 5)) == "".join(TEXTS[:5])
        publication.abandon(sk.errors.LeaseLost("as if the process had died"))
        assert await seen(there, "k") == [*map(sk.TextDelta, TEXTS[:5]), sk.StreamEnd("truncated")]


# Misuse


async def test_a_relay_is_entered_once_and_used_inside(log: Log) -> None:
    streams = Relay(log)
    with pytest.raises(sk.PipelineError, match="async with Relay"):
        await streams.publish("k", answer)
    with pytest.raises(sk.PipelineError, match="async with Relay"):
        streams.follow("k")
    async with streams:
        with pytest.raises(sk.PipelineError, match="expected a key"):
            await streams.publish("", answer)
    with pytest.raises(sk.PipelineError, match="was left"):
        await streams.publish("k", answer)
    with pytest.raises(sk.PipelineError, match="entered before"):
        async with streams:
            pass
    with pytest.raises(sk.PipelineError, match="expected a log"):
        Relay(object())  # type: ignore[arg-type]
    with pytest.raises(sk.PipelineError, match="expected a lease of more than 0"):
        Relay(log, lease=0)
