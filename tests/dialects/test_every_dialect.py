"""Properties of every dialect except OpenAI's chat: recordings and fixtures split anywhere, and non-streaming responses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.streams import DATA, STRUCTURE, Recording, check_cuts, each, payloads, read, recordings, wire

APIS = {
    "anthropic.messages": "anthropic",
    "anthropic.complete": "anthropic",
    "responses": "responses",
    "gemini": "gemini",
    "cohere.v2": "cohere",
    "watsonx": "watsonx",
    "assistants.runs": "assistants",
    "audio.transcriptions": "transcription",
    "writer.completions": "writer",
    "replicate": "replicate",
}
OTHERS = {"bedrock-claude-text": "anthropic", "bedrock-command-r": "cohere-v1"}
"""Fixtures of models on Bedrock whose dialect is not specific to Bedrock."""
every_recording = each(recordings(*APIS))
FIXTURES = sorted(path for path in DATA.iterdir() if path.suffix in (".sse", ".ndjson"))
PAIRS = [path for path in FIXTURES if path.with_suffix(".json").is_file()]
every_fixture = pytest.mark.parametrize("fixture", FIXTURES, ids=[path.stem for path in FIXTURES])
every_pair = pytest.mark.parametrize("fixture", PAIRS, ids=[path.stem for path in PAIRS])


def dialect_of(fixture: Path) -> str:
    return OTHERS.get(fixture.stem) or fixture.stem.partition("-")[0]


def check_chunks(body: bytes) -> None:
    chunks = payloads(body)
    for event in read(body).events:
        assert event.payload is None or event.raw in chunks


@every_recording
def test_the_events_do_not_depend_on_how_a_recording_is_split(recording: Recording) -> None:
    check_cuts(recording.body)


@every_fixture
def test_the_events_do_not_depend_on_how_a_fixture_is_split(fixture: Path) -> None:
    check_cuts(fixture.read_bytes())


@every_pair
def test_the_events_do_not_depend_on_how_a_non_streaming_response_is_split(fixture: Path) -> None:
    check_cuts(fixture.with_suffix(".json").read_bytes(), dialect_of(fixture))


@every_recording
def test_every_event_has_its_chunk(recording: Recording) -> None:
    if "replicate" not in recording.path.stem:  # its chunks are not JSON
        check_chunks(recording.body)


@every_recording
def test_a_cut_stream_is_truncated_and_keeps_the_received_events(recording: Recording) -> None:
    whole = read(recording.body).completion

    for part in (1, 2):
        cut = read(recording.body[: len(recording.body) * part // 3])
        if cut.end.reason != "truncated":
            # The rest of the recording is not part of the answer.
            assert cut.completion == whole
            continue
        assert all(choice.finish_reason is None for choice in cut.completion.choices)
        assert whole.text.startswith(cut.completion.text)


@every_pair
def test_a_non_streaming_response_is_restored_exactly(fixture: Path) -> None:
    plain = fixture.with_suffix(".json").read_bytes()

    assert read(plain, dialect=dialect_of(fixture)).completion.to_dict() == json.loads(plain)


@every_pair
def test_streaming_and_non_streaming_responses_accumulate_to_the_same(fixture: Path) -> None:
    plain = fixture.with_suffix(".json").read_bytes()
    streamed = read(fixture.read_bytes()).completion

    assert streamed == read(plain, dialect=dialect_of(fixture)).completion
    assert streamed.to_dict() == json.loads(plain)


@every_recording
def test_an_answer_built_as_a_non_streaming_response_is_read_back_equal(recording: Recording) -> None:
    sent = read(recording.body).completion
    if sent.shape is None or sent.end == "provider_error":
        return  # OpenAI's own shape, or no answer
    plain = sent.to_dict()

    again = read(json.dumps(plain).encode(), dialect=sent.shape)

    assert again.completion.to_dict() == plain
    assert (again.completion.text, again.completion.usage) == (sent.text, sent.usage)


@every_recording
def test_every_answer_can_be_built_as_a_chat_completion(recording: Recording) -> None:
    completion = read(recording.body).completion
    chat = completion.to_openai()

    assert chat["object"] == "chat.completion"
    assert [choice["message"]["content"] or "" for choice in chat["choices"]] == [c.text for c in completion.choices]
    assert json.loads(json.dumps(chat)) == chat


def vars_of(event: Any) -> dict[str, Any]:
    return dict(event.__rich_repr__())


@every_recording
def test_the_structure_contains_no_text(recording: Recording) -> None:
    result = read(recording.body)
    emitted = json.dumps([vars_of(event) for kind in STRUCTURE for event in result.of(kind)])

    for choice in result.completion.choices:
        for text in (choice.content, choice.reasoning, choice.refusal, *(c.arguments for c in choice.tool_calls)):
            # A short text may occur there by chance.
            assert not text or len(text) < 12 or json.dumps(text)[1:-1] not in emitted


def test_wire_and_payloads_are_inverse() -> None:
    body = (DATA / "anthropic-messages.sse").read_bytes()

    assert payloads(wire(payloads(body))) == payloads(body)
