"""What the pipeline costs for an event, beside the floor and beside a loop written by hand, in one run.

    python tests/benchmarks/pipeline.py [--events 20000] [--rounds 9] [--read 16384]

The floor is the typed decoding of payloads that are already split: whoever reads the text at all pays for it. The contestants
take turns, round by round, so that a machine whose speed drifts is as unfair to all; quoted are the medians, as a ratio.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable

import msgspec

import streamkit as sk

CHUNK = (
    'data: {"id":"chatcmpl-0123456789abcdef0123456789","object":"chat.completion.chunk","created":1731456253,'
    '"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,'
    '"delta":%s,"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
)


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[dict[str, object]] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]


def text_chunk(number: int) -> str:
    """One token of text; every eighth has an escape, as line ends and quotes make it."""
    text = f" word{number}" if number % 8 else f"\n{number}"
    return CHUNK % json.dumps({"content": text})


def tool_chunk(number: int) -> str:
    """A piece of a tool call's arguments: a chunk without a short cut."""
    call = {"index": 0, "function": {"arguments": f'{{"n": {number}}}'}}
    return CHUNK % json.dumps({"tool_calls": [call]})


def contestants(body: bytes, read_bytes: int) -> dict[str, Callable[[], object]]:
    """What is compared, each over the same body."""
    payloads = [block.removeprefix(b"data: ") for block in body.split(b"\n\n")[:-2]]
    pieces = [body[at : at + read_bytes] for at in range(0, len(body), read_bytes)]
    decode = msgspec.json.Decoder(_Chunk).decode
    pipeline = sk.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()

    def floor() -> None:
        for payload in payloads:
            decode(payload)

    def by_hand() -> str:
        texts: list[str] = []
        rest = b""
        for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: ") and line != b"data: [DONE]":
                    for choice in json.loads(line[6:])["choices"]:
                        texts.append(choice["delta"].get("content") or "")
        return "".join(texts)

    def run() -> None:
        for _ in pipeline.run(pieces):
            pass

    async def reads() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def stream() -> None:
        async with pipeline.open(reads()) as events:
            async for _ in events:
                pass

    return {
        "floor: typed decode of split payloads": floor,
        "streamkit, run()": run,
        "streamkit, async for": lambda: asyncio.run(stream()),
        "a loop written by hand (json)": by_hand,
    }


def measure(body: bytes, events: int, rounds: int, read_bytes: int) -> dict[str, float]:
    """Nanoseconds an event, the median of the rounds."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in contestants(body, read_bytes).items():
            start = time.perf_counter()
            work()
            times.setdefault(name, []).append((time.perf_counter() - start) / events * 1e9)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Print one table for text and one for tool calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--read", type=int, default=16_384, help="bytes in one network read")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {options.events} events, reads of {options.read} bytes")
    for title, chunk in (("text", text_chunk), ("tool calls", tool_chunk)):
        body = "".join(map(chunk, range(options.events))).encode() + b"data: [DONE]\n\n"
        found = measure(body, options.events, options.rounds, options.read)
        floor = next(iter(found.values()))
        print(f"\nparse | extract | accumulate, {title}:")
        for name, nanoseconds in found.items():
            print(f"  {name:40} {nanoseconds:8.0f} ns/event {nanoseconds / floor:7.2f} x floor")


if __name__ == "__main__":
    main()
