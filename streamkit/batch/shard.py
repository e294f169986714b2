"""The work of one worker: a shard of inputs through the pipeline. Any executor, here or on a cluster, runs this function."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator

import anyio
import msgspec

from streamkit.batch.inputs import Input, Place
from streamkit.batch.pipeline import AnyPipeline
from streamkit.batch.result import DeadLetter, Result, read

CARRIED_BYTES = 8 * 1024 * 1024
"""A shard ends early when its inputs carry that much themselves, as lines of gzip files do."""
_encode = msgspec.json.Encoder().encode


class Shard(msgspec.Struct, frozen=True):
    """Inputs that are read together. `files` is how many files are read when it is done.

    `folder` is where relative paths begin. `alone` is the position of its one input in the shard that it was cut from.
    """

    number: int
    """From 0, in the order of the inputs."""
    inputs: tuple[Input, ...]
    """In their order."""
    folder: str
    files: float = 0.0
    alone: int | None = None

    def only(self, position: int) -> "Shard":
        """A shard of one of the inputs."""
        return Shard(self.number, (self.inputs[position],), self.folder, self.files, position)


class ShardOutcome(msgspec.Struct, frozen=True):
    """The outcome of a shard: lines of results and of dead letters, ready to be written, and the number of each end."""

    results: bytes = b""
    """JSON lines."""
    dead_letters: bytes = b""
    """JSON lines."""
    ends: dict[str, int] = {}
    """How many results ended for each reason."""
    dead: int = 0
    """How many dead letters there are."""

    def __add__(self, other: "ShardOutcome") -> "ShardOutcome":
        return ShardOutcome(
            self.results + other.results,
            self.dead_letters + other.dead_letters,
            dict(Counter(self.ends) + Counter(other.ends)),
            self.dead + other.dead,
        )


def shards(places: Iterable[Place], size: int, folder: str) -> Iterator[Shard]:
    """Cut the inputs into shards of `size`, the same ones each time."""
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
    """Read all inputs of the `shard` through the pipeline, in order. It has no effect but what it returns, so that it may run
    any number of times.

    `PipelineError` if the pipeline can't be run here at all.
    """
    return anyio.run(_run, pipeline, shard)


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
    """The outcome of an input on which so many workers died."""
    letter = DeadLetter(
        input=found.name,
        offset=found.offset,
        line=found.line,
        error="WorkerDied",
        reason=f"the worker process died while it read this input, {times} times",
    )
    return ShardOutcome(dead_letters=line_of(letter), dead=1)


def line_of(found: Result | DeadLetter) -> bytes:
    """The line of JSON, the same wherever it is made."""
    try:
        return _encode(found) + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair, which a model may write, has no UTF-8 but an escape. (RFC 8259, 8.2)
        return json.dumps(msgspec.to_builtins(found), separators=(",", ":")).encode() + b"\n"
