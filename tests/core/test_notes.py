"""An error raised by a stage has a note with the name of the stage and its place in the whole pipeline."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

import streamkit as sk


@sk.stage
def shout(event: sk.TextDelta) -> sk.TextDelta:
    raise ValueError("no")


@dataclass
class Shouter:
    def __call__(self, event: sk.TextDelta) -> sk.TextDelta:
        raise ValueError("no")


def whisper(volume: int, event: sk.TextDelta) -> sk.TextDelta:
    raise ValueError("no")


@dataclass
class AsyncSame(sk.AsyncStage[Any, Any]):
    async def feed(self, item: Any) -> Iterable[Any]:
        return [item]


@sk.stage
async def shout_later(event: sk.TextDelta) -> sk.TextDelta:
    raise ValueError("no")


@dataclass
class Last(sk.Stage[sk.Event, sk.Event]):
    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        return (item,)

    def flush(self) -> Iterable[sk.Event]:
        raise ValueError("no")


def always(_: object) -> str:
    return "loud"


READ: Any = sk.Parse() | sk.Extract()
AFTER = sk.Accumulate()
PLACES: dict[str, tuple[Any, list[str]]] = {
    "a function": (READ | shout | AFTER, ["in stage 3 of 4: shout"]),
    "a function alone": (READ | shout, ["in stage 3 of 3: shout"]),
    "a lambda": (READ | sk.stage(lambda event: 1 / 0) | AFTER, ["in stage 3 of 4: <lambda>"]),
    "an object that is called": (READ | sk.stage(Shouter()) | AFTER, ["in stage 3 of 4: Shouter"]),
    "a partial": (READ | sk.stage(functools.partial(whisper, 3)) | AFTER, ["in stage 3 of 4: whisper"]),
    "at the end": (READ | Last() | AFTER, ["in stage 3 of 4: Last"]),
    "joined later": (READ | (shout | AFTER), ["in stage 3 of 4: shout"]),
    "a branch": (
        READ | sk.ops.Switch(always, {"loud": shout}) | AFTER,
        ["in branch 'loud': shout", "in stage 3 of 4: Switch"],
    ),
    "a branch of several": (
        READ | sk.ops.Switch(always, {"loud": sk.Timing() | shout}) | AFTER,
        ["in stage 2 of 2: shout", "in branch 'loud': Timing | shout", "in stage 3 of 4: Switch"],
    ),
    "a branch that fails at the end": (
        READ | sk.ops.Switch(always, {"loud": Last()}) | AFTER,
        ["in branch 'loud': Last", "in stage 3 of 4: Switch"],
    ),
}
WAITING: dict[str, tuple[Any, list[str]]] = {
    "a coroutine function": (READ | shout_later | AFTER, ["in stage 3 of 4: shout_later"]),
    "after one that waits": (READ | AsyncSame() | AsyncSame() | shout | AFTER, ["in stage 5 of 6: shout"]),
    "between those that wait": (READ | AsyncSame() | shout | AsyncSame(), ["in stage 4 of 5: shout"]),
    "in a thread": (READ | sk.hops.Threaded(shout) | AFTER, ["in stage 3 of 4: Threaded(shout)"]),
    "several in a thread": (
        READ | sk.hops.Threaded(sk.Timing() | shout) | AFTER,
        ["in stage 2 of 2: shout", "in stage 3 of 4: Threaded(Timing | shout)"],
    ),
}
BODY = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'


@pytest.mark.parametrize(("pipeline", "notes"), PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("items", [[BODY], BODY.decode().splitlines()], ids=["bytes", "lines"])
def test_an_error_tells_the_stage_by_its_name_and_its_place_as_it_was_written(
    pipeline: Any, notes: list[str], items: list[Any]
) -> None:
    with pytest.raises((ValueError, ZeroDivisionError)) as caught:
        list(pipeline.run(items))

    assert caught.value.__notes__ == notes


@pytest.mark.anyio
@pytest.mark.parametrize(("pipeline", "notes"), (PLACES | WAITING).values(), ids=(PLACES | WAITING).keys())
@pytest.mark.parametrize("items", [[BODY], BODY.decode().splitlines()], ids=["bytes", "lines"])
async def test_an_error_of_a_stream_tells_the_same(pipeline: Any, notes: list[str], items: list[Any]) -> None:
    with pytest.raises((ValueError, ZeroDivisionError)) as caught:
        await pipeline.open(items).collect()

    assert caught.value.__notes__ == notes


def test_what_puts_bytes_into_lines_is_not_counted() -> None:
    with pytest.raises(sk.errors.LimitExceeded) as caught:
        list((sk.sse.Lines(max_line_bytes=3) | READ).run(BODY))
    assert caught.value.__notes__ == ["in stage 1 of 3: Lines"]

    with pytest.raises(sk.errors.LimitExceeded) as caught:
        list((sk.Parse(max_event_bytes=3) | sk.Extract()).run(BODY))
    assert caught.value.__notes__ == ["in stage 1 of 2: Parse"]
