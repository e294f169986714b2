"""The recorded responses that a command reads: files, folders, globs, gzip, JSONL with one exchange per line, standard input.

An argument that matches nothing readable raises `PipelineError` before anything is read: it is a wrong argument.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from streamkit.batch import inputs
from streamkit.batch.exchange import read_line
from streamkit.errors import LimitExceeded, PipelineError, ProtocolError, RecordingError
from streamkit.plugins.config_files import name_of, reason_of
from streamkit.sources.recording import unzipped


class Answer(msgspec.Struct, frozen=True):
    """The bytes of an exchange (a body or a recording), or the `problem` why they can't be read."""

    name: str
    content: bytes = b""
    problem: str | None = None


def answers(names: Sequence[str]) -> Iterator[Answer]:
    """Yield all responses, in order; `-` is standard input."""
    check(name for name in names if name != "-")
    for name in names:
        if name == "-":
            yield _of_standard_input()
            continue
        for place in inputs.places([name]):
            yield _read(place.input)


def _of_standard_input() -> Answer:
    try:
        return Answer("standard input", unzipped(sys.stdin.buffer.read()))
    except (RecordingError, LimitExceeded) as error:
        return Answer("standard input", problem=f"{type(error).__name__}: {error}")


def check(names: Iterable[str]) -> None:
    """Raise `PipelineError` for a name that is not a file, a folder with recordings or a matching glob."""
    for name in names:
        try:
            inputs.check([name])
        except RecordingError as error:
            raise PipelineError(str(error)) from error


def check_file(path: Path) -> None:
    """Raise `PipelineError` for a path that can't be read as a file. It is not opened, because a pipe can be opened only once."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{name_of(path)} can't be read: {reason_of(error)}") from error


def _read(found: inputs.Input) -> Answer:
    name = found.name if found.line is None else f"{found.name}:{found.line}"
    try:
        content = found.read("")
        return Answer(name, content if found.line is None else read_line(content)[1])
    except (RecordingError, ProtocolError) as error:
        return Answer(name, problem=f"{type(error).__name__}: {error}")
