"""Events that are not JSON raise, end the stream, or are skipped and counted; events before them are always delivered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.dialects import DIALECTS
from tests.dialects.streams import cuts, read, sse

BAD = b'data: {"choices": [{"index": 0, "delta": {"content": "a secr\n\n'
TEXT = [sse({"choices": [{"index": 0, "delta": {"content": text}}]}) for text in ("Blue ", "sky")]
END = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, "[DONE]")
STREAM = TEXT[0] + BAD + TEXT[1] + END


def test_it_is_an_error_after_the_events_before_it() -> None:
    result = read(STREAM)

    assert isinstance(result.error, sk.errors.ProtocolError)
    assert str(result.error).startswith(
        "event 2: expected JSON or [DONE] after 'data:', found 54 characters that are not JSON"
    )
    assert [event.text for event in result.of(sk.TextDelta)] == ["Blue "]


def test_the_partial_answer_is_in_accumulate() -> None:
    run = (sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()).run([STREAM])

    with pytest.raises(sk.errors.ProtocolError):
        list(run)

    assert run.stage(sk.Accumulate).snapshot.text == "Blue "


def test_with_errors_emit_nothing_is_raised_and_the_end_reports_it() -> None:
    result = read(STREAM, errors="emit")

    assert result.error is None
    assert (result.completion.text, result.end) == ("Blue ", sk.StreamEnd("error", open_choices=(0,)))
    (notice,) = result.notices("protocol_error")
    assert notice["message"].startswith("event 2: expected JSON or [DONE]")
    assert "secr" not in notice["message"]


def test_with_skip_the_rest_of_the_answer_is_emitted() -> None:
    result = read(STREAM, malformed="skip")

    assert result.error is None
    assert (result.completion.text, result.end) == ("Blue sky", sk.StreamEnd("completed", True))


def test_skipped_events_are_counted_and_reported_and_available_in_raw() -> None:
    run = (sk.sse.Lines() | sk.Parse() | sk.Extract(malformed="skip")).run([TEXT[0] + BAD + BAD + END])

    notices = [event for event in run if isinstance(event, sk.events.ProviderNotice)]

    assert run.stage(sk.Extract).skipped == 2
    assert [(notice.kind, notice.data["event"]) for notice in notices] == [("malformed", 2), ("malformed", 3)]
    assert notices[0].data["found"] == "54 characters that are not JSON: Input data was truncated"
    # `raw` has the received data; no message, repr or `data` has it.
    assert notices[0].raw == BAD.decode().removeprefix("data: ").rstrip("\n")
    assert "secr" not in repr(notices)


KINDS = {
    "cut": '{"a": 1',
    "words": "upstream error",
    "a quote": '{"choices": [{"delta": {"content": "a"b"}}]}',
    "deep": "[" * 5000 + "]" * 5000,
    "a page": "<html><body>502</body></html>",
    "two documents": '{"a": 1}{"b": 2}',
    "NaN": '{"a": NaN}',
    "half a pair": '{"a": "\\ud83d" oops}',
}


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "replicate"])
@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_every_kind_is_skipped_in_every_dialect(dialect: str, data: str) -> None:
    result = read(f"data: {data}\n\n".encode(), dialect=dialect, malformed="skip")

    assert result.error is None
    assert len(result.notices("malformed")) == 1
    assert result.end.reason == "truncated"


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_a_skipped_first_event_does_not_select_a_dialect(data: str) -> None:
    result = read(f"data: {data}\n\n".encode() + TEXT[0] + END, malformed="skip")

    assert (result.completion.text, result.end.reason) == ("Blue ", "completed")


def test_events_skipped_before_the_dialect_is_known_are_counted() -> None:
    run = (sk.sse.Lines() | sk.Parse() | sk.Extract(malformed="skip")).run([BAD + TEXT[0] + BAD + END])

    list(run)

    assert run.stage(sk.Extract).skipped == 2


def test_a_stream_of_only_skipped_events_has_an_unknown_dialect() -> None:
    result = read(b"data: hello\n\n" * 3 + b"data: [DONE]\n\n", malformed="skip")

    assert isinstance(result.error, sk.errors.UnknownDialect)
    assert result.error.shape.startswith("event 'message' with 5 characters that are not JSON")
    assert "hello" not in str(result.error)


def test_an_event_cut_by_the_end_of_the_body_is_not_malformed() -> None:
    result = read(TEXT[0] + BAD.rstrip(b"\n"), malformed="skip")

    assert (result.notices("malformed"), result.end.reason) == ([], "truncated")


def test_the_order_of_an_error_event_and_a_malformed_one() -> None:
    result = read(TEXT[0] + b"event: error\ndata: {oops\n\n", malformed="skip")

    assert isinstance(result.error, sk.ProviderError)


@pytest.mark.parametrize("name", ["errors", "malformed"])
def test_an_unknown_value_of_an_option_is_rejected(name: str) -> None:
    options: dict[str, Any] = {name: "ignore"}

    with pytest.raises(
        sk.PipelineError, match=rf"^Extract\({name}=…\): expected 'raise' or '(emit|skip)', found 'ignore'$"
    ):
        sk.Extract(**options)


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=8), st.sampled_from([None, "openai"]))
def test_the_valid_events_give_the_same_result_as_alone(kinds: list[str], dialect: str | None) -> None:
    blocks = {"good": TEXT[0], "bad": BAD}
    body = b"".join(blocks[kind] for kind in kinds)

    result = read(body + END, dialect=dialect, malformed="skip")
    alone = read(TEXT[0] * kinds.count("good") + END, dialect=dialect)

    assert len(result.notices("malformed")) == kinds.count("bad")
    assert [event for event in result.events if not isinstance(event, sk.events.ProviderNotice)] == alone.events
    for pieces in cuts(body + END, times=1):
        assert read(*pieces, dialect=dialect, malformed="skip").events == result.events


def test_a_run_resumed_from_a_checkpoint_continues_to_count() -> None:
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract(malformed="skip")
    run = pipeline.run(iter([TEXT[0] + BAD, b""]))
    next(run)
    next(run)

    rest = pipeline.run([BAD + END], checkpoint=json.loads(json.dumps(run.checkpoint())))
    list(rest)

    assert rest.stage(sk.Extract).skipped == 2
