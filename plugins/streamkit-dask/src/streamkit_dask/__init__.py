"""Batches of streamkit on a Dask cluster.

from streamkit import batch
from streamkit_dask import Dask

batch.run("/shared/recordings", pipeline, out="results.jsonl", executor=Dask("tcp://scheduler:8786"))
"""

import pickle
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from distributed import Client, KilledWorker, wait

from streamkit.batch import Done, Shard, ShardOutcome, run_shard

__all__ = ["Dask"]


class Dask:
    """Runs shards on the cluster of `client`, or at that address; a client that was given stays open.

    Workers read the inputs themselves, so that paths mean the same on each. Give each one thread (`--nthreads 1`), as reading
    is work for a core.
    """

    def __init__(self, client: Client | str) -> None:
        self._own = isinstance(client, str)
        self._client: Any = Client(client) if isinstance(client, str) else client
        self._pipeline = b""
        self._shards: dict[Any, Shard] = {}

    @property
    def workers(self) -> int:
        """The threads of all workers at this moment, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    def start(self, pipeline: Any) -> None:
        """Wait for a first worker. Each makes the pipeline once."""
        self._pipeline = pickle.dumps(pipeline)
        self._client.wait_for_workers(1)

    def submit(self, shard: Shard) -> None:
        """Let a worker run it."""
        self._shards[self._client.submit(_run, self._pipeline, shard, pure=False)] = shard

    def wait(self) -> Sequence[Done]:
        """Wait for the next outcomes. An exception in a worker is raised here."""
        done = wait(list(self._shards), return_when="FIRST_COMPLETED").done
        return [(self._shards.pop(future), _outcome(future)) for future in done]

    def close(self) -> None:
        """Cancel what is under way."""
        self._client.cancel(list(self._shards), force=True)
        self._shards.clear()
        if self._own:
            self._client.close()


def _outcome(future: Any) -> ShardOutcome | None:
    if future.status == "finished":
        found: ShardOutcome = future.result()
        return found
    # Lost or cancelled is a shard whose worker went away; Dask gives up after several of them (`allowed-failures`).
    error = future.exception() if future.status == "error" else None
    if error is None or isinstance(error, KilledWorker):
        return None
    raise error


def _run(pipeline: bytes, shard: Shard) -> ShardOutcome:
    return run_shard(_made(pipeline), shard)


@lru_cache(maxsize=1)
def _made(pipeline: bytes) -> Any:
    return pickle.loads(pipeline)
