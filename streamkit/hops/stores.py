"""Stores for complete responses: bounded memory, a folder, or a custom store."""

import os
import tempfile
import time
from collections import OrderedDict
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from streamkit.core.options import NamedOptions
from streamkit.hops.channel import at_least_one

_ABANDONED_SECONDS = 3600
"""A file that is not complete after that time belongs to a process that has ended."""


class AnswerStore(Protocol):
    """Stores recordings by name. It may drop any recording at any time; its exceptions never fail a request."""

    async def get(self, name: str) -> bytes | None:
        """Return the stored recording; `None` if there is none. `name` is 64 hexadecimal digits."""
        ...

    async def put(self, name: str, recording: bytes) -> None:
        """Store a recording, replacing one of the same name."""
        ...


class MemoryStore(NamedOptions):
    """Recordings in memory, `max_bytes` in total; the least recently used ones are dropped first."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        at_least_one(max_bytes=max_bytes)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._recordings: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._recordings)

    async def get(self, name: str) -> bytes | None:
        """Return a recording and mark it as used; `None` if there is none."""
        if name in self._recordings:
            self._recordings.move_to_end(name)
        return self._recordings.get(name)

    async def put(self, name: str, recording: bytes) -> None:
        """Store a recording, and drop others if there is no room; one larger than `max_bytes` is not stored."""
        self._bytes -= len(self._recordings.pop(name, b""))
        if len(recording) <= self._max_bytes:
            self._recordings[name] = recording
            self._bytes += len(recording)
        while self._bytes > self._max_bytes:
            _, dropped = self._recordings.popitem(last=False)
            self._bytes -= len(dropped)


class FolderStore(NamedOptions):
    """Recordings as files `<name>.jsonl` in a folder, `max_bytes` in total; `replay` and `streamkit show` read them.

    The folder is created if it is missing. Files are written atomically, so several processes can use the same folder. The least
    recently used files are removed first. Files are read and written in a thread.
    """

    def __init__(self, folder: str | PathLike[str], max_bytes: int = 2**30) -> None:
        at_least_one(max_bytes=max_bytes)
        self._folder = Path(folder)
        self._max_bytes = max_bytes

    async def get(self, name: str) -> bytes | None:
        """Return a recording and mark it as used; `None` if there is none. Raises `OSError` if the file can't be read."""
        return await anyio.to_thread.run_sync(self._get, name)

    async def put(self, name: str, recording: bytes) -> None:
        """Write a recording, and remove others if there is no room. Raises `OSError` if it can't be written."""
        await anyio.to_thread.run_sync(self._put, name, recording)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _get(self, name: str) -> bytes | None:
        try:
            content = self._file(name).read_bytes()
            self._mark_used(self._file(name))
        except FileNotFoundError:
            return None
        return content

    def _put(self, name: str, recording: bytes) -> None:
        if len(recording) > self._max_bytes:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        # Written under a temporary name first, so that no reader sees an incomplete file.
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(recording)
            self._mark_used(temporary)
            os.replace(temporary, self._file(name))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._make_room()

    @staticmethod
    def _mark_used(path: str | Path) -> None:
        # Timestamps set by the file system may have a resolution of some milliseconds.
        now = time.time_ns()
        os.utime(path, ns=(now, now))

    def _make_room(self) -> None:
        abandoned = time.time() - _ABANDONED_SECONDS
        for path in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < abandoned:
                    path.unlink()
        found: list[tuple[int, int, Path]] = []
        for path in self._folder.glob("*.jsonl"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process has removed it
            found.append((status.st_mtime_ns, status.st_size, path))
        size = sum(length for _, length, _ in found)
        for _, length, path in sorted(found):
            if size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            size -= length
