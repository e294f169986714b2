"""The laws of a hop, as checks: read-ahead, order, the end, failures, and clean-up."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel

from streamkit import Source, Stream, StreamEnd
from streamkit.core.stage import compose, parts
from streamkit.operators import Tap
from streamkit.testing.running import BACKENDS, Broken, Candidate, Read, run, same
from streamkit.testing.sources import HANG, Scripted

HopLaw: TypeAlias = Callable[[Candidate, list[Any], Read, int], None]

_TURNS = 100
"""Turns of the loop without an item after which a stream counts as idle."""
_PLACES = 6
"""Number of positions in the items at which failures and cancellations are tried."""
_SLOW = 20
_ITEMS_READ = 3
_MOST_STEPS = 60


def end(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """The `StreamEnd` of the items is emitted once, as the last item, and the source is closed."""
    for backend in BACKENDS:
        source = _Script(*items)
        found = _limited("end", partial(_all, stage, source), backend)
        _check_closed("end", source)
        ends = [at for at, item in enumerate(found) if isinstance(item, StreamEnd)]
        if any(isinstance(item, StreamEnd) for item in items):
            assert ends == [len(found) - 1], (
                f"end: expected one StreamEnd, last of {len(found)} items; found it at {ends}"
            )


def order(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """The output does not depend on the pace of the source or the consumer, and unchanged items keep their order."""
    first = _limited("order", partial(_all, stage, _Script(*items)))
    places = {id(item): at for at, item in enumerate(items)}
    unchanged = [item for item in first if id(item) in places]
    in_order = sorted(unchanged, key=lambda item: places[id(item)])
    same("order: of what passes unchanged, it", read(unchanged), read(in_order))
    for backend in BACKENDS:
        for how, (source, turns) in _paces(items).items():
            found = _limited("order", partial(_all, stage, source, turns), backend)
            same(f"order: {how}, it", read(found), read(first))


def bounds(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """It reads at most `ahead` items of an endless source beyond those that the consumer's reads need."""
    body = [item for item in items if not isinstance(item, StreamEnd)]
    if body:
        for backend in BACKENDS:
            _limited("bounds", partial(_unread, stage, body, ahead), backend)


