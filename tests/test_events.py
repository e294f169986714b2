"""Events: small frozen values in one union."""

import copy
import dataclasses
import gc
import inspect
import pickle
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from rich.pretty import pretty_repr

import streamkit as sk
from streamkit import events
from streamkit.completion import EventBase
from streamkit.events import EndReason

MEMBERS: tuple[type[Any], ...] = get_args(sk.Event)
EXAMPLES: list[sk.Event] = [
    sk.events.ResponseStart("id", "chat.completion", 1, "model", "fp", "tier"),
    sk.events.RoleDelta("assistant", 1),
    sk.TextDelta("text", 1),
    sk.ReasoningDelta("text", 1),
    sk.RefusalDelta("text", 1),
    sk.ToolCallDelta(1, "id", "name", "{}", 1, "function"),
    sk.events.AudioDelta("UklG", "hi", "id", 1, 1),
    sk.events.Annotation({"type": "url_citation"}, 1),
    sk.events.Logprobs({"content": []}, 1),
    sk.Finish("stop", 1),
    sk.Usage(1, 2, 3, {"prompt_tokens": 1}),
    sk.TokenCount(1, "reasoning", 1, "o200k_base", False),
    sk.TokenCount(1, "tool_arguments", 1, "o200k_base", False, 2),
    sk.UsageReport(
        *("provider", 36, 301, 337, 0, 0, 300, 36, True, 1, sk.Usage(36, 301, 337), Decimal("0.1"), "USD", "m", "n"),
        cache_write_tokens=7,
        provider_cost=Decimal("0.2"),
    ),
    sk.events.Flagged("category", 1, 2, "refusal", 1),
    sk.Redacted("category", 1, 2, "refusal", 1),
    sk.Blocked("category", 1, 2, "tool_arguments", 1, "high", 3, "rules", "stop"),
    sk.events.Retracted("category", 1, 2, 0, 1, "refusal", 1, "*"),
    sk.events.HoldExceeded("seconds", "block", 1, 2, "refusal", 1),
    sk.events.Skipped("TextDelta", "ValueError", 2, 7),
    sk.events.ToolOutput("weather", {"degrees": 18}, "c1", 1, failed=True),
    sk.events.TurnEnd(1, "tool_calls", 2, sk.Usage(prompt_tokens=1)),
    sk.events.Checked("flagged", 1, 2, "refusal", 1, "category", {"category": 0.5}, "timeout", 2, 3, 0.5, 1.5),
    sk.events.ModerationReport(5, 1, 2, 3, 4, 0.5, 0.25, True, 10),
    sk.Blocked("category", 1, 2, "refusal", 1),
    sk.events.ResponseDetails({"a": None}, "anthropic"),
    sk.events.PartStart("text", 0, {"type": "text"}, "content"),
    sk.events.PartEnd(0, {"signature": "c2ln"}),
    sk.events.PartDelta("print(1)", "code", 1, ("code",), False, 1),
    sk.events.ProviderNotice("kind", {"a": 1}, 1),
    sk.events.Reset("Disconnected"),
    sk.events.PartialOutput({"a": 1}, True, 1, "id", "name", 1),
    sk.StructuredOutput({"a": 1}, 1, "id", "name", 1),
    sk.events.InvalidOutput("invalid", "$.a", "expected this", 1, "id", "name", 1),
    sk.Timings(0.1, 0.2, (0.2, 0.3), 0.4),
    sk.Timings(None, None, (), None, 5),
    sk.Completion(
        (
            sk.events.Choice(
                0,
                "text",
                tool_calls=(sk.events.ToolCall("id"),),
                verdicts=(sk.events.Verdict("redact", "category", 1, 2),),
            ),
        ),
        sk.Usage(1),
        end="completed",
        moderation=sk.events.ModerationReport(5),
    ),
    sk.StreamEnd("length", True, (1,)),
]
every_event = pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)


def test_the_union_is_every_event_there_is_and_each_is_a_public_name() -> None:
    made = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if hasattr(kind, "raw")}

    assert {kind for kind in made if not kind.__name__.startswith("_")} - {EventBase} == set(MEMBERS)
    assert {type(event) for event in EXAMPLES} == set(MEMBERS)
    assert {kind.__name__ for kind in MEMBERS} <= set(events.__all__)


@every_event
def test_an_event_cannot_be_changed(event: sk.Event) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        event.payload = "other"  # type: ignore[misc]


@every_event
def test_events_are_compared_by_what_they_say_and_not_by_where_it_came_from(event: sk.Event) -> None:
    with_payload = msgspec.structs.replace(event, payload='{"from": "elsewhere"}')

    assert with_payload == event
    assert copy.copy(event) == event
    assert event != msgspec.structs.replace(sk.events.RoleDelta("user"), index=9)
    assert event != "text"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (sk.TextDelta("a"), sk.TextDelta("b")),
        (sk.TextDelta("a"), sk.TextDelta("a", 1)),
        (sk.TextDelta("a"), sk.ReasoningDelta("a")),
        (sk.events.Flagged("a", 0, 1), sk.Redacted("a", 0, 1)),
        (sk.StreamEnd("completed"), sk.StreamEnd("completed", saw_done=True)),
    ],
    ids=str,
)
def test_events_that_say_something_else_are_not_equal(one: sk.Event, other: sk.Event) -> None:
    assert one != other
    assert len({one, other}) == 2


def test_equal_events_have_one_hash() -> None:
    assert len({sk.TextDelta("a"), sk.TextDelta("a", payload="{}"), sk.TextDelta("a", 0)}) == 1


