"""Data that somebody has tampered with: valid plain data with some of its nodes replaced, removed, added or repeated."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {"use": "Switch"}
    value["branches"] = {"a": [value]}
    return value


CLASSES = [
    "os:system",
    "builtins:eval",
    "nowhere_at_all:Flight",
    "streamkit.events:TextDelta",
    "streamkit.events:StreamEnd",
    "streamkit.core.stage:Pipeline",
    "streamkit.core.checkpoint:LevelState",
    ":",
    "a:",
    ":b",
    "a:b:c",
    "list",
    "dict",
    "bytes",
    "complex",
]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**64, -(2**70), 10**4999, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "a", "\0", "\ud83d", "x" * 5000, "0", "content", "tool_arguments 0", *CLASSES,
    [], [[]], [None], [0, 1, 2], ["a", "b"], [0, "content"], {}, {"": 0}, {"class": 5, "value": []}, {"a": {"b": {}}},
    {"class": "bytes", "value": "%"}, {"class": "dict", "value": [1]}, {"done": True}, nested(60),
]  # fmt: skip
# Copies, since the data that they are put into is changed again.
values = st.sampled_from(VALUES).map(copy.deepcopy) | st.integers() | st.text(max_size=5)


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every node of plain data."""
    yield at
    match value:
        case dict():
            for key in value:
                yield from places(value[key], (*at, key))
        case list():
            for number, item in enumerate(value):
                yield from places(item, (*at, number))
        case _:
            pass


def tampered(draw: st.DrawFn, valid: Any) -> Any:
    """A copy with one to three changes."""
    data = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        data = _changed(draw, data)
    return data


def _changed(draw: st.DrawFn, data: Any) -> Any:
    path = draw(st.sampled_from(list(places(data))))
    if not path:
        return draw(values) if draw(st.integers(0, 9)) == 0 else data
    outer = data
    for step in path[:-1]:
        outer = outer[step]
    last: Any = path[-1]
    match draw(st.sampled_from(["replace", "remove", "add", "repeat", "rename", "swap"])):
        case "replace":
            outer[last] = draw(values)
        case "remove":
            del outer[last]
        case "add" if isinstance(outer, list):
            outer.insert(last, draw(values))
        case "add":
            outer[draw(st.sampled_from(["more", "", "class", "\0", "x" * 1000]))] = draw(values)
        case "repeat" if isinstance(outer, list):
            outer.extend(outer[last:] * 3)
        case "rename" if isinstance(outer, dict):
            outer[draw(st.sampled_from(["other", "", "use", "y" * 1000]))] = outer.pop(last)
        case "swap":
            # A value of another place, which has the wrong shape in a likely way.
            other: Any = data
            for step in draw(st.sampled_from(list(places(data)))):
                other = other[step]
            outer[last] = copy.deepcopy(other)
        case _:
            pass
    return data
