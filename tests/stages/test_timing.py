"""Timing: when things came, by whatever clock it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit import (
    AudioDelta,
    Event,
    Extract,
    Finish,
    Moderate,
    Parse,
    ReasoningDelta,
    RefusalDelta,
    RoleDelta,
    Rule,
    StreamEnd,
    TextDelta,
    Timing,
    Timings,
    ToolCallDelta,
    Usage,
    replay,
)

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

    assert (generated.first_content, released.first_content) == (1.0, 2.0)


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


@pytest.mark.anyio
async def test_a_replay_has_the_times_of_its_recording(recording: Path) -> None:
    async with replay(recording) | Parse() | Extract() | Timing() as stream:
        timings = [event async for event in stream if isinstance(event, Timings)]

    assert timings == [Timings(first_byte=0.25, first_content=0.5, deltas=(0.5, 1.5), total=1.75)]
