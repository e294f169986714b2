"""Accumulate: the response that would have come without streaming, whole at the end and so far at any time."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamkit import (
    Accumulate,
    Choice,
    Completion,
    Event,
    Extract,
    Finish,
    Flagged,
    Lines,
    Logprobs,
    Parse,
    ProviderError,
    ReasoningDelta,
    ResponseStart,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

DATA = Path(__file__).parents[1] / "data"
PAIRS = sorted(path.stem for path in DATA.glob("*.sse") if path.with_suffix(".json").is_file())
PIPELINE = Lines() | Parse() | Extract() | Accumulate()
END = StreamEnd("completed", True)


def completion_of(body: bytes) -> Completion:
    (found,) = (event for event in PIPELINE.run([body]) if isinstance(event, Completion))
    return found


def accumulate(*events: Event) -> Completion:
    """What comes before the end of a stream of these events."""
    *passed, completion, end = Accumulate().run([*events, END])
    assert passed == list(events)
    assert end == END
    assert isinstance(completion, Completion)
    return completion


def test_there_are_pairs_of_both_apis() -> None:
    assert {"chat-tools", "chat-n2-usage", "chat-refusal", "legacy-logprobs"} <= set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_the_streamed_answer_is_the_plain_one(name: str) -> None:
    streamed, plain = (DATA / f"{name}.sse").read_bytes(), json.loads((DATA / f"{name}.json").read_bytes())

    assert completion_of(streamed).to_dict() == plain


@pytest.mark.parametrize("name", PAIRS)
def test_the_plain_answer_through_the_same_pipeline_gives_the_same_completion(name: str) -> None:
    streamed, plain = (DATA / f"{name}.sse").read_bytes(), (DATA / f"{name}.json").read_bytes()

    assert completion_of(plain) == completion_of(streamed)
    assert completion_of(plain).to_dict() == json.loads(plain)


@pytest.mark.parametrize("name", PAIRS)
def test_what_it_makes_can_be_sent_as_json(name: str) -> None:
    plain = completion_of((DATA / f"{name}.sse").read_bytes()).to_dict()

    assert json.loads(json.dumps(plain)) == plain


def test_every_event_passes_and_the_completion_stands_before_the_end() -> None:
    events: list[Event] = [
        ResponseStart("c-1"),
        TextDelta("a"),
        Flagged("x", 0, 1),
        Usage(total_tokens=1),
        Finish("stop"),
        END,
    ]

    assert [type(event).__name__ for event in Accumulate().run(iter(events))] == [
        "ResponseStart",
        "TextDelta",
        "Flagged",
        "Usage",
        "Finish",
        "Completion",
        "StreamEnd",
    ]


def test_the_completion_knows_why_the_stream_ended() -> None:
    *_, completion, _ = Accumulate().run([TextDelta("a"), StreamEnd("truncated")])

    assert completion == Completion((Choice(0, "a"),), end="truncated")


def test_a_stream_without_a_last_event_has_a_completion_at_its_end_all_the_same() -> None:
    assert list(Accumulate().run([TextDelta("a")])) == [TextDelta("a"), Completion((Choice(0, "a"),))]


def test_an_answer_without_a_chunk_is_an_empty_completion() -> None:
    completion = accumulate()

    assert completion == Completion(end="completed")
    assert completion.text == ""
    assert completion.to_dict() == {
        "id": None,
        "object": "chat.completion",
        "created": None,
        "model": None,
        "choices": [],
    }


def test_a_choice_that_said_nothing_has_empty_text_and_one_that_called_a_tool_has_none() -> None:
    completion = accumulate(Finish("stop", 0), ToolCallDelta(0, "a", "f", "{}", 1))

    assert [choice.content for choice in completion.choices] == ["", None]
    assert [choice.text for choice in completion.choices] == ["", ""]


def test_choices_are_in_order_whatever_order_they_came_in() -> None:
    completion = accumulate(TextDelta("c", 2), TextDelta("a", 0), TextDelta("C", 2), ReasoningDelta("hm", 1))

    assert completion.choices == (Choice(0, "a"), Choice(1, "", reasoning="hm"), Choice(2, "cC"))
    assert completion.text == "a"


def test_tool_calls_are_in_order_and_their_arguments_verbatim() -> None:
    completion = accumulate(
        ToolCallDelta(1, "b", "g", "not "),
        ToolCallDelta(0, "a", "f", type="function"),
        ToolCallDelta(1, arguments="json"),
    )

    assert completion.choices[0].tool_calls == (ToolCall("a", "f", "", 0), ToolCall("b", "g", "not json", 1))


def test_the_last_usage_counts() -> None:
    completion = accumulate(
        Usage(total_tokens=1, details={"total_tokens": 1}), Usage(total_tokens=3, details={"total_tokens": 3})
    )

    assert completion.usage == Usage(total_tokens=3, details={"total_tokens": 3})


# Identity


def test_identity_may_come_piece_by_piece() -> None:
    completion = accumulate(ResponseStart("c-1"), ResponseStart(model="m", created=17))

    assert (completion.id, completion.model, completion.created, completion.conflicts) == ("c-1", "m", 17, {})


@pytest.mark.parametrize(
    ("events", "conflicts"),
    [
        ([ResponseStart("c-1"), ResponseStart("c-2"), ResponseStart("c-1")], {"id": "c-2"}),
        ([ResponseStart(model="m", created=17), ResponseStart(model="n", created=17)], {"model": "n"}),
        (
            [ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(0, "b", "f", "}")],
            {"choices[0].tool_calls[0].id": "b"},
        ),
        (
            [ToolCallDelta(1, "a", "f", "", 2), ToolCallDelta(1, "a", "g", "", 2)],
            {"choices[2].tool_calls[1].name": "g"},
        ),
        ([ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(0, "a", "f", "}")], {}),
        ([ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(0, "", "", "}")], {}),
    ],
    ids=["id", "model", "the id of a call", "the name of a call", "said again", "said empty"],
)
def test_what_a_later_chunk_says_instead_is_a_conflict(events: list[Event], conflicts: dict[str, Any]) -> None:
    assert accumulate(*events).conflicts == conflicts


def test_what_was_said_first_stays() -> None:
    completion = accumulate(
        ResponseStart("c-1"), ToolCallDelta(0, "a", "f", "{"), ResponseStart("c-2"), ToolCallDelta(0, "b", "g", "}")
    )

    assert completion.id == "c-1"
    assert completion.choices[0].tool_calls == (ToolCall("a", "f", "{}"),)


# In mid-stream


def test_a_snapshot_is_the_completion_so_far() -> None:
    run = Accumulate().run(
        iter([RoleDelta("assistant"), TextDelta("Half"), TextDelta(" an"), TextDelta(" answer"), END])
    )
    stage = run.stage(Accumulate)
    snapshots = [stage.snapshot for _ in zip(range(3), run, strict=False)]

    assert snapshots[0] == Completion((Choice(0, "", role="assistant"),))
    assert snapshots[2] == Completion((Choice(0, "Half an", role="assistant"),))
    assert snapshots[2].to_dict()["choices"][0]["message"]["content"] == "Half an"


def test_a_snapshot_does_not_change_afterwards() -> None:
    stage = Accumulate().fresh()
    first: list[Event] = [
        ResponseStart("c-1"),
        TextDelta("a"),
        Logprobs({"content": [{"token": "a"}]}),
        ToolCallDelta(0, "t", "f", "{"),
        Usage(total_tokens=1, details={"total_tokens": 1}),
    ]
    list(stage.feed_all(first))
    snapshot, before = stage.snapshot, json.dumps(stage.snapshot.to_dict())

    list(stage.feed_all([ResponseStart("c-2"), *first[1:], Finish("stop"), END]))

    assert json.dumps(snapshot.to_dict()) == before
    assert (snapshot.conflicts, snapshot.end) == ({}, None)


def test_the_events_that_came_in_do_not_change_either() -> None:
    first, second = Logprobs({"tokens": ["a"], "x": None}), Logprobs({"tokens": ["b"], "x": [1]})

    completion = accumulate(first, second)

    assert completion.choices[0].logprobs == {"tokens": ["a", "b"], "x": [1]}
    assert (first.logprobs, second.logprobs) == ({"tokens": ["a"], "x": None}, {"tokens": ["b"], "x": [1]})


def test_an_answer_that_fails_leaves_what_came() -> None:
    run, events = (
        PIPELINE.run([b'data: {"choices":[{"delta":{"content":"Half an"}}]}\n\ndata: {"error":{"code":500}}\n\n']),
        list[Event](),
    )
    with pytest.raises(ProviderError):
        events.extend(run)

    assert events[-2:] == [
        Completion((Choice(0, "Half an"),), end="provider_error"),
        StreamEnd("provider_error", False, (0,)),
    ]
    assert run.stage(Accumulate).snapshot.text == "Half an"
