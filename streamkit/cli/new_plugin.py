"""`streamkit new-plugin NAME`: creates a package with one stage or emitter, its tests and its entry point."""

import argparse
import json
import keyword
import re
import sys
from pathlib import Path
from string import Template

import streamkit
from streamkit import plugins
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.cli.plugin_templates import EMITTER, STAGE
from streamkit.errors import PipelineError

# An extra and not a dependency group: the pip that Python 3.11 bundles (23.2) has no --group.
INSTALL = "python -m pip install -e '.[dev]'"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

EXAMPLES = """\
streamkit new-plugin streamkit-shop
    in the folder streamkit-shop: the package streamkit_shop with the stage Shop, its tests and its entry point
streamkit new-plugin my-plugin --into plugins
    in the folder plugins/my-plugin
streamkit new-plugin my-wire --emitter
    in the folder my-wire: a package with an emitter, which writes answers in its own wire format
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Create a package with one stage or emitter, its tests and its entry point. It passes its tests and strict type checks.",
        EXAMPLES,
        "0 the package is written, 1 it can't be written",
    )
    parser.add_argument("name", metavar="NAME", help="the distribution's name, such as streamkit-shop")
    parser.add_argument(
        "--emitter", action="store_true", help="create an emitter, for the wire format of a client, instead of a stage"
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the parent of its folder (default: the current folder)",
    )
    parser.add_argument("--json", action="store_true", help="write the folder and its files as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Write the package and print the next steps."""
    console = show.make_console(widest=None)
    folder = write(options.name, options.into, emitter=options.emitter)
    if options.json:
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        console.out(json.dumps({"folder": str(folder), "files": files}), highlight=False)
        return 0
    console.out(f"{folder} is written. Next:\n", highlight=False)
    console.out(f"  cd {folder}\n  {INSTALL}\n  python -m pytest && mypy && pyright", highlight=False)
    return 0


def write(name: str, into: Path, *, emitter: bool = False) -> Path:
    """Write the package to the folder `into / name`, which must not exist, and return that folder.

    It has one stage, or with `emitter` one emitter. `name` is the name of the distribution: lower-case words joined by hyphens.
    Any other name, a name of a module of Python or streamkit itself, and an existing folder raise `PipelineError`.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise PipelineError(f"expected a name such as my-plugin: lower-case words with hyphens between; found {name!r}")
    if module == "streamkit" or module in sys.stdlib_module_names:
        raise PipelineError(
            f"expected a name whose module is new, found {name!r}: {module} would hide an existing module"
        )
    if into.exists() and not into.is_dir():
        raise PipelineError(f"{into} is no folder")
    folder = into / name
    if folder.exists():
        raise PipelineError(f"{folder} exists already")
    words = [word for word in name.split("-") if word != "streamkit"] or ["streamkit"]
    names = {
        "name": name,
        "module": module,
        "class": "".join(word.capitalize() for word in words),
        "group": "emitters" if emitter else "stages",
        "description": "A wire format for streamkit" if emitter else "A stage for streamkit that replaces digits",
        "version": streamkit.__version__,
        "api": plugins.API,
    }
    for path, text in (EMITTER if emitter else STAGE).items():
        file = folder / Template(path).substitute(names)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(names), encoding="utf-8")
    return folder
