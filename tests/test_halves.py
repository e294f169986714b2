"""`make test`: two processes, and their end."""

import subprocess
import sys
from typing import Any

import pytest

from tests import halves


class Half:
    """A process that ends when it is killed."""

    def __init__(self, command: list[str], **_: Any) -> None:
        self.killed = False

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and not self.killed:
            raise subprocess.TimeoutExpired("pytest", timeout)
        return -9

    def kill(self) -> None:
        self.killed = True


def test_ctrl_c_ends_both_halves_with_the_exit_code_130_and_no_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started: list[Half] = []

    def start(command: list[str], **options: Any) -> Half:
        started.append(Half(command, **options))
        return started[-1]

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["halves"])
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", interrupted)

    assert halves.main() == 130
    assert [half.killed for half in started] == [True]
    assert capfd.readouterr() == ("", "")
