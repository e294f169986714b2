"""Stores that fail at a bad moment, keys and positions of something else, and one stream's trouble that stays its own."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk
from streamkit.core.source import Source
from streamkit.relay import Append, Appended, Chats, Claim, Claimed, Log, MemoryLog, Position, Relay
from streamkit.relay.log import Page
from tests.relay.answers import SECONDS, TEXTS, Gated, answer, seen
from tests.relay.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.anyio
memory = pytest.mark.parametrize("store", ["memory-asyncio", "memory-trio"], indirect=True)
redis_only = pytest.mark.parametrize("store", [pytest.param("redis-asyncio", marks=needs_redis)], indirect=True)
SAME = sk.ops.Map[sk.Event, sk.Event](lambda event: event)


class Faulty(MemoryLog):
    """Raises in the methods that `down` names."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.claiming = anyio.Event()
        self.claimed = anyio.Event()

    def _check(self, method: str) -> None:
        if method in self.down:
            raise sk.errors.LogUnreachable("the store does not answer")

    async def claim(self, key: str, claim: Claim) -> Claimed:
        claimed = await super().claim(key, claim)
        if "slow claim" in self.down:
            self.claiming.set()
            with anyio.CancelScope(shield=True):
                await self.claimed.wait()
        return claimed

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        self._check("append")
        return await super().append(appends)

    async def release(self, key: str, owner: str) -> None:
        self._check("release")
        await super().release(key, owner)

    async def read(self, key: str, after: Position | None, limit: int = 1000) -> Page | None:
        self._check("read")
        return await super().read(key, after, limit)

    async def bind(self, name: str, key: str, keep: float) -> None:
        self._check("bind")
        await super().bind(name, key, keep)


@memory
async def test_leaving_ends_all_tasks_also_if_the_store_has_failed(store: str) -> None:
    log, gated = Faulty(), Gated()
    async with Relay(log, flush=0, lease=3600) as streams:
        publication = await streams.publish("k", gated.stream)
        await gated.waiting.wait()
        log.down = {"append", "release"}
    assert gated.closed.is_set()
    assert await publication.wait() is None


@memory
async def test_a_stream_that_is_claimed_while_the_process_leaves_is_released(store: str) -> None:
    log, found = Faulty(), list[BaseException]()
    log.down = {"slow claim"}

    async def publish(streams: Relay) -> None:
        with pytest.raises(sk.PipelineError, match="was left") as error:
            await streams.publish("k", answer)
        found.append(error.value)

    async with anyio.create_task_group() as group:
        async with Relay(log, lease=3600) as streams:
            group.start_soon(publish, streams)
            await log.claiming.wait()
        log.claimed.set()
    assert len(found) == 1
    assert list(await log.expired(10)) == ["k"]


@memory
async def test_a_process_that_takes_its_own_stream_over_reads_it_once(store: str) -> None:
    now, gated, again = 0.0, Gated(), Gated()
    log = MemoryLog(lambda: now)
    async with Relay(log, flush=0, lease=60) as streams, anyio.create_task_group() as group:
        publication = await streams.publish("k", gated.stream, takeover="reset")
        await gated.waiting.wait()
        await wait_all_tasks_blocked()
        now = 100.0  # the process was paused for longer than the lease
        group.start_soon(lambda: streams.take_over(lambda job: again.stream(), poll=0.001))
        with anyio.fail_after(SECONDS):
            await again.waiting.wait()
            await gated.closed.wait()
            with pytest.raises(sk.errors.LeaseLost):
                await publication.wait()
            again.go_on.set()
            assert (await seen(streams, "k"))[-1] == sk.StreamEnd("completed")
        group.cancel_scope.cancel()


class Bursts(Source[sk.Event]):
    """Ten texts in each read."""

    def __init__(self) -> None:
        self.cursor = 0

    async def read(self) -> list[sk.Event]:
        self.cursor += 1
        if self.cursor == 4:
            return [sk.StreamEnd("completed")]
        return [sk.TextDelta(f"{self.cursor}-{number} ") for number in range(10)] if self.cursor < 4 else []


async def test_with_checkpoints_a_read_may_return_more_than_the_buffer_holds(log: Log) -> None:
    async with Relay(log, flush=0, buffer=3) as streams:
        publication = await streams.publish("k", lambda: Bursts() | SAME, checkpoints=True)
        with anyio.fail_after(SECONDS):
            assert await publication.wait() == sk.StreamEnd("completed")
        assert len(await seen(streams, "k")) == 31


