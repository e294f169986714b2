"""Where complete answers are kept: bounded memory, a folder, or a store of one's own."""

import os
import tempfile
import time
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from streamkit.hops.channel import at_least_one


class AnswerStore(Protocol):
    """Keeps recordings by name. It may forget any of them at any time; an exception of it never fails an answer."""

    async def get(self, name: str) -> bytes | None:
        """The recording of that name, as it was put; `None` if there is none. `name` is 64 hexadecimal digits."""
        ...

    async def put(self, name: str, recording: bytes) -> None:
        """Keep a recording, in place of one of that name."""
        ...


class MemoryStore:
    """Recordings in memory, of `max_bytes` in all; those that were not used for longest are dropped first."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        at_least_one(max_bytes=max_bytes)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._recordings: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._recordings)

    async def get(self, name: str) -> bytes | None:
        """The recording of that name; it counts as used now."""
        if name in self._recordings:
            self._recordings.move_to_end(name)
        return self._recordings.get(name)

    async def put(self, name: str, recording: bytes) -> None:
        """Keep a recording, and drop others if there is no room; one that is larger than all the room is not kept."""
        self._bytes -= len(self._recordings.pop(name, b""))
        if len(recording) <= self._max_bytes:
            self._recordings[name] = recording
            self._bytes += len(recording)
        while self._bytes > self._max_bytes:
            _, dropped = self._recordings.popitem(last=False)
            self._bytes -= len(dropped)


class FolderStore:
    """Recordings as files `<name>.jsonl` of a folder, of `max_bytes` in all; `replay` and `streamkit show` read them.

    The folder is made if it is missing. A file appears when it is complete, also for other processes that use the same folder;
    the ones that were not used for longest are removed first. Files are read and written in a thread.
    """

    def __init__(self, folder: str | PathLike[str], max_bytes: int = 2**30) -> None:
        at_least_one(max_bytes=max_bytes)
        self._folder = Path(folder)
        self._max_bytes = max_bytes

    async def get(self, name: str) -> bytes | None:
        """The recording of that name; it counts as used now. `OSError` for a file that can't be read."""
        return await anyio.to_thread.run_sync(self._get, name)

    async def put(self, name: str, recording: bytes) -> None:
        """Write a recording, and remove others if there is no room. `OSError` if it can't be written."""
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
        # Under another name until it is whole, so that nobody reads a part of it.
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
        # The file system's own clock may stand still for some milliseconds.
        now = time.time_ns()
        os.utime(path, ns=(now, now))

    def _make_room(self) -> None:
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
