"""`streamkit doctor`: what this installation has, and what it lacks."""

import hashlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from rich.console import Console

import streamkit
from streamkit import plugins

TABLES = ("o200k_base", "cl100k_base", "p50k_base", "r50k_base")
OPTIONAL = ("streamkit-encodings", "trio", "starlette", "httpx", "openai", "anthropic")


def run(console: Console) -> int:
    """Print it. 1 if something is missing that is needed."""
    healthy = True
    for name, found, well in [*_python(), *_packages(), *_tables(), *_terminal(console)]:
        healthy = healthy and well
        console.out(f"{name:22} {found}", highlight=False)
    return 0 if healthy else 1


def where_table(encoding: str) -> str | None:
    """Where the table of an encoding is found without the network: in a package or in tiktoken's cache; else `None`."""
    # Encodings that differ only in their special tokens share a table.
    table = {"o200k_harmony": "o200k_base", "p50k_edit": "p50k_base"}.get(encoding, encoding)
    if plugins.find("encodings", table):
        return "installed"
    return "in tiktoken's cache" if _cached(table) else None


def _cached(table: str) -> bool:
    # As tiktoken.load.read_file_cached finds it: the folder by these variables, the file by the address's SHA-1.
    default = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    address = f"https://openaipublic.blob.core.windows.net/encodings/{table}.tiktoken"
    return bool(folder) and Path(folder, hashlib.sha1(address.encode()).hexdigest()).is_file()


def _python() -> Iterator[tuple[str, str, bool]]:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"
    well = sys.version_info >= (3, 11)
    yield "Python", found if well else f"{found}, but 3.11 or later is needed", well
    yield "streamkit", streamkit.__version__, True


def _packages() -> Iterator[tuple[str, str, bool]]:
    try:
        needed = [requirement for requirement in requires("streamkit-llm") or () if ";" not in requirement]
    except PackageNotFoundError:
        needed = []
        yield "packages", "streamkit-llm is not installed as a package, so that what it needs is not known", False
    for requirement in needed:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        found = _version(name)
        yield name, found or f"missing; needed is {requirement}", found is not None
    for name in OPTIONAL:
        yield name, _version(name) or "not installed; optional", True


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tables() -> Iterator[tuple[str, str, bool]]:
    for name in TABLES:
        yield f"table {name}", where_table(name) or "would be fetched: pip install streamkit-encodings", True


def _terminal(console: Console) -> Iterator[tuple[str, str, bool]]:
    kind = "a terminal" if console.is_terminal else "no terminal"
    live = "with live lines" if console.is_interactive else "without live lines"
    colors = "no colors" if console.no_color or not console.color_system else f"colors: {console.color_system}"
    yield "output", f"{kind}, {live}, {console.width} columns, {console.encoding}, {colors}", True
