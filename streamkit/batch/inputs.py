"""The inputs of a batch: files, folders, globs, gzip, and JSONL with one exchange per line, always in the same order.

Only a bounded number of names is kept in memory, for any number of files.
"""

import glob
import gzip
import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import dropwhile, islice
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from streamkit.errors import RecordingError
from streamkit.plugins.config_files import name_of, reason_of
from streamkit.sources.recording import GZIP, GZIP_ERRORS, MAX_BYTES, check_size, gzip_problem, is_recording

SUFFIXES = (".sse", ".jsonl", ".ndjson", ".json")
"""Suffixes of the files that are read from a folder, each also with `.gz`. A file named explicitly may have any suffix."""
SORTED_NAMES = 20_000
"""Maximum number of names sorted in memory; for larger folders, sorted runs are merged from temporary files."""


class Input(msgspec.Struct, frozen=True):
    """One exchange: a whole file, or one line of it. `offset` is its first byte in the uncompressed file.

    `data` is the content of a line in a gzip file, where a worker can't seek. `problem` is the reason why it can't be read.
    """

    path: str
    """The file, as named or found."""
    offset: int = 0
    line: int | None = None
    """The line in the file, from 1; `None` for a whole file."""
    length: int | None = None
    """The length in bytes, for a line."""
    data: bytes | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """The path as valid text; bytes that are not UTF-8 are escaped."""
        return name_as_text(self.path)

    def read(self, folder: str) -> bytes:
        """Return the uncompressed bytes of the exchange; relative paths start at `folder`.

        Raises `RecordingError` if it can't be read, and `LimitExceeded` above `MAX_BYTES`.
        """
        if self.problem is not None:
            raise RecordingError(self.problem)
        check_size(self.length or 0)
        if self.data is not None:
            return self.data
        try:
            with open_file(os.path.join(folder, self.path)) as file:
                return self._read(file)
        except (OSError, ValueError, *GZIP_ERRORS) as error:
            raise RecordingError(f"it can't be read: {why(error)}") from error

    def _read(self, file: IO[bytes]) -> bytes:
        if self.length is not None:
            file.seek(self.offset)
            return file.read(self.length)
        content = file.read(MAX_BYTES + 1)
        check_size(len(content))
        return content


def name_as_text(path: str) -> str:
    """Return a path as valid text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Place(msgspec.Struct, frozen=True):
    """An input, and the number of files read up to its end: 2.5 in the middle of the third file."""

    input: Input
    files: float


def check(inputs: Sequence[str]) -> None:
    """Raise `RecordingError` for an input that matches nothing, before anything is written."""
    if not inputs:
        raise RecordingError("expected at least one file, folder or glob, found none")
    for name in inputs:
        first = next(_files(name), None)
        if first is not None and os.path.basename(first) == os.curdir and os.path.isdir(name):
            raise RecordingError(f"the folder {name_of(Path(name))} can't be read: {_why_not_listed(name)}")
        if first is None:
            what = "folder with recordings" if os.path.isdir(name) else "file, folder or glob"
            raise RecordingError(f"expected a {what}, found nothing at {name_of(Path(name))}")


def files(inputs: Sequence[str], without: Iterable[str] = ()) -> Iterator[str]:
    """Yield the paths of all files except `without`, in the order of `inputs`; each folder is sorted by name."""
    own = {os.path.realpath(path) for path in without}
    names = {os.path.basename(path) for path in own}
    for name in inputs:
        # Compare names first, which needs no file system access.
        for path in _files(name):
            if os.path.basename(path) not in names or os.path.realpath(path) not in own:
                yield path


def places(inputs: Sequence[str], without: Iterable[str] = ()) -> Iterator[Place]:
    """Yield all exchanges, in order."""
    for number, path in enumerate(files(inputs, without)):
        for share, found in _exchanges(path):
            yield Place(found, number + share)


def why(error: Exception) -> str:
    """Return the reason why a file can't be read, without its name."""
    return gzip_problem(error) or reason_of(cast("OSError | ValueError", error))


def open_file(path: str) -> IO[bytes]:
    """Open a file; a file that starts with the gzip signature is decompressed. (RFC 1952, 2.3.1)"""
    file = open(path, "rb")  # noqa: SIM115 -- it is the caller's to close, or that of the file around it
    try:
        if file.peek(2)[:2] != GZIP:
            return file
        return cast("IO[bytes]", _Unzipped(file))
    except BaseException:
        file.close()
        raise


class _Unzipped(gzip.GzipFile):
    # Also closes the underlying file, which GzipFile leaves open.
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file, mode="rb")
        self.compressed = file

    def close(self) -> None:
        super().close()
        self.compressed.close()


# Files


def _files(name: str) -> Iterator[str]:
    if os.path.isdir(name):
        return _folder(name)
    if os.path.isfile(name):
        return iter((name,))
    return _matches(name) if glob.has_magic(name) else iter(())


