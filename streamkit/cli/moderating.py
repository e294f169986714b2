"""`streamkit moderate`: reports what rules buffer, redact and block in a text or a response, why, and at which offset."""

import argparse
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec

import streamkit as sk
from streamkit.cli import values
from streamkit.cli.commands import CommandParser
from streamkit.cli.inputs import Answer, answers
from streamkit.completion import Channel
from streamkit.errors import StreamkitError
from streamkit.events import Flagged, PartDelta, PartEnd, PartStart, Reset, Retracted
from streamkit.moderation.channels import CHANNEL_OF
from streamkit.moderation.json_escapes import Unescaped
from streamkit.sources.recording import read_recording

Form: TypeAlias = Literal["auto", "answer", "text"]
_Place: TypeAlias = tuple[Channel, int, int | None]
"""Channel, choice and tool call of a text."""
OF_ANSWERS = (".sse", ".jsonl", ".ndjson", ".json")
EXAMPLES = """\
streamkit moderate answer.sse --rules rules.toml
    each buffered span, each verdict with its category, offsets and point of decision, and a summary
echo "my card is 4111 1111 1111 1111" | streamkit moderate - --rules rules.toml --quote
    a text from standard input, split into deltas of 4 characters; quotes the matches
curl -N … | streamkit moderate - --rules rules.toml --released > answer.txt
    a stream while it arrives: the released text on standard output, the report on standard error
streamkit moderate recordings/ --rules rules.toml --json | jq -r 'select(.verdicts != []) | .file'
    one JSON object for each answer of a folder
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Apply rules to texts, answers and recordings, and show their decisions with offsets. Offsets count characters of the\n"
        "original text of a channel. The text itself is shown only with --quote or --released.",
        EXAMPLES,
        "0 nothing is withheld, 7 something is redacted or blocked, 1 an error",
    )
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="+",
        help="a text, an answer, a recording, a folder or a glob; - is standard input",
    )
    add("--rules", metavar="FILE", required=True, help="the rules, as a TOML file")
    add(
        "--as",
        dest="form",
        choices=("auto", "answer", "text"),
        default="auto",
        help="the type of the files; auto: an answer if named .sse, .jsonl, .ndjson or .json or starting like an event stream",
    )
    add(
        "--cut",
        type=values.whole(1),
        default=4,
        metavar="N",
        help="split a text into deltas of N characters (%(default)s)",
    )
    add("--mode", choices=("hold", "observe", "optimistic"), default="hold", help="the mode of Moderate (%(default)s)")
    add("--quote", action="store_true", help="quote the text of each verdict")
    add(
        "--released",
        action="store_true",
        help="write the released text to standard output, and the report to standard error",
    )
    add("--json", action="store_true", help="write a JSON object for each input, one per line")


def run(options: argparse.Namespace) -> int:
    """Moderate all inputs and return the exit code."""
    stage = sk.Moderate(sk.rules.from_file(options.rules), mode=options.mode, keep_raw=True)
    report = sys.stderr if options.released else sys.stdout
    code = 0
    several = len(options.files) > 1 or Path(options.files[0]).is_dir()
    for name, events in _inputs(options):
        if several and not options.json:
            print(f"{name}:", file=report)
        write = None if options.json else partial(print, file=report, flush=True)
        release = _release if options.released else None
        found = Moderation(stage.fresh(), quote=options.quote)
        found.run(events, write, release)
        if options.json:
            print(msgspec.json.encode({"file": name, **found.to_dict()}).decode(), file=report, flush=True)
        code = max(code, 1 if found.error else 0, key=(0, 7, 1).index)
        code = max(code, 7 if found.withheld else 0, key=(0, 7, 1).index)
        if found.error:
            print(f"streamkit: {name}: {found.error}", file=sys.stderr)
    return code


def _release(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _inputs(options: argparse.Namespace) -> Iterator[tuple[str, Iterable[tuple[float | None, sk.Event]]]]:
    for name in options.files:
        if name == "-":
            yield "standard input", _arriving(options.form, options.cut)
        elif options.form == "text" or (options.form == "auto" and _is_text(name)):
            yield name, _of_text(Path(name).read_text(encoding="utf-8", errors="replace"), options.cut)
        else:
            yield from ((answer.name, _of_answer(answer)) for answer in answers([name]))


def _is_text(name: str) -> bool:
    path = Path(name)
    if not path.is_file() or path.name.lower().removesuffix(".gz").endswith(OF_ANSWERS):
        return False
    with path.open("rb") as file:
        return not _begins_a_stream(file.read(512))


def _begins_a_stream(head: bytes) -> bool:
    """Whether a body starts like server-sent events or JSON."""
    return (
        head.removeprefix(b"\xef\xbb\xbf")
        .lstrip()
        .startswith((b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"["))
    )


def _arriving(form: Form, cut: int) -> Iterator[tuple[float | None, sk.Event]]:
    # `read1` returns the available data, so that a stream is moderated while it arrives.
    read = cast("BufferedReader", sys.stdin.buffer).read1
    chunks = iter(lambda: read(65536), b"")
    head = next(chunks, b"")
    chunks = _with(head, chunks)
    if form == "text" or (form == "auto" and not _begins_a_stream(head)):
        text = b"".join(chunks).decode(errors="replace")
        yield from _of_text(text, cut)
    else:
        yield from ((None, event) for event in (sk.Parse() | sk.Extract()).run(chunks))


def _with(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _of_text(text: str, cut: int) -> Iterator[tuple[float | None, sk.Event]]:
    characters = iter(text)
    while piece := "".join(islice(characters, cut)):
        yield None, sk.TextDelta(piece)


def _of_answer(answer: Answer) -> Generator[tuple[float | None, sk.Event]]:
    if answer.problem:
        raise sk.errors.RecordingError(answer.problem)
    clock: list[float | None] = [None]

    def pieces() -> Iterator[bytes]:
        for at, data in read_recording(answer.content):
            clock[0] = at
            if data:
                yield data

    for event in (sk.Parse() | sk.Extract()).run(pieces()):
        yield clock[0], event


class ReportedSpan(msgspec.Struct):
    """Buffered text: from offset `start` until the decision after `decided` characters, at most `most` characters at once."""

    channel: Channel
    index: int
    tool_index: int | None
    start: int
    most: int = 0
    decided: int = 0


class Found(msgspec.Struct):
    """A verdict; `decided` is the number of characters of its channel that had arrived by then."""

    what: str
    category: str
    start: int
    end: int
    decided: int
    action: str
    channel: Channel
    index: int
    severity: str | None = None
    tool_index: int | None = None
    text: str | None = None
    part: int | None = None


class Moderation:
    """The moderation of one input, delta by delta."""

    def __init__(self, stage: sk.Moderate, *, quote: bool = False) -> None:
        self.verdicts: list[Found] = []
        self.spans: list[ReportedSpan] = []
        self.error: str | None = None
        self.end: str | None = None
        self._stage = stage
        self._quote = quote
        self._arrived: Counter[_Place] = Counter()
        self._fields: dict[tuple[int, int, Channel, tuple[str, ...]], tuple[list[str], bool]] = {}
        """The text of fields of parts that is not complete, which rules search each by itself, and whether it is JSON."""
        self._span: ReportedSpan | None = None

    @property
    def withheld(self) -> bool:
        """Whether anything is redacted or blocked."""
        return any(found.what in ("redacted", "blocked") for found in self.verdicts)

    def run(self, events: Iterable[tuple[float | None, sk.Event]], write: Any = None, release: Any = None) -> None:
        """Moderate all events. `write` is called with each line of the report, `release` with the released text."""
        try:
            for now, event in events:
                if now is not None:
                    self._stage.tick(now)
                place = self._place(event)
                self._take(self._stage.feed(event), write, release)
                self._hold(place, write)
                self._end_fields(event)
                if self._stage.done:
                    break
            else:
                self._take(self._stage.flush(), write, release)
        except StreamkitError as error:
            self.error = f"{type(error).__name__}: {error}"
        self._hold(None, write, over=True)
        if write:
            write(self._summary())

    def _place(self, event: sk.Event) -> _Place | None:
        match event:
            case (
                sk.TextDelta(text=text, index=index)
                | sk.ReasoningDelta(text=text, index=index)
                | sk.RefusalDelta(text=text, index=index)
            ):
                place: _Place = (CHANNEL_OF[type(event)], index, None)
            case sk.ToolCallDelta(arguments=text, index=index, tool_index=tool_index):
                place = ("tool_arguments", index, tool_index)
            case PartDelta(text=text, channel=channel, index=index):
                place = (channel, index, None)
                field = index, event.part, channel, event.path
                self._fields.setdefault(field, ([], event.json))[0].append(text)
            case _:
                return None
        self._arrived[place] += len(text)
        return place

    def _end_fields(self, event: sk.Event) -> None:
        # The text of a field starts again after the end of its part, and where its part gives it anew.
        if isinstance(event, Reset):
            self._fields.clear()
        elif isinstance(event, PartStart | PartEnd):
            for field in list(self._fields):
                index, part, _, path = field
                again = isinstance(event, PartEnd) or (path and path[0] in event.data)
                if again and (index, part) == (event.index, event.number):
                    del self._fields[field]

    def _take(self, released: Iterable[sk.Event], write: Any, release: Any) -> None:
        for event in released:
            match event:
                case Flagged() | sk.Redacted() | sk.Blocked():
                    found = self._verdict(event)
                    self.verdicts.append(found)
                    if write:
                        write(_line(found))
                case Retracted() if write:
                    write(f"retracted  {_range(event)}  {event.category}  was released before the decision")
                case sk.TextDelta(text=text) | sk.RefusalDelta(text=text) if release:
                    release(text)
                case sk.StreamEnd(reason=reason):
                    self.end = reason
                case _:
                    pass

    def _verdict(self, event: "Flagged | sk.Redacted | sk.Blocked") -> Found:
        text = self._original(event)[event.start : event.end] if self._quote else None
        decided = self._arrived[event.channel, event.index, event.tool_index]
        place = (event.channel, event.index, event.severity, event.tool_index, text)
        what = type(event).__name__.lower()
        return Found(
            what, event.category, event.start, event.end, max(decided, event.end), event.action, *place, event.part
        )

    def _original(self, event: "Flagged | sk.Redacted | sk.Blocked") -> str:
        """The text in which the offsets of a verdict are."""
        if event.part is None:
            text = self._stage.raw(event.index, event.channel, event.tool_index)
            decodes = event.channel == "tool_arguments"
        else:
            pieces, decodes = self._fields[event.index, event.part, event.channel, event.path]
            text = "".join(pieces)
        return Unescaped().feed(text, final=True) if decodes else text

    def _hold(self, place: _Place | None, write: Any, *, over: bool = False) -> None:
        held = 0 if over else self._stage.held
        if held and self._span is None and place:
            self._span = ReportedSpan(*place, start=max(0, self._arrived[place] - held))
        if self._span:
            self._span.most = max(self._span.most, held)
            if not held:
                self._span.decided = self._arrived[self._span.channel, self._span.index, self._span.tool_index]
                self.spans.append(self._span)
                if write:
                    write(_span_line(self._span))
                self._span = None

    def _summary(self) -> str:
        report = self._stage.report
        kinds = Counter(found.what for found in self.verdicts)
        parts = [
            ", ".join(f"{number} {what}" for what, number in kinds.items()) or "no verdicts",
            f"{sum(self._arrived.values())} characters, {report.withheld} withheld, "
            f"at most {report.max_characters_held} buffered",
        ]
        return "; ".join([*parts, *([f"end {self.end}"] if self.end else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible data."""
        report = self._stage.report
        verdicts = [msgspec.to_builtins(found) for found in self.verdicts]
        if not self._quote:
            for verdict in verdicts:
                del verdict["text"]
        for verdict in verdicts:
            if verdict["part"] is None:
                del verdict["part"]
        return {
            "verdicts": verdicts,
            "buffered": [msgspec.to_builtins(span) for span in self.spans],
            "characters": sum(self._arrived.values()),
            "withheld": report.withheld,
            "max_buffered": report.max_characters_held,
            "end": self.end,
            "error": self.error,
        }


def _range(event: Any) -> str:
    choice = f" of choice {event.index}" if event.index else ""
    call = f" of call {event.tool_index}" if getattr(event, "tool_index", None) is not None else ""
    part = f" of part {event.part}" if getattr(event, "part", None) is not None else ""
    return f"{event.channel}{call}{part}{choice} {event.start}-{event.end}"


def _line(found: Found) -> str:
    parts = [f"{found.what:10} {_range(found)}", found.category]
    if found.severity:
        parts.append(f"severity {found.severity}")
    parts.append(f"decided after {found.decided} characters ({found.action})")
    if found.text is not None:
        parts.append(repr(found.text))
    return "  ".join(parts)


def _span_line(span: ReportedSpan) -> str:
    choice = f" of choice {span.index}" if span.index else ""
    call = f" of call {span.tool_index}" if span.tool_index is not None else ""
    return f"{'buffered':10} {span.channel}{call}{choice} {span.start}-{span.decided}  at most {span.most} characters"
