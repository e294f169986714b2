"""Gemini's streams: recordings, and edge cases, one small fixture each."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.gemini import Gemini
from tests.conftest import needs_shared
from tests.dialects.streams import DATA, Recording, payloads, read, read_data, recordings

RECORDINGS = recordings("gemini")
every_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=str)
FIXTURE = (DATA / "gemini-two-candidates.sse").read_bytes()
PLAIN = (DATA / "gemini-two-candidates.json").read_bytes()

RATINGS = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
CALL = {"functionCall": {"id": "call-1", "name": "", "args": {}}, "thoughtSignature": "c2ln"}


def chunk(*parts: dict[str, Any], finish: str | None = None, **candidate: Any) -> dict[str, Any]:
    ended = {"finishReason": finish} if finish else {}
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **ended, **candidate}]}


@needs_shared
def test_there_are_recordings_of_both_services() -> None:
    assert len(RECORDINGS) >= 6
    assert any("vertex" in recording.path.stem for recording in RECORDINGS)


@every_recording
def test_the_answer_equals_the_official_clients(recording: Recording) -> None:
    expected, result = recording.expected, read(recording.body)
    choice, usage = result.choice, result.completion.usage

    assert result.error is None
    assert choice.text == expected["text"]
    assert (choice.reasoning or "") == expected["thought"]
    assert choice.finish_reason == expected["finish_reason"]
    assert [{"name": call.name, "args": json.loads(call.arguments)} for call in choice.tool_calls] == expected[
        "function_calls"
    ]
    assert usage is not None
    assert usage.details == expected["usage"]
    assert usage.prompt_tokens == expected["usage"]["promptTokenCount"]
    assert usage.total_tokens == expected["usage"]["totalTokenCount"]
    assert (usage.prompt_tokens or 0) + (usage.completion_tokens or 0) == usage.total_tokens


def test_candidates_are_choices() -> None:
    completion = read(FIXTURE).completion

    assert (completion.id, completion.model, completion.created) == ("r-1", "gemini-x", 1773338764)
    assert completion.choices == (
        sk.events.Choice(
            0,
            "Grüße 👩‍💻",
            "STOP",
            reasoning="Two places.",
            tool_calls=(
                sk.events.ToolCall("call-1", "weather", '{"city":"Zürich","days":[1,2]}', 0),
                sk.events.ToolCall(None, "now", "{}", 1),
            ),
            role="assistant",
            parts=(
                sk.events.Part("text", 0, {"thought": True, "text": ""}, "Two places.", "reasoning"),
                sk.events.Part("text", 1, {"text": ""}, "Grüße 👩‍💻", "content"),
                sk.events.Part("functionCall", 2, CALL, "", "tool_arguments", 0),
                sk.events.Part("functionCall", 3, {"functionCall": {"name": "", "args": {}}}, "", "tool_arguments", 1),
            ),
            details={"index": 0, "content": {"parts": [], "role": "model"}},
        ),
        sk.events.Choice(
            1,
            "No.",
            "SAFETY",
            role="assistant",
            annotations=({"startIndex": 0, "endIndex": 3, "uri": "https://example.com"},),
            parts=(sk.events.Part("text", 0, {"text": ""}, "No.", "content"),),
            details={
                "index": 1,
                "content": {"parts": [], "role": "model"},
                "safetyRatings": RATINGS,
                "citationMetadata": {"citationSources": []},
            },
        ),
    )
    assert read(FIXTURE).end == sk.StreamEnd("content_filter")


def test_data_besides_the_answer_is_a_notice() -> None:
    assert read(FIXTURE).notices("safety_ratings") == [RATINGS]
    assert sk.events.PartEnd(2, {"thoughtSignature": "c2ln"}) in read(FIXTURE).events


def test_a_stream_in_one_array_has_the_same_events() -> None:
    array = ("[" + ",\n".join(json.dumps(payload, indent=1) for payload in payloads(FIXTURE)) + "]").encode()

    assert read(array).events == read(FIXTURE).events
    assert read(array).events[0].raw == payloads(FIXTURE)[0]


def test_usage_is_cumulative_and_the_last_one_counts() -> None:
    usages = [event for event in read(FIXTURE).events if isinstance(event, sk.Usage)]

    assert [(u.prompt_tokens, u.completion_tokens, u.total_tokens) for u in usages] == [
        (7, None, 7),
        (7, 5, 12),
        (7, 12, 19),
    ]
    assert read(FIXTURE).completion.usage == usages[-1]


def test_a_later_null_is_ignored() -> None:
    first, later = {"promptTokenCount": 7, "totalTokenCount": 7}, {"promptTokenCount": None, "totalTokenCount": 9}

    usage = read_data({"usageMetadata": first}, {"usageMetadata": later}).completion.usage

    assert usage == sk.Usage(7, None, 9, {"promptTokenCount": 7, "totalTokenCount": 9})


def test_results_of_googles_own_tools_count_as_prompt() -> None:
    counts = {"promptTokenCount": 5, "toolUsePromptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 17}

    assert read_data({"usageMetadata": counts}).completion.usage == sk.Usage(15, 2, 17, counts)


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("STOP", "completed"),
        ("OTHER", "unknown"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("SPII", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "provider_error"),
    ],
)
def test_the_finish_reason_is_the_providers_and_the_end_has_its_meaning(reason: str, end: str) -> None:
    result = read_data(chunk({"text": "Hi"}), chunk({"text": "."}, finish=reason))

    assert (result.choice.text, result.choice.finish_reason) == ("Hi.", reason)
    assert result.end.reason == end
    assert isinstance(result.error, sk.ProviderError) is (end == "provider_error")


@pytest.mark.parametrize("reason", [None, "", "FINISH_REASON_UNSPECIFIED"])
def test_a_placeholder_reason_is_not_an_end(reason: str | None) -> None:
    result = read_data(chunk({"text": "Hi"}, finish=reason))

    assert result.choice.finish_reason is None
    assert result.end == sk.StreamEnd("truncated", open_choices=(0,))


def test_one_candidate_without_an_end_makes_the_stream_truncated() -> None:
    result = read_data(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, index=1))

    assert result.end == sk.StreamEnd("truncated", open_choices=(1,))


def test_a_reason_sent_with_every_chunk_is_emitted_once() -> None:
    result = read_data(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="STOP"))

    assert [event for event in result.events if isinstance(event, sk.Finish)] == [sk.Finish("STOP")]
    assert result.choice.text == "ab"


def test_a_function_call_finishes_with_stop_and_ends_as_tool_calls() -> None:
    result = read_data(chunk({"functionCall": {"name": "f", "args": {"a": 1}}}, finish="STOP"))

    assert (result.choice.finish_reason, result.end.reason) == ("STOP", "tool_calls")


@pytest.mark.parametrize(
    ("call", "delta"),
    [
        ({"name": "f"}, sk.ToolCallDelta(0, None, "f", "{}")),
        ({"name": "f", "args": {}}, sk.ToolCallDelta(0, None, "f", "{}")),
        ({"name": "f", "args": None, "id": 3}, sk.ToolCallDelta(0, None, "f", "{}")),
        ({"name": "f", "args": {"b": 1.5, "a": "ü"}}, sk.ToolCallDelta(0, None, "f", '{"b":1.5,"a":"ü"}')),
    ],
    ids=str,
)
def test_arguments_are_the_json_of_the_object(call: dict[str, Any], delta: sk.ToolCallDelta) -> None:
    assert delta in read_data(chunk({"functionCall": call}, finish="STOP")).events


def test_a_blocked_prompt_ends_without_a_candidate() -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT"}

    result = read_data({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}})

    assert result.notices("prompt_feedback") == [feedback]
    assert result.completion.choices == ()
    assert result.end == sk.StreamEnd("content_filter")


@pytest.mark.parametrize(
    ("part", "structure", "texts"),
    [
        (
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"executableCode": {"language": "PYTHON", "code": ""}},
            [sk.events.PartDelta("1", "code", 0, ("executableCode", "code"))],
        ),
        (
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": ""}},
            [sk.events.PartDelta("1", "tool_output", 0, ("codeExecutionResult", "output"))],
        ),
        (
            {"toolCall": {"toolType": "X", "args": {"queries": ["a"]}}},
            {"toolCall": {"toolType": "", "args": {}}},
            [
                sk.events.PartDelta("X", "other", 0, ("toolCall", "toolType")),
                sk.events.PartDelta('{"queries":["a"]}', "tool_input", 0, ("toolCall", "args"), True),
            ],
        ),
        *(
            (part, part, [])
            for part in ({"inlineData": {"mimeType": "image/png", "data": "AAA="}}, {"somethingNew": True})
        ),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_the_text_of_other_parts_is_emitted_in_deltas(
    part: dict[str, Any], structure: dict[str, Any], texts: list[sk.events.PartDelta]
) -> None:
    result = read_data(chunk(part, finish="STOP"))

    assert sk.events.PartStart(next(iter(part)), 0, structure) in result.events
    assert result.of(sk.events.PartDelta) == texts
    assert result.completion.to_dict()["candidates"][0]["content"]["parts"] == [part]


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([[{"text": "a"}], [{"text": "b"}]], [{"text": "ab"}]),
        ([[{"text": "a"}], [{"text": ""}]], [{"text": "a"}]),
        ([[{"text": "a"}, {"text": "b"}]], [{"text": "a"}, {"text": "b"}]),
        ([[{"text": "a", "thought": True}], [{"text": "b"}]], [{"text": "a", "thought": True}, {"text": "b"}]),
        # https://ai.google.dev/gemini-api/docs/thought-signatures: parts with a signature must not be merged.
        (
            [[{"text": "a"}], [{"text": "", "thoughtSignature": "s"}]],
            [{"text": "a"}, {"text": "", "thoughtSignature": "s"}],
        ),
        (
            [[{"text": "a", "thoughtSignature": "s"}], [{"text": "b"}]],
            [{"text": "a", "thoughtSignature": "s"}, {"text": "b"}],
        ),
    ],
)
def test_a_text_continues_in_the_next_chunk(chunks: list[list[dict[str, Any]]], parts: list[dict[str, Any]]) -> None:
    whole = read_data(*(chunk(*said) for said in chunks), chunk(finish="STOP")).completion.to_dict()

    assert whole["candidates"][0]["content"]["parts"] == parts


def test_a_blocked_prompt_is_restored_exactly() -> None:
    plain = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"}

    assert read_data(plain).completion.to_dict() == plain


def test_grounding_and_citations_are_restored_in_place() -> None:
    plain = chunk(
        {"text": "Hi"},
        finish="STOP",
        groundingMetadata={"webSearchQueries": ["q"], "groundingChunks": []},
        citationMetadata={"citations": [{"endIndex": 2, "uri": "https://example.com"}]},
        logprobsResult={"chosenCandidates": [{"token": "Hi", "logProbability": -0.1}]},
        avgLogprobs=-0.1,
    )

    assert read_data(plain).completion.to_dict() == plain


def test_grounding_and_log_probabilities_belong_to_their_candidate() -> None:
    grounding = {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "https://example.com"}}]}
    logprobs = {"chosenCandidates": [{"token": "Hi", "logProbability": -0.1}]}

    choice = read_data(
        chunk({"text": "Hi"}, finish="STOP", groundingMetadata=grounding, logprobsResult=logprobs)
    ).choice

    assert choice.annotations == (grounding,)
    assert choice.logprobs == logprobs


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [(503, "UNAVAILABLE", True), (429, "RESOURCE_EXHAUSTED", True), (400, "INVALID_ARGUMENT", False)],
)
def test_an_error_in_the_stream_is_raised_after_the_events_before_it(code: int, status: str, retryable: bool) -> None:
    error = {"error": {"code": code, "message": "a secret prompt", "status": status}}

    result = read_data(chunk({"text": "Hel"}), error)

    assert result.completion.text == "Hel"
    assert result.end == sk.StreamEnd("provider_error", open_choices=(0,))
    assert isinstance(result.error, sk.ProviderError)
    assert (result.error.code, result.error.retryable, result.error.detail) == (code, retryable, "a secret prompt")


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_an_error_instead_of_a_stream_is_an_error(form: str) -> None:
    error = '{"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}'

    result = read(form.replace("{}", error).encode())

    assert isinstance(result.error, sk.ProviderError)
    assert result.error.retryable


@pytest.mark.parametrize("payload", [{"a": 1}, None, 3, {"candidate": []}], ids=str)
def test_an_unknown_event_is_a_notice_with_all_of_its_data(payload: Any) -> None:
    result = read_data(chunk({"text": "a"}), payload, chunk(finish="STOP"))

    (notice,) = (event for event in result.events if isinstance(event, sk.events.ProviderNotice))
    assert (notice.data, notice.raw) == (payload, payload)
    assert result.end == sk.StreamEnd("completed")


@pytest.mark.parametrize(
    "candidates", [None, [], [None], [{}], [{"content": None}], [{"content": {"parts": None}}], "x"]
)
def test_candidates_may_be_empty(candidates: object) -> None:
    result = read_data({"candidates": candidates})

    assert result.without_structure[:-2] == []
    assert result.end.reason == "truncated"


@pytest.mark.parametrize("time", [None, 3, "soon"])
def test_a_time_of_another_form_is_ignored(time: object) -> None:
    assert read_data({"modelVersion": "m", "createTime": time}).completion.created is None


@pytest.mark.parametrize("body", [FIXTURE, b": hello\n\n" + FIXTURE, PLAIN], ids=["stream", "comment", "plain"])
def test_the_first_event_identifies_the_dialect(body: bytes) -> None:
    first = next(iter(sk.Parse().run([body])))

    assert for_event(first) is Gemini
    assert read(body).events == read(body, dialect="gemini").events
