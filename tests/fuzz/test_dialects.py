"""Every field of every dialect in every type that JSON has, and events in any order: an outcome that has a name, and law 1.

`make test` samples the values at their places and tries a few dozen damaged streams of each kind; `make fuzz` tries every value
at every place, and FUZZ_EXAMPLES damaged streams.
"""

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.dialects import DIALECTS
from tests.fuzz.damage import STREAMS, VALUES, check, kinds_of_places, replaced, run, write

THOROUGH = "FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
SAMPLED = 25
"""Values at places that `make test` tries of each stream."""
OPTIONS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "emit and skip": {"errors": "emit", "malformed": "skip"},
    "cumulative": {"cumulative": True},
    "not cumulative": {"cumulative": False},
    "reasoning tags": {"reasoning_tags": ("<think>", "</think>")},
}


def pipeline_of(dialect: str | None, **options: Any) -> Any:
    return sk.Extract(dialect, **options) | sk.Accumulate()


def test_every_dialect_has_a_stream() -> None:
    assert {stream.dialect for stream in STREAMS.values()} == set(DIALECTS)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_streams_are_well_formed(stream: Any) -> None:
    outcome = run(pipeline_of(stream.dialect), [stream.written()])

    assert outcome.error is None
    assert isinstance(outcome.events[-1], sk.StreamEnd)
    assert outcome.events[-1].reason != "error"


@pytest.mark.parametrize("name", STREAMS)
def test_every_value_at_every_place_has_an_outcome(name: str) -> None:
    stream, draw = STREAMS[name], random.Random(name)
    pipeline = pipeline_of(stream.dialect)
    cases = [(at, path, kind) for at, path in kinds_of_places(stream) for kind in VALUES]
    for at, path, kind in cases if THOROUGH else draw.sample(cases, min(len(cases), SAMPLED)):
        try:
            check(pipeline, stream.damaged(at, path, VALUES[kind]), at, draw.randrange(1, 12))
        except Exception as error:
            error.add_note(f"{kind} at {path} of event {at}")
            raise


@st.composite
def damaged(draw: st.DrawFn, name: str) -> list[sk.sse.ServerSentEvent]:
    """Events of one stream, and some of others, with values replaced, left out, doubled or in the wrong order."""
    events, places = list(STREAMS[name].events), kinds_of_places(STREAMS[name])
    for _ in range(draw(st.integers(1, 2))):
        at, path = draw(st.sampled_from(places)) if places else (0, ())
        value = VALUES[draw(st.sampled_from(list(VALUES)))]
        try:
            events[at] = events[at][0], replaced(events[at][1], path, value)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the place is no longer there
    for _ in range(draw(st.integers(0, 3))):
        at, other = (draw(st.integers(0, max(len(events) - 1, 0))) for _ in range(2))
        match draw(st.sampled_from(["drop", "double", "swap", "insert"])):
            case "drop":
                events[at : at + 1] = []
            case "double":
                events[at:at] = events[at : at + 1]
            case "swap" if events:
                events[at], events[other] = events[other], events[at]
            case _:
                events[at:at] = [draw(st.sampled_from(STREAMS[draw(st.sampled_from(list(STREAMS)))].events))]
    return [sk.sse.ServerSentEvent.of(write(data), kind) for kind, data in events]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_events_in_any_order_and_of_any_dialect_have_an_outcome(options: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(STREAMS)))
    events = data.draw(damaged(name))
    dialect = data.draw(st.sampled_from([STREAMS[name].dialect, None]))

    check(pipeline_of(dialect, **options), events, 0, data.draw(st.integers(1, 12)))