@every_event
def test_an_event_shows_its_fields_and_not_its_payload(event: sk.Event) -> None:
    shown = repr(msgspec.structs.replace(event, payload="secret"))

    assert shown == repr(event)
    assert shown.startswith(f"{type(event).__name__}(")
    assert "payload" not in shown
    assert "secret" not in pretty_repr(msgspec.structs.replace(event, payload="secret"))


def test_how_an_event_shows_itself() -> None:
    assert repr(sk.TextDelta("hé", 1)) == "TextDelta(text='hé', index=1)"
    assert repr(sk.StreamEnd("length")) == "StreamEnd(reason='length', saw_done=False, open_choices=())"
    assert repr(sk.StreamEnd("unknown", True, provider_reason="x")) == (
        "StreamEnd(reason='unknown', saw_done=True, open_choices=(), provider_reason='x')"
    )


def test_raw_is_the_providers_own_chunk() -> None:
    (details, text, _) = (sk.Parse() | sk.Extract()).run(
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"x_provider":{"fast":true}}\n\n'
    )

    assert (details, text) == (sk.events.ResponseDetails({"x_provider": {"fast": True}}), sk.TextDelta("a"))
    assert (
        text.raw == details.raw == {"choices": [{"index": 0, "delta": {"content": "a"}}], "x_provider": {"fast": True}}
    )


def test_raw_of_an_event_that_streamkit_made_is_none() -> None:
    assert sk.TextDelta("a").raw is None
    assert sk.StreamEnd("completed").raw is None


@every_event
def test_an_event_survives_pickle(event: sk.Event) -> None:
    assert pickle.loads(pickle.dumps(event)) == event


@every_event
def test_an_event_survives_json(event: sk.Event) -> None:
    data = msgspec.json.encode(event)

    assert msgspec.json.decode(data, type=type(event)) == event


@every_event
def test_an_event_can_be_matched_by_its_class_and_fields(event: sk.Event) -> None:
    assert type(event).__match_args__ == tuple(name for name in event.__struct_fields__ if name != "payload")


def test_match_takes_an_event_apart() -> None:
    def tell(event: sk.Event) -> str:
        match event:
            case sk.TextDelta(text, index):
                return f"{text} of {index}"
            case sk.Finish(finish_reason="stop"):
                return "stopped"
            case sk.StreamEnd(reason="completed" | "length" as reason):
                return reason
            case _:
                return "another"

    told = [sk.TextDelta("a", 2), sk.Finish("stop"), sk.StreamEnd("length"), sk.Finish("length")]
    assert [tell(event) for event in told] == ["a of 2", "stopped", "length", "another"]


def test_an_event_of_text_costs_the_garbage_collector_nothing() -> None:
    assert not gc.is_tracked(sk.TextDelta("a"))


def test_the_reasons_a_stream_can_end_for() -> None:
    assert set(get_args(EndReason)) == {
        "completed",
        "length",
        "content_filter",
        "tool_calls",
        "unknown",
        "truncated",
        "provider_error",
        "moderated",
        "cancelled",
        "timeout",
        "limit",
        "error",
    }


# Completion


def test_text_is_the_first_choices_text() -> None:
    assert sk.Completion().text == ""
    assert sk.Completion((sk.events.Choice(0),)).text == ""
    assert sk.Completion((sk.events.Choice(0, "a"), sk.events.Choice(1, "b"))).text == "a"


def test_a_completion_as_the_response_without_streaming() -> None:
    completion = sk.Completion(
        (
            sk.events.Choice(0, "hi", "stop", role="assistant"),
            sk.events.Choice(1, None, "tool_calls", tool_calls=(sk.events.ToolCall("call_1", "f", "{}"),)),
        ),
        sk.Usage(1, 2, 3, {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        id="chatcmpl-1",
        object="chat.completion",
        created=1,
        model="gpt-4o",
        system_fingerprint="fp",
    )

    response = completion.to_dict()

    assert response["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert response["system_fingerprint"] == "fp"
    assert [choice["message"]["content"] for choice in response["choices"]] == ["hi", None]
    assert response["choices"][1]["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
    assert msgspec.json.decode(msgspec.json.encode(response)) == response


def test_choices_of_a_completion_are_values_too() -> None:
    assert sk.events.Choice(0, "a") == sk.events.Choice(0, "a")
    with pytest.raises(AttributeError, match="immutable"):
        sk.events.Choice(0).index = 1  # type: ignore[misc]
    assert not dataclasses.is_dataclass(sk.events.Choice)


@every_event
def test_an_event_has_a_json_form_that_reads_back(event: sk.Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=sk.Event) == event


def test_the_json_form_names_the_class_and_leaves_out_what_was_not_said() -> None:
    assert msgspec.json.encode(sk.TextDelta("Hi", 1)) == b'{"event":"TextDelta","text":"Hi","index":1}'
    assert msgspec.json.encode(sk.StreamEnd("length")) == b'{"event":"StreamEnd","reason":"length"}'


def test_what_only_a_plain_answer_tells_makes_no_difference_between_answers() -> None:
    plain, streamed = sk.events.Choice(0, "Hi", details={"message": {"annotations": []}}), sk.events.Choice(0, "Hi")

    assert plain == streamed
    assert hash(plain) == hash(streamed)
    assert plain != sk.events.Choice(0, "Ho")
    assert plain != "Hi"
    assert sk.Completion((plain,), details={"provider": "x"}) == sk.Completion((streamed,))
