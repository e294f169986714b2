"""Accumulate: the response that would have come without streaming, whole at the end and so far at any time."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

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
    Usage,
)
from streamkit.events import (
    Annotation,
    AudioDelta,
    Choice,
    Flagged,
    Logprobs,
    Part,
    PartEnd,
    PartStart,
    Reset,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    ToolCall,
)
from streamkit.sse import Lines

DATA = Path(__file__).parents[1] / "data"
PAIRS = sorted(path.stem for path in DATA.glob("*.sse") if path.with_suffix(".json").is_file())
PIPELINE = Lines() | Parse() | Extract() | Accumulate()
END = StreamEnd("completed", True)


def completion_of(body: bytes) -> Completion:
    (found,) = (event for event in PIPELINE.run([body]) if isinstance(event, Completion))
    return found


def accumulate(*events: Event) -> Completion:
    """The event before the end of a stream of these events."""
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


@pytest.mark.parametrize(
    ("response", "choice", "message"),
    [
        (
            {"system_fingerprint": None, "service_tier": "default"},
            {"logprobs": None},
            {"refusal": None, "annotations": []},
        ),
        ({}, {}, {}),
        ({"provider": "Groq", "usage": None}, {"stop_reason": None, "seed": 3}, {"tool_calls": [], "audio": None}),
        (
            {"prompt_filter_results": []},
            {"content_filter_results": {"hate": {"filtered": False}}},
            {"reasoning": "Hm."},
        ),
        ({}, {"logprobs": {"content": []}}, {"reasoning_content": "Hm.", "reasoning": None}),
    ],
    ids=["OpenAI", "the least", "more and empty", "Azure", "reasoning"],
)
def test_a_plain_chat_completion_gives_itself_back(
    response: dict[str, Any], choice: dict[str, Any], message: dict[str, Any]
) -> None:
    said = {"role": "assistant", "content": "Hi", **message}
    plain = {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop", **choice}],
        **response,
    }

    assert completion_of(json.dumps(plain).encode()).to_dict() == plain


def test_what_else_a_plain_message_has_is_kept_only_if_it_is_no_text() -> None:
    message = {"role": "assistant", "content": "Hi", "notes": "Hi", "details": [{"text": "Hi"}], "refusal": None}
    plain = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    (choice,) = completion_of(json.dumps(plain).encode()).to_dict()["choices"]

    assert choice["message"] == {"role": "assistant", "content": "Hi", "refusal": None}


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


def test_content_is_none_where_none_was_sent() -> None:
    completion = accumulate(Finish("stop", 0), ToolCallDelta(0, "a", "f", "{}", 1))

    assert [choice.content for choice in completion.choices] == [None, None]
    assert [choice.text for choice in completion.choices] == ["", ""]


def test_choices_are_in_order_whatever_order_they_came_in() -> None:
    completion = accumulate(TextDelta("c", 2), TextDelta("a", 0), TextDelta("C", 2), ReasoningDelta("hm", 1))

    assert completion.choices == (Choice(0, "a"), Choice(1, None, reasoning="hm"), Choice(2, "cC"))
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

    assert snapshots[0] == Completion((Choice(0, role="assistant"),))
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


# Parts


def test_text_belongs_to_the_part_of_its_channel_that_started_last() -> None:
    completion = accumulate(
        PartStart("thinking", 0, {"type": "thinking"}, "reasoning"),
        ReasoningDelta("Hm"),
        PartStart("text", 1, {"type": "text"}, "content"),
        TextDelta("a"),
        ReasoningDelta("."),
        PartStart("text", 2, {"type": "text"}, "content"),
        TextDelta("b"),
        PartStart("text", 1, {}, "content"),
        TextDelta("c"),
        PartEnd(1, {"status": "completed"}),
        Annotation({"n": 1}, part=2),
        Logprobs({"content": [1]}, part=2),
        Logprobs({"content": [2]}, part=2),
    )

    assert completion.choices[0].parts == (
        Part("thinking", 0, {"type": "thinking"}, "Hm.", "reasoning"),
        Part("text", 1, {"type": "text", "status": "completed"}, "ac", "content"),
        Part("text", 2, {"type": "text"}, "b", "content", annotations=({"n": 1},), logprobs={"content": [1, 2]}),
    )
    assert completion.text == "abc"


def test_text_before_the_first_part_belongs_to_it() -> None:
    completion = accumulate(TextDelta("a"), PartStart("text", 0, {}, "content"), TextDelta("b"))

    assert [part.text for part in completion.choices[0].parts] == ["ab"]


def test_the_end_of_a_part_that_never_started_says_nothing() -> None:
    assert accumulate(TextDelta("a"), PartEnd(3, {"x": 1})).choices[0].parts == ()


def test_details_of_the_response_and_of_a_choice_add_up() -> None:
    completion = accumulate(
        ResponseDetails({"a": 1, "b": 1}, "gemini"),
        ResponseDetails({"b": 2}),
        ResponseDetails({"c": 3}, index=0),
        TextDelta("Hi"),
    )

    assert (completion.shape, completion.details) == ("gemini", {"a": 1, "b": 2})
    assert completion.choices[0].details == {"c": 3}


# Limits


@pytest.mark.parametrize(
    ("limits", "events", "kept"),
    [
        ({"max_chars": 3}, [TextDelta("ab"), TextDelta("c"), TextDelta("d")], 2),
        ({"max_chars": 3}, [TextDelta("ab"), ReasoningDelta("c"), TextDelta("d", 1)], 2),
        ({"max_chars": 3}, [TextDelta("ab"), RefusalDelta("cd")], 1),
        ({"max_chars": 3}, [AudioDelta("AAA="), TextDelta("a")], 0),
        ({"max_chars": 0}, [ResponseStart("c-1"), TextDelta("a")], 1),
        ({"max_tool_chars": 3}, [TextDelta("abcd"), ToolCallDelta(0, "t", "f", "{"), ToolCallDelta(1, arguments="[1]")], 2),
    ],
)  # fmt: skip
def test_what_would_pass_a_limit_is_dropped_and_the_stream_ends(
    limits: dict[str, int], events: list[Event], kept: int
) -> None:
    for given in (events, [*events, Finish("stop"), END]):
        out = list(Accumulate(**limits).run(given))

        *passed, completion, end = out
        assert passed == events[:kept]
        assert isinstance(completion, Completion)
        assert isinstance(end, StreamEnd)
        assert (completion.end, end.reason) == ("limit", "limit")


def test_a_limit_that_is_reached_and_not_passed_is_none() -> None:
    events: list[Event] = [TextDelta("abc"), ToolCallDelta(arguments="{}"), Finish("stop"), END]

    *_, completion, end = Accumulate(max_chars=3, max_tool_chars=2).run(events)

    assert isinstance(completion, Completion)
    assert (completion.text, end) == ("abc", END)


@pytest.mark.parametrize("burst", [list, iter], ids=["one burst", "one item each"])
@pytest.mark.parametrize(("text", "reason"), [("abc", "completed"), ("abcd", "limit")])
def test_only_events_after_a_reset_count_toward_a_limit(burst: Any, text: str, reason: str) -> None:
    texts: list[Event] = [TextDelta("ab"), Reset("failed"), TextDelta("c"), TextDelta(text[1:]), END]
    calls: list[Event] = [ToolCallDelta(arguments="ab"), Reset("failed"), ToolCallDelta(arguments=text), END]

    for events in (texts, calls):
        *_, end = Accumulate(max_chars=3, max_tool_chars=3).run(burst(events))

        assert isinstance(end, StreamEnd)
        assert end.reason == reason


def test_the_end_at_a_limit_names_the_choices_that_were_open() -> None:
    events: list[Event] = [TextDelta("a"), Finish("stop"), TextDelta("b", 1), TextDelta("c", 1)]

    *_, end = Accumulate(max_chars=2).run(events)

    assert end == StreamEnd("limit", open_choices=(1,))


@pytest.mark.parametrize("cut", [1, 2, 5, 100])
def test_a_limit_is_the_same_for_any_cuts_of_the_bytes(cut: int) -> None:
    body = (DATA / "chat-n2-usage.sse").read_bytes()
    pipeline = Lines() | Parse() | Extract() | Accumulate(max_chars=5)

    assert list(pipeline.run(body[at : at + cut] for at in range(0, len(body), cut))) == list(pipeline.run([body]))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_at_a_limit_the_source_is_closed() -> None:
    closed, sent = list[bool](), 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal sent
        try:
            while True:
                sent += 1
                yield b'data: {"choices": [{"index": 0, "delta": {"content": "abc"}}]}\n\n'
        finally:
            closed.append(True)

    async with source() | (Lines() | Parse() | Extract() | Accumulate(max_chars=8)) as events:
        *_, completion, end = [event async for event in events]
        assert closed == [True]

    assert isinstance(completion, Completion)
    assert (completion.text, end) == ("abcabc", StreamEnd("limit", open_choices=(0,)))
    assert sent == 3


def test_after_a_reset_the_answer_is_that_of_the_other_source() -> None:
    events = [
        ResponseStart("1", model="one"),
        TextDelta("Half an"),
        Usage(1, 2),
        Reset("Disconnected"),
        ResponseStart("2", model="other"),
        TextDelta("Hello"),
        StreamEnd("completed"),
    ]

    *passed, completion, end = Accumulate().run(events)

    assert [*passed, end] == events
    assert isinstance(completion, Completion)
    assert (completion.id, completion.model, completion.text, completion.usage) == ("2", "other", "Hello", None)
    assert completion.conflicts == {}
