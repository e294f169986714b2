"""Helpers of the dialects' tests: one pipeline, the recordings of an API, and ways to cut a stream."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

import streamkit as sk
from tests.conftest import SHARED

DATA = Path(__file__).parents[1] / "data" / "dialects"
PIPELINE = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()
STRUCTURE = (sk.events.ResponseDetails, sk.events.PartStart, sk.events.PartEnd)


class Recording(NamedTuple):
    """A provider's stream, and the result that a correct client reads from it."""

    path: Path
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        return self.path.with_suffix(".sse").read_bytes()

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


class Result(NamedTuple):
    events: list[sk.Event]
    error: sk.StreamkitError | None

    @property
    def completion(self) -> sk.Completion:
        (found,) = (event for event in self.events if isinstance(event, sk.Completion))
        return found

    @property
    def choice(self) -> sk.events.Choice:
        (found,) = self.completion.choices
        return found

    @property
    def end(self) -> sk.StreamEnd:
        assert isinstance(self.events[-1], sk.StreamEnd)
        return self.events[-1]

    @property
    def without_structure(self) -> list[sk.Event]:
        """The events except those that carry the structure."""
        return [event for event in self.events if not isinstance(event, STRUCTURE)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def notices(self, kind: str) -> list[Any]:
        return [e.data for e in self.events if isinstance(e, sk.events.ProviderNotice) and e.kind == kind]


def recordings(*apis: str) -> list[Recording]:
    found = ((path, json.loads(path.read_bytes())) for path in sorted(SHARED.glob("recordings/*/*.json")))
    return [Recording(path, sidecar["expected"]) for path, sidecar in found if sidecar.get("api") in apis]


def read(*pieces: bytes, dialect: str | None = None, errors: Any = "raise", malformed: Any = "raise") -> Result:
    """Read a body in pieces. Return its events and the streamkit error that ended them, if any."""
    extract = sk.Extract(dialect, errors, malformed=malformed)
    pipeline = sk.sse.Lines() | sk.Parse() | extract | sk.Accumulate()
    events = list[sk.Event]()
    try:
        events.extend(pipeline.run(pieces))
    except sk.StreamkitError as error:
        return Result(events, error)
    return Result(events, None)


def read_data(*payloads: Any, dialect: str | None = None, errors: Any = "raise") -> Result:
    """Read server-sent events with this data; each is named after its `type`."""
    return read(wire(payloads), dialect=dialect, errors=errors)


def wire(payloads: Iterable[Any]) -> bytes:
    return b"".join(block(payload) for payload in payloads)


def sse(*payloads: Any) -> bytes:
    """Return the body of unnamed events; a string is used as data unchanged."""
    texts = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def named_events(*payloads: dict[str, Any]) -> bytes:
    """Return the body of events that are named after their `type`."""
    return b"".join(block(payload) for payload in payloads)


def ndjson(*payloads: Any) -> bytes:
    return "".join(json.dumps(payload) + "\n" for payload in payloads).encode()


def block(payload: Any) -> bytes:
    kind = payload.get("type") if isinstance(payload, dict) else None
    name = f"event: {kind}\n" if isinstance(kind, str) and kind.isprintable() else ""
    return f"{name}data: {json.dumps(payload)}\n\n".encode()


def each(found: list[Recording]) -> pytest.MarkDecorator:
    """Parametrize a test by recordings; without any, it is skipped."""
    return pytest.mark.parametrize("recording", found, ids=str)


def check_cuts(body: bytes, dialect: str | None = None) -> None:
    """Check that the events don't depend on how the body is split."""
    whole = read(body, dialect=dialect)
    for pieces in cuts(body):
        result = read(*pieces, dialect=dialect)
        assert result.events == whole.events
        assert repr(result.error) == repr(whole.error)


def cuts(body: bytes, times: int = 4) -> Iterator[list[bytes]]:
    """Yield the body byte by byte, and in random pieces."""
    yield [body[at : at + 1] for at in range(len(body))]
    random = Random(len(body))
    for _ in range(times):
        places = sorted({0, len(body), *(random.randrange(len(body)) for _ in range(40))})
        yield [body[start:stop] for start, stop in pairwise(places)]


def payloads(body: bytes) -> list[Any]:
    """Return the JSON of every event of a body with one `data:` line per event, or with one JSON value per line."""
    lines = (line.removeprefix(b"data: ") for line in re.split(rb"\r?\n", body))
    return [json.loads(line) for line in lines if line.startswith(b"{")]
