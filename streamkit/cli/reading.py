"""Writes a response as text while it arrives, and returns an exit code for its end. Shared by several commands."""

import argparse
import re
import sys
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit.batch.pipeline import AnyPipeline, whole
from streamkit.cli import live, show
from streamkit.cli.complaint import complaint
from streamkit.cli.exits import EXIT_CODES, WRONG_ARGUMENTS, code_of
from streamkit.cli.stage_option import StageOption, complete_stage, make_stage, stage_option
from streamkit.cli.token_tables import where_table
from streamkit.errors import StreamkitError
from streamkit.plugins.config_files import is_file
from streamkit.sse.lines import Lines
from streamkit.tokens import Prices, PriceTable, Responses, encoding_name, find_prices
from streamkit.tokens.usage import summed


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of the commands that read a response."""
    describe_pipeline(parser)
    add = parser.add_argument
    add("--json", action="store_true", help="write the completion as JSON at the end, instead of the text")
    describe_price(parser, "for the line in the terminal")


def describe_price(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the option of prices."""
    parser.add_argument(
        "--price",
        type=price,
        metavar="PRICE",
        help="PROMPT/ANSWER per million tokens, such as 0.15/0.60, or a file (.toml, .json) or installed table of prices; "
        + purpose,
    )


def describe_pipeline(parser: argparse.ArgumentParser) -> None:
    """Add the options that define the pipeline."""
    add = parser.add_argument
    add("--pipeline", metavar="FILE", help="use the pipeline in this TOML or JSON file")
    stage: Any = add(
        "--stage",
        action="append",
        default=[],
        type=stage_option,
        metavar="STAGE",
        help="add a stage, before the rules; repeatable. Built-in and installed stages by name, others as "
        "package.module:name; options in Python syntax: 'Smooth(\"word\")'",
    )
    stage.completer = complete_stage
    add("--rules", metavar="FILE", help="moderate with the rules in this TOML file")


def pipeline(options: argparse.Namespace, body: Mapping[str, Any]) -> AnyPipeline:
    """Return the pipeline of the options. Built before anything is sent."""
    if options.pipeline:
        if options.stage or options.rules:
            options.error("--pipeline has all stages: leave out --stage and --rules")
        return written(options.pipeline)
    encoding = table_here(body.get("model")) if sys.stderr.isatty() else None
    return pipeline_of(options.stage, options.rules, encoding)


async def read_source(stream: sk.Stream[sk.Event], options: argparse.Namespace, body: Mapping[str, Any]) -> int:
    """Read a response to its end according to the options, and return the exit code."""
    out, err = show.make_console(widest=None), Console(stderr=True, highlight=False)
    meter = Meter(stream, options.price, body)
    return await read(meter, out, err, as_json=options.json, verbose=options.verbose)


def written(path: str) -> AnyPipeline:
    """Return the pipeline of a file, with the missing stages that a command needs."""
    return _whole(sk.pipelines.from_file(path), "--pipeline")


def _whole(pipeline: Any, option: str) -> AnyPipeline:
    try:
        return whole(pipeline)
    except sk.PipelineError as error:
        raise sk.PipelineError(f"{option}: {error}") from error


def pipeline_of(stages: Iterable[StageOption], rules: str | None, model: str | None) -> AnyPipeline:
    """Return a pipeline of these stages, the rules, a token count for the model, and the missing stages that a command needs.

    If the first stage is `Lines`, `Parse` or `Extract`, the command does not add its own `Parse` and `Extract`.
    """
    made = [make_stage(option) for option in stages]
    built: Any = None
    if not (made and _reads_input(made[0])):
        built = sk.Parse() | sk.Extract()
    for stage in made:
        built = stage if built is None else built | stage
    # The rules come last, so that they apply to the output of the stages.
    if rules:
        built = built | sk.Moderate(sk.rules.from_file(rules))
    if model:
        built = built | sk.Count(model)
    return _whole(built, "--stage")


def _reads_input(stage: Any) -> bool:
    return isinstance(stage, Lines | sk.Parse | sk.Extract)


def table_here(model: object) -> str | None:
    """Return the encoding of a model if its table is on this machine; a live token count does not justify a download."""
    encoding = encoding_name(model)[0] if isinstance(model, str) else None
    return encoding if encoding and where_table(encoding) else None


