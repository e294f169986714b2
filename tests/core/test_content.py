"""Content is recognized by the class of an event anywhere in a pipeline, and `content_arrived` of the stages is called."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

import streamkit as sk
from streamkit import hops, ops
from streamkit.core.engine import find_stage

pytestmark = pytest.mark.anyio
BODY = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'
PING = b": ping\n\n"


@dataclass
class Notes(sk.Stage[Any, Any]):
    """Record the calls of `content_arrived` and `tick`, and the items."""

    notes: list[str] = field(default_factory=list[str], init=False)

    def content_arrived(self) -> None:
        self.notes.append("content")

    def feed(self, item: Any) -> Iterable[Any]:
        self.notes.append(type(item).__name__)
        return (item,)


@dataclass
class Keeps(sk.Stage[Any, Any]):
    """Buffer everything forever."""

    def feed(self, item: Any) -> Iterable[Any]:
        return ()


@dataclass
class Waits(sk.AsyncStage[Any, Any]):
    """An async stage, which separates two levels."""

    async def feed(self, item: Any) -> Iterable[Any]:
        return (item,)


@dataclass
class Around(sk.Stage[Any, Any]):
    """A wrapper as a user may write it."""

    stage: sk.Stage[Any, Any]

    def fresh(self) -> "Around":
        return Around(self.stage.fresh())

    def inner(self) -> Iterable[Any]:
        return (self.stage,)

    def feed(self, item: Any) -> Iterable[Any]:
        return self.stage.feed(item)


def way(item: object) -> str:
    return "notes"


EVENTS: list[sk.Event] = [sk.events.RoleDelta("assistant"), sk.TextDelta("a"), sk.Usage(1), sk.ReasoningDelta("b")]


@pytest.mark.parametrize(
    "content",
    [sk.TextDelta("a"), sk.ReasoningDelta("a"), sk.RefusalDelta("a"), sk.ToolCallDelta(0), sk.events.AudioDelta("a")],
)
def test_each_class_of_content_is_recognized(content: sk.Event) -> None:
    run = Notes().run(iter([content]))

    assert list(run) == [content]
    assert run.stage(Notes).notes == ["content", type(content).__name__]


def test_a_stage_is_called_before_content_comes_to_it_once_for_each_read() -> None:
    run = Notes().run([*EVENTS])
    one_by_one = Notes().run(iter(EVENTS))

    assert list(run) == list(one_by_one) == EVENTS
    names = [type(event).__name__ for event in EVENTS]
    assert run.stage(Notes).notes == ["content", *names]
    assert one_by_one.stage(Notes).notes == [names[0], "content", names[1], names[2], "content", names[3]]


def test_bytes_are_content_once_they_are_read_as_such_and_keep_alives_are_not() -> None:
    run = (sk.Parse() | sk.Extract() | Notes()).run(iter([PING, BODY, PING]))

    assert [type(event) for event in run] == [sk.TextDelta, sk.StreamEnd]
    assert run.stage(Notes).notes == ["content", "TextDelta", "StreamEnd"]


PIPELINES: dict[str, Any] = {
    "behind a stage that buffers it": Keeps() | Notes(),
    "before it": Notes() | Keeps(),
    "in a wrapper": Keeps() | Around(Notes()),
    "in a pipeline in a wrapper": Keeps() | Around(ops.Skip(0) | Notes()),
    "in a branch": Keeps() | ops.Switch(way, {"notes": Notes()}),
    "in a thread's stage": Keeps() | hops.Threaded(Notes()),
    "behind an async stage": Waits() | Keeps() | Notes(),
    "behind two": Waits() | Waits() | Keeps() | Notes(),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())
async def test_a_stage_is_called_wherever_it_stands(pipeline: Any) -> None:
    async with pipeline.open(iter(EVENTS)) as stream:
        assert await stream.collect() == []
        notes = find_stage(stream._reading.engine.stages, Notes).notes
        assert notes.count("content") == 2


def test_nobody_is_called_where_nobody_asks() -> None:
    run = (sk.Parse() | sk.Extract() | sk.Accumulate()).run([BODY])

    assert not run._engine._watching
    assert [type(event) for event in run] == [sk.TextDelta, sk.Completion, sk.StreamEnd]
