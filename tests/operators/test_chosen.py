"""Which events, and which way they go."""

from dataclasses import dataclass
from typing import Any

import pytest

import streamkit as sk
from streamkit import ops

END = sk.StreamEnd("completed", True)
RESET = sk.events.Reset("connection lost")
EVENTS = [
    sk.events.RoleDelta("assistant"),
    sk.TextDelta("a"),
    sk.TextDelta("b", 1),
    sk.Usage(1),
    sk.Finish("stop"),
    END,
]


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        (ops.Select(sk.TextDelta), [sk.TextDelta("a"), sk.TextDelta("b", 1), END]),
        (ops.Select((sk.Usage, sk.Finish)), [sk.Usage(1), sk.Finish("stop"), END]),
        (ops.Choices(1), [sk.TextDelta("b", 1), sk.Usage(1), END]),
        (ops.Choices((0, 1)), EVENTS),
        (ops.Select(sk.TextDelta) | ops.Choices(0), [sk.TextDelta("a"), END]),
    ],
    ids=str,
)
def test_what_is_left(stage: sk.Stage[Any, Any], left: list[sk.Event]) -> None:
    assert list(stage.run(EVENTS)) == list(stage.run(iter(EVENTS))) == left


def test_what_can_follow_a_selection_is_checked() -> None:
    with pytest.raises(sk.PipelineError, match="Select gives Usage, StreamEnd, but Parse takes bytes"):
        ops.Select(sk.Usage) | sk.Parse()  # type: ignore[operator]


def by_index(event: Any) -> str:
    return str(getattr(event, "index", "none"))


def test_each_item_takes_its_way_and_order_is_kept() -> None:
    shout = ops.Map[sk.TextDelta, sk.TextDelta](lambda delta: sk.TextDelta(delta.text.upper(), delta.index))
    stage: sk.Stage[Any, Any] = ops.Switch(by_index, {"0": shout, "1": ops.Smooth()})
    events = [
        sk.TextDelta("x", 1),
        sk.TextDelta("a"),
        sk.TextDelta("c", 2),
        sk.TextDelta("y z", 1),
        sk.TextDelta("b"),
        END,
    ]

    expected = [
        sk.TextDelta("A"),
        sk.TextDelta("c", 2),
        sk.TextDelta("xy ", 1),
        sk.TextDelta("B"),
        sk.TextDelta("z", 1),
        END,
    ]
    assert list(stage.run(events)) == expected
    assert list(stage.run(events)) == expected  # a run leaves nothing in the stage
    assert list(stage.run(events[:-1])) == expected[:-1]


def test_the_end_comes_once_after_what_every_branch_has_left() -> None:
    stage: sk.Stage[Any, Any] = ops.Switch(by_index, {"0": sk.Accumulate(), "1": sk.Accumulate()})

    *deltas, first, second, end = stage.run([sk.TextDelta("a"), sk.TextDelta("b", 1), END])

    assert (len(deltas), end) == (2, END)
    assert [completion.choices[0].text for completion in (first, second)] == ["a", "b"]


def test_a_branch_that_wants_nothing_more_ends_the_whole() -> None:
    stage: sk.Stage[Any, Any] = ops.Switch(by_index, {"0": ops.StopAt("#"), "1": ops.Smooth()})

    events = [sk.TextDelta("wait", 1), sk.TextDelta("a#"), sk.TextDelta("b", 1), END]

    assert list(stage.run(events)) == [
        sk.TextDelta("a"),
        sk.Finish("stop"),
        sk.TextDelta("wait", 1),
        sk.StreamEnd("completed"),
    ]


def test_branches_hear_the_time() -> None:
    stage: sk.Stage[Any, Any] = ops.Switch(str, {"1": ops.Debounce(1.0)})
    clock = iter([0.0, 0.0, 5.0, 6.0]).__next__

    assert list(stage.run(iter(["1", "1"]), clock=clock)) == ["1", "1"]


def test_an_async_stage_is_no_branch() -> None:
    class Waits(sk.AsyncStage[Any, Any]):
        pass

    with pytest.raises(sk.PipelineError, match="Switch takes sync stages and pipelines, found an object of type Waits"):
        ops.Switch(str, {"a": Waits()})  # type: ignore[dict-item]


def end_as(reason: Any) -> sk.Stage[Any, Any]:
    @sk.stage
    def changed(end: sk.StreamEnd) -> sk.StreamEnd:
        return sk.StreamEnd(reason)

    return changed


@pytest.mark.parametrize(
    ("branches", "end", "expected"),
    [
        ({"0": end_as("limit")}, "completed", "limit"),
        # A single branch may also say that it is a success, as outside of the Switch.
        ({"0": end_as("completed")}, "unknown", "completed"),
        ({"0": ops.Smooth(), "1": end_as("moderated")}, "completed", "moderated"),
        ({"0": end_as("length"), "1": end_as("error"), "2": end_as("limit")}, "completed", "error"),
        ({"0": end_as("completed"), "1": end_as("length")}, "tool_calls", "length"),
        ({"0": ops.Smooth(), "1": ops.Smooth()}, "content_filter", "content_filter"),
    ],
)
def test_an_end_that_branches_change_is_the_least_complete_of_theirs(
    branches: dict[str, sk.Stage[Any, Any]], end: Any, expected: str
) -> None:
    given = list(ops.Switch(by_index, branches).run([sk.TextDelta("a"), sk.StreamEnd(end)]))

    assert given == [sk.TextDelta("a"), sk.StreamEnd(expected)]


def test_an_end_that_a_branch_makes_early_comes_last() -> None:
    @dataclass
    class Early(sk.Stage[Any, Any]):
        def feed(self, item: Any) -> list[Any]:
            return [item, sk.StreamEnd("length")] if item == sk.TextDelta("b") else [item]

    events = [sk.TextDelta("a"), sk.TextDelta("b"), sk.TextDelta("c"), sk.StreamEnd("completed")]

    assert list(ops.Switch(by_index, {"0": Early()}).run(events)) == [*events[:3], sk.StreamEnd("length")]


def test_a_reset_restarts_every_branch_and_comes_once() -> None:
    branches = {"0": ops.Sentences(), "1": ops.Sentences() | ops.Smooth("word")}
    by_index = ops.Switch(lambda event: str(getattr(event, "index", 0)), branches)
    source = [
        sk.TextDelta("Half a "),
        sk.TextDelta("Another half ", 1),
        RESET,
        sk.TextDelta("New."),
        sk.TextDelta("Two.", 1),
        END,
    ]

    assert list(by_index.run(source)) == [RESET, sk.TextDelta("New."), sk.TextDelta("Two.", 1), END]


def test_a_reset_comes_before_what_a_branch_emits_after_it() -> None:
    @sk.stage
    def restarted(event: sk.Event) -> list[sk.Event]:
        return [event, sk.TextDelta("again")] if isinstance(event, sk.events.Reset) else [event]

    switch = ops.Switch(lambda event: "a", {"a": restarted, "b": restarted})

    assert list(switch.run([RESET, END])) == [RESET, sk.TextDelta("again"), sk.TextDelta("again"), END]
