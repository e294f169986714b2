"""Batches of streamkit on a Dask cluster.

from streamkit import batch
from streamkit_dask import Dask

batch.run("/shared/recordings", pipeline, out="results.jsonl", executor=Dask("tcp://scheduler:8786"))
"""

from collections.abc import Sequence
from typing import Any

from distributed import Client, KilledWorker, wait

from streamkit.batch import Done, Shard, ShardOutcome, pickled, run_pickled

__all__ = ["Dask"]


class Dask:
    """Runs shards on the cluster of `client`, or at that address; a given `Client` stays open.

    Workers read the inputs themselves, so paths must be valid on each. Start each with one thread (`--nthreads 1`), because
    reading is CPU-bound.
    """

    def __init__(self, client: Client | str) -> None:
        self._own = isinstance(client, str)
        self._client: Any = Client(client) if isinstance(client, str) else client
        self._pipeline = b""
        self._shards: dict[Any, Shard] = {}

    @property
    def workers(self) -> int:
        """The current number of threads of all workers, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    def start(self, pipeline: Any) -> None:
        """Pickle the pipeline, which each worker unpickles once, and wait for the first worker.

        Raises `PipelineError` if the pipeline can't be pickled.
        """
        self._pipeline = pickled(pipeline)
        self._client.wait_for_workers(1)

    def submit(self, shard: Shard) -> None:
        """Submit a shard as a task."""
        self._shards[self._client.submit(run_pickled, self._pipeline, shard, pure=False)] = shard

    def wait(self) -> Sequence[Done]:
        """Wait for the next outcomes. An exception in a worker is raised here."""
        done = wait(list(self._shards), return_when="FIRST_COMPLETED").done
        return [(self._shards.pop(future), _outcome(future)) for future in done]

    def close(self) -> None:
        """Cancel the tasks in flight, and close the client if this object created it."""
        self._client.cancel(list(self._shards), force=True)
        self._shards.clear()
        if self._own:
            self._client.close()


def _outcome(future: Any) -> ShardOutcome | None:
    if future.status == "finished":
        found: ShardOutcome = future.result()
        return found
    # The worker of a lost or cancelled task has died; Dask gives up after several workers (`allowed-failures`).
    error = future.exception() if future.status == "error" else None
    if error is None or isinstance(error, KilledWorker):
        return None
    raise error
