"""The work of one worker: run a shard of inputs through the pipeline. Every executor, local or remote, calls `run_shard`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import anyio
import msgspec

from streamkit.batch.inputs import Input, Place
from streamkit.batch.pipeline import AnyPipeline, unpickled
from streamkit.batch.result import DeadLetter, Result, read
from streamkit.errors import PipelineError

CARRIED_BYTES = 8 * 1024 * 1024
"""A shard ends early when its inputs contain this much data, as lines of gzip files do."""
_encode = msgspec.json.Encoder().encode


class Shard(msgspec.Struct, frozen=True):
    """Inputs that are processed together. `files` is the number of files read up to its end.

    Relative paths start at `folder`. For a shard of a single input cut from another shard, `alone` is its position there.
    """

    number: int
    """The number of the shard, from 0, in the order of the inputs."""
    inputs: tuple[Input, ...]
    """The inputs, in order."""
    folder: str
    files: float = 0.0
    alone: int | None = None

    def only(self, position: int) -> "Shard":
        """Return a shard of only the input at `position`."""
        return Shard(self.number, (self.inputs[position],), self.folder, self.files, position)


class ShardOutcome(msgspec.Struct, frozen=True):
    """The outcome of a shard: encoded lines of results and dead letters, and counts."""

    results: bytes = b""
    """Results as JSON lines."""
    dead_letters: bytes = b""
    """Dead letters as JSON lines."""
    ends: dict[str, int] = {}
    """Number of results per end reason."""
    dead: int = 0
    """Number of dead letters."""

    def __add__(self, other: "ShardOutcome") -> "ShardOutcome":
        return ShardOutcome(
            self.results + other.results,
            self.dead_letters + other.dead_letters,
            dict(Counter(self.ends) + Counter(other.ends)),
            self.dead + other.dead,
        )


def shards(places: Iterable[Place], size: int, folder: str) -> Iterator[Shard]:
    """Divide the inputs into shards of `size`. Deterministic."""
    inputs: list[Input] = []
    number, carried, files = 0, 0, 0.0
    for place in places:
        inputs.append(place.input)
        carried, files = carried + len(place.input.data or b""), place.files
        if len(inputs) == size or carried >= CARRIED_BYTES:
            yield Shard(number, tuple(inputs), folder, files)
            number, carried = number + 1, 0
            inputs.clear()
    if inputs:
        yield Shard(number, tuple(inputs), folder, files)


def run_shard(pipeline: AnyPipeline, shard: Shard) -> ShardOutcome:
    """Run all inputs of the `shard` through the pipeline, in order. It has no side effects, so it may be repeated.

    Raises `PipelineError` if the pipeline can't run here at all.
    """
    return anyio.run(_run, pipeline, shard)


def run_pickled(pipeline: bytes, shard: Shard) -> ShardOutcome:
    """Run a `shard` through a `pipeline` pickled by `batch.pickled`, which each process loads once: the task of a cluster.

    Raises `PipelineError` if the pipeline can't be loaded, and like `run_shard`.
    """
    return run_shard(_loaded(pipeline), shard)


@lru_cache(maxsize=1)
def _loaded(pipeline: bytes) -> AnyPipeline:
    try:
        return unpickled(pipeline)
    except Exception as error:
        raise PipelineError(f"a worker can't make the pipeline: {type(error).__name__}: {error}") from error


async def _run(pipeline: AnyPipeline, shard: Shard) -> ShardOutcome:
    lines: list[bytes] = []
    dead: list[bytes] = []
    ends: Counter[str] = Counter()
    for found in shard.inputs:
        match await read(pipeline, found, shard.folder):
            case Result() as result:
                lines.append(line_of(result))
                ends[result.end] += 1
            case DeadLetter() as letter:
                dead.append(line_of(letter))
    return ShardOutcome(b"".join(lines), b"".join(dead), dict(ends), len(dead))


def died(found: Input, times: int) -> ShardOutcome:
    """Return the outcome of an input on which `times` workers died."""
    letter = DeadLetter(
        input=found.name,
        offset=found.offset,
        line=found.line,
        error="WorkerDied",
        reason=f"the worker process died while it read this input, {times} times",
    )
    return ShardOutcome(dead_letters=line_of(letter), dead=1)


def line_of(found: Result | DeadLetter) -> bytes:
    """Encode a line of JSON; the same on every worker."""
    try:
        return _encode(found) + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate, which a model may write, has no UTF-8 encoding and must be escaped. (RFC 8259, 8.2)
        return json.dumps(msgspec.to_builtins(found), separators=(",", ":")).encode() + b"\n"
