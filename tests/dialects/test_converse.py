"""Amazon Bedrock: Converse, models with their own format, and exceptions, in frames as on the wire."""

import json
from typing import Any

import msgspec
import pytest

import streamkit as sk
from streamkit.dialects import DIALECTS
from streamkit.events import Annotation, PartDelta, PartEnd, ProviderNotice, ResponseDetails, ToolCall
from tests import amazon
from tests.dialects.streams import DATA, read, sse

START = amazon.event("messageStart", {"role": "assistant", "p": "abcd"})
TEXT = [
    amazon.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}, "p": "ab"}) for piece in "Hi!"
]
STOP = amazon.event("contentBlockStop", {"contentBlockIndex": 0})
END = amazon.event("messageStop", {"stopReason": "end_turn", "p": "abc"})
COST = amazon.event(
    "metadata", {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {"latencyMs": 9}}
)


def run(*pieces: bytes, **options: Any) -> tuple[list[Any], Exception | None]:
    events = list[Any]()
    try:
        events.extend((sk.Parse() | sk.Extract(**options) | sk.Accumulate()).run(pieces))
    except sk.StreamkitError as error:
        return events, error
    return events, None


def frames_of(name: str) -> bytes:
    """Return a fixture of named events in Bedrock's frames."""
    events = sk.Parse().run([(DATA / name).read_bytes()])
    return b"".join(amazon.event(found.event, json.loads(found.payload)) for found in events)


def texts(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, sk.TextDelta))


# Converse


def test_an_answer_in_frames_equals_the_one_in_events() -> None:
    events, error = run(frames_of("converse.sse"))

    assert error is None
    assert events == read((DATA / "converse.sse").read_bytes()).events
    assert events[-1] == sk.StreamEnd("tool_calls", saw_done=True)


def test_the_answer_does_not_depend_on_how_frames_are_split() -> None:
    body = frames_of("converse.sse")
    whole = run(body)

    assert run(*(body[at : at + 1] for at in range(len(body)))) == whole
    for size in (7, 64, 150, 1000):
        assert run(*(body[at : at + size] for at in range(0, len(body), size))) == whole


def test_usage_follows_the_stop_reason() -> None:
    events, _ = run(START, *TEXT, STOP, END, COST)

    *_, usage, completion, end = events
    details = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
    assert usage == sk.Usage(3, 4, 7, details=details)
    assert (completion.text, completion.usage) == ("Hi!", usage)
    assert end == sk.StreamEnd("completed", saw_done=True, provider_reason="end_turn")


def test_a_stop_reason_without_usage_is_an_end() -> None:
    events, _ = run(START, *TEXT, STOP, END)

    assert events[-1] == sk.StreamEnd("completed")


def test_metadata_without_a_stop_reason_is_not_an_end() -> None:
    events, _ = run(START, *TEXT, STOP, COST)

    assert events[-1].reason == "truncated"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "completed"),
        ("stop_sequence", "completed"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("tool_use", "tool_calls"),
        ("malformed_model_output", "provider_error"),
        ("something_new", "unknown"),
    ],
)
def test_every_stop_reason_has_a_meaning(word: str, reason: str) -> None:
    events, _ = run(START, *TEXT, STOP, amazon.event("messageStop", {"stopReason": word}), COST)

    assert (events[-1].reason, events[-1].provider_reason) == (reason, word)


def test_tools_of_the_caller_and_of_bedrock_are_distinguished() -> None:
    result = read((DATA / "converse-events.ndjson").read_bytes())

    assert result.choice.tool_calls == ()
    assert result.end.reason == "completed"
    said = [(delta.channel, delta.text) for delta in result.of(PartDelta)]
    assert said == [
        ("tool_input", '{"query":"blue'),
        ("tool_input", ' heron"}'),
        ("tool_output", '[{"text":"A wading bird."}'),
        ("tool_output", ',{"json":{"wings":2}}'),
        ("tool_output", "]"),
    ]
    assert [note.annotation["location"]["web"]["domain"] for note in result.of(Annotation)] == ["example.org"]


def test_a_call_without_input_has_an_empty_object_as_arguments() -> None:
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "now"}}}

    events, _ = run(START, amazon.event("contentBlockStart", start), STOP, END, COST)

    assert events[-2].choices[0].tool_calls == (ToolCall("t", "now", "{}"),)
    assert events[-1].reason == "tool_calls"


