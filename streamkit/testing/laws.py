"""The laws of streamkit, as checks for any stage.

Each check takes a stage, possible input items, and `read`, which normalizes the output for comparisons. A violation raises
`AssertionError` with the value found.
"""

import gc
import json
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import islice
from time import process_time
from typing import Any, Final, TypeAlias, cast, get_args

import anyio
import msgspec

from streamkit import (
    AsyncStage,
    Event,
    PipelineError,
    ReasoningDelta,
    RefusalDelta,
    Stage,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.core.hints import misplaced
from streamkit.core.stage import Step, check, compose, parts
from streamkit.events import PartDelta
from streamkit.hops.threaded import Threaded
from streamkit.operators import Switch, Tap
from streamkit.testing import hop_laws
from streamkit.testing.leaks import no_leaks
from streamkit.testing.running import BACKENDS, Broken, Candidate, Read, outcome, run, same, started
from streamkit.testing.sources import HANG, Scripted

Law: TypeAlias = Callable[[Candidate, list[Any], Read], None]

_TEXTS = (TextDelta, ReasoningDelta, RefusalDelta, PartDelta)
_TIMES = 8
_LINEAR = _TIMES * 2.5
"""Tolerates a busy machine; a quadratic stage takes 64 times as long for eight times the input."""


class Unknown(msgspec.Struct, frozen=True):
    """An event of a class that no stage knows. `number` identifies it."""

    number: int


def joined(items: Sequence[Any]) -> list[Any]:
    """Return the items with adjacent deltas of the same text joined; the result is the same for any split of that text."""
    found: list[Any] = []
    for item in items:
        last: Any = found[-1] if found else None
        if isinstance(item, _TEXTS) and type(last) is type(item) and _is_of_one_text(last, item):
            found[-1] = msgspec.structs.replace(last, text=last.text + item.text)
        elif isinstance(item, ToolCallDelta) and isinstance(last, ToolCallDelta) and _continues(last, item):
            found[-1] = msgspec.structs.replace(last, arguments=last.arguments + item.arguments)
        else:
            found.append(item)
    return found


def check_stage(
    stage: Candidate, items: Iterable[Any], *, read: Read = joined, skip: Collection[str] = (), ahead: int = 1000
) -> None:
    """Check a stage against all laws, with `items` as input; they should cover as many of its cases as possible.

    A hop, or a pipeline with one, is checked against `HOP_LAWS`, any other stage against `LAWS`. `read` normalizes the output, so
    that it is the same for any split of the text; by default adjacent deltas are joined. `skip` names laws that the stage does
    not guarantee: a stage that counts deltas has no split invariance, and a hop that emits results as they are ready no order.
    `ahead` is the number of items that a hop may read while its consumer does not read. The checks run their own event loops, so
    call this from a synchronous test function. A violation raises `AssertionError`, an object that is no valid stage
    `PipelineError`.
    """
    if not isinstance(cast(object, stage), Step):
        raise PipelineError(misplaced(stage))
    for part in parts(stage):
        check(cast(Any, type(part)))
    hop = any(part.joins for part in parts(stage))
    if unknown := set(skip) - set(HOP_LAWS if hop else LAWS):
        raise PipelineError(
            f"skip: expected names of {', '.join(HOP_LAWS if hop else LAWS)}; found {', '.join(sorted(unknown))}"
        )
    given = list(items)
    for name in HOP_LAWS if hop else LAWS:
        if name in skip:
            continue
        if hop:
            HOP_LAWS[name](stage, given, read, ahead)
        else:
            LAWS[name](stage, given, read)


# The laws


def fresh_state(stage: Candidate, items: list[Any], read: Read) -> None:
    """Two runs share nothing, and a run does not change its stage. (Law 4)"""
    before = json.dumps(stage.state())
    first, second = outcome(stage, items), outcome(stage, items)
    same("fresh state: a second run", second, first)
    if isinstance(stage, Stage):
        runs, found = [started(stage, items), started(stage, items)], [list[Any](), list[Any]()]
        while any([_next_into(run, into) for run, into in zip(runs, found, strict=True)]):  # noqa: C419 # both, each time
            pass
        same("fresh state: one of two runs that take turns", found[0], first)
        same("fresh state: the other of two runs that take turns", found[1], first)
    assert json.dumps(stage.state()) == before, "fresh state: a run has changed the stage that it was made from"


def bursts(stage: Candidate, items: list[Any], read: Read) -> None:
    """Except for the split of text, the output does not depend on the number of items per read, which may be none: a read may
    contain no complete line."""
    if isinstance(stage, Stage):
        alone = read(list(started(stage, iter(items))))
        same("bursts: all items in one feed_all", read(_in_bursts(stage, [items])), alone)
        single = [burst for item in items for burst in ([], [item], [])]
        same("bursts: an empty feed_all around each item", read(_in_bursts(stage, single)), alone)


def split_invariance(stage: Candidate, items: list[Any], read: Read) -> None:
    """The output is the same for any split of the text or the bytes. (Law 2)"""
    expected = read(outcome(stage, items))
    for how, cut in _cuts(items).items():
        found = read(outcome(stage, cut))
        assert found == expected, f"split invariance: {how}, it gives {found!r}; as it came, {expected!r}"


def unknown_events(stage: Candidate, items: list[Any], read: Read) -> None:
    """Unknown events are passed on once, in order, and change nothing else; the end stays last. (Law 10)"""
    if not any(isinstance(item, get_args(Event)) for item in items):
        return
    mixed = [part for number, item in enumerate(items) for part in (Unknown(number), item)]
    given, found = outcome(stage, items), outcome(stage, mixed)
    passed = [item.number for item in found if isinstance(item, Unknown)]
    expected = list(range(_taken(stage, items)))
    assert passed == expected, f"unknown events: expected {expected} to pass, once and in order, found {passed}"
    rest, same = read([item for item in found if not isinstance(item, Unknown)]), read(given)
    assert rest == same, f"unknown events: between them it gives {rest!r}, without them {same!r}"
    ends = [at for at, item in enumerate(found) if isinstance(item, StreamEnd)]
    assert not ends or ends == [len(found) - 1], f"unknown events: expected StreamEnd once and last, found it at {ends}"


def source_failure(stage: Candidate, items: list[Any], read: Read) -> None:
    """When the source fails, the items produced so far are emitted, then the error is raised; the stream does not end as if
    complete. (Laws 1, 5)"""
    for size in range(_taken(stage, items) if items else 0):
        expected = run(partial(_without_flush, stage, items[:size]))
        found, error = run(partial(_until_failure, stage, items[:size]))
        same(f"source failure: before the error, after {size} items", found, expected)
        assert isinstance(error, Broken), f"source failure: expected the source's error, found {error!r}"


def pickling(stage: Candidate, items: list[Any], read: Read) -> None:
    """A pickled and restored stage has the same output."""
    try:
        again: Candidate = pickle.loads(pickle.dumps(stage))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"pickling: {type(error).__name__}: {error}") from error
    same("pickling: the copy", outcome(again, items), outcome(stage, items))


