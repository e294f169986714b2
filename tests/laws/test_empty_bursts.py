"""A read without items for a stage, such as half a line, is neither an end nor an item: `feed_all([])` returns nothing."""

import importlib
import pkgutil
from typing import Any

import pytest

import streamkit
import streamkit as sk
from streamkit import ops
from streamkit.core.function import FunctionStage
from streamkit.core.stage import Pipeline
from streamkit.dialects.base import Dialect

STAGES: list[sk.Stage[Any, Any]] = [
    sk.sse.Lines(),
    sk.Parse(),
    sk.Parse(strict=True, comments=True),
    sk.Extract(),
    sk.Moderate(sk.Rule("secret", ("hunter2",), ("pass\\w+",))),
    sk.Moderate(sk.Rule("secret", ("hunter2",)), mode="optimistic"),
    sk.Moderate(sk.Rule("secret", ("hunter2",)), mode="observe"),
    sk.Accumulate(),
    sk.Count("cl100k_base"),
    sk.Budget(7, model="cl100k_base"),
    sk.Timing(),
    sk.Structured(),
    sk.Emit(),
    sk.sse.Encode(),
    ops.Map(str),
    ops.FlatMap(list),
    ops.Filter(bool),
    ops.Scan(lambda total, item: total, 0),
    ops.Tap(print),
    ops.Take(1),
    ops.TakeUntil(bool),
    ops.Skip(1),
    ops.Batch(2),
    ops.SlidingWindow(2),
    ops.Debounce(1.0),
    ops.Throttle(1.0),
    ops.Select(sk.TextDelta),
    ops.Choices(0),
    ops.Switch(str, {"a": ops.Map(str)}),
    ops.Smooth(),
    ops.Sentences(),
    ops.Coalesce(),
    ops.StopAt("END"),
    FunctionStage(lambda item: item),
    sk.Parse() | sk.Extract() | sk.Accumulate(),
]
ELSEWHERE = (Dialect,)
"""Stages that `Extract` calls; `tests/dialects` tests them."""


def classes(kind: type) -> set[type]:
    return {kind}.union(*(classes(child) for child in kind.__subclasses__()))


def test_every_stage_is_in_the_table() -> None:
    for module in pkgutil.walk_packages(streamkit.__path__, "streamkit."):
        importlib.import_module(module.name)
    public = {
        kind
        for kind in classes(sk.Stage) - {sk.Stage}
        if kind.__module__.startswith(
            ("streamkit.stages", "streamkit.sse", "streamkit.emitters", "streamkit.operators", "streamkit.core.stage")
        )
        and not kind.__name__.startswith("_")
        and not issubclass(kind, ELSEWHERE)
    }
    assert public == {type(stage) for stage in STAGES} - {FunctionStage}
    assert Pipeline in public


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
def test_an_empty_burst_gives_nothing(stage: sk.Stage[Any, Any]) -> None:
    running = stage.fresh()
    assert list(running.feed_all([])) == []
    assert running.done is False


def test_half_a_line_at_a_time_is_parsed() -> None:
    pipeline = (sk.sse.Lines() | sk.Parse()).fresh()
    pieces = [b"da", b"", b"ta: a", b"\n", b"\n"]
    assert [list(pipeline.feed_all([piece])) for piece in pieces] == [[], [], [], [], [sk.sse.ServerSentEvent.of("a")]]
