"""The items of views are typed: no line here is an error, and no type unknown."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

import msgspec

import streamkit as sk


class City(msgspec.Struct):
    """A place."""

    name: str


def length(value: Any) -> int:
    return len(value)


pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()


async def consume(body: bytes) -> None:
    async for text in pipeline.open(body).texts():
        assert_type(text, str)
    async for piece in pipeline.open(body).reasoning():
        assert_type(piece, str)
    async for call in pipeline.open(body).tool_calls():
        assert_type(call, sk.events.ToolCall)
    async for city in pipeline.open(body).objects(City):
        assert_type(city, City)
    async for cities in pipeline.open(body).objects(list[City], index=None):
        assert_type(cities, list[City])
    async for size in pipeline.open(body).objects(length):
        assert_type(size, int)
    assert_type(await pipeline.open(body).text(), str)
    assert_type(await pipeline.open(body).final(), sk.Completion)
    assert_type(await pipeline.open(body).usage(), sk.Usage | None)


async def several(body: bytes) -> AsyncIterator[str]:
    async with sk.hops.broadcast(pipeline.open(body)) as hub:
        async for call in hub.subscribe().tool_calls():
            assert_type(call, sk.events.ToolCall)
        async for text in hub.subscribe().texts():
            yield text
