"""What each stage of a run did: items in and out, what it holds, its time, its error. Measured a burst, not an item.

Nothing is measured unless asked for: `measured` gives a pipeline whose runs put a clock around the methods of their own copies
of the stages, and all other runs are untouched.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar, cast

from streamkit.description import name_shown
from streamkit.errors import PipelineError
from streamkit.stage import AsyncStage, Joinable, Stage, cut_short

A = TypeVar("A")


@dataclass
class Figures:
    """One stage of one run. `seconds` is the time in its own code (an async stage's is with its waiting), `error` the class of
    what it raised; `held` is what it says of itself, characters or items, `None` if it says nothing."""

    stage: str
    bursts: int = 0
    items_in: int = 0
    items_out: int = 0
    seconds: float = 0.0
    held: int | None = None
    error: str | None = None


def measured(pipeline: A) -> A:
    """The same pipeline; its runs are measured."""
    watched = cast(Any, copy.copy(pipeline))
    if watched.parts() == (watched,):
        return cast(A, _watched(watched))
    watched.stages = tuple(map(_watched, watched.stages))
    return cast(A, watched)


def figures_of(stages: Iterable[Joinable[Any, Any]]) -> list[Figures]:
    """What the stages of a run did so far. `PipelineError` if it is not measured."""
    found: list[Figures] = []
    for stage in stages:
        if figures := cast("Figures | None", vars(stage).get("_figures")):
            figures.held = getattr(stage, "held", None)
            found.append(figures)
    if not found:
        raise PipelineError("this run is not measured: open it with pipeline.measured()")
    return found


def _watched(stage: Joinable[Any, Any]) -> Joinable[Any, Any]:
    # The copy in the pipeline stays what it is; only those that it gives to runs have a clock.
    watched = copy.copy(stage)
    object.__setattr__(watched, "fresh", lambda: _measure(type(stage).fresh(watched)))
    object.__setattr__(watched, "framing", lambda: _framing(type(stage).framing(watched)))
    return watched


def _framing(stage: Stage[bytes, Any] | None) -> Stage[bytes, Any] | None:
    return cast("Stage[bytes, Any]", _measure(stage)) if stage else None


def _measure(stage: Joinable[Any, Any]) -> Joinable[Any, Any]:
    figures = Figures(name_shown(stage))
    changed: dict[str, object] = {"_figures": figures, "framing": lambda: _framing(type(stage).framing(stage))}
    if isinstance(stage, AsyncStage):
        changed |= {"feed": _timed_async(figures, stage.feed, 1), "flush": _timed_async(figures, stage.flush, 0)}
    else:
        sync = cast("Stage[Any, Any]", stage)
        changed |= {"feed_all": _timed(figures, sync.feed_all), "flush": _timed(figures, sync.flush)}
    for name, value in changed.items():
        object.__setattr__(stage, name, value)
    return stage


def _timed(figures: Figures, work: Callable[..., Iterable[Any]]) -> Callable[..., Iterable[Any]]:
    def run(*items: list[Any]) -> Iterable[Any]:
        produced: list[Any] = []
        started = perf_counter()
        try:
            given = work(*items)
            # A generator works when it is read.
            produced = cast("list[Any]", given) if type(given) is list else _read(given, produced)
        except Exception as error:
            figures.error = type(error).__name__
            return cut_short(produced, error)
        finally:
            figures.seconds += perf_counter() - started
            figures.items_out += len(produced)
            for burst in items:
                figures.bursts += 1
                figures.items_in += len(burst)
        return produced

    return run


def _timed_async(figures: Figures, work: Callable[..., Any], items_in: int) -> Callable[..., Any]:
    async def run(*items: Any) -> Iterable[Any]:
        started = perf_counter()
        produced: list[Any] = []
        try:
            _read(await work(*items), produced)
        except Exception as error:
            figures.error = type(error).__name__
            return cut_short(produced, error)
        finally:
            figures.seconds += perf_counter() - started
            figures.bursts += items_in
            figures.items_in += items_in
            figures.items_out += len(produced)
        return produced

    return run


def _read(given: Iterable[Any], into: list[Any]) -> list[Any]:
    into.extend(given)
    return into
