"""Files of rules, pipelines and the like: read whole, within a bound; what is wrong with one is a typed error."""

import os
from pathlib import Path
from typing import cast

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError

MAX_BYTES = 16 * 1024 * 1024
"""More is no file of rules or of a pipeline, but one that was named by mistake; a device never ends."""


def as_path(path: object) -> Path:
    """The path. What is none raises `PipelineError`."""
    try:
        return Path(cast("str | os.PathLike[str]", path))
    except TypeError:
        raise PipelineError(f"expected a path, found {kind_of(path)}") from None


def read(path: str | os.PathLike[str], called: str | None = None) -> bytes:
    """All of a file. One that is missing, unreadable, no file or too large raises `PipelineError`, which has its path or what
    it is `called`."""
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
    """All of a file as UTF-8. What is none raises `PipelineError` too."""
    try:
        return read(path, called).decode()
    except UnicodeDecodeError as error:
        raise PipelineError(f"{called or as_path(path).name}: {error}") from None


def name_of(path: Path) -> str:
    """The path for a message: printable, and of a long one the end."""
    text = str(path) if str(path).isprintable() else repr(str(path))[1:-1]
    return text if len(text) <= 300 else f"…{text[-300:]}"


def reason_of(error: OSError | ValueError) -> str:
    """Why a file can't be opened, without its name."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # A NUL, or half of a surrogate pair, is in no name of a file; a closed file raises the same error.
    return "it is closed" if "closed" in str(error) else "its name can't be that of a file"
