"""Lazy imports: names of a package that are imported on first use."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def attribute(package: str, name: str, where: Mapping[str, str], named: Sequence[str] = ()) -> Any:
    """Import the object or module that `where` lists for `name`, as `module:name` or `module`.

    Raises `AttributeError` if it lists none; the message says which of the modules `named`, keys of `where`, has the name.
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}{_elsewhere(package, name, where, named)}")
    module, _, attribute = where[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def _elsewhere(package: str, name: str, where: Mapping[str, str], named: Sequence[str]) -> str:
    # Names with an underscore are those that Python and tools look for in any module.
    for module in () if name.startswith("_") else named:
        found = getattr(import_module(where[module]), name, None)
        if getattr(found, "__module__", "").partition(".")[0] == package:
            return f"; write {package}.{module}.{name}"
    return ""


def lazily(
    package: str, where: Mapping[str, str], named: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names are imported from `where` on first use. (PEP 562)

    For `named` see `attribute`.
    """
    this = sys.modules[package]

    def get(name: str) -> Any:
        found = attribute(package, name, where, named)
        setattr(this, name, found)
        return found

    return get, lambda: sorted(this.__all__)


def missing_extra(feature: str, library: str, extra: str) -> str:
    """The error message for a library that is not installed, which one of the distribution's extras has."""
    return f"{feature} needs {library}: install the extra {extra!r} of streamkit-llm (in a clone: pip install '.[{extra}]')"
