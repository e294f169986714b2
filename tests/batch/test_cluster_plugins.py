"""The executors of clusters, whose packages only `make cluster` has."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

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
