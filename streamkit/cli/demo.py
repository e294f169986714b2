"""The demo: sends the requests of OpenAI's streaming guide to a provider in this process, and runs the responses through a
pipeline.

The guide is https://github.com/openai/openai-cookbook, How_to_stream_completions. Its numbers are quoted; all others are
measured or counted while the demo runs.
"""

import argparse
import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import anyio.lowlevel
from rich.console import Console, RenderableType

import streamkit as sk
from streamkit.cli import show
from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_A_COMMAND
from streamkit.cli.provider import Provider, serve
from streamkit.tokens import encoding_name, load_encoding

E = TypeVar("E", bound=sk.Event)


@dataclass(frozen=True)
class DemoRequest:
    """The path of a request, and its body without `stream`."""

    path: str
    body: dict[str, Any]


@dataclass
class Came(sk.Stage[sk.Event, sk.Event]):
    """Records the text deltas as the provider sent them."""

    deltas: list[str] = field(default_factory=list[str], init=False)

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        if isinstance(item, sk.TextDelta):
            self.deltas.append(item.text)
        return (item,)


def chat(text: str) -> DemoRequest:
    return DemoRequest(
        "chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": text}], "temperature": 0}
    )


MODEL = "gpt-3.5-turbo"
TEXT_MODEL = "gpt-3.5-turbo-instruct"
COUNT_TO_100 = chat("Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ...")
GO_ON = DemoRequest("completions", {"model": TEXT_MODEL, "prompt": "1,2,3,", "max_tokens": 193, "temperature": 0})
LAUNCH = chat("What is the launch code?")
GUIDE = sk.Usage(prompt_tokens=36, completion_tokens=301, total_tokens=337)

RULE = sk.Rule("secret", phrases=("blue heron 42",))
READ = sk.Parse() | sk.Extract()
WORK = sk.Moderate(RULE) | sk.Accumulate() | sk.Count(MODEL) | sk.Timing()
PIPELINE = READ | WORK
WATCHED = READ | Came() | WORK
AS_WRITTEN = """\
rule = sk.Rule("secret", phrases=("blue heron 42",))
pipeline = (
    sk.Parse() | sk.Extract() | sk.Moderate(rule)
    | sk.Accumulate() | sk.Count("gpt-3.5-turbo") | sk.Timing()
)"""


EXAMPLES = """\
streamkit demo
    chat, legacy completion, redaction, the assembled response, token counts, streaming compared with waiting
streamkit demo --fast
    the same without the delays of a real model
streamkit demo --json
    the measured values, as one JSON object
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Demonstrate streamkit with an embedded provider. Needs no key and no network.", EXAMPLES, OF_A_COMMAND
    )
    parser.add_argument("--fast", action="store_true", help="let the provider answer almost immediately")
    parser.add_argument("--json", action="store_true", help="write the measured values as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the demo and write it to standard output."""
    if options.json:
        print(json.dumps(asyncio.run(results(fast=options.fast))))
    else:
        asyncio.run(tour(show.make_console(), fast=options.fast))
    return 0


async def _provider(*, fast: bool) -> Provider:
    # Both load data at their first use, which would delay the first response.
    load_encoding(encoding_name(MODEL)[0])
    await anyio.lowlevel.checkpoint()
    return Provider(
        first_token_seconds=0.02 if fast else 0.1,
        token_seconds=0.001 if fast else 0.015,
        models=(MODEL, TEXT_MODEL),
    )


async def results(*, fast: bool) -> dict[str, Any]:
    """Return the demo's results as data: the completion, the verdicts on the secret, token counts and times."""
    async with serve(await _provider(fast=fast)) as root:
        url = f"{root}/v1"
        chat = await ask(url, COUNT_TO_100, PIPELINE).collect()
        secret = await ask(url, LAUNCH, PIPELINE).collect()
        lanes = _lanes()
        await asyncio.gather(*(_take_lane(url, request, lane) for lane, request in lanes))
    verdicts = [event for event in secret if isinstance(event, sk.Redacted)]
    return {
        "completion": the(sk.Completion, chat).to_dict(),
        "moderated": {
            "text": the(sk.Completion, secret).text,
            "verdicts": [{"category": one.category, "start": one.start, "end": one.end} for one in verdicts],
        },
        "tokens": {"counted": the(sk.TokenCount, chat).tokens, "reported": the(sk.Usage, chat).completion_tokens},
        "compared": [
            {"api": lane.api, "streams": lane.streams, "first_text": lane.first, "total": lane.total}
            for lane, _ in lanes
        ],
    }


async def tour(console: Console, *, fast: bool) -> None:
    provider = await _provider(fast=fast)
    async with serve(provider) as root:
        url = f"{root}/v1"
        _show_introduction(console, url, provider)
        events = await _show_chat(console, url)
        await _show_legacy(console, url)
        await _show_redaction(console, url)
        _show_assembled(console, the(sk.Completion, events))
        _show_tokens(console, events)
        await _show_race(console, url, the(sk.Timings, events).total or 0.0)


