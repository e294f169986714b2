"""An event that contains only an error ends a stream of any dialect as a provider's error, wherever it is."""

import json
from functools import cache
from typing import Any, NamedTuple

import pytest

import streamkit as sk
from streamkit.dialects import DIALECTS
from streamkit.dialects.error_objects import is_error_event
from tests.dialects.streams import DATA, ndjson, payloads, read, sse, wire
from tests.dialects.test_every_dialect import FIXTURES, dialect_of

SECRET = "a secret of Alice"
# Errors as gateways and proxies send them in a stream, with their code, type and text.
ERRORS: dict[str, tuple[Any, str | int | None, str | None, str]] = {
    "OpenAI": ({"error": {"message": SECRET, "type": "server_error", "param": None, "code": "c"}}, "c", "server_error", SECRET),
    "Anthropic": (
        {"type": "error", "error": {"type": "overloaded_error", "message": SECRET}, "request_id": "r"},
        None,
        "overloaded_error",
        SECRET,
    ),
    "Google": ([{"error": {"code": 503, "message": SECRET, "status": "UNAVAILABLE"}}], 503, "UNAVAILABLE", SECRET),
    "OpenRouter": ({"error": {"code": 502, "message": SECRET}, "user_id": "u", "provider": "p"}, 502, None, SECRET),
    "Realtime": (
        {"type": "error", "event_id": "e", "error": {"type": "server_error", "code": "c", "message": SECRET, "event_id": None}},
        "c",
        "server_error",
        SECRET,
    ),
    "Responses": ({"type": "error", "code": "c", "message": SECRET, "sequence_number": 0}, "c", None, SECRET),
    "vLLM": ({"object": "error", "message": SECRET, "type": "BadRequestError", "code": 400}, 400, "BadRequestError", SECRET),
    "a text": ({"error": SECRET}, None, None, SECRET),
    "an empty error": ({"type": "error", "error": {}}, None, None, ""),
}  # fmt: skip


class Sample(NamedTuple):
    """A complete answer of a dialect, as its wire events. `lines`: one JSON value per line, which can't be named."""

    dialect: str
    events: list[bytes]
    lines: bool


def split(body: bytes, *, lines: bool) -> list[bytes]:
    if lines:
        return body.splitlines(keepends=True)
    return [block + b"\n\n" for block in body.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]


PLACE = {"response_id": "r", "item_id": "m", "output_index": 0, "content_index": 0}
ITEM: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "content": []}
RESPONSE: dict[str, Any] = {"id": "r", "object": "realtime.response", "status": "completed", "output": []}
REALTIME: list[Any] = [
    {"type": "session.created", "event_id": "e", "session": {"id": "s"}},
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.output_text.delta", **PLACE, "delta": "Hello"},
    {"type": "response.output_text.done", **PLACE, "text": "Hello"},
    {"type": "response.done", "response": RESPONSE},
]
LIVE: list[Any] = [
    {"setupComplete": {}},
    {"serverContent": {"modelTurn": {"parts": [{"text": "Hello"}]}}},
    {"serverContent": {"turnComplete": True}},
]
SAMPLES = {
    "realtime": Sample("realtime", split(ndjson(*REALTIME), lines=True), True),
    "realtime, as server-sent events": Sample("realtime", split(wire(REALTIME), lines=False), False),
    "gemini-live": Sample("gemini-live", split(ndjson(*LIVE), lines=True), True),
    **{
        path.stem: Sample("openai", split(path.read_bytes(), lines=False), False)
        for path in sorted(DATA.parent.glob("*.sse"))
    },
    **{
        path.stem: Sample(
            dialect_of(path), split(path.read_bytes(), lines=path.suffix == ".ndjson"), path.suffix == ".ndjson"
        )
        for path in FIXTURES
    },
}


@cache
def last_place(name: str) -> int:
    """Return the number of events before the one that ends the answer."""
    sample = SAMPLES[name]
    extract = sk.Extract(sample.dialect, errors="emit")
    pipeline = (sk.sse.Lines() | sk.Parse() | extract).fresh()
    for at, event in enumerate(sample.events):
        if any(isinstance(found, sk.StreamEnd) for found in pipeline.feed_all([event])):
            return at
    return len(sample.events)


