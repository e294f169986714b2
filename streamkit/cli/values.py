"""Types of option values: bounded numbers, text, and output files. An invalid value is a wrong argument."""

import argparse
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from streamkit.errors import PipelineError
from streamkit.plugins.config_files import name_of, reason_of


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a type for integers from `least` up to `most`."""
    expected = f"{least} or more" if most is None else f"{least} to {most}"

    def convert(text: str) -> int:
        if text.isdecimal() and len(text) < 20 and least <= (number := int(text)) and (most is None or number <= most):
            return number
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")

    return convert


port = whole(0, 65535)


def seconds(text: str) -> float:
    """Parse seconds, up to an hour."""
    with suppress(ValueError):
        if 0 <= (found := float(text)) <= 3600:
            return found
    raise argparse.ArgumentTypeError(f"expected 0 to 3600 seconds, found {text!r}")


def sent(text: str) -> str:
    """Check text that is sent in a request: it must be valid UTF-8."""
    if not has_utf8_form(text):
        raise argparse.ArgumentTypeError("expected text in UTF-8")
    return text


def has_utf8_form(text: str) -> bool:
    """Whether the text has no lone surrogates, by which Python represents bytes that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def check_outputs(*names: str | None) -> None:
    """Raise `PipelineError` for a file that can't be written, before anything is read or sent."""
    for path in (Path(name) for name in names if name is not None):
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            place = path if path.exists() else path.parent.resolve(strict=True)
            if not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except (OSError, ValueError) as error:
            raise PipelineError(f"{name_of(path)} can't be written: {reason_of(error)}") from error
