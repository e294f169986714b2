"""Timing: when things came, by whatever clock it is told."""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamkit import (
    AsyncStage,
    Event,
    Extract,
    Finish,
    Moderate,
    Parse,
    ReasoningDelta,
    RefusalDelta,
    Rule,
    StreamEnd,
    TextDelta,
    Timing,
    Timings,
    TokenCount,
    ToolCallDelta,
    Usage,
    record,
    replay,
)
from streamkit.core import source as adapters
from streamkit.events import AudioDelta, RoleDelta
from streamkit.latency import Stall
from streamkit.sources import faults

END = StreamEnd("completed", True)


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def test_times_count_from_the_opening() -> None:
    events: list[Event] = [RoleDelta("assistant"), TextDelta("a"), TextDelta("b"), END]

    *passed, timings, end = Timing().run(iter(events), clock=clock(10.0, 10.5, 11.0, 13.0, 14.0, 15.0).__next__)

    assert [*passed, end] == events
    assert timings == Timings(first_byte=0.5, first_content=1.0, deltas=(1.0, 3.0), total=4.0)


def test_all_pieces_of_one_read_came_at_one_time() -> None:
    events: list[Event] = [TextDelta("a"), ReasoningDelta("b"), TextDelta("c"), END]

    *_, timings, _ = Timing().run(events, clock=clock(1.0, 2.5, 9.0).__next__)

    assert timings == Timings(1.5, 1.5, (1.5, 1.5, 1.5), 1.5)


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (TextDelta("a"), True),
        (ReasoningDelta("a"), True),
        (RefusalDelta("a"), True),
        (ToolCallDelta(0, "a"), True),
        (AudioDelta("a"), True),
        (RoleDelta("assistant"), False),
        (Finish("stop"), False),
        (Usage(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_is_part_of_the_answer_is_content(event: Event, counts: bool) -> None:
    *_, timings, _ = Timing().run([event, END], clock=clock(1.0, 2.0, 3.0).__next__)

    assert timings == Timings(1.0, 1.0 if counts else None, (1.0,) if counts else (), 1.0)


def test_a_stream_without_a_last_event_is_timed_at_its_end() -> None:
    assert list(Timing().run([TextDelta("a")], clock=clock(1.0, 2.0, 3.0).__next__)) == [
        TextDelta("a"),
        Timings(1.0, 1.0, (1.0,), 2.0),
    ]


def test_the_times_so_far_can_be_read_in_mid_stream() -> None:
    run = Timing().run(iter([TextDelta("a"), TextDelta("b"), END]), clock=clock(1.0, 2.0, 4.0, 5.0, 6.0).__next__)
    stage = run.stage(Timing)

    seen = [stage.timings for _, _ in zip(run, range(2), strict=False)]

    assert seen == [Timings(1.0, 1.0, (1.0,), 1.0), Timings(1.0, 1.0, (1.0, 3.0), 3.0)]


def test_after_moderation_it_tells_when_text_was_released() -> None:
    events = [TextDelta("blue"), TextDelta(" sky"), END]
    stages = Timing() | Moderate(Rule("x", phrases=("blue heron",))) | Timing()

    run = stages.run(iter(events), clock=clock(0.0, 1.0, 2.0, 3.0, 4.0).__next__)
    generated, released = (event for event in run if isinstance(event, Timings))

    assert (generated.first_content, released.first_content) == (1.0, 1.0)
    assert (generated.first_released, released.first_released) == (1.0, 2.0)


def chunk(content: str) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{content}"}}}}]}}\n\n'


HERON = Rule("x", phrases=("blue heron",), action="block")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            ["blue", " s", "ky"],
            Timings(first_byte=1.0, first_content=1.0, deltas=(2.0, 3.0), total=4.0),
        ),
        (["blue", " heron"], Timings(first_byte=1.0, first_content=1.0, deltas=(), total=2.0)),
        (["blue heron"], Timings(first_byte=1.0, first_content=1.0, deltas=(), total=1.0)),
        (["ok"], Timings(first_byte=1.0, first_content=1.0, deltas=(1.0,), total=2.0)),
    ],
    ids=["held", "blocked", "blocked in the read that brought it", "not held"],
)
def test_placed_last_it_knows_when_content_arrived_and_when_it_was_released(
    pieces: list[str], expected: Timings
) -> None:
    pipeline = Parse() | Extract() | Moderate(HERON) | Timing()
    body = [chunk(piece).encode() for piece in pieces] + [b"data: [DONE]\n\n"]

    run = pipeline.run(iter(body), clock=clock(*map(float, range(9))).__next__)

    assert [event for event in run if isinstance(event, Timings)] == [expected]
    assert expected.first_released == (expected.deltas[0] if expected.deltas else None)


