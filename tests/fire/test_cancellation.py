"""Cancelled at every await of its life, a stream leaves nothing behind."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp
import anyio
import anyio.lowlevel
import pytest

import streamkit as sk
from tests.fire import server
from tests.fire.server import DONE, FINISH, TEXT


@dataclass
class Steps:
    """Counts the awaits of a run, and cancels it at one of them."""

    cancel_at: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    taken: int = 0

    async def step(self) -> None:
        self.taken += 1
        if self.taken == self.cancel_at:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()


class Stepping(sk.Source[bytes]):
    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.pieces = iter([TEXT, TEXT, FINISH, DONE])
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1
        await self.steps.step()

    async def read(self) -> Sequence[bytes]:
        await self.steps.step()
        return [piece for piece in [next(self.pieces, b"")] if piece]

    async def close(self) -> None:
        await self.steps.step()
        self.closed += 1


@dataclass
class Waiting(sk.AsyncStage[sk.Event, sk.Event]):
    steps: Steps
    closed: list[bool]

    def fresh(self) -> "Waiting":
        return self

    async def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        await self.steps.step()
        return [item]

    async def flush(self) -> Iterable[sk.Event]:
        await self.steps.step()
        return []

    async def close(self) -> None:
        await self.steps.step()
        self.closed.append(True)


async def live(steps: Steps) -> tuple[Stepping, Waiting, list[sk.Event], sk.Stream[sk.Event]]:
    source, waiting = Stepping(steps), Waiting(steps, [])
    stream = source | (sk.Parse() | sk.Extract() | waiting | sk.Accumulate())
    seen: list[sk.Event] = []
    with steps.scope:
        async with stream as events:
            async for event in events:
                seen.append(event)
    return source, waiting, seen, stream


@pytest.mark.anyio
async def test_cancelled_at_any_step_a_stream_is_closed_and_never_ends_as_if_complete() -> None:
    undisturbed = Steps(cancel_at=0)
    _, _, whole, _ = await live(undisturbed)
    assert undisturbed.taken > 10
    for step in range(1, undisturbed.taken + 1):
        source, waiting, seen, stream = await live(Steps(cancel_at=step))
        assert source.closed >= 1
        assert waiting.closed == [True]
        assert seen == whole[: len(seen)]
        assert stream.end is not None
        assert stream.end.reason == "cancelled" or seen == whole


def coroutine_name(task: "asyncio.Task[object]") -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))


@pytest.mark.asyncio
async def test_cancelled_at_any_turn_of_the_loop_an_http_stream_leaves_no_task_and_no_connection() -> None:
    paths = {"good": server.body(TEXT, TEXT, FINISH, DONE), "stall": server.then_silence(TEXT)}
    for name in paths:
        async with server.serve(paths) as (url, open_now):
            async with aiohttp.ClientSession() as session:
                before = asyncio.all_tasks()

                async def run(session: aiohttp.ClientSession = session, url: str = url, name: str = name) -> None:
                    async with sk.http.get(f"{url}/{name}", session=session) | sk.Parse() | sk.Extract() as events:
                        async for _ in events:
                            pass

                for turns in range(40):
                    task = asyncio.create_task(run())
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                    assert task.cancelled() or task.exception() is None
                    # The server's own tasks end once they see the connection gone.
                    while open_now:
                        await next(iter(open_now))
                    left = asyncio.all_tasks() - before - {task}
                    assert {coroutine_name(each) for each in left} <= {
                        "BaseSelectorEventLoop._accept_connection2",
                        "serve.<locals>.answer",
                    }
