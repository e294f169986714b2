"""The recorded answers that a command reads: files, folders, globs, gzip, JSONL with one exchange per line, standard input."""

import sys
from collections.abc import Iterator, Sequence

import msgspec

from streamkit.batch import inputs
from streamkit.batch.exchange import read_line
from streamkit.errors import ProtocolError, RecordingError


class Answer(msgspec.Struct, frozen=True):
    """The bytes of an exchange, a body or a recording; or the `problem` for which they can't be read."""

    name: str
    content: bytes = b""
    problem: str | None = None


def answers(names: Sequence[str]) -> Iterator[Answer]:
    """All of them, in order; `-` is standard input. An input that names nothing raises `RecordingError` before any is read."""
    if named := [name for name in names if name != "-"]:
        inputs.check(named)
    for name in names:
        if name == "-":
            yield Answer("standard input", sys.stdin.buffer.read())
            continue
        for place in inputs.places([name]):
            yield _read(place.input)


def _read(found: inputs.Input) -> Answer:
    name = found.name if found.line is None else f"{found.name}:{found.line}"
    try:
        content = found.read("")
        return Answer(name, content if found.line is None else read_line(content)[1])
    except (RecordingError, ProtocolError) as error:
        return Answer(name, problem=f"{type(error).__name__}: {error}")
