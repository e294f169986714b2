"""`streamkit compare`: the guide's comparison against an endpoint."""

import argparse
import asyncio
from typing import Any

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit.cli import asking, demo


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Ask the same thing streamed and whole, and tell when what came. Sends real requests, one after the other."
    )
    asking.describe(parser)
    add = parser.add_argument
    add("--body", action="append", metavar="FILE", help="a request as JSON, - for standard input; repeatable")
    add("--model", help="without --body: ask this model to count to 100, as OpenAI's guide does (%(default)s)")
    add(
        "--legacy-model",
        metavar="MODEL",
        help="without --body: let this one go on after 1,2,3, by the legacy completions",
    )
    add("--runs", type=_number, default=1, metavar="N", help="ask each N times, and tell the medians (%(default)s)")
    add("--svg", metavar="FILE", help="draw the text over time into this file")
    add("--json", action="store_true", help="write the figures as JSON")
    parser.set_defaults(model="gpt-4o-mini")


def run(console: Console, options: argparse.Namespace) -> int:
    """Compare, and print the table."""
    bodies = [asking.body(path) for path in options.body] if options.body else _of_the_guide(options)
    compared = asyncio.run(sk.display.compare(options.url, *bodies, headers=asking.headers(options), runs=options.runs))
    if options.svg:
        compared.save(options.svg)
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
    return 0


def _of_the_guide(options: argparse.Namespace) -> list[dict[str, Any]]:
    bodies = [demo.COUNT_TO_100.body | {"model": options.model}]
    if options.legacy_model:
        bodies.append(demo.GO_ON.body | {"model": options.legacy_model})
    return bodies


def _number(text: str) -> int:
    if text.isdecimal() and 1 <= (number := int(text)) <= 1000:
        return number
    raise argparse.ArgumentTypeError(f"expected 1 to 1000, found {text!r}")
