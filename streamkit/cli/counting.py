"""`streamkit count`: tokens of texts, prompts and responses."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

import streamkit as sk
from streamkit.cli import reading
from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_A_COMMAND
from streamkit.cli.inputs import Answer, answers
from streamkit.core.wrong_input import shown
from streamkit.errors import RecordingError, StreamkitError
from streamkit.sources.recording import read_recording
from streamkit.sse.json_text import NOT_JSON
from streamkit.tokens import BilledTokens, PriceTable
from streamkit.tokens.counters import find_counter

EXAMPLES = """\
streamkit count notes.txt README.md --model gpt-4o
    tokens, characters and name of each file, and the total, like `wc`
echo "Count to 10" | streamkit count
    standard input, with the encoding of OpenAI's current models
streamkit count request.json --model gpt-4o --price 2.50/10
    the prompt of a request, including its tools, and its cost
streamkit count answer.sse recordings/ --model gpt-4o --json
    the generated tokens of recorded answers, and the usage that the provider reported
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Count tokens: of texts, of the prompts in requests (JSON with messages), and of recorded answers (.sse, .jsonl,\n"
        ".ndjson, a response in .json). An estimate is marked with `~`.",
        EXAMPLES,
        OF_A_COMMAND,
    )
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="*",
        default=["-"],
        help="files, folders of answers, globs; - or no argument is standard input",
    )
    add("--model", default="o200k_base", help="count tokens for this model, or with this encoding (%(default)s)")
    add("--counter", metavar="NAME", help="use a counter of an installed package, or `characters`, instead")
    add(
        "--as",
        dest="form",
        choices=("auto", "text", "prompt", "answer"),
        default="auto",
        help="the type of the files; auto: by name and content",
    )
    reading.describe_price(parser, "for --model")
    add("--json", action="store_true", help="write a JSON object for each input, one per line")


class Counted(NamedTuple):
    """One input: its tokens and characters, and the usage reported by the provider."""

    file: str
    kind: str
    tokens: int
    exact: bool
    characters: int
    reported: dict[str, int | None] | None = None
    error: str | None = None

    def cost(self, prices: PriceTable, model: str) -> Decimal:
        """Return the cost in the currency of the prices, which have one for the model."""
        billed = BilledTokens(self.tokens, 0) if self.kind == "prompt" else BilledTokens(0, self.tokens)
        cost = prices.cost(billed, model)
        assert cost is not None, "checked before anything is counted"
        return cost


_Price: TypeAlias = Callable[[Counted], Decimal]


def run(options: argparse.Namespace) -> int:
    """Count and print a line for each input."""
    price = _price(options)
    rows: list[Counted] = []
    code = inputs = 0
    for row in _counted(options):
        inputs += 1
        if row.error:
            code = 1
            print(f"streamkit: {row.file}: {row.error}", file=sys.stderr)
        else:
            rows.append(row)
        if options.json:
            values = row._asdict() | ({"cost": str(price(row))} if price else {})
            print(msgspec.json.encode(values).decode(), flush=True)
        elif not row.error:
            print(_line(row, price), flush=True)
    if inputs > 1 and not options.json:
        total = Counted(
            "total",
            "",
            sum(row.tokens for row in rows),
            all(row.exact for row in rows),
            sum(row.characters for row in rows),
        )
        cost = f"  {sum(map(price, rows)):.6f}" if price else ""
        print(_line(total, None) + cost)
    return code


def _price(options: argparse.Namespace) -> _Price | None:
    if options.price is None:
        return None
    if options.price.cost(BilledTokens(0, 0), options.model) is None:
        options.error(
            f"--price: expected a price for {shown(options.model)}, found none; choose the model with --model"
        )
    return partial(Counted.cost, prices=options.price, model=options.model)


