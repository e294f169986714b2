"""Google's Interactions API: steps and, in its first version, contents."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.interactions import GeminiInteractions
from tests.dialects.streams import DATA, Result, read, sse

STEPS = (DATA / "interactions.sse").read_bytes()
CONTENTS = (DATA / "interactions-contents.sse").read_bytes()
HEAD = {"id": "v1", "object": "interaction", "model": "m"}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": kind, **fields}


def start(step: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("step.start", index=index, step=step)


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return event("step.delta", index=index, delta=fields)


def completed(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return event("interaction.completed", interaction={**HEAD, "status": status, **fields})


CREATED = event("interaction.created", interaction={**HEAD, "status": "in_progress"})
STOP = event("step.stop", index=0)


def result(*events: dict[str, Any], end: dict[str, Any] | None = None) -> Result:
    return read(sse(CREATED, *events, end or completed()))


def test_steps_are_emitted_in_order() -> None:
    found = read(STEPS)
    choice, usage = found.choice, found.completion.usage

    assert (choice.reasoning, choice.text) == ("Two cities. Then ask.", "Grüße 👩‍💻.")
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [
        ("fc_1", "weather", '{"city":"Zürich"}'),
        ("fc_2", "now", "{}"),
    ]
    assert [(part.kind, part.within) for part in choice.parts] == [
        ("thought", None),
        ("text", 0),
        ("google_search_call", None),
        ("model_output", None),
        ("text", 3),
        ("image", 3),
        ("function_call", None),
        ("function_call", None),
    ]
    assert [note["type"] for note in choice.parts[4].annotations] == ["url_citation"]
    assert choice.parts[0].data["signature"] == "c2lnMQ=="
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (12, 50, 62)
    assert (choice.finish_reason, found.end.reason) == ("requires_action", "tool_calls")
    assert (found.completion.id, found.completion.model) == ("v1_abc", "gemini-3-flash")


def test_the_first_version_of_the_api_is_read_too() -> None:
    found = read(CONTENTS)

    assert (found.choice.reasoning, found.choice.text) == ("Hm.", "Grüße!")
    assert found.end == sk.StreamEnd("completed", saw_done=True)
    assert "steps" not in found.completion.to_dict()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("completed", "completed"),
        ("requires_action", "tool_calls"),
        ("incomplete", "length"),
        ("budget_exceeded", "length"),
        ("cancelled", "cancelled"),
        ("in_progress", "truncated"),
    ],
)
def test_how_an_interaction_ends(status: str, reason: str) -> None:
    found = result(start({"type": "model_output"}), delta(type="text", text="Hi"), STOP, end=completed(status))

    assert (found.choice.finish_reason, found.end.reason) == (status, reason)


def test_a_failed_interaction_is_an_error_with_the_providers_message_in_detail() -> None:
    error = {"code": "internal", "message": "a secret prompt"}

    found = result(end=completed("failed", errors=[error]))

    assert isinstance(found.error, sk.ProviderError)
    assert (found.error.code, found.error.detail) == ("internal", "a secret prompt")
    assert "secret" not in str(found.error)


def test_an_error_event_ends_the_answer_after_the_events_before_it() -> None:
    error = {"code": "overloaded", "message": "m"}
    found = read(
        sse(CREATED, start({"type": "model_output"}), delta(type="text", text="Hi"), event("error", error=error))
    )

    assert found.completion.text == "Hi"
    assert found.end == sk.StreamEnd("provider_error", open_choices=(0,))
    assert isinstance(found.error, sk.ProviderError)
    assert found.error.code == "overloaded"


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_stream_without_its_completion_is_truncated(cut: int) -> None:
    blocks = STEPS.split(b"\n\n")[:-3]

    assert read(b"\n\n".join(blocks[: len(blocks) * cut // 5]) + b"\n\n").end.reason == "truncated"


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        ([start({"type": "function_call", "id": "c", "name": "f", "arguments": {}})], "{}"),
        ([start({"type": "function_call", "id": "c", "name": "f"})], "{}"),
        ([start({"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}})], '{"a":1}'),
        (
            [
                start({"type": "function_call", "id": "c", "name": "f", "arguments": {}}),
                delta(type="arguments_delta", arguments='{"a":'),
                delta(type="arguments_delta", arguments="1}"),
            ],
            '{"a":1}',
        ),
        (
            [start({"type": "function_call"}), delta(type="function_call", id="c", name="f", arguments={"a": 1})],
            '{"a":1}',
        ),
    ],
    ids=["an empty object", "none", "at the start", "in pieces", "whole in a delta"],
)
def test_the_arguments_of_a_call(events: list[dict[str, Any]], arguments: str) -> None:
    found = result(*events, STOP)

    assert [(c.id, c.name, c.arguments) for c in found.choice.tool_calls] == [("c", "f", arguments)]


def test_content_only_in_the_completion_is_emitted() -> None:
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "Hello"}]},
        {"type": "thought", "summary": [{"type": "text", "text": "Hm."}], "signature": "c2ln"},
        {"type": "model_output", "content": [{"type": "text", "text": "Hi"}]},
    ]

    found = result(end=completed(steps=steps))

    assert (found.choice.reasoning, found.choice.content) == ("Hm.", "Hi")
    assert found.completion.to_dict()["steps"] == steps[1:]


def test_deltas_without_a_start_are_read() -> None:
    found = result(
        delta(type="thought_summary", content={"type": "text", "text": "Hm"}), delta(1, type="text", text="Hi")
    )

    assert (found.choice.reasoning, found.choice.content) == ("Hm", "Hi")


def test_the_usage_of_a_status_is_not_lost() -> None:
    status = event("interaction.status_update", status="in_progress", usage={"total_input_tokens": 7})

    found = result(status, end=completed(usage={"total_input_tokens": 0, "total_output_tokens": 2, "total_tokens": 9}))

    assert found.completion.usage is not None
    assert (found.completion.usage.prompt_tokens, found.completion.usage.total_tokens) == (7, 9)


def test_an_unknown_event_is_a_notice() -> None:
    found = result(
        event("interaction.new", a=1), start({"type": "new_step", "x": 1}), delta(type="new_step", y=2), STOP
    )

    assert found.notices("interaction.new") == [event("interaction.new", a=1)]
    assert found.choice.parts[0].data == {"type": "new_step", "x": 1, "y": 2}


@pytest.mark.parametrize(
    "body", [STEPS, CONTENTS, (DATA / "interactions.json").read_bytes()], ids=["steps", "contents", "plain"]
)
def test_the_first_event_identifies_the_dialect(body: bytes) -> None:
    first = next(iter(sk.Parse().run([body])))

    assert for_event(first) is GeminiInteractions


def test_moderation_sees_thoughts_and_text() -> None:
    rule = sk.Rule("x", ("cities", "Grüße"), replacement="[x]")
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(rule) | sk.Accumulate()

    completion = next(event for event in pipeline.run([STEPS]) if isinstance(event, sk.Completion))

    steps = completion.to_dict()["steps"]
    assert steps[0]["summary"][0]["text"] == "Two [x]. Then ask."
    assert "cities" not in json.dumps(steps)
