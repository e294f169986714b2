"""Four type checkers agree: `ok_*.py` is clean, and of `bad_*.py` only the lines marked `# error` are errors.

`# error (pyright, mypy)` marks a line on which they differ: an error for those that are named, and for no other.
"""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("ok_*.py"), *HERE.glob("bad_*.py")])
CHECKERS = ("pyright", "mypy", "ty", "pyrefly")
MARK = re.compile(r"  # error(?: \(([a-z, ]+)\): .+)?$")
Lines = dict[str, set[int]]


def marked(checker: str) -> Lines:
    lines: Lines = {file.name: set() for file in FILES}
    for file in FILES:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if (mark := MARK.search(line)) and checker in (mark[1] or ", ".join(CHECKERS)).split(", "):
                lines[file.name].add(number)
    return lines


def run(*command: str) -> str:
    checked = subprocess.run([*command, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 1, checked.stdout + checked.stderr  # 1 is: it worked, and there are errors
    return checked.stdout


def module(name: str) -> tuple[str, ...]:
    return sys.executable, "-m", name


def program(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def collected(found: list[tuple[str, int]]) -> Lines:
    lines: Lines = {file.name: set() for file in FILES}
    for path, number in found:
        if (name := Path(path).name) in lines:
            lines[name].add(number)
    return lines


def test_pyright_finds_the_marked_lines_and_no_other() -> None:
    report = json.loads(run(*module("pyright"), "--outputjson", "--pythonpath", sys.executable))

    errors = [
        (str(diagnostic["file"]), int(diagnostic["range"]["start"]["line"]) + 1)
        for diagnostic in report["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    ]
    assert collected(errors) == marked("pyright"), report["generalDiagnostics"]


def test_mypy_finds_the_marked_lines_and_no_other() -> None:
    output = run(*module("mypy"), "--strict", "--output=json")

    report = [json.loads(line) for line in output.splitlines() if line[:1] == "{"]
    errors = [(str(found["file"]), int(found["line"])) for found in report if found["severity"] == "error"]
    assert collected(errors) == marked("mypy"), output


def test_ty_finds_the_marked_lines_and_no_other() -> None:
    output = run(program("ty"), "check", "--python", sys.prefix, "--output-format", "concise")

    errors = [(path, int(number)) for path, number in re.findall(r"^([^:]+):(\d+):\d+: error", output, re.MULTILINE)]
    assert collected(errors) == marked("ty"), output


def test_pyrefly_finds_the_marked_lines_and_no_other() -> None:
    output = run(program("pyrefly"), "check", "--python-interpreter-path", sys.executable, "--output-format", "json")

    report = json.loads(output)["errors"]
    errors = [(str(found["path"]), int(found["line"])) for found in report if found["severity"] == "error"]
    assert collected(errors) == marked("pyrefly"), output


@pytest.mark.parametrize("checker", CHECKERS)
def test_each_bad_file_has_marked_lines(checker: str) -> None:
    lines = {name: numbers for name, numbers in marked(checker).items() if name.startswith("bad")}

    assert lines
    assert all(lines.values())


@pytest.mark.parametrize("checker", ["pyright", "mypy"])
def test_the_good_files_are_clean_for_the_checkers_of_this_project(checker: str) -> None:
    assert not any(numbers for name, numbers in marked(checker).items() if name.startswith("ok"))
