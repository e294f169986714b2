"""Commands in a real pseudo-terminal: the live line, the cursor, Ctrl-C, and a conversation."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
COMMAND = (sys.executable, "-W", "error", "-m", "streamkit")
HIDE, SHOW, CTRL_C, CTRL_D = "\x1b[?25l", "\x1b[?25h", "\x03", "\x04"
PATIENCE = 60.0
"""Seconds until a test gives up; none of them waits for a time to pass."""


class Terminal:
    """A command that runs in a terminal of its own."""

    def __init__(self, process: int, descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor
        self.output = ""

    def until(self, text: str) -> str:
        """Read until that is shown, and give what came until then, with what was left of the time before."""
        end = time.monotonic() + PATIENCE
        while text not in self.output and self._read(end):
            pass
        before, found, self.output = self.output.partition(text)
        assert found, f"expected {text!r}, found {before!r}"
        return before + found

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and what was shown since the last `until`."""
        limit = time.monotonic() + PATIENCE
        while self._read(limit):
            pass
        _, status = os.waitpid(self._process, 0)
        return os.waitstatus_to_exitcode(status), self.output

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
        try:
            data = os.read(self._descriptor, 65536) if ready else b""
        # Linux has an error for the end of a terminal.
        except OSError:
            data = b""
        self.output += data.decode()
        return bool(data)


@contextmanager
def terminal(*arguments: str) -> Generator[Terminal]:
    process, descriptor = pty.fork()
    if process == 0:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
        environment.pop("NO_COLOR", None)
        try:
            os.execve(COMMAND[0], [*COMMAND, *arguments], environment)
        finally:
            os._exit(127)
    try:
        yield Terminal(process, descriptor)
    finally:
        os.close(descriptor)


def slow(folder: Path) -> str:
    """A recording of which the second piece comes after an hour."""
    chunk = 'data: {"choices":[{"index":0,"delta":{"content":"Half an answer"}}]}\n\n'
    lines = [{"streamkit": "recording/1"}, {"t": 0, "text": chunk}, {"t": 3600, "text": chunk}]
    path = folder / "slow.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_an_answer_is_shown_with_a_line_below_it_and_the_cursor_is_there_again() -> None:
    with terminal("run", "demo", "Count to 10") as shown:
        before = shown.until("completed")
        code, after = shown.end()

    assert code == 0
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9, 10." in before
    assert HIDE in before
    assert after.rindex(SHOW) > after.rfind(HIDE)


def test_ctrl_c_ends_an_answer_with_the_text_so_far_and_the_cursor(tmp_path: Path) -> None:
    with terminal("replay", slow(tmp_path)) as shown:
        shown.until("Half an answer")
        shown.write(CTRL_C)
        code, after = shown.end()

    assert code == 130
    assert "Traceback" not in after
    assert "Half an answer" in after
    assert after.rindex(SHOW) > after.rfind(HIDE)


def test_a_chat_goes_on_after_ctrl_c_and_ends_with_ctrl_d(tmp_path: Path) -> None:
    with terminal("chat", "demo") as shown:
        shown.until("> ")
        shown.write("Count to 9999\r")
        shown.until(" 12, ")
        shown.write(CTRL_C)
        shown.until("> ")
        shown.write("1+1\r")
        answer = shown.until("completed")
        shown.until("> ")
        shown.write(CTRL_D)
        code, after = shown.end()

    assert code == 0
    assert "2" in answer
    assert "Traceback" not in after


def test_without_a_prompt_nothing_is_waited_for() -> None:
    with terminal("run", "demo") as shown:
        code, output = shown.end()

    assert code == 2
    assert "expected PROMPT, as an argument or on standard input, or a request as --body FILE" in output


def test_a_timeline_is_drawn_in_a_terminal(tmp_path: Path) -> None:
    with terminal("inspect", slow(tmp_path)) as shown:
        code, output = shown.end()

    assert code == 0
    assert "timeline" in output
    assert "3600.00 s" in output
