"""Entry points: how separately installed packages are found. Nothing is imported before it is asked for."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from streamkit.errors import PluginError


def find(group: str, name: str) -> Any:
    """The object that an installed package offers under `name` in `streamkit.<group>`; `None` if no package does.

    Two packages that offer the same name, and one that can't be imported, raise `PluginError`.
    """
    found: list[EntryPoint] = list(entry_points(group=f"streamkit.{group}", name=name))
    if len({entry.value for entry in found}) > 1:
        owners = ", ".join(sorted(entry.dist.name if entry.dist else entry.value for entry in found))
        raise PluginError(f"streamkit.{group}: expected one package to offer {name!r}, found several: {owners}")
    if not found:
        return None
    try:
        return found[0].load()
    except Exception as error:
        raise PluginError(f"streamkit.{group}: {name!r} can't be loaded from {found[0].value}: {error}") from error
