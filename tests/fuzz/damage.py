"""Streams of every dialect, every value that JSON may have in the place of another, and all that a client does with an answer."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import msgspec

import streamkit as sk
from tests.dialects.streams import DATA
from tests.dialects.test_any_stream import DIALECTS, Answer, dialect_of

Path: TypeAlias = tuple[str | int, ...]
Pipeline: TypeAlias = sk.Stage[sk.sse.ServerSentEvent, sk.Event]


class Raw(str):
    """JSON as it stands in the payload, where Python's own values can't say it."""


MISSING = Raw()


class Stream(NamedTuple):
    """A well-formed stream of one dialect: its events, each with its JSON or, if it is none, its text."""

    dialect: str
    events: list[tuple[str, Any]]

    def damaged(self, at: int, path: Path, value: Any) -> list[sk.sse.ServerSentEvent]:
        """The events with another value in one place of one of them."""
        events = self.written()
        if value is MISSING and (not path or path[-1] == NEW):
            return events
        events[at] = sk.sse.ServerSentEvent.of(write(replaced(self.events[at][1], path, value)), self.events[at][0])
        return events

    def written(self) -> list[sk.sse.ServerSentEvent]:
        return [sk.sse.ServerSentEvent.of(write(data), name) for name, data in self.events]


NEW = "added"

# Every JSON type, and the shapes of fields elsewhere in the formats.
VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "minus zero": Raw("-0"),
    "minus zero, float": Raw("-0.0"),
    "negative": -7,
    "float": 0.5,
    "whole float": 1.0,
    "beyond 64 bits": 2**70,
    "4,000 digits": Raw("9" * 4000),
    "5,000 digits": Raw("9" * 5000),
    "beyond a double": Raw("1e999"),
    "beyond a double, negative": Raw("-1e999"),
    "huge": 1e308,
    "empty string": "",
    "string": "a",
    "digits": "12",
    "other digits": "²٣",
    "first half": "\ud83d",
    "second half": "\ude00",
    "a half that is not escaped": Raw('"\ud83d"'),
    "a name with one": Raw('{"\ude00": ["\ud83da", {"\ud83d": 5}]}'),
    "halves in the wrong order": "\ude00\ud83d",
    "a noncharacter": "\ufdd0",
    "NUL": "\0",
    "empty list": [],
    "list": [1, "a", None],
    "nested list": [[[]], [{}]],
    "list of objects": [{"type": {}}, {"index": 0, "text": "a"}],
    "a list with a half": ["\ud83d"],
    "empty object": {},
    "type is an object": {"type": {}},
    "type is a list": {"type": [], "reason": 5, "code": {}},
    "a half in a name": {"\ud83d": "\ude00"},
    "deep": {"a": [{"b": {"c": [None, {"type": "text"}]}}]},
    "a chat message": {"role": "assistant", "content": "a", "tool_calls": [{"index": 0, "function": {"name": "f"}}]},
    "a message of parts": {"type": "message", "id": "i", "content": [{"type": "output_text", "text": "a"}]},
    "a refusal": {"type": "refusal", "refusal": "a"},
    "a text block": {"type": "text", "text": "a", "citations": [5, {}]},
    "a call": {"type": "function_call", "id": "x", "call_id": 5, "name": [], "arguments": {"a": 1}},
    "a tool use": {"type": "tool_use", "id": 5, "name": {}, "input": [1]},
    "a function call": {"functionCall": {"name": "f", "args": 5, "partialArgs": [{"jsonPath": "$.a"}]}},
    "logprobs": {"tokens": [5], "token_logprobs": 7, "top_logprobs": [[]], "content": {"token": 5}},
    "audio": {"data": 5, "transcript": ["a"], "id": {}, "expires_at": "never"},
    "usage": {"prompt_tokens": "12", "completion_tokens": -1, "total_tokens": [], "input_tokens": {"a": 1}},
    "an error": {"code": "\ud83d", "type": "\ude00", "message": "\ud83d"},
    "a wrapped error": {"error": {"code": {}, "type": [], "message": 5}},
}


def write(data: Any) -> str:
    """The payload of an event; what is no JSON as it is."""
    if isinstance(data, Raw):
        return str(data)
    if isinstance(data, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{write(value)}" for name, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ",".join(map(write, data)) + "]"
    return json.dumps(data)


def replaced(data: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    changed, name = data.copy(), path[0]
    if value is MISSING and len(path) == 1:
        del changed[name]
    else:
        changed[name] = replaced(data[name], path[1:], value) if len(path) > 1 else value
    return changed


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    """All places of a value, itself and one for a new field in each object included; of a list the first two items."""
    yield path
    if isinstance(data, dict):
        yield (*path, NEW)
        for name, value in data.items():
            yield from places(value, (*path, name))
    elif isinstance(data, list):
        for at, value in enumerate(data[:2]):
            yield from places(value, (*path, at))


def kinds_of_places(stream: Stream) -> list[tuple[int, Path]]:
    """One place of each kind: a field of events that have the same fields is the same."""
    found: dict[Any, tuple[int, Path]] = {}
    for at, (name, data) in enumerate(stream.events):
        if isinstance(data, Raw):
            continue
        kind = name, _outline(data)
        for path in places(data):
            found.setdefault((kind, path), (at, path))
    return list(found.values())


def _outline(data: Any) -> Any:
    if isinstance(data, dict):
        names = ("type", "event_type", "object")
        return tuple(
            (name, value if name in names and isinstance(value, str) else _outline(value))
            for name, value in data.items()
        )
    return tuple(map(_outline, data[:2])) if isinstance(data, list) else type(data).__name__


def _read(body: bytes) -> list[tuple[str, Any]]:
    events = sk.Parse().run([body])
    return [(event.event, _json(event.data)) for event in events]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return Raw(text)


_ANSWER = Answer(["He", "llo ☃"], ["Hm", "m"], [['{"a"', ":1}"], ["{}"]])


def _streams() -> dict[str, Stream]:
    files = sorted([*DATA.glob("*.sse"), *DATA.glob("*.ndjson"), *DATA.glob("*.json"), *DATA.parent.glob("*.sse")])
    made = {
        f"generated {name}": Stream(dialect_of(name), _read(b"".join(of(_ANSWER).blocks)))
        for name, of in DIALECTS.items()
    }
    recorded = {
        file.name: Stream(file.stem.partition("-")[0] if file.parent == DATA else "openai", _read(file.read_bytes()))
        for file in files
    }
    return made | recorded


STREAMS = _streams()


# What a client does


class Outcome(NamedTuple):
    events: list[sk.Event]
    error: sk.StreamkitError | None


def run(pipeline: Pipeline, bursts: Iterable[list[sk.sse.ServerSentEvent]]) -> Outcome:
    """The output of the events, in bursts. An error outside streamkit's tree fails the test."""
    out, stage = list[sk.Event](), pipeline.fresh()
    try:
        for burst in bursts:
            out.extend(stage.feed_all(burst))
            if stage.done:
                return Outcome(out, None)
        out.extend(stage.flush())
    except sk.StreamkitError as error:
        return Outcome(out, error)
    return Outcome(out, None)


