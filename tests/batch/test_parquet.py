"""Results as Parquet."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet  # pyright: ignore

import streamkit as sk
from streamkit import batch
from streamkit.batch import parquet as writing
from tests.batch import generated
from tests.batch.inline import Inline
from tests.batch.test_job import PIPELINE


def test_the_rows_are_those_of_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROWS", 7)
    archive = generated.write(tmp_path / "archive", 20)

    summary = batch.run(archive, PIPELINE, out=tmp_path / "out.parquet", executor=Inline())
    batch.run(archive, PIPELINE, out=tmp_path / "out.jsonl", executor=Inline())

    table = parquet.ParquetFile(tmp_path / "out.parquet")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert table.num_row_groups == 3
    assert summary.results == 18
    rows = table.read().to_pylist()
    for row in rows:
        for name in writing.JSON:
            row[name] = json.loads(row[name]) if row[name] is not None else None
    assert rows == lines


def test_numbers_are_numbers_and_a_cost_keeps_its_digits(tmp_path: Path) -> None:
    prices = {"currency": "USD", "models": {"gpt-4o-mini": {"input": "0.15", "output": "0.60"}}}
    pipeline = sk.Parse() | sk.Extract() | sk.Count(counter=len, prices=sk.tokens.Prices(prices))
    name, content = generated.content(1, 12)
    (tmp_path / name).write_bytes(content)

    batch.run(tmp_path / name, pipeline, out=tmp_path / "out.parquet", executor=Inline())

    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["completion_tokens"] == 12
    assert row["first_token_seconds"] == 0.25
    assert Decimal(row["cost"]) == (9 * Decimal("0.15") + 12 * Decimal("0.60")) / 1_000_000


def test_it_is_written_again_if_the_batch_was_killed_before(tmp_path: Path) -> None:
    archive = generated.write(tmp_path / "archive", 4)
    batch.run(archive, PIPELINE, out=tmp_path / "out.parquet", executor=Inline())
    before = (tmp_path / "out.parquet").read_bytes()
    (tmp_path / "out.parquet").unlink()
    (tmp_path / "out.parquet.unfinished").write_bytes(before[:100])

    summary = batch.run(archive, PIPELINE, out=tmp_path / "out.parquet", executor=Inline())

    assert summary.resumed == 4
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert not (tmp_path / "out.parquet.unfinished").exists()


def test_without_pyarrow_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    archive = generated.write(tmp_path / "archive", 1)

    with pytest.raises(
        sk.PipelineError, match=r"writing \.parquet needs pyarrow: install the extra 'parquet' of streamkit-llm"
    ):
        batch.run(archive, PIPELINE, out=tmp_path / "out.parquet", executor=Inline())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"{\n", b"\xff\n"])
def test_lines_that_are_no_results_are_an_error_and_leave_the_file_as_it_was(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "out.jsonl").write_bytes(line)
    (tmp_path / "out.parquet").write_bytes(b"before")

    with pytest.raises(sk.PipelineError, match=r"out\.jsonl has lines that are no results"):
        writing.write_parquet(tmp_path / "out.jsonl", tmp_path / "out.parquet")
    with pytest.raises(sk.errors.RecordingError, match=r"can't be written: .*No such file or directory"):
        writing.write_parquet(tmp_path / "out.jsonl", tmp_path / "nowhere/out.parquet")

    assert (tmp_path / "out.parquet").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.parquet"]
