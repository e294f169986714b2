"""A delta of any size is searched in slices: between two turns of other tasks no more than so much text is."""

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk
from streamkit.events import (
    Annotation,
    AudioDelta,
    Logprobs,
    PartDelta,
    PartEnd,
    PartStart,
    ProviderNotice,
    ResponseDetails,
)
from streamkit.moderation import Decision, Window, Windows
from streamkit.moderation.classifiers.chunking import Chunker
from streamkit.moderation.match.scanner import Scanner
from streamkit.moderation.slices import SLICE, Pace
from streamkit.testing.laws import joined

pytestmark = pytest.mark.anyio
END = sk.StreamEnd("completed")
SIZE = 6 * SLICE
WORDS = "a heron is no grebe, 42 is no number; "
TEXT = WORDS * (SIZE // len(WORDS))
JSON = json.dumps({"text": TEXT, "lines": "\n" * SLICE})


def found(text: str) -> Iterable[tuple[int, int]]:
    at = text.find("heron")
    while at >= 0:
        yield at, at + 5
        at = text.find("heron", at + 1)


RULES = {
    "phrases": sk.Rule("bird", ("heron", "blue heron"), replacement="*"),
    "normalized": sk.Rule("bird", ("heron",), replacement="*", normalize=("nfkc", "look_alikes")),
    "patterns": sk.Rule("bird", patterns=(r"\bher\w+\b", r"\d{2} is (?!a)"), replacement="*", seconds=1.0),
    "detectors": sk.Rule("number", detectors=("card", "email"), replacement="*", seconds=1.0),
    "a check": sk.Rule("bird", check=found, window=100, replacement="*"),
    "only reported": sk.Rule("bird", ("heron",), action="annotate"),
}
HUGE: dict[str, list[sk.Event]] = {
    "a delta": [sk.TextDelta(TEXT)],
    "deltas of one text": [sk.TextDelta(WORDS)] * (SIZE // len(WORDS)),
    "reasoning": [sk.ReasoningDelta(TEXT)],
    "a transcript": [AudioDelta("AAAA", TEXT)],
    "arguments of a call": [sk.ToolCallDelta(0, "c", "f", JSON)],
    "arguments in pieces": [sk.ToolCallDelta(arguments=JSON[at : at + 99]) for at in range(0, len(JSON), 99)],
    "text of a part": [PartStart("p", 0, {"text": ""}), PartDelta(TEXT, "code", 0, ("text",)), PartEnd(0)],
    "JSON of a part": [PartStart("p", 0, {"input": {}}), PartDelta(JSON, "tool_input", 0, ("input",), True), PartEnd(0)],
    "a citation": [sk.TextDelta("Hi."), Annotation({"cited_text": TEXT.replace("heron", "grebe"), "more": ["x y"] * 1_000})],
    "details": [ResponseDetails({"note": TEXT, "more": ["x y"] * 1_000})],
    "structure": [PartStart("p", 0, {"note": TEXT}), PartEnd(0, {"more": ["x y"] * 1_000})],
    "a notice": [ProviderNotice("new", {"note": TEXT})],
    "log probabilities": [Logprobs({"content": [{"token": "x", "top_logprobs": [{"token": "y"}] * 5}] * 3_000})],
}  # fmt: skip


async def arriving(events: list[sk.Event]) -> AsyncGenerator[sk.Event, None]:
    for event in events:
        yield event


@dataclass
class InOne(sk.Stage[sk.Event, sk.Event]):
    """All events as one burst, as an answer without streaming has them."""

    events: list[sk.Event] = field(default_factory=list)

    def feed_all(self, items: list[sk.Event]) -> list[sk.Event]:
        return self.events


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters were searched so far, by all scanners; with what the search of a text costs at all."""
    so_far, feed = [0], Scanner.feed

    def counting(self: Scanner, text: str, *, final: bool = False) -> Any:
        so_far[0] += len(text) + 1
        return feed(self, text, final=final)

    monkeypatch.setattr(Scanner, "feed", counting)
    return so_far


async def turns(opened: Any, searched: list[int]) -> list[int]:
    """How many characters were searched between two turns of another task."""
    seen: list[int] = []

    async def other() -> None:
        while True:
            seen.append(searched[0])
            await anyio.lowlevel.checkpoint()

    async with opened as stream, anyio.create_task_group() as group:
        group.start_soon(other)
        async for _ in stream:
            pass
        group.cancel_scope.cancel()
    return [after - before for before, after in zip(seen, [*seen[1:], searched[0]], strict=True)]


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
async def test_between_two_turns_of_other_tasks_only_a_slice_is_searched(
    name: str, mode: Any, searched: list[int]
) -> None:
    pipeline = InOne([*HUGE[name], END]) | sk.Moderate(RULES["phrases"], mode=mode)
    spent = await turns(pipeline.open(arriving([END])), searched)

    # On trio a task may have two turns in a row.
    assert max(spent) <= 3 * SLICE
    if mode == "hold":
        assert sum(spent) >= 18_000


@pytest.mark.parametrize("name", ["a delta", "arguments of a call", "text of a part", "a transcript"])
async def test_a_text_that_takes_long_is_searched_in_smaller_slices(
    name: str, searched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.stages.moderate.thread_time", lambda: searched[0] * 20e-6)
    stage = sk.Moderate(RULES["phrases"])
    spent = await turns((InOne([*HUGE[name], END]) | stage).open(arriving([END])), searched)

    # The first of 512 characters takes 10 ms here, one of 128 less than 3.
    assert max(spent) <= 3 * 512
    assert sum(amount > 3 * 150 for amount in spent) <= 3
    assert list(stage.run([*HUGE[name], END])) != []


def test_the_size_of_a_slice_follows_its_time() -> None:
    pace = Pace()
    assert pace.at_once == 1024
    sizes = [pace.size]
    for seconds in (0.0005, 0.0005, 0.001, 0.010, 0.010, 0.0, 0.0):
        pace.adapt(pace.size, seconds)
        sizes.append(pace.size)

    assert sizes == [512, 1024, 2048, 2048, 1024, 512, 1024, 2048]
    pace.adapt(100, 0.001)
    assert pace.size == 2048
    pace.adapt(100, 0.00001)  # a slice of twice the size would take as long as two of them
    assert (pace.size, pace.at_once) == (4096, 4096)
    pace.adapt(100, 1.0)
    assert (pace.size, pace.at_once) == (64, 64)


@pytest.mark.parametrize("pieces", [4, 500], ids=["small deltas", "large ones"])
async def test_bursts_that_take_long_are_searched_in_slices_from_the_second_one_on(
    pieces: int, searched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.stages.moderate.thread_time", lambda: searched[0] * 20e-6)
    run = sk.Moderate(RULES["phrases"]).fresh()
    bursts = [
        [sk.TextDelta(TEXT[at : at + pieces]) for at in range(start, start + 1_000, pieces)] for start in (0, 1_000)
    ]

    steps = [getattr(run.feed_all(burst), "slices", None) for burst in bursts]

    assert steps[0] is None
    assert steps[1] is not None
    before, spent = searched[0], list[int]()
    for _ in steps[1]:
        spent.append(searched[0] - before)
        before = searched[0]
    assert max(spent) <= 501
    assert sum(spent) >= 1_000


def test_small_bursts_are_searched_at_once() -> None:
    run = sk.Moderate(RULES["phrases"]).fresh()

    assert isinstance(run.feed_all([sk.TextDelta(" word")] * 200), list)


@pytest.mark.parametrize("window", [100, 3_000])
async def test_a_check_of_ones_own_is_called_with_little_more_than_a_slice(window: int) -> None:
    received = [0]

    def check(text: str) -> Iterable[tuple[int, int]]:
        received[0] += len(text)
        return found(text)

    rule = sk.Rule("bird", check=check, window=window, replacement="*")
    pipeline = InOne([sk.TextDelta(TEXT), END]) | sk.Moderate(rule)
    spent = await turns(pipeline.open(arriving([END])), received)

    assert max(spent) <= 2 * 3 * (SLICE + window)
    assert sum(spent) > 2 * len(TEXT)


def pieces(events: list[sk.Event]) -> Iterator[sk.Event]:
    """The same events with their text in small pieces."""
    for event in events:
        match event:
            case sk.TextDelta() | sk.ReasoningDelta():
                yield from (type(event)(event.text[at : at + 700]) for at in range(0, len(event.text), 700))
            case _:
                yield event


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", ["a delta", "arguments of a call", "text of a part", "JSON of a part", "a transcript"])
def test_slices_change_nothing_of_the_result(rule: sk.Rule, name: str) -> None:
    events = [*HUGE[name], sk.Finish("stop"), END]
    whole = sk.Moderate(rule, reports=True).fresh()
    at_once: list[Any] = []
    whole._feed_runs(events, at_once, at_once=True)

    released = list((InOne(events) | sk.Moderate(rule, reports=True)).run([END]))

    assert seen(released) == seen([*at_once, *whole.flush()])
    assert seen(sk.Moderate(rule).run(pieces(events))) == seen(released)


def seen(events: Iterable[Any]) -> tuple[dict[type, str], list[Any]]:
    """All text, and all other events but metrics in their order."""
    texts, others = dict[type, str](), list[Any]()
    for event in events:
        if isinstance(event, sk.ToolCallDelta | AudioDelta | sk.TextDelta | PartDelta):
            carried: Any = (
                getattr(event, "text", None) or getattr(event, "arguments", None) or getattr(event, "transcript", None)
            )
            texts[type(event)] = texts.get(type(event), "") + (carried or "")
        elif not isinstance(event, sk.events.ModerationReport):
            others.append(event)
    return texts, others


def test_what_is_observed_passes_as_it_came_with_its_verdicts_behind_it() -> None:
    rule, event = sk.Rule("bird", ("blue heron",)), sk.TextDelta("x" * 3 * SLICE + "blue heron")
    call = sk.ToolCallDelta(0, "c", "f", json.dumps(["y" * 3 * SLICE + "blue heron"]))

    assert list(sk.Moderate(rule, mode="observe").run([event, call, END])) == [
        event, sk.Redacted("bird", 3 * SLICE, 3 * SLICE + 10),
        call, sk.Redacted("bird", 3 * SLICE + 2, 3 * SLICE + 12, "tool_arguments", tool_index=0),
        END,
    ]  # fmt: skip


def test_a_check_that_fails_in_a_later_slice_ends_the_stream_after_what_was_released() -> None:
    def check(text: str) -> Iterable[tuple[int, int]]:
        if "heron" in text:
            raise ValueError("no")
        return ()

    run = sk.Moderate(sk.Rule("x", check=check, window=10)).run(
        [sk.TextDelta("x" * 3 * SLICE + "heron" + "x" * SLICE), END]
    )
    released: list[Any] = []
    with pytest.raises(ValueError, match="no"):
        for event in run:
            released.append(event)

    assert 2 * SLICE < len("".join(event.text for event in released)) <= 3 * SLICE


@pytest.mark.parametrize("action", ["block", "stop", "replace"])
def test_what_ends_the_text_in_a_later_slice_ends_it(action: Any) -> None:
    rule = sk.Rule("bird", ("heron",), action=action, replacement="*")
    events = [sk.TextDelta("x" * 3 * SLICE + "heron" + "x" * 3 * SLICE), sk.Finish("stop"), END]

    out = list(sk.Moderate(rule).run(events))

    assert "".join(event.text for event in out if isinstance(event, sk.TextDelta)).rstrip("*") == "x" * 3 * SLICE
    assert out[-2:] == [sk.Finish("content_filter"), sk.StreamEnd("moderated")]


async def test_a_checkpoint_in_the_middle_of_a_delta_resumes_behind_it() -> None:
    stage, events = (
        sk.Moderate(RULES["phrases"]),
        [sk.TextDelta(TEXT), sk.TextDelta("blue"), sk.TextDelta(" heron"), END],
    )
    async with arriving(events) | stage as stream:
        released = [await anext(stream)]
        checkpoint = stream.checkpoint()
    async with stage.open(arriving(events[checkpoint["received"] :]), checkpoint=checkpoint) as stream:
        released += [event async for event in stream]

    assert joined(released) == joined(list(stage.run(events)))


@pytest.mark.parametrize("mode", ["hold", "optimistic"])
async def test_for_a_classifier_a_slice_is_split_into_windows_at_a_time(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, feed = [0], Chunker.feed

    def counting(self: Chunker, text: str, *, final: bool = False) -> list[str]:
        split[0] += len(text)
        return feed(self, text, final=final)

    async def classifier(window: Window) -> Decision:
        return Decision("redact", "bird", replacement="*") if "42" in window.text[:20] else Decision()

    monkeypatch.setattr(Chunker, "feed", counting)
    windows = Windows(chars=1_000)
    events: list[sk.Event] = [sk.TextDelta(TEXT), END]
    in_line = (InOne(events) | sk.Classify(classifier, windows=windows, mode=mode)).open(arriving([END]))
    beside = sk.hops.classify(arriving(events), classifier, windows=windows, mode=mode)
    for stream in (in_line, beside):
        before = split[0]
        spent = await turns(stream, split)
        assert max(spent) <= 2 * SLICE
        assert split[0] - before == len(TEXT)
