"""Batches of 20,000 recordings and more: the work of two workers beside that of one, random kills, and memory. `make soak`.

python -m tests.batch.soak [--recordings 20000] [--memory 100000]
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

from streamkit import batch
from tests.batch import generated, killers

SHARD = 50
KILLS = 5
MORE_CPU = 1.15
MORE_MEMORY = 1.05


class Ran(NamedTuple):
    """The resources used by a process and its children."""

    code: int
    seconds: float
    cpu: float
    parent_mib: float
    worker_mib: float


def start(archive: Path, out: Path, workers: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.batch.soak", "--run", str(archive), str(out), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]", began: float) -> Ran:
    assert process.stdout is not None
    printed = process.stdout.read()
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    parent, worker = json.loads(printed) if printed else (0.0, 0.0)
    return Ran(process.returncode, time.monotonic() - began, used.ru_utime + used.ru_stime, parent, worker)


def timed(archive: Path, out: Path, workers: int) -> Ran:
    began = time.monotonic()
    ran = finish(start(archive, out, workers), began)
    assert ran.code == 0, ran
    return ran


def once(archive: str, out: str, workers: int) -> None:
    """The process that is measured and killed."""
    import resource

    batch.run(archive, killers.pipeline(), out=out, shard=SHARD, workers=workers, progress=lambda progress: None)
    # Not `ru_maxrss` of this process, which begins with the memory of the one that started it.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps([int(peak) / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))


def files(out: Path) -> list[bytes]:
    return [Path(f"{out}{end}").read_bytes() for end in ("", ".dead", ".journal")]


def await_shards(out: Path, shards: int) -> None:
    """Wait until the journal has so many shards, which are written one after the other."""
    journal = Path(f"{out}.journal")
    while not journal.exists() or journal.read_bytes().count(b"\n") <= shards:
        time.sleep(0.01)


def kill_parent(archive: Path, out: Path, shards: int, random: Random) -> None:
    """Start the batch, and kill its parent when so many shards are written, at any moment of the next ones."""
    process, began = start(archive, out, 2), time.monotonic()
    await_shards(out, shards)
    time.sleep(random.uniform(0.0, 0.2))
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process, began).code == -signal.SIGKILL


def child_of(parent: int) -> int:
    """A worker: a child that is no resource tracker."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("the batch has no worker")


def kill_workers(archive: Path, out: Path, shards: int, random: Random) -> None:
    """One run, in which workers are killed from outside at any moment."""
    process, began = start(archive, out, 2), time.monotonic()
    for number in range(1, KILLS + 1):
        await_shards(out, number * shards)
        time.sleep(random.uniform(0.0, 0.2))
        os.kill(child_of(process.pid), signal.SIGKILL)
    assert finish(process, began).code == 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recordings", type=int, default=20_000)
    parser.add_argument("--memory", type=int, default=100_000)
    parser.add_argument("--run", nargs=3)
    options = parser.parse_args()
    if options.run:
        return once(options.run[0], options.run[1], int(options.run[2]))
    random = Random(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.recordings:
            work(Path(folder), options.recordings, random)
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder), options.memory)
    return None


def work(folder: Path, number: int, random: Random) -> None:
    archive = generated.write(folder / "archive", number, deltas=30)
    one = timed(archive, folder / "one", 1)
    two = timed(archive, folder / "two", 2)
    for name, ran in (("one worker", one), ("two workers", two)):
        print(
            f"{name:12} {number / ran.seconds:6.0f}/s  {ran.cpu:6.1f} s of CPU  {ran.parent_mib:4.0f} + {ran.worker_mib:4.0f} MiB"
        )
    assert files(folder / "one") == files(folder / "two")
    assert two.cpu <= MORE_CPU * one.cpu, f"{two.cpu / one.cpu:.2f} times the CPU"
    print(f"the same bytes, {two.cpu / one.cpu:.2f} times the CPU")
    step = number // SHARD // (KILLS + 2)
    for each in range(KILLS):
        kill_parent(archive, folder / "parent", (each + 1) * step, random)
    timed(archive, folder / "parent", 2)
    assert files(folder / "parent") == files(folder / "one")
    print(f"the same bytes after {KILLS} kills of the parent")
    kill_workers(archive, folder / "workers", step, random)
    assert files(folder / "workers") == files(folder / "one")
    print(f"the same bytes after {KILLS} kills of workers")


def memory(folder: Path, most: int) -> None:
    """Peak memory over a tenth and over all of the inputs."""
    peaks: list[Ran] = []
    for number in (most // 10, most):
        archive = generated.write(folder / str(number), number, deltas=2)
        peaks.append(timed(archive, folder / f"out{number}", 2))
        print(
            f"{number:7} inputs  {peaks[-1].parent_mib:.1f} + {peaks[-1].worker_mib:.1f} MiB  {number / peaks[-1].seconds:.0f}/s"
        )
    small, large = peaks
    assert large.parent_mib <= MORE_MEMORY * small.parent_mib
    assert large.worker_mib <= MORE_MEMORY * small.worker_mib
    print("peak memory does not grow")


if __name__ == "__main__":
    main()
