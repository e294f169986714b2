"""A file that worker threads open and read. Its last user closes it, so cancelling a reader does not wait for the thread."""

from collections.abc import Callable
from threading import Lock
from typing import IO, Any, Generic, TypeVar

import anyio.to_thread

T = TypeVar("T")


class Handle(Generic[T]):
    """A file that is opened at its first use.

    A thread can't be cancelled: it may still open or read the file after the task that awaited it was cancelled. In that case
    the thread closes the file. Otherwise a file that it opened would stay open, and closing a file during a read would block
    the event loop until the read returns.
    """

    def __init__(self, open: Callable[[], IO[Any]]) -> None:
        self._open = open
        self._lock = Lock()
        self._file: IO[Any] | None = None
        self._used = False
        self._closed = False

    async def run(self, use: Callable[[IO[Any]], T]) -> T | None:
        """Return `use(file)`, called in a worker thread; `None` if the file is closed. Cancellation does not wait for it."""
        return await anyio.to_thread.run_sync(self._run, use, abandon_on_cancel=True)

    def close(self) -> None:
        """Close the file now, or as soon as the thread that uses it is done."""
        with self._lock:
            self._closed = True
            if self._used:
                return
        self._release()

    def _run(self, use: Callable[[IO[Any]], T]) -> T | None:
        with self._lock:
            if self._closed:
                return None
            self._used = True
        try:
            if self._file is None:
                self._file = self._open()
            return use(self._file)
        finally:
            with self._lock:
                self._used, closed = False, self._closed
            if closed:
                self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
