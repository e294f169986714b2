"""What the tests of the dialects share: one pipeline, the recordings of an API, and ways to cut and to damage a stream."""

import copy
import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

import streamkit as sk
from tests.conftest import SHARED

DATA = Path(__file__).parents[1] / "data"
PIPELINE = sk.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()


class Recording(NamedTuple):
    """A provider's stream, and what a right client gets out of it."""

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
    def choice(self) -> sk.Choice:
        (found,) = self.completion.choices
        return found

    @property
    def end(self) -> sk.StreamEnd:
        assert isinstance(self.events[-1], sk.StreamEnd)
        return self.events[-1]

    def notices(self, kind: str) -> list[Any]:
        return [e.data for e in self.events if isinstance(e, sk.ProviderNotice) and e.kind == kind]


def recordings(*apis: str) -> list[Recording]:
    found = ((path, json.loads(path.read_bytes())) for path in sorted(SHARED.glob("recordings/*/*.json")))
    return [Recording(path, sidecar["expected"]) for path, sidecar in found if sidecar.get("api") in apis]


def read(*pieces: bytes, dialect: str | None = None, errors: Any = "raise") -> Result:
    """What comes out of a body in pieces, up to an error of streamkit's."""
    pipeline = PIPELINE if dialect is None else sk.Lines() | sk.Parse() | sk.Extract(dialect, errors) | sk.Accumulate()
    events = list[sk.Event]()
    try:
        events.extend(pipeline.run(pieces))
    except sk.StreamkitError as error:
        return Result(events, error)
    return Result(events, None)


def tell(*payloads: Any, dialect: str | None = None, errors: Any = "raise") -> Result:
    """What comes out of events of these data, whose names are their types."""
    return read(wire(payloads), dialect=dialect, errors=errors)


def wire(payloads: Iterable[Any]) -> bytes:
    return b"".join(block(payload) for payload in payloads)


def block(payload: Any) -> bytes:
    kind = payload.get("type") if isinstance(payload, dict) else None
    name = f"event: {kind}\n" if isinstance(kind, str) and kind.isprintable() else ""
    return f"{name}data: {json.dumps(payload)}\n\n".encode()


def cuts(body: bytes, times: int = 4) -> Iterator[list[bytes]]:
    """The body byte by byte, and in random pieces."""
    yield [body[at : at + 1] for at in range(len(body))]
    random = Random(len(body))
    for _ in range(times):
        places = sorted({0, len(body), *(random.randrange(len(body)) for _ in range(40))})
        yield [body[start:stop] for start, stop in pairwise(places)]


def payloads(body: bytes) -> list[Any]:
    """The JSON of every event of a body of one `data:` line each."""
    lines = (line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: {"))
    return [json.loads(line) for line in lines]


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "0", "😀"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "index"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, originals: list[Any]) -> list[Any]:
    """The payloads with some left out, doubled, out of order, and with fields removed, added or of another form."""
    stream = copy.deepcopy(originals)
    for _ in range(draw(st.integers(1, 5))):
        if not stream:
            break
        at = draw(st.integers(0, len(stream) - 1))
        match draw(st.sampled_from(["leave out", "double", "move", "insert", "change", "change", "change"])):
            case "leave out":
                del stream[at]
            case "double":
                stream.insert(at, copy.deepcopy(stream[at]))
            case "move":
                stream.insert(draw(st.integers(0, len(stream) - 1)), stream.pop(at))
            case "insert":
                stream.insert(at, draw(ODD))
            case _:
                _change(draw, stream, at)
    return stream


def _change(draw: st.DrawFn, within: Any, key: Any) -> None:
    # Down to some depth, then remove the field, replace it, or put another beside it.
    while isinstance(within[key], dict | list) and within[key] and draw(st.integers(0, 3)):
        within = within[key]
        key = draw(st.sampled_from(sorted(within) if isinstance(within, dict) else range(len(within))))
    if draw(st.booleans()):
        within[key] = draw(ODD)
    elif isinstance(within, dict) and draw(st.booleans()):
        within[draw(st.sampled_from(["type", "index", "error", "extra"]))] = draw(ODD)
    else:
        del within[key]


def check_damaged(stream: list[Any], dialect: str) -> None:
    """Whatever came: a typed outcome, one completion before the end, and every event knows its chunk."""
    result = read(wire(stream), dialect=dialect)
    # Several chunks may stand in one array.
    known = [*stream, *(chunk for payload in stream if isinstance(payload, list) for chunk in payload)]

    assert result.error is None or (
        isinstance(result.error, sk.ProviderError) and result.end.reason == "provider_error"
    )
    assert isinstance(result.events[-2], sk.Completion)
    assert all(event.payload is not None and event.raw in known for event in result.events[:-2])
