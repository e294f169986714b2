"""The cost of a pipeline for each event, next to the floor, hand-written loops and other libraries, all in one run.

    python -m tests.benchmarks.pipeline [--events 4000] [--rounds 9] [--json FILE]

The floor is msgspec's typed decoding of payloads that are already split: whoever reads the text at all pays for it. Contestants
take turns, round by round, and each is paired with a floor taken just before it, so that a machine whose speed drifts is as
unfair to both. Quoted is processor time as a multiple of that floor: the median of the rounds, and the least and the greatest.

httpx-sse (with httpx) and the OpenAI SDK take part where they are installed, over a transport in memory, with a shorter answer.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import msgspec

import streamkit as sk
from tests.benchmarks.shapes import FLOORS, SHAPES, delivered, payloads

PHRASES = tuple(f"forbidden phrase number {number}" for number in range(1000))
READS = ("one event", "64 KiB", "random")
SLOW = 8
"""How many times shorter the answer is that other libraries read."""
URL = "http://127.0.0.1:9/v1"


class Contestant(NamedTuple):
    """A name, how many events it reads, and its work."""

    name: str
    count: int
    work: Callable[[], object]


class Cost(NamedTuple):
    """Multiples of the floor, sorted, and microseconds an event, sorted."""

    ratios: list[float]
    times: list[float]


def text_of(chunk: Any) -> str:
    """The text of any shape's decoded payload."""
    match chunk:
        case {"choices": [{"delta": {"content": str(text)}}, *_]}:
            return text
        case {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": str(text)}}, *_]}}, *_]}:
            return text
        case {"delta": {"text": str(text)}} | {"delta": str(text)}:
            return text
        case {"candidates": [{"content": {"parts": [{"text": str(text)}, *_]}}, *_]}:
            return text
        case _:
            return ""


def by_hand(pieces: list[bytes], decode: Callable[[bytes], Any]) -> str:
    """A loop as people write it: split at blank lines, decode, walk, join."""
    texts: list[str] = []
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            payload = block.rpartition(b"data: ")[2]
            if payload != b"[DONE]":
                texts.append(text_of(decode(payload)))
    return "".join(texts)


async def arriving(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def read(pipeline: Any, pieces: list[bytes]) -> None:
    """An application's loop over the stream."""

    async def main() -> None:
        async with pipeline.open(arriving(pieces)) as events:
            async for _ in events:
                pass

    asyncio.run(main())


def run(pipeline: Any, pieces: list[bytes]) -> None:
    """The same without an event loop."""
    for _ in pipeline.run(iter(pieces)):
        pass


# Other libraries


def in_memory(http: Any, pieces: list[bytes]) -> Any:
    """A client of httpx, or of its successor, whose every answer is these pieces."""

    class Body(http.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return arriving(pieces)

    def answer(request: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    return http.AsyncClient(transport=http.MockTransport(answer))


async def by_httpx_sse(pieces: list[bytes]) -> str:
    """httpx-sse, json and a walk."""
    httpx, httpx_sse = import_module("httpx"), import_module("httpx_sse")
    texts: list[str] = []
    async with in_memory(httpx, pieces) as client, httpx_sse.aconnect_sse(client, "POST", URL) as source:
        async for event in source.aiter_sse():
            if event.data != "[DONE]":
                texts.append(text_of(json.loads(event.data)))
    return "".join(texts)


async def by_openai(pieces: list[bytes], *, responses: bool) -> str:
    """The OpenAI SDK's stream of chunks."""
    import openai

    http = import_module("httpx2" if find_spec("httpx2") else "httpx")
    texts: list[str] = []
    async with openai.AsyncOpenAI(api_key="x", base_url=URL, http_client=in_memory(http, pieces)) as client:
        if responses:
            async for event in await client.responses.create(model="m", input="x", stream=True):
                if event.type == "response.output_text.delta":
                    texts.append(event.delta)
            return "".join(texts)
        async for chunk in await client.chat.completions.create(model="m", messages=[], stream=True):
            for choice in chunk.choices:
                calls = choice.delta.tool_calls or []
                texts.append(choice.delta.content or "".join(call.function.arguments or "" for call in calls))  # type: ignore[union-attr]
    return "".join(texts)


LIBRARIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[str, list[bytes]], Any]]] = {
    "httpx-sse + json": (("httpx_sse", "httpx"), tuple(SHAPES), lambda shape, pieces: by_httpx_sse(pieces)),
    "OpenAI SDK": (
        ("openai",),
        ("OpenAI text", "OpenAI tool arguments", "Responses"),
        lambda shape, pieces: by_openai(pieces, responses=shape == "Responses"),
    ),
}
"""By name: what must be installed, the shapes that it reads, and how."""


def libraries(shape: str, count: int, how: str) -> Iterator[Contestant]:
    """Those that are installed and read this shape. What they read is compared with what was sent."""
    events = SHAPES[shape](count)
    pieces, expected = delivered(events, how), by_hand(events, json.loads)
    for name, (modules, shapes, work) in LIBRARIES.items():
        if shape in shapes and all(map(find_spec, modules)):
            found = asyncio.run(work(shape, pieces))
            assert found == expected, f"{name} read another text of {shape}"
            yield Contestant(f"{name}, {how}", count, lambda work=work: asyncio.run(work(shape, pieces)))  # type: ignore[misc]


# The comparison


def contestants(shape: str, count: int, pipelines: dict[str, Any]) -> Iterator[Contestant]:
    """The contestants over one shape."""
    events = SHAPES[shape](count)
    for how in READS:
        pieces = delivered(events, how)
        for name, pipeline in pipelines.items():
            yield Contestant(f"{name}, {how}", count, lambda pipeline=pipeline, pieces=pieces: read(pipeline, pieces))  # type: ignore[misc]
        first, pipeline = next(iter(pipelines.items()))
        yield Contestant(
            f"{first}, run(), {how}",
            count,
            lambda pipeline=pipeline, pieces=pieces: run(pipeline, pieces),  # type: ignore[misc]
        )
        for decoder, decode in (("json", json.loads), ("msgspec", msgspec.json.decode)):
            yield Contestant(
                f"by hand ({decoder}), {how}",
                count,
                lambda decode=decode, pieces=pieces: by_hand(pieces, decode),  # type: ignore[misc]
            )
        yield from libraries(shape, count // SLOW, how)


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(shape: str, found: list[Contestant], rounds: int, count: int) -> dict[str, Cost]:
    """The cost of each."""
    split, decode = payloads(SHAPES[shape](count)), msgspec.json.Decoder(FLOORS[shape]).decode
    costs = {name: Cost([], []) for name in ("floor", *(one.name for one in found))}

    def floor() -> None:
        for payload in split:
            decode(payload)

    for _ in range(rounds):
        for one in found:
            least = statistics.median(seconds(floor) for _ in range(3)) / len(split)
            taken = seconds(one.work) / one.count
            costs["floor"].times.append(least * 1e6)
            costs[one.name].times.append(taken * 1e6)
            costs[one.name].ratios.append(taken / least)
    return {name: Cost(sorted(cost.ratios), sorted(cost.times)) for name, cost in costs.items()}


def show(figures: dict[str, dict[str, Cost]]) -> None:
    """Print one table: multiples of the floor, and the microseconds of the floor itself."""
    names = list(dict.fromkeys(name for costs in figures.values() for name in costs))
    print(f"\n{'':32}" + "".join(f"{shape:>24}" for shape in figures))
    for name in names:
        cells = [_cell(costs[name]) if name in costs else "-" for costs in figures.values()]
        print(f"{name + (', µs' if name == 'floor' else ''):32}" + "".join(f"{cell:>24}" for cell in cells))


def _cell(cost: Cost) -> str:
    found = cost.ratios or cost.times
    digits = 1 if cost.ratios else 2
    return f"{statistics.median(found):.{digits}f} ({found[0]:.{digits}f} to {found[-1]:.{digits}f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="only these")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    three = sk.Parse() | sk.Extract() | sk.Accumulate()
    five = (
        sk.Parse()
        | sk.Extract()
        | sk.Moderate(sk.Rule("phrases", PHRASES))
        | sk.Accumulate()
        | sk.Count("gpt-4o", running=True)
    )
    print(
        f"Python {platform.python_version()}, {options.events} events, {options.rounds} rounds, multiples of the floor"
    )
    for name, (modules, _, _) in LIBRARIES.items():
        if missing := [module for module in modules if not find_spec(module)]:
            print(f"{name}: skipped: {', '.join(missing)} not installed")
    figures: dict[str, dict[str, Cost]] = {}
    for shape in options.shape or SHAPES:
        found = list(contestants(shape, options.events, {"three stages": three, "five stages": five}))
        figures[shape] = measure(shape, found, options.rounds, options.events)
    show(figures)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