def _matches(pattern: str) -> Iterator[str]:
    folders: set[str] = set()
    last = ""
    for path in in_order(_glob(pattern.rstrip(os.sep))):
        # Each file once: two `**` may match it in several ways, and `**/*` also matches its folder.
        if path == last or (folders and not folders.isdisjoint(_parents(path))):
            continue
        last = path
        if _is_file(path):
            yield path
        elif os.path.isdir(path) and not ("**" in pattern.split(os.sep) and os.path.islink(path)):
            folders.add(path)
            yield from _folder(path)


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) not in ("", path):
        yield (path := parent)


def _glob(pattern: str) -> Iterator[str]:
    """Like `glob.iglob`, but `**` does not follow symbolic links to folders, which may form cycles."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index("**")
    rest = os.sep.join(dropwhile("**".__eq__, parts[at:])) or "*"
    root = os.sep.join(parts[:at]) or os.path.splitdrive(pattern)[0] + os.sep * pattern.startswith(os.sep)
    for folder in glob.iglob(root) if glob.has_magic(root) else (root,):
        for each in _folders(folder):
            yield from _glob(os.path.join(glob.escape(each), rest))


def _folders(folder: str) -> Iterator[str]:
    """Yield a folder and all its subfolders, at any depth."""
    left = [folder]
    while left:
        yield (folder := left.pop())
        left += [os.path.join(folder, name)[:-1] for name in _entries(folder or os.curdir) if name.endswith(os.sep)]


def _folder(folder: str) -> Iterator[str]:
    # Without recursion, because folders may be nested deeper than the recursion limit.
    left = [_children(folder)]
    while left:
        path = next(left[-1], None)
        if path is None:
            left.pop()
        elif path.endswith(os.sep):
            left.append(_children(path[: -len(os.sep)]))
        else:
            yield path


def _children(folder: str) -> Iterator[str]:
    return (os.path.join(folder, name) for name in in_order(_entries(folder)))


def _entries(folder: str) -> Iterator[str]:
    # Folders are yielded with a trailing separator; `.` stands for a folder that can't be read. Symbolic links to folders are not
    # followed, because they may form cycles.
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name + os.sep
                elif entry.name.lower().removesuffix(".gz").endswith(SUFFIXES) and _is_file(entry.path):
                    yield entry.name
    except OSError:
        yield os.curdir


def _is_file(path: str) -> bool:
    # A broken or cyclic link counts as a file: reading it reports the error.
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def in_order(names: Iterable[str], at_once: int = SORTED_NAMES) -> Iterator[str]:
    """Yield the names in sorted order; more than `at_once` names are sorted in runs and merged from temporary files."""
    with ExitStack() as stack:
        names = iter(names)
        runs: list[Iterable[str]] = []
        while chunk := sorted(islice(names, at_once)):
            if len(chunk) < at_once and not runs:
                yield from chunk
                return
            runs.append(_spooled(chunk, stack.enter_context(tempfile.TemporaryFile())))
        yield from heapq.merge(*runs)


def _spooled(names: list[str], file: IO[bytes]) -> Iterator[str]:
    encoder = msgspec.json.Encoder()
    # JSON escapes a line end in a name; latin-1 carries bytes that are not UTF-8 through JSON.
    file.writelines(encoder.encode(os.fsencode(name).decode("latin-1")) + b"\n" for name in names)
    file.seek(0)
    return (os.fsdecode(cast("str", msgspec.json.decode(line)).encode("latin-1")) for line in file)


# Exchanges


def _exchanges(path: str) -> Iterator[tuple[float, Input]]:
    """Yield the exchanges of a file, each with the fraction of the file read up to its end."""
    if os.path.basename(path) == os.curdir:
        yield 1.0, Input(os.path.dirname(path), problem=f"the folder can't be read: {_why_not_listed(path)}")
        return
    if not path.lower().removesuffix(".gz").endswith(".jsonl"):
        yield 1.0, Input(path)
        return
    try:
        with open_file(path) as file:
            head = _next(file)
            if is_recording(head[0]):
                yield 1.0, Input(path)
            else:
                yield from _lines(path, file, head)
    # Reading the input raises the same error and reports it.
    except (OSError, *GZIP_ERRORS):
        yield 1.0, Input(path)


def _why_not_listed(folder: str) -> str:
    try:
        os.scandir(folder).close()
    except OSError as error:
        return why(error)
    return "it could not be a moment ago"


def _lines(path: str, file: IO[bytes], head: tuple[bytes, int]) -> Iterator[tuple[float, Input]]:
    packed: Any = getattr(file, "compressed", None)
    size, offset, number = max(1, os.stat(path).st_size), 0, 1
    line, length = head
    while line:
        if line.strip():
            data = line if packed is not None and length <= MAX_BYTES else None
            share = min(1.0, (packed.tell() if packed is not None else offset + length) / size)
            yield share, Input(path, offset, number, length, data)
        offset, number = offset + length, number + 1
        try:
            line, length = _next(file)
        except (OSError, *GZIP_ERRORS) as error:
            yield 1.0, Input(path, offset, number, problem=f"the file can't be read from here on: {why(error)}")
            return


def _next(file: IO[bytes]) -> tuple[bytes, int]:
    """Return the next line and its length; a line longer than `MAX_BYTES` is truncated to that."""
    line = rest = file.readline(MAX_BYTES)
    length = len(line)
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(1 << 20)
        length += len(rest)
    return line, length
