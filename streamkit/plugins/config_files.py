"""Reads configuration files, such as rules and pipelines, up to a maximum size; every failure is a typed error."""

import os
from pathlib import Path
from typing import Annotated, TypeAlias, cast

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError

MAX_BYTES = 16 * 1024 * 1024
"""A larger file is not a configuration file but was named by mistake; a device such as `/dev/zero` never ends."""

SUFFIXES = (".toml", ".json")
NameOrFile: TypeAlias = Annotated[str | os.PathLike[str], "a file by its suffix"]
"""A name or the path of a file: text is a path if it ends with one of `SUFFIXES`. Pipeline files resolve relative ones."""
A_FILE = "the path of a .toml or .json file"


def is_file(given: str | os.PathLike[str]) -> bool:
    """Whether a `NameOrFile` is the path of a file."""
    return not isinstance(given, str) or given.lower().endswith(SUFFIXES)


def as_path(path: object) -> Path:
    """Return a `Path`. Raises `PipelineError` for an object that is not a path."""
    try:
        return Path(cast("str | os.PathLike[str]", path))
    except TypeError:
        raise PipelineError(f"expected a path, found {kind_of(path)}") from None


def read(path: str | os.PathLike[str], called: str | None = None) -> bytes:
    """Return the content of a file.

    A file that is missing, unreadable, a directory or too large raises `PipelineError`, which names its path, or `called`.
    """
    file = as_path(path)
    name = called or name_of(file)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PipelineError(f"{name} can't be read: {reason_of(error)}") from error
    if len(content) > MAX_BYTES:
        raise PipelineError(f"{name} can't be read: expected at most {MAX_BYTES} bytes, found more")
    return content


def read_text(path: str | os.PathLike[str], called: str | None = None) -> str:
    """Return the content of a file as text. Invalid UTF-8 raises `PipelineError` as well."""
    try:
        return read(path, called).decode()
    except UnicodeDecodeError as error:
        raise PipelineError(f"{called or as_path(path).name}: {error}") from None


def name_of(path: Path) -> str:
    """Return the path for a message: escaped if it is not printable, and shortened to its end if it is long."""
    text = str(path) if str(path).isprintable() else repr(str(path))[1:-1]
    return text if len(text) <= 300 else f"…{text[-300:]}"


def reason_of(error: OSError | ValueError) -> str:
    """Return the reason why a file can't be opened, without its name."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # ValueError: a NUL or a lone surrogate in the name, or a closed file.
    return "it is closed" if "closed" in str(error) else "its name can't be that of a file"
