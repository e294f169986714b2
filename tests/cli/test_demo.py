"""The demo in a pipe and in a terminal, and its clean-up."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import threading

import pytest
from rich.console import Console

import streamkit as sk
from streamkit.cli import demo, show
from streamkit.cli.main import main
from streamkit.cli.show import ShownText

COMMAND = (sys.executable, "-W", "error", "-c", "import sys; from streamkit.cli.main import main; sys.exit(main())")
# Variables by which rich detects a terminal.
ASKED = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES")


def piped(encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run `streamkit demo --fast` with its output in a pipe."""
    environment = {name: value for name, value in os.environ.items() if name not in ASKED}
    environment |= {"PYTHONIOENCODING": encoding}
    return subprocess.run(
        [*COMMAND, "demo", "--fast"], capture_output=True, env=environment, encoding=encoding, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    return piped()


@pytest.fixture(scope="module")
def parts(run: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the text below each heading."""
    return re.split(r"^\S.* ─+\n", run.stdout, flags=re.MULTILINE)[1:]


def words(text: str) -> str:
    """Return the text without line breaks."""
    return " ".join(text.split())


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80, force_terminal=terminal, force_interactive=terminal, highlight=False), file


def test_without_a_terminal_the_demo_succeeds_and_has_nothing_to_complain_of(
    run: subprocess.CompletedProcess[str],
) -> None:
    assert (run.returncode, run.stderr) == (0, "")


def test_a_pipe_gets_plain_lines(run: subprocess.CompletedProcess[str]) -> None:
    assert [line for line in run.stdout.splitlines() if not line.isprintable() or line != line.rstrip()] == []
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_both_answers_are_shown_whole(parts: list[str]) -> None:
    assert ", ".join(map(str, range(1, 101))) + "." in words(parts[1])
    assert ",".join(map(str, range(1, 101))) in "".join(parts[2].split())


def test_the_planted_phrase_is_shown_as_it_was_cut_and_never_as_released(parts: list[str]) -> None:
    came, left = words(parts[3]).split("released")

    assert "th|e co|de| wo|rd is| bl|ue| her|on 4|2|," in came
    assert "the code word is [redacted], and nobody else should hear of it." in left
    assert "Redacted(category='secret', start=51, end=64)" in left
    assert not re.search("blue|heron|42", left)


def test_the_assembled_completion_is_json(parts: list[str]) -> None:
    completion = json.loads(parts[4][parts[4].index("{") :])

    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == "\n\n1, 2, 3, 4, 5, ... 98, 99, 100."
    assert completion["usage"] == {"prompt_tokens": 36, "completion_tokens": 301, "total_tokens": 337}


def test_the_counts_stand_beside_what_was_reported_here_and_in_the_guide(parts: list[str]) -> None:
    table = [line.split() for line in parts[5].splitlines() if line.strip()][:4]
    names = [row[0] for row in table[1:]]
    counted, reported, guide = zip(*([int(cell) for cell in row[1:]] for row in table[1:]), strict=True)

    assert table[0] == ["counted", "reported", "in", "the", "guide"]
    assert names == ["prompt", "completion", "total"]
    assert counted == (36, 300, 336)
    assert reported == (36, 301, 337)
    assert guide == (36, 301, 337)


def test_who_streams_does_not_read_later_than_who_waits(parts: list[str]) -> None:
    firsts = [float(first) for first, _ in re.findall(r"([0-9.]+) s +([0-9.]+) s\n", parts[6])]

    chat_streaming, chat_waiting, legacy_streaming, legacy_waiting = firsts
    assert chat_streaming <= chat_waiting
    assert legacy_streaming <= legacy_waiting


def test_an_output_that_knows_only_ascii_is_enough() -> None:
    run = piped("ascii")

    assert (run.returncode, run.stderr) == (0, "")
    assert "?" not in run.stdout
    assert "# text arrives" in run.stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
async def test_nothing_is_left_running(terminal: bool) -> None:
    # Threads of earlier tests may end at any time, such as idle worker threads.
    threads = set(threading.enumerate())
    output, file = console(terminal=terminal)

    await demo.tour(output, fast=True)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []
    port = re.search(r"http://127\.0\.0\.1:([0-9]+)/v1", file.getvalue())
    assert port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(port[1]))


@pytest.mark.asyncio
async def test_a_terminal_gets_colors_and_its_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output, file = console(terminal=True)

    await demo.tour(output, fast=True)

    text = file.getvalue()
    assert "\x1b[1;31m" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.asyncio
async def test_an_error_ends_the_demo_and_closes_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "GO_ON", demo.DemoRequest("nowhere", {"prompt": ""}))
    output, _ = console(terminal=True)

    with pytest.raises(sk.StatusError):
        await demo.tour(output, fast=True)

    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_an_answer_is_written_as_it_comes_and_broken_after_a_comma() -> None:
    output, file = console(terminal=False)
    output.width = 14
    writer = show.Writer(output)
    seen: list[str] = []

    for piece in ["\n\n", "1", ", ", "2", ", ", "3", "."]:
        writer.write(piece)
        seen.append(file.getvalue())
    writer.end()

    assert seen == ["\n", "\n  1", "\n  1, ", "\n  1, 2", "\n  1, 2,\n", "\n  1, 2,\n  3", "\n  1, 2,\n  3."]
    assert file.getvalue() == "\n  1, 2,\n  3.\n"


@pytest.mark.parametrize(
    ("lane", "now", "bar"),
    [
        (ShownText("chat", streams=True), 0.5, "....."),
        (ShownText("chat", streams=True, first=0.2), 0.5, "..###"),
        (ShownText("chat", streams=True, first=0.2, total=0.8), 1.0, "..######"),
        (ShownText("chat", streams=False, first=0.8, total=0.8), 1.0, ".......#"),
        (ShownText("chat", streams=True, first=0.0, total=0.0), 1.0, "#"),
    ],
    ids=["nothing yet", "text arrives", "ended", "all at once", "at once"],
)
def test_a_bar_is_as_long_as_its_request_took(lane: ShownText, now: float, bar: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    output = Console(file=file, width=58, force_terminal=False)

    with output.capture() as drawn:
        output.print(show.race(output, [lane], now, scale=1.0))

    row = drawn.get().splitlines()[1]
    assert re.findall(r"[.#]*#(?=\s|$)|[.]+(?=\s|$)", row)[0] == bar


def test_the_secret_is_marked_where_it_stands_between_the_cuts() -> None:
    output, file = console(terminal=True)
    verdict = sk.Redacted(category="secret", start=1, end=3)

    output.print(show.redaction(["ab", "c", "d"], ["a[redacted]d"], [verdict]))

    came = file.getvalue().splitlines()[0]
    assert re.sub(r"\x1b\[[0-9;]*m", "", came).split() == ["received", "ab|c|d"]
    assert re.findall(r"\x1b\[1;31m(.*?)\x1b", came) == ["b", "c"]


def test_the_figures_are_written_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--fast", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == {"counted": 300, "reported": 301}
    assert found["moderated"]["verdicts"] == [{"category": "secret", "start": 51, "end": 64}]
    assert "[redacted]" in found["moderated"]["text"]
    assert [(row["api"], row["streams"]) for row in found["compared"]] == [
        ("chat", True),
        ("chat", False),
        ("legacy", True),
        ("legacy", False),
    ]
    assert found["completion"]["choices"][0]["message"]["content"].endswith("100.")
