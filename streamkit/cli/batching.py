"""`streamkit batch`: one pipeline over many recordings."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.table import Column

from streamkit import batch
from streamkit.batch.pipeline import AnyPipeline
from streamkit.cli import inputs, reading, values
from streamkit.cli.commands import CommandParser

LINE_SECONDS = 10.0
"""Interval of progress lines if standard error is not a terminal."""
EXAMPLES = """\
streamkit batch recordings/ --model gpt-4o --rules rules.toml --out results.jsonl
    text, tokens, flags and times of every .sse, .jsonl, .ndjson and .json file in a folder, including gzip files
streamkit batch 'logs/2026-*/*.sse.gz' --pipeline pipeline.toml --out results.jsonl
    with a pipeline file; the glob is quoted, so that its order does not depend on the shell
streamkit batch exchanges.jsonl.gz --out results.parquet --workers 16
    one exchange per line, such as the results of OpenAI's or Anthropic's batch API
streamkit batch recordings/ --out results.jsonl
    the same command again after a kill or Ctrl-C: resumes the batch
"""
EXIT_CODES = (
    "0 every input has a result, 3 some are dead letters, 1 an error; after Ctrl-C or SIGTERM the same command resumes"
)
RESUME = "interrupted; run the same command again to resume the batch"
NO_ANSWER = (
    "no input can be read as a recorded answer, and a batch sends no requests; to send a file of prompts, "
    "see docs/how-to/batch.md#send-a-file-of-prompts"
)


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Run one pipeline over recorded answers, on all cores, and write a line of JSON for each, in the order of the inputs.\n"
        "Unreadable inputs are written to --dead-letters with the reason. No requests are sent: to send a file of prompts, see\n"
        "docs/how-to/batch.md#send-a-file-of-prompts.",
        EXAMPLES,
        EXIT_CODES,
    )
    # The results are written to a file.
    parser.set_defaults(needs_output=False)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="a file, a folder or a glob; .jsonl may have one exchange per line")
    add("--out", required=True, metavar="FILE", help="the results, as JSON lines, or as Parquet for a .parquet file")
    reading.describe_pipeline(parser)
    add("--model", help="count tokens for this model")
    add("--dead-letters", metavar="FILE", help="file for unreadable inputs (default: --out with .dead appended)")
    add("--workers", type=values.whole(1), metavar="N", help="number of worker processes (default: one per core)")
    add(
        "--shard",
        type=values.whole(1),
        default=50,
        metavar="N",
        help="inputs that a worker receives at a time (%(default)s)",
    )
    add("--restart", action="store_true", help="start over and replace the files of an earlier batch")
    add("--json", action="store_true", help="write the summary to standard output, as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the batch and return the exit code."""
    inputs.check(options.inputs)
    values.check_outputs(options.out, options.dead_letters)
    pipeline = _pipeline(options)
    try:
        with _shown(Console(stderr=True, highlight=False)) as report:
            summary = batch.run(
                options.inputs,
                pipeline,
                out=options.out,
                dead_letters=options.dead_letters,
                workers=options.workers,
                shard=options.shard,
                restart=options.restart,
                progress=report,
            )
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(RESUME)
        raise
    if summary.dead_letters and not summary.results:
        print(f"streamkit: {NO_ANSWER}", file=sys.stderr)
    if options.json:
        print(json.dumps(msgspec.to_builtins(summary)))
    else:
        print(f"streamkit: {summary_line(summary)}", file=sys.stderr)
    return 3 if summary.dead_letters else 0


def summary_line(summary: batch.Summary) -> str:
    """Return the summary in one line."""
    ends = ", ".join(f"{count} {reason}" for reason, count in summary.ends.items())
    parts = [f"{summary.inputs} inputs: {summary.results} results" + (f" ({ends})" if ends else "")]
    if summary.dead_letters:
        parts.append(_dead(summary.dead_letters))
    if summary.resumed:
        parts.append(f"{summary.resumed} done before")
    return f"{', '.join(parts)}; {summary.seconds:.1f} s"


def _pipeline(options: argparse.Namespace) -> AnyPipeline:
    if options.pipeline:
        if options.stage or options.rules or options.model:
            options.error("--pipeline has all stages: leave out --stage, --rules and --model")
        return reading.written(options.pipeline)
    return reading.pipeline_of(options.stage, options.rules, options.model)


@contextmanager
def _shown(console: Console) -> Generator[Callable[[batch.Progress], None]]:
    """Yield the progress callback: a bar in a terminal, otherwise a line every `LINE_SECONDS`."""
    if not console.is_interactive:
        yield ProgressLines()
        return
    columns = [
        TextColumn("{task.completed:>4.0%}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[metrics]}", markup=False, table_column=Column(no_wrap=True)),
        _Left(Column(no_wrap=True)),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, metrics="starting workers")
        yield partial(_draw, bar, task)


def _draw(bar: Progress, task: TaskID, progress: batch.Progress) -> None:
    bar.update(task, completed=progress.share, metrics=metrics(progress), left=left(progress))


class _Left(ProgressColumn):
    # rich's own estimate would count the inputs of earlier runs as done in this one.
    def render(self, task: Any) -> str:
        return str(task.fields.get("left", ""))


class ProgressLines:
    """Progress as lines on standard error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_SECONDS

    def __call__(self, progress: batch.Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            print(f"streamkit: {progress.share:.0%}, {metrics(progress)}, {left(progress)}", file=sys.stderr)


def metrics(progress: batch.Progress) -> str:
    """Return inputs, rate and dead letters as text."""
    dead = f", {_dead(progress.dead)}" if progress.dead else ""
    return f"{progress.inputs} inputs, {progress.rate:.0f}/s{dead}"


def _dead(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"


def left(progress: batch.Progress) -> str:
    """Return the time remaining as text, extrapolated from this run."""
    gained = progress.share - progress.resumed_share
    if gained <= 0:
        return "time remaining unknown"
    seconds = math.ceil(progress.seconds * (1 - progress.share) / gained)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} remaining"
