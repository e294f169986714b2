"""Old entries of a log, many of them in one: viewers receive the same, wherever they begin and however late they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.relay import Append, Claim, Entry, LogBatch, PackedEntries, Position, Relay
from streamkit.relay.batches import encode, join
from streamkit.relay.log import unpacked
from streamkit.relay.tail import DecodedEntries, batches_of
from tests.relay.answers import SECONDS, seen
from tests.relay.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.anyio
redis_only = pytest.mark.parametrize("store", [pytest.param("redis-asyncio", marks=needs_redis)], indirect=True)
FIRST = Position(3, 7)
TEXT, END = (join([encode(event)]) for event in (sk.TextDelta("],["), sk.StreamEnd("completed")))
DAMAGED = (b"[", b"", b"1],[2", TEXT + b"," + TEXT, b"\xff", b"{}")
batches = st.lists(st.sampled_from([TEXT, TEXT, TEXT, join([TEXT[1:-1], END[1:-1]]), END, b"[]"]))
damaged = st.lists(st.sampled_from([TEXT, TEXT, END, b"[]", *DAMAGED]))


def packed(data: Sequence[bytes], first: Position = FIRST) -> PackedEntries:
    return PackedEntries(first, b",".join(data), [len(one) for one in data])


def singles(data: Sequence[bytes], first: Position = FIRST) -> list[Entry]:
    return [Entry(first.next(number), one) for number, one in enumerate(data)]


def decoded(entries: Sequence[Entry | PackedEntries]) -> tuple[list[LogBatch], str]:
    found = DecodedEntries.of(entries)
    return [batch for segment in found.segments for batch in batches_of(segment)], repr(found.failure)


@given(damaged.filter(bool), st.integers(0, 10))
def test_packed_entries_are_split_into_what_they_were(data: list[bytes], before: int) -> None:
    whole = packed(data)
    assert whole.split() == singles(data)
    assert whole.last == FIRST.next(len(data) - 1)
    before = min(before, len(data) - 1)
    assert whole.behind(FIRST.next(before - 1)).split() == singles(data)[before:]
    assert whole.behind(Position(2, 100)) == whole


@given(batches | damaged, batches | damaged, batches | damaged)
def test_packed_entries_are_decoded_as_single_ones_whatever_they_hold(
    one: list[bytes], two: list[bytes], three: list[bytes]
) -> None:
    entries: list[Entry | PackedEntries] = [Entry(FIRST.next(-1), None, Position(1, 2))]
    position = FIRST
    for data, pack in ((one, True), (two, False), (three, True)):
        if data:
            entries += [packed(data, position)] if pack else singles(data, position)
        position = position.next(len(data))
    assert decoded(entries) == decoded(unpacked(entries))


class Writer:
    """A producer of texts, each of them an entry."""

    def __init__(self, log: Any) -> None:
        self.events: list[sk.Event] = []
        self._log = log
        self._claim = Claim(owner="a", lease=60, keep=60)
        self._at = Position(0, 0)

    async def claim(self, owner: str = "a") -> None:
        claim = self._claim
        self._claim = msgspec.structs.replace(claim, owner=owner, new=not self.events, instead_of=claim.owner)
        self._at = (await self._log.claim("k", self._claim)).position

    async def write(self, count: int) -> None:
        for number in range(count):
            await self._append(sk.TextDelta(f"{number} "))

    async def end(self) -> None:
        await self._append(sk.StreamEnd("completed"))

    async def _append(self, event: sk.Event) -> None:
        append = Append(
            key="k",
            owner=self._claim.owner,
            after=self._at,
            batches=[join([encode(event)])],
            lease=60,
            keep=60,
            ends=isinstance(event, sk.StreamEnd),
        )
        assert [reply.result for reply in await self._log.append([append])] == ["appended"]
        self.events.append(event)
        self._at = self._at.next()


@redis_only
async def test_entries_of_a_long_stream_are_packed_and_followed_from_any_event(
    log: Any, redis_server: RedisServer
) -> None:
    import redis

    writer = Writer(log)
    await writer.claim()
    await writer.write(450)
    await writer.end()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.xlen("{streamkit:k}:log") == 152
        assert client.xlen("{streamkit:k}:packed") == 4  # that of the claim is one of them
        assert 60_000 < client.pttl("{streamkit:k}:packed") <= 61_000
    async with Relay(log) as streams:
        assert await seen(streams, "k") == writer.events
        state = await streams.state("k")
        assert state is not None
        for number in (0, 1, 98, 99, 100, 101, 199, 298, 299, 300, 449, 450):
            assert await seen(streams, "k", after=f"{state.last.epoch}-{number}-1") == writer.events[number:], number


@redis_only
@pytest.mark.parametrize("claims", [False, True])
async def test_a_viewer_misses_nothing_of_what_is_packed_while_its_process_is_paused(
    log: Any, redis_server: RedisServer, claims: bool
) -> None:
    from streamkit_redis import RedisLog

    go_on = anyio.Event()

    class Paused(RedisLog):
        async def tail(self, after: Mapping[str, Position], seconds: float) -> Any:
            await go_on.wait()
            return await super().tail(after, seconds)

    found: list[list[sk.Event]] = []

    async def view(streams: Relay) -> None:
        found.append(await seen(streams, "k"))

    writer = Writer(log)
    await writer.claim()
    await writer.write(1)
    async with Paused(redis_server.url) as paused, Relay(paused) as streams:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(view, streams)
            with anyio.fail_after(SECONDS):
                while (channel := streams._tail._channels.get("k")) is None or channel.viewers < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.002)
            await writer.write(250)
            if claims:
                await writer.claim("b")
                await writer.write(250)
            await writer.end()
            go_on.set()
    assert found == [writer.events] * 3
