"""The commands by name, in groups, and the argument parser.

A command is a module with `describe(parser)`, which adds its options, and `run(options)`, which returns the exit code. Only the
module of the called command is imported, so that `streamkit --help` and completion start fast.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import streamkit


class Command(NamedTuple):
    """One command: its module, and its line in the list of commands."""

    module: str
    help: str


GROUPS: dict[str, dict[str, Command]] = {
    "ask a model": {
        "run": Command("run", "send a request to an endpoint, and write the answer while it arrives"),
        "chat": Command("chat", "chat with a model, which may call the functions of a Python file"),
        "watch": Command("watching", "show answers live on a local web page while they pass through a pipeline"),
        "compare": Command("comparing", "measure how much time streaming saves at an endpoint"),
    },
    "read recorded answers": {
        "replay": Command("replay", "write the text of a recorded answer at the recorded pace"),
        "inspect": Command("inspection", "show the events, end, usage, timings and timeline of recordings"),
        "moderate": Command(
            "moderating", "apply rules to a file or a stream, and report what is withheld, why and at which offset"
        ),
        "count": Command("counting", "count the tokens of texts, prompts and answers"),
        "batch": Command("batching", "run a pipeline over many recordings, and write a line of results for each"),
    },
    "extend and check": {
        "plugins": Command("listing", "list the plugins of installed packages"),
        "new-plugin": Command("new_plugin", "create a package with your own stage or emitter"),
        "doctor": Command("doctor", "check this installation, and show how to fix problems"),
        "bench": Command("bench", "measure the cost of a pipeline on this machine"),
        "completion": Command("completion", "print the completion script of a shell"),
    },
    "try it without a key": {
        "demo": Command("demo", "demonstrate streamkit, without a key and without network"),
        "serve-demo": Command("serve_demo", "run the demo's provider until Ctrl-C"),
    },
}
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}
_OPTIONS = """\
options:
  -h, --help     show this help; `streamkit COMMAND --help` shows the options and examples of a command
  --version      show the version

Exit codes: 0 success, 1 an error, 2 wrong arguments, including a missing stage, file or key, 130 Ctrl-C;
`streamkit COMMAND --help` shows those of a command."""
EXIT_CODES = "2 wrong arguments, 130 Ctrl-C, 143 SIGTERM, 141 the reader of the output has closed it"
"""The exit codes common to all commands."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose help has examples and exit codes, with line breaks preserved."""

    examples: str = ""
    exit_codes: str = ""

    def __init__(self, *arguments: object, **options: object) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **options)  # type: ignore[arg-type] # argparse's own, passed on
        self.set_defaults(error=self.error)

    def describe(self, text: str, examples: str, exit_codes: str) -> None:
        """Set the text of `--help` before and after the options.

        In `examples`, each command is followed by its description; `exit_codes` are those in addition to the common ones.
        """
        self.description, self.examples, self.exit_codes = text, examples, exit_codes
        codes = f"{exit_codes}\n{EXIT_CODES}"
        self.epilog = f"examples:\n{_indented(examples)}\n\nexit codes:\n{_indented(codes)}\n"


class _TopParser(CommandParser):
    def format_help(self) -> str:
        width = max(map(len, COMMANDS)) + 2
        groups = (
            "\n".join([f"{title}:", *(f"  {name:{width}}{command.help}" for name, command in group.items())])
            for title, group in GROUPS.items()
        )
        return "\n\n".join(["usage: streamkit COMMAND …", f"{self.description}", *groups, _OPTIONS, ""])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip("\n").splitlines())


def make_parser(described: Sequence[str]) -> CommandParser:
    """Return the parser of all commands; only those in `described` have their options."""
    return _made(described)[0]


def command_parsers() -> dict[str, CommandParser]:
    """Return the parser of each command, with its options."""
    return _made(list(COMMANDS))[1]


def _made(described: Sequence[str]) -> tuple[CommandParser, dict[str, CommandParser]]:
    parser = _TopParser(
        prog="streamkit", description="The piece between a language model's event stream and an application."
    )
    parser.add_argument("--version", action="version", version=f"streamkit {streamkit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=CommandParser)
    made: dict[str, CommandParser] = {}
    for name, command in COMMANDS.items():
        made[name] = sub = commands.add_parser(name, help=command.help)
        if name in described:
            module = import_module(f"streamkit.cli.{command.module}")
            module.describe(sub)
            sub.set_defaults(run=module.run)
    return parser, made
