"""`streamkit new-plugin NAME`: a package with one stage, its tests and its entry point, ready to be changed."""

import argparse
import json
import keyword
import re
from pathlib import Path
from string import Template

import streamkit
from streamkit import plugins
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.errors import PipelineError

# An extra and not a dependency group: the pip that Python 3.11 bundles (23.2) has no --group.
INSTALL = "python -m pip install -e '.[dev]'"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$name"
version = "0.1.0"
description = "A stage for streamkit: digits leave as a mark"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["streamkit-llm>=$version"]
classifiers = ["Typing :: Typed"]

[project.optional-dependencies]
dev = ["mypy>=1.13", "pyright>=1.1.390", "streamkit-llm[testing]>=$version"]

[project.entry-points."streamkit.stages"]
$name = "$module:$stage"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.mypy]
strict = true
files = ["src", "tests"]

[tool.pyright]
typeCheckingMode = "strict"
include = ["src", "tests"]

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = "--import-mode=importlib"
filterwarnings = ["error"]
""",
    "README.md": """\
# $name

A stage for [streamkit](https://github.com/streamkit/streamkit) that lets digits leave as a mark.

```python
import streamkit as sk
from $module import $stage

pipeline = sk.Parse() | sk.Extract() | $stage() | sk.Accumulate()
```

In a pipeline file it is `$name`.

```sh
python -m pip install -e '.[dev]'
python -m pytest && mypy && pyright
```
""",
    "src/$module/__init__.py": '''\
"""Digits leave as a mark."""

from collections.abc import Iterable
from dataclasses import dataclass

from streamkit import Event, Stage, TextDelta

STREAMKIT_API = $api
"""The version of streamkit's plugin interface that this was written for."""

__all__ = ["$stage"]


@dataclass
class $stage(Stage[Event, Event]):
    """Release `mark` in place of every digit of the text. All other events pass."""

    mark: str = "#"

    def feed(self, item: Event) -> Iterable[Event]:
        if not isinstance(item, TextDelta):
            return (item,)
        text = "".join(self.mark if character.isdigit() else character for character in item.text)
        return (TextDelta(text, item.index),)
''',
    "src/$module/py.typed": "",
    "tests/test_$module.py": """\
from hypothesis import given, settings
from streamkit import Event, Finish, StreamEnd, TextDelta
from streamkit.testing import check_stage, strategies

from $module import $stage

EVENTS: list[Event] = [TextDelta("Call 12"), TextDelta("3, or "), TextDelta("no"), Finish("stop"), StreamEnd("completed")]


def test_it_keeps_the_laws() -> None:
    check_stage($stage(), EVENTS)


def test_digits_leave_as_a_mark() -> None:
    released = [event.text for event in $stage("*").run(EVENTS) if isinstance(event, TextDelta)]

    assert released == ["Call **", "*, or ", "no"]


@settings(deadline=None)  # a busy machine is no mistake
@given(strategies.answers())
def test_no_digit_is_released(events: list[Event]) -> None:
    for event in $stage().run(events):
        assert not isinstance(event, TextDelta) or not any(map(str.isdigit, event.text))
""",
}


EXAMPLES = """\
streamkit new-plugin streamkit-shop
    in the folder streamkit-shop: the package streamkit_shop with the stage Shop, its tests and its entry point
streamkit new-plugin my-plugin --into plugins
    in the folder plugins/my-plugin
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Write a package with one stage, its tests and its entry point. It passes its tests and strict type checks at once.",
        EXAMPLES,
        "0 it is written, 1 an error such as a folder that exists",
    )
    parser.add_argument("name", metavar="NAME", help="the distribution's name, such as streamkit-shop")
    parser.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where to put its folder (here)")
    parser.add_argument("--json", action="store_true", help="write the folder and its files as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Write it, and say what to do next."""
    console = show.make_console(widest=None)
    folder = write(options.name, options.into)
    if options.json:
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        console.out(json.dumps({"folder": str(folder), "files": files}), highlight=False)
        return 0
    console.out(f"{folder} is written. Next:\n", highlight=False)
    console.out(f"  cd {folder}\n  {INSTALL}\n  python -m pytest && mypy && pyright", highlight=False)
    return 0


def write(name: str, into: Path) -> Path:
    """Write the package to the folder `into / name`, which must not exist, and give that folder.

    `name` is that of the distribution: lower-case words with hyphens between. Anything else raises `PipelineError`.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise PipelineError(f"expected a name such as my-plugin: lower-case words with hyphens between; found {name!r}")
    folder = into / name
    if folder.exists():
        raise PipelineError(f"{folder} exists already")
    words = [word for word in name.split("-") if word != "streamkit"] or ["streamkit"]
    names = {
        "name": name,
        "module": module,
        "stage": "".join(word.capitalize() for word in words),
        "version": streamkit.__version__,
        "api": plugins.API,
    }
    for path, text in _FILES.items():
        file = folder / Template(path).substitute(names)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(names), encoding="utf-8")
    return folder
