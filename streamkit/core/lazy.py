"""Lazy imports: names of a package that are imported on first use."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attribute(package: str, name: str, where: Mapping[str, str]) -> Any:
    """Import the object or module that `where` lists for `name`, as `module:name` or `module`. Raises `AttributeError` if it
    lists none."""
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, attribute = where[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def lazily(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names are imported from `where` on first use. (PEP 562)"""
    this = sys.modules[package]

    def get(name: str) -> Any:
        found = attribute(package, name, where)
        setattr(this, name, found)
        return found

    return get, lambda: sorted(this.__all__)
