"""Stores of logs, each on the event loops that it supports."""

from collections.abc import AsyncGenerator, Generator

import pytest

from streamkit.relay import Log, MemoryLog
from tests.relay.redis_server import RedisServer, needs_redis

STORES = ["memory-asyncio", "memory-trio", pytest.param("redis-asyncio", marks=needs_redis)]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Every test that has a log runs once for each store and event loop."""
    return str(request.param)


@pytest.fixture
def anyio_backend(store: str) -> str:
    return store.partition("-")[2]


@pytest.fixture(scope="session")
def redis_server() -> Generator[RedisServer, None, None]:
    """One server for all tests that do it no harm."""
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
async def log(store: str, request: pytest.FixtureRequest) -> AsyncGenerator[Log, None]:
    if store != "redis-asyncio":
        yield MemoryLog()
        return
    import redis
    from streamkit_redis import RedisLog

    server: RedisServer = request.getfixturevalue("redis_server")
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    async with RedisLog(server.url) as made:
        yield made
