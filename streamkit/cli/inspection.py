"""`streamkit inspect`: describes a recording without showing the text of the response."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

import streamkit as sk
from streamkit.cli import show, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.inputs import Answer, answers
from streamkit.dialects import DIALECTS
from streamkit.display.timeline import TimelineRow, as_html, as_svg, as_text
from streamkit.errors import StreamkitError
from streamkit.events import Json, Timings
from streamkit.sources.recording import VERSION, is_timed, read_recording
from streamkit.sources.replay import Recorded
from streamkit.sse.json_text import NOT_JSON

FACTS = ("method", "url", "status")


EXAMPLES = """\
streamkit inspect answer.jsonl
    request, pieces, dialect, events, end, usage, timings and stalls of a recording; in a terminal also its timeline
streamkit inspect recordings/ 'logs/*.sse.gz' --stall 2 --html timeline.html
    every answer of a folder and of a glob, and an HTML page with all of them on one time axis
streamkit inspect recordings/ --json | jq -r 'select(.error) | .file'
    one JSON object per answer, one per line
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Describe recordings and response bodies: files, folders, globs, gzip, JSONL with one exchange per line. The text of\n"
        "an answer is never shown.",
        EXAMPLES,
        "0 every answer can be read to its end, 1 one of them can't",
    )
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="+",
        help="a recording, the body of an answer, a folder or a glob; - is standard input",
    )
    add("--stall", type=values.seconds, default=1.0, metavar="SECONDS", help="a longer wait is a stall (%(default)s)")
    add("--timeline", action="store_true", help="show the timeline as a line of text even without a terminal")
    add("--svg", metavar="FILE", help="write the timelines of all answers to this file")
    add("--html", metavar="FILE", help="write the timelines and a table of their metrics to this file")
    add("--json", action="store_true", help="write a JSON object for each answer, one per line")


def run(options: argparse.Namespace) -> int:
    """Print the facts of each response. Return 1 if one of them can't be read to its end."""
    values.check_outputs(options.svg, options.html)
    console = show.make_console(widest=None)
    timeline = options.timeline or console.is_terminal
    rows: list[TimelineRow] = []
    code = 0
    # After Ctrl-C, the charts are written for the responses read so far.
    try:
        for number, answer in enumerate(answers(options.files)):
            found, row = inspect(answer, options.stall)
            code = max(code, 1 if found["error"] else 0)
            if options.svg or options.html:
                rows.append(row)
            if options.json:
                print(msgspec.json.encode(found).decode(), flush=True)
                continue
            if number:
                print()
            _print(found)
            if timeline and row.timed:
                print(
                    f"{'timeline':10} {as_text(row, max(20, console.width - 24), ascii_only=console.options.ascii_only)}"
                )
            sys.stdout.flush()
    finally:
        if options.svg:
            Path(options.svg).write_text(as_svg(rows), encoding="utf-8")
        if options.html:
            Path(options.html).write_text(as_html(rows), encoding="utf-8")
    return code


def _print(found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if value:
            unknown = ["unknown"] if name == "timings" and value["total"] is None else []
            print(f"{name:10} {', '.join([*unknown, *filter(None, [_shown(value)])])}")


def inspect(answer: Answer, stall: float) -> tuple[dict[str, Any], TimelineRow]:
    """Return the facts of a response as JSON-compatible data, and its row of the timeline."""
    if answer.problem:
        return {"file": answer.name, "error": answer.problem}, TimelineRow(answer.name, Timings(None, None, (), None))
    head = {"file": answer.name, "recording": _head(answer.content), "pieces": _pieces(answer.content)}
    found, timings = asyncio.run(_read(answer, stall))
    return {**head, **found}, TimelineRow(answer.name, timings, found["end"], stall)


async def _read(answer: Answer, stall: float) -> tuple[dict[str, Any], Timings]:
    """Read the recording through a pipeline; return the facts and the timings."""
    stream = Recorded(answer.content, answer.name) | sk.Parse() | sk.Extract() | sk.Accumulate() | sk.Timing()
    counts: Counter[str] = Counter()
    timings, error = None, None
    try:
        async with stream as events:
            async for event in events:
                counts[type(event).__name__] += 1
                if isinstance(event, sk.Timings):
                    timings = event
    except StreamkitError as failure:
        error = f"{type(failure).__name__}: {failure}"
    timings = timings or stream.stage(sk.Timing).timings
    completion = stream.stage(sk.Accumulate).snapshot
    dialect = stream.stage(sk.Extract).detected
    return {
        "dialect": next((name for name, kind in DIALECTS.items() if kind is dialect), None),
        "model": completion.model,
        "events": dict(counts.most_common()),
        "end": stream.end.reason if stream.end else None,
        "error": error,
        "choices": [{"finish": choice.finish_reason, "characters": len(choice.text)} for choice in completion.choices],
        "usage": _usage(completion.usage),
        "timings": timings.to_dict(),
        "stalls": None if timings.total is None else list(map(msgspec.structs.asdict, timings.stalls(stall))),
    }, timings


def _usage(usage: sk.Usage | None) -> dict[str, Any] | None:
    """Return the provider's usage object, or the sums for several responses."""
    if usage is None:
        return None
    if usage.responses == 1:
        return usage.to_dict()
    sums = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {"responses": usage.responses, **sums}


def _head(content: bytes) -> dict[str, Any]:
    """Return the facts of the request in a recording's first line; any other file has only a format."""
    with suppress(*NOT_JSON):
        match msgspec.json.decode(content.partition(b"\n")[0]):
            case {"streamkit": str(version), **facts}:
                return {"format": version, **{name: facts[name] for name in FACTS if name in facts}}
            case _:
                pass
    return {"format": f"no {VERSION}, but a body in one piece"}


def _pieces(content: bytes) -> dict[str, Any]:
    pieces: list[tuple[float, int]] = []
    # The replay raises the same error and reports it.
    with suppress(StreamkitError):
        pieces.extend((at, len(data)) for at, data in read_recording(content))
    return {
        "number": sum(1 for _, size in pieces if size),
        "bytes": sum(size for _, size in pieces),
        # The arrival times of a plain body are unknown, not 0.
        "seconds": max((at for at, _ in pieces), default=0.0) if is_timed(content) else None,
    }


def _shown(value: Json) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_shown(each)}" for name, each in value.items() if each is not None)
        case list():
            return "; ".join(map(_shown, value))
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case _:
            return str(value)