def _line(row: Counted, price: _Price | None) -> str:
    tokens = f"{'' if row.exact else '~'}{row.tokens}"
    line = f"{tokens:>8} {row.characters:>9}  {row.file}"
    if row.kind in ("prompt", "answer"):
        line += f"  ({row.kind})"
    if row.reported:
        line += "  reported: " + ", ".join(
            f"{name.removesuffix('_tokens')} {value}" for name, value in row.reported.items() if value is not None
        )
    return line + (f"  cost {price(row):.6f}" if price else "")


def _counted(options: argparse.Namespace) -> Iterator[Counted]:
    for name in options.files:
        if name == "-":
            # Without arguments, the command would otherwise wait in a terminal without a message.
            if sys.stdin.isatty():
                print("streamkit: reading standard input; Ctrl-D ends it", file=sys.stderr)
            content = sys.stdin.buffer.read()
            yield from _of_content("standard input", content, options)
        elif _is_plain(name, options.form):
            yield from _of_content(name, Path(name).read_bytes(), options)
        else:
            for answer in answers([name]):
                yield _of_answer(answer, options)


def _is_plain(name: str, form: str) -> bool:
    path = Path(name)
    return path.is_file() and (
        form in ("text", "prompt") or not path.name.endswith((".sse", ".jsonl", ".ndjson", ".gz"))
    )


def _of_content(name: str, content: bytes, options: argparse.Namespace) -> Iterator[Counted]:
    form, request = options.form, None
    if form in ("auto", "prompt"):
        request = _request(content)
        if request is None and form == "prompt":
            raise sk.PipelineError(f"{name}: expected a request, a JSON object with messages")
    if request is not None:
        yield _of_request(name, request, options)
    elif form == "answer" or (form == "auto" and _is_answer(content)):
        yield _of_answer(Answer(name, content), options)
    else:
        text = content.decode(errors="replace")
        counter = find_counter(options.counter, options.model)
        count = counter.count()
        count.feed(text)
        yield Counted(name, "text", count.tokens, counter.exact, len(text))


def _is_answer(content: bytes) -> bool:
    head = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"data:", b"event:", b'{"streamkit"')):
        return True
    found = _object(content)
    return found is not None and not {"choices", "content", "candidates", "output"}.isdisjoint(found)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except NOT_JSON:
        return None


def _request(content: bytes) -> dict[str, Any] | None:
    found = _object(content)
    return found if found is not None and isinstance(found.get("messages"), list) else None


def _of_request(name: str, request: Mapping[str, Any], options: argparse.Namespace) -> Counted:
    messages: Any = request["messages"]
    if not all(isinstance(message, dict) for message in messages):
        raise sk.PipelineError(f"{name}: expected messages that are objects")
    tools = request.get("tools") or ()
    found = sk.tokens.prompt_tokens(messages, options.model, tools=tools, counter=options.counter)
    return Counted(name, "prompt", found.tokens, found.exact, len("".join(_texts(messages))))


def _texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case [*items]:
            yield from chain.from_iterable(map(_texts, items))
        case {"content": content}:
            yield from _texts(content)
        case {"text": text}:
            yield from _texts(text)
        case _:
            pass


def _of_answer(answer: Answer, options: argparse.Namespace) -> Counted:
    count = sk.Count(options.model, counter=options.counter)
    characters = 0
    run = (sk.Parse() | sk.Extract() | count).run(_pieces(answer))
    error = None
    try:
        if answer.problem:
            raise RecordingError(answer.problem)
        for event in run:
            match event:
                case sk.TextDelta(text=text) | sk.ReasoningDelta(text=text) | sk.RefusalDelta(text=text):
                    characters += len(text)
                case sk.ToolCallDelta(arguments=text):
                    characters += len(text)
                case _:
                    pass
    except StreamkitError as failure:
        error = f"{type(failure).__name__}: {failure}"
    found = run.stage(sk.Count)
    report = found.report
    reported = None
    if report.provider is not None:
        usage = report.provider
        reported = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    exact = find_counter(options.counter, options.model).exact
    return Counted(answer.name, "answer", found.tokens(), exact, characters, reported, error)


def _pieces(answer: Answer) -> Iterator[bytes]:
    return (data for _, data in read_recording(answer.content) if data)
