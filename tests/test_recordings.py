"""Real providers' streams: what comes out is what the official SDK made of them, for any cuts of the bytes."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from streamkit import (
    Accumulate,
    Completion,
    Event,
    Extract,
    Finish,
    Parse,
    ProviderError,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.errors import ProtocolError
from streamkit.events import Choice, PartStart
from streamkit.sse import Lines
from tests.conftest import SHARED, needs_shared

PIPELINE = Lines() | Parse() | Extract() | Accumulate()
TWO_ANSWERS = "cerebras-chat-structured"
"""Two turns of a conversation recorded in one body, which the official client joins to one answer."""


class Recording(NamedTuple):
    path: Path
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        return self.path.with_suffix(".sse").read_bytes()


def recordings() -> Iterator[Recording]:
    for path in sorted(SHARED.glob("recordings/*/*.json")):
        sidecar = json.loads(path.read_bytes())
        known = sidecar["api"] in ("chat.completions", "completions") and sidecar.get("expected")
        if known and path.stem != TWO_ANSWERS:
            yield Recording(path, sidecar["expected"])


RECORDINGS = list(recordings())
every_recording = pytest.mark.parametrize(
    "recording", RECORDINGS, ids=[f"{recording.path.parent.name}/{recording.path.stem}" for recording in RECORDINGS]
)


class Result(NamedTuple):
    events: list[Event]
    error: ProviderError | None

    @property
    def completion(self) -> Completion:
        (found,) = (event for event in self.events if isinstance(event, Completion))
        return found

    @property
    def end(self) -> StreamEnd:
        assert isinstance(self.events[-1], StreamEnd)
        return self.events[-1]


def read(pieces: Iterable[bytes]) -> Result:
    events = list[Event]()
    try:
        events.extend(PIPELINE.run(pieces))
    except ProviderError as error:
        return Result(events, error)
    return Result(events, None)


def of_official_sdk(choice: Choice, expected: dict[str, Any]) -> dict[str, Any]:
    """The same as `said`, without reasoning that comes in `reasoning_details` alone, which the SDK does not know."""
    found = said(choice)
    if choice.parts and "reasoning" not in expected:
        assert found.pop("reasoning") == "".join(part.text for part in choice.parts)
    return found


def said(choice: Choice) -> dict[str, Any]:
    """A choice in the words of the sidecars, which leave out what is empty."""
    calls = [{"index": c.index, "id": c.id, "name": c.name, "arguments": c.arguments} for c in choice.tool_calls]
    logprobs = choice.logprobs or {}
    more = {
        "reasoning": choice.reasoning,
        "refusal": choice.refusal,
        "tool_calls": calls,
        "logprob_tokens": len(logprobs.get("content") or logprobs.get("tokens") or ()),
    }
    return {
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        **{name: value for name, value in more.items() if value},
    }


@needs_shared
def test_a_recording_of_two_answers_is_an_error_after_the_first_one_and_without_anything_of_the_second() -> None:
    (path,) = SHARED.glob(f"recordings/*/{TWO_ANSWERS}.sse")
    events = list[Event]()

    with pytest.raises(ProtocolError, match=r"^event 37: expected one response, found the start of another"):
        events.extend(PIPELINE.run([path.read_bytes()]))

    said = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert said.endswith("I should call this function to get the magic number.")
    assert "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)) == "{}"
    assert [event.finish_reason for event in events if isinstance(event, Finish)] == ["tool_calls"]


@needs_shared
def test_there_are_recordings_of_both_apis_and_of_errors() -> None:
    assert len(RECORDINGS) >= 56
    assert any("error" in recording.expected for recording in RECORDINGS)
    assert any("completions" in recording.path.stem for recording in RECORDINGS)


@every_recording
def test_the_answer_is_what_the_official_sdk_made_of_it(recording: Recording) -> None:
    completion = read([recording.body]).completion

    expected = recording.expected["choices"]
    found = {str(choice.index): of_official_sdk(choice, expected[str(choice.index)]) for choice in completion.choices}
    assert found == expected
    assert (completion.usage and completion.usage.details) == recording.expected["usage"]


@every_recording
def test_the_end_and_an_error_are_told_as_they_came(recording: Recording) -> None:
    result, expected = read([recording.body]), recording.expected

    assert result.end.saw_done is expected["done_marker"]
    assert (result.end.reason == "provider_error") is ("error" in expected)
    assert (result.error and result.error.body) == expected.get("error", {}).get("body")
    if result.error:
        assert result.error.detail == expected["error"]["message"]
        assert result.error.detail not in repr(result.error)


@every_recording
def test_the_deltas_join_to_the_answer(recording: Recording) -> None:
    events = read([recording.body]).events

    for index, choice in recording.expected["choices"].items():
        of_choice = [event for event in events if getattr(event, "index", None) == int(index)]
        assert "".join(event.text for event in of_choice if isinstance(event, TextDelta)) == choice["text"]
        if not any(isinstance(event, PartStart) for event in of_choice):
            assert "".join(e.text for e in of_choice if isinstance(e, ReasoningDelta)) == choice.get("reasoning", "")
        assert "".join(e.text for e in of_choice if isinstance(e, RefusalDelta)) == choice.get("refusal", "")


@every_recording
def test_nothing_changes_byte_by_byte(recording: Recording) -> None:
    body = recording.body

    assert_same(read(body[at : at + 1] for at in range(len(body))), read([body]))


@every_recording
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_changes_with_random_cuts(recording: Recording, seed: int) -> None:
    random, body = Random(seed), recording.body
    places = [0, *sorted(random.choices(range(len(body)), k=len(body) // random.choice([10, 100, 1000]))), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]

    assert_same(read(iter(pieces)), read([body]))


def assert_same(result: Result, whole: Result) -> None:
    assert result.events == whole.events
    assert repr(result.error) == repr(whole.error)


@every_recording
def test_an_answer_that_stops_early_is_truncated_and_what_came_is_there(recording: Recording) -> None:
    body, whole = recording.body, read([recording.body]).completion

    cut = read([body[: len(body) // 3]])

    assert cut.end == StreamEnd("truncated", open_choices=tuple(choice.index for choice in cut.completion.choices))
    for choice in cut.completion.choices:
        assert whole.choices[choice.index].text.startswith(choice.text)
