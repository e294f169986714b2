"""Deadlines apply to every source, even one that always has data; the consumer's time is excluded."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk
from streamkit.core.source import Deadlines

pytestmark = pytest.mark.anyio
PING = b": ping\n\n"
DELTA = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'
PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate()


class Server(sk.Source[bytes]):
    """An endless body: `head`, then `piece` repeated, immediately, after one iteration of the event loop, or after seconds."""

    def __init__(
        self, piece: bytes, wait: float | None = None, *, head: Sequence[bytes] = (), **deadlines: float
    ) -> None:
        self.deadlines = Deadlines(**deadlines)
        self._head = list(head)
        self._piece = piece
        self._wait = wait
        self.reads = 0
        self.closed = False

    async def read(self) -> Sequence[bytes]:
        self.reads += 1
        if self._head:
            return [self._head.pop(0)]
        if self._wait is not None:
            await anyio.sleep(self._wait)
        return [self._piece]

    async def close(self) -> None:
        self.closed = True


PACES = [
    pytest.param(None, id="always ready"),
    pytest.param(0.0, id="ready after a turn"),
    pytest.param(0.005, id="slow"),
]


@pytest.mark.parametrize("wait", PACES)
@pytest.mark.parametrize("piece", [PING, DELTA, ROLE], ids=["pings", "deltas", "events without content"])
async def test_total_passes_whatever_the_server_sends(piece: bytes, wait: float | None) -> None:
    source = Server(piece, wait, total=0.05)

    with pytest.raises(sk.errors.DeadlineExceeded, match=r"the deadline 'total' of 0\.05 s passed") as caught:
        async for _ in source | PIPELINE:
            pass

    assert (caught.value.deadline, caught.value.seconds) == ("total", 0.05)
    assert source.closed


@pytest.mark.parametrize("wait", PACES)
@pytest.mark.parametrize("piece", [PING, ROLE], ids=["pings", "events without content"])
async def test_first_content_passes_while_others_come(piece: bytes, wait: float | None) -> None:
    stream = Server(piece, wait, first_content=0.05) | PIPELINE

    with pytest.raises(sk.errors.DeadlineExceeded, match="'first_content'"):
        async for _ in stream:
            pass

    assert stream.end == sk.StreamEnd("timeout")


@pytest.mark.parametrize("wait", PACES)
async def test_idle_content_counts_from_the_last_piece_of_the_answer(wait: float | None) -> None:
    seen: list[object] = []

    with pytest.raises(sk.errors.DeadlineExceeded, match="'idle_content'"):
        async for event in (
            Server(PING, wait, head=[DELTA, PING, DELTA], idle_content=0.05, first_content=60) | PIPELINE
        ):
            seen.append(event)

    assert seen == [sk.TextDelta("x"), sk.TextDelta("x")]


@pytest.mark.parametrize("wait", PACES)
async def test_content_that_keeps_coming_lets_no_deadline_on_it_pass(wait: float | None) -> None:
    seen = 0

    async with Server(DELTA, wait, first_content=30, idle_content=30, idle_bytes=30) | PIPELINE as events:
        async for _ in events:
            seen += 1
            if seen == 200:
                break

    assert seen == 200


async def test_idle_bytes_is_for_one_read() -> None:
    with pytest.raises(sk.errors.DeadlineExceeded, match="'idle_bytes'"):
        async for _ in Server(PING, 60.0, head=[PING], idle_bytes=0.02) | PIPELINE:
            pass


async def test_the_consumers_time_lets_only_total_pass() -> None:
    limits: list[dict[str, Any]] = [{"first_content": 0.05}, {"idle_content": 0.05}, {"idle_bytes": 0.05}]
    for limit in limits:
        async with Server(DELTA, 0.0, head=[DELTA], **limit) | PIPELINE as events:
            for _ in range(2):
                assert await anext(events) == sk.TextDelta("x")
                await anyio.sleep(0.1)

    async with Server(DELTA, 0.0, total=0.05) | PIPELINE as events:
        assert await anext(events) == sk.TextDelta("x")
        await anyio.sleep(0.1)
        with pytest.raises(sk.errors.DeadlineExceeded, match="'total'"):
            await anext(events)


async def test_time_in_which_the_stream_works_counts() -> None:
    @sk.stage
    def slow(event: sk.Event) -> sk.Event:
        time.sleep(0.03)  # works instead of waiting
        return event

    with pytest.raises(sk.errors.DeadlineExceeded, match="'first_content'"):
        async for _ in Server(ROLE, None, first_content=0.05) | (sk.Parse() | sk.Extract() | ops_keep | slow):
            pass


@sk.stage
def ops_keep(event: sk.Event) -> list[sk.Event]:
    return [sk.Usage(1)]  # never content, so `first_content` keeps running


async def test_what_came_before_a_deadline_is_delivered_before_it_is_raised() -> None:
    class Late(Server):
        async def read(self) -> Sequence[bytes]:
            if self.reads == 1:
                time.sleep(0.06)  # noqa: ASYNC251 -- blocks the loop
            return await super().read()

    seen: list[object] = []
    with pytest.raises(sk.errors.DeadlineExceeded, match="'total'"):
        async for event in Late(DELTA, None, head=[DELTA, DELTA + DELTA], total=0.05) | PIPELINE:
            seen.append(event)

    assert seen == [sk.TextDelta("x")] * 3


def test_deadlines_cost_nothing_where_none_is_set() -> None:
    assert not Deadlines().in_stream
    assert not Deadlines(connect=1, first_byte=1).in_stream
    assert all(Deadlines(**{name: 1.0}).in_stream for name in ("first_content", "idle_bytes", "idle_content", "total"))


# A source that always has data


Body = Callable[[], sk.Source[bytes] | Any]


class Endless(Server):
    """A server that stops after many reads, so that a failing test terminates."""

    async def read(self) -> Sequence[bytes]:
        return [] if self.reads == 100_000 else await super().read()


async def test_other_tasks_get_their_turn_while_a_source_is_always_ready() -> None:
    turns = 0
    source = Endless(PING * 100)

    async def other() -> None:
        nonlocal turns
        while turns < 20:
            turns += 1
            await anyio.lowlevel.checkpoint()
        stream.cancel()

    async with anyio.create_task_group() as group:
        stream = source | PIPELINE
        group.start_soon(other)
        assert [item async for item in stream] == [sk.StreamEnd("cancelled")]

    assert turns == 20
    assert source.reads < 10_000


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_timeout_ends_a_source_that_is_always_ready() -> None:
    import asyncio

    source = Endless(PING * 100)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            async for _ in source | PIPELINE:
                pass

    assert source.closed


async def test_bytes_without_an_event_have_a_limit() -> None:
    source = Endless(PING * 1000)
    stream = source | (sk.Parse(max_bytes_without_event=1_000_000) | sk.Extract())

    with pytest.raises(
        sk.errors.LimitExceeded, match=r"expected an event within 1000000 bytes \(max_bytes_without_event\), found none"
    ):
        async for _ in stream:
            pass

    assert stream.end == sk.StreamEnd("limit")
    assert source.reads == 126
