"""The cost of a gateway's own parts: `requests.translate`, and the observers of `watch`.

    python -m tests.benchmarks.gateway [--deltas 4000] [--rounds 7]

A request is translated between each two APIs, beside decoding and encoding its JSON: a short one, and one of a long conversation
with calls of tools. A stream is read watched and unwatched, in reads of one delta and of 64, without rules and with five, which
the observers search for once more. Processor time, the median of the rounds, and the least and the greatest.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import streamkit as sk
from streamkit.requests import translate
from streamkit.sinks.watch import Watch
from tests.benchmarks.overhead import Bursts, consume

APIS = ("openai", "anthropic", "responses", "gemini")
RULES = tuple(sk.Rule(f"rule {number}", phrases=(f"secret number {number}",)) for number in range(5))
REPEATS = 20


def conversation(turns: int) -> dict[str, Any]:
    """A request of chat completions: questions, each with a call and its result, and a tool."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number in range(turns):
        call = {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "look", "arguments": '{"city":"Rome"}'},
        }
        messages += [
            {"role": "user", "content": f"What is the weather in Rome, {number} days from now?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {
                "role": "tool",
                "tool_call_id": f"call_{number}",
                "content": "It is sunny, and the wind is from the north.",
            },
            {"role": "assistant", "content": "Sunny, with wind from the north."},
        ]
    messages.append({"role": "user", "content": "Thanks"})
    tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    return {"model": "m", "stream": True, "max_tokens": 500, "messages": messages, "tools": [tool]}


def microseconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    for _ in range(REPEATS):
        work()
    return (time.process_time() - start) / REPEATS * 1e6


def _through_json(body: object) -> object:
    return json.loads(json.dumps(body))


def shown(values: list[float]) -> str:
    """The median, and the least and the greatest."""
    return f"{statistics.median(values):8.0f}   ({min(values):.0f} to {max(values):.0f})"


def show_translation(rounds: int) -> None:
    """Print what a translation costs, and the JSON of the request beside it."""
    for turns in (0, 50):
        chat = conversation(turns)
        print(f"\nµs to translate a request of {len(chat['messages'])} messages, {len(json.dumps(chat)):,} bytes")
        parsed: list[float] = []
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            parsed.append(microseconds(partial(_through_json, chat)))
            for source in APIS:
                body = translate(chat, source="openai", target=source).body
                for target in APIS:
                    if source != target:
                        work = partial(translate, body, source=source, target=target)
                        taken.setdefault(f"{source} to {target}", []).append(microseconds(work))
        print(f"  {'its JSON, encoded and decoded':38}{shown(parsed)}")
        for name, values in taken.items():
            print(f"  {name:38}{shown(values)}")


def nanoseconds(make: Callable[[sk.Source[Any]], sk.Stream[Any]], count: int, size: int) -> float:
    """Processor time for a delta."""

    async def main() -> None:
        await consume(make(Bursts(count, size)))

    start = time.process_time()
    asyncio.run(main())
    return (time.process_time() - start) / count * 1e9


def _read(stage: sk.Stage[Any, Any], source: sk.Source[Any]) -> sk.Stream[Any]:
    return source | stage


def _watched(stage: sk.Stage[Any, Any], source: sk.Source[Any]) -> sk.Stream[Any]:
    return Watch()(source | stage)


def show_watching(count: int, rounds: int) -> None:
    """Print what the observers add for a delta."""
    for how, size in (("in bursts of 64", 64), ("alone in a read", 1)):
        print(f"\nns for each delta, {how}: read, and added by watch")
        stages: dict[str, sk.Stage[Any, Any]] = {"without rules": sk.ops.Skip(0), "five rules": sk.Moderate(RULES)}
        for name, stage in stages.items():
            bases, added = list[float](), list[float]()
            for _ in range(rounds):
                bases.append(nanoseconds(partial(_read, stage), count, size))
                watched = nanoseconds(partial(_watched, stage), count, size)
                added.append(watched - bases[-1])
            print(f"  {name:16}{shown(bases)}   +{shown(added)}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    show_translation(options.rounds)
    show_watching(options.deltas // 64 * 64, options.rounds)


if __name__ == "__main__":
    main()