@dataclass
class Slow(AsyncStage[Event, Event]):
    """Keep all text until the end, as a remote check might."""

    _kept: list[Event] = field(default_factory=list[Event], init=False)

    async def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, TextDelta):
            self._kept.append(item)
            return ()
        return (*self._kept, item) if isinstance(item, StreamEnd) else (item,)


@pytest.mark.anyio
async def test_behind_a_stage_that_waits_it_hears_of_content_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "slow.jsonl"
    lines = [{"t": 0.25, "text": ": hello\n\n"}, {"t": 0.5, "text": chunk("a")}, {"t": 2.0, "text": "data: [DONE]\n\n"}]
    path.write_text("\n".join(map(json.dumps, [{"streamkit": "recording/1"}, *lines])))

    async with replay(path) | Parse() | Extract() | Slow() | Timing() as stream:
        timings = [event async for event in stream if isinstance(event, Timings)]

    assert timings == [Timings(first_byte=0.25, first_content=0.5, deltas=(2.0,), total=2.0)]


# The figures


def test_the_gaps_between_deltas_have_percentiles() -> None:
    timings = Timings(0.5, 1.0, (1.0, 1.5, 1.5, 2.0, 5.0), 6.0)

    assert [timings.inter_token_latency(percent) for percent in (0, 50, 75, 100)] == [0.0, 0.5, 1.125, 3.0]
    assert timings.stalls(2.5) == [Stall(after=4, at=2.0, seconds=3.0)]
    assert timings.stalls() == timings.stalls(1.0)


@pytest.mark.parametrize("deltas", [(), (1.0,)])
def test_without_two_deltas_there_is_no_gap(deltas: tuple[float, ...]) -> None:
    timings = Timings(0.5, 1.0, deltas, 6.0)

    assert (timings.inter_token_latency(50), timings.inter_token_latency(100), timings.stalls()) == (None, None, [])


@pytest.mark.parametrize(
    ("events", "tokens", "rate"),
    [
        ([TextDelta("a"), TextDelta("b")], None, None),
        ([TextDelta("a"), TextDelta("b"), Usage(completion_tokens=9)], 9, 8.0),
        ([TextDelta("a"), TextDelta("b"), Usage(prompt_tokens=9)], None, None),
        ([TextDelta("a"), TextDelta("b"), TokenCount(4), TokenCount(3, "reasoning"), TokenCount(2, index=1)], 9, 8.0),
        ([TextDelta("a"), TokenCount(1), TextDelta("b"), TokenCount(3)], 3, 1.0),
        ([TextDelta("a"), TextDelta("b"), Usage(completion_tokens=9), TokenCount(5)], 9, 8.0),
        ([TextDelta("a"), Usage(completion_tokens=9)], 9, None),
        ([TextDelta("a"), TextDelta("b"), Usage(completion_tokens=1)], 1, None),
        ([Usage(completion_tokens=9)], 9, None),
    ],
    ids=["unknown", "usage", "usage without", "count", "running", "both", "one delta", "one token", "no content"],
)
def test_tokens_a_second_are_those_after_the_first_content(
    events: list[Event], tokens: int | None, rate: float | None
) -> None:
    # The first delta comes after 10 s, the second 1 s (or 2, behind a count) later.
    times = clock(0.0, 10.0, *(10.0 + number for number in range(1, 9)))
    *_, timings, _ = Timing().run(iter([*events, END]), clock=times.__next__)

    assert isinstance(timings, Timings)
    assert (timings.tokens, timings.tokens_per_second) == (tokens, rate)


@pytest.mark.parametrize(
    ("shown", "rate"), [([], 4.0), ([ReasoningDelta("hm")], 9.0)], ids=["hidden reasoning", "shown reasoning"]
)
@pytest.mark.parametrize("details", ["completion_tokens_details", "output_tokens_details"])
def test_reasoning_that_was_not_shown_is_no_part_of_the_rate(details: str, shown: list[Event], rate: float) -> None:
    usage = Usage(None, 10, None, {details: {"reasoning_tokens": 5}})
    answer = [*shown, TextDelta("a")] if shown else [TextDelta("a"), Finish("stop")]
    events: list[Event] = [*answer, TextDelta("b"), usage, END]

    *_, timings, _ = Timing().run(iter(events), clock=clock(*(number / 2 for number in range(9))).__next__)

    assert isinstance(timings, Timings)
    assert (timings.tokens, timings.tokens_per_second) == (10, rate)


