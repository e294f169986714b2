"""A Redis that is killed and comes back with less, or with nothing."""

from collections.abc import AsyncGenerator, Generator

import anyio
import pytest

import streamkit as sk
from streamkit.relay import Relay
from tests.relay.redis_server import RedisServer, needs_redis

pytest.importorskip("redis", reason="redis-py is not here")

from streamkit_redis import RedisLog

pytestmark = [pytest.mark.anyio, needs_redis]
TEXTS = [f"{number} {'x' * 200} " for number in range(60)]
SECONDS = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[True, False], ids=["persistent", "not persistent"])
def server(request: pytest.FixtureRequest) -> Generator[RedisServer, None, None]:
    server = RedisServer(persistent=request.param).start()
    yield server
    server.close()


class Answer:
    """An answer of which a test releases so many texts at a time."""

    def __init__(self) -> None:
        self.allowed = 0
        self.more = anyio.Event()

    def allow(self, count: int) -> None:
        self.allowed, more = count, self.more
        self.more = anyio.Event()
        more.set()

    async def events(self) -> AsyncGenerator[sk.Event, None]:
        for number, text in enumerate(TEXTS):
            while number >= self.allowed:
                await self.more.wait()
            yield sk.TextDelta(text)
            await anyio.sleep(0.001)  # so that there are several batches
        yield sk.StreamEnd("completed")


def follow(streams: Relay, key: str = "k") -> sk.Stream[sk.Event]:
    return streams.follow(key) | sk.ops.Map[sk.Event, sk.Event](lambda event: event)


def crash(server: RedisServer) -> None:
    """Kill it, lose the last 5 KB of its file if it has one, and start it again."""
    server.kill()
    if server.persistent:
        server.cut(5_000)
    server.start()


async def test_what_redis_has_lost_is_appended_again_and_no_viewer_notices(server: RedisServer) -> None:
    answer, seen = Answer(), list[sk.Event]()
    async with RedisLog(server.url) as log, Relay(log, flush=0.001, lease=SECONDS, tick=0.1) as streams:
        publication = await streams.publish("k", answer.events)
        async with follow(streams) as events:
            answer.allow(40)
            with anyio.fail_after(SECONDS):
                while len(seen) < 40:
                    seen.append(await anext(events))
                await anyio.to_thread.run_sync(crash, server)
                answer.allow(len(TEXTS))
                seen += [event async for event in events]
        assert seen == [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
        assert await publication.wait() == sk.StreamEnd("completed")
        assert await follow(streams).collect() == seen


async def test_what_is_lost_together_with_its_producer_is_a_reset_and_what_is_left_or_an_error(
    server: RedisServer,
) -> None:
    answer, seen = Answer(), list[sk.Event]()
    async with RedisLog(server.url) as log, Relay(log, tick=0.1, patience=0.5) as there:
        async with RedisLog(server.url) as other, Relay(other, flush=0.001, lease=0.5) as here:
            publication = await here.publish("k", answer.events)
            async with follow(there) as events:
                answer.allow(40)
                with anyio.fail_after(SECONDS):
                    while len(seen) < 40:
                        seen.append(await anext(events))
                    publication.abandon(sk.errors.LeaseLost("as if the process had died"))
                    await anyio.to_thread.run_sync(crash, server)
                    if not server.persistent:
                        with pytest.raises(sk.errors.LogLost):
                            async for _ in events:
                                pass
                        return
                    rest = [event async for event in events]
    assert isinstance(rest[0], sk.events.Reset)
    assert rest[-1] == sk.StreamEnd("truncated")
    texts = [event.text for event in rest if isinstance(event, sk.TextDelta)]
    assert 10 < len(texts) < 40
    assert texts == TEXTS[: len(texts)]


async def test_a_paused_redis_delays_and_loses_nothing() -> None:
    import signal

    server, answer = RedisServer().start(), Answer()
    try:
        async with (
            RedisLog(server.url, timeout=0.2) as log,
            Relay(log, flush=0.001, lease=SECONDS, tick=0.1) as streams,
        ):
            await streams.publish("k", answer.events)
            async with follow(streams) as events:
                answer.allow(20)
                first = [await anext(events) for _ in range(20)]
                server.send(signal.SIGSTOP)
                answer.allow(len(TEXTS))
                await anyio.sleep(0.5)
                server.send(signal.SIGCONT)
                with anyio.fail_after(SECONDS):
                    rest = [event async for event in events]
            assert [*first, *rest] == [*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]
    finally:
        server.close()


async def test_twenty_viewers_of_which_one_is_slow_receive_the_same(redis_server: RedisServer) -> None:
    answer, results = Answer(), list[list[sk.Event]]()

    async def view(streams: Relay, *, slow: bool) -> None:
        found = list[sk.Event]()
        async with follow(streams, "twenty") as events:
            async for event in events:
                found.append(event)
                if slow:
                    await anyio.sleep(0.005)
        results.append(found)

    async with RedisLog(redis_server.url) as log, Relay(log, flush=0.001, window=4) as streams:
        await streams.publish("twenty", answer.events)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(lambda slow=number == 0: view(streams, slow=slow))  # type: ignore[misc]
            answer.allow(len(TEXTS))
    assert results == [[*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")]] * 20


async def test_errors_show_neither_addresses_nor_keys(redis_server: RedisServer) -> None:
    log = RedisLog("redis://user:password@127.0.0.1:1/0", timeout=0.5)
    async with log:
        with pytest.raises(sk.errors.LogUnreachable) as found:
            await log.states(["a-secret-key"])
    assert "password" not in f"{found.value} {log!r}"
    async with RedisLog(redis_server.url) as other:
        await other._client.set("{streamkit:wrong}:meta", "text")
        (state,) = await other.states(["wrong"])
    assert isinstance(state, sk.errors.LogLost)
    assert "wrong" not in str(state)
