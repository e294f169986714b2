"""An answer with a field that is missing, duplicated, unknown or of another type ends with a typed outcome."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Accumulate, Completion, Event, Extract, Parse, ProviderError, StreamEnd, StreamkitError, TextDelta
from streamkit.errors import ProtocolError
from streamkit.sse import ServerSentEvent
from tests.dialects.streams import DATA

FILES = sorted([*DATA.glob("*.sse"), *DATA.glob("*.ndjson"), *DATA.parent.glob("*.sse")])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def events_of(body: bytes) -> list[ServerSentEvent]:
    return list(Parse().run([body]))


def damage(value: Any, data: st.DataObject) -> Any:
    """Return the value with one inner value replaced, or with one key or item removed, added or duplicated."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 4)):
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        changed = value.copy()
        match data.draw(st.sampled_from(["deeper", "less", "more"])):
            case "less":
                del changed[key]
            case "more" if isinstance(changed, list):
                changed.insert(key, changed[key])
            case "more":
                changed[data.draw(st.text(max_size=5))] = data.draw(json_values)
            case _:
                changed[key] = damage(value[key], data)
        return changed
    return data.draw(json_values)


def damaged(events: list[ServerSentEvent], data: st.DataObject) -> list[ServerSentEvent]:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(events) - 1))
        other = events[data.draw(st.integers(0, len(events) - 1))]
        try:
            changed = json.dumps(damage(json.loads(events[at].data), data))
        except ValueError:
            changed = data.draw(st.text())
        replacements = [
            [],
            [events[at], events[at]],
            [other, events[at]],
            [ServerSentEvent.of(changed, events[at].event)],
        ]
        events = [*events[:at], *data.draw(st.sampled_from(replacements)), *events[at + 1 :]] or events
    return events


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_damage_has_a_typed_outcome(file: Any, data: st.DataObject) -> None:
    events = damaged(events_of(file.read_bytes()), data)
    dialect = file.stem.partition("-")[0] if file.parent == DATA else "openai"
    out, error = list[Event](), None
    try:
        out.extend((Extract(dialect) | Accumulate()).run(events))
    except StreamkitError as failure:
        error = failure
    known = chunks_of(events)

    assert error is None or isinstance(error, ProtocolError | ProviderError)
    if not isinstance(error, ProtocolError):
        *_, completion, end = out
        assert isinstance(end, StreamEnd)
        assert isinstance(completion, Completion)
        assert json.dumps(completion.to_dict())
        assert json.dumps(completion.to_openai())
    for event in out:
        assert repr(event)
        assert event.payload is None or file.stem == "replicate" or event.raw in known


def chunks_of(events: list[ServerSentEvent]) -> list[Any]:
    """The JSON of the events; one array may hold several chunks."""
    known = list[Any]()
    for event in events:
        try:
            found = json.loads(event.data)
        except ValueError:
            continue
        known += [found, *(found if isinstance(found, list) else ())]
    return known


@pytest.mark.parametrize("name", ["\x1f", "\x00", '"', "\\", "a\nb"])
def test_a_name_that_no_struct_can_have_changes_nothing(name: str) -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}], name: None} for piece in "abcd"]
    wire = [ServerSentEvent.of(json.dumps(chunk)) for chunk in chunks]
    extract = Extract()

    events = [event for one in wire for event in extract.feed(one)]

    assert [event.text for event in events if isinstance(event, TextDelta)] == [*"abcd"]