def test_the_figures_are_ready_for_a_log() -> None:
    timings = Timings(0.25, 0.5, (1.0, 1.5, 3.0), 4.0, tokens=6)

    assert timings.to_dict() == {
        "first_byte": 0.25,
        "first_content": 0.5,
        "first_released": 1.0,
        "total": 4.0,
        "deltas": 3,
        "inter_token_p50": 1.0,
        "inter_token_p95": 1.45,
        "inter_token_p99": 1.49,
        "inter_token_max": 1.5,
        "tokens": 6,
        "tokens_per_second": 2.0,
    }


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "hello.jsonl"
    path.write_text(
        '{"streamkit": "recording/1"}\n'
        '{"t": 0.25, "text": "data: {\\"choices\\":[{\\"delta\\":{\\"role\\":\\"assistant\\"}}]}\\n\\n"}\n'
        '{"t": 0.5, "text": "data: {\\"choices\\":[{\\"delta\\":{\\"content\\":\\"Hel\\"}}]}\\n\\ndata: {\\"choi"}\n'
        '{"t": 1.5, "text": "ces\\":[{\\"delta\\":{\\"content\\":\\"lo\\"}}]}\\n\\n"}\n'
        '{"t": 1.75, "text": "data: [DONE]\\n\\n"}\n'
    )
    return path


PLAIN = "".join(map(chunk, ("Hel", "lo"))) + (
    'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\ndata: [DONE]\n\n'
)
UNKNOWN = Timings(None, None, (), None, 2)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.sse"
    path.write_text(PLAIN)
    return path


async def timed(source: Any) -> Timings:
    async with source | Parse() | Extract() | Timing() as stream:
        (timings,) = [event async for event in stream if isinstance(event, Timings)]
    assert stream.stage(Timing).passed == 2
    return timings


@pytest.mark.anyio
@pytest.mark.parametrize(
    "source",
    [
        lambda path: replay(path),
        lambda path: replay(path, pace=1.0, cut=7),
        lambda path: replay(path, faults=[faults.Cut(len(PLAIN), clean=True)]),
        lambda path: path,
        lambda path: path.open("rb"),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: io.StringIO(path.read_text()),
        lambda path: record(replay(path), path.with_suffix(".jsonl")),
        lambda path: record(path, path.with_suffix(".jsonl")),
    ],
    ids=[
        "replay",
        "paced and cut",
        "faults without time",
        "path",
        "file",
        "bytes",
        "text",
        "recorded",
        "recorded path",
    ],
)
async def test_the_body_of_an_answer_in_a_file_has_no_times(plain: Path, source: Any) -> None:
    with ExitStack() as opened:
        given = source(plain)
        if isinstance(given, io.IOBase):
            opened.enter_context(given)
        assert await timed(adapters.as_source(given)) == UNKNOWN


@pytest.mark.anyio
async def test_a_recording_of_a_body_without_times_has_none_either(plain: Path) -> None:
    again = plain.with_suffix(".jsonl")
    await timed(record(replay(plain), again))

    assert '"timed":false' in again.read_text().splitlines()[0]
    assert await timed(replay(again)) == UNKNOWN


@pytest.mark.anyio
async def test_a_fault_that_takes_time_gives_a_body_a_clock(plain: Path) -> None:
    stalled = await timed(replay(plain, faults=[faults.Pause(len(chunk("Hel")), seconds=5)]))
    dripped = await timed(replay(plain, faults=[faults.Drip(len(PLAIN), 2.0)]))

    assert (stalled.first_content, stalled.deltas, stalled.total) == (0.0, (0.0, 5.0), 5.0)
    assert (dripped.first_byte, dripped.deltas) == (0.0, (0.0, 0.0))


@pytest.mark.anyio
async def test_what_is_unknown_is_none_and_not_zero(plain: Path) -> None:
    timings = await timed(replay(plain))

    assert (
        timings.first_released,
        timings.inter_token_latency(50),
        timings.stalls(0.0),
        timings.tokens_per_second,
    ) == (
        None,
        None,
        [],
        None,
    )
    assert {name for name, value in timings.to_dict().items() if value is not None} == {"tokens"}


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform == "win32", reason="pipes are no files there")
async def test_a_pipe_has_times(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as pipe:
        pipe.write(PLAIN)
    with open(reading, "rb") as pipe:
        timings = await timed(adapters.as_source(pipe))

    assert timings.total is not None
    assert 0 < timings.deltas[0] <= timings.total


def test_before_anything_came_the_total_is_that_of_the_opening() -> None:
    run = Timing().run(iter([TextDelta("a")]), clock=clock(1.0, 2.0, 3.0).__next__)

    assert run.stage(Timing).timings == Timings(None, None, (), 0.0)


@pytest.mark.anyio
async def test_a_replay_has_the_times_of_its_recording(recording: Path) -> None:
    async with replay(recording) | Parse() | Extract() | Timing() as stream:
        timings = [event async for event in stream if isinstance(event, Timings)]

    assert timings == [Timings(first_byte=0.25, first_content=0.5, deltas=(0.5, 1.5), total=1.75)]
