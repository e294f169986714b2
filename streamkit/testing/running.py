"""Runs a stage or a hop for a check."""

import importlib.util
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import anyio

from streamkit import AsyncStage, Stage
from streamkit.core import Run
from streamkit.testing.sources import Scripted, VirtualClock

Candidate: TypeAlias = Stage[Any, Any] | AsyncStage[Any, Any]
Read: TypeAlias = Callable[[list[Any]], object]

HANGS = 30.0
"""Seconds after which what has not ended never will."""
BACKENDS = ("asyncio", "trio") if importlib.util.find_spec("trio") else ("asyncio",)


class Broken(Exception):
    """The error of a failing source."""


def outcome(stage: Candidate, items: list[Any]) -> list[Any]:
    """Return the whole output of a stage."""
    return list(started(stage, items)) if isinstance(stage, Stage) else run(partial(_collect, stage, items))


def started(stage: Stage[Any, Any], items: Iterable[Any], checkpoint: Any = None) -> Run[Any]:
    """Return a run on a constant clock, so that two runs have the same times."""
    return stage.run(items, clock=VirtualClock(), checkpoint=checkpoint)


def run(work: Callable[[], Awaitable[Any]], backend: str = "asyncio", law: str = "") -> Any:
    """Run `work` in a new event loop in a thread, so that a stage that never ends fails its test instead of blocking it."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(anyio.run(work, backend=backend))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(HANGS)
    assert not thread.is_alive(), f"{law or 'hang'}: the stream with it has not ended after {HANGS:g} s"
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # otherwise the exception would keep its own traceback alive, with everything in it
    return results[0]


def same(what: str, found: object, expected: object) -> None:
    """Raise `AssertionError` if they differ."""
    assert found == expected, f"{what} gives {found!r}; expected {expected!r}"


async def _collect(stage: Candidate, items: list[Any]) -> list[Any]:
    async with stage.open(Scripted(*items)) as stream:
        return [item async for item in stream]