def checkpoints(stage: Candidate, items: list[Any], read: Read) -> None:
    """The state is plain data, and another copy that resumes from it continues with the same output."""
    expected = list(started(stage, iter(items))) if isinstance(stage, Stage) else outcome(stage, items)
    for size in range(len(expected)):
        if isinstance(stage, Stage):
            found = _run_handed_over(stage, items, size)
        else:
            found = run(partial(_stream_handed_over, stage, items, size))
        same(f"checkpoints: handed over after {size} items", read(found), read(expected))


def linear_time(stage: Candidate, items: list[Any], read: Read) -> None:
    """Eight times the input takes about eight times as long. (Law 7)"""
    body = [item for item in items if not isinstance(item, StreamEnd)]
    if not body or _taken(stage, body * 2) < 2 * len(body):
        return
    times = 1
    while (short := _seconds(stage, body * times)) < 0.004 and times < 4096:
        times *= 2
    growth = _seconds(stage, body * times * _TIMES) / max(short, 1e-9)
    assert growth < _LINEAR, f"linear time: {_TIMES} times the input took {growth:.0f} times as long"


def composition(stage: Candidate, items: list[Any], read: Read) -> None:
    """An observer before or after it, or between two stages of a pipeline, changes nothing; a sync stage has the same output in a
    `Switch` and in a thread. (Law 11)"""
    alone = outcome(stage, items)
    for where, composed in _compositions(stage).items():
        given = outcome(composed, items)
        if isinstance(composed, Switch) and not any(isinstance(item, StreamEnd) for item in alone):
            # A Switch passes the end on itself, also for a branch that encodes it as bytes.
            given = [item for item in given if not isinstance(item, StreamEnd)]
        found, expected = read(given), read(alone)
        assert found == expected, f"composition: {where}, it gives {found!r}; alone, {expected!r}"


