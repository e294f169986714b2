"""Stores of logs, each on the event loops that it supports."""

import pytest

from streamkit.relay import Log, MemoryLog

STORES = ["memory-asyncio", "memory-trio"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Every test that has a log runs once for each store and event loop."""
    return str(request.param)


@pytest.fixture
def anyio_backend(store: str) -> str:
    return store.partition("-")[2]


@pytest.fixture
async def log(store: str) -> Log:
    return MemoryLog()
