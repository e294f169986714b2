"""Batches in processes: the same bytes for any number of workers, and after real kills of the parent and of workers."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import streamkit as sk
from streamkit import batch
from streamkit.batch import Progress
from tests.batch import generated, killers

SHARD = 25
ROOT = Path(__file__).parents[2]


def files(out: Path) -> tuple[bytes, ...]:
    return tuple(Path(f"{out}{end}").read_bytes() for end in ("", ".dead", ".journal"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated.write(tmp_path_factory.mktemp("archive"), 500)


@pytest.fixture(scope="module")
def expected(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    """The output of one worker."""
    out = tmp_path_factory.mktemp("expected") / "out"
    summary = batch.run(archive, killers.pipeline(), out=out, shard=SHARD, workers=1)
    assert (summary.inputs, summary.results, summary.dead_letters) == (500, 450, 50)
    return files(out)


def test_several_workers_write_the_same_bytes_as_one(
    archive: Path, expected: tuple[bytes, ...], tmp_path: Path
) -> None:
    batch.run(archive, killers.pipeline(), out=tmp_path / "out", shard=SHARD, workers=3)

    assert files(tmp_path / "out") == expected


def test_five_kills_of_the_parent_end_in_the_same_bytes(
    archive: Path, expected: tuple[bytes, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(5):
        command = [sys.executable, "-m", "tests.batch.killers", str(archive), str(out), "2", str(SHARD)]
        # The workers have the other end of standard error: this returns when they are gone too.
        killed = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, timeout=120)
        assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, b"")

    summary = batch.run(archive, killers.pipeline(), out=out, shard=SHARD, workers=2)

    assert files(out) == expected
    assert summary.resumed == 5 * 3 * SHARD


def test_five_kills_of_workers_end_in_the_same_bytes(
    archive: Path, expected: tuple[bytes, ...], tmp_path: Path
) -> None:
    killed: list[int] = []
    working = tmp_path / "working"
    working.mkdir()

    def report(progress: Progress) -> None:
        # Only workers that have begun: of those that never do, a batch gives up.
        alive = {child.pid for child in multiprocessing.active_children()} & {int(name) for name in os.listdir(working)}
        if len(killed) < 5 and (left := sorted(alive - set(killed))):
            os.kill(left[0], signal.SIGKILL)
            killed.append(left[0])

    pipeline = killers.pipeline(killers.Registered(str(working)))
    batch.run(archive, pipeline, out=tmp_path / "out", shard=SHARD, workers=2, progress=report)

    assert files(tmp_path / "out")[:2] == expected[:2]
    # How many workers die depends on how fast the others are.
    assert killed


def test_workers_that_die_in_the_middle_of_an_input_end_in_the_same_results(
    archive: Path, expected: tuple[bytes, ...], tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    given = iter(range(5))

    def report(progress: Progress) -> None:
        if not os.listdir(orders) and (number := next(given, None)) is not None:
            (orders / str(number)).touch()

    pipeline = killers.pipeline(killers.KillOnce(str(orders)))
    batch.run(archive, pipeline, out=tmp_path / "out", shard=SHARD, workers=2, progress=report)

    assert files(tmp_path / "out")[:2] == expected[:2]
    # How many workers die depends on how fast the others are.
    assert next(given, 5) > 0


def test_an_input_that_kills_every_worker_is_a_dead_letter(tmp_path: Path) -> None:
    archive = generated.write(tmp_path / "archive", 20)

    summary = batch.run(archive, killers.pipeline(killers.KillOn("Charlie")), out=tmp_path / "out", shard=8, workers=2)

    dead = [json.loads(line) for line in (tmp_path / "out.dead").read_bytes().splitlines()]
    assert [(Path(row["input"]).name[:6], row["error"]) for row in dead] == [
        ("000000", "WorkerDied"),
        ("000005", "ProtocolError"),
        ("000007", "WorkerDied"),
        ("000011", "RecordingError"),
        ("000014", "WorkerDied"),
    ]
    assert summary.results == 15


def test_no_process_is_left(archive: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def report(progress: Progress) -> None:
        raise Enough

    with pytest.raises(Enough):
        batch.run(archive, killers.pipeline(), out=tmp_path / "out", workers=2, progress=report)

    assert multiprocessing.active_children() == []


def test_a_pipeline_that_has_no_name_for_a_function_is_refused(archive: Path, tmp_path: Path) -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.ops.Map(lambda event: event)

    with pytest.raises(sk.PipelineError, match="the pipeline can't be sent to worker processes: a function in it"):
        batch.run(archive, pipeline, out=tmp_path / "out", workers=1)


@dataclass
class NotHere(sk.Stage[sk.Event, sk.Event]):
    """Can be made only in the process of the test."""

    made_in: int

    def fresh(self) -> "NotHere":
        if os.getpid() != self.made_in:
            raise sk.PipelineError("no table here")
        return NotHere(self.made_in)


class Dies:
    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (7,)


@dataclass
class DiesAtOnce(NotHere):
    bomb: Dies


def test_a_pipeline_that_no_worker_can_make_stops_the_batch(archive: Path, tmp_path: Path) -> None:
    pipeline = sk.Parse() | sk.Extract() | NotHere(os.getpid())

    with pytest.raises(sk.PipelineError, match="a worker can't make the pipeline: PipelineError: no table here"):
        batch.run(archive, pipeline, out=tmp_path / "out", workers=2)
    assert (tmp_path / "out").read_bytes() == b""


@dataclass
class Imports(sk.Stage[sk.Event, sk.Event]):
    """Needs a module that is not there."""

    def feed(self, item: sk.Event) -> list[sk.Event]:
        import no_such_module  # type: ignore # pyright: ignore

        return [item, no_such_module]


def test_a_module_that_workers_lack_stops_the_batch(archive: Path, tmp_path: Path) -> None:
    pipeline = sk.Parse() | sk.Extract() | Imports()

    with pytest.raises(sk.PipelineError, match="can't run the pipeline: ModuleNotFoundError: No module named 'no_such"):
        batch.run(archive, pipeline, out=tmp_path / "out", workers=1)
    assert (tmp_path / "out.dead").read_bytes() == b""


def test_workers_that_die_before_they_are_ready_stop_the_batch(archive: Path, tmp_path: Path) -> None:
    pipeline = sk.Parse() | sk.Extract() | DiesAtOnce(os.getpid(), Dies())

    with pytest.raises(sk.PipelineError, match=r"3 workers in a row ended before they were ready \(exit code 7\)"):
        batch.run(archive, pipeline, out=tmp_path / "out", workers=1)
