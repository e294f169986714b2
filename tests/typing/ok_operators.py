"""Item types through every operator: no line here is an error, and no type unknown."""

from typing import assert_type

import streamkit as sk
from streamkit import ops
from streamkit.events import Json
from streamkit.sse.parse import Input

events = sk.Parse() | sk.Extract()


def text_of(event: sk.Event) -> str:
    return event.text if isinstance(event, sk.TextDelta) else ""


def words(event: sk.Event) -> list[str]:
    return text_of(event).split()


def is_long(text: str) -> bool:
    return len(text) > 10


def is_finish(event: sk.Event) -> bool:
    return isinstance(event, sk.Finish)


def total(so_far: int, text: str) -> int:
    return so_far + len(text)


def way(event: sk.Event) -> str:
    return type(event).__name__


# Items

assert_type(ops.Map(text_of), ops.Map[sk.Event, str])
assert_type(events | ops.Map(text_of), sk.Pipeline[Input, str])
assert_type(events | ops.FlatMap(words), sk.Pipeline[Input, str])
assert_type(events | ops.Map(text_of) | ops.Filter(is_long), sk.Pipeline[Input, str])
assert_type(events | ops.Filter(is_finish) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Map(text_of) | ops.Scan(total, 0), sk.Pipeline[Input, int])
assert_type(events | ops.Tap[sk.Event](print) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(ops.Scan(total, 0).value, int)

# How many and how often

assert_type(events | ops.Take(3) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.TakeUntil(is_finish, inclusive=True), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Skip(1) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Map(text_of) | ops.Batch[str](3, 0.5), sk.Pipeline[Input, list[str]])
assert_type(events | ops.Map(text_of) | ops.SlidingWindow[str](3, step=2), sk.Pipeline[Input, list[str]])
assert_type(events | ops.Debounce(0.5) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Throttle(0.5) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])

# Which

assert_type(ops.Select(sk.TextDelta), ops.Select[sk.TextDelta])
assert_type(events | ops.Select(sk.TextDelta), sk.Pipeline[Input, sk.TextDelta | sk.StreamEnd])
assert_type(
    events | ops.Select[sk.TextDelta | sk.Finish]((sk.TextDelta, sk.Finish)),
    sk.Pipeline[Input, sk.TextDelta | sk.Finish | sk.StreamEnd],
)
assert_type(events | ops.Select(sk.TextDelta) | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Choices(0), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Switch(way, {"TextDelta": ops.Smooth()}), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Switch(way, {"TextDelta": ops.Map(text_of)}), sk.Pipeline[Input, sk.Event | str])

# Text

assert_type(events | ops.Smooth() | sk.Accumulate(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Smooth(r"[,;]\s") | ops.Sentences() | ops.Coalesce(), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.Smooth(lambda text: len(text) // 8 * 8), sk.Pipeline[Input, sk.Event])
assert_type(events | ops.StopAt(("END", "\n\n"), include=True), sk.Pipeline[Input, sk.Event])
assert_type(events.run([]).stage(ops.StopAt).held, int)


async def over_a_stream(body: bytes) -> None:
    async with (events | ops.Map(text_of) | ops.Filter(is_long)).open(body) as stream:
        assert_type(stream, sk.Stream[str])
        async for text in stream:
            assert_type(text, str | sk.StreamEnd)


async def whole(body: bytes) -> None:
    assert_type(await events.open(body).text(), str)
    assert_type(await events.open(body).collect(), list[sk.Event | sk.StreamEnd])
    assert_type(await (events | sk.Accumulate()).open(body).final(), sk.Completion)


def without_async(body: bytes) -> None:
    with sk.hops.sync((events | ops.Map(text_of)).open(body)) as texts:
        for text in texts:
            assert_type(text, str | sk.StreamEnd)
        assert_type(texts.end, sk.StreamEnd | None)
    assert_type(sk.hops.sync(events.open(body)).final(), sk.Completion)


def written_down() -> None:
    assert_type(sk.pipelines.measure(events), sk.Pipeline[Input, sk.Event])
    assert_type(sk.pipelines.mermaid(events), str)
    assert_type(sk.pipelines.dumps(events, "json"), str)
    assert_type(sk.pipelines.mermaid(sk.pipelines.from_file("pipeline.toml")), str)
    assert_type(sk.pipelines.describe(sk.pipelines.from_data(sk.pipelines.to_data(events))), list[dict[str, Json]])
    assert_type([one.seconds for one in sk.pipelines.measure(events).run([]).metrics], list[float])
