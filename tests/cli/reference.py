"""The generated parts of docs/reference/commands.md: commands, exit codes, and the examples and options of each command.

    python -m tests.cli.reference      writes them into the page

A generated part is between `<!-- generated: NAME -->` and `<!-- end -->`; everything else on the page is written by hand.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from streamkit.cli.commands import EXIT_CODES, GROUPS, CommandParser, command_parsers
from streamkit.cli.presets import DEMO, PRESETS

PAGE = Path(__file__).parents[2] / "docs/reference/commands.md"
PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """Return the page with up-to-date generated parts."""
    return PART.sub(lambda match: f"{match[1]}\n{generated(match[2])}\n{match[3]}", text)


def generated(name: str) -> str:
    """Return one part: `commands`, `exit-codes`, or the part of a command."""
    parsers = command_parsers()
    if name == "commands":
        return "\n".join(_commands())
    if name == "exit-codes":
        return "\n".join(_exit_codes(parsers))
    if name == "presets":
        return "\n".join(_presets())
    return "\n".join(_command(parsers[name]))


def _commands() -> Iterator[str]:
    yield "| command | |"
    yield "|---|---|"
    for title, commands in GROUPS.items():
        yield f"| *{title}* | |"
        yield from (f"| [`streamkit {name}`](#{name}) | {command.help} |" for name, command in commands.items())
    yield ""


def _exit_codes(parsers: dict[str, CommandParser]) -> Iterator[str]:
    yield "| command | exit codes |"
    yield "|---|---|"
    yield f"| every one | {EXIT_CODES} |"
    yield from (f"| `{name}` | {parser.exit_codes} |" for name, parser in parsers.items())
    yield ""


def _presets() -> Iterator[str]:
    yield "| preset | address | key in |"
    yield "|---|---|---|"
    for name, preset in PRESETS.items():
        address = (
            "the embedded provider, which runs while the command does" if preset.url == DEMO else f"`{preset.url}`"
        )
        yield f"| `{name}` | {address} | {' or '.join(f'`{key}`' for key in preset.keys) or '–'} |"
    yield ""


def _command(parser: CommandParser) -> Iterator[str]:
    yield from ((parser.description or ""), "", "```text", *parser.examples.rstrip("\n").splitlines(), "```", "")
    rows = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    if rows:
        yield "| argument | |"
        yield "|---|---|"
        yield from (f"| {_names(action)} | {_cell(_help(parser, action))} |" for action in rows)
        yield ""


def _names(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = "" if action.nargs == 0 else str(action.metavar or choices)
    if not action.option_strings:
        optional = action.nargs in ("?", "*")
        many = " …" if action.nargs in ("+", "*") else ""
        return f"`[{value}{many}]`" if optional else f"`{value}{many}`"
    return ", ".join(f"`{option}{f' {value}' if value else ''}`" for option in action.option_strings)


def _help(parser: CommandParser, action: argparse.Action) -> str:
    known = {**vars(action), "prog": parser.prog}
    return (action.help or "") % known


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