def ask(
    url: str, request: DemoRequest, pipeline: sk.Pipeline[bytes, sk.Event], *, stream: bool = True
) -> sk.Stream[sk.Event]:
    body = request.body | {"stream": stream}
    if stream:
        body |= {"stream_options": {"include_usage": True}}
    return sk.http.post(f"{url}/{request.path}", json=body) | pipeline


def the(kind: type[E], events: Iterable[sk.Event]) -> E:
    """Return the first event of that class."""
    return next(event for event in events if isinstance(event, kind))


def _show_introduction(console: Console, url: str, provider: Provider) -> None:
    pace = f"the first token after {provider.first_token_seconds:g} s, then one each {provider.token_seconds:g} s"
    show.heading(console, f"streamkit {sk.__version__}")
    show.put(console, f"A small provider is running at {url}: scripted answers, {pace}.")
    show.put(console, "It sends all answers below over HTTP. They pass through one pipeline:")
    show.code(console, AS_WRITTEN)


async def _show_chat(console: Console, url: str) -> list[sk.Event]:
    show.heading(console, "1  A chat, shown as it arrives")
    show.put(console, COUNT_TO_100.body["messages"][0]["content"], "dim")
    return await _write(console, url, COUNT_TO_100)


async def _show_legacy(console: Console, url: str) -> None:
    show.heading(console, "2  A legacy completion: the model continues 1,2,3,")
    await _write(console, url, GO_ON, before=GO_ON.body["prompt"])


async def _write(console: Console, url: str, request: DemoRequest, before: str = "") -> list[sk.Event]:
    """Write the text as it arrives, then the measured times. Return all events."""
    seen: list[sk.Event] = []
    writer = show.Writer(console)
    writer.write(before, "dim")
    async with ask(url, request, PIPELINE) as events:
        async for event in events:
            seen.append(event)
            if isinstance(event, sk.TextDelta):
                writer.write(event.text)
    writer.end()
    times = the(sk.Timings, seen)
    first, total = show.seconds(times.first_released), show.seconds(times.total)
    show.put(console, f"first text after {first}, all {len(times.deltas)} deltas after {total}", "dim")
    return seen


async def _show_redaction(console: Console, url: str) -> None:
    show.heading(console, "3  A secret that is split across deltas")
    about = """\
The phrase arrives in pieces. Text that may become part of it is buffered.
(An additional stage before Moderate records the pieces.)"""
    show.put(console, about, "dim")
    released: list[str] = []
    verdicts: list[sk.Redacted] = []
    async with ask(url, LAUNCH, WATCHED) as events:
        came = events.stage(Came).deltas
        async with show.drawn(console, lambda: show.redaction(came, released, verdicts)):
            async for event in events:
                match event:
                    case sk.TextDelta(text=text):
                        released.append(text)
                    case sk.Redacted():
                        verdicts.append(event)
                    case _:
                        pass


def _show_assembled(console: Console, completion: sk.Completion) -> None:
    show.heading(console, "4  The completion, assembled")
    show.put(console, "completion.to_dict(): the same as a non-streaming response; shortened here.", "dim")
    show.put(console, show.as_json(completion.to_dict()))


def _show_tokens(console: Console, events: list[sk.Event]) -> None:
    show.heading(console, "5  The tokens of the chat")
    prompt, text = (
        sk.tokens.prompt_tokens(COUNT_TO_100.body["messages"], MODEL).tokens,
        the(sk.TokenCount, events).tokens,
    )
    counted = sk.Usage(prompt_tokens=prompt, completion_tokens=text, total_tokens=prompt + text)
    reported = the(sk.Usage, events)
    show.put(console, show.tokens({"counted": counted, "reported": reported, "in the guide": GUIDE}))
    about = (
        "Counted: the tokens of the text. Reported: the tokens that OpenAI bills. For this model they include the token that "
        "ends the answer, which is not part of the text; later models do not bill it."
    )
    show.put(console, about, "dim")


async def _show_race(console: Console, url: str, expected: float) -> None:
    show.heading(console, "6  Streaming compared with waiting")
    show.put(console, "The requests of 1 and 2, with and without streaming, all at the same time.", "dim")
    lanes = _lanes()
    started = perf_counter()

    def draw() -> RenderableType:
        now = perf_counter() - started
        return show.race(console, [lane for lane, _ in lanes], now, max(expected, now))

    async with show.drawn(console, draw):
        await asyncio.gather(*(_take_lane(url, request, lane) for lane, request in lanes))
    streamed, waited = (show.seconds(lane.first) for lane, _ in lanes[:2])
    show.put(console, f"With streaming, the chat can be read after {streamed} instead of {waited}.", "bold")
    console.print()


def _lanes() -> list[tuple[show.ShownText, DemoRequest]]:
    entries = [("chat", COUNT_TO_100), ("legacy", GO_ON)]
    return [(show.ShownText(api, stream), request) for api, request in entries for stream in (True, False)]


async def _take_lane(url: str, request: DemoRequest, lane: show.ShownText) -> None:
    async with ask(url, request, PIPELINE, stream=lane.streams) as events:
        async for event in events:
            match event:
                case sk.TextDelta() if lane.first is None:
                    lane.first = events.stage(sk.Timing).timings.first_released
                case sk.Timings(total=total):
                    lane.total = total
                case _:
                    pass
