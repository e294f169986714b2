"""Exit code 2 for anything in an argument that can't be used, in every command, before anything is read or sent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.cli.commands import COMMANDS
from streamkit.cli.exits import code_of
from streamkit.cli.main import main
from streamkit.errors import PipelineError, PluginError, QueueOverflow, RecordingError

SENT_NOWHERE = "http://127.0.0.1:9/v1"
ANSWER = (
    'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
STAGES = """\
import streamkit as sk


@sk.stage
def shout(event: sk.Event) -> sk.Event:
    return sk.TextDelta(event.text.upper()) if isinstance(event, sk.TextDelta) else event


@sk.stage
def fails(event: sk.Event) -> sk.Event:
    raise ValueError(f"the text: {event}")
"""
WRONG = [
    ("run demo --stage Smoth hi", "--stage: expected one of the stages Accumulate, "),
    ("run demo --model gpt-4o --stage Budget(20) hi", "--stage Budget: expected `model`, the name of a model or of an"),
    ("run demo --stage nowhere:Stage hi", "--stage: 'nowhere:Stage' can't be found: No module named 'nowhere'"),
    ("run demo --rules missing.toml hi", "missing.toml can't be read: No such file or directory"),
    ("run demo --rules folder hi", "folder can't be read: Is a directory"),
    ("run demo --rules binary hi", "binary: 'utf-8' codec can't decode byte 0xff"),
    ("run demo --rules empty hi", "empty, line 1: expected [[rule]] tables, found none"),
    ("run demo --pipeline missing.toml hi", "missing.toml can't be read: No such file or directory"),
    ("run demo --body missing.json", "missing.json can't be read: No such file or directory"),
    ("run demo --body folder", "folder can't be read: Is a directory"),
    ("run demo --body binary", "binary: expected a JSON object"),
    ("run demo --record folder hi", "folder can't be written: Is a directory"),
    ("run demo --record missing/answer.jsonl hi", "missing/answer.jsonl can't be written: No such file or directory"),
    ("run openai --model m hi", "expected a key in the environment variable OPENAI_API_KEY, found none"),
    (
        "run demo",
        "expected PROMPT, as an argument or on standard input, or a request as --body FILE; standard input is empty",
    ),
    ("chat demo --tools missing.py", "--tools: expected a Python file, found missing.py"),
    ("chat demo --rules missing.toml", "missing.toml can't be read: No such file or directory"),
    ("chat openai --model m", "expected a key in the environment variable OPENAI_API_KEY, found none"),
    ("watch missing.sse", "missing.sse can't be read: No such file or directory"),
    ("watch answer.sse folder", "folder can't be read: Is a directory"),
    ("watch answer.sse --rules missing.toml --exit", "missing.toml can't be read: No such file or directory"),
    ("compare demo --body missing.json", "missing.json can't be read: No such file or directory"),
    ("compare demo --svg missing/chart.svg", "missing/chart.svg can't be written: No such file or directory"),
    ("replay missing.sse", "missing.sse can't be read: No such file or directory"),
    ("replay folder", "folder can't be read: Is a directory"),
    ("replay answer.sse --stage Smoth", "--stage: expected one of the stages Accumulate, "),
    ("inspect missing.sse", "expected a file, folder or glob, found nothing at missing.sse"),
    ("inspect folder", "expected a folder with recordings, found nothing at folder"),
    ("inspect answer.sse --html missing/page.html", "missing/page.html can't be written: No such file or directory"),
    ("moderate missing.sse --rules rules.toml", "expected a file, folder or glob, found nothing at missing.sse"),
    ("moderate answer.sse --rules missing.toml", "missing.toml can't be read: No such file or directory"),
    ("count missing.txt", "expected a file, folder or glob, found nothing at missing.txt"),
    ("count answer.sse --counter nobody", "expected one of the counters characters"),
    ("batch missing.sse --out results.jsonl", "expected a file, folder or glob, found nothing at missing.sse"),
    ("batch answer.sse --out folder", "folder can't be written: Is a directory"),
    (
        "batch answer.sse --out results.jsonl --rules missing.toml",
        "missing.toml can't be read: No such file or directory",
    ),
    ("new-plugin My_Plugin", "expected a name such as my-plugin"),
    ("new-plugin my-plugin --into binary", "binary is no folder"),
    ("bench missing.sse", "expected a file, folder or glob, found nothing at missing.sse"),
    ("bench --stage Smoth", "--stage: expected one of the stages Accumulate, "),
    ("serve-demo --host 999.1.1.1", "--host: expected an address of this machine, found '999.1.1.1'"),
]
MISUSED = [
    ("run nowhere hi", "expected http://host/path, https://… or one of the presets openai, "),
    ("run opnai hi", "; did you mean openai?"),
    ("run http:// hi", "expected http://host/path, https://…"),
    ("run ftp://host/path hi", "expected http://host/path, https://…"),
    ("run http://[::1 hi", "expected http://host/path, https://…"),
    ("run http://host:port/ hi", "expected http://host/path, https://…"),
    ("run demo hi --body answer.sse", "expected PROMPT or --body, found both"),
    ("run demo \udcff", "argument PROMPT: expected text in UTF-8"),
    ("chat demo --system \udcff", "argument --system: expected text in UTF-8"),
    ("watch --url demo --prompt=", "--prompt: expected a text, found an empty one"),
    ("watch answer.sse --port 65536", "argument --port: expected 0 to 65535, found '65536'"),
    ("watch answer.sse --stall nan", "argument --stall: expected 0 to 3600 seconds, found 'nan'"),
    ("inspect answer.sse --stall -1", "argument --stall: expected 0 to 3600 seconds, found '-1'"),
    ("compare demo --runs 0", "argument --runs: expected 1 to 1000, found '0'"),
    ("moderate answer.sse", "the following arguments are required: --rules"),
    ("doctor --fast", "unrecognized arguments: --fast"),
    ("plugins all", "unrecognized arguments: all"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "answer.sse").write_text(ANSWER)
    (tmp_path / "rules.toml").write_text('[[rule]]\ncategory = "x"\nphrases = ["secret"]\n')
    (tmp_path / "binary").write_bytes(b"\xff\x00\xfe" * 100)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "stages_of_mine.py").write_text(STAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "stages_of_mine", raising=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    for name in ("OPENAI_API_KEY", "STREAMKIT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("line", "problem"), WRONG, ids=[line for line, _ in WRONG])
def test_what_an_argument_names_and_can_not_be_used_is_one_line_and_2(
    line: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2

    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"streamkit: {problem}")
    assert errors.count("\n") == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("line", "problem"), MISUSED, ids=[ascii(line) for line, _ in MISUSED])
def test_an_argument_that_does_not_fit_is_shown_with_the_usage_and_2(
    line: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(line.split())

    assert left.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_2_for_an_option_that_it_does_not_know(name: str) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--no-such-option"])

    assert left.value.code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PipelineError("x"), 2),
        (QueueOverflow("x"), 1),
        (PluginError("x"), 1),
        (RecordingError("x"), 1),
        (FileNotFoundError("x"), 1),
        (ValueError("x"), 1),
    ],
)
def test_only_what_was_called_wrongly_is_2(error: Exception, code: int) -> None:
    assert code_of(error) == code


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("given", "output", "code"),
    [
        (b" Count to 3\n", "1, 2, 3.", 0),
        (b'\xef\xbb\xbf{"messages": [{"role": "user", "content": "Count to 3"}]}', "1, 2, 3.", 0),
        (b"{ Count to 3 }", "", 2),
        (b"\xff\xfe", "", 2),
        (b" \n", "", 2),
    ],
    ids=["a prompt", "a request", "no request", "no text", "nothing"],
)
def test_standard_input_is_the_prompt_or_the_request(
    given: bytes, output: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))

    assert main(["run", "demo"]) == code
    assert capsys.readouterr().out.strip() == output


@pytest.mark.usefixtures("here")
def test_a_question_of_a_chat_that_is_no_text_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1+1\ncaf\xe9?\n"), "utf-8"))

    assert main(["chat", "demo"]) == 2
    assert capsys.readouterr() == ("2\n", "streamkit: expected a question in UTF-8, found other bytes\n")


def streamkit(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # Like the installed script: the folder of the script is on the path, and not the current one.
    code = "import sys; sys.path[0] = '/'; from streamkit.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


def test_a_stage_of_a_file_in_the_current_folder_is_put_in_by_name(here: Path) -> None:
    done = streamkit(here, "replay", "answer.sse", "--stage", "stages_of_mine:shout")
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "")

    kept_out = streamkit(here, "replay", "answer.sse", "--stage", "stages_of_mine:shout", PYTHONSAFEPATH="1")
    assert kept_out.returncode == 2
    assert "No module named 'stages_of_mine'" in kept_out.stderr


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["replay", "bench", "watch"])
def test_what_a_stage_raises_is_one_line_with_its_place_and_no_text(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, "answer.sse", "--stage", "stages_of_mine:fails"]

    assert main([*arguments, *(["--exit"] if command == "watch" else [])]) == 1
    errors = capsys.readouterr().err
    assert errors == (
        f"streamkit: ValueError in stage 3 of {errors.partition(' of ')[2][:1]}: fails, {here}/stages_of_mine.py, line 11; "
        "--verbose shows the traceback\n"
    )

    assert main([*arguments, "--verbose", *(["--exit"] if command == "watch" else [])]) == 1
    assert "Traceback (most recent call last):" in capsys.readouterr().err
