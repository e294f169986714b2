"""The index of the examples, and what each says of itself."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES

FILES = sorted(EXAMPLES.glob("*.py"))


def test_the_index_names_each_example() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+\.py)\]", index, re.MULTILINE)) == [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_says_in_its_first_lines_how_it_is_run_and_where_it_listens(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    head = text.split('"""')[1]
    assert f"\n    python docs/examples/{file.name} " in head
    assert set(re.findall(r"port=(\d+)", text)) <= set(re.findall(r"http://127\.0\.0\.1:(\d+)", head))


def test_two_examples_can_listen_at_the_same_time() -> None:
    ports = Counter(
        port
        for file in EXAMPLES.rglob("*.py")
        for port in set(re.findall(r"port\W+(\d{4})", file.read_text(encoding="utf-8")))
    )
    assert [port for port, files in ports.items() if files > 1 and port != "8080"] == []


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if "sys.exit(__doc__)" in file.read_text(encoding="utf-8")],
    ids=lambda file: file.name,
)
def test_an_example_without_arguments_prints_how_it_is_run(file: Path) -> None:
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"python docs/examples/{file.name} " in done.stderr
    assert "Traceback" not in done.stderr
