"""The executors of clusters, whose packages only `make cluster` has."""

import ast
import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

import streamkit as sk
from streamkit import batch
from streamkit.batch.inputs import Input

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_every_name_that_a_plugin_imports_from_streamkit_exists(name: str) -> None:
    source = (PLUGINS / f"streamkit-{name}/src/streamkit_{name}/__init__.py").read_text()
    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "streamkit"
        for alias in node.names
    ]
    assert imported
    assert [pair for pair in imported if not hasattr(import_module(str(pair[0])), pair[1])] == []


def without_cluster(name: str, monkeypatch: pytest.MonkeyPatch, *packages: str) -> ModuleType:
    """Import a plugin from its source, with its cluster's packages replaced by objects that do nothing."""
    for package in packages:
        monkeypatch.setitem(sys.modules, package, MagicMock())
    spec = importlib.util.spec_from_file_location(
        "plugin", PLUGINS / f"{name}/src/{name.replace('-', '_')}/__init__.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    return without_cluster("streamkit-ray", monkeypatch, "ray", "ray.exceptions").Ray()


def dask(monkeypatch: pytest.MonkeyPatch) -> Any:
    return without_cluster("streamkit-dask", monkeypatch, "distributed").Dask(MagicMock())


def processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    return batch.Processes(1)


@pytest.mark.parametrize("executor", [ray, dask, processes], ids=["ray", "dask", "processes"])
def test_a_pipeline_that_has_no_name_for_a_function_is_refused_by_every_executor(
    executor: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline: Any = sk.Parse() | sk.Extract() | sk.ops.Map[sk.Event, sk.Event](lambda event: event)

    with pytest.raises(sk.PipelineError, match="the pipeline can't be sent to worker processes: a function in it"):
        executor(monkeypatch).start(pipeline)


def test_a_task_loads_a_pickled_pipeline_and_runs_a_shard(tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_text('data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n')
    shard = batch.Shard(0, (Input("a.sse"),), str(tmp_path))

    outcome = batch.run_pickled(batch.pickled(batch.whole()), shard)

    assert b'"text":"Hi"' in outcome.results
    assert outcome == batch.run_shard(batch.whole(), shard)


def test_a_task_that_can_not_load_the_pipeline_says_so() -> None:
    missing = b"cno_such_module\nPipeline\n."

    with pytest.raises(
        sk.PipelineError,
        match="a worker can't make the pipeline: ModuleNotFoundError: No module named 'no_such_module'",
    ):
        batch.run_pickled(missing, batch.Shard(0, (), ""))