async def test_a_stop_while_a_stream_can_t_continue_opens_no_other_answer(log: Log) -> None:
    opened = 0

    class Silent(Source[sk.Event]):
        cursor, silent = 0, anyio.Event()

        async def read(self) -> list[sk.Event]:
            self.cursor += 1
            if self.cursor > 1:
                self.silent.set()
                await anyio.sleep_forever()
            return [sk.TextDelta("a")]

    class Unwilling(Source[sk.Event]):
        async def open(self) -> None:
            await there.stop("k")
            raise sk.errors.Disconnected("it can't continue")

        async def read(self) -> list[sk.Event]:
            raise AssertionError

    def build(job: Any) -> Any:
        nonlocal opened
        if job.checkpoint is not None:
            return SAME.open(Unwilling(), checkpoint=job.checkpoint)
        opened += 1
        return answer()

    source = Silent()
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", lambda: source | SAME, takeover="reset", checkpoints=True)
        with anyio.fail_after(SECONDS):
            await source.silent.wait()
    async with Relay(log, flush=0) as there, anyio.create_task_group() as group:
        group.start_soon(lambda: there.take_over(build, poll=0.005))
        assert await seen(there, "k") == [sk.TextDelta("a"), sk.StreamEnd("cancelled")]
        group.cancel_scope.cancel()
    assert opened == 0


@memory
async def test_a_viewer_that_reads_the_log_itself_waits_for_a_store_as_long_as_the_others(store: str) -> None:
    log, gated = Faulty(), Gated(pieces=20)
    async with Relay(log, window=1, flush=0, tick=0.02, patience=0.2, buffer=1) as streams:
        await streams.publish("k", gated.stream)
        async with streams.follow("k") | SAME as events:
            first = await anext(events)
            with anyio.fail_after(SECONDS):
                await gated.waiting.wait()
            log.down = {"read"}
            async with anyio.create_task_group() as group:
                group.start_soon(recover, log, gated)
                with anyio.fail_after(SECONDS):
                    rest = [event async for event in events]
        assert [first, *rest] == [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
        log.down = {"read"}
        with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LogUnreachable):
            await seen(streams, "k")


async def recover(log: Faulty, gated: Gated) -> None:
    gated.go_on.set()
    await anyio.sleep(0.05)
    log.down = set()


@redis_only
async def test_a_log_that_the_store_refuses_ends_no_other_stream(log: Any, redis_server: RedisServer) -> None:
    import redis

    one, other = Gated(), Gated()
    async with Relay(log, flush=0.001, lease=0.3) as streams:
        refused = await streams.publish("refused", one.stream)
        whole = await streams.publish("whole", other.stream)
        for gated in (one, other):
            await gated.waiting.wait()
        with redis.Redis.from_url(redis_server.url) as client:
            # As a program that appends with ids of its own.
            client.xadd("{streamkit:refused}:log", {"e": "[]"}, id="9999999999999999-1")
        one.go_on.set()
        with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LeaseLost):
            await refused.wait()
        other.go_on.set()
        with anyio.fail_after(SECONDS):
            assert await whole.wait() == sk.StreamEnd("completed")
        assert len(await seen(streams, "whole")) == len(TEXTS) + 1


STREAM, STATE, PACKED = "{{streamkit:{}}}:log", "{{streamkit:{}}}:meta", "{{streamkit:{}}}:packed"
REPLACED = "something else is stored under the key of this stream: expected "
FOREIGN: dict[str, tuple[Callable[[Any, str], object], str]] = {
    "a string in place of the entries": (
        lambda client, key: client.set(STREAM.format(key), "secret"),
        f"{REPLACED}a stream of Redis, found a string",
    ),
    "a hash in place of the entries": (
        lambda client, key: (client.delete(STREAM.format(key)), client.hset(STREAM.format(key), "secret", "1")),
        f"{REPLACED}a stream of Redis, found a hash",
    ),
    "a string in place of the packed entries": (
        lambda client, key: client.set(PACKED.format(key), "secret"),
        f"{REPLACED}a stream of Redis, found a string",
    ),
    "a string in place of the state": (
        lambda client, key: client.set(STATE.format(key), "secret"),
        f"{REPLACED}a hash of Redis, found a string",
    ),
    "a state of something else": (
        lambda client, key: client.hset(STATE.format(key), "epoch", "secret"),
        f"{REPLACED}the state of a log, found a hash with other fields",
    ),
    "an entry of something else": (
        lambda client, key: client.xadd(STREAM.format(key), {"secret": "1"}),
        "expected a batch of events of this version of streamkit, found something else",
    ),
    "a claim of something else": (
        lambda client, key: client.xadd(STREAM.format(key), {"c": "secret"}),
        "expected a batch of events of this version of streamkit, found something else",
    ),
    "no entries": (
        lambda client, key: client.xtrim(STREAM.format(key), maxlen=0, approximate=False),
        "",
    ),
    "nothing": (
        lambda client, key: client.delete(STREAM.format(key), STATE.format(key)),
        "the log of this stream was lost, or deleted",
    ),
}


