"""Law 6: contexts that a stage has open while it feeds do not affect the consumer, nor the consumer's scopes the stage."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk

held: ContextVar[str] = ContextVar("held", default="nothing")


@contextmanager
def holding(name: str) -> Iterator[None]:
    token = held.set(name)
    try:
        yield
    finally:
        held.reset(token)


@dataclass
class Holds(sk.Stage[int, int]):
    """Keep a context open around each `yield`."""

    log: list[str] = field(default_factory=list, init=False)

    def feed(self, item: int) -> Iterable[int]:
        with holding("the stage's"):
            yield item
            yield -item
        self.log.append(f"used up {item}")

    def flush(self) -> Iterable[int]:
        with holding("the stage's"):
            yield 0
        self.log.append("used up")


@dataclass
class AsyncHolds(sk.AsyncStage[int, int]):
    """Return the generator of `Holds`."""

    log: list[str] = field(default_factory=list, init=False)

    async def feed(self, item: int) -> Iterable[int]:
        await anyio.lowlevel.checkpoint()
        return Holds.feed(self, item)  # type: ignore[arg-type]

    async def flush(self) -> Iterable[int]:
        return Holds.flush(self)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Holds, AsyncHolds])
@pytest.mark.anyio
async def test_a_generator_is_used_up_before_the_consumer_sees_anything_of_it(kind: type[Holds | AsyncHolds]) -> None:
    stream = [1, 2] | kind()
    seen: list[object] = []

    async for item in stream:
        seen.append(item)
        assert held.get() == "nothing"
        assert stream.stage(kind).log[-1] in ("used up 1", "used up 2", "used up")

    assert seen == [1, -1, 2, -2, 0]
    assert stream.stage(kind).log == ["used up 1", "used up 2", "used up"]


def test_run_uses_a_generator_up_before_its_caller_sees_anything_of_it() -> None:
    run = Holds().run(iter([1]))

    assert next(run) == 1
    assert held.get() == "nothing"
    assert run.stage(Holds).log == ["used up 1"]


@pytest.mark.parametrize("pipeline", [Holds(), AsyncHolds(), Holds() | AsyncHolds()], ids=["sync", "async", "both"])
@pytest.mark.anyio
async def test_a_scope_in_the_loops_body_does_not_touch_the_stage(
    pipeline: sk.Stage[int, int] | sk.AsyncStage[int, int],
) -> None:
    whole = [item async for item in pipeline.open([1, 2])]
    seen: list[object] = []

    async for item in pipeline.open(iter([1, 2])):
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        seen.append(item)

    assert seen == whole


@pytest.mark.anyio
async def test_a_task_group_in_the_loops_body_does_not_touch_the_stage() -> None:
    seen: list[object] = []

    async for item in [1, 2] | AsyncHolds():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()
        seen.append(item)

    assert seen == [1, -1, 2, -2, 0]


@dataclass
class Impatient(sk.AsyncStage[int, str]):
    """A stage with its own timeout, which expires."""

    async def feed(self, item: int) -> Iterable[str]:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        return [f"{item} late: {scope.cancelled_caught}"]


@pytest.mark.anyio
async def test_a_timeout_in_a_stage_does_not_touch_the_consumer() -> None:
    seen: list[object] = []

    async for item in [1, 2] | Impatient():
        await anyio.lowlevel.checkpoint()  # would raise if the stage's scope were still active
        seen.append(item)

    assert seen == ["1 late: True", "2 late: True"]


@pytest.mark.anyio
async def test_a_stage_and_a_source_see_the_consumers_context() -> None:
    class Seen(sk.Source[str]):
        def __init__(self) -> None:
            self.left = 1

        async def read(self) -> Sequence[str]:
            self.left -= 1
            return [f"source holds {held.get()}"] if self.left >= 0 else []

    @sk.stage
    def look(item: str) -> list[str]:
        return [item, f"stage holds {held.get()}"]

    with holding("the consumer's"):
        items = [item async for item in Seen() | look]

    assert items == ["source holds the consumer's", "stage holds the consumer's"]


@pytest.mark.anyio
async def test_the_consumer_may_leave_its_scope_between_two_items() -> None:
    # An async generator suspended in its own scope would exit the wrong one.
    items = aiter([1, 2] | AsyncHolds())

    with anyio.CancelScope() as outer:
        first = await anext(items)
    with anyio.CancelScope() as other:
        rest = [item async for item in items]

    assert [first, *rest] == [1, -1, 2, -2, 0]
    assert not outer.cancelled_caught
    assert not other.cancelled_caught