def cancellation(stage: Candidate, items: list[Any], read: Read) -> None:
    """If cancelled at any position, also while an async stage itself is working, it ends as cancelled, the source is closed, and
    nothing is leaked. (Law 3)"""
    with no_leaks():
        for size in range(_taken(stage, items) if items else 0):
            for backend in BACKENDS:
                run(partial(_cancelled, stage, items[:size]), backend)
                run(partial(_cancelled_from_outside, stage, items[:size]), backend)
    if isinstance(stage, AsyncStage):
        hop_laws.cancellation_in_work(stage, items)


LAWS: Final[Mapping[str, Law]] = {
    law.__name__: law
    for law in (
        fresh_state,
        bursts,
        split_invariance,
        unknown_events,
        source_failure,
        pickling,
        checkpoints,
        linear_time,
        composition,
        cancellation,
    )
}
"""The laws of a stage, by name."""


def _also(law: Law) -> hop_laws.HopLaw:
    def check(stage: Candidate, items: list[Any], read: Read, ahead: int) -> None:
        law(stage, items, read)

    return check


HOP_LAWS: Final[Mapping[str, hop_laws.HopLaw]] = {
    "end": hop_laws.end,
    "bounds": hop_laws.bounds,
    "source_failure": hop_laws.source_failure,
    "early_exit": hop_laws.early_exit,
    "cancellation": hop_laws.cancellation,
    "order": hop_laws.order,
    "fresh_state": _also(fresh_state),
    "unknown_events": _also(unknown_events),
    "pickling": _also(pickling),
    "composition": hop_laws.composition,
}
"""The laws of a hop, by name. A hop has no checkpoints."""


# Running


def _in_bursts(stage: Stage[Any, Any], bursts: Iterable[list[Any]]) -> list[Any]:
    running, found = stage.fresh(), list[Any]()
    running.tick(0.0)
    for burst in bursts:
        running.tick(0.0)
        found.extend(running.feed_all(burst))
        if running.done:
            break
    found.extend(running.flush())
    return found


def _compositions(stage: Candidate) -> dict[str, Candidate]:
    alone: list[Any] = list(parts(stage))
    found: dict[str, Candidate] = {
        f"with a Tap after {at} of its {len(alone)} stages": reduce(compose, [*alone[:at], Tap(_pass), *alone[at:]])
        for at in range(len(alone) + 1)
    }
    if isinstance(stage, Stage):
        found["in a Switch"] = Switch(_the_only, {"only": stage})
        # With `over=0`, each item with text is processed in a thread.
        found["in Threaded"] = Threaded(stage, over=0)
    return found


def _pass(_: object) -> None:
    return


def _the_only(_: object) -> str:
    return "only"


async def _until_failure(stage: Candidate, items: list[Any]) -> tuple[list[Any], Exception | None]:
    found: list[Any] = []
    source = Scripted[Any](*items, Broken("the source failed"))
    try:
        async with stage.open(source) as stream:
            async for item in stream:
                found.append(item)
    except Exception as error:
        assert source.closed, "source failure: the source was not closed"
        return found, error
    return found, None


def _run_handed_over(stage: Stage[Any, Any], items: list[Any], size: int) -> list[Any]:
    run = started(stage, iter(items))
    found = list(islice(run, size))
    checkpoint = json.loads(json.dumps(run.checkpoint()))
    return found + list(started(stage, iter(_behind(items, checkpoint["received"])), checkpoint))


def _behind(items: list[Any], received: int) -> list[Any]:
    if items and isinstance(items[0], bytes):
        return [rest] if (rest := b"".join(items)[received:]) else []
    return items[received:]


