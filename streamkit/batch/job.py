"""Runs one pipeline over many recordings: `run`."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import msgspec

from streamkit.batch.executor import Executor
from streamkit.batch.inputs import check, files, name_as_text, places
from streamkit.batch.journal import Journal, JournalSettings, path_of
from streamkit.batch.parquet import check_pyarrow, write_parquet
from streamkit.batch.pipeline import AnyPipeline, AnyStage, whole
from streamkit.batch.processes import Processes
from streamkit.batch.shard import Shard, ShardOutcome, died, shards
from streamkit.core.describe import to_data
from streamkit.core.stage import parts
from streamkit.errors import PipelineError, RecordingError
from streamkit.plugins.config_files import as_path, name_of
from streamkit.plugins.pipeline_files import from_file

SHARD = 50
"""Default inputs per shard: enough to amortize its journal line and transfer, few enough to repeat if a worker dies."""
WINDOW = 4
"""Shards per worker that are in flight or not written yet; bounds memory."""
DEATHS = 3
"""Worker deaths on a single input before it is a dead letter; one death may have another cause."""


class Progress(msgspec.Struct, frozen=True):
    """The progress of a batch. `share` is the fraction of files done; earlier runs did `resumed` inputs and `resumed_share`."""

    inputs: int
    """Inputs done, including earlier runs."""
    dead: int
    """Number of dead letters among them."""
    share: float
    seconds: float
    """Seconds since the start of this run."""
    resumed: int = 0
    resumed_share: float = 0.0

    @property
    def rate(self) -> float:
        """Inputs per second in this run."""
        return (self.inputs - self.resumed) / self.seconds if self.seconds > 0 else 0.0


class Summary(msgspec.Struct, frozen=True):
    """The totals of a complete batch. `ends` counts the results by end reason; `seconds` is the duration of this run."""

    inputs: int
    """Number of inputs."""
    results: int
    """Number of results."""
    dead_letters: int
    """Number of dead letters."""
    ends: dict[str, int]
    seconds: float
    resumed: int = 0
    """Inputs done by earlier runs."""


Report: TypeAlias = Callable[[Progress], None]


def run(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    pipeline: AnyStage | str | PathLike[str] | None = None,
    *,
    out: str | PathLike[str],
    dead_letters: str | PathLike[str] | None = None,
    workers: int | None = None,
    shard: int = SHARD,
    restart: bool = False,
    progress: Report | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Run the pipeline over all inputs, and write one `Result` per input to `out` as JSON lines, in the order of the inputs.

    `inputs`: files, folders and globs; files may be gzip, and `.jsonl` files may have one exchange per line. `pipeline`: a
    pipeline or a pipeline file; missing `Parse`, `Extract`, `Accumulate` and `Timing` are added. `workers`: the number of
    processes, by default one per core; each receives `shard` inputs at a time. `executor` runs the shards elsewhere. An `out`
    that ends in `.parquet` is written at the end. `progress` is called with a `Progress` after each shard written.

    Unreadable inputs are written to `dead_letters` (default: `out` with `.dead` appended). `out.journal` records what is written:
    after a crash or a kill, the same call resumes, and the resulting files are identical byte for byte. `restart` discards
    earlier output. Resuming with other inputs, another pipeline or shard size raises `PipelineError`, as do invalid arguments;
    missing inputs raise `RecordingError`.
    """
    named = _paths(inputs)
    check(named)
    _check_number("shard", shard)
    if workers is not None:
        _check_number("workers", workers)
    made = whole(from_file(pipeline) if isinstance(pipeline, str | PathLike) else pipeline)
    target = as_path(out)
    parquet = target.suffix == ".parquet"
    if parquet:
        check_pyarrow()
    lines = target.with_name(f"{target.name}.jsonl") if parquet else target
    letters = as_path(dead_letters) if dead_letters is not None else target.with_name(f"{target.name}.dead")
    _check_apart(named, {target, lines}, letters, path_of(lines))
    settings = JournalSettings(tuple(map(name_as_text, named)), shard, _digest(made), _version())
    with Journal(lines, letters, settings, restart=restart) as journal:
        batch = _RunningBatch(named, journal, [target, lines, letters, path_of(lines)], progress)
        batch.run(made, shard, executor or Processes(workers))
        if parquet:
            write_parquet(lines, target)
        return batch.summary()


@dataclass
class _PendingShard:
    """A shard in the window: its outcome, or the inputs that are run one at a time because a worker died."""

    shard: Shard
    outcome: ShardOutcome | None = None
    left: deque[int] = field(default_factory=deque[int])
    sum: ShardOutcome = field(default_factory=ShardOutcome)
    deaths: int = 0


