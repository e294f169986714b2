"""Turns an async generator function into a hop: a context manager for `async with` that can also be used left of `|`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from streamkit.core.joined import EnteredOnce, HopContext

P = ParamSpec("P")
Given = TypeVar("Given")
Made = TypeVar("Made")


def hop(function: Callable[P, AsyncGenerator[Given, None]]) -> Callable[P, HopContext[Given]]:
    """Make a hop of an async generator function that yields once, like `contextlib.asynccontextmanager`."""
    return _entering(HopContext, function)


def block(function: Callable[P, AsyncGenerator[Given, None]]) -> Callable[P, EnteredOnce[Given]]:
    """Make a context that only `async with` enters, since it gives several streams."""
    return _entering(EnteredOnce, function)


def _entering(
    kind: Callable[[AbstractAsyncContextManager[Given], str], Made], function: Callable[P, AsyncGenerator[Given, None]]
) -> Callable[P, Made]:
    make = asynccontextmanager(function)

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Made:
        return kind(make(*args, **kwargs), function.__name__)

    return made
