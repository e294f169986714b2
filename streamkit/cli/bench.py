"""`streamkit bench`: the cost of a pipeline per event on this machine, compared with the floor."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from typing import Any, NamedTuple

import msgspec

import streamkit as sk
from streamkit.cli import reading, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.complaint import describe_verbose
from streamkit.cli.exits import OF_A_COMMAND
from streamkit.cli.inputs import answers
from streamkit.cli.token_tables import where_table
from streamkit.errors import PipelineError, RecordingError, StreamkitError
from streamkit.sources.recording import read_recording

READS = ("one event", "64 KiB")
MODEL = "gpt-4o"
EXAMPLES = """\
streamkit bench
    a chat as OpenAI sends it, with one more stage in each row; takes about a second
streamkit bench answer.sse --rounds 9
    with your own recorded answer
streamkit bench --rules rules.toml --stage 'Smooth("word")' --json
    your rules and stages as an additional row, as JSON
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Measure the CPU time of a pipeline per event, without network. The floor is the time that msgspec takes to decode the\n"
        "payloads, already split: the minimum for any reader. The values are medians of several rounds.",
        EXAMPLES,
        OF_A_COMMAND,
    )
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="use the events of this answer or recording")
    add(
        "--events",
        type=values.whole(1, 10_000_000),
        default=2000,
        metavar="N",
        help="number of events of the generated answer (%(default)s)",
    )
    add(
        "--rounds",
        type=values.whole(1, 10_000),
        default=5,
        metavar="N",
        help="number of measurements per row (%(default)s)",
    )
    reading.describe_pipeline(parser)
    describe_verbose(parser)
    add("--json", action="store_true", help="write the rows as a JSON array")


class BenchRow(NamedTuple):
    """One pipeline or the floor: microseconds per event, the multiple of the floor, and events per second."""

    pipeline: str
    read: str
    microseconds: float
    times_floor: float
    events_per_second: int


def run(options: argparse.Namespace) -> int:
    """Measure, and print each row as soon as it is measured."""
    body = _recorded(options.file) if options.file else _generated(options.events)
    events = [block + b"\n\n" for block in body.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]
    payloads = [event[event.index(b"data:") + 5 :].strip() for event in events if b"data:" in event]
    payloads = [payload for payload in payloads if payload.startswith(b"{")]
    if not payloads:
        raise RecordingError("expected an answer as server-sent events with JSON, found none")
    pipelines = _pipelines(options)
    for pipeline in pipelines.values():
        _check(pipeline, body)
    rows: list[BenchRow] = []
    width = max(map(len, pipelines))
    if not options.json:
        print(
            f"{len(payloads)} events, {len(body)} bytes; Python {sys.version.split()[0]}; medians of {options.rounds} rounds\n"
        )
        print(f"{'read':10} {'pipeline':{width}}  {'µs/event':>8}  {'x floor':>7}  {'events/s':>9}", flush=True)
    try:
        for read in READS:
            chunks = events if read == "one event" else _cut(body)
            for row in _measured(read, chunks, payloads, pipelines, options.rounds):
                rows.append(row)
                if not options.json:
                    metrics = f"{row.microseconds:8.2f}  {row.times_floor:7.1f}  {row.events_per_second:9}"
                    print(f"{row.read:10} {row.pipeline:{width}}  {metrics}", flush=True)
    finally:
        if options.json:
            print(json.dumps([row._asdict() for row in rows]))
    return 0


def _measured(
    read: str, chunks: list[bytes], payloads: list[bytes], pipelines: dict[str, Any], rounds: int
) -> Iterator[BenchRow]:
    # A short response is read several times, because clocks are coarse.
    repeats = max(1, 1000 // len(payloads))
    floor = _floor(payloads * repeats)
    for name, pipeline in pipelines.items():
        costs: list[tuple[float, float]] = []
        work = floor if pipeline is None else partial(_repeat, pipeline, chunks, repeats)
        for _ in range(rounds):
            # The floor is measured right before each pipeline, because the speed of a machine drifts.
            costs.append((_seconds(floor), _seconds(work)))
        least = statistics.median(one for one, _ in costs) / (repeats * len(payloads))
        each = least if pipeline is None else statistics.median(one for _, one in costs) / (repeats * len(payloads))
        yield BenchRow(name, read, round(each * 1e6, 3), round(each / least, 2), round(1 / each))


def _floor(payloads: list[bytes]) -> Callable[[], object]:
    decode: Callable[[bytes], object] = msgspec.json.Decoder(_TypedChunk).decode
    try:
        for payload in payloads:
            decode(payload)
    # Payloads of another dialect are decoded without a type.
    except msgspec.DecodeError:
        decode = msgspec.json.Decoder().decode
    return lambda: _drain(map(decode, payloads))


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _TypedChoice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None


class _TypedChunk(msgspec.Struct, gc=False):
    choices: list[_TypedChoice]


def _pipelines(options: argparse.Namespace) -> dict[str, Any]:
    """Return the pipelines of the rows by name; `None` is the floor."""
    read = sk.Parse() | sk.Extract()
    rules = [sk.Rule(f"rule {number}", phrases=(f"forbidden phrase {number}",)) for number in range(100)]
    found: dict[str, Any] = {
        "floor": None,
        "Parse": sk.Parse(),
        "Parse | Extract": read,
        "… | Accumulate": read | sk.Accumulate(),
        "… | Moderate(100 phrases) | Accumulate": read | sk.Moderate(rules) | sk.Accumulate(),
    }
    if where_table("o200k_base"):
        found[f'… | Accumulate | Count("{MODEL}")'] = read | sk.Accumulate() | sk.Count(MODEL)
    if options.pipeline or options.stage or options.rules:
        found["yours"] = reading.pipeline(options, {})
    return found


def _check(pipeline: Any, body: bytes) -> None:
    """Raise for an unreadable input or an async pipeline before anything is measured."""
    if pipeline is None:
        return
    if isinstance(pipeline, sk.AsyncStage):
        raise PipelineError("bench measures sync stages; this pipeline has one that is async")
    _drain(pipeline.run([body]))


def _drain(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _repeat(pipeline: Any, chunks: list[bytes], times: int) -> None:
    for _ in range(times):
        _drain(pipeline.run(chunks))


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return max(time.process_time() - began, 1e-9)


def _cut(body: bytes) -> list[bytes]:
    return [body[at : at + 65536] for at in range(0, len(body), 65536)]


def _recorded(path: str) -> bytes:
    answer = next(answers([path]))
    if answer.problem:
        raise RecordingError(answer.problem)
    found: list[bytes] = []
    try:
        found.extend(data for _, data in read_recording(answer.content))
    except StreamkitError as error:
        raise RecordingError(f"{answer.name}: {error}") from error
    return b"".join(found)


def _generated(events: int) -> bytes:
    """Return a chat stream as OpenAI sends it, with `obfuscation` of varying length, `logprobs` and `usage`."""
    random = Random(20)
    words = (
        "stream",
        " of",
        " tokens",
        ",",
        " each",
        " piece",
        " arrives",
        " as",
        " soon",
        " as",
        " it",
        " is",
        " known",
        ".",
    )
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "service_tier": "default",
    }

    def event(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        payload = {**head, "choices": [choice], "usage": None, "obfuscation": "x" * random.randrange(1, 16)}
        return b"data: %b\n\n" % msgspec.json.encode(payload)

    body = [event({"role": "assistant", "content": "", "refusal": None})]
    body += [event({"content": words[number % len(words)]}) for number in range(events)]
    return b"".join([*body, event({}, "stop"), b"data: [DONE]\n\n"])
