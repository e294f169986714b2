"""Names of a package that are imported when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attribute(package: str, name: str, where: Mapping[str, str]) -> Any:
    """The object that `where` has for a name, as `module:name`, or as a module. Raises `AttributeError` for any other name."""
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, attribute = where[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def lazily(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names are imported from `where` at their first use. (PEP 562)"""
    this = sys.modules[package]

    def get(name: str) -> Any:
        found = attribute(package, name, where)
        setattr(this, name, found)
        return found

    return get, lambda: sorted(this.__all__)
