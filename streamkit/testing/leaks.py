"""Detects resources that a block of code leaks."""

import asyncio
import gc
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_leaks() -> Generator[None, None, None]:
    """Raise `AssertionError` if the block leaks a task or an open file, or causes an unraisable exception or a
    `ResourceWarning`.

    Tasks are those of the running asyncio loop. Open files are counted in `/proc`, if the system has it. An unraisable exception
    is one that was raised in a finalizer.
    """
    complaints: list[str] = []

    def lost(unraisable: Any) -> None:
        complaints.append(f"lost in a finalizer: {unraisable.exc_type.__name__}: {unraisable.exc_value}")

    before, tasks, hook = _files(), _tasks(), sys.unraisablehook
    sys.unraisablehook = lost
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
    complaints += [f"ResourceWarning: {found.message}" for found in caught if found.category is ResourceWarning]
    complaints += [f"a task: {task.get_name()}" for task in _tasks() - tasks]
    if (more := _files() - before) > 0:
        complaints.append(f"open files: {more}")
    if complaints:
        raise AssertionError("left behind: " + "; ".join(complaints))


def _tasks() -> "set[asyncio.Task[Any]]":
    try:
        return {task for task in asyncio.all_tasks() if not task.done()}
    # No asyncio loop is running.
    except RuntimeError:
        return set()


def _files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
