"""A stream that no dialect recognizes is an error that describes its shape and lists the dialects, without quoting it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.dialects import DIALECTS
from streamkit.dialects.shapes import shape
from tests.dialects.streams import check_cuts, cuts, ndjson, read, sse

DONE = b"data: [DONE]\n\n"
with_or_without_done = pytest.mark.parametrize("done", [b"", DONE], ids=["to its end", "with [DONE]"])
WIRES: dict[str, tuple[bytes, str]] = {
    "a field of its own": (sse({"words": "secret"}), "event 'message' with {words: string}"),
    "several": (
        sse({"a": 1, "b": 1.5, "c": True, "d": None, "e": ["x"], "f": [], "g": {"h": {"i": "secret"}}}),
        "event 'message' with {a: number, b: number, c: boolean, d: null, e: [string], f: [], g: {h: {…}}}",
    ),
    "a name": (b'event: token.delta\ndata: {"t": "secret"}\n\n', "event 'token.delta' with {t: string}"),
    "a name that is none": (b'event: a secret\ndata: {"t": "x"}\n\n', "event of another name with {t: string}"),
    "fields that are text": (
        sse({"a secret": 1, "sk-proj-secret": 2, "ok": 3}),
        "event 'message' with {(another name): number, (another name): number, ok: number}",
    ),
    "many fields": (
        sse({f"f{at}x": at for at in range(20)}),
        "event 'message' with {" + "".join(f"f{at}x: number, " for at in range(8)) + "…}",
    ),
    "a list": (sse([{"t": "secret"}, {"t": "secret"}]), "event 'message' with [{t: string}, …]"),
    "a text": (sse('"secret"'), "event 'message' with string"),
    "a number": (sse("5"), "event 'message' with number"),
    "a body": (json.dumps({"words": "secret"}).encode(), "a JSON body with {words: string}"),
    "lines of JSON": (ndjson({"words": "secret"}, {"words": "secret"}), "a JSON body with {words: string}"),
    "after a ping": (
        b"event: ping\ndata: {}\n\n: hello\n\n" + sse({"w": "secret"}),
        "event 'message' with {w: string}",
    ),
    "the first of several": (sse({"w": "secret"}, {"v": "secret"}), "event 'message' with {w: string}"),
}


@with_or_without_done
@pytest.mark.parametrize(("body", "expected"), WIRES.values(), ids=WIRES)
def test_the_error_has_the_shape_and_the_dialects_but_no_value(body: bytes, expected: str, done: bytes) -> None:
    # A body that begins as JSON is not an event stream, so no end marker is appended.
    result = read(body + (done if body.startswith((b"data", b"event")) else b""))
    error = result.error

    assert isinstance(error, sk.errors.UnknownDialect)
    assert isinstance(error, sk.errors.ProtocolError)
    assert error.shape == expected
    assert error.tried == tuple(DIALECTS)
    assert str(error).startswith(f"this stream begins with {expected}, which no dialect recognizes (tried: anthropic, ")
    assert "secret" not in repr(error) + str(error)
    assert result.end.reason == result.completion.end == "error"


@with_or_without_done
def test_received_events_are_delivered_as_notices_before_the_error(done: bytes) -> None:
    result = read(sse({"w": 1}, {"w": 2}) + done)

    assert result.notices("message") == [{"w": 1}, {"w": 2}]
    assert [event.raw for event in result.of(sk.events.ProviderNotice)] == [{"w": 1}, {"w": 2}]


@with_or_without_done
def test_it_does_not_depend_on_how_the_body_is_split(done: bytes) -> None:
    check_cuts(sse({"w": 1}, {"v": "x"}) + done)


def test_text_that_is_not_json_is_reported_with_the_dialects() -> None:
    result = read(b"data: a secret word\n\n")

    assert isinstance(result.error, sk.errors.UnknownDialect)
    assert str(result.error).startswith(
        "event 1: expected JSON or [DONE] after 'data:', found 13 characters that are not JSON"
    )
    assert "(tried: anthropic, " in str(result.error)
    assert result.error.excerpt == "a secret word"
    assert "secret" not in repr(result.error)


@with_or_without_done
def test_with_errors_emit_the_end_reports_it(done: bytes) -> None:
    result = read(sse({"w": 1}) + done, errors="emit")

    assert result.error is None
    assert result.end == sk.StreamEnd("error", bool(done))


def test_a_later_event_may_still_identify_the_dialect() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}

    assert read(sse({"queue": 3}, {"queue": 0}, chunk) + DONE).end == sk.StreamEnd("completed", True)


@pytest.mark.anyio
@with_or_without_done
async def test_a_stream_ends_with_it(done: bytes) -> None:
    stream = [sse({"w": 1}) + done] | (sk.Parse() | sk.Extract() | sk.Accumulate())
    seen: list[object] = []

    with pytest.raises(sk.errors.UnknownDialect):
        async for event in stream:
            seen.append(event)

    assert isinstance(seen[-1], sk.StreamEnd)
    assert stream.end == sk.StreamEnd("error")


def test_a_run_resumed_from_a_checkpoint_still_has_its_first_event() -> None:
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract()
    run = pipeline.run(iter([sse({"w": 1}), b""]))
    next(run)

    rest = pipeline.run([sse({"v": 2}) + DONE], checkpoint=json.loads(json.dumps(run.checkpoint())))

    with pytest.raises(sk.errors.UnknownDialect, match=r"begins with event 'message' with \{w: number\}"):
        list(rest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_a_shape_is_short_and_holds_no_value(data: Any) -> None:
    marked = _marked(data)

    assert "SECRET" not in shape(marked)
    assert len(shape(marked)) < 8 * 8 * 50


def _marked(data: Any) -> Any:
    match data:
        case str():
            return data + "SECRET"
        case list():
            return [_marked(item) for item in data]
        case dict():
            return {name: _marked(value) for name, value in data.items()}
        case _:
            return data


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=3), min_size=1, max_size=4), st.booleans())
def test_no_arbitrary_json_is_taken_for_an_answer(payloads: list[dict[str, Any]], done: bool) -> None:
    body = sse(*(json.dumps(payload) for payload in payloads)) + (DONE if done else b"")

    result = read(body)

    assert result.error is not None or result.end.reason == "truncated"
    for pieces in cuts(body, times=1):
        assert repr(read(*pieces).error) == repr(result.error)
