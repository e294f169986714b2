"""A concurrent map, as aiostream and as streamkit have it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import streamkit as sk


async def each(items: Iterable[int]) -> AsyncIterator[int]:
    for item in items:
        yield item


async def aiostream(function: Callable[[int], Awaitable[int]], items: Iterable[int], limit: int) -> list[int]:
    from aiostream import pipe, stream

    mapped = stream.iterate(each(items)) | pipe.map(function, task_limit=limit, ordered=True)
    async with mapped.stream() as results:
        return [result async for result in results]


async def concurrent_map(function: Callable[[int], Awaitable[int]], items: Iterable[int], limit: int) -> list[int]:
    async with sk.hops.concurrent_map(each(items), function, concurrency=limit, of=int) as results:
        return [result async for result in results]
