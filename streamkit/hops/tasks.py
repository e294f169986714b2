"""Tasks that run concurrently with a block of code and end with it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def beside(
    *works: Work, unclosed: Sequence[Exception] = (), left: Sequence[Callable[[], None]] = ()
) -> AsyncGenerator[None, None]:
    """Run each of `works`, which must not raise, in a task during the block, and cancel the tasks when the block is left.

    `unclosed`: the list to which the works append errors of closing; its first entry is raised if the block itself ends without
    an error. `left`: functions that are called when the tasks have ended.
    """
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            for work in works:
                group.start_soon(work)
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            # The block's own error is raised unwrapped; a task group would wrap it in an exception group.
            except BaseException as error:
                failure = error
            group.cancel_scope.cancel()
    finally:
        for function in left:
            function()
    if failure:
        try:
            raise failure
        finally:
            del failure  # breaks the reference cycle with its traceback
    if unclosed:
        raise unclosed[0]


@asynccontextmanager
async def until(done: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    """Run the block concurrently with `done`, and cancel it when `done` returns. Leaving the block cancels `done`."""
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
