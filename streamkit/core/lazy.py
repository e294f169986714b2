"""Names of a package that are imported when they are first used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def attribute(package: str, name: str, where: Mapping[str, str]) -> Any:
    """The object that `where` has for a name, as `module:name`, or as a module. Raises `AttributeError` for any other name.

    For the `__getattr__` of a package (PEP 562).
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, attribute = where[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