def composition(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """An observer before or after it, or between two stages of a pipeline, changes nothing. (Law 11)"""
    expected = read(_limited("composition", partial(_all, stage, _Script(*items))))
    alone: list[Any] = list(parts(stage))
    for at in range(len(alone) + 1):
        observed = reduce(compose, [*alone[:at], Tap(_pass), *alone[at:]])
        found = read(_limited("composition", partial(_all, observed, _Script(*items))))
        assert found == expected, (
            f"composition: with a Tap after {at} of its {len(alone)} stages, it gives {found!r}; alone, {expected!r}"
        )


def source_failure(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """When the source fails, the items received so far are emitted, then the same error is raised; the stream does not end as if
    complete. (Laws 1, 5)"""
    for backend in BACKENDS:
        for size in _sizes(items):
            for turns in (0, _SLOW):
                _limited("source failure", partial(_failing, stage, items[:size], turns), backend)


def early_exit(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """Leaving the block early, at its end or by an error, closes the source and ends the tasks before control returns. (Law 3)"""
    body = [item for item in items if not isinstance(item, StreamEnd)]
    for backend in BACKENDS:
        for size in range(_ITEMS_READ):
            for fails in (False, True):
                _limited("early exit", partial(_left_early, stage, body, size, fails=fails), backend)


def cancellation(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
    """If cancelled at any position, by `cancel` or with its consumer, it ends as cancelled and leaves no task. (Law 3)"""
    for backend in BACKENDS:
        for size in _sizes(items):
            _limited("cancellation", partial(_cancelled, stage, items[:size]), backend)
            _limited("cancellation", partial(_cancelled_from_outside, stage, items[:size]), backend)


def cancellation_in_work(stage: Candidate, items: list[Any]) -> None:
    """An async stage that is cancelled while it works itself ends as cancelled, does not swallow it, and leaves nothing."""
    for backend in BACKENDS:
        steps, ended = 0, False
        while not ended and steps <= _MOST_STEPS:
            ended = _limited("cancellation", partial(_cancelled_at, stage, items, steps), backend)
            if backend == "asyncio":
                _limited("cancellation", partial(_task_cancelled_at, stage, items, steps), backend)
            steps += 1


# Sources


class _Script(Scripted[Any]):
    """A script that yields to the loop `turns` times before each read."""

    def __init__(self, *steps: Any, turns: int = 0) -> None:
        super().__init__(*steps)
        self._turns = turns

    async def read(self) -> Sequence[Any]:
        await _turns(self._turns)
        return await super().read()


class _Endless(Source[Any]):
    """Repeats the items up to `most` times, then blocks: a reader without a bound would otherwise never stop."""

    def __init__(self, items: list[Any], most: int) -> None:
        self._items = items
        self._most = most
        self.given = 0

    async def open(self) -> None:
        return

    async def read(self) -> Sequence[Any]:
        await anyio.lowlevel.checkpoint()
        if self.given == self._most:
            await anyio.sleep_forever()
        self.given += 1
        return (self._items[self.given % len(self._items)],)

    async def close(self) -> None:
        return


# Running


def _limited(law: str, work: Callable[[], Awaitable[Any]], backend: str = "asyncio") -> Any:
    try:
        return run(work, backend, law)
    except AssertionError:
        raise
    except BaseException as error:
        raise AssertionError(f"{law}: the stream with it raised {error!r}") from error


async def _all(stage: Candidate, source: Source[Any], turns: int = 0) -> list[Any]:
    found: list[Any] = []
    async with _NothingLeft("end", stage.open(source)) as stream:
        async for item in stream:
            found.append(item)
            await _turns(turns)
    return found


async def _unread(stage: Candidate, items: list[Any], ahead: int) -> None:
    source = _Endless(items, 3 * ahead + 1000)
    most = 0
    async with stage.open(source) as stream:
        for _ in range(_ITEMS_READ):
            before = source.given
            await _settled(lambda: source.given)
            most = max(most, source.given - before)
            if most > ahead:
                break
            await anext(stream)
    # Outside the block, because a hop may replace the exception.
    assert most <= ahead, f"bounds: while nobody reads, it has read {most} items ahead; expected at most {ahead}"


async def _failing(stage: Candidate, items: list[Any], turns: int) -> None:
    received = await _received(stage, items)
    error, source = Broken("the source failed"), _Script(*items)
    source.left.append(error)
    found: list[Any] = []
    raised: Exception | None = None
    try:
        async with _NothingLeft("source failure", stage.open(source)) as stream:
            async for item in stream:
                found.append(item)
                await _turns(turns)
    except Exception as caught:
        raised = caught
    assert raised is error, (
        f"source failure: after {len(items)} items, expected the source's own error, found {raised!r}"
    )
    _check_closed("source failure", source)
    lost = _without(received, found)
    assert not lost, (
        f"source failure: after {len(items)} items, {lost!r} came while the source waited, but not before its error"
    )
    ends = [item for item in found if isinstance(item, StreamEnd) and item not in items]
    assert not ends, f"source failure: found {ends[0]!r} before the error, as if the answer had ended"


async def _received(stage: Candidate, items: list[Any]) -> list[Any]:
    """Return the items emitted before the source blocks."""
    found: list[Any] = []

    async def read(stream: Stream[Any]) -> None:
        async for item in stream:
            found.append(item)

    async with stage.open(_Script(*items, HANG)) as stream, anyio.create_task_group() as group:
        group.start_soon(read, stream)
        await _settled(lambda: len(found))
        group.cancel_scope.cancel()
    return [item for item in found if not isinstance(item, StreamEnd)]


async def _left_early(stage: Candidate, items: list[Any], size: int, *, fails: bool) -> None:
    size = min(size, len(await _received(stage, items)))
    source, own = _Script(*items, HANG), Broken("the consumer failed")
    raised: Exception | None = None
    try:
        async with _NothingLeft("early exit", stage.open(source)) as stream:
            for _ in range(size):
                await anext(stream)
            await _turns(_ITEMS_READ)
            if fails:
                raise own
    except Exception as error:
        raised = error
    if fails:
        assert raised is own, f"early exit: expected the consumer's own error, found {raised!r}"
    elif raised:
        raise raised
    _check_closed("early exit", source)


async def _cancelled(stage: Candidate, items: list[Any]) -> None:
    source = _Script(*items)
    async with _NothingLeft("cancellation", stage.open(source)) as stream:
        source.left += [stream.cancel, HANG]
        found = [item async for item in stream]
    last = found[-1] if found else None
    assert isinstance(last, StreamEnd) and last.reason == "cancelled", (  # noqa: PT018
        f"cancellation: after {len(items)} items, expected StreamEnd('cancelled') last, found {last!r}"
    )
    _check_closed("cancellation", source)


async def _cancelled_from_outside(stage: Candidate, items: list[Any]) -> None:
    source = _Script(*items)
    stream = stage.open(source)
    continued = False
    with anyio.CancelScope() as scope:
        async with _NothingLeft("cancellation", stream):
            source.left += [scope.cancel, HANG]
            async for _ in stream:
                pass
            continued = True
    assert not continued, "cancellation: the consumer was cancelled, and its read ended as if that were the end"
    assert scope.cancelled_caught, "cancellation: the consumer was cancelled, and the block swallowed that"
    _check_closed("cancellation", source)


async def _cancelled_at(stage: Candidate, items: list[Any], steps: int) -> bool:
    """Cancel the stream after so many turns of the loop; whether it had ended before."""
    source = _Script(*items)
    stream, found, errors = stage.open(source), list[Any](), list[Exception]()
    before: StreamEnd | None = None

    async def consume() -> None:
        try:
            async with _NothingLeft("cancellation", stream) as given:
                async for item in given:
                    found.append(item)
        except Exception as error:  # which the group would wrap
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await _turns(steps)
        before = stream.end
        stream.cancel()
    if errors:
        raise errors[0]
    _check_closed("cancellation", source)
    last = found[-1] if found else None
    # One whose last item had been read has nothing left to be cancelled.
    assert before or isinstance(last, StreamEnd), (
        f"cancellation: while it worked, expected a StreamEnd last, found {last!r}"
    )
    return before is not None


async def _task_cancelled_at(stage: Candidate, items: list[Any], steps: int) -> None:
    """Cancel the consumer's task, as `asyncio.timeout` and servers do: once, and it is gone if somebody swallows it."""
    import asyncio

    source = _Script(*items)
    stream = stage.open(source)

    async def consume() -> None:
        async with _NothingLeft("cancellation", stream) as given:
            async for _ in given:
                pass

    task = asyncio.get_running_loop().create_task(consume())
    await _turns(steps)
    cancelled = task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error
    assert task.cancelled() or not cancelled, (
        f"cancellation: its consumer's task was cancelled after {steps} turns of the loop, and it went on: "
        "the stage has swallowed CancelledError"
    )
    _check_closed("cancellation", source)


def _check_closed(law: str, source: _Script) -> None:
    assert source.closed == source.opened, (
        f"{law}: the source was opened {source.opened} times, and closed {source.closed} times"
    )


class _NothingLeft:
    """Enters the stream, and fails if tasks remain after it was left."""

    def __init__(self, law: str, stream: Stream[Any]) -> None:
        self._law = law
        self._stream = stream
        self._before: set[int] = set()

    async def __aenter__(self) -> Stream[Any]:
        self._before = _tasks()
        return await self._stream.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._stream.__aexit__(*error)
        finally:
            more = len(_tasks() - self._before)
            assert not more, f"{self._law}: {more} tasks were left behind when the block had ended"


def _tasks() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


async def _settled(progress: Callable[[], int]) -> None:
    seen, turns = progress(), 0
    while turns < _TURNS:
        await anyio.lowlevel.checkpoint()
        turns = turns + 1 if progress() == seen else 0
        seen = progress()


async def _turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def _paces(items: list[Any]) -> dict[str, tuple[_Script, int]]:
    return {
        "one item at a time": (_Script(*items), 0),
        "all items in one burst": (_Script(items), 0),
        "with a slow consumer": (_Script(*items), _SLOW),
        "with a slow source": (_Script(*items, turns=_SLOW), 0),
    }


def _sizes(items: list[Any]) -> Iterable[int]:
    """Return positions in the items, including the first one and the last one before the end."""
    count = sum(1 for item in items if not isinstance(item, StreamEnd))
    step = max(1, -(-count // _PLACES))
    return sorted({*range(0, count + 1, step), count})


def _without(items: Collection[Any], found: Collection[Any]) -> list[Any]:
    rest = list(found)
    lost: list[Any] = []
    for item in items:
        if item in rest:
            rest.remove(item)
        else:
            lost.append(item)
    return lost


def _pass(_: object) -> None:
    return
