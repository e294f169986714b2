"""The packages for clusters, which are not installed here: what can be said of them without one. `make cluster` runs them."""

import ast
import tomllib
from pathlib import Path

import pytest

from streamkit import batch

ROOT = Path(__file__).parents[2]
CLUSTERS = {"dask": "Dask", "ray": "Ray"}
every = pytest.mark.parametrize("name", CLUSTERS)


def source(name: str) -> str:
    return (ROOT / f"plugins/streamkit-{name}/src/streamkit_{name}/__init__.py").read_text(encoding="utf-8")


@every
def test_it_is_an_executor_in_less_than_80_lines(name: str) -> None:
    (made,) = [node for node in ast.parse(source(name)).body if isinstance(node, ast.ClassDef)]
    methods = {node.name for node in made.body if isinstance(node, ast.FunctionDef)}

    assert made.name == CLUSTERS[name]
    assert methods - {"__init__"} == {name for name in vars(batch.Executor) if not name.startswith("_")}
    assert len(source(name).splitlines()) < 80


@every
def test_it_is_typed_described_licensed_and_run_by_make(name: str) -> None:
    folder = ROOT / f"plugins/streamkit-{name}"
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["name"] == folder.name
    assert (folder / f"src/streamkit_{name}/py.typed").is_file()
    assert (folder / "LICENSE").is_file()
    assert "```python" in (folder / "README.md").read_text(encoding="utf-8")
    assert f"plugins/{folder.name}" in (ROOT / "Makefile").read_text(encoding="utf-8")