def test_a_cut_call_has_the_received_arguments_and_no_end() -> None:
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}
    piece = {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a":'}}}

    events, _ = run(START, amazon.event("contentBlockStart", start), amazon.event("contentBlockDelta", piece))

    assert events[-2].choices[0].tool_calls == (ToolCall("t", "f", '{"a":'),)
    assert not [event for event in events if isinstance(event, PartEnd)]
    assert events[-1].reason == "truncated"


def test_encrypted_reasoning_is_kept_whole() -> None:
    def delta(**said: str) -> bytes:
        return amazon.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": said}})

    events, _ = run(START, delta(redactedContent="aGVs"), delta(redactedContent="bG8="), STOP, END, COST)

    content = events[-2].to_dict()["output"]["message"]["content"]
    assert content == [{"reasoningContent": {"redactedContent": "aGVsbG8="}}]


def test_an_image_in_pieces_is_put_together() -> None:
    start = {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}
    pieces = [{"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": data}}}} for data in ("aGVs", "bG8=")]

    events, _ = run(
        START,
        amazon.event("contentBlockStart", start),
        *(amazon.event("contentBlockDelta", piece) for piece in pieces),
        STOP,
        END,
        COST,
    )

    content = events[-2].to_dict()["output"]["message"]["content"]
    assert content == [{"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}}]


def test_quotes_of_a_guardrail_are_in_no_event() -> None:
    found = {"name": "Email", "match": "alice@example.org", "action": "ANONYMIZED"}
    trace = {
        "guardrail": {
            "modelOutput": ["alice@example.org is her address"],
            "outputAssessments": {"g": [{"sensitiveInformationPolicy": {"piiEntities": [found]}}]},
        }
    }

    events, _ = run(START, *TEXT, STOP, END, amazon.event("metadata", {"usage": {}, "trace": trace}))

    assert b"alice" not in msgspec.json.encode([{**vars_of(event)} for event in events])
    (details,) = [event.details for event in events if isinstance(event, ResponseDetails) and "trace" in event.details]
    entity = details["trace"]["guardrail"]["outputAssessments"]["g"][0]["sensitiveInformationPolicy"]["piiEntities"][0]
    assert entity == {"name": "Email", "action": "ANONYMIZED"}


def vars_of(event: Any) -> dict[str, Any]:
    return {name: repr(value) for name, value in event.__rich_repr__()}


def test_an_unknown_kind_of_delta_is_a_notice() -> None:
    unknown = amazon.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"smell": {"of": "rain"}}})

    events, error = run(START, unknown, *TEXT, STOP, amazon.event("mood", {"good": True}), END, COST)

    assert error is None
    notices = [(event.kind, event.data) for event in events if isinstance(event, ProviderNotice)]
    assert notices == [("smell", {"smell": {"of": "rain"}}), ("mood", {"good": True})]
    assert texts(events) == "Hi!"


def test_two_answers_in_one_body_are_an_error() -> None:
    events, error = run(START, *TEXT, STOP, START, *TEXT)

    assert texts(events) == "Hi!"
    assert isinstance(error, sk.errors.ProtocolError)


def test_events_of_an_sdk_are_read_as_json_lines() -> None:
    stream = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}},
    ]

    events, _ = run(*(msgspec.json.encode(event) + b"\n" for event in stream))

    assert texts(events) == "Hi"
    assert events[-1] == sk.StreamEnd("completed", saw_done=True)


# Exceptions


@pytest.mark.parametrize(
    ("name", "retryable"),
    [
        ("throttlingException", True),
        ("serviceUnavailableException", True),
        ("internalServerException", True),
        ("modelStreamErrorException", True),
        ("modelTimeoutException", True),
        ("validationException", False),
    ],
)
@pytest.mark.parametrize("wire", ["converse", "anthropic", "first"])
def test_an_exception_ends_the_answer_and_keeps_the_events_before_it(name: str, retryable: bool, wire: str) -> None:
    before = {
        "converse": [START, *TEXT],
        "anthropic": [
            amazon.chunk({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}),
            amazon.chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi!"}}),
        ],
        "first": [],
    }[wire]

    events, error = run(*before, amazon.failure(name, "the prompt was: secret"), *TEXT)

    assert texts(events) == ("Hi!" if before else "")
    assert (events[-1].reason, events[-1].provider_reason) == ("provider_error", name)
    assert isinstance(error, sk.ProviderError)
    assert (error.type, error.detail, error.retryable) == (name, "the prompt was: secret", retryable)
    assert "secret" not in str(error)


