"""`streamkit plugins`: what installed packages offer, and what is wrong with it."""

import argparse

import msgspec

from streamkit import plugins
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.plugins import Plugin

_COLUMNS = ("group", "name", "package", "version", "state", "problem")


EXAMPLES = """\
streamkit plugins
    group, name, package, version, state and problem of everything that installed packages offer
streamkit plugins --json
    the same as a JSON array
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "List what installed packages offer to streamkit. Imports each of them, to see whether it can be.",
        EXAMPLES,
        "0 all can be used, 1 one is broken or two offer the same name",
    )
    parser.add_argument("--json", action="store_true", help="write a JSON array")


def run(options: argparse.Namespace) -> int:
    """Print it. 1 if something is broken or clashes; what STREAMKIT_PLUGINS leaves out is meant to be."""
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
    # A problem is as long as it is; nothing stands behind it.
    return ["  ".join(map(str.ljust, row, [*widths[:-1], 0])).rstrip() for row in rows]