@redis_only
@pytest.mark.parametrize(("write", "message"), FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_another_program_does_to_one_log_ends_the_viewers_of_that_one(
    log: Any, redis_server: RedisServer, write: Callable[[Any, str], object], message: str
) -> None:
    import redis
    from streamkit_redis import RedisLog

    foreign, whole = Gated(), Gated()
    found: list[str] = []

    async def view(streams: Relay) -> None:
        try:
            await seen(streams, "foreign")
        except (sk.errors.LogLost, sk.errors.ProtocolError) as error:
            found.append(str(error))

    async with (
        RedisLog(redis_server.url) as viewers,
        Relay(log, flush=0.001) as here,
        Relay(viewers, tick=0.02, patience=0.1) as there,
    ):
        for key, gated in {"foreign": foreign, "whole": whole}.items():
            await here.publish(key, gated.stream)
            await gated.waiting.wait()
        async with there.follow("whole") | SAME as events:
            first = [await anext(events) for _ in range(5)]
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(view, there)
                await until_followed(there, "foreign", 3)
                if not message:  # nothing is missing for those who have it
                    group.cancel_scope.cancel()
                with redis.Redis.from_url(redis_server.url) as client:
                    write(client, "foreign")
                if message.startswith(("something", "the log")):
                    here._appender.publications["foreign"].abandon(sk.errors.LeaseLost("as if the process had died"))
            whole.go_on.set()
            with anyio.fail_after(SECONDS):
                rest = [event async for event in events]
        assert [*first, *rest] == [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
        assert found == [message] * (3 if message else 0)
        await view(there)  # one that comes later
        assert "secret" not in found[-1]
        foreign.go_on.set()


async def until_followed(streams: Relay, key: str, viewers: int) -> None:
    with anyio.fail_after(SECONDS):
        while (channel := streams._tail._channels.get(key)) is None or channel.viewers < viewers:  # noqa: ASYNC110
            await anyio.sleep(0.002)


@redis_only
async def test_a_key_of_something_else_is_not_used_and_not_deleted(log: Any, redis_server: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        for name in ("{streamkit:k}:log", "{streamkit:k}:meta", "{streamkit:k}:packed"):
            client.set(name, "secret")
            async with Relay(log) as streams:
                for call in (
                    lambda: streams.publish("k", answer),
                    lambda: seen(streams, "k"),
                    lambda: streams.state("k"),
                    lambda: streams.resume("k"),
                ):
                    with pytest.raises(sk.errors.LogLost, match=r"expected a .* of Redis, found a str") as found:
                        await call()
                    assert found.value.cause == "replaced"
            assert client.get(name) == b"secret"
            client.delete(name)


@redis_only
async def test_a_producer_whose_log_was_replaced_ends_at_once(log: Any, redis_server: RedisServer) -> None:
    import redis

    gated = Gated()
    async with Relay(log, flush=0.001, lease=3600) as streams:
        publication = await streams.publish("k", gated.stream)
        await gated.waiting.wait()
        with redis.Redis.from_url(redis_server.url) as client:
            client.set("{streamkit:k}:log", "text")
        gated.go_on.set()
        with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LogLost) as found:
            await publication.wait()
        assert found.value.cause == "replaced"


@redis_only
async def test_leaving_does_not_wait_for_a_log_that_refuses(log: Any, redis_server: RedisServer) -> None:
    import redis

    gated = Gated()
    with anyio.fail_after(SECONDS):
        async with Relay(log, flush=0.001, lease=3600) as streams:
            await streams.publish("k", gated.stream)
            await gated.waiting.wait()
            with redis.Redis.from_url(redis_server.url) as client:
                client.xadd("{streamkit:k}:log", {"e": "[]"}, id="9999999999999999-1")
            gated.go_on.set()
            await gated.closed.wait()
    assert await log.expired(10) == ["k"]


@redis_only
async def test_a_replaced_log_keeps_no_other_stream_from_being_released_and_taken_over(
    log: Any, redis_server: RedisServer
) -> None:
    import redis

    keys = ["a", "b", "c"]
    async with Relay(log, lease=3600) as streams:
        for key in keys:
            await streams.publish(key, Gated().stream)
        with redis.Redis.from_url(redis_server.url) as client:
            client.set("{streamkit:b}:meta", "text")
            client.zadd("{streamkit}:active", {"b": 0})
    async with Relay(log) as streams, anyio.create_task_group() as group:
        group.start_soon(lambda: streams.take_over(lambda job: answer(), poll=0.005))
        for key in ("a", "c"):
            assert (await seen(streams, key))[-1] == sk.StreamEnd("truncated")
        group.cancel_scope.cancel()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.zrange("{streamkit}:active", 0, -1) == []


@redis_only
@pytest.mark.parametrize("reader", ["+@all", "+@all -evalsha -eval"])
async def test_a_log_that_may_not_be_read_ends_the_viewers_of_that_one(
    log: Any, redis_server: RedisServer, reader: str
) -> None:
    import redis
    from streamkit_redis import RedisLog

    hidden, whole = Gated(), Gated()
    url = redis_server.url.replace("unix://", "unix://viewer:secret@")
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL", "SETUSER", "viewer", "reset", "on", ">secret", "~*", "+@all")
        async with (
            RedisLog(url) as viewers,
            Relay(log, flush=0.001) as here,
            Relay(viewers, tick=0.02, patience=0.1) as there,
        ):
            for key, gated in {"hidden": hidden, "whole": whole}.items():
                await here.publish(key, gated.stream)
                await gated.waiting.wait()
            async with there.follow("whole") | SAME as events, there.follow("hidden") | SAME as others:
                first = [await anext(events) for _ in range(5)]
                for _ in range(5):
                    await anext(others)
                allowed = ["~{streamkit:whole}*", "~{streamkit}*"]
                client.execute_command("ACL", "SETUSER", "viewer", "resetkeys", *allowed, *reader.split())
                with anyio.fail_after(SECONDS), pytest.raises(sk.errors.LogUnreachable, match="refused") as found:
                    await anext(others)
                assert "secret" not in str(found.value)
                whole.go_on.set()
                with anyio.fail_after(SECONDS):
                    rest = [event async for event in events]
        assert [*first, *rest] == [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
        hidden.go_on.set()


class ReadOnly(MemoryLog):
    """A store that refuses to claim a stream again."""

    async def claim(self, key: str, claim: Claim) -> Claimed:
        if not claim.new and key == "orphan":
            raise sk.errors.LogUnreachable("refused")
        return await super().claim(key, claim)


@memory
async def test_a_dead_stream_that_can_t_be_ended_is_an_error_and_affects_no_other(store: str) -> None:
    log = ReadOnly()
    for key in ("orphan", "other"):
        await log.claim(key, Claim(owner="dead", lease=0.0, keep=60))
    async with Relay(log, tick=0.01, patience=0.05) as streams:
        with pytest.raises(sk.errors.LogUnreachable, match="refused"):
            await seen(streams, "orphan")
        assert await seen(streams, "other") == [sk.StreamEnd("truncated")]


class Poisoned(MemoryLog):
    """A store whose index names a log that can't be claimed."""

    async def expired(self, limit: int) -> Sequence[str]:
        return ["poisoned", *await super().expired(limit)]

    async def claim(self, key: str, claim: Claim) -> Claimed:
        if key == "poisoned":
            raise sk.errors.LogUnreachable("refused")
        return await super().claim(key, claim)


@memory
async def test_a_log_that_can_t_be_claimed_keeps_no_other_stream_from_being_taken_over(store: str) -> None:
    log = Poisoned()
    async with Relay(log, lease=3600) as streams:
        await streams.publish("k", Gated().stream)
    async with Relay(log) as streams, anyio.create_task_group() as group:
        group.start_soon(lambda: streams.take_over(lambda job: answer(), poll=0.005))
        assert (await seen(streams, "k"))[-1] == sk.StreamEnd("truncated")
        group.cancel_scope.cancel()


@pytest.mark.parametrize("key", ["", "a\ud800", b"k", None])
async def test_a_key_is_text_that_a_store_can_hold(log: Log, key: Any) -> None:
    async with Relay(log) as streams:
        for call in (
            lambda: streams.publish(key, answer),
            lambda: streams.stop(key),
            lambda: streams.state(key),
            lambda: streams.resume(key),
            lambda: streams.bind("n", key),
            lambda: streams.bind(key, "k"),
            lambda: streams.bound(key),
        ):
            with pytest.raises(sk.PipelineError, match="expected a key, "):
                await call()
        with pytest.raises(sk.PipelineError, match="expected a key, "):
            streams.follow(key)


@pytest.mark.parametrize("key", ["a}b", "{a", "a\nb", "*", "k\x00", "\u0663", "k" * 5000, "../x", "log"])
async def test_any_other_text_is_a_key(log: Log, key: str) -> None:
    async with Relay(log, flush=0) as streams:
        await (await streams.publish(key, answer)).wait()
        await streams.bind(key, key)
        assert await streams.bound(key) == key
        assert (await seen(streams, key))[-1] == sk.StreamEnd("completed")


async def test_a_request_is_json(log: Log) -> None:
    async with Relay(log) as streams:
        for request in (object(), {"a": "\ud800"}, {1j: 2}):
            with pytest.raises(sk.PipelineError, match="a request is stored as JSON"):
                await streams.publish("k", answer, request=request)
        assert await streams.state("k") is None


@memory
async def test_an_answer_that_no_chat_has_is_stopped(store: str) -> None:
    log, gated = Faulty(), Gated()
    async with Relay(log, flush=0) as streams:
        log.down = {"bind"}
        with pytest.raises(sk.errors.LogUnreachable):
            await Chats(streams).start("c", gated.stream)
        with anyio.fail_after(SECONDS):
            while not all(stored.ended for stored in log._logs.values()):  # noqa: ASYNC110 - by a task of the Relay
                await anyio.sleep(0.005)
        assert len(log._logs) == 1


@memory
async def test_memory_holds_what_has_not_expired(store: str) -> None:
    now = 0.0
    log = MemoryLog(lambda: now)
    for number in range(3000):
        now += 1.0
        await log.claim(f"{number}", Claim(owner="a", lease=10, keep=100))
        await log.bind(f"{number}", "k", 100)
    assert len(log._logs) < 400
    assert len(log._names) < 400


@redis_only
async def test_a_process_forgets_streams_that_others_have_ended(log: Any) -> None:
    for number in range(300):
        await log.claim(f"{number}", Claim(owner="a", lease=0.001, keep=100))
    assert len(log._indexed) < 200


async def test_viewers_that_come_and_go_leave_nothing(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0.001, tick=0.01) as streams:
        await streams.publish("k", gated.stream)
        await gated.waiting.wait()
        async with streams.follow("k") | SAME as events:
            for _ in range(5):
                await anext(events)
            for _ in range(50):
                async with streams.follow("k") | SAME as other:
                    for _ in range(5):
                        await anext(other)
            assert [channel.viewers for channel in streams._tail._channels.values()] in ([1], [])
        assert not streams._tail._channels
        assert not streams._tail._readings
        gated.go_on.set()


async def test_a_place_of_another_stream_is_a_reset_or_nothing_of_this_one_is_missing(log: Log) -> None:
    async with Relay(log, flush=0) as streams:
        for key in ("a", "b"):
            await (await streams.publish(key, answer)).wait()
        everything = await seen(streams, "b")
        state = await streams.state("a")
        assert state is not None
        for after in (str(state.last), f"{state.last}-1", f"{state.last.epoch}-0", f"{state.last.epoch}-0-0"):
            reset, *rest = await seen(streams, "b", after=after)
            assert isinstance(reset, sk.events.Reset)
            assert rest == everything
        for after in ("0-0-0", "0-0", "0-0-5"):
            assert [
                event for event in await seen(streams, "b", after=after) if not isinstance(event, sk.events.Reset)
            ] == (everything)


@redis_only
async def test_a_log_that_was_deleted_and_claimed_again_at_once_is_another_one(
    log: Any, redis_server: RedisServer
) -> None:
    import redis
    from streamkit_redis.scripts import CLAIM

    names = ("{streamkit:k}:log", "{streamkit:k}:meta", "{streamkit:k}:packed")
    with redis.Redis.from_url(redis_server.url) as client, client.pipeline(transaction=True) as pipeline:
        for number in range(100):
            pipeline.delete(*names)
            pipeline.eval(CLAIM.text, 3, *names, f"owner {number}", 60000, 60000, 1, "", "truncate", 0, "")
        epochs = [reply[1] for reply in pipeline.execute()[1::2]]
    assert len(set(epochs)) == 100
    assert sorted(epochs, key=int) == epochs


@memory
async def test_what_was_seen_of_a_log_that_was_deleted_is_not_valid_in_the_next(store: str) -> None:
    log = MemoryLog()
    async with Relay(log, flush=0) as streams:
        await (await streams.publish("k", answer)).wait()
        first = await streams.state("k")
        assert first is not None
        del log._logs["k"]
        await (await streams.publish("k", answer)).wait()
        reset, *rest = await seen(streams, "k", after=f"{first.last}-1")
        assert isinstance(reset, sk.events.Reset)
        assert rest == await seen(streams, "k")
