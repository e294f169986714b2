"""The message of a failed command on standard error."""

import argparse
from textwrap import indent

from streamkit.errors import ContentTypeError, ProviderError, StatusError


def complaint(error: Exception, *, verbose: bool = False) -> str:
    """The error's message, in one line. With `verbose` the provider's own reason follows it, which may quote the prompt."""
    if not isinstance(error, StatusError | ContentTypeError | ProviderError):
        return str(error)
    reason = {"code": error.code, "type": error.type, "detail": error.detail}
    known = {name: value for name, value in reason.items() if value not in (None, "")}
    if not known:
        return str(error)
    if not verbose:
        return f"{error}; --verbose shows the provider's own reason"
    return "\n".join([str(error), *(indent(f"{name}: {value}", "  ") for name, value in known.items())])


def describe_verbose(parser: argparse.ArgumentParser) -> None:
    """Add `--verbose`."""
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the provider's own reason of an error, which may quote the prompt",
    )
