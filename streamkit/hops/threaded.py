"""A sync stage that processes large items in a thread, so that it does not block the event loop."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import anyio.to_thread

from streamkit.core.stage import AsyncStage, Stage, Step, cut_short
from streamkit.errors import PipelineError
from streamkit.operators.each import check_number

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@dataclass
class Threaded(AsyncStage[In, Out]):
    """Run a sync stage inline, but in a thread for an item with more than `over` characters of text.

    Nearly all deltas are short and cost only a coroutine each. A response that arrives in one piece of a megabyte, which takes a
    tenth of a second to count, does not block the other streams of the process. The stage never runs in two threads at once.
    `stream.stage(Threaded).stage` is the run's own copy of the stage. A thread can't be interrupted: when the stream is
    cancelled, the current item is still processed and its results are discarded.
    """

    stage: Stage[In, Out]
    over: int = 10_000

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.stage), Stage):
            raise PipelineError(f"expected a sync stage, found an object of type {type(self.stage).__name__}")
        check_number("over", self.over, 0)

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
    # Exhaust a generator here, because its work runs during iteration. Items before an error are kept. (Law 1)
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
