"""Entry points: how separately installed packages are found. Nothing is imported before it is asked for.

A package offers objects by name in a group `streamkit.<group>`:

    [project.entry-points."streamkit.stages"]
    shout = "my_package:Shout"

    stages      a class of stages, or a function that makes one          used by name in pipeline files
    dialects    a subclass of `Dialect`                                  `Extract("name")`, or by its first event
    moderators  what a rule names as a check
    counters    what `Count` names as a counter
    sources     a function that makes a source
    encodings   a function that gives a table of tiktoken's
    emitters    a class or function that takes `Settings`                `Emit("name")`, `respond(…, emit="name")`
    prices      a function that makes a price table                      `Count(prices="name")`, `Budget(prices="name")`

Its module may say `STREAMKIT_API = 1`, the version of all this that it was written for. The environment variable
`STREAMKIT_PLUGINS` restricts what is used to the packages that it names, with commas between; empty, to none.
"""

import difflib
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from streamkit.core.wrong_input import shown
from streamkit.errors import PluginError

API = 1
GROUPS = ("stages", "dialects", "moderators", "counters", "sources", "encodings", "prices", "emitters")


class Plugin(NamedTuple):
    """One entry point, as `installed` found it."""

    group: str
    name: str
    package: str
    version: str
    target: str
    state: Literal["ok", "broken", "clash", "restricted"]
    problem: str = ""
    """The error message; `None` if there is no error."""


def find(group: str, name: str) -> Any:
    """The object that an installed package offers under `name` in `streamkit.<group>`; `None` if no package does.

    Two packages that offer the same name, one that can't be imported, and one that was written for another version raise
    `PluginError`.
    """
    found = [entry for entry in entry_points(group=f"streamkit.{group}", name=name) if _allowed(entry)]
    if not found:
        return None
    if problem := _clash(found):
        raise PluginError(f"streamkit.{group}: {problem}")
    return _load(group, found[0])


def names(group: str) -> list[str]:
    """The names that installed packages offer in a group. Imports nothing."""
    return sorted({entry.name for entry in entry_points(group=f"streamkit.{group}") if _allowed(entry)})


def unknown(group: str, name: str, own: Iterable[str] = (), *, by_module: bool = False) -> str:
    """The error message for a name that is neither one of streamkit's `own` in a group nor one that a package offers.

    It lists all of them. `by_module`: `package.module:name` would do, too.
    """
    known = sorted({*own, *names(group)})
    near = difflib.get_close_matches(name, known, 1)
    listed = ", ".join(known) or "that installed packages offer, of which there are none"
    otherwise = " or package.module:name" if by_module else ""
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"expected one of the {group} {listed}{otherwise}; found {shown(name)}{hint}"


def installed() -> list[Plugin]:
    """All that is offered, each loaded to see whether it can be. What is broken is reported and disturbs nothing else."""
    return [_look(group, entry) for group in GROUPS for entry in sorted(entry_points(group=f"streamkit.{group}"))]


def _look(group: str, entry: EntryPoint) -> Plugin:
    package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
    plugin = Plugin(group, entry.name, package, version, entry.value, "ok")
    if not _allowed(entry):
        return plugin._replace(state="restricted", problem="not named in STREAMKIT_PLUGINS")
    same = [other for other in entry_points(group=entry.group, name=entry.name) if _allowed(other)]
    if problem := _clash(same):
        return plugin._replace(state="clash", problem=problem)
    try:
        _load(group, entry)
    except PluginError as error:
        return plugin._replace(state="broken", problem=str(error))
    return plugin


def _clash(found: list[EntryPoint]) -> str:
    if len({entry.value for entry in found}) < 2:
        return ""
    owners = ", ".join(sorted(entry.dist.name if entry.dist else entry.value for entry in found))
    return f"expected one package to offer {found[0].name!r}, found several: {owners}"


def _load(group: str, entry: EntryPoint) -> Any:
    try:
        loaded = entry.load()
    # Importing a third-party module can raise anything, `sys.exit` included.
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"streamkit.{group}: {entry.name!r} can't be loaded from {entry.value}: {type(error).__name__}: {error}"
        ) from error
    if (api := getattr(sys.modules.get(entry.module), "STREAMKIT_API", API)) != API:
        raise PluginError(
            f"streamkit.{group}: {entry.name!r} of {entry.value} was written for API {api!r}, this streamkit has {API}"
        )
    return loaded


def _allowed(entry: EntryPoint) -> bool:
    wanted = os.environ.get("STREAMKIT_PLUGINS")
    if wanted is None:
        return True
    return entry.dist is not None and _normal(entry.dist.name) in map(_normal, wanted.split(","))


def _normal(name: str) -> str:
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
