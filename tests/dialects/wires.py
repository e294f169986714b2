"""What the tests of the dialects share: recordings of an API, cuts of a body, and what comes out of one."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from streamkit import Accumulate, Choice, Completion, Event, Extract, Lines, Parse, ProviderError, StreamEnd
from tests.conftest import SHARED

DATA = Path(__file__).parents[1] / "data" / "dialects"


class Result(NamedTuple):
    events: list[Event]
    error: ProviderError | None

    @property
    def completion(self) -> Completion:
        (found,) = (event for event in self.events if isinstance(event, Completion))
        return found

    @property
    def choice(self) -> Choice:
        (found,) = self.completion.choices
        return found

    @property
    def end(self) -> StreamEnd:
        assert isinstance(self.events[-1], StreamEnd)
        return self.events[-1]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def read(pieces: Iterable[bytes] | bytes, dialect: str | None = None) -> Result:
    events = list[Event]()
    pipeline = Lines() | Parse() | Extract(dialect) | Accumulate()
    try:
        events.extend(pipeline.run([pieces] if isinstance(pieces, bytes) else pieces))
    except ProviderError as error:
        return Result(events, error)
    return Result(events, None)


def sse(*payloads: dict[str, Any] | str) -> bytes:
    texts = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def ndjson(*payloads: dict[str, Any]) -> bytes:
    return "".join(json.dumps(payload) + "\n" for payload in payloads).encode()


class Recording(NamedTuple):
    path: Path
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        return self.path.with_suffix(".sse").read_bytes()


def recordings(api: str) -> list[Recording]:
    sidecars = ((path, json.loads(path.read_bytes())) for path in sorted(SHARED.glob("recordings/*/*.json")))
    return [Recording(path, sidecar["expected"]) for path, sidecar in sidecars if sidecar["api"] == api]


def each(found: list[Recording]) -> pytest.MarkDecorator:
    """Every recording is a test, or there is one that is skipped."""
    ids = [f"{recording.path.parent.name}/{recording.path.stem}" for recording in found]
    return pytest.mark.parametrize("recording", found, ids=ids)


def assert_cuts_change_nothing(body: bytes, dialect: str | None = None) -> None:
    whole = read(body, dialect)
    cuts = [
        range(1, len(body)),
        *(sorted(Random(seed).sample(range(len(body)), len(body) // 50)) for seed in (1, 2, 3)),
    ]
    for places in cuts:
        pieces = [body[start:end] for start, end in pairwise([0, *places, len(body)])]
        result = read(iter(pieces), dialect)
        assert result.events == whole.events
        assert repr(result.error) == repr(whole.error)
