"""`streamkit completion`: shell completion of commands, options and their values."""

import argparse
import sys

from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_A_COMMAND

SHELLS = ("bash", "zsh", "fish", "powershell")
EXAMPLES = """\
eval "$(streamkit completion bash)"
    for this shell; append the line to ~/.bashrc for all shells. For zsh, use `zsh` and ~/.zshrc
streamkit completion fish > ~/.config/fish/completions/streamkit.fish
    for fish
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Print the script for shell completion of commands, options, files, and the names of stages and presets.",
        EXAMPLES,
        OF_A_COMMAND,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["streamkit"], shell=options.shell) + "\n")
    return 0