class Meter:
    """Measures the values of the line below the text."""

    def __init__(self, stream: sk.Stream[sk.Event], price: PriceTable | None, body: Mapping[str, Any]) -> None:
        self.stream = stream
        self.responses = Responses()
        self._price = price
        self._timing = stream.stage(sk.Timing)
        try:
            self._count: sk.Count | None = stream.stage(sk.Count)
        except sk.PipelineError:
            self._count = None
        self._model = body.get("model")
        self._prompt = prompt_tokens(body) if price and self._count else None
        self._began = time.monotonic()

    def line(self) -> str:
        """Return the current line."""
        timings = self._timing.timings
        if timings.tokens is None and self._count:
            timings = msgspec.structs.replace(timings, tokens=self._count.tokens())
        rows = self.responses.rows(0, self._prompt)
        prompt = summed(*(row.prompt for row in rows))
        models = (*(row.response.model for row in rows), self._model)
        end = self.stream.end
        return live.line(
            tokens=timings.tokens,
            deltas=self._timing.passed,
            rate=timings.tokens_per_second,
            cost=live.cost_line(self._price, prompt, timings.tokens, *models) if self._price else None,
            # Not the source's clock: that of a replay does not advance while nothing arrives.
            seconds=time.monotonic() - self._began,
            end=end.reason if end else None,
        )


async def read(meter: Meter, out: Console, err: Console, *, as_json: bool = False, verbose: bool = False) -> int:
    """Write the response and return the exit code. An error is one line on standard error; with `verbose`, the provider's own
    reason follows."""
    stream, problem, code = meter.stream, None, 0
    async with live.shown(out, err, meter.line) as text:
        try:
            async with stream as events:
                async for event in events:
                    meter.responses.take(event)
                    if not as_json:
                        _write(event, text)
            if not as_json:
                _write_calls(stream.stage(sk.Accumulate).snapshot, text)
        except StreamkitError as error:
            problem, code = complaint(error, verbose=verbose), code_of(error)
        finally:
            # After Ctrl-C too, with the part of the response received so far.
            completion = stream.stage(sk.Accumulate).snapshot
            if as_json and completion.choices:
                text.write(msgspec.json.encode(completion.to_dict()).decode() + "\n")
    reason = stream.end.reason if stream.end else "error"
    # The caller asked for this end, with a stage such as Take. After a signal this line is not reached, and the end of an answer
    # that the provider reports as cancelled has its `provider_reason`.
    if problem is None and stream.end == sk.StreamEnd("cancelled"):
        return 0
    if problem is None and EXIT_CODES[reason]:
        problem = f"the answer ended with {reason}{_word(stream.end)}"
    if problem is not None:
        print(f"streamkit: {problem}", file=sys.stderr)
    return WRONG_ARGUMENTS if code == WRONG_ARGUMENTS else EXIT_CODES[reason]


def _word(end: sk.StreamEnd | None) -> str:
    # The provider's own finish reason, if it is a printable word.
    word = end.provider_reason if end and end.reason == "unknown" else None
    return f" ({word})" if word and re.fullmatch(r"[A-Za-z0-9_.: -]{1,64}", word) else ""


def prompt_tokens(body: Mapping[str, Any]) -> int | None:
    match body:
        case {"messages": [*messages], "model": str(model)} if all(map(_is_text, messages)):
            return sk.tokens.prompt_tokens(messages, model).tokens
        case _:
            return None


def _write_calls(completion: sk.Completion, text: live.Plain | live.Drawn) -> None:
    for call in completion.choices[0].tool_calls if completion.choices else ():
        text.write(msgspec.json.encode({"name": call.name, "arguments": call.arguments}).decode() + "\n")


def _write(event: sk.Event, text: live.Plain | live.Drawn) -> None:
    match event:
        # Of several choices, only the first is written while it arrives.
        case sk.TextDelta(text=piece, index=0) | sk.RefusalDelta(text=piece, index=0):
            text.write(piece)
        case _:
            pass


def _is_text(message: object) -> bool:
    match message:
        case {"content": str()}:
            return True
        case _:
            return False


def price(text: str) -> PriceTable:
    """Parse `--price`: two prices, the path of a price file, or the name of an installed table."""
    if is_file(text) or "/" not in text:
        try:
            return find_prices(text)
        except StreamkitError as error:
            raise argparse.ArgumentTypeError(
                f"expected two prices, such as 0.15/0.60, or a table of them: {error}"
            ) from error
    try:
        prompt, completion = map(Decimal, text.split("/"))
        if prompt.is_finite() and completion.is_finite() and min(prompt, completion) >= 0:
            return Prices({"currency": "", "models": {"*": {"input": prompt, "output": completion}}})
    except (ValueError, InvalidOperation):
        pass
    raise argparse.ArgumentTypeError(f"expected two prices, such as 0.15/0.60; found {text!r}")