def check(pipeline: Pipeline, events: list[sk.sse.ServerSentEvent], damaged_at: int = 0, resumed_at: int = 1) -> None:
    """All that has to hold for events of which the first `damaged_at` are as the provider sent them."""
    whole = run(pipeline, [events])
    alone = run(pipeline, [[event] for event in events])
    before = _before(pipeline, events[:damaged_at])

    assert whole.events == alone.events
    assert repr(whole.error) == repr(alone.error)
    # What came before the damage is delivered, whatever the damage is.
    assert whole.events[: len(before)] == before
    assert whole.error is None or isinstance(whole.error, sk.errors.ProtocolError | sk.ProviderError)
    if not isinstance(whole.error, sk.errors.ProtocolError):
        *_, completion, end = whole.events
        assert isinstance(completion, sk.Completion)
        assert isinstance(end, sk.StreamEnd)
    if whole.error is not None:
        _check_error(whole.error)
    for event in whole.events:
        _check_event(event)
    for dialect in ("openai", "openai-legacy"):
        _check_emitted(sk.Emit(dialect, include_usage=True), whole.events)
    _check_resumed(pipeline, events, whole, resumed_at)


def _before(pipeline: Pipeline, events: list[sk.sse.ServerSentEvent]) -> list[sk.Event]:
    out = list[sk.Event]()
    with suppress(sk.StreamkitError):  # as of a stream of an error
        out.extend(pipeline.fresh().feed_all(events))
    return out


_INTERNAL = re.compile("[\ufdd1-\ufdef\ud800-\udfff]")


def _check_texts(*texts: str) -> None:
    """No half of a surrogate pair, which is no text, and nothing of how one is written while it is read."""
    for text in texts:
        assert _INTERNAL.search(text) is None


def _check_error(error: sk.StreamkitError) -> None:
    _check_texts(str(error), repr(error))
    if isinstance(error, sk.ProviderError):
        assert error.code is None or isinstance(error.code, str | int)
        assert error.type is None or isinstance(error.type, str)
        _check_texts(str(error.code), str(error.type), error.detail, json.dumps(error.body, ensure_ascii=False))


def _check_event(event: sk.Event) -> None:
    _check_texts(repr(event))
    # A chunk is as it came, with the halves that are in it.
    assert not re.search("[\ufdd1-\ufdef]", repr(event.raw))
    written = msgspec.json.encode(event)
    _check_texts(written.decode())
    assert type(msgspec.json.decode(written, type=sk.Event)) is type(event)
    if isinstance(event, sk.Completion):
        for form in (event.to_dict(), event.to_openai()):
            _check_texts(msgspec.json.encode(form).decode(), json.dumps(form, ensure_ascii=False, allow_nan=False))


def _check_emitted(stage: sk.Stage[sk.Event, sk.sse.ServerSentEvent], events: list[sk.Event]) -> None:
    for event in stage.run(events):
        _check_texts(event.data)
        assert event.data == "[DONE]" or isinstance(msgspec.json.decode(event.data), dict)


def _check_resumed(pipeline: Pipeline, events: list[sk.sse.ServerSentEvent], whole: Outcome, at: int) -> None:
    """A run that is resumed after its first events gives the rest of them."""
    first = pipeline.run(iter(events))
    try:
        seen = list(islice(first, at))
    except sk.StreamkitError:
        return
    if len(seen) < at or any(isinstance(event, sk.StreamEnd) for event in seen):
        return
    try:
        checkpoint = json.loads(json.dumps(first.checkpoint(), allow_nan=False))
    except sk.PipelineError:
        assert whole.error is not None  # a run that has failed is over
        return
    out, error = list[sk.Event](), None
    try:
        out.extend(pipeline.run(events[checkpoint["received"] :], checkpoint=checkpoint))
    except sk.StreamkitError as failure:
        error = failure
    assert [*seen, *out] == whole.events
    assert repr(error) == repr(whole.error)
