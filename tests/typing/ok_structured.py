"""The type that was asked for is the type of what comes: no line here is an error, and no type unknown."""

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import msgspec
import pydantic

import streamkit as sk
from streamkit.sse.parse import Input


class City(msgspec.Struct):
    """A place."""

    name: str


@dataclass
class PlainCity:
    """A place."""

    name: str


class CityDict(TypedDict):
    """A place."""

    name: str


class ModelCity(pydantic.BaseModel):
    """A place."""

    name: str


def length(value: Any) -> int:
    return len(value)


cities = sk.Structured(City)
assert_type(cities, sk.Structured[City])
assert_type(sk.Structured(PlainCity), sk.Structured[PlainCity])
assert_type(sk.Structured(CityDict), sk.Structured[CityDict])
assert_type(sk.Structured(ModelCity, errors="emit"), sk.Structured[ModelCity])
assert_type(sk.Structured(list[City]), sk.Structured[list[City]])
assert_type(sk.Structured(length), sk.Structured[int])

pipeline = sk.Parse() | sk.Extract() | cities | sk.Accumulate()
assert_type(pipeline, sk.Pipeline[Input, sk.Event])
tools = sk.Parse() | sk.Extract() | sk.Structured(tools={"weather": City}) | sk.Structured()
assert_type(tools, sk.Pipeline[Input, sk.Event])
alone = sk.Structured(tools={"weather": City})
assert_type(alone, sk.Structured[Any])


async def consume(body: bytes) -> None:
    async with pipeline.open(body) as events:
        async for event in events:
            if city := cities.value_of(event):
                assert_type(city, City)  # error (ty): the same
            match event:
                case sk.StructuredOutput(value=City() as found):
                    assert_type(found, City)  # error (ty): the same
                case sk.events.InvalidOutput(problem=problem, path=path):
                    assert_type(path, str)
                    assert problem != "limit"
                case _:
                    pass
