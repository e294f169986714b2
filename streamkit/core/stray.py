"""Cancellation that is none: asyncio's `CancelledError` raised by awaited code whose own task nobody has cancelled.

A library that cancels a task of its own and awaits it raises one, as does a future that somebody else cancelled. A task that
ends so counts as cancelled, and what it had to deliver is lost without an error.
"""

import math
import sys

from streamkit.errors import StreamInterrupted


class _StrayCancellation:
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and not isinstance(error, Exception) and _is_stray(error):
            raise StreamInterrupted(
                "CancelledError was raised by the awaited code, though nothing had cancelled this task"
            ) from error


stray_cancellation_fails = _StrayCancellation()
"""A context that raises `StreamInterrupted` in place of a stray `CancelledError`. Trio has none."""


def _is_stray(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another event loop's
        return False
    if task is None or task.cancelling():
        return False
    import anyio

    # Between two deliveries of a cancelled scope of anyio, the task's own count may be 0.
    return anyio.current_effective_deadline() != -math.inf