def test_an_error_of_the_service_has_its_code() -> None:
    said = amazon.headers(error_code="InternalFailure", error_message="It broke", message_type="error")

    events, error = run(START, *TEXT, amazon.frame(b"", said))

    assert isinstance(error, sk.ProviderError)
    assert (error.code, error.detail) == ("InternalFailure", "It broke")
    assert events[-1].reason == "provider_error"


def test_an_exception_can_be_an_end_without_being_raised() -> None:
    events, error = run(START, *TEXT, amazon.failure("throttlingException", "m"), errors="emit")

    assert error is None
    assert (events[-1].reason, events[-1].provider_reason) == ("provider_error", "throttlingException")


def test_a_damaged_frame_keeps_the_text_before_it() -> None:
    damaged = bytearray(TEXT[2])
    damaged[-6] ^= 1

    events, error = run(START, *TEXT[:2], bytes(damaged))

    assert texts(events) == "Hi"
    assert type(error) is sk.errors.ProtocolError
    assert error.offset == len(START + TEXT[0] + TEXT[1])


# Models with their own format


MODELS = sorted(path.stem for path in DATA.glob("bedrock-*.sse"))
METRICS = {"inputTokenCount": 5, "outputTokenCount": 2, "invocationLatency": 300, "firstByteLatency": 200}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_its_own_format_is_read_from_frames(name: str) -> None:
    chunks = [json.loads(event.payload) for event in sk.Parse().run([(DATA / f"{name}.sse").read_bytes()])]
    chunks[-1]["amazon-bedrock-invocationMetrics"] = METRICS

    events, error = run(*map(amazon.chunk, chunks))

    assert error is None
    *_, completion, end = events
    assert completion.text.strip() == "Hello."
    assert completion.usage.prompt_tokens is not None
    assert completion.usage.completion_tokens is not None
    assert end.reason == ("length" if name == "bedrock-titan" else "completed")
    cut, _ = run(*map(amazon.chunk, chunks[:-1]))
    assert cut[-1].reason == "truncated"


def test_novas_events_in_chunks_equal_those_of_converse() -> None:
    events, _ = run(
        amazon.chunk({"messageStart": {"role": "assistant"}}),
        *(amazon.chunk({"contentBlockDelta": {"delta": {"text": word}, "contentBlockIndex": 0}}) for word in "Hi!"),
        amazon.chunk({"contentBlockStop": {"contentBlockIndex": 0}}),
        amazon.chunk({"messageStop": {"stopReason": "max_tokens"}}),
        amazon.chunk(
            {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}, "amazon-bedrock-invocationMetrics": METRICS}
        ),
    )

    assert texts(events) == "Hi!"
    assert events[-1] == sk.StreamEnd("length", saw_done=True)
    assert (events[-2].usage.prompt_tokens, events[-2].usage.completion_tokens) == (1, 2)


def test_mistrals_chat_has_pieces_of_messages_and_a_stop_reason() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"b":1}'}}
    messages = [{"role": "assistant", "content": "Hel"}, {"content": "lo"}, {"content": "", "tool_calls": [call]}]
    reasons = (None, None, "tool_calls")
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "message": message, "stop_reason": reason}]}
        for message, reason in zip(messages, reasons, strict=True)
    ]
    chunks[-1]["amazon-bedrock-invocationMetrics"] = METRICS

    events, error = run(*map(amazon.chunk, chunks))

    *_, completion, end = events
    assert error is None
    assert (texts(events), end.reason, end.provider_reason) == ("Hello", "tool_calls", "tool_calls")
    assert [(found.id, found.name, found.arguments) for found in completion.choices[0].tool_calls] == [
        ("a", "f", '{"b":1}')
    ]
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (5, 2)
    cut, _ = run(*map(amazon.chunk, chunks[:-1]))
    assert cut[-1].reason == "truncated"


