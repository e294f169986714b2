"""Commands in a real pseudo-terminal: the live line, the cursor, Ctrl-C, and a conversation."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.cli import terminal as terminals

COMMAND = (sys.executable, "-W", "error", "-m", "streamkit")
HIDE, SHOW, CTRL_C, CTRL_D = "\x1b[?25l", "\x1b[?25h", "\x03", "\x04"


def terminal(*arguments: str) -> AbstractContextManager[terminals.Terminal]:
    return terminals.terminal(*COMMAND, *arguments)


def slow(folder: Path) -> str:
    """A recording whose second piece arrives after an hour."""
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
