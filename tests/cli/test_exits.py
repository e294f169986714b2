"""The end of a command by a signal, after its reader has closed the pipe, and with a closed output. Real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.cli import exits

COMMAND = (sys.executable, "-W", "error", "-m", "streamkit")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there a signal ends a process at once")


def chunk(text: str) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A recording whose second piece arrives after an hour."""
    path = tmp_path / "slow.jsonl"
    entries = [{"streamkit": "recording/1"}, {"t": 0, "text": chunk("Half")}, {"t": 3600, "text": chunk(" more")}]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def shell(line: str, *arguments: str) -> tuple[int, str, str]:
    """Run a line of sh; `$@` are the command and the arguments."""
    done = subprocess.run(["sh", "-c", line, "sh", *COMMAND, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_ends_it_without_a_traceback_and_the_text_so_far_stays(number: int, code: int, slow: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "replay", str(slow)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.read(4) == "Half"
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()

    assert (process.returncode, output, errors) == (code, "\n", "\n")


def test_sigterm_ends_a_job_in_the_background_too_and_the_completion_so_far_is_written(slow: Path) -> None:
    # A shell that runs a script starts background jobs with SIGINT ignored. The recording has content once the text was received.
    line = '"$@" & pid=$!; sleep 0.01; until [ -s ready ]; do sleep 0.05; done; kill -TERM $pid; wait $pid'
    record = slow.parent / "ready"
    wait = slow.parent / "tap.py"
    wait.write_text(
        f"import pathlib, streamkit as sk\ndef ready(event):\n    pathlib.Path({str(record)!r}).write_text('x')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(slow.parent)}
    stage = 'Tap(function={"named": "tap:ready"})'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, "replay", str(slow), "--json", "--stage", stage],
        capture_output=True,
        text=True,
        cwd=slow.parent,
        env=environment,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (143, "\n")
    completion = json.loads(done.stdout)
    assert completion["choices"][0]["message"]["content"] == "Half"
    assert completion["choices"][0]["finish_reason"] is None


def test_closed_standard_output_is_an_error_and_no_traceback(slow: Path) -> None:
    assert shell('"$@" >&-', "replay", str(slow)) == (
        1,
        "",
        "streamkit: standard output is closed; to discard the output, redirect it to the null device\n",
    )


def test_with_all_streams_closed_it_ends_with_an_exit_code_only(slow: Path) -> None:
    assert shell('"$@" <&- >&- 2>&-', "replay", str(slow)) == (1, "", "")


def test_closed_standard_error_leaves_the_output_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_text(chunk("Half"))

    assert shell('"$@" 2>&-', "replay", str(tmp_path / "a.sse")) == (5, "Half\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_text(chunk("Half"))

    code, output, errors = shell('"$@" >/dev/full', "replay", str(tmp_path / "a.sse"))
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "No space left on device" in errors


def test_a_reader_that_has_enough_ends_any_command_without_a_message(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}.sse").write_text(chunk("x" * 2000))

    # The exit code of the command is passed through a file, because the shell returns that of the last command in the pipe.
    line = f'{{ "$@"; echo $? > "{tmp_path}/code"; }} | head -c 10'
    _, output, errors = shell(line, "inspect", str(tmp_path), "--json")

    assert (output, errors, (tmp_path / "code").read_text()) == ('{"file":"/', "", "141\n")


@pytest.mark.parametrize(
    "line",
    [
        "plugins",
        "doctor",
        "doctor --json",
        "new-plugin my-plugin",
        "compare demo",
        "inspect a.sse",
        "demo --fast",
        "completion bash",
    ],
)
def test_a_command_whose_reader_has_gone_ends_with_141_whatever_it_writes_with(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_text(chunk("Half"))
    read, write = os.pipe()
    os.close(read)
    try:
        command = [*COMMAND, *line.split()]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, text=True, check=False)
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (141, "")


def test_after_a_command_the_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    inside: list[object] = []

    assert exits.run(lambda: len(inside.append(signal.getsignal(signal.SIGTERM)) or inside)) == 1
    assert inside != [before[1]]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