@pytest.mark.parametrize(("reason", "end"), [("stop", "completed"), ("length", "length"), ("soon", "unknown")])
def test_a_non_streaming_answer_of_mistrals_chat_ends_with_its_stop_reason(reason: str, end: str) -> None:
    message = {"role": "assistant", "content": "Hello"}
    body = json.dumps({"choices": [{"index": 0, "message": message, "stop_reason": reason}]}).encode()

    *_, completion, found = (sk.Parse() | sk.Extract() | sk.Accumulate()).run([body])

    assert (completion.text, found.reason, found.provider_reason) == ("Hello", end, reason)


def test_calls_of_coheres_first_chat_are_emitted_once_after_the_text_before_them() -> None:
    plan = [{"event_type": "tool-calls-chunk", "text": word} for word in ("I ", "look.")]
    deltas = [{"name": "f"}, {"parameters": '{"a"'}, {"parameters": ":1}"}]
    pieces = [{"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, **delta}} for delta in deltas]
    calls = [{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {}}]
    whole = {"event_type": "tool-calls-generation", "text": "I look.", "tool_calls": calls}
    response = {"text": "I look.", "generation_id": "x", "tool_calls": calls, "finish_reason": "COMPLETE"}
    chunks: list[dict[str, Any]] = [
        {"event_type": "stream-start", "generation_id": "x"},
        *plan,
        *pieces,
        whole,
        {"event_type": "stream-end", "response": response, "amazon-bedrock-invocationMetrics": METRICS},
    ]

    events, error = run(*(amazon.chunk({"is_finished": False, **chunk}) for chunk in chunks))

    *_, completion, end = events
    (choice,) = completion.choices
    assert error is None
    assert (choice.text, choice.reasoning, end.reason) == ("", "I look.", "tool_calls")
    assert [(call.name, call.arguments) for call in choice.tool_calls] == [("f", '{"a":1}'), ("g", "{}")]
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (5, 2)
    assert completion.to_dict() == {**response}


def test_citations_of_coheres_first_chat_are_annotations() -> None:
    citation = {"start": 0, "end": 5, "text": "Hello", "document_ids": ["d"]}
    response = {"text": "Hello", "generation_id": "x", "citations": [citation], "finish_reason": "MAX_TOKENS"}
    chunks: list[dict[str, Any]] = [
        {"event_type": "stream-start", "generation_id": "x"},
        {"event_type": "search-results", "documents": [{"id": "d"}]},
        {"event_type": "text-generation", "text": "Hello"},
        {"event_type": "citation-generation", "citations": [citation]},
        {"event_type": "stream-end", "response": response},
    ]

    events, _ = run(*map(amazon.chunk, chunks))

    assert [event.annotation for event in events if isinstance(event, sk.events.Annotation)] == [citation]
    assert [event.kind for event in events if isinstance(event, sk.events.ProviderNotice)] == ["search-results"]
    assert (texts(events), events[-1].reason, events[-2].to_dict()) == ("Hello", "length", response)


def test_openais_chunks_in_frames_are_read_by_its_dialect() -> None:
    pieces = [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in "Hi!"]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "amazon-bedrock-invocationMetrics": METRICS}

    events, _ = run(*map(amazon.chunk, [*pieces, end]))

    assert texts(events) == "Hi!"
    assert events[-1].reason == "completed"
    assert (events[-2].usage.prompt_tokens, events[-2].usage.completion_tokens) == (5, 2)


@pytest.mark.parametrize(
    "first",
    [
        {"results": [{"generated_text": "a", "stop_reason": "not_finished"}]},
        {"generated_text": None, "token": {"text": "a", "id": 1}, "details": None},
        {"output": {"text": "a", "finish_reason": "null"}, "request_id": "r"},
        {"response": "a"},
        {"model": "m", "done": False, "response": "a"},
        {"value": "a"},
    ],
    ids=["watsonx", "tgi", "dashscope", "cloudflare", "ollama", "writer"],
)
def test_other_providers_chunks_are_not_mistaken_for_bedrocks(first: dict[str, Any]) -> None:
    own = (DIALECTS["bedrock"], DIALECTS["converse"])
    event = next(iter(sk.Parse().run([sse(first)])))

    assert not any(dialect.recognizes(event, first) for dialect in own)
