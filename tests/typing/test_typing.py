"""Pyright and mypy, both strict, say the same: `ok_*.py` is clean, and of `bad_*.py` just the lines marked `# error`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("ok_*.py"), *HERE.glob("bad_*.py")])
Lines = dict[str, set[int]]


def marked() -> Lines:
    return {
        file.name: {
            number for number, line in enumerate(file.read_text().splitlines(), 1) if line.rstrip().endswith("# error")
        }
        for file in FILES
    }


def run(*command: str) -> str:
    checked = subprocess.run(
        [sys.executable, "-m", *command, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr  # 1 is: it worked, and there are errors
    return checked.stdout


def test_pyright_finds_the_marked_lines_and_no_other() -> None:
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable))

    found: Lines = {file.name: set() for file in FILES}
    for diagnostic in report["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            found[Path(diagnostic["file"]).name].add(diagnostic["range"]["start"]["line"] + 1)
    assert found == marked(), report["generalDiagnostics"]


def test_mypy_finds_the_marked_lines_and_no_other() -> None:
    report = [json.loads(line) for line in run("mypy", "--strict", "--output=json").splitlines() if line[:1] == "{"]

    found: Lines = {file.name: set() for file in FILES}
    for diagnostic in report:
        if diagnostic["severity"] == "error" and (name := Path(diagnostic["file"]).name) in found:
            found[name].add(diagnostic["line"])
    assert found == marked(), report


@pytest.mark.parametrize("kind", ["ok", "bad"])
def test_lines_are_marked_in_the_bad_files_only(kind: str) -> None:
    lines = {name: numbers for name, numbers in marked().items() if name.startswith(kind)}

    assert lines
    assert all(bool(numbers) == (kind == "bad") for numbers in lines.values())
