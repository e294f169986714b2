"""The smaller dialects: watsonx, Assistants, transcriptions, Writer, Replicate."""

import json
from typing import Any

import pytest

from streamkit import Finish, StreamEnd, Usage
from streamkit.dialects import DIALECTS, for_event
from streamkit.events import Annotation, PartDelta, ProviderNotice, ResponseStart, ToolCall
from streamkit.sse.events import ServerSentEvent
from tests.dialects.streams import DATA, Recording, each, read, recordings, sse

APIS = {
    "watsonx": "watsonx",
    "assistants.runs": "assistants",
    "audio.transcriptions": "transcription",
    "writer.completions": "writer",
    "replicate": "replicate",
}
NAMES = list(APIS.values())
RECORDINGS = [recording for api in APIS for recording in recordings(api)]
every_recording = each(RECORDINGS)


def fixture(name: str) -> bytes:
    return (DATA / f"{name}.sse").read_bytes()


# Recordings


@every_recording
def test_the_text_matches_the_sidecar(recording: Recording) -> None:
    expected = recording.expected
    text = expected["text"] or "".join(expected["final_text"])

    assert read(recording.body).completion.text == text


@every_recording
def test_an_answer_is_complete_if_its_format_can_say_so(recording: Recording) -> None:
    reason = "truncated" if "writer" in recording.path.stem else "completed"

    assert read(recording.body).end.reason == reason


# All of them


@pytest.mark.parametrize("name", NAMES)
def test_the_first_event_identifies_the_dialect(name: str) -> None:
    assert read(fixture(name)).events == read(fixture(name), dialect=name).events


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_stops_early_is_truncated(name: str) -> None:
    result = read(fixture(name)[: len(fixture(name)) // 2])

    assert result.end == StreamEnd("truncated", open_choices=(0,))
    assert not result.of(Finish)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "replicate"])
def test_the_raw_of_every_event_is_its_chunk(name: str) -> None:
    chunks = [json.loads(line[6:]) for line in fixture(name).decode().split("\n") if line.startswith("data: {")]

    for event in read(fixture(name)).events:
        assert event.payload is None or event.raw in chunks


def test_no_dialect_claims_the_first_event_of_another() -> None:
    for name in NAMES:
        first = next(block for block in fixture(name).decode().split("\n\n") if block.startswith(("event", "data")))
        fields = dict(line.split(": ", 1) for line in first.split("\n"))
        event = ServerSentEvent.of(fields["data"], fields.get("event", "message"))
        assert for_event(event) is DIALECTS[name]


# watsonx


def test_counts_of_watsonx_are_cumulative_and_its_finish_reasons_are_kept() -> None:
    result = read(fixture("watsonx"))

    assert result.events[0] == ResponseStart(created=1710081637, model="ibm/granite")
    assert (result.choice.text, result.choice.finish_reason) == ("the sun", "max_tokens")
    assert result.completion.usage == Usage(8, 2, 10, details={"input_token_count": 8, "generated_token_count": 2})
    assert [event.kind for event in result.of(ProviderNotice)] == ["system"]
    assert result.end == StreamEnd("length")


@pytest.mark.parametrize(
    ("word", "reason"),
    [("eos_token", "completed"), ("stop_sequence", "completed"), ("cancelled", "cancelled"), ("time_limit", "timeout")],
)
def test_how_watsonx_ends(word: str, reason: Any) -> None:
    result = read(sse({"results": [{"generated_text": "Hi", "stop_reason": word}]}))

    assert (result.end.reason, result.of(Finish)) == (reason, [Finish(word)])


def test_an_error_of_watsonx() -> None:
    error = {"code": "downstream_request_failed", "message": "m"}
    result = read(sse({"results": [{"generated_text": "Hi"}]}, {"errors": [error], "trace": "t", "status_code": 500}))

    assert result.completion.text == "Hi"
    assert result.error is not None
    assert (result.error.code, result.error.body) == ("downstream_request_failed", error)


# Assistants


def test_a_run_has_its_text_its_calls_and_why_it_waits() -> None:
    result = read(fixture("assistants"))

    assert result.events[0] == ResponseStart("run_1", "thread.run", 1700000000, "gpt-4o-mini")
    assert result.choice.text == "Let me look."
    assert result.choice.tool_calls == (ToolCall("call_1", "f", '{"a":1}'),)
    assert [event.annotation["text"] for event in result.of(Annotation)] == ["[1]"]
    assert [event.kind for event in result.of(ProviderNotice)] == ["thread.run.queued"]
    assert result.of(PartDelta) == [PartDelta("1+1", "code", 0, ("code_interpreter", "input"))]
    assert result.choice.parts[0].data["code_interpreter"] == {"input": "1+1", "outputs": ""}
    assert (result.choice.finish_reason, result.end) == ("requires_action", StreamEnd("tool_calls", saw_done=True))
    assert result.completion.usage is not None
    assert result.completion.usage.total_tokens == 12


def test_done_alone_does_not_complete_a_run() -> None:
    body = fixture("assistants").replace(b"event: thread.run.requires_action", b"event: thread.run.new")

    assert read(body).end.reason == "truncated"


def test_a_failed_run_is_an_error() -> None:
    error = {"code": "rate_limit_exceeded", "message": "m"}
    head, failed = (
        fixture("assistants").split(b"event: thread.run.requires_action")[0],
        json.dumps({"last_error": error}),
    )
    result = read(head + f"event: thread.run.failed\ndata: {failed}\n\n".encode())

    assert result.error is not None
    assert (result.error.body, result.error.retryable) == (error, True)


# Transcriptions


def test_a_transcription_has_its_text_and_log_probabilities_once() -> None:
    result = read(fixture("transcription"))

    assert result.choice.text == "안녕, Ruby"
    assert [entry["token"] for entry in (result.choice.logprobs or {})["content"]] == ["안녕"]
    assert result.completion.usage is not None
    assert result.completion.usage.prompt_tokens == 14
    assert result.end == StreamEnd("completed", saw_done=True, open_choices=(0,))


# Replicate


def test_text_that_looks_like_json_is_text() -> None:
    result = read(fixture("replicate"))

    assert result.completion.text == '42{"a": 1}:\n\nWhy'
    assert [event.raw for event in result.events if event.payload] == ["42", '{"a": 1}', ":\n\nWhy"]
    assert result.end == StreamEnd("completed", saw_done=True, open_choices=(0,))


@pytest.mark.parametrize(("word", "reason"), [("canceled", "cancelled"), ("error", "provider_error")])
def test_how_a_prediction_ends(word: str, reason: Any) -> None:
    result = read(fixture("replicate").replace(b"data: {}", f'data: {{"reason": "{word}"}}'.encode()))

    assert (result.end.reason, result.of(Finish)) == (reason, [Finish(word)])


def test_an_error_of_a_prediction() -> None:
    result = read(b'event: output\ndata: Hi\n\nevent: error\ndata: {"detail": "out of memory"}\n\n')

    assert result.completion.text == "Hi"
    assert result.error is not None
    assert result.error.body == {"detail": "out of memory"}
