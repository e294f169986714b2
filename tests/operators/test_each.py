"""Operators on each item and on their number, as a table: a line of input beside a line of output."""

import operator
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from streamkit import ops

END = sk.StreamEnd("completed", True)
CUT = sk.StreamEnd("cancelled")


def double(number: int) -> int:
    return number * 2


def is_even(number: int) -> bool:
    return number % 2 == 0


def twice(number: int) -> list[int]:
    return [number] * (number % 3)


def text_of(event: Any) -> str:
    return str(event.text)


@pytest.mark.parametrize(
    ("stage", "items", "expected"),
    [
        (ops.Map(double), [1, 2, 3], [2, 4, 6]),
        (ops.Map(double), [], []),
        (ops.Map(text_of), [sk.TextDelta("a"), END], ["a", END]),
        (ops.FlatMap(twice), [1, 2, 3], [1, 2, 2]),
        (ops.FlatMap(twice), [2, END], [2, 2, END]),
        (ops.Filter(is_even), [1, 2, 3, 4], [2, 4]),
        (ops.Filter(is_even), [1, END], [END]),
        (ops.Scan(operator.add, 0), [1, 2, 3], [1, 3, 6]),
        (ops.Scan(operator.add, 10), [1, END], [11, END]),
        (ops.Take(2), [1, 2, 3], [1, 2]),
        (ops.Take(2), [1], [1]),
        (ops.Take(1), [sk.TextDelta("a"), sk.TextDelta("b"), END], [sk.TextDelta("a"), CUT]),
        (ops.Take(2), [sk.TextDelta("a"), END], [sk.TextDelta("a"), END]),
        (ops.TakeUntil(is_even), [1, 3, 4, 5], [1, 3]),
        (ops.TakeUntil(is_even, inclusive=True), [1, 3, 4, 5], [1, 3, 4]),
        (ops.TakeUntil(is_even), [1, 3], [1, 3]),
        (ops.TakeUntil(text_of), [sk.TextDelta(""), sk.TextDelta("b"), END], [sk.TextDelta(""), CUT]),
        (ops.TakeUntil(text_of), [sk.TextDelta(""), END], [sk.TextDelta(""), END]),
        (ops.Skip(2), [1, 2, 3], [3]),
        (ops.Skip(0), [1], [1]),
        (ops.Skip(2), [sk.TextDelta("a"), END], [END]),
        (ops.Batch(2), [1, 2, 3], [[1, 2], [3]]),
        (ops.Batch(2), [1, 2, END], [[1, 2], END]),
        (ops.Batch(2), [1, END], [[1], END]),
        (ops.Batch(2), [], []),
        (ops.SlidingWindow(2), [1, 2, 3], [[1, 2], [2, 3]]),
        (ops.SlidingWindow(1), [1, 2], [[1], [2]]),
        (ops.SlidingWindow(2, step=2), [1, 2, 3, 4, 5], [[1, 2], [3, 4]]),
        (ops.SlidingWindow(2, step=3), [1, 2, 3, 4, 5], [[1, 2], [4, 5]]),
        (ops.SlidingWindow(3), [1, 2, END], [END]),
    ],
    ids=str,
)
def test_items(stage: sk.Stage[Any, Any], items: list[Any], expected: list[Any]) -> None:
    assert list(stage.run(items)) == list(stage.run(iter(items))) == expected


def test_tap_sees_everything_and_passes_it_on() -> None:
    seen: list[sk.Event] = []

    passed = list(ops.Tap[sk.Event](seen.append).run([sk.TextDelta("a"), END]))

    assert seen == passed == [sk.TextDelta("a"), END]


def test_scan_begins_each_run_with_a_copy_of_what_it_begins_with() -> None:
    def gather(items: list[int], item: int) -> list[int]:
        items.append(item)
        return items

    stage = ops.Scan[int, list[int]](gather, [])

    assert [list(stage.run([1, 2]))[-1], list(stage.run([3]))[-1]] == [[1, 2], [3]]
    assert stage.initial == []


@pytest.mark.anyio
async def test_take_closes_the_source_and_the_rest_of_the_pipeline_has_its_end() -> None:
    class Endless(sk.Source[sk.Event]):
        closed = 0

        async def read(self) -> list[sk.Event]:
            return [sk.TextDelta("a"), sk.TextDelta("b")]

        async def close(self) -> None:
            self.closed = True

    source = Endless()
    stream = ops.Take[sk.Event](3).open(source) | sk.Accumulate()
    *deltas, completion, end = [event async for event in stream]

    assert deltas == [sk.TextDelta("a"), sk.TextDelta("b"), sk.TextDelta("a")]
    assert isinstance(completion, sk.Completion)
    assert (completion.text, completion.end, end, stream.end, source.closed) == ("aba", "cancelled", CUT, CUT, True)


def test_what_came_before_a_function_failed_is_delivered() -> None:
    run = ops.Map[int, float](lambda number: 1 / number).run([2, 1, 0, 4])

    assert [next(run), next(run)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(run)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.Take(0), "count: expected a whole number of 1 or more, found 0"),
        (lambda: ops.Skip(-1), "count: expected a whole number of 0 or more, found -1"),
        (lambda: ops.SlidingWindow(True), "size: expected a whole number of 1 or more, found True"),
        (lambda: ops.Batch(), "Batch needs a size, or seconds, or both"),
        (lambda: ops.Batch(seconds=0), "seconds: expected seconds, more than 0, found 0"),
        (lambda: ops.Debounce(float("inf")), "seconds: expected seconds, more than 0, found inf"),
        (lambda: ops.Map("double"), "Map takes a function, found an object of type str"),
        (lambda: ops.Select(()), "Select takes a class of events, or a tuple of them: Select((TextDelta, Finish))"),
        (lambda: ops.Choices("0"), "Choices takes the index of a choice, or a tuple of them: Choices((0, 2))"),
        (
            lambda: ops.Smooth("["),
            "expected one of word, line, sentence, a regular expression or a function; found '['",
        ),
        (
            lambda: ops.Smooth("words"),
            "expected one of word, line, sentence, a regular expression or a function (a plain word as "
            "(?:…)); found 'words'; did you mean word?",
        ),
        (
            lambda: ops.Smooth("Sentence"),
            "expected one of word, line, sentence, a regular expression or a function (a plain word "
            "as (?:…)); found 'Sentence'; did you mean sentence?",
        ),
        (
            lambda: ops.Smooth("END"),
            "expected one of word, line, sentence, a regular expression or a function (a plain word as "
            "(?:…)); found 'END'",
        ),
        (lambda: ops.StopAt(""), "stops: expected a text, or a tuple of texts, of at least one character each"),
        (
            lambda: ops.StopAt("x", channels=("tools",)),
            "expected channels of content, reasoning, refusal; found 'tools'",
        ),
        (lambda: ops.named("nowhere:f"), "'nowhere:f' can't be found: No module named 'nowhere'"),
        (lambda: ops.named("json"), "expected a name as package.module:name, found 'json'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_when_the_stage_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(sk.PipelineError) as caught:
        make()

    assert str(caught.value).startswith(message)
