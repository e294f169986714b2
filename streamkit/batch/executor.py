"""Where shards are run: the interface of local processes and of clusters."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from streamkit.batch.pipeline import AnyPipeline
from streamkit.batch.shard import Shard, ShardOutcome

Done: TypeAlias = tuple[Shard, ShardOutcome | None]
"""A shard and its outcome; `None` if the worker that ran it died."""


@runtime_checkable
class Executor(Protocol):
    """Runs shards on workers, in any order, each with `streamkit.batch.run_shard`.

    A batch calls `start` once, then `submit` and `wait` in turn from one thread, and `close` in any case. It keeps a bounded
    number of shards submitted, runs a shard whose worker died again one input at a time, and writes everything itself, so that an
    executor needs no order, no state and no retries.
    """

    @property
    def workers(self) -> int:
        """How many shards run at once."""
        ...

    def start(self, pipeline: AnyPipeline) -> None:
        """Prepare for this pipeline, which each worker gets once."""
        ...

    def submit(self, shard: Shard) -> None:
        """Let a worker run it. Returns at once."""
        ...

    def wait(self) -> Sequence[Done]:
        """Wait until at least one of the submitted shards is done or its worker has died, and return all that are."""
        ...

    def close(self) -> None:
        """Stop all workers, whatever they do."""
        ...
