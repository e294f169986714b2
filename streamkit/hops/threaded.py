"""A sync stage whose heavy work runs in a thread, so that it does not block the event loop."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import anyio.to_thread

from streamkit.core.stage import AsyncStage, Stage, Step, cut_short
from streamkit.errors import PipelineError

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@dataclass
class Threaded(AsyncStage[In, Out]):
    """Run a sync stage in line, and for an item with more than `over` characters of text in a thread.

    Nearly all deltas are short, and cost nothing but a coroutine each; an answer that comes in one piece of a megabyte, which
    a count takes a tenth of a second for, does not hold up the other streams of the process. The stage never works in two
    threads at once. `stream.stage(Threaded).stage` is the run's own copy of it. A thread can't be interrupted: when the
    stream is cancelled, what it is at comes to its end unseen.
    """

    stage: Stage[In, Out]
    over: int = 10_000

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.stage), Stage):
            raise PipelineError(f"expected a sync stage, found an object of type {type(self.stage).__name__}")

    def fresh(self) -> "Threaded[In, Out]":
        return Threaded(self.stage.fresh(), self.over)

    def item_types(self) -> tuple[tuple[type, ...] | None, tuple[type, ...] | None]:
        return self.stage.item_types()

    def inner(self) -> Iterable[Step[Any, Any]]:
        return (self.stage,)

    async def feed(self, item: In) -> Iterable[Out]:
        work = partial(_all, self.stage, item)
        found, error = await anyio.to_thread.run_sync(work) if _length(item) > self.over else work()
        self.done = self.stage.done
        return cut_short(found, error) if error else found

    async def flush(self) -> Iterable[Out]:
        return self.stage.flush()

    @property
    def answered(self) -> bool:
        return self.stage.answered

    def state(self) -> Any:
        return self.stage.state()

    def restore(self, state: Any) -> None:
        self.stage.restore(state)
        self.done = self.stage.done


def _all(stage: Stage[Any, Any], item: Any) -> tuple[list[Any], Exception | None]:
    # Used up here, for a generator does its work where that is done; what it gave before it failed is kept. (Law 1)
    found: list[Any] = []
    try:
        found.extend(stage.feed(item))
    except Exception as error:
        return found, error
    return found, None


def _length(item: object) -> int:
    if isinstance(item, str | bytes):
        return len(item)
    return len(getattr(item, "text", None) or getattr(item, "arguments", None) or getattr(item, "data", None) or "")
