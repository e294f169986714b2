"""Calls of async stages, which suspend the task only if they have to wait."""

from collections.abc import Awaitable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk

pytestmark = pytest.mark.anyio


class Numbers(sk.Source[int]):
    """1 to 4, two per read."""

    def __init__(self) -> None:
        self.bursts = iter([[1, 2], [3, 4]])
        self.closed = 0

    async def read(self) -> Sequence[int]:
        return next(self.bursts, ())

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Doubled(sk.AsyncStage[int, int]):
    waits_at: int = 0
    fails_at: int = 0

    async def feed(self, item: int) -> Iterable[int]:
        if item == self.waits_at:
            await anyio.lowlevel.checkpoint()
        if item == self.fails_at:
            raise ValueError("no")
        return [item, item]


class Later:
    """An awaitable that is not a coroutine."""

    def __await__(self) -> Generator[Any, Any, list[int]]:
        return self._work().__await__()

    async def _work(self) -> list[int]:
        await anyio.lowlevel.checkpoint()
        return [7]


@dataclass
class Foreign(sk.AsyncStage[int, int]):
    def feed(self, item: int) -> Awaitable[Iterable[int]]:  # type: ignore[override]
        return Later()


@dataclass
class Hanging(sk.AsyncStage[int, int]):
    """Call `before` at item 2, then wait forever."""

    before: Any = None

    def fresh(self) -> "Hanging":
        return self

    async def feed(self, item: int) -> Iterable[int]:
        if item == 2:
            self.before()
            await anyio.sleep_forever()
        return [item]


@pytest.mark.parametrize("waits_at", [0, 1, 2, 4])
async def test_calls_that_wait_and_calls_that_dont_give_the_same(waits_at: int) -> None:
    assert await (Numbers() | Doubled(waits_at)).collect() == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("waits_at", [0, 3])
async def test_what_came_before_a_call_that_fails_is_delivered_and_the_failure_is_repeated(waits_at: int) -> None:
    source, seen = Numbers(), list[object]()
    stream = source | Doubled(waits_at, fails_at=3)
    with pytest.raises(ValueError, match="no"):
        async for item in stream:
            seen.append(item)
    with pytest.raises(ValueError, match="no"):
        await anext(stream)
    assert seen == [1, 1, 2, 2]
    assert source.closed == 1


async def test_a_call_may_return_an_awaitable_that_is_no_coroutine() -> None:
    assert await (Numbers() | Foreign()).collect() == [7, 7, 7, 7]


async def test_a_stream_that_is_cancelled_from_inside_a_call_ends_when_the_call_waits() -> None:
    source, stage = Numbers(), Hanging()
    stream = source | stage
    stage.before = stream.cancel
    assert await stream.collect() == [1, sk.StreamEnd("cancelled")]
    assert source.closed == 1


async def test_a_consumer_whose_timeout_ends_a_call_finds_the_stream_interrupted() -> None:
    source, stage = Numbers(), Hanging()
    stream = source | stage
    with anyio.CancelScope() as scope:
        stage.before = scope.cancel
        await stream.collect()
    assert scope.cancelled_caught
    with pytest.raises(sk.errors.StreamInterrupted):
        await anext(stream)
    assert source.closed == 1
