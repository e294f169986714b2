"""Pipelines as in the README and others: no line here is an error, and no type unknown."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import streamkit as sk
from streamkit.sse.parse import Input

pipeline = (
    sk.Parse() | sk.Extract() | sk.Moderate(sk.rules.from_file("rules.toml")) | sk.Accumulate() | sk.Count("gpt-4o")
)
assert_type(pipeline, sk.Pipeline[Input, sk.Event])


async def readme(url: str, body: dict[str, object], headers: dict[str, str]) -> None:
    async with sk.http.post(url, json=body, headers=headers) | pipeline as events:
        assert_type(events, sk.Stream[sk.Event])
        async for event in events:
            assert_type(event, sk.Event)
            match event:
                case sk.TextDelta(text=text):
                    print(assert_type(text, str), end="", flush=True)
                case sk.Blocked(category=category):
                    print(f"[{assert_type(category, str)}]")
                case sk.Usage() as usage:
                    print(assert_type(usage, sk.Usage))  # error (ty): it keeps the types that were excluded
                case _:
                    pass
        assert_type(events.end, sk.StreamEnd | None)
        assert_type(events.stage(sk.Count).tokens(), int)
        assert_type(events.stage(sk.Accumulate).snapshot, sk.Completion)


def without_an_event_loop(lines: list[str], body: bytes, pieces: Iterator[bytes]) -> None:
    run = pipeline.run(lines)
    assert_type(run, sk.core.Run[sk.Event])
    assert_type(list(run), list[sk.Event])
    assert_type(run.stage(sk.Accumulate), sk.Accumulate)
    assert_type(pipeline.run(body), sk.core.Run[sk.Event])
    assert_type(pipeline.run(pieces), sk.core.Run[sk.Event])
    assert_type(sk.Parse().run(lines), sk.core.Run[sk.sse.ServerSentEvent])
    assert_type((sk.sse.Lines() | sk.Parse()).run([body]), sk.core.Run[sk.sse.ServerSentEvent])


async def over_anything(
    recording: str, body: bytes, lines: list[str], pieces: AsyncIterator[bytes], texts: AsyncIterator[str]
) -> None:
    assert_type(sk.replay(recording) | pipeline, sk.Stream[sk.Event])
    assert_type(pipeline.open(sk.replay(recording)), sk.Stream[sk.Event])
    assert_type(pipeline.open(body), sk.Stream[sk.Event])
    assert_type(pipeline.open([body, body]), sk.Stream[sk.Event])
    assert_type(pipeline.open(lines), sk.Stream[sk.Event])
    assert_type(pipeline.open(pieces), sk.Stream[sk.Event])
    assert_type(pipeline.open(texts), sk.Stream[sk.Event])
    assert_type(lines | pipeline, sk.Stream[sk.Event])
    assert_type(pieces | pipeline, sk.Stream[sk.Event])
    assert_type(sk.replay(recording) | sk.Parse() | sk.Extract(), sk.Stream[sk.Event])
    assert_type(
        [event async for event in sk.replay(recording) | sk.Parse()], list[sk.sse.ServerSentEvent | sk.StreamEnd]
    )


async def compared(url: str, body: dict[str, object]) -> None:
    found = await sk.display.compare(
        url, body, body, runs=3, through=sk.Moderate(sk.Rule("a", ("b",))) | sk.Count("gpt-4o")
    )
    assert_type(found, sk.display.Comparison)
    assert_type(found.saved, dict[str, float])
    assert_type([row.typical.timings for row in found.rows], list[sk.Timings])
    assert_type(found.rows[0].typical.timings.stalls(), list[sk.latency.Stall])


def parts_join_in_any_grouping() -> None:
    wire = sk.sse.Lines() | sk.Parse()
    events = sk.Extract() | sk.Accumulate()
    assert_type(wire | events, sk.Pipeline[bytes | bytearray | memoryview | str, sk.Event])
    assert_type(sk.Parse() | sk.Extract(), sk.Pipeline[Input, sk.Event])