async def _stream_handed_over(stage: Candidate, items: list[Any], size: int) -> list[Any]:
    async with stage.open(Scripted(*items)) as stream:
        found = [await anext(stream) for _ in range(size)]
        checkpoint = json.loads(json.dumps(stream.checkpoint()))
    rest = Scripted[Any](*_behind(items, checkpoint["received"]))
    async with stage.open(rest, checkpoint=checkpoint) as stream:
        return found + [item async for item in stream]


async def _cancelled(stage: Candidate, items: list[Any]) -> None:
    source = Scripted[Any](*items)
    async with stage.open(source) as stream:
        source.left += [stream.cancel, HANG]
        found = [item async for item in stream]
    end = found[-1]
    assert isinstance(end, StreamEnd) and end.reason == "cancelled", (  # noqa: PT018
        f"cancellation: after {len(items)} items, expected StreamEnd('cancelled') last, found {end!r}"
    )
    assert source.closed, "cancellation: the source was not closed"


async def _cancelled_from_outside(stage: Candidate, items: list[Any]) -> None:
    source = Scripted[Any](*items)
    stream = stage.open(source)
    with anyio.CancelScope() as scope:
        async with stream:
            source.left += [scope.cancel, HANG]
            async for _ in stream:
                pass
    assert source.closed, "cancellation: the source was not closed when the consumer was cancelled"
    assert stream.end is not None and stream.end.reason == "cancelled", (  # noqa: PT018
        f"cancellation: the consumer was cancelled, and the stream says {stream.end!r}"
    )


async def _without_flush(stage: Candidate, items: list[Any]) -> list[Any]:
    found, fresh = list[Any](), stage.fresh()
    fresh.tick(0.0)
    for item in items:
        fresh.tick(0.0)
        found += fresh.feed(item) if isinstance(fresh, Stage) else await fresh.feed(item)
    return found


def _taken(stage: Candidate, items: list[Any]) -> int:
    """Return the number of items that the stage reads before it is done."""
    taken = 0

    def counted() -> Iterator[Any]:
        nonlocal taken
        for item in items:
            taken += 1
            yield item

    async def collect() -> list[Any]:
        async with stage.open(counted()) as stream:
            return [item async for item in stream]

    assert list(started(stage, counted())) if isinstance(stage, Stage) else run(collect), "it gave nothing at all"
    return taken


def _seconds(stage: Candidate, items: list[Any]) -> float:
    def once() -> float:
        begin = process_time()
        outcome(stage, items)
        return process_time() - begin

    gc.disable()
    try:
        return min(once() for _ in range(3))
    finally:
        gc.enable()


# Items


def _cuts(items: list[Any]) -> dict[str, list[Any]]:
    if items and all(isinstance(item, bytes) for item in items):
        body = b"".join(items)
        pieces = {f"in pieces of {size} bytes": _pieces(body, size) for size in (1, 2, 7)}
        return {"in one piece": [body], **pieces}
    alone = {f"in texts of {size} characters": _recut(items, size) for size in (1, 2, 5)}
    return {"with neighbouring texts joined": joined(items), **alone}


def _pieces(whole: Any, size: int) -> list[Any]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _recut(items: list[Any], size: int) -> list[Any]:
    found: list[Any] = []
    for item in joined(items):
        if isinstance(item, _TEXTS):
            found += [msgspec.structs.replace(item, text=text) for text in _pieces(item.text, size)]
        elif isinstance(item, ToolCallDelta) and item.arguments:
            first, *rest = _pieces(item.arguments, size)
            found.append(msgspec.structs.replace(item, arguments=first))
            found += [ToolCallDelta(item.tool_index, arguments=text, index=item.index) for text in rest]
        else:
            found.append(item)
    return found


def _is_of_one_text(last: Any, item: Any) -> bool:
    if isinstance(item, PartDelta):
        return bool(msgspec.structs.replace(last, text=item.text) == item)
    return bool(last.index == item.index)


def _continues(last: ToolCallDelta, item: ToolCallDelta) -> bool:
    same = (last.index, last.tool_index) == (item.index, item.tool_index)
    return same and not (item.id or item.name or item.type)


def _next_into(run: Iterator[Any], into: list[Any]) -> bool:
    for item in run:
        into.append(item)
        return True
    return False
