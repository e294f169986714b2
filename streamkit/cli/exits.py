"""Exit codes, and the handling of errors, signals and closed pipes.

At every end of a command, the cursor is visible again, everything received so far is written, and no traceback is printed.
"""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from streamkit.cli.complaint import complaint
from streamkit.completion import EndReason
from streamkit.errors import PipelineError, QueueOverflow

EXIT_CODES: dict[EndReason, int] = {
    "completed": 0,
    "tool_calls": 0,
    "error": 1,
    "length": 3,
    "content_filter": 4,
    "truncated": 5,
    "provider_error": 6,
    "moderated": 7,
    "timeout": 8,
    "limit": 9,
    "unknown": 10,
    "cancelled": 130,
}
"""The exit code for each end reason of a response."""
WRONG_ARGUMENTS = 2
"""The exit code of argparse."""
OF_AN_ANSWER = "how the answer ended: " + ", ".join(
    f"{code} {reason}" for reason, code in EXIT_CODES.items() if reason != "cancelled"
)
OF_A_COMMAND = "0 success, 1 an error"
CLOSED_PIPE = 141
"""The exit code of shells for SIGPIPE: 128 plus the signal number, 13."""
_SHOW_CURSOR = "\x1b[?25h"


def run(command: Callable[[], int], *, verbose: bool = False, needs_output: bool = True) -> int:
    """Run the command and return its exit code.

    An error is printed as one line on standard error. Ctrl-C and SIGTERM cancel the command, which then closes its connections
    and writes its partial output.
    """
    code = _opened(needs_output)
    if code:
        return code
    with _signals() as received, warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            code = command()
            sys.stdout.flush()
        except BrokenPipeError:
            code = CLOSED_PIPE
        # Includes exceptions of the user's stages, tools and plugins.
        except Exception as error:
            code = code_of(error)
            _print_error(complaint(error, verbose=verbose))
        except KeyboardInterrupt as interrupt:
            # The shell's prompt must start on a new line.
            with suppress(OSError):
                print(file=sys.stderr)
            for note in getattr(interrupt, "__notes__", ()):
                _print_error(note)
            code = 128 + (received[0] if received else signal.SIGINT)
    _restore()
    return code


def code_of(error: Exception) -> int:
    """Return the exit code for an error: 2 for wrong arguments, and 1 for everything else.

    Wrong arguments include a stage, a rule file, a request file, an input or the variable of a key that can't be used.
    """
    called_wrongly = isinstance(error, PipelineError) and not isinstance(error, QueueOverflow)
    return WRONG_ARGUMENTS if called_wrongly else 1


def _opened(needs_output: bool) -> int:
    """Reopen standard streams that the caller has closed, for example with `>&-`, so that no other file gets their number."""
    closed = sys.stdout is None  # pyright: ignore[reportUnnecessaryComparison]
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, _null(number, mode))
    if closed and needs_output:
        _print_error("standard output is closed; to discard the output, redirect it to the null device")
        return 1
    # Characters that the output encoding can't represent become question marks; invalid input bytes become surrogates.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace"), (sys.stderr, "replace")):
        # A replacement of a standard stream may not have the method.
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors=errors)
    return 0


def _null(number: int, mode: str) -> Any:
    opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, mode, encoding="utf-8", closefd=False)


@contextmanager
def _signals() -> Generator[list[int]]:
    """Handle SIGTERM, and SIGHUP if it exists, like Ctrl-C; the yielded list has the received signals."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = signal.getsignal(signal.SIGINT)
        # While a loop runs, this is asyncio's handler. It is not callable if SIGINT is ignored, as in background jobs of scripts.
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    # An ignored signal stays ignored, such as SIGHUP under `nohup`.
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _restore() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream.isatty():
                stream.write(_SHOW_CURSOR)
            stream.flush()
        except (OSError, ValueError):
            # Otherwise Python would flush again at exit and print a traceback.
            _discard(stream)


def _discard(stream: Any) -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    _print_error(f"warning: {message}")


def _print_error(text: str) -> None:
    with suppress(OSError):
        print(f"streamkit: {text}", file=sys.stderr)
