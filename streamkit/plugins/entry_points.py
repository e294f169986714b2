"""Entry points: plugins of separately installed packages. A plugin is imported when it is first used.

A package registers objects by name in a group `streamkit.<group>`:

    [project.entry-points."streamkit.stages"]
    shout = "my_package:Shout"

    stages      a stage class, or a function that returns a stage        by name in pipeline files
    dialects    a subclass of `Dialect`                                  `Extract("name")`, or detected by its first event
    moderators  a check function                                         by name in a rule
    counters    a token counter                                          by name in `Count`
    sources     a function that returns a source
    encodings   a function that returns a tiktoken table
    emitters    a class or function that takes `Settings`                `Emit("name")`, `respond(…, emit="name")`
    prices      a function that returns a price table                    `Count(prices="name")`, `Budget(prices="name")`

The plugin's module may declare `STREAMKIT_API = 1`, the plugin API version that it was written for. The environment variable
`STREAMKIT_PLUGINS` is a comma-separated list of the packages whose plugins may be used; an empty value disables all plugins.
"""

import difflib
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError, PluginError

API = 1
BY_MODULE = "package.module:name"
FIRST_PARTY = {
    **dict.fromkeys(
        (
            ("encodings", name)
            for name in ("cl100k_base", "o200k_base", "o200k_harmony", "p50k_base", "p50k_edit", "r50k_base")
        ),
        "streamkit-encodings",
    ),
    ("stages", "otel"): "streamkit-otel",
    ("stages", "pii"): "streamkit-pii",
    ("moderators", "pii-card"): "streamkit-pii",
    ("moderators", "pii-iban"): "streamkit-pii",
    ("moderators", "pii-national-id"): "streamkit-pii",
    ("moderators", "pii-phone"): "streamkit-pii",
    ("prices", "genai"): "streamkit-prices",
}
"""The packages in `plugins/` by group and name, for the error message if one of them is not installed."""
_KNOWN: set[tuple[str, str]] = set()
GROUPS = ("stages", "dialects", "moderators", "counters", "sources", "encodings", "prices", "emitters")


class Plugin(NamedTuple):
    """One entry point and its state, as returned by `installed`."""

    group: str
    name: str
    package: str
    version: str
    target: str
    state: Literal["ok", "broken", "clash", "restricted"]
    problem: str = ""
    """The error message; empty if there is no error."""


def find(group: str, name: str) -> Any:
    """Return the object registered under `name` in `streamkit.<group>`; `None` if there is none.

    Raises `PluginError` if two packages register the same name, if the object can't be imported, or if it was written for another
    API version.
    """
    found = [entry for entry in entry_points(group=f"streamkit.{group}", name=name) if _allowed(entry)]
    if not found:
        return None
    if problem := _clash(found):
        raise PluginError(f"streamkit.{group}: {problem}")
    return _load(group, found[0])


def names(group: str) -> list[str]:
    """Return the names that installed packages register in a group. Imports no plugin."""
    return sorted({entry.name for entry in entry_points(group=f"streamkit.{group}") if _allowed(entry)})


def check_name(group: str, name: str, own: Iterable[str] = (), *, also: str = "") -> None:
    """Raise `PipelineError` if neither streamkit (`own`) nor an installed package offers the name. Imports no plugin.

    A name that was found is not looked up again, because stages are copied for every run.
    """
    if name in own or (group, name) in _KNOWN:
        return
    if name not in names(group):
        raise PipelineError(unknown(group, name, own, also=also))
    _KNOWN.add((group, name))


def unknown(group: str, name: str, own: Iterable[str] = (), *, also: str = "") -> str:
    """Return the error message for an unknown name in a group: neither one of streamkit's `own` nor a plugin.

    The message lists all known names. `also`: what is accepted besides a name, such as `BY_MODULE`.
    """
    known = sorted({*own, *names(group)})
    near = difflib.get_close_matches(name, known, 1)
    listed = ", ".join(known) or "that installed packages offer, of which there are none"
    otherwise = f"{'' if known else ','} or {also}" if also else ""
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"expected one of the {group} {listed}{otherwise}; found {shown(name)}{_offered(group, name) or hint}"


def _offered(group: str, name: str) -> str:
    if entries := list(entry_points(group=f"streamkit.{group}", name=name)):
        owners = ", ".join(sorted(entry.dist.name for entry in entries if entry.dist))
        return f", which is disabled: STREAMKIT_PLUGINS does not name {owners}"
    package = FIRST_PARTY.get((group, name))
    return f": install {package}, which offers it" if package else ""


def installed() -> list[Plugin]:
    """Load every plugin of the installed packages and return their states. A broken plugin is reported and does not raise."""
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
