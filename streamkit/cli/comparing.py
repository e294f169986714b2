"""`streamkit compare`: the comparison of OpenAI's streaming guide, for any endpoint."""

import argparse
import asyncio
from itertools import chain
from typing import Any

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit.cli import asking, demo, show, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_A_COMMAND
from streamkit.display.comparison import Row

EXAMPLES = """\
streamkit compare demo
    the requests of OpenAI's guide to streaming, against the embedded provider
streamkit compare openai --model gpt-4o-mini --legacy-model gpt-3.5-turbo-instruct --runs 3 --svg compared.svg
    both completion APIs, the medians of three answers each, and a chart of the text over time
streamkit compare http://localhost:8000/v1 --body request.json --json
    with your own request; the results as JSON
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Send the same request with and without streaming, and measure when text arrives. Sends real requests, one at a time.",
        EXAMPLES,
        OF_A_COMMAND,
    )
    asking.describe(parser)
    add = parser.add_argument
    add("--body", action="append", metavar="FILE", help="a request as JSON, - for standard input; repeatable")
    add(
        "--model",
        type=values.sent,
        help="without --body: ask this model to count to 100, as OpenAI's guide does (%(default)s)",
    )
    add(
        "--legacy-model",
        type=values.sent,
        metavar="MODEL",
        help="without --body: also let this model continue 1,2,3, with the legacy completions API",
    )
    add(
        "--runs",
        type=values.whole(1, 1000),
        default=1,
        metavar="N",
        help="send each request N times, and report the medians (%(default)s)",
    )
    add("--svg", metavar="FILE", help="write a chart of the text over time to this file")
    add("--json", action="store_true", help="write the results as JSON")
    parser.set_defaults(model="gpt-4o-mini")


def run(options: argparse.Namespace) -> int:
    """Compare and print the table."""
    values.check_outputs(options.svg)
    console = show.make_console()
    url, headers = asking.address(options), asking.headers(options)
    bodies = [asking.body(path) for path in options.body] if options.body else _of_the_guide(options)
    done: list[sk.display.Comparison] = []
    # Complete runs are shown after Ctrl-C as well.
    try:
        asyncio.run(_compare(url, bodies, headers, options.runs, done))
    finally:
        if done:
            _show(console, _joined(done), options)
    return 0


def _show(console: Console, compared: sk.display.Comparison, options: argparse.Namespace) -> None:
    if options.json:
        console.out(msgspec.json.encode(compared.to_dict()).decode(), highlight=False)
    elif console.is_terminal:
        console.print(compared)
    else:
        console.out(str(compared), highlight=False)
    if not options.json:
        for api, seconds in compared.saved.items():
            console.out(
                f"{api}: the first text {abs(seconds):.2f} s {'sooner' if seconds >= 0 else 'later'} when streamed",
                highlight=False,
            )
    if options.svg:
        compared.save(options.svg)


async def _compare(
    url: str, bodies: list[dict[str, Any]], headers: dict[str, str], runs: int, done: list[sk.display.Comparison]
) -> None:
    async with asking.served(url) as served_url:
        for _ in range(runs):
            done.append(await sk.display.compare(served_url, *bodies, headers=headers))


def _joined(done: list[sk.display.Comparison]) -> sk.display.Comparison:
    rows = zip(*(comparison.rows for comparison in done), strict=True)
    return sk.display.Comparison(
        tuple(Row(same[0].api, same[0].mode, tuple(chain.from_iterable(row.answers for row in same))) for same in rows)
    )


def _of_the_guide(options: argparse.Namespace) -> list[dict[str, Any]]:
    bodies = [demo.COUNT_TO_100.body | {"model": options.model}]
    if options.legacy_model:
        bodies.append(demo.GO_ON.body | {"model": options.legacy_model})
    return bodies
