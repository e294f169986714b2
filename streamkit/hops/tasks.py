"""Work in tasks beside a block of code, which end with it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def beside(*works: Work, unclosed: Sequence[Exception] = ()) -> AsyncGenerator[None, None]:
    """Run the works, which raise nothing, each in a task beside the block, and cancel them when the block is left.

    `unclosed`: where the works put failures to close; the first is raised when the block has ended without an error of its own.
    """
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        for work in works:
            group.start_soon(work)
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        # The block's own error leaves as it is; a task group would wrap it.
        except BaseException as error:
            failure = error
        group.cancel_scope.cancel()
    if failure:
        try:
            raise failure
        finally:
            del failure  # or it would hold its own traceback, and all that is in it
    if unclosed:
        raise unclosed[0]


@asynccontextmanager
async def until(done: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    """Run the block beside `done`, and cancel it when `done` returns. Leaving the block cancels `done`."""
    failure: list[Exception] = []

    async def watch() -> None:
        try:
            await done()
        except Exception as error:
            failure.append(error)
        block.cancel()

    with anyio.CancelScope() as block:
        async with beside(watch):
            yield
    if failure:
        raise failure[0]
