"""The interface to run shards on local processes or on a cluster."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from streamkit.batch.pipeline import AnyPipeline
from streamkit.batch.shard import Shard, ShardOutcome

Done: TypeAlias = tuple[Shard, ShardOutcome | None]
"""A shard and its outcome; `None` if its worker died."""


@runtime_checkable
class Executor(Protocol):
    """Runs shards on workers, in any order, each with `streamkit.batch.run_shard`.

    A batch calls `start` once, then `submit` and `wait` alternately from one thread, and always `close`. It bounds the number of
    submitted shards, reruns a shard whose worker died one input at a time, and writes all output itself, so an executor
    need not preserve order, persist state or retry.
    """

    @property
    def workers(self) -> int:
        """The number of shards that run at once."""
        ...

    def start(self, pipeline: AnyPipeline) -> None:
        """Prepare the workers for this pipeline; each receives it once."""
        ...

    def submit(self, shard: Shard) -> None:
        """Queue a shard for a worker. Returns immediately."""
        ...

    def wait(self) -> Sequence[Done]:
        """Wait until at least one submitted shard is done or its worker has died; return all such shards."""
        ...

    def close(self) -> None:
        """Stop all workers, including busy ones."""
        ...
