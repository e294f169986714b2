"""The examples as modules."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
Load: TypeAlias = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def load() -> Load:
    def module(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec
        assert spec.loader
        loaded = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return module
