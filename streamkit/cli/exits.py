"""Exit codes, and how a command ends: by itself, by an error, by a signal, or because nobody reads its output.

However it ends, the cursor is visible again, what was received until then is written, and there is no traceback.
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
"""The exit code for the reason for which an answer ended."""
WRONG_ARGUMENTS = 2
"""As argparse has it."""
OF_AN_ANSWER = "how the answer ended: " + ", ".join(
    f"{code} {reason}" for reason, code in EXIT_CODES.items() if reason != "cancelled"
)
OF_A_COMMAND = "0 success, 1 an error"
CLOSED_PIPE = 141
"""As a shell has it for SIGPIPE: 128 and the number of the signal, 13."""
_SHOW_CURSOR = "\x1b[?25h"


def run(command: Callable[[], int], *, verbose: bool = False, needs_output: bool = True) -> int:
    """Run the command, and return its exit code.

    An error is one line on standard error. Ctrl-C and SIGTERM cancel what runs, which then closes
    its connections and writes what it has.
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
        # Also what a stage, a tool or a plugin of the user's raises.
        except Exception as error:
            code = code_of(error)
            _say(complaint(error, verbose=verbose))
        except KeyboardInterrupt:
            # The shell's prompt begins on a line of its own.
            with suppress(OSError):
                print(file=sys.stderr)
            code = 128 + (received[0] if received else signal.SIGINT)
    _restore()
    return code


def code_of(error: Exception) -> int:
    """The exit code of a command that fails so: 2 if it was called wrongly, and 1 for everything else.

    Whatever an argument names can be wrong: a stage, a file of rules or with a request, an input, the variable of a key.
    """
    called_wrongly = isinstance(error, PipelineError) and not isinstance(error, QueueOverflow)
    return WRONG_ARGUMENTS if called_wrongly else 1


def _opened(needs_output: bool) -> int:
    """Open what the caller has closed, such as by `>&-`, so that no file of ours gets the number of a standard stream."""
    closed = sys.stdout is None  # pyright: ignore[reportUnnecessaryComparison]
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, _null(number, mode))
    if closed and needs_output:
        _say("standard output is closed; to discard the output, redirect it to the null device")
        return 1
    # A character that the encoding of the output lacks becomes a question mark; a byte of the input that is none is kept.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace"), (sys.stderr, "replace")):
        # What stands in for a file may lack the method.
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
    """Let SIGTERM, and SIGHUP where there is one, do what Ctrl-C does; the list has what was received."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = signal.getsignal(signal.SIGINT)
        # asyncio's, while a loop runs. It is none where SIGINT is ignored, as in a job that a script runs in the background.
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    # One that is ignored, as `nohup` does with SIGHUP, stays so.
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
            # Python would flush again when it exits, and print a traceback.
            _discard(stream)


def _discard(stream: Any) -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")


def _say(text: str) -> None:
    with suppress(OSError):
        print(f"streamkit: {text}", file=sys.stderr)
