"""Batches of streamkit on a Ray cluster, as Ray tasks.

from streamkit import batch
from streamkit_ray import Ray

batch.run("/shared/recordings", pipeline, out="results.jsonl", executor=Ray(address="auto"))
"""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from streamkit.batch import Done, Shard, ShardOutcome, pickled, run_pickled

__all__ = ["Ray"]


class Ray:
    """Runs shards as tasks on the Ray cluster that this process is connected to, or else on that of `ray.init(**options)`.

    Workers read the inputs themselves, so paths must be valid on each node. A task takes one CPU, Ray's default. Ray does not
    retry it: if a worker dies, the batch reruns the inputs of its shard one at a time.
    """

    def __init__(self, **options: Any) -> None:
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(**options)
        self._task: Any = ray.remote(max_retries=0)(run_pickled)
        self._pipeline: Any = None
        self._shards: dict[Any, Shard] = {}

    @property
    def workers(self) -> int:
        """The current number of CPUs of all nodes, at least one."""
        return max(1, int(ray.cluster_resources().get("CPU", 0)))

    def start(self, pipeline: Any) -> None:
        """Store the pickled pipeline; each worker unpickles it once. Raises `PipelineError` if it can't be pickled."""
        self._pipeline = pickled(pipeline)

    def submit(self, shard: Shard) -> None:
        """Submit a shard as a task."""
        self._shards[self._task.remote(self._pipeline, shard)] = shard

    def wait(self) -> Sequence[Done]:
        """Wait for the next outcome. An exception in a worker is raised here."""
        done, _ = ray.wait(list(self._shards), num_returns=1)
        return [(self._shards.pop(task), _outcome(task)) for task in done]

    def close(self) -> None:
        """Cancel the tasks in flight, and disconnect from Ray if this object connected to it."""
        for task in self._shards:
            ray.cancel(task, force=True)
        self._shards.clear()
        if self._own:
            ray.shutdown()


def _outcome(task: Any) -> ShardOutcome | None:
    try:
        return ray.get(task)  # type: ignore[no-any-return]
    except (WorkerCrashedError, NodeDiedError, OutOfMemoryError):
        return None
    except RayTaskError as error:
        raise error.cause from error
