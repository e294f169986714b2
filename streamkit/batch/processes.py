"""Runs shards in local processes.

Neither pool of the standard library fits: if a worker is killed, `multiprocessing.Pool` never returns, and `ProcessPoolExecutor`
fails all pending work. Here each worker has its own pipe, whose end shows which shard was lost.
"""

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from streamkit.batch.executor import Done
from streamkit.batch.pipeline import AnyPipeline, pickled, unpickled
from streamkit.batch.shard import Shard, ShardOutcome, run_shard
from streamkit.errors import PipelineError

STARTS = 3
"""Consecutive workers that end before they are ready until the batch fails."""
CLOSE_SECONDS = 5.0
READY = "ready"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: "Connection[Any, Any]"
    ready: bool = False
    shard: Shard | None = None


class Processes:
    """Local worker processes, by default one per core. A worker that dies is replaced.

    They are started with `spawn` on every platform, so a script that starts a batch needs `if __name__ == "__main__"`.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = cores() if workers is None else workers
        self._context = multiprocessing.get_context("spawn")
        self._pipeline = b""
        self._workers: list[_Worker] = []
        self._queue: deque[Shard] = deque()
        self._failed_starts = 0

    def start(self, pipeline: AnyPipeline) -> None:
        """Start the workers. A pipeline that can't be pickled raises `PipelineError`."""
        self._pipeline = pickled(pipeline)
        self._workers = [self._started() for _ in range(self.workers)]

    def submit(self, shard: Shard) -> None:
        """Queue a shard for the next idle worker."""
        self._queue.append(shard)
        self._dispatch()

    def wait(self) -> Sequence[Done]:
        """Wait for outcomes. Raises `PipelineError` if the workers can't load the pipeline, or die before they are ready."""
        done: list[Done] = []
        while not done:
            ready = cast("list[Any]", wait([worker.connection for worker in self._workers]))
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                done += self._receive(worker)
            self._dispatch()
        return done

    def close(self) -> None:
        """Stop the workers: idle ones by closing their pipe, busy ones with SIGKILL."""
        for worker in self._workers:
            worker.connection.close()
            if worker.shard is not None or not worker.ready:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(CLOSE_SECONDS)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers = []

    def _dispatch(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.shard is None and self._queue:
                shard = self._queue.popleft()
                # Also set if the send fails: then the worker is dead, and its pipe reports that.
                worker.shard = shard
                try:
                    worker.connection.send(shard)
                except OSError:
                    continue

    def _receive(self, worker: _Worker) -> list[Done]:
        try:
            message: object = worker.connection.recv()
        # A truncated message raises one of these.
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._replace_ended(worker)
        if not worker.ready:
            if message != READY:
                raise PipelineError(f"a worker can't make the pipeline: {message}")
            worker.ready, self._failed_starts = True, 0
            return []
        if not isinstance(message, ShardOutcome):
            raise PipelineError(str(message))
        shard, worker.shard = worker.shard, None
        return [(cast("Shard", shard), message)]

    def _replace_ended(self, worker: _Worker) -> list[Done]:
        worker.connection.close()
        worker.process.join()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise PipelineError(
                    f"{STARTS} workers in a row ended before they were ready (exit code {worker.process.exitcode}); a script "
                    'that starts a batch needs `if __name__ == "__main__":` around it'
                )
        worker.process.close()
        self._workers[self._workers.index(worker)] = self._started()
        return [(worker.shard, None)] if worker.shard is not None else []

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        # A daemon process ends with this process; if this one is killed, the closed pipe ends the worker.
        process = self._context.Process(target=work, args=(theirs, self._pipeline), name="streamkit-batch", daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


def work(connection: "Connection[Any, Any]", data: bytes) -> None:
    """Main function of a worker: load the pipeline, then run shards until the other end of the pipe is closed."""
    # Ctrl-C reaches all processes of a terminal, but the parent stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pipeline = unpickled(data)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    try:
        connection.send(READY)
        while True:
            connection.send(_outcome(pipeline, connection.recv()))
    # The parent has ended, so the outcome is not needed.
    except (EOFError, OSError):
        return


def _outcome(pipeline: AnyPipeline, shard: Shard) -> ShardOutcome | str:
    try:
        return run_shard(pipeline, shard)
    except PipelineError as error:
        return str(error)
