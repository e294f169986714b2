"""The text and the line in a terminal: what is drawn, and when."""

from __future__ import annotations

import asyncio
import io
import re
import sys

import pytest
from rich.console import Console

from streamkit.cli import live
from streamkit.cli.live import Drawn, Plain, cost_line, line, shown
from streamkit.tokens import Prices


def consoles(*, out: bool, err: bool, width: int = 20) -> tuple[Console, Console, io.StringIO]:
    """Return two consoles on one file, each a terminal or not."""
    file = io.StringIO()
    made = [
        Console(file=file, width=width, height=10, force_terminal=terminal, force_interactive=terminal, highlight=False)
        for terminal in (out, err)
    ]
    return made[0], made[1], file


def screen(output: str) -> list[str]:
    """Return the terminal's screen after this output, without colors."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", output):
        if part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif part == "\r":
            column = 0
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1] or 1)
        elif part == "\x1b[2K":
            rows[row] = ""
        elif not part.startswith("\x1b"):
            rows[row] = rows[row][:column] + part + rows[row][column + len(part) :]
            column += len(part)
    return rows


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.asyncio
async def test_without_a_terminal_there_is_the_text_and_nothing_else(
    encoded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err, file = consoles(out=encoded, err=False)

    async with shown(out, err, lambda: "a line") as text:
        text.write("Hel")
        assert capsys.readouterr().out == "Hel"
        text.write("lo\x1b[2J")

    assert (capsys.readouterr().out, file.getvalue()) == ("lo\x1b[2J\n", "")


@pytest.mark.asyncio
async def test_with_the_text_in_a_file_the_line_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    out, err, file = consoles(out=False, err=True)

    async with shown(out, err, lambda: "2 tokens") as text:
        text.write("Hello")

    assert capsys.readouterr().out == "Hello\n"
    assert screen(file.getvalue()) == ["2 tokens", ""]


@pytest.mark.parametrize(
    ("pieces", "rows"),
    [
        (["Hel", "lo"], ["Hello"]),
        (["\n\none", "\ntw", "o\n"], ["", "", "one", "two"]),
        (["0123456789" * 2, "0123456789" * 3], ["01234567890123456789", "01234567890123456789", "0123456789"]),
        (["日本語" * 4], ["日本語日本語日本語日", "本語"]),
        (["a\tb\r\nc"], ["a       b", "c"]),
        (["\x1b]0;title\x07\x9b2J"], ["\ufffd]0;title\ufffd\ufffd2J"]),
        ([], []),
    ],
    ids=["pieces", "lines", "full rows", "wide characters", "tabs and CRLF", "commands to the terminal", "nothing"],
)
@pytest.mark.parametrize("drawn_between", [False, True])
@pytest.mark.asyncio
async def test_a_terminal_shows_the_text_above_the_line(
    pieces: list[str], rows: list[str], drawn_between: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "DRAW_SECONDS", 0 if drawn_between else 3600)
    out, err, file = consoles(out=True, err=True)

    async with shown(out, err, lambda: "1 token") as text:
        for piece in pieces:
            text.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    assert screen(file.getvalue()) == [*rows, "1 token", ""]


@pytest.mark.asyncio
async def test_how_often_it_is_drawn_does_not_depend_on_how_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "DRAW_SECONDS", 3600)
    out, err, _ = consoles(out=True, err=True)
    asked = 0

    def status() -> str:
        nonlocal asked
        asked += 1
        return "a line"

    async with shown(out, err, status) as text:
        for _ in range(1000):
            text.write("word ")
            await asyncio.sleep(0)

    assert asked == 2


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), KeyboardInterrupt()], ids=repr)
@pytest.mark.asyncio
async def test_however_it_ends_the_cursor_is_back_and_nothing_runs(error: BaseException) -> None:
    out, err, file = consoles(out=True, err=True)

    with pytest.raises(type(error)):
        async with shown(out, err, lambda: "1 token") as text:
            text.write("Hello")
            raise error

    assert screen(file.getvalue()) == ["Hello", "1 token", ""]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_without_colors_the_line_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, err, file = consoles(out=True, err=True)

    async with shown(out, err, lambda: "1 token") as text:
        text.write("Hello")

    assert re.findall(r"\x1b\[[0-9;]*[34][0-9]m", file.getvalue()) == []


def test_a_narrow_terminal_cuts_the_line_and_not_the_text() -> None:
    text = Drawn()
    text.write("0123456789")

    assert text.take(4) == (["0123", "4567"], "89")
    assert text.take(4) == ([], "89")


def test_plain_text_ends_its_last_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    text = Plain()
    text.end()
    text.write("a")
    text.write("")
    text.end()
    text.end()

    assert file.getvalue() == "a\n"


TWO_AND_TEN = Prices({"currency": "", "models": {"*": {"input": 2, "output": 10}}})


@pytest.mark.parametrize(
    ("prompt", "completion", "cost"),
    [(1000, 500, "0.007000"), (None, 500, ">= 0.005000"), (1000, None, ">= 0.002000"), (0, 0, "0.000000")],
)
def test_the_cost_is_a_lower_bound_or_unknown_if_something_is_missing(
    prompt: int | None, completion: int | None, cost: str
) -> None:
    assert cost_line(TWO_AND_TEN, prompt, completion, "m") == cost
    assert cost_line(Prices({"currency": "USD", "models": {}}), prompt, completion, "m", None) == "unknown"


def test_the_line_says_what_is_known() -> None:
    assert line(tokens=None, deltas=7, rate=None, cost=None, seconds=1.25) == "7 deltas  1.2 s"
    assert line(tokens=301, deltas=300, rate=73.16, cost="0.0002", seconds=4.41, end="completed") == (
        "301 tokens  73.2 tokens/s  cost 0.0002  4.4 s  completed"
    )
