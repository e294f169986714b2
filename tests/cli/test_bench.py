"""`streamkit bench`: the rows and their columns; no values are compared, because they depend on the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamkit.cli.main import main

ROWS = ["floor", "Parse", "Parse | Extract", "… | Accumulate", "… | Moderate(100 phrases) | Accumulate"]


def test_each_pipeline_is_measured_for_both_ways_of_reading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--events", "20", "--rounds", "1", "--json", "--stage", 'Smooth("word")']) == 0

    rows = json.loads(capsys.readouterr().out)
    names = [*ROWS, '… | Accumulate | Count("gpt-4o")', "yours"]
    assert [(row["read"], row["pipeline"]) for row in rows] == [
        *(("one event", name) for name in names),
        *(("64 KiB", name) for name in names),
    ]
    assert all(row["microseconds"] > 0 and row["events_per_second"] > 0 for row in rows)
    assert [row["times_floor"] for row in rows if row["pipeline"] == "floor"] == [1.0, 1.0]


def test_a_recorded_answer_of_another_dialect_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "data/dialects/anthropic-messages.sse"

    assert main(["bench", str(path), "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["read", "pipeline", "µs/event", "x", "floor", "events/s"]
    assert len(lines) == 3 + 2 * 6


@pytest.mark.parametrize(
    ("text", "problem"),
    [("hello\n\n", "expected an answer as server-sent events with JSON, found none"), ("data: {nonsense\n\n", "JSON")],
)
def test_what_is_no_answer_is_an_error_before_anything_is_measured(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sse").write_text(text)

    assert main(["bench", str(tmp_path / "a.sse")]) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert problem in errors
