"""Rules about names and docstrings that no linter has."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "streamkit").rglob("*.py"))
FILES = [
    *PACKAGE,
    *sorted(path for path in (ROOT / "plugins").rglob("*.py") if not path.is_relative_to(ROOT / "plugins" / "build")),
    *sorted((ROOT / "tests").rglob("*.py")),
]


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings of modules, classes and functions, and strings below attributes, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def vague(source: str) -> list[int]:
    return [line for line, text in docstrings(source) if re.match(r"What(ever)?\b", text)]


def test_no_docstring_begins_with_what() -> None:
    # It says what a thing is or does: "Return the …", "The … of …".
    found = [f"{file.relative_to(ROOT)}:{line}" for file in FILES for line in vague(file.read_text(encoding="utf-8"))]

    assert found == []


def test_a_class_name_exists_once() -> None:
    places = defaultdict[str, list[str]](list)
    for file in PACKAGE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""What a stage does."""', [1]),
        ('class A:\n    """Whatever comes."""\n    a = 1\n    """What it counts."""', [2, 4]),
        ('def f():\n    """Return what was received."""', []),
        ('"""Whatsoever."""', []),
        ('a = "What a string"', []),
    ],
)
def test_docstrings_are_found(source: str, lines: list[int]) -> None:
    assert vague(source) == lines
