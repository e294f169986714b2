"""What the pipeline costs for an event, beside the floor and beside a loop written by hand, in one run.

    python tests/benchmarks/pipeline.py [--events 10000] [--rounds 7]

The floor is the typed decoding of payloads that are already split: whoever reads the text at all pays for it. Providers send one
event in a network read; reads of 64 KiB are those of a replay or of a whole body. OpenAI's chunks each have an `obfuscation` of
another length; many imitators' have none. The contestants take turns, round by round, so that a machine whose speed drifts is as
unfair to all; quoted are the medians, as a ratio.
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
    '"delta":%s,"logprobs":null,"finish_reason":null}],"usage":null%s}\n\n'
)
READS = {"one event in a read": 0, "reads of 64 KiB": 65_536}


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
    return CHUNK % (json.dumps({"content": text}), "")


def obfuscated_chunk(number: int) -> str:
    """The same as OpenAI sends it (https://platform.openai.com/docs/api-reference/chat-streaming)."""
    padding = "aBcDeFgHiJkLmNoP"[: number * 7 % 16]
    return text_chunk(number)[:-3] + f',"obfuscation":"{padding}"}}\n\n'


def tool_chunk(number: int) -> str:
    """A piece of a tool call's arguments: a chunk without a short cut."""
    call = {"index": 0, "function": {"arguments": f'{{"n": {number}}}'}}
    return CHUNK % (json.dumps({"tool_calls": [call]}), "")


CHUNKS = {"text": text_chunk, "text with obfuscation": obfuscated_chunk, "tool calls": tool_chunk}


def contestants(body: bytes, read_bytes: int) -> dict[str, Callable[[], object]]:
    """What is compared, each over the same body."""
    blocks = body.split(b"\n\n")[:-1]
    payloads = [block.removeprefix(b"data: ") for block in blocks[:-1]]
    pieces = [body[at : at + read_bytes] for at in range(0, len(body), read_bytes)] if read_bytes else []
    pieces = pieces or [block + b"\n\n" for block in blocks]
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
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {options.events} events, parse | extract | accumulate")
    for read, read_bytes in READS.items():
        for title, chunk in CHUNKS.items():
            body = "".join(map(chunk, range(options.events))).encode() + b"data: [DONE]\n\n"
            found = measure(body, options.events, options.rounds, read_bytes)
            floor = next(iter(found.values()))
            print(f"\n{read}, {title}:")
            for name, nanoseconds in found.items():
                print(f"  {name:40} {nanoseconds:8.0f} ns/event {nanoseconds / floor:7.2f} x floor")


if __name__ == "__main__":
    main()
