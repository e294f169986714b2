"""An executor without processes, for tests of what is around it."""

from collections.abc import Callable, Sequence

from streamkit.batch import Done, Shard, run_shard
from streamkit.batch.pipeline import AnyPipeline


class Inline:
    """Runs shards in this process, the newest first. `dies` says on which inputs a worker would die."""

    workers = 3

    def __init__(self, dies: Callable[[str], bool] = lambda name: False) -> None:
        self.submitted: list[Shard] = []
        self.most = 0
        self.ran: list[tuple[int, int | None]] = []
        self.closed = False
        self._dies = dies

    def start(self, pipeline: AnyPipeline) -> None:
        self._pipeline = pipeline

    def submit(self, shard: Shard) -> None:
        self.submitted.append(shard)
        self.most = max(self.most, len(self.submitted))

    def wait(self) -> Sequence[Done]:
        shard = self.submitted.pop()
        self.ran.append((shard.number, shard.alone))
        if any(self._dies(found.path) for found in shard.inputs):
            return [(shard, None)]
        return [(shard, run_shard(self._pipeline, shard))]

    def close(self) -> None:
        self.closed = True
