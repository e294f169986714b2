"""Turns an async generator function into a hop: a context manager for `async with` that can also be used left of `|`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from streamkit.core.joined import EnteredOnce, HopContext

P = ParamSpec("P")
Given = TypeVar("Given")


def hop(function: Callable[P, AsyncGenerator[Given, None]]) -> Callable[P, HopContext[Given]]:
    """Make a hop of an async generator function that yields once, like `contextlib.asynccontextmanager`."""
    make = asynccontextmanager(function)

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> HopContext[Given]:
        return HopContext(make(*args, **kwargs), function.__name__)

    return made


def block(function: Callable[P, AsyncGenerator[Given, None]]) -> Callable[P, EnteredOnce[Given]]:
    """Make a context that only `async with` enters, since it gives several streams."""
    make = asynccontextmanager(function)

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> EnteredOnce[Given]:
        return EnteredOnce(make(*args, **kwargs), function.__name__)

    return made
