"""The `streamkit` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from streamkit.cli import exits
from streamkit.cli.commands import COMMANDS, make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Wrong arguments raise `SystemExit(2)`; none at all print the help as well."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    _add_current_folder_to_path()
    options = _options(arguments)
    return exits.run(
        lambda: int(options.run(options)),
        verbose=getattr(options, "verbose", False),
        needs_output=getattr(options, "needs_output", True),
    )


def _add_current_folder_to_path() -> None:
    """Add the current folder to `sys.path`, so that `--stage mine:Stage` finds `mine.py`, as with `python -m streamkit`.

    It is added last, so that no file there shadows an installed module. Skipped with `-P` or PYTHONSAFEPATH.
    """
    with suppress(OSError):  # The folder may have been deleted.
        if not sys.flags.safe_path and (folder := os.getcwd()) not in sys.path:
            sys.path.append(folder)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser(_named(arguments))
    if not arguments:
        parser.print_help(sys.stderr)
        raise SystemExit(exits.WRONG_ARGUMENTS)
    options, rest = parser.parse_known_args(arguments)
    # argparse treats an optional positional argument as missing if an option precedes it.
    if rest and getattr(options, "prompt", "") is None and not rest[0].startswith("-"):
        options.prompt = rest.pop(0)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _named(words: Sequence[str]) -> list[str]:
    """Return the command: the first word that is not an option; empty if it is unknown."""
    return [name for name in [next((word for word in words if not word.startswith("-")), "")] if name in COMMANDS]


def _complete() -> None:
    """Answer a completion request of the shell and exit; see `streamkit completion`."""
    from argcomplete.finders import CompletionFinder

    CompletionFinder()(make_parser(_named(os.environ.get("COMP_LINE", "").split()[1:])))
