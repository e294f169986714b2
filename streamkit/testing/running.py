"""Runs a stage or a hop for a check."""

import importlib.util
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import anyio

from streamkit import AsyncStage, Stage
from streamkit.core import Run
from streamkit.testing.sources import Scripted, VirtualClock

Candidate: TypeAlias = Stage[Any, Any] | AsyncStage[Any, Any]
Read: TypeAlias = Callable[[list[Any]], object]

BACKENDS = ("asyncio", "trio") if importlib.util.find_spec("trio") else ("asyncio",)


class Broken(Exception):
    """The error of a failing source."""


def outcome(stage: Candidate, items: list[Any]) -> list[Any]:
    """Return the whole output of a stage."""
    return list(started(stage, items)) if isinstance(stage, Stage) else run(partial(_collect, stage, items))


def started(stage: Stage[Any, Any], items: Iterable[Any], checkpoint: Any = None) -> Run[Any]:
    """Return a run on a constant clock, so that two runs have the same times."""
    return stage.run(items, clock=VirtualClock(), checkpoint=checkpoint)


def run(work: Callable[[], Awaitable[Any]], backend: str = "asyncio") -> Any:
    """Run `work` in a new event loop."""
    return anyio.run(work, backend=backend)


def same(what: str, found: object, expected: object) -> None:
    """Raise `AssertionError` if they differ."""
    assert found == expected, f"{what} gives {found!r}; expected {expected!r}"


async def _collect(stage: Candidate, items: list[Any]) -> list[Any]:
    async with stage.open(Scripted(*items)) as stream:
        return [item async for item in stream]
