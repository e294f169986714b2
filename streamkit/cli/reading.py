"""`streamkit run` and `streamkit replay`: an answer as text, while it comes, and an exit code that says how it ended."""

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit import plugins
from streamkit.batch.pipeline import AnyPipeline, whole
from streamkit.cli import asking, live, show
from streamkit.cli.complaint import complaint
from streamkit.cli.doctor import where_table
from streamkit.completion import EndReason
from streamkit.display.comparison import endpoint
from streamkit.errors import StreamkitError
from streamkit.tokens import Responses, encoding_name
from streamkit.tokens.usage import summed

AnyStage: TypeAlias = sk.Stage[sk.Event, sk.Event] | sk.AsyncStage[sk.Event, sk.Event]
EXIT_CODES: dict[EndReason, int] = {
    "completed": 0,
    "tool_calls": 0,
    "error": 1,
    "length": 3,
    "content_filter": 4,
    "truncated": 5,
    "provider_error": 6,
    "moderated": 7,
    "timeout": 8,
    "limit": 9,
    "unknown": 10,
    "cancelled": 130,
}
CODES = (
    "Exit codes: " + ", ".join(f"{code} {reason}" for reason, code in EXIT_CODES.items()) + "; 2 for wrong arguments."
)


def describe_run(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.description = "Ask an endpoint, and write the text of the answer while it comes."
    parser.epilog = CODES
    asking.describe(parser)
    parser.set_defaults(error=parser.error)
    add = parser.add_argument
    add("prompt", nargs="?", metavar="PROMPT", help="ask this, of --model, instead of sending a --body")
    add("--body", metavar="FILE", help="the request as JSON; -, the default, is standard input")
    add("--model", help="the model that is asked; replaces that of a --body")
    add(
        "--as-is",
        action="store_true",
        help="send the request as it is; otherwise `stream` is set where it says nothing",
    )
    add("--record", metavar="FILE", help="record the answer too, for `streamkit replay`")
    _describe_reading(parser)


def describe_replay(parser: argparse.ArgumentParser) -> None:
    """Add the options of `replay`."""
    parser.description = "Write the text of a recorded answer, at the pace at which it came."
    parser.epilog = CODES
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="a recording, or the body of an answer")
    add(
        "--pace", type=_pace, default=1.0, metavar="TIMES", help="how many times as fast; 0 does not wait (%(default)s)"
    )
    add("--model", help="count the tokens as this model does")
    asking.describe_verbose(parser)
    parser.set_defaults(error=parser.error)
    _describe_reading(parser)


