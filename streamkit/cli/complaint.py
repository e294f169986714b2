"""The message of a failed command on standard error."""

import argparse
import os
import traceback
from pathlib import Path
from textwrap import indent

import streamkit
from streamkit.errors import ContentTypeError, ProviderError, StatusError, StreamkitError
from streamkit.plugins.config_files import name_of

_OURS = str(Path(streamkit.__file__).parent)


def complaint(error: Exception, *, verbose: bool = False) -> str:
    """Return the error message in one line.

    With `verbose`, it is followed by the provider's own reason, which may quote the prompt. For an exception that is not
    streamkit's, for example of a user's stage, it is followed by the traceback.
    """
    if isinstance(error, OSError):
        return _of_the_system(error)
    if not isinstance(error, StreamkitError):
        return _foreign(error, verbose=verbose)
    if not isinstance(error, StatusError | ContentTypeError | ProviderError):
        return str(error)
    reason = {"code": error.code, "type": error.type, "detail": error.detail}
    known = {name: value for name, value in reason.items() if value not in (None, "")}
    if not known:
        return str(error)
    if not verbose:
        return f"{error}; --verbose shows the provider's own reason"
    return "\n".join([str(error), *(indent(f"{name}: {value}", "  ") for name, value in known.items())])


def _of_the_system(error: OSError) -> str:
    if not error.strerror or not isinstance(error.filename, str | bytes):
        return str(error)
    return f"{name_of(Path(os.fsdecode(error.filename)))}: {error.strerror}"


def _foreign(error: Exception, *, verbose: bool) -> str:
    # The message of a foreign exception may contain any text, such as that of the response.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    place = f", {name_of(Path(frames[-1].filename))}, line {frames[-1].lineno}" if frames else ""
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    summary = f"{type(error).__name__}{notes}{place}"
    if not verbose:
        return f"{summary}; --verbose shows the traceback"
    return "\n".join([summary, "".join(traceback.format_exception(error)).rstrip()])


def describe_verbose(parser: argparse.ArgumentParser) -> None:
    """Add `--verbose`."""
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the provider's own reason for an error, which may quote the prompt, or the traceback",
    )
