"""Producers that are killed, or paused and woken, at random moments: no viewer sees text twice, misses any, or is lied to."""

import pytest

from tests.relay.redis_server import RedisServer, needs_redis

pytest.importorskip("redis", reason="redis-py is not here")

from tests.relay.processes import Harm, harm_all

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("kind", "count"), [("kill", 20), ("pause", 8)])
async def test_harmed_producers_harm_no_viewer(kind: Harm, count: int, redis_server: RedisServer) -> None:
    assert len(await harm_all(redis_server.url, kind, count, seed=1)) == count
