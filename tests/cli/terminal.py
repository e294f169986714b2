"""A command in a real pseudo-terminal."""

from __future__ import annotations

import codecs
import os
import select
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
PATIENCE = 60.0
"""Timeout of a test in seconds; no test waits for time to pass."""


class Terminal:
    """A command that runs in its own terminal."""

    def __init__(self, process: int, descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor
        self.output = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def until(self, text: str) -> str:
        """Read until `text` is shown, and return the output since the last call."""
        end = time.monotonic() + PATIENCE
        while text not in self.output and self._read(end):
            pass
        before, found, self.output = self.output.partition(text)
        assert found, f"expected {text!r}, found {before!r}"
        return before + found

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def end(self) -> tuple[int, str]:
        """Return the exit code, and the output since the last `until`. A command that does not end is killed."""
        limit = time.monotonic() + PATIENCE
        while self._read(limit):
            pass
        if time.monotonic() >= limit:
            os.kill(self._process, signal.SIGKILL)
        _, status = os.waitpid(self._process, 0)
        return os.waitstatus_to_exitcode(status), self.output

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
        try:
            data = os.read(self._descriptor, 65536) if ready else b""
        # On Linux, the end of a terminal is an error.
        except OSError:
            data = b""
        self.output += self._decode(data)
        return bool(data)


@contextmanager
def terminal(*command: str) -> Generator[Terminal]:
    """Run the command (a path and its arguments) in a terminal of 100 columns."""
    process, descriptor = pty.fork()
    if process == 0:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
        environment.pop("NO_COLOR", None)
        try:
            os.execve(command[0], command, environment)
        finally:
            os._exit(127)
    try:
        yield Terminal(process, descriptor)
    finally:
        os.close(descriptor)
