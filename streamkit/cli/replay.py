"""`streamkit replay`: writes the text of a recorded response at the recorded pace."""

import argparse
import asyncio
import sys
from io import BufferedReader
from pathlib import Path
from typing import cast

import streamkit as sk
from streamkit.cli import complaint, reading
from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_AN_ANSWER
from streamkit.cli.inputs import check_file
from streamkit.core.source import as_source
from streamkit.sources.recording import GZIP, RECORDING

EXAMPLES = """\
streamkit replay answer.jsonl
    the text at the recorded pace; `streamkit run … --record answer.jsonl` writes a recording
streamkit replay answer.jsonl --pace 10
    ten times as fast; 0 does not wait
streamkit replay answer.sse --rules rules.toml
    a response body, moderated with rules
streamkit replay answer.jsonl --pace 0 --json > completion.json
    the completion in the format of a non-streaming response
curl -N … | streamkit replay - --rules rules.toml
    an answer from standard input, while it arrives; a recording at its own pace
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe("Write the text of a recorded answer at the recorded pace.", EXAMPLES, OF_AN_ANSWER)
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        type=Path,
        help="a recording, or the body of an answer, also as gzip; - is standard input",
    )
    describe_pace(parser)
    add("--model", help="count tokens for this model")
    complaint.describe_verbose(parser)
    reading.describe(parser)


def describe_pace(parser: argparse.ArgumentParser) -> None:
    """Add the option for the pace of a replay."""
    parser.add_argument(
        "--pace",
        type=_pace,
        default=1.0,
        metavar="TIMES",
        help="the speed relative to the recording; 0 does not wait (%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Replay the file and return the exit code."""
    body = {"model": options.model}
    built = reading.pipeline(options, body)
    return asyncio.run(reading.read_source(_source(options) | built, options, body))


def _source(options: argparse.Namespace) -> sk.Source[bytes]:
    if str(options.file) != "-":
        check_file(options.file)
        return sk.replay(options.file, pace=options.pace or None)
    file = cast("BufferedReader", sys.stdin.buffer)
    # A body is read while it arrives. Only a recording has a pace of its own, and is read whole before its first piece.
    if file.peek(1).startswith((RECORDING, GZIP)):
        return sk.replay(file, pace=options.pace or None)
    return as_source(file)


def _pace(text: str) -> float:
    try:
        if 0 <= (pace := float(text)) < float("inf"):
            return pace
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected 0 or more, found {text!r}")