def block(data: Any, sample: Sample, *, named: bool) -> bytes:
    if sample.lines:
        return ndjson(data)
    return (b"event: error\n" if named else b"") + sse(data)


def check(sample: Sample, at: int, form: str, *, named: bool) -> None:
    data, code, kind, detail = ERRORS[form]
    body = b"".join([*sample.events[:at], block(data, sample, named=named), *sample.events[at:]])
    before = read(b"".join(sample.events[:at]), dialect=sample.dialect, errors="emit").completion

    result = read(body, dialect=sample.dialect)

    assert isinstance(result.error, sk.ProviderError)
    assert (result.error.code, result.error.type, result.error.detail) == (code, kind, detail)
    assert "Alice" not in str(result.error) + repr(result.error)
    assert result.end.reason == result.completion.end == "provider_error"
    assert (result.completion.text, result.completion.usage) == (before.text, before.usage)
    emitted = read(body, dialect=sample.dialect, errors="emit")
    assert (emitted.events, emitted.error) == (result.events, None)


def test_every_dialect_has_a_sample() -> None:
    assert {sample.dialect for sample in SAMPLES.values()} == DIALECTS.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_an_error_at_any_position_ends_the_stream(name: str) -> None:
    for at in range(last_place(name) + 1):
        for form in ("OpenAI", "Anthropic"):
            check(SAMPLES[name], at, form, named=False)


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("form", ERRORS)
@pytest.mark.parametrize("name", SAMPLES)
def test_an_error_of_any_form_ends_the_stream(name: str, form: str, named: bool) -> None:
    last = last_place(name)
    for at in sorted({0, last // 2, last}):
        check(SAMPLES[name], at, form, named=named)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_ordinary_event_of_an_answer_is_no_error(name: str) -> None:
    events = payloads(b"".join(SAMPLES[name].events))

    assert [event for event in events if is_error_event(event)] == []


ORDINARY: dict[str, Any] = {
    "no error": {"error": None},
    "an empty error": {"error": {}},
    "no errors": {"errors": []},
    "a flag": {"error": False, "id": "x"},
    "a response": {"object": "response", "id": "r", "error": {"code": "server_error", "message": "m"}, "output": []},
    "a failed response": {"type": "response.failed", "response": {"error": {"code": "c", "message": "m"}}},
    "an item": {
        "type": "response.output_item.done",
        "item": {"type": "mcp_call", "error": {"type": "http_error", "code": 404, "message": "m"}},
    },
    "a transcription of the user's speech": {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": "u",
        "error": {"type": "transcription_error", "code": "c", "message": "m"},
    },
    "the error of a tool": {"type": "content_block_start", "content_block": {"type": "error", "error": {"type": "t"}}},
    "a run": {"object": "thread.run", "status": "failed", "last_error": {"code": "server_error", "message": "m"}},
    "a line of a batch": {"id": "b", "custom_id": "1", "response": None, "error": {"code": "c", "message": "m"}},
    "a chunk": {"choices": [{"index": 0, "delta": {"content": "x"}}], "error": {"code": 502, "message": "m"}},
    "a list of events": [{"candidates": []}, {"error": {"message": "m"}}],
    "a text": "error",
    "a list": ["error"],
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_an_event_with_a_field_called_error_may_be_ordinary(data: Any) -> None:
    assert not is_error_event(data)


def test_a_failed_transcription_of_the_input_does_not_end_a_realtime_response() -> None:
    failed = ORDINARY["a transcription of the user's speech"]

    result = read(ndjson(*REALTIME[:3], failed, *REALTIME[3:]))

    assert (result.completion.text, result.end.reason, result.error) == ("Hello", "completed", None)


def test_an_answer_of_replicate_that_looks_like_an_error_is_text() -> None:
    said = json.dumps({"error": {"message": "m"}})

    result = read(f"event: output\ndata: {said}\n\nevent: done\ndata: {{}}\n\n".encode())

    assert (result.completion.text, result.end.reason) == (said, "completed")
