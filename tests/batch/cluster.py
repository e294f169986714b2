"""Batches on a cluster of two workers, one of which is killed: the same bytes as in processes. `make cluster`.

python -m tests.batch.cluster [dask|ray] [--recordings 2000]
"""

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamkit import batch
from streamkit.batch import Progress
from tests.batch import generated, killers

SHARD = 25


def files(out: Path) -> list[bytes]:
    return [Path(f"{out}{end}").read_bytes() for end in ("", ".dead")]


def timed(archive: Path, out: Path, *more: Any, **options: Any) -> batch.Summary:
    summary = batch.run(archive, killers.pipeline(*more), out=out, shard=SHARD, **options)
    assert summary.results
    print(
        f"{out.name:12} {summary.inputs / summary.seconds:6.0f}/s  {summary.results} results, {summary.dead_letters} dead letters"
    )
    return summary


def once(kill: Callable[[], None]) -> Callable[[Progress], None]:
    """Kill a worker when a third is done."""
    left = [kill]

    def report(progress: Progress) -> None:
        if progress.share > 0.3 and left:
            left.pop()()

    return report


def on_dask(archive: Path, folder: Path) -> None:
    import dask  # type: ignore # pyright: ignore
    from distributed import Client, LocalCluster  # type: ignore # pyright: ignore
    from streamkit_dask import Dask

    # Otherwise Dask lets an input kill four workers before it gives up, each time.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:

        def kill() -> None:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        check(archive, folder, "dask", lambda: Dask(client), kill)


def on_ray(archive: Path, folder: Path) -> None:
    import ray  # type: ignore # pyright: ignore
    from ray.cluster_utils import Cluster  # type: ignore # pyright: ignore
    from streamkit_ray import Ray

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        check(archive, folder, "ray", Ray, lambda: cluster.remove_node(nodes.pop(), allow_graceful=False))
    finally:
        ray.shutdown()
        cluster.shutdown()


def check(archive: Path, folder: Path, name: str, executor: Callable[[], Any], kill: Callable[[], None]) -> None:
    timed(archive, folder / name, executor=executor())
    assert files(folder / name) == files(folder / "processes")
    timed(archive, folder / f"{name}-killed", executor=executor(), progress=once(kill))
    assert files(folder / f"{name}-killed") == files(folder / "processes")
    few = generated.write(folder / f"few-{name}", 8)
    for each, options in ((f"{name}-deadly", {"executor": executor()}), (f"deadly-{name}", {"workers": 2})):
        timed(few, folder / each, killers.KillOn("Charlie"), **options)
    assert files(folder / f"{name}-deadly") == files(folder / f"deadly-{name}")
    print(f"{name}: the same bytes, also with a worker killed and with inputs that kill theirs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("where", nargs="*", default=["dask", "ray"])
    parser.add_argument("--recordings", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = generated.write(Path(folder) / "archive", options.recordings, deltas=30)
        timed(archive, Path(folder) / "processes", workers=2)
        for where in options.where:
            began = time.monotonic()
            {"dask": on_dask, "ray": on_ray}[where](archive, Path(folder))
            print(f"{where}: {time.monotonic() - began:.0f} s with its start")


if __name__ == "__main__":
    main()