def _describe_reading(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pipeline", metavar="FILE", help="read through the pipeline in this TOML or JSON file")
    add(
        "--stage",
        action="append",
        default=[],
        metavar="NAME",
        help="put in the stage that an installed package offers by this name, before the rules; repeatable",
    )
    add("--rules", metavar="FILE", help="moderate by the rules in this TOML file")
    add("--json", action="store_true", help="write the completion as JSON when it has ended, instead of the text")
    add(
        "--price", type=_price, metavar="PROMPT/ANSWER", help="what a million tokens cost, for the line in the terminal"
    )


def run(options: argparse.Namespace) -> int:
    """`streamkit run`."""
    body = _body(options)
    url = _endpoint(options.url, body)
    asked = body if options.as_is or asking.is_gemini(url) else {"stream": True} | body
    source: sk.Source[bytes] = sk.http.post(url, json=asked, headers=asking.headers(options))
    if options.record:
        source = sk.record(source, options.record)
    return _read(source, options, body)


def replay(options: argparse.Namespace) -> int:
    """`streamkit replay`."""
    return _read(sk.replay(options.file, pace=options.pace or None), options, {"model": options.model})


def _body(options: argparse.Namespace) -> dict[str, Any]:
    if options.prompt is None:
        body = asking.body(options.body or "-")
        return body | {"model": options.model} if options.model else body
    if options.body:
        options.error("expected PROMPT or --body, found both")
    if not options.model and not asking.is_gemini(options.url):
        options.error("PROMPT needs --model")
    return asking.body_of(options.prompt, options.model, options.url)


def _endpoint(url: str, body: Mapping[str, Any]) -> str:
    # As `compare` has it; an address that is an endpoint is taken as it is.
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    if not base.endswith("/v1"):
        return url
    if "input" in body and "messages" not in body:
        return urlunsplit(parts._replace(path=f"{base}/responses"))
    return endpoint(url, body)


def _read(source: sk.Source[bytes], options: argparse.Namespace, body: Mapping[str, Any]) -> int:
    out, err = show.make_console(widest=None), Console(stderr=True, highlight=False)
    if options.pipeline and (options.stage or options.rules):
        options.error("--pipeline has all stages: leave out --stage and --rules")
    if options.pipeline:
        pipeline = written(options.pipeline)
    else:
        encoding = _table_here(body.get("model")) if err.is_interactive else None
        pipeline = pipeline_of(options.stage, options.rules, encoding)
    meter = Meter(source | pipeline, options.price, body)
    try:
        return asyncio.run(read(meter, out, err, as_json=options.json, verbose=options.verbose))
    except BrokenPipeError:
        # Whoever read this has enough, as `head` does. (https://docs.python.org/3/library/signal.html#note-on-sigpipe)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _stage(name: str) -> AnyStage:
    found = plugins.find("stages", name)
    if found is None:
        known = ", ".join(plugins.names("stages")) or "none"
        raise sk.PipelineError(f"--stage: expected the name of an installed stage ({known}), found {name!r}")
    try:
        made: Any = found() if not isinstance(found, sk.Stage | sk.AsyncStage) else cast("Any", found)
    except TypeError as error:
        raise sk.PipelineError(f"--stage: {name!r} can't be made without options: {error}") from error
    if not isinstance(made, sk.Stage | sk.AsyncStage):
        raise sk.errors.PluginError(
            f"--stage: expected {name!r} to make a stage, found an object of type {type(made).__name__}"
        )
    return cast("AnyStage", made)


def written(path: str) -> AnyPipeline:
    """The pipeline of a file, with what a command needs before and after it."""
    pipeline = sk.pipelines.from_file(path)
    try:
        return whole(pipeline)
    except sk.PipelineError as error:
        raise sk.PipelineError(f"--pipeline: {error}") from error


def pipeline_of(names: Iterable[str], rules: str | None, model: str | None) -> AnyPipeline:
    """The stages of these names, the rules, and a count of the tokens as this model has them."""
    pipeline: AnyPipeline = sk.Parse() | sk.Extract()
    for name in names:
        pipeline = pipeline | _stage(name)
    # Last, so that the rules see what the stages make of the text.
    if rules:
        pipeline = pipeline | sk.Moderate(sk.rules.from_file(rules))
    if model:
        pipeline = pipeline | sk.Count(model)
    return pipeline | sk.Accumulate() | sk.Timing()


def _table_here(model: object) -> str | None:
    """The encoding of that model, if its table is here: nothing is fetched for a number in a line."""
    encoding = encoding_name(model)[0] if isinstance(model, str) else None
    return encoding if encoding and where_table(encoding) else None


class Meter:
    """The content of the line below the text."""

    def __init__(self, stream: sk.Stream[sk.Event], price: live.LivePrice | None, body: Mapping[str, Any]) -> None:
        self.stream = stream
        self.responses = Responses()
        self._price = price
        self._timing = stream.stage(sk.Timing)
        try:
            self._count: sk.Count | None = stream.stage(sk.Count)
        except sk.PipelineError:
            self._count = None
        self._prompt = _prompt_tokens(body) if price and self._count else None
        self._began = time.monotonic()

    def line(self) -> str:
        """The line now."""
        timings = self._timing.timings
        if timings.tokens is None and self._count:
            timings = msgspec.structs.replace(timings, tokens=self._count.tokens())
        prompt = summed(*(row.prompt for row in self.responses.rows(0, self._prompt)))
        end = self.stream.end
        return live.line(
            tokens=timings.tokens,
            deltas=self._timing.passed,
            rate=timings.tokens_per_second,
            cost=self._price.of(prompt, timings.tokens) if self._price else None,
            # Not the source's clock, which stands still while nothing comes.
            seconds=time.monotonic() - self._began,
            end=end.reason if end else None,
        )


async def read(meter: Meter, out: Console, err: Console, *, as_json: bool = False, verbose: bool = False) -> int:
    """Write the answer, and give the exit code. What goes wrong with it is one line on standard error; with `verbose` the
    provider's own reason follows."""
    stream, problem = meter.stream, None
    async with live.shown(out, err, meter.line) as text:
        try:
            async with stream as events:
                async for event in events:
                    meter.responses.take(event)
                    if not as_json:
                        _write(event, text)
        except StreamkitError as error:
            problem = complaint(error, verbose=verbose)
        completion = stream.stage(sk.Accumulate).snapshot
        if as_json and completion.choices:
            text.write(msgspec.json.encode(completion.to_dict()).decode() + "\n")
        elif not as_json and problem is None:
            _write_calls(completion, text)
    reason = stream.end.reason if stream.end else "error"
    if problem is None and EXIT_CODES[reason]:
        problem = f"the answer ended with {reason}{_word(stream.end)}"
    if problem is not None:
        print(f"streamkit: {problem}", file=sys.stderr)
    return EXIT_CODES[reason]


def _word(end: sk.StreamEnd | None) -> str:
    # The provider's own, if it is a word that can be shown.
    word = end.provider_reason if end and end.reason == "unknown" else None
    return f" ({word})" if word and re.fullmatch(r"[A-Za-z0-9_.: -]{1,64}", word) else ""


def _prompt_tokens(body: Mapping[str, Any]) -> int | None:
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
        # Of several answers one can be read while it comes: the first.
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


def _pace(text: str) -> float:
    try:
        if 0 <= (pace := float(text)) < float("inf"):
            return pace
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected 0 or more, found {text!r}")


def _price(text: str) -> live.LivePrice:
    try:
        prompt, completion = map(Decimal, text.split("/"))
        if prompt.is_finite() and completion.is_finite() and min(prompt, completion) >= 0:
            return live.LivePrice(prompt, completion)
    except (ValueError, InvalidOperation):
        pass
    raise argparse.ArgumentTypeError(f"expected two prices, such as 0.15/0.60; found {text!r}")
