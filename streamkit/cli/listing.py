"""`streamkit plugins`: lists the plugins of installed packages and their problems."""

import argparse

import msgspec

from streamkit import plugins
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.plugins import Plugin

_COLUMNS = ("group", "name", "package", "version", "state", "problem")


EXAMPLES = """\
streamkit plugins
    group, name, package, version, state and problem of each plugin
streamkit plugins --json
    the same as a JSON array
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "List the plugins of installed packages. Imports each of them, to check that it can be loaded.",
        EXAMPLES,
        "0 all can be used, 1 one is broken or two have the same name",
    )
    parser.add_argument("--json", action="store_true", help="write a JSON array")


def run(options: argparse.Namespace) -> int:
    """Print the list. Return 1 if a plugin is broken or clashes; plugins disabled by STREAMKIT_PLUGINS don't count."""
    console = show.make_console(widest=None)
    found = plugins.installed()
    if options.json:
        console.out(msgspec.json.encode([plugin._asdict() for plugin in found]).decode(), highlight=False)
    elif found:
        for line in _lines(found):
            console.out(line, highlight=False)
    else:
        console.out("no installed package offers anything to streamkit", highlight=False)
    return 1 if any(plugin.state in ("broken", "clash") for plugin in found) else 0


def _lines(found: list[Plugin]) -> list[str]:
    rows = [_COLUMNS, *(tuple(str(getattr(plugin, column)) for column in _COLUMNS) for plugin in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The last column, the problem, is not padded.
    return ["  ".join(map(str.ljust, row, [*widths[:-1], 0])).rstrip() for row in rows]
