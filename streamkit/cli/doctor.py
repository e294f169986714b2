"""`streamkit doctor`: checks what is installed, what is missing, and how to add it."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

from packaging.requirements import Requirement
from rich.console import Console

import streamkit
from streamkit import plugins
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.cli.presets import PRESETS
from streamkit.cli.token_tables import where_table

OLDEST = (3, 11)
TABLES = ("o200k_base", "cl100k_base", "p50k_base", "r50k_base")
OPTIONAL = {
    "streamkit-encodings": "counts without the network",
    "streamkit-prices": "prices of models",
    "trio": "streams on trio",
    "starlette": "answers from FastAPI and Starlette",
    "httpx": "responses of httpx as sources",
    "openai": "streams of OpenAI's SDK as sources",
    "anthropic": "streams of Anthropic's SDK as sources",
    "pyarrow": "results of batch as Parquet",
    "sentencex": "sentences by the rules of a language",
}
EXAMPLES = """\
streamkit doctor
    versions, token tables, plugins, keys and the terminal; for anything missing, the command that installs it
streamkit doctor --json
    the same as a JSON array
"""


class Diagnosis(NamedTuple):
    """The result of one check. `well` is false if something does not work; `fix` describes the remedy."""

    name: str
    found: str
    well: bool = True
    fix: str | None = None


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Check this installation, and show how to fix problems. Sends nothing and shows no key.",
        EXAMPLES,
        "0 no requirement is missing, 1 a requirement is missing",
    )
    parser.add_argument("--json", action="store_true", help="write a JSON array of name, found, well and fix")


def run(options: argparse.Namespace) -> int:
    """Print the results. Return 1 if a requirement is not met."""
    console = show.make_console(widest=None)
    findings = [*_python(), *_packages(), *_plugins(), *_tables(), *_keys(), *_terminal(console)]
    if options.json:
        console.out(json.dumps([finding._asdict() for finding in findings]), highlight=False)
    else:
        for finding in findings:
            fix = f"; {finding.fix}" if finding.fix else ""
            console.out(f"{finding.name:22} {finding.found}{fix}", highlight=False)
    return 0 if all(finding.well for finding in findings) else 1


_PIP = "python -m pip install"


def _install(package: str) -> str:
    # Packages of this repository may not be on a package index.
    if package.startswith("streamkit-"):
        return f"install {package}, from plugins/{package} in streamkit's repository"
    return f"{_PIP} {package}"


def _python() -> Iterator[Diagnosis]:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"
    # Type checkers evaluate a comparison with a literal and would consider one branch unreachable.
    if sys.version_info[:2] >= OLDEST:
        yield Diagnosis("Python", found)
    else:
        fix = "install Python 3.11 or later, and make a new virtual environment with it: python3.13 -m venv .venv"
        yield Diagnosis("Python", f"{found}, but 3.11 or later is needed", False, fix)
    yield Diagnosis("streamkit", streamkit.__version__)


def _packages() -> Iterator[Diagnosis]:
    try:
        lines = requires("streamkit-llm") or ()
    except PackageNotFoundError:
        lines = ()
        unknown = "streamkit-llm is not installed as a package, so that what it needs is not known"
        yield Diagnosis("packages", unknown, False, f"{_PIP} . in streamkit's repository")
    for requirement in map(Requirement, lines):
        # Skip the requirements of extras and of other Python versions.
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)
    for name, use in OPTIONAL.items():
        found = _version(name)
        yield (
            Diagnosis(name, found)
            if found
            else Diagnosis(name, f"not installed; optional: {use}", True, _install(name))
        )


def _package(requirement: Requirement) -> Diagnosis:
    needed = f"{requirement.name}{requirement.specifier}"
    fix = f"{_PIP} '{needed}'"
    found = _version(requirement.name)
    if found is None:
        return Diagnosis(requirement.name, f"missing; needed is {needed}", False, fix)
    if not requirement.specifier.contains(found, prereleases=True):
        return Diagnosis(requirement.name, f"{found}, but needed is {needed}", False, fix)
    return Diagnosis(requirement.name, found)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plugins() -> Iterator[Diagnosis]:
    fixes = {
        "broken": "update or uninstall the package",
        "clash": "uninstall one of them, or name the one you want in STREAMKIT_PLUGINS",
    }
    for plugin in plugins.installed():
        if fix := fixes.get(plugin.state):
            yield Diagnosis(f"plugin {plugin.name}", f"{plugin.package}: {plugin.problem}", False, fix)


def _tables() -> Iterator[Diagnosis]:
    for name in TABLES:
        if where := where_table(name):
            yield Diagnosis(f"table {name}", where)
        else:
            yield Diagnosis(f"table {name}", "would be fetched over the network", True, _install("streamkit-encodings"))


def _keys() -> Iterator[Diagnosis]:
    for name, preset in PRESETS.items():
        if found := next((key for key in preset.keys if os.environ.get(key)), None):
            yield Diagnosis(f"key of {name}", f"in {found}")


def _terminal(console: Console) -> Iterator[Diagnosis]:
    kind = "a terminal" if console.is_terminal else "no terminal"
    live = "with live lines" if console.is_interactive else "without live lines"
    colors = "no colors" if console.no_color or not console.color_system else f"colors: {console.color_system}"
    ascii_only = console.options.ascii_only
    fix = "set PYTHONUTF8=1, so that characters beyond ASCII can be shown" if ascii_only else None
    yield Diagnosis("output", f"{kind}, {live}, {console.width} columns, {console.encoding}, {colors}", True, fix)