class _RunningBatch:
    """The main loop, in the process that writes. Only a bounded window of shards is in memory."""

    def __init__(self, inputs: Sequence[str], journal: Journal, own: Sequence[Path], report: Report | None) -> None:
        self._inputs = inputs
        self._own = [str(path) for path in own]
        self._journal = journal
        self._report = report
        self._window: dict[int, _PendingShard] = {}
        self._resumed = journal.inputs
        self._began = time.monotonic()
        self._total = 0
        self._resumed_files = 0.0

    def run(self, pipeline: AnyPipeline, size: int, executor: Executor) -> None:
        # Walking the folders first gives the total; it is skipped without a progress callback.
        self._total = sum(1 for _ in files(self._inputs, self._own)) if self._report else 0
        todo = self._todo(shards(places(self._inputs, self._own), size, os.getcwd()))
        first = next(todo, None)
        if first is None:
            if not self._journal.inputs:
                raise RecordingError("expected recordings, found none: the files hold no exchange")
            return
        try:
            executor.start(pipeline)
            self._loop(_chained(first, todo), executor)
        finally:
            executor.close()

    def summary(self) -> Summary:
        journal = self._journal
        seconds = time.monotonic() - self._began
        results = journal.inputs - journal.dead
        return Summary(journal.inputs, results, journal.dead, dict(journal.ends.most_common()), seconds, self._resumed)

    def _todo(self, all: Iterator[Shard]) -> Iterator[Shard]:
        """Yield the shards that are not written yet, after checking that the written ones are unchanged."""
        number = 0
        for number, shard in enumerate(all, 1):
            if number > self._journal.shards:
                yield shard
            else:
                self._journal.check(shard)
                self._resumed_files = shard.files
        self._journal.check_number(number)

    def _loop(self, todo: Iterator[Shard], executor: Executor) -> None:
        while True:
            while len(self._window) < WINDOW * executor.workers and (shard := next(todo, None)):
                self._window[shard.number] = _PendingShard(shard)
                executor.submit(shard)
            if not self._window:
                return
            for shard, outcome in executor.wait():
                if following := self._take(self._window[shard.number], shard, outcome):
                    executor.submit(following)
            self._write()

    def _take(self, entry: _PendingShard, shard: Shard, outcome: ShardOutcome | None) -> Shard | None:
        """Store the outcome of a shard; return the part of it to run next, if any."""
        if shard.alone is None:
            if outcome is not None:
                entry.outcome = outcome
                return None
            # One of the inputs may have caused this: each is run alone, so that the others get their results.
            entry.left.extend(range(len(shard.inputs)))
            return entry.shard.only(entry.left[0])
        if outcome is None:
            entry.deaths += 1
            if entry.deaths < DEATHS:
                return shard
            outcome = died(shard.inputs[0], DEATHS)
        entry.sum, entry.deaths = entry.sum + outcome, 0
        entry.left.popleft()
        if entry.left:
            return entry.shard.only(entry.left[0])
        entry.outcome = entry.sum
        return None

    def _write(self) -> None:
        """Write the finished outcomes that are next in input order."""
        while self._window:
            number, entry = next(iter(self._window.items()))
            if entry.outcome is None:
                return
            self._journal.write(entry.shard, entry.outcome)
            del self._window[number]
            if self._report:
                self._report(self._progress(entry.shard.files))

    def _progress(self, files: float) -> Progress:
        journal, seconds = self._journal, time.monotonic() - self._began
        return Progress(
            journal.inputs, journal.dead, self._share(files), seconds, self._resumed, self._share(self._resumed_files)
        )

    def _share(self, files: float) -> float:
        return min(1.0, files / self._total) if self._total else 0.0


def _chained(first: Shard, others: Iterator[Shard]) -> Iterator[Shard]:
    yield first
    yield from others


def _paths(inputs: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[str]:
    several = [inputs] if isinstance(inputs, str | PathLike) else list(inputs)
    return [os.fspath(as_path(path)) for path in several]


def _check_apart(inputs: Sequence[str], results: set[Path], *others: Path) -> None:
    own = [os.path.realpath(path) for path in (*results, *others)]
    if len(set(own)) < len(own):
        raise PipelineError("expected different files for results, dead letters and journal, found one twice")
    for name in inputs:
        if os.path.realpath(name) in own:
            raise PipelineError(f"{name_of(Path(name))} is an input, and would be written over")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PipelineError(f"{name}: expected a number of at least 1, found {value!r}")


def _version() -> str:
    try:
        return version("streamkit-llm")
    except PackageNotFoundError:
        return "unknown"


def _digest(pipeline: AnyPipeline) -> str:
    """Return a digest of the pipeline, so that a batch can be resumed only with the same pipeline."""
    try:
        data = msgspec.json.encode(to_data(pipeline), order="deterministic")
    except PipelineError:
        # A pipeline without a data form is identified by the classes of its stages.
        data = " ".join(f"{type(stage).__module__}:{type(stage).__qualname__}" for stage in parts(pipeline)).encode()
    return blake2b(data, digest_size=8).hexdigest()
