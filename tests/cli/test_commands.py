"""Properties of all commands: help with examples, exit codes, `--json`, completion, and a quick start."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.cli.commands import COMMANDS, EXIT_CODES, command_parsers, make_parser
from streamkit.cli.main import main
from streamkit.cli.presets import PRESETS

PARSERS = command_parsers()


def test_the_help_lists_every_command_once_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])

    output = capsys.readouterr().out
    assert left.value.code == 0
    assert re.findall(r"^  ([a-z-]+)  ", output, re.MULTILINE)[: len(COMMANDS)] == list(COMMANDS)
    assert re.findall(r"^([a-z' ]+):$", output, re.MULTILINE) == [
        "ask a model",
        "read recorded answers",
        "extend and check",
        "try it without a key",
        "options",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_its_options_examples_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])

    output = capsys.readouterr().out
    assert left.value.code == 0
    assert output.startswith(f"usage: streamkit {name} ")
    assert "\nexamples:\n" in output
    assert f"\n  {EXIT_CODES}\n" in output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_commands_that_can_be_parsed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    lines = [line for line in PARSERS[name].examples.splitlines() if not line.startswith(" ")]

    assert len(lines) >= 2
    for line in lines:
        command = re.search(r"streamkit (.*?)(?: [|<>] .*|\)\"|$)", line)
        assert command, line
        words = shlex.split(command[1])
        # Like `main`, because argparse misses an optional positional argument after an option.
        _, rest = make_parser(words[:1]).parse_known_args(words)
        assert rest == []
        assert words[0] == name


def test_every_command_writes_json_but_the_one_that_prints_a_script() -> None:
    without = [name for name, parser in PARSERS.items() if "--json" not in parser._option_string_actions]

    assert without == ["completion"]


def test_every_option_has_a_help_text() -> None:
    actions = [(name, action) for name, parser in PARSERS.items() for action in parser._actions]

    assert [(name, action.dest) for name, action in actions if not action.help] == []


def test_starting_imports_only_the_command_that_is_called() -> None:
    code = (
        "import sys\nfrom streamkit.cli.commands import make_parser\nmake_parser([])\nmake_parser(['completion'])\n"
        "print([name for name in ('aiohttp', 'rich', 'tiktoken', 'msgspec._core', 'asyncio', 'argcomplete') "
        "if name in sys.modules and name != 'msgspec._core'])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Completion


def completed(line: str, folder: Path) -> list[str]:
    """Return a shell's completions of the last word of the line, which may be empty."""
    output = folder / "completions"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(output),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = "import sys; from streamkit.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    return [word.strip() for word in output.read_text().splitlines()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("streamkit re", ["replay"]),
        ("streamkit inspect --st", ["--stall"]),
        ("streamkit run oll", ["ollama"]),
        ("streamkit run demo --stage Smo", ["Smooth"]),
        ("streamkit moderate --mode o", ["observe", "optimistic"]),
    ],
)
def test_a_shell_completes_commands_options_presets_and_stages(line: str, words: list[str], tmp_path: Path) -> None:
    assert completed(line, tmp_path) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_for_a_shell_names_the_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0

    script = capsys.readouterr().out
    assert "streamkit" in script
    assert "_ARGCOMPLETE" in script


def test_an_unknown_shell_is_a_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["completion", "tclsh"])

    assert left.value.code == 2
    assert "invalid choice: 'tclsh'" in capsys.readouterr().err


def test_every_preset_has_an_address_and_keys_only_from_the_environment() -> None:
    for name, preset in PRESETS.items():
        assert preset.url.startswith(("https://", "http://localhost:", "http://demo.invalid/")), name
        assert all(re.fullmatch(r"[A-Z_]+", key) for key in preset.keys), name
        assert preset.url.startswith("https://") or not preset.keys, "a key is only sent encrypted"
