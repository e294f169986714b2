"""Typed views: one kind of content of a stream, without the union of all events."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import msgspec
import pytest

import streamkit as sk
from streamkit import hops, ops
from streamkit.events import Reset, ResponseStart, ToolCall

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("tool_calls", True)
ANSWER = [
    ResponseStart("r1"),
    sk.ReasoningDelta("Let me see. "),
    sk.TextDelta("I will "),
    sk.TextDelta("not this", 1),
    sk.TextDelta("look."),
    sk.ToolCallDelta(0, "c1", "weather", '{"city": '),
    sk.ToolCallDelta(1, "c2", "time", "{}"),
    sk.ToolCallDelta(0, arguments='"Oslo"}'),
    sk.Finish("tool_calls"),
    sk.Usage(prompt_tokens=3, completion_tokens=5),
    END,
]


class City(msgspec.Struct):
    city: str


class Watched(sk.Source[Any]):
    def __init__(self, *bursts: list[Any], error: Exception | None = None) -> None:
        self.bursts = iter(bursts)
        self.error = error
        self.closed = False

    async def read(self) -> Sequence[Any]:
        await anyio.lowlevel.checkpoint()
        burst = next(self.bursts, None)
        if burst is None and self.error:
            raise self.error
        return burst or []

    async def close(self) -> None:
        self.closed = True


def stream(*events: Any) -> sk.Stream[Any]:
    return Watched(*[[event] for event in events or ANSWER]) | ops.Coalesce()


async def all_of(view: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in view]


async def test_each_view_has_one_kind_of_thing() -> None:
    assert await all_of(stream().texts()) == ["I will ", "look."]
    assert await all_of(stream().texts(1)) == ["not this"]
    assert await all_of(stream().texts(None)) == ["I will ", "not this", "look."]
    assert await all_of(stream().reasoning()) == ["Let me see. "]
    assert await stream().usage() == sk.Usage(prompt_tokens=3, completion_tokens=5)
    assert await all_of(stream().tool_calls()) == [
        ToolCall("c1", "weather", '{"city": "Oslo"}', 0),
        ToolCall("c2", "time", "{}", 1),
    ]


async def test_a_view_closes_the_source_and_the_stream_has_the_end() -> None:
    source = Watched(ANSWER)
    answer = source | ops.Coalesce()

    assert await all_of(answer.texts()) == ["I will ", "look."]

    assert (source.closed, answer.end) == (True, END)


async def test_leaving_a_view_early_leaves_nothing_open() -> None:
    source = Watched(ANSWER)

    async with source | ops.Coalesce() as answer:
        async for text in answer.texts():
            assert text == "I will "
            break

    assert source.closed


async def test_a_closed_view_has_closed_the_stream() -> None:
    source = Watched(ANSWER)
    view = (source | ops.Coalesce()).texts()
    assert await anext(view) == "I will "

    await view.aclose()
    await view.aclose()

    assert (source.closed, await all_of(view)) == (True, [])


@pytest.mark.parametrize("reason", ["length", "truncated", "content_filter", "moderated", "unknown", "cancelled"])
async def test_a_call_that_may_be_cut_short_is_not_returned(reason: Any) -> None:
    call = sk.ToolCallDelta(0, "c1", "delete", '{"path": "/tmp"}')

    assert await all_of(stream(call, sk.StreamEnd(reason)).tool_calls()) == []
    assert await all_of(stream(call, sk.Finish("max_tokens"), sk.StreamEnd("completed")).tool_calls()) == []
    assert await all_of(stream(call).tool_calls()) == []


async def test_a_finish_reason_of_another_dialect_is_decided_by_the_end_of_the_stream() -> None:
    call = sk.ToolCallDelta(0, "c1", "time", "{}")

    view = stream(call, sk.Finish("werkzeug"), sk.StreamEnd("tool_calls")).tool_calls()

    assert await all_of(view) == [ToolCall("c1", "time", "{}")]


async def test_calls_that_a_reset_voids_are_not_returned() -> None:
    call = sk.ToolCallDelta(0, "c1", "time", "{}")

    assert await all_of(stream(call, Reset("another source"), sk.StreamEnd("tool_calls")).tool_calls()) == []


async def test_an_object_comes_as_the_type_that_was_asked_for() -> None:
    events = [sk.TextDelta('{"city": '), sk.TextDelta('"Oslo"}'), sk.Finish("stop"), sk.StreamEnd("completed")]

    assert await all_of(stream(*events).objects(City)) == [City("Oslo")]
    assert await all_of(stream(*events).objects(len)) == [1]


async def test_each_choice_has_its_object() -> None:
    events = [
        sk.TextDelta('{"city": "Oslo"}'),
        sk.TextDelta("no JSON", 1),
        sk.TextDelta('{"city": "Bergen"}', 2),
        *[sk.Finish("stop", index) for index in range(3)],
        sk.StreamEnd("completed"),
    ]

    assert await all_of(stream(*events).objects(City, 0)) == [City("Oslo")]
    assert await all_of(stream(*events).objects(City, 2)) == [City("Bergen")]
    view, source = stream(*events).objects(City, None), []
    with pytest.raises(sk.errors.OutputError, match="choice 1"):
        async for city in view:
            source.append(city)
    assert source == [City("Oslo"), City("Bergen")]


@pytest.mark.parametrize("index", ["0", -1, True, 1.0])
async def test_a_choice_that_no_answer_can_have_is_refused_and_looks_not_empty(index: Any) -> None:
    made = stream(sk.TextDelta("a"), sk.StreamEnd("completed"))

    for view in (made.texts, made.reasoning, made.tool_calls, lambda number: made.objects(City, number)):
        with pytest.raises(
            sk.PipelineError, match="index: expected the number of a choice, from 0, or None for all; found"
        ):
            view(index)
    with pytest.raises(sk.PipelineError, match="index: expected"):
        await stream(sk.TextDelta("a")).text(index)


async def test_objects_need_a_type() -> None:
    wrong: Any = None
    with pytest.raises(sk.PipelineError, match=r"objects\(\): expected a type or a function, found None"):
        stream(sk.TextDelta("a")).objects(wrong)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([sk.TextDelta('{"city": "Os'), sk.Finish("length"), sk.StreamEnd("length")], "truncated"),
        ([sk.TextDelta('{"town": "Oslo"}'), sk.Finish("stop"), sk.StreamEnd("completed")], "invalid"),
        ([sk.TextDelta("Sorry"), sk.Finish("stop"), sk.StreamEnd("completed")], "malformed"),
        ([sk.TextDelta('{"city": "Oslo"}')], "truncated"),
    ],
    ids=["cut short", "another type", "no JSON", "no end"],
)
async def test_an_object_that_can_t_be_given_is_an_error_and_stays_one(events: list[Any], problem: str) -> None:
    source = Watched(events)
    view = (source | ops.Coalesce()).objects(City)

    for _ in range(2):
        with pytest.raises(sk.errors.OutputError) as caught:
            await anext(view)
        assert caught.value.problem == problem
        assert "Oslo" not in str(caught.value)
    assert source.closed


async def test_what_came_before_an_error_is_delivered_and_the_error_is_raised() -> None:
    source = Watched([sk.TextDelta("half")], error=sk.errors.Disconnected("gone"))
    view = (source | ops.Coalesce()).texts()

    assert await anext(view) == "half"
    for _ in range(2):
        with pytest.raises(sk.errors.Disconnected):
            await anext(view)


async def test_a_pipeline_that_gives_no_such_event_says_so_before_anything_is_opened() -> None:
    source = Watched(["data: x"])
    answer = source | sk.Parse()

    for ask, needed in (("texts", "TextDelta"), ("reasoning", "ReasoningDelta"), ("tool_calls", "ToolCallDelta")):
        with pytest.raises(sk.PipelineError, match=rf"{ask}\(\) needs a pipeline that gives {needed}"):
            getattr(answer, ask)()
    with pytest.raises(sk.PipelineError, match=r"usage\(\) needs a pipeline that gives Usage"):
        await answer.usage()


async def test_a_view_is_the_one_consumer() -> None:
    answer = stream()
    answer.texts()

    with pytest.raises(sk.PipelineError, match="already has a consumer"):
        answer.tool_calls()


async def test_several_views_at_once_through_a_broadcast() -> None:
    async with hops.broadcast(stream()) as hub:
        texts, calls, usage = hub.subscribe().texts(), hub.subscribe().tool_calls(), hub.subscribe()

        assert await all_of(texts) == ["I will ", "look."]
        assert [call.name for call in await all_of(calls)] == ["weather", "time"]
        assert await usage.usage() == sk.Usage(prompt_tokens=3, completion_tokens=5)


async def test_usage_is_the_sum_of_several_responses_and_none_where_nothing_is_reported() -> None:
    turns = [
        event
        for number in (1, 2)
        for event in (
            ResponseStart(f"r{number}"),
            sk.TextDelta("x"),
            sk.Finish("stop"),
            sk.Usage(prompt_tokens=number, completion_tokens=10),
        )
    ]

    usage = await stream(*turns, sk.StreamEnd("completed")).usage()

    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.responses) == (3, 20, 2)
    assert await stream(sk.TextDelta("x"), sk.StreamEnd("completed")).usage() is None


async def test_a_view_leaves_the_reports_of_the_pipeline_to_the_pipeline() -> None:
    # The pipeline's own Structured only reports; the view raises.
    source = Watched([sk.TextDelta("no"), sk.Finish("stop"), sk.StreamEnd("completed")])
    answer = source | sk.Structured(City, errors="emit")

    with pytest.raises(sk.errors.OutputError):
        await all_of(answer.objects(City))


async def test_text_before_a_reset_is_not_returned() -> None:
    events = [sk.TextDelta("void"), Reset("failed"), sk.TextDelta("va"), sk.TextDelta("x", 1), sk.TextDelta("lid")]

    assert await stream(*events, sk.StreamEnd("completed")).text() == "valid"
    assert await stream(*events, sk.StreamEnd("completed")).text(1) == "x"
    assert await stream(Reset("failed")).text() == ""


async def test_objects_before_a_reset_are_not_returned() -> None:
    events = [sk.TextDelta('{"city": "Os'), Reset("failed"), sk.TextDelta('{"city": "Ulm"}'), sk.Finish("stop")]

    assert await all_of(stream(*events, sk.StreamEnd("completed")).objects(City)) == [City("Ulm")]
