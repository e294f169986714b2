"""The first block of the README, pasted into `python -m asyncio` as it is printed there, with Enter twice after it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.terminal import terminal
from tests.docs.pages import BLOCK

ROOT = Path(__file__).parents[2]
# As a terminal sends a paste to a program that asks for it, which Python's console does from 3.13 on.
BEGIN, END = ("\x1b[200~", "\x1b[201~") if sys.version_info >= (3, 13) else ("", "")


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_block_runs_when_it_is_pasted(name: str) -> None:
    block = BLOCK.findall((ROOT / name).read_text("utf-8"))[0].rstrip("\n")

    with terminal(sys.executable, "-m", "asyncio") as shown:
        shown.until(">>> ")
        shown.write(f"{BEGIN}{block}{END}\r\r")
        output = shown.until("and nobody else should hear of it.")
        output += shown.until(">>> ")
        shown.write("exit()\r")
        shown.end()

    assert "[redacted], and nobody else should hear of it." in output
    assert "42" not in output.rpartition("flush=True)")[2]
    assert "Error" not in output
